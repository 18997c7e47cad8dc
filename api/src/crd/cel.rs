//! Rules of a schema (`x-kubernetes-validations`): CEL expressions over `self` and `oldSelf`.
//!
//! Expressions are checked against the schema and their cost is estimated when the definition is validated
//! ([`compile`]); they are parsed once more when the first object of the definition comes. The cost of a rule is bounded
//! before it runs, from its text and how long the lists, maps and texts of the value are ([`cost`]). Where that may be too
//! much the rules are run once more, and every step is counted ([`counted`]).

pub(crate) mod admission;
mod check;
mod compile;
pub(super) mod cost;
mod counted;
mod data;
mod declare;
pub(crate) mod devices;
mod estimate;
mod functions;
mod issues;
mod library;
mod macros;
mod network;
mod run;
mod types;
mod wanted;

use std::sync::{Arc, OnceLock};

use cel::{Env, IdedExpr, Program};
use serde_json::Value;

pub(super) use compile::{Outcome, compile};
pub(super) use declare::declare;
pub(super) use run::{validate, validate_object};

use super::definition::text;
use cost::Shape;
use wanted::Wanted;

/// The stack on which an expression of the largest size is parsed and run, in bytes; only what is used is ever there.
const STACK_BYTES: usize = 64 << 20;
/// The compiled rules of one place.
#[derive(Debug)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    wanted: Wanted,
}

impl Rules {
    /// Compiles `x-kubernetes-validations`.
    pub(super) fn new(rules: &[Value]) -> Self {
        let rules: Vec<Rule> = rules.iter().map(Rule::new).collect();
        let wanted = Wanted::by(rules.iter().flat_map(Rule::programs).map(Program::expression));
        Self { rules, wanted }
    }
}

/// A compiled rule.
#[derive(Debug)]
struct Rule {
    runs: Runs,
    uses_old: bool,
    optional_old: bool,
    message: String,
    message_runs: Option<Runs>,
    field_path: String,
    reason: String,
}

/// An expression that can be run.
#[derive(Debug)]
struct Runs {
    source: String,
    program: Result<Program, String>,
    shape: Shape,
    /// The tree whose steps are counted, made when that is first needed.
    tree: OnceLock<Option<IdedExpr>>,
}

impl Runs {
    fn new(source: &str) -> Self {
        let program = program(source);
        let shape = program.as_ref().map(|p| Shape::of(p.expression())).unwrap_or_default();
        Self { source: source.to_string(), program, shape, tree: OnceLock::new() }
    }

    fn tree(&self) -> Option<&IdedExpr> {
        let parse = || on_large_stack(|| compile::parse(&self.source).ok().map(|parsed| parsed.expr)).flatten();
        self.tree.get_or_init(parse).as_ref()
    }
}

fn env() -> &'static Arc<Env> {
    static ENV: OnceLock<Arc<Env>> = OnceLock::new();
    ENV.get_or_init(|| Arc::new(library::environment(true)))
}

fn program(source: &str) -> Result<Program, String> {
    if let Some(why) = cost::too_large(source) {
        return Err(why);
    }
    // The parser recurses through a dozen calls a bracket: more than the stack of a worker holds.
    let parse = || env().compile(source).map_err(|errors| errors.to_string());
    on_large_stack(parse).unwrap_or_else(|| Err("the expression cannot be parsed".into()))
}

/// Runs something that recurses deeply; nothing if it panics or no thread can be had.
fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        thread.ok().and_then(|thread| thread.join().ok())
    })
}

impl Rule {
    fn new(rule: &Value) -> Self {
        let runs = Runs::new(text(rule, "rule").trim());
        let uses = |p: &Program| p.references().has_variable("oldSelf");
        let message_expression = text(rule, "messageExpression");
        Self {
            uses_old: runs.program.as_ref().is_ok_and(uses),
            runs,
            optional_old: rule["optionalOldSelf"].as_bool() == Some(true),
            message: text(rule, "message").trim().to_string(),
            message_runs: Some(message_expression).filter(|m| !m.is_empty()).map(Runs::new),
            field_path: text(rule, "fieldPath").trim().to_string(),
            reason: text(rule, "reason").to_string(),
        }
    }

    fn programs(&self) -> impl Iterator<Item = &Program> {
        [Some(&self.runs), self.message_runs.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(|runs| runs.program.as_ref().ok())
    }
}

#[cfg(test)]
mod tests;
