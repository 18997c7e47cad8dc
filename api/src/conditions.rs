//! Conditions of objects: what is true of them, by type (`GetPodCondition`, `IsStatusConditionTrue` and their like).

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DeploymentCondition;
use k8s_openapi::api::batch::v1::JobCondition;
use k8s_openapi::api::core::v1::{NodeCondition, PodCondition};
use serde_json::Value;

use crate::time;

/// A condition, as JSON or typed.
pub trait Condition {
    /// Its type.
    fn type_(&self) -> &str;
    /// `True`, `False` or `Unknown`.
    fn status(&self) -> &str;
    /// Since when it has this status.
    fn since(&self) -> Option<Timestamp>;
}

macro_rules! typed {
    ($($kind:ty),*) => {
        $(impl Condition for $kind {
            fn type_(&self) -> &str {
                &self.type_
            }

            fn status(&self) -> &str {
                &self.status
            }

            fn since(&self) -> Option<Timestamp> {
                self.last_transition_time.as_ref().map(|time| time.0)
            }
        })*
    };
}

typed!(DeploymentCondition, JobCondition, NodeCondition, PodCondition);

impl Condition for Value {
    fn type_(&self) -> &str {
        self.get("type").and_then(Value::as_str).unwrap_or_default()
    }

    fn status(&self) -> &str {
        self.get("status").and_then(Value::as_str).unwrap_or_default()
    }

    fn since(&self) -> Option<Timestamp> {
        time::parse(self.get("lastTransitionTime")?.as_str()?).ok()
    }
}

/// The first condition of a type.
pub fn find<'a, C: Condition>(conditions: impl IntoIterator<Item = &'a C>, type_: &str) -> Option<&'a C> {
    conditions.into_iter().find(|condition| condition.type_() == type_)
}

/// Whether there is a condition of a type, and it is true.
pub fn is_true<'a, C: Condition + 'a>(conditions: impl IntoIterator<Item = &'a C>, type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status() == "True")
}

/// The condition by which a job has ended for good, if it has (`JobFinished` in `pkg/controller/job/util`).
pub fn job_end<'a, C: Condition + 'a>(conditions: impl IntoIterator<Item = &'a C>) -> Option<&'a C> {
    conditions.into_iter().find(|end| matches!(end.type_(), "Complete" | "Failed") && end.status() == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(conditions: Value, expected: bool) {
        let typed: Vec<NodeCondition> = serde_json::from_value(conditions.clone()).expect("conditions");
        assert_eq!(is_true(&typed, "Ready"), expected, "{conditions}");
        assert_eq!(is_true(conditions.as_array().expect("a list"), "Ready"), expected, "{conditions}");
    }

    #[test]
    fn the_first_condition_of_a_type_counts() {
        let ready = |status: &str| json!({"type": "Ready", "status": status});
        check(json!([]), false);
        check(json!([{"type": "Other", "status": "True"}]), false);
        check(json!([ready("True")]), true);
        check(json!([ready("Unknown")]), false);
        check(json!([ready("false")]), false);
        check(json!([{"type": "Other", "status": "False"}, ready("True")]), true);
        check(json!([ready("False"), ready("True")]), false);
    }

    #[test]
    fn jobs_end_complete_or_failed() {
        let check = |conditions: Value, expected: Option<&str>| {
            let typed: Vec<JobCondition> = serde_json::from_value(conditions.clone()).expect("conditions");
            assert_eq!(job_end(&typed).map(Condition::type_), expected, "{conditions}");
            assert_eq!(job_end(conditions.as_array().expect("a list")).map(Condition::type_), expected, "{conditions}");
        };
        let one = |type_: &str, status: &str| json!({"type": type_, "status": status});
        check(json!([]), None);
        check(json!([one("Complete", "False"), one("FailureTarget", "True"), one("Suspended", "True")]), None);
        check(json!([one("SuccessCriteriaMet", "True"), one("Complete", "True")]), Some("Complete"));
        check(json!([one("Complete", "False"), one("Failed", "True")]), Some("Failed"));
    }
}
