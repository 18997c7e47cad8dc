//! Keeping the bootstrap roles and bindings complete (`ReconcileRoleOptions` in `component-helpers`).

use api::Object;
use serde_json::Value;

use super::Desired;
use crate::authorization::rbac::aggregate;
use crate::authorization::rule::{Rule, not_covered};

const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// Roles that are the sum of others get that sum from the beginning.
pub(super) fn fill_aggregated(desired: &mut [Desired]) {
    let roles: Vec<Object> =
        desired.iter().filter(|d| d.resource == "clusterroles").map(|d| d.object.clone()).collect();
    let rules = aggregate(&roles);
    for item in desired.iter_mut().filter(|d| d.resource == "clusterroles") {
        if item.object.at(&["aggregationRule"]).is_some()
            && let Some(rules) = rules.get(item.object.name())
        {
            let rules = serde_json::to_value(&**rules).expect("rules are plain data");
            item.object.set(&["rules"], rules);
        }
    }
}

/// The stored role or binding with what it lacks, if it lacks something and may be changed.
pub(super) fn updated(wanted: &Object, stored: &Object) -> Option<Object> {
    if stored.str_at(&["metadata", "annotations", AUTOUPDATE]) == "false" {
        return None;
    }
    let mut object = stored.clone();
    if wanted.at(&["roleRef"]).is_some() {
        let missing: Vec<Value> =
            list(wanted, "subjects").iter().filter(|s| !list(stored, "subjects").contains(s)).cloned().collect();
        append(&mut object, "subjects", missing);
    } else if wanted.at(&["aggregationRule"]).is_none() {
        let held = Rule::list(stored.at(&["rules"]));
        let missing: Vec<Value> = list(wanted, "rules")
            .iter()
            .filter(|rule| !not_covered(&held, &Rule::list(Some(&Value::Array(vec![(*rule).clone()])))).is_empty())
            .cloned()
            .collect();
        append(&mut object, "rules", missing);
    }
    for map in ["labels", "annotations"] {
        let wanted = wanted.at(&["metadata", map]).and_then(Value::as_object).into_iter().flatten();
        for (name, value) in wanted {
            if object.at(&["metadata", map, name]).is_none() {
                object.set(&["metadata", map, name], value.clone());
            }
        }
    }
    (object != *stored).then_some(object)
}

fn list<'a>(object: &'a Object, field: &str) -> &'a [Value] {
    object.at(&[field]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn append(object: &mut Object, field: &str, missing: Vec<Value>) {
    if !missing.is_empty() {
        let mut all = list(object, field).to_vec();
        all.extend(missing);
        object.set(&[field], all);
    }
}
