//! What a definition may not change or forget.

use std::collections::HashSet;

use serde_json::Value;

use super::{items, text};
use crate::Object;
use crate::field::{ErrorList, FieldError, Path};

pub(super) fn immutable(definition: &Object, old: &Object, errors: &mut ErrorList) {
    let established = crate::crd::is_established(old);
    let fields: [(&str, bool); 4] =
        [("scope", established), ("names.kind", established), ("group", true), ("names.plural", true)];
    for (field, fixed) in fields {
        let names: Vec<&str> = std::iter::once("spec").chain(field.split('.')).collect();
        if fixed && definition.at(&names) != old.at(&names) {
            let value = definition.at(&names).cloned().unwrap_or(Value::Null);
            errors.push(FieldError::invalid(&Path::new("spec").child(field), value, "field is immutable"));
        }
    }
}

pub(super) fn stored_versions(definition: &Object, spec: &Value, errors: &mut ErrorList) {
    let path = Path::new("status.storedVersions");
    let stored: Vec<Value> =
        definition.at(&["status", "storedVersions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    if stored.is_empty() {
        let shown = definition.at(&["status", "storedVersions"]).cloned().unwrap_or(Value::Null);
        errors.push(FieldError::invalid(&path, shown, "must have at least one stored version"));
        return;
    }
    let versions = items(spec, "versions");
    let known: HashSet<&Value> = stored.iter().collect();
    let served: HashSet<&Value> = versions.iter().map(|version| &version["name"]).collect();
    for version in versions.iter().filter(|v| v["storage"].as_bool() == Some(true)) {
        if !known.contains(&version["name"]) {
            errors.push_with(|| {
                let why = format!("must have the storage version {}", text(version, "name"));
                FieldError::invalid(&path, stored.clone(), why)
            });
        }
    }
    for (i, name) in stored.iter().enumerate().filter(|(_, s)| !served.contains(s)) {
        let shown = name.as_str().unwrap_or("");
        let why = format!(
            "missing from spec.versions; {shown} was previously a storage version, and must remain in spec.versions \
             until a storage migration ensures no data remains persisted in {shown} and removes {shown} from \
             status.storedVersions"
        );
        errors.push(FieldError::invalid(&path.index(i), name.clone(), why));
    }
}
