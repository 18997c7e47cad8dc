//! Expressions of admission: match conditions of webhooks and policies, and what policies validate and mutate by
//! (`plugin/cel`, `plugin/policy` and `plugin/webhook/matchconditions` in apiserver).
//!
//! What is stored is compiled once ([`MatchConditions::of_webhook`], [`ValidatingPolicy::compile`],
//! [`MutatingPolicy::compile`]). What expressions see of one request is a [`Subject`], which converts each variable when it is
//! first read, and is made once for all that is evaluated about the same object. Nothing here waits:
//!
//! - What may take more than a moment is not begun with [`Effort::Light`], which answers [`Unfinished::Heavy`]: evaluate it
//!   once more with [`Effort::Full`], away from the threads that serve connections.
//! - Where the authorisers have to be asked, the answer is [`Unfinished::Asks`]: take the questions of the [`Checks`], ask, put
//!   the answers back, and evaluate it once more.
//!
//! ```
//! use api::admission::{Answer, Effort, Matched, MatchConditions, Subject, Unfinished};
//! use serde_json::json;
//!
//! let list = json!([{"name": "only-a", "expression": "object.metadata.name == 'a' && authorizer.path('/x').check('get').allowed()"}]);
//! let conditions = MatchConditions::of_webhook(&list, true);
//! let object = api::Object::from_value(json!({"metadata": {"name": "a"}})).unwrap();
//! let subject = Subject::default().with_object(Some(&object));
//! assert_eq!(conditions.matches(&subject, Effort::Light).err(), Some(Unfinished::Asks));
//! for question in subject.checks().take_open() {
//!     subject.checks().answer(question, Answer { allowed: true, ..Answer::default() });
//! }
//! assert_eq!(conditions.matches(&subject, Effort::Light).map(|found| found.outcome), Ok(Matched::Yes));
//! ```

mod budget;
mod compiled;
mod conditions;
mod configuration;
#[cfg(test)]
mod deep_tests;
mod mutating;
mod patches;
mod request;
mod subject;
#[cfg(test)]
mod tests;
pub mod typecheck;
mod validating;

pub use crate::cel::authorizer::{About, Answer, Checks, Question, ResourceQuestion};
pub use budget::{Effort, Unfinished};
pub use conditions::{Evaluated, MatchConditions, Matched};
pub use configuration::merged;
pub use mutating::{MutatingPolicy, Mutation, Reinvocation};
pub use patches::Patch;
pub use request::{Kind, Request, Resource};
pub use subject::{Reading, Subject};
pub use validating::{Annotation, Decision, Evaluation, ValidatingPolicy, Verdict};

use serde_json::Value;

use crate::Object;

/// Whether a request is refused where the answer cannot be had (`failurePolicy: Fail`).
fn fails(policy: &Object) -> bool {
    policy.str_at(&["spec", "failurePolicy"]) != "Ignore"
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or("")
}

/// The items of a list of a policy.
fn items<'o>(policy: &'o Object, list: &str) -> &'o [Value] {
    policy.at(&["spec", list]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn has_params(policy: &Object) -> bool {
    policy.at(&["spec", "paramKind"]).is_some_and(|kind| !kind.is_null())
}
