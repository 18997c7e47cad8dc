//! Expressions from text to checked trees, and what is wrong with the rules of a definition.

use std::sync::OnceLock;

use cel::common::ast::SourceInfo;
use cel::{Env, IdedExpr};
use serde_json::Value;

use super::check::{Checked, check};
use super::declare::Declared;
use super::types::Type;
use super::{cost, estimate, issues, library, on_large_stack};
use crate::crd::definition::text;

/// Deepest nesting that the parser follows.
const RECURSION_MAX: u16 = 250;

/// The environment whose macros the checker sees.
fn env() -> &'static Env {
    static ENV: OnceLock<Env> = OnceLock::new();
    ENV.get_or_init(|| library::environment(false))
}

/// An expression that was parsed.
pub(super) struct Parsed {
    pub(super) expr: IdedExpr,
    info: SourceInfo,
}

/// Parses an expression. The parser recurses deeply: call it on a large stack.
pub(super) fn parse(source: &str) -> Result<Parsed, String> {
    if let Some(why) = cost::too_large(source) {
        return Err(format!("ERROR: <input>:-1:0: {why}"));
    }
    let parser = env().parser().max_recursion_depth(RECURSION_MAX);
    match parser.parse_with_source_info(source) {
        Ok((expr, info)) => Ok(Parsed { expr, info }),
        Err(errors) => Err(issues::of_parser(source, &errors)),
    }
}

/// Parses and checks an expression.
pub(super) fn checked(source: &str, variables: &[(&str, Type)]) -> Result<(Parsed, Type, Checked), String> {
    let parsed = parse(source)?;
    let (output, checked) =
        check(&parsed.expr, &parsed.info, variables).map_err(|issues| issues::show(source, issues))?;
    Ok((parsed, output, checked))
}

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
    on_large_stack(work).unwrap_or_else(failed)
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
    match checked(source, &variables) {
        Err(why) => outcome.error = Some(format!("compilation failed: {why}")),
        Ok((_, output, _)) if output != Type::Bool => {
            outcome.error = Some("cel expression must evaluate to a bool".into());
        }
        Ok((parsed, _, checked)) => {
            outcome.uses_old = checked.uses_old;
            outcome.cost = estimate::estimate(&parsed.expr, &checked, of_self);
        }
    }
    let message = text(rule, "messageExpression");
    if outcome.error.is_some() || message.is_empty() {
        return outcome;
    }
    match checked(message, &variables) {
        Err(why) => outcome.message_error = Some(format!("messageExpression compilation failed: {why}")),
        Ok((_, output, _)) if output != Type::String => {
            outcome.message_error = Some("messageExpression must evaluate to a string".into());
        }
        Ok((parsed, _, checked)) => {
            outcome.message_cost = Some(estimate::estimate(&parsed.expr, &checked, of_self));
        }
    }
    outcome
}
