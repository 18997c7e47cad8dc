//! Which requests a webhook or a policy is about (`webhook/predicates` and `policy/matching` in apiserver): rules, the same resource
//! in another version or group, and the selectors of namespaces and objects.

mod rule;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use api::catalogue::Resource;
use api::selector::LabelSelector;
use api::{Object, Status};
use serde_json::Value;

use crate::plug::Operation;
use crate::plug::admission::Attributes;
use rule::Rule;

/// The group whose own kinds no webhook and no policy is asked about, so that nobody locks himself out.
const ADMISSION_GROUP: &str = "admissionregistration.k8s.io";
const ADMISSION_KINDS: [&str; 6] = [
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
];

/// A kind by group and version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupVersionKind {
    /// The group; empty for core.
    pub group: String,
    /// The version.
    pub version: String,
    /// The kind.
    pub kind: String,
}

impl GroupVersionKind {
    /// The kind of what is sent to a resource, or to one of its subresources; none if it has no such subresource.
    pub fn of(resource: &Resource, subresource: &str) -> Option<Self> {
        let (group, version, kind) = match subresource {
            "" => (&resource.group, &resource.version, &resource.kind),
            name => {
                let found = resource.subresource(name)?;
                // Discovery says nothing where it is the group and version of the resource.
                let from_resource = found.version.is_empty();
                let (group, version) = (&resource.group, &resource.version);
                if from_resource { (group, version, &found.kind) } else { (&found.group, &found.version, &found.kind) }
            }
        };
        Some(Self { group: group.clone(), version: version.clone(), kind: kind.clone() })
    }

    /// `group/version`, or the version alone for core.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

impl std::fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

/// As what a request is shown to whoever it matched.
#[derive(Debug, Clone)]
pub struct Matched {
    /// The row of the resource that a rule names: that of the request, or an equivalent one.
    pub resource: Arc<Resource>,
    /// The kind in which the objects are shown.
    pub kind: GroupVersionKind,
}

/// The requests that one webhook, policy or binding is about.
#[derive(Debug)]
pub struct Criteria {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    /// Whether it is about everything where it has no rules.
    all_without_rules: bool,
    equivalent: bool,
    namespaces: Result<LabelSelector, String>,
    objects: Result<LabelSelector, String>,
}

impl Criteria {
    /// Those of an entry of a webhook configuration.
    pub fn of_webhook(webhook: &Value) -> Self {
        Self::new(webhook, &webhook["rules"], &Value::Null, false)
    }

    /// Those of `matchConstraints` of a policy, or of `matchResources` of a binding.
    pub fn of_policy(match_resources: &Value) -> Self {
        let (rules, excluded) = (&match_resources["resourceRules"], &match_resources["excludeResourceRules"]);
        Self::new(match_resources, rules, excluded, true)
    }

    fn new(whole: &Value, rules: &Value, excluded: &Value, all_without_rules: bool) -> Self {
        let all = |rules: &Value| rules.as_array().into_iter().flatten().map(Rule::new).collect();
        let selector = |name: &str| {
            // One that is absent selects nothing in Go, and everything once defaults are filled in.
            let selector = whole.get(name).filter(|selector| !selector.is_null());
            match selector {
                Some(selector) => LabelSelector::from_object(Some(selector)).map_err(|error| error.to_string()),
                None => Ok(LabelSelector::everything()),
            }
        };
        Self {
            rules: all(rules),
            excluded: all(excluded),
            all_without_rules,
            equivalent: whole["matchPolicy"] == "Equivalent",
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
        }
    }

    /// Whether a request is one of them, and as what it is then shown. `object` is the object as it is now.
    ///
    /// # Errors
    /// 404 if the namespace that is to be selected is not there, 500 for a selector that is none; only if the rules match.
    pub fn matches(&self, attributes: &Attributes<'_>, object: Option<&Object>) -> Result<Option<Matched>, Status> {
        // Rules are cheap and match seldom. What they leave is asked of the selectors, whose errors count only then.
        let Some(found) = self.ruled(attributes)? else { return Ok(None) };
        let namespace = self.selects_namespace(attributes, object);
        if namespace == Ok(false) {
            return Ok(None);
        }
        let selected = self.selects_object(attributes, object);
        if selected == Ok(false) {
            return Ok(None);
        }
        namespace.and(selected).map(|_| Some(found))
    }

    /// Whether a rule might name a request, if it were made of another version; cheap, for the many that are never matched.
    pub fn may_match(&self, attributes: &Attributes<'_>) -> bool {
        self.rules.is_empty() && self.all_without_rules || self.rules.iter().any(|rule| rule.names_resource(attributes))
    }

    fn ruled(&self, attributes: &Attributes<'_>) -> Result<Option<Matched>, Status> {
        if find(&self.excluded, self.equivalent, attributes)?.is_some() {
            return Ok(None);
        }
        if self.rules.is_empty() && self.all_without_rules {
            return Ok(Some(as_asked(attributes)?));
        }
        find(&self.rules, self.equivalent, attributes)
    }

    /// `MatchNamespaceSelector`
    fn selects_namespace(&self, attributes: &Attributes<'_>, object: Option<&Object>) -> Result<bool, Status> {
        let (namespace, is_namespaces) =
            (attributes.request_namespace(object), attributes.resource.plural == "namespaces");
        if namespace.is_empty() && !is_namespaces {
            return Ok(true);
        }
        let selector = self.namespaces.as_ref().map_err(Status::internal)?;
        if selector.is_everything() {
            return Ok(true);
        }
        let writes = matches!(attributes.operation, Operation::Create | Operation::Update);
        if is_namespaces && attributes.subresource.is_empty() && writes {
            return Ok(object.is_some_and(|object| selector.matches_object(object)));
        }
        let found = attributes.ctx.registry.get_shared("", "namespaces", "", namespace);
        let found = found.ok_or_else(|| Status::not_found("", "namespaces", namespace))?;
        Ok(selector.matches_object(&found))
    }

    /// `MatchObjectSelector`: the object, or the one before.
    fn selects_object(&self, attributes: &Attributes<'_>, object: Option<&Object>) -> Result<bool, Status> {
        let selector = self.objects.as_ref().map_err(Status::internal)?;
        if selector.is_everything() {
            return Ok(true);
        }
        // Options of a connection have no metadata, and no selector is about them.
        let selects = |object: &Object| object.0.contains_key("metadata") && selector.matches_object(object);
        Ok([object, attributes.old].into_iter().flatten().any(selects))
    }
}

/// The first rule that names the request's resource, or else, if that is wanted, one that is the same in another version or
/// group.
fn find(rules: &[Rule], equivalent: bool, attributes: &Attributes<'_>) -> Result<Option<Matched>, Status> {
    if rules.iter().any(|rule| rule.matches(attributes, attributes.resource)) {
        return as_asked(attributes).map(Some);
    }
    if !equivalent {
        return Ok(None);
    }
    // Others have the same name: only a rule that names it needs to see them.
    let mut rules = rules.iter().filter(|rule| rule.names_resource(attributes)).peekable();
    if rules.peek().is_none() {
        return Ok(None);
    }
    let catalogue = attributes.ctx.registry.catalogue();
    let others = equivalents(catalogue.iter(), attributes.resource, attributes.subresource);
    for rule in rules {
        let Some(row) = others.iter().find(|row| rule.matches(attributes, row)) else { continue };
        let kind = GroupVersionKind::of(row, attributes.subresource).ok_or_else(|| unknown_kind(row))?;
        return Ok(Some(Matched { resource: (*row).clone(), kind }));
    }
    Ok(None)
}

/// The rows of the resources whose objects are the same (`EquivalentResourceRegistry` in apimachinery): those of other versions, and
/// of another group whose objects are stored together with them.
fn equivalents<'a>(
    rows: impl Iterator<Item = &'a Arc<Resource>>,
    resource: &Resource,
    subresource: &str,
) -> Vec<&'a Arc<Resource>> {
    let is_same = |row: &&Arc<Resource>| {
        row.plural == resource.plural && row.storage_group == resource.storage_group && row.custom == resource.custom
    };
    let is_other = |row: &&Arc<Resource>| row.group != resource.group || row.version != resource.version;
    let has = |row: &&Arc<Resource>| subresource.is_empty() || row.subresource(subresource).is_some();
    rows.filter(|row| is_same(row) && is_other(row) && has(row)).collect()
}

/// The request as it was made.
fn as_asked(attributes: &Attributes<'_>) -> Result<Matched, Status> {
    let kind = attributes.kind().ok_or_else(|| unknown_kind(attributes.resource))?;
    Ok(Matched { resource: attributes.resource.clone(), kind })
}

fn unknown_kind(row: &Resource) -> Status {
    let resource = format!("{}/{}, Resource={}", row.group, row.version, row.plural);
    Status::internal(format!("unable to convert to {resource}: unknown kind"))
}

/// Whether a request is about a configuration of admission itself (`IsExemptAdmissionConfigurationResource`).
pub fn is_exempt(attributes: &Attributes<'_>) -> bool {
    attributes.resource.group == ADMISSION_GROUP && ADMISSION_KINDS.contains(&attributes.resource.kind.as_str())
}
