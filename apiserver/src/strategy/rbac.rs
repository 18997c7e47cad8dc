//! Roles and bindings.

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use serde_json::{Value, json};

use super::Strategy;
use crate::Context;

/// Roles and cluster roles.
pub(super) struct Role;

/// Bindings of them.
pub(super) struct Binding;

impl Strategy for Role {
    fn validate(&self, _: &Context, new: &Object, _: Option<&Object>) -> ErrorList {
        let mut errors = ErrorList::new();
        let namespaced = !new.namespace().is_empty();
        let rules = new.at(&["rules"]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for (index, rule) in rules.iter().enumerate() {
            let path = Path::new("rules").index(index);
            let empty = |field: &str| rule.get(field).and_then(Value::as_array).is_none_or(Vec::is_empty);
            let mut require = |field: &str, why: &str| {
                if empty(field) {
                    errors.push(FieldError::required(&path.child(field), why));
                }
            };
            require("verbs", "verbs must contain at least one value");
            if empty("nonResourceURLs") {
                require("apiGroups", "resource rules must supply at least one api group");
                require("resources", "resource rules must supply at least one resource");
                continue;
            }
            let urls = rule.get("nonResourceURLs").cloned().unwrap_or_default();
            let at = path.child("nonResourceURLs");
            if namespaced {
                let why = "namespaced rules cannot apply to non-resource URLs";
                errors.push(FieldError::invalid(&at, urls.clone(), why));
            }
            if !empty("apiGroups") || !empty("resources") || !empty("resourceNames") {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                errors.push(FieldError::invalid(&at, urls, why));
            }
        }
        errors
    }
}

impl Strategy for Binding {
    fn validate(&self, _: &Context, new: &Object, old: Option<&Object>) -> ErrorList {
        let Some(old) = old.filter(|old| old.at(&["roleRef"]) != new.at(&["roleRef"])) else {
            return ErrorList::new();
        };
        debug_assert!(old.at(&["roleRef"]).is_some(), "stored bindings refer to a role");
        let field = |name: &str| new.str_at(&["roleRef", name]);
        let shown = json!({"APIGroup": field("apiGroup"), "Kind": field("kind"), "Name": field("name")});
        FieldError::invalid(&Path::new("roleRef"), shown, "cannot change roleRef").into()
    }
}
