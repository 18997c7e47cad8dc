//! The kind that a body must be of, and the one that it says it is of.

use super::tree::Tree;
use super::{DecodeError, unrecognized};
use crate::catalogue::{Resource, Subresource};
use crate::schema::Schema;

/// The kind that a body must be of.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its group.
    pub group: String,
    /// Its version.
    pub version: String,
    /// Its name.
    pub kind: String,
    /// Its type.
    pub schema: Schema,
    /// Whether it comes from a custom resource definition.
    pub custom: bool,
}

impl Target {
    /// The kind of a resource's objects.
    pub fn of(resource: &Resource) -> Self {
        Self {
            group: resource.group.clone(),
            version: resource.version.clone(),
            kind: resource.kind.clone(),
            schema: resource.schema.clone(),
            custom: resource.custom,
        }
    }

    /// The kind that a subresource takes; that of the resource if it names none of its own.
    pub fn of_subresource(resource: &Resource, subresource: &Subresource) -> Self {
        let own = Self::builtin(&subresource.group, &subresource.version, &subresource.kind);
        own.or_else(|| {
            let same = subresource.kind == resource.kind;
            if same { None } else { Self::builtin(&resource.group, &resource.version, &subresource.kind) }
        })
        .unwrap_or_else(|| Self::of(resource))
    }

    /// A built-in kind that need not be a resource, such as `DeleteOptions`.
    pub fn builtin(group: &str, version: &str, kind: &str) -> Option<Self> {
        let schema = Schema::of(group, version, kind)?;
        Some(Self { group: group.into(), version: version.into(), kind: kind.into(), schema, custom: false })
    }

    /// Whether every group registers this kind as its own, as it does with `DeleteOptions`.
    pub(super) fn is_in_every_group(&self) -> bool {
        const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
        let options = self.kind.ends_with("Options") || self.kind == "WatchEvent";
        options && self.schema.root().name().is_some_and(|name| name.starts_with(META))
    }

    /// Whether the kind's endpoint takes this version of it too (`AcceptsGroupVersion`).
    pub(super) fn is_accepted_as(&self, api_version: &str) -> bool {
        (self.group.as_str(), self.kind.as_str(), api_version) == ("policy", "Eviction", "policy/v1beta1")
    }

    /// `group/version`, or the version alone.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// The `apiVersion` and `kind` that a tree states.
pub(super) fn stated_kind(tree: &Tree<'_>) -> Result<(String, String), String> {
    const FIND_KIND: &str =
        r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
    let prefix = "couldn't get version/kind; json parse error: json: cannot unmarshal";
    let Tree::Object(entries) = tree else {
        if matches!(tree, Tree::Null) {
            return Ok(Default::default());
        }
        return Err(format!("{prefix} {} into Go value of type {FIND_KIND}", tree.kind_name()));
    };
    let (mut api_version, mut kind) = (String::new(), String::new());
    for (key, value) in entries {
        let slot = match &**key {
            "apiVersion" => &mut api_version,
            "kind" => &mut kind,
            _ => continue,
        };
        match value {
            Tree::String(text) => *slot = text.clone().into_owned(),
            Tree::Null => {}
            other => {
                return Err(format!("{prefix} {} into Go struct field .{key} of type string", other.kind_name()));
            }
        }
    }
    if api_version.matches('/').count() > 1 {
        return Err(format!("couldn't get version/kind; unexpected GroupVersion string: {api_version}"));
    }
    Ok((api_version, kind))
}

/// The kind and `apiVersion` of data that states these, checked against the target.
pub(crate) fn stated_target(
    stated: (String, String),
    target: &Target,
    body: &[u8],
) -> Result<(String, String), DecodeError> {
    let (kind, group, version) = check_kind(stated, target, body)?;
    Ok((kind, if group.is_empty() { version } else { format!("{group}/{version}") }))
}

/// The kind, group and version of the data with those of the target filled in (`gvkWithDefaults`).
fn check_kind(
    (api_version, stated): (String, String),
    target: &Target,
    body: &[u8],
) -> Result<(String, String, String), DecodeError> {
    if target.custom && stated.is_empty() {
        let text = String::from_utf8_lossy(body);
        return Err(unrecognized(target, format!("Object 'Kind' is missing in '{text}'"), body));
    }
    let kind = if stated.is_empty() { target.kind.clone() } else { stated };
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let (group, version) = match (group, version) {
        ("", "") => (target.group.as_str(), target.version.as_str()),
        (group, "") if group == target.group => (group, target.version.as_str()),
        other => other,
    };
    let shared = kind == target.kind && target.is_in_every_group();
    if target.custom || shared || (group == target.group && kind == target.kind && version == target.version) {
        return Ok((kind, group.to_string(), version.to_string()));
    }
    let why = match Schema::of(group, version, &kind) {
        Some(_) if kind == target.kind => return Ok((kind, group.to_string(), version.to_string())),
        Some(_) => format!(
            "converting ({version}.{kind}) to ({}.{}): unknown conversion",
            internal_package(&target.group),
            target.kind
        ),
        None if api_version.is_empty() => not_registered(&kind, &target.api_version()),
        None => not_registered(&kind, &api_version),
    };
    Err(DecodeError::Malformed { kind, version: version.to_string(), expected: target.kind.clone(), why })
}

fn not_registered(kind: &str, api_version: &str) -> String {
    format!(
        "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\""
    )
}

/// The name of the package that holds a group's internal types.
fn internal_package(group: &str) -> &str {
    match group {
        "" => "core",
        "rbac.authorization.k8s.io" => "rbac",
        _ => group.split('.').next().unwrap_or(group),
    }
}
