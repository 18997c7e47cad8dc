//! What nobody may use unless a quota of the namespace covers it (`LimitedResources` of the plugin's configuration).

use std::collections::BTreeSet;

use api::field::{ErrorList, FieldError, Path, aggregate};
use api::quota;
use api::resources::ResourceList;
use api::{Object, Status};
use serde_json::{Value, json};
use store::Snapshot;

use super::super::files::Kind;
use super::{Attributes, PluginFiles, forbidden, more, prefix, read};
use crate::registry::create::plain_failure;

/// What the plugin is told.
const CONFIGURATION: Kind =
    Kind { name: "ResourceQuotaConfiguration", groups: &["apiserver.config.k8s.io"], strict: true };

/// What it was in the groups of old.
const OF_OLD: Kind = Kind { name: "Configuration", groups: &["resourcequota.admission.k8s.io"], strict: true };

/// One resource that is limited.
pub(super) struct Limited {
    group: String,
    resource: String,
    /// What names of amounts have in them.
    contains: Vec<String>,
    /// Scopes that objects are in.
    scopes: Vec<Value>,
}

/// As the files of a cluster tell it.
pub(super) fn told(files: &PluginFiles) -> Result<Vec<Limited>, String> {
    let object =
        files.decoded("ResourceQuota", &CONFIGURATION).or_else(|error| match error.starts_with("no kind") {
            true => files.decoded("ResourceQuota", &OF_OLD).map_err(|_| error),
            false => Err(error),
        })?;
    let object = object.unwrap_or_default();
    let (path, mut errors) = (Path::new("limitedResources"), ErrorList::new());
    let all = object.at(&["limitedResources"]).and_then(Value::as_array).into_iter().flatten();
    let read = all.enumerate().map(|(at, limited)| {
        let text = |field: &str| limited[field].as_str().unwrap_or("").to_owned();
        if text("resource").is_empty() {
            errors.push(FieldError::required(&path.index(at).child("resource"), ""));
        }
        let contains = limited["matchContains"].as_array().into_iter().flatten();
        Limited {
            group: text("apiGroup"),
            resource: text("resource"),
            contains: contains.filter_map(Value::as_str).map(str::to_owned).collect(),
            scopes: limited["matchScopes"].as_array().cloned().unwrap_or_default(),
        }
    });
    let read: Vec<Limited> = read.collect();
    if errors.is_empty() { Ok(read) } else { Err(aggregate(errors.iter().map(ToString::to_string))) }
}

/// Refuses what no quota covers (the part of `CheckRequest` that is about limited resources).
///
/// # Errors
/// With what is not covered.
pub(super) fn check(
    limited: &[Limited],
    attributes: &Attributes<'_>,
    object: &Object,
    snapshot: &Snapshot,
) -> Result<(), Status> {
    let (group, plural) = (attributes.resource.group.as_str(), attributes.resource.plural.as_str());
    let value = Value::Object(object.0.clone());
    let old = attributes.old.map(|old| Value::Object(old.0.clone()));
    let changed = more(attributes, &Value::Null, &value, old.as_ref(), attributes.ctx.now);
    if changed.0.is_empty() {
        return Ok(());
    }
    let used = quota::usage(group, plural, &value, attributes.ctx.now);
    let of_resource = limited.iter().filter(|limited| limited.group == group && limited.resource == plural);
    let contains: Vec<&String> = of_resource.flat_map(|limited| &limited.contains).collect();
    let is_limited = |name: &&String| contains.iter().any(|part| name.contains(part.as_str()));
    let positive = used.0.iter().filter(|(_, amount)| amount.sign() > 0).map(|(name, _)| name);
    let mut names: BTreeSet<String> = positive.filter(is_limited).cloned().collect();
    let is_in = |scope: &Value| {
        quota::in_scope(&json!({"scopeSelector": {"matchExpressions": [scope]}}), group, plural, &value)
    };
    let mut scopes: Vec<&Value> =
        limited.iter().flat_map(|limited| &limited.scopes).filter(|scope| is_in(scope)).collect();
    for entry in snapshot.list(&prefix("", "resourcequotas", attributes.namespace), None) {
        let Some(found) = read(entry) else { continue };
        let spec = found.at(&["spec"]).unwrap_or(&Value::Null);
        let plain = spec["scopes"].as_array().into_iter().flatten();
        let plain = plain.map(|name| json!({"scopeName": name, "operator": "Exists"}));
        let selected = spec["scopeSelector"]["matchExpressions"].as_array().into_iter().flatten().cloned();
        for scope in plain.chain(selected).filter(is_in) {
            scopes.retain(|limited| limited["scopeName"] != scope["scopeName"]);
        }
        if quota::in_scope(spec, group, plural, &value) {
            let hard = ResourceList::of(found.at(&["status", "hard"]));
            names.retain(|name| !hard.0.contains_key(name));
        }
    }
    if !names.is_empty() {
        let names = names.into_iter().collect::<Vec<_>>().join(",");
        return Err(forbidden(attributes, Some(object), &format!("insufficient quota to consume: {names}")));
    }
    if scopes.is_empty() {
        return Ok(());
    }
    let shown = |scope: &&Value| {
        let text = |field: &str| scope[field].as_str().unwrap_or("").to_owned();
        let values = scope["values"].as_array().into_iter().flatten().filter_map(Value::as_str);
        format!("{{{} {} [{}]}}", text("scopeName"), text("operator"), values.collect::<Vec<_>>().join(" "))
    };
    let scopes = scopes.iter().map(shown).collect::<Vec<_>>().join(" ");
    Err(plain_failure(format!("insufficient quota to match these scopes: [{scopes}]")))
}
