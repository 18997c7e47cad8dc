//! Whether the rules of a definition compile, and what they may cost.

use serde_json::Value;

use crate::cel::{self, Declared, Type};
use crate::crd::definition::text;

/// What compiling a rule of a definition gives.
#[derive(Debug, Default)]
pub(in crate::crd) struct Outcome {
    /// Why the rule does not compile.
    pub(in crate::crd) error: Option<String>,
    /// The most that the rule costs for one value.
    pub(in crate::crd) cost: u64,
    pub(in crate::crd) uses_old: bool,
    /// Why the message expression does not compile.
    pub(in crate::crd) message_error: Option<String>,
    /// The most that the message expression costs, if there is one that compiles.
    pub(in crate::crd) message_cost: Option<u64>,
}

/// Compiles a rule against the type of the value that it is about.
pub(in crate::crd) fn compile(rule: &Value, of_self: &Declared) -> Outcome {
    let work = || compile_here(rule, of_self);
    let failed =
        || Outcome { error: Some("compilation failed: the expression is too deep".into()), ..Outcome::default() };
    cel::on_large_stack(work).unwrap_or_else(failed)
}

fn compile_here(rule: &Value, of_self: &Declared) -> Outcome {
    let mut outcome = Outcome::default();
    let source = text(rule, "rule");
    if source.trim().is_empty() {
        return outcome;
    }
    let is_optional = rule.get("optionalOldSelf").and_then(Value::as_bool) == Some(true);
    let of_old = if is_optional { Type::optional(of_self.ty.clone()) } else { of_self.ty.clone() };
    let variables = [("self", of_self.ty.clone()), ("oldSelf", of_old)];
    match cel::checked(source, &variables) {
        Err(why) => outcome.error = Some(format!("compilation failed: {why}")),
        Ok(rule) if rule.output != Type::Bool => {
            outcome.error = Some("cel expression must evaluate to a bool".into());
        }
        Ok(rule) => {
            outcome.uses_old = rule.reads("oldSelf");
            outcome.cost = rule.cost(of_self);
        }
    }
    let message = text(rule, "messageExpression");
    if outcome.error.is_some() || message.is_empty() {
        return outcome;
    }
    match cel::checked(message, &variables) {
        Err(why) => outcome.message_error = Some(format!("messageExpression compilation failed: {why}")),
        Ok(message) if message.output != Type::String => {
            outcome.message_error = Some("messageExpression must evaluate to a string".into());
        }
        Ok(message) => outcome.message_cost = Some(message.cost(of_self)),
    }
    outcome
}
