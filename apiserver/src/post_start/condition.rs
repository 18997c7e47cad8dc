//! Conditions that the server itself keeps in the statuses of objects.

use api::Object;
use serde_json::Value;

/// The condition of a type.
fn find<'o>(object: &'o Object, kind: &Value) -> Option<&'o Value> {
    let conditions = object.at(&["status", "conditions"]).and_then(Value::as_array);
    conditions.into_iter().flatten().find(|condition| condition.get("type") == Some(kind))
}

/// The condition as it is to be written, with its time, if the object does not have it yet; `wanted` has type, status, reason
/// and message, and `now` counts if the status is another.
pub(super) fn due(object: &Object, mut wanted: Value, now: &str) -> Option<Value> {
    let found = find(object, &wanted["type"]);
    let is_same = |field: &str| found.is_some_and(|found| found.get(field) == wanted.get(field));
    if ["status", "reason", "message"].into_iter().all(is_same) {
        return None;
    }
    let before = found.filter(|_| is_same("status")).and_then(|found| found.get("lastTransitionTime"));
    wanted["lastTransitionTime"] = before.cloned().unwrap_or_else(|| now.into());
    Some(wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_is_written_when_it_says_something_else_and_its_time_is_that_of_its_status() {
        let condition =
            |status: &str, reason: &str| json!({"type": "Ready", "status": status, "reason": reason, "message": ""});
        let at = |mut condition: Value, time: &str| {
            condition["lastTransitionTime"] = time.into();
            condition
        };
        let with = |conditions: Value| Object::from_value(json!({"status": {"conditions": conditions}})).unwrap();
        let has = with(json!([{"type": "Other", "status": "True"}, at(condition("True", "Good"), "then")]));
        for (object, wanted, expected) in [
            (&has, condition("True", "Good"), None),
            (&has, condition("True", "Better"), Some(at(condition("True", "Better"), "then"))),
            (&has, condition("False", "Bad"), Some(at(condition("False", "Bad"), "now"))),
            (&with(json!([])), condition("True", "Good"), Some(at(condition("True", "Good"), "now"))),
            (&Object::default(), condition("True", "Good"), Some(at(condition("True", "Good"), "now"))),
        ] {
            assert_eq!(due(object, wanted.clone(), "now"), expected, "{wanted}");
        }
    }
}
