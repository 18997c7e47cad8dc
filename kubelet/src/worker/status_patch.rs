//! The difference between two statuses of a pod, as a strategic merge patch of what the node agent owns.

use serde_json::{Map, Value, json};

use crate::status::OWN_CONDITIONS;

/// Fields of the status that are lists with a merge key: without a directive, old items would stay.
const KEYED_LISTS: [(&str, &str); 3] = [("podIPs", "ip"), ("hostIPs", "ip"), ("conditions", "type")];
/// Fields of the status that others write and the agent leaves alone (`mergePodStatus` in pkg/kubelet/status).
const OF_OTHERS: [&str; 3] =
    ["resourceClaimStatuses", "extendedResourceClaimStatus", "nodeAllocatableResourceClaimStatuses"];

/// The strategic merge patch that makes `new` of `old`; `None` if they say the same in what the agent owns.
pub(super) fn patch(old: &Value, new: &Value) -> Option<Value> {
    let empty = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let mut patch = Map::new();
    let ours = |key: &String| !OF_OTHERS.contains(&key.as_str());
    for (key, value) in new.iter().filter(|(key, value)| ours(key) && old.get(*key) != Some(*value)) {
        let merge_key = KEYED_LISTS.iter().find(|(list, _)| list == key).map(|(_, merge_key)| *merge_key);
        let value = match merge_key {
            Some(merge_key) => match keyed(old.get(key), value, merge_key) {
                list if list.is_empty() => continue,
                list => Value::Array(list),
            },
            None => value.clone(),
        };
        patch.insert(key.clone(), value);
    }
    for key in old.keys().filter(|key| ours(key) && *key != "conditions" && !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// A list whose items merge by a key: changed items whole, and a directive for each that is gone.
fn keyed(old: Option<&Value>, new: &Value, merge_key: &str) -> Vec<Value> {
    // The conditions of others are neither written nor taken away, whatever was known of them.
    let ours = |item: &&Value| {
        let key = item.get(merge_key).and_then(Value::as_str).unwrap_or_default();
        merge_key != "type" || OWN_CONDITIONS.contains(&key)
    };
    let items = |value: Option<&Value>| -> Vec<Value> {
        value.and_then(Value::as_array).into_iter().flatten().filter(ours).cloned().collect()
    };
    let (old, new) = (items(old), items(Some(new)));
    let same = |a: &Value, b: &Value| a.get(merge_key) == b.get(merge_key);
    let mut list: Vec<Value> = Vec::new();
    for item in new.iter().filter(|item| !old.contains(item)) {
        let mut item = item.clone();
        // A field that the old item had and the new one has not must be named to go away.
        if let (Some(before), Some(fields)) = (old.iter().find(|o| same(o, &item)), item.as_object_mut()) {
            for key in before.as_object().into_iter().flatten().map(|(key, _)| key) {
                fields.entry(key.clone()).or_insert(Value::Null);
            }
        }
        list.push(item);
    }
    for gone in old.iter().filter(|o| !new.iter().any(|n| same(o, n))) {
        list.push(json!({merge_key: gone.get(merge_key), "$patch": "delete"}));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(old: Value, new: Value, expected: Option<Value>) {
        assert_eq!(patch(&old, &new), expected, "{old} to {new}");
    }

    #[test]
    fn patches() {
        check(json!({"phase": "Pending"}), json!({"phase": "Pending"}), None);
        check(json!({"phase": "Pending"}), json!({"phase": "Running"}), Some(json!({"phase": "Running"})));
        check(json!({"reason": "x"}), json!({}), Some(json!({"reason": null})));
        check(
            json!({"podIPs": [{"ip": "10.0.0.1"}]}),
            json!({"podIPs": [{"ip": "10.0.0.2"}]}),
            Some(json!({"podIPs": [{"ip": "10.0.0.2"}, {"ip": "10.0.0.1", "$patch": "delete"}]})),
        );
        check(
            json!({"conditions": [{"type": "Ready", "status": "True"},
                {"type": "Initialized", "status": "False", "reason": "r"}]}),
            json!({"conditions": [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}]}),
            Some(json!({"conditions": [{"type": "Initialized", "status": "True", "reason": null}]})),
        );
        check(
            json!({"conditions": [{"type": "Theirs", "status": "True"}, {"type": "PodResizeInProgress", "status": "True"}]}),
            json!({"conditions": []}),
            Some(json!({"conditions": [{"type": "PodResizeInProgress", "$patch": "delete"}]})),
        );
        check(
            json!({"conditions": [{"type": "Theirs", "status": "True"}, {"type": "Ready", "status": "True"}]}),
            json!({"conditions": [{"type": "Ready", "status": "True"}, {"type": "Theirs", "status": "False"}]}),
            None,
        );
        check(
            json!({"nominatedNodeName": "n", "qosClass": "Burstable"}),
            json!({"qosClass": "Burstable"}),
            Some(json!({"nominatedNodeName": null})),
        );
        check(json!({"resourceClaimStatuses": [{"name": "a"}], "phase": "Running"}), json!({"phase": "Running"}), None);
        check(
            json!({"phase": "Failed", "containerStatuses": [{"name": "a", "ready": false}]}),
            json!({"phase": "Running", "containerStatuses": [{"name": "a", "ready": true}]}),
            Some(json!({"phase": "Running", "containerStatuses": [{"name": "a", "ready": true}]})),
        );
    }
}
