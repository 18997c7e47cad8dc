//! Rules of a schema (`x-kubernetes-validations`): CEL expressions over `self` and `oldSelf`.
//!
//! Expressions are checked against the schema and their cost is estimated when the definition is validated
//! ([`compile`]); they are parsed once more when the first object of the definition comes. Instead of counting
//! steps, the cost of a rule is bounded before it runs, from how deeply its loops nest and how long the lists, maps
//! and texts of the value are; where that is much, from an estimate with the sizes that the value really has.

pub(crate) mod admission;
mod bound;
mod check;
mod compile;
pub(super) mod cost;
mod data;
mod declare;
pub(crate) mod devices;
mod estimate;
mod functions;
mod issues;
mod library;
mod macros;
mod network;
mod types;
mod wanted;

use std::sync::{Arc, OnceLock};

use cel::{Context, Env, ExecutionError, Program};
use serde_json::{Map, Value};

pub(super) use compile::{Outcome, compile};
pub(super) use declare::declare;

use super::definition::text;
use super::node::{Additional, Node};
use crate::Object;
use crate::field::{ErrorList, ErrorType, FieldError, Path};
use wanted::Wanted;

/// Longest message that a message expression may give, in bytes.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;
/// The stack on which an expression of the largest size is parsed and run, in bytes; only what is used is ever there.
const STACK_BYTES: usize = 64 << 20;
/// The most that one rule may cost (`PerCallLimit`).
const RULE_COST_MAX: u64 = 1_000_000;
/// Up to here a rule is cheap enough not to be estimated closely.
const CHEAP_MAX: u64 = 10_000;
/// The most that all rules may cost for one object (`RuntimeCELCostBudget`).
const OBJECT_COST_MAX: u64 = 10_000_000;

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
        let programs =
            rules.iter().flat_map(|rule| rule.program.as_ref().ok().into_iter().chain(&rule.message_program));
        let wanted = Wanted::by(programs.map(Program::expression));
        Self { rules, wanted }
    }
}

/// A compiled rule.
#[derive(Debug)]
struct Rule {
    source: String,
    program: Result<Program, String>,
    loops: u32,
    uses_old: bool,
    optional_old: bool,
    message: String,
    message_program: Option<Program>,
    field_path: String,
    reason: String,
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
        let source = text(rule, "rule").trim().to_string();
        let program = program(&source);
        let uses = |p: &Program| p.references().has_variable("oldSelf");
        let message_expression = text(rule, "messageExpression");
        Self {
            loops: program.as_ref().map_or(0, |p| cost::loops(p.expression())),
            uses_old: program.as_ref().is_ok_and(uses),
            program,
            source,
            optional_old: rule["optionalOldSelf"].as_bool() == Some(true),
            message: text(rule, "message").trim().to_string(),
            message_program: Some(message_expression).filter(|m| !m.is_empty()).and_then(|m| self::program(m).ok()),
            field_path: text(rule, "fieldPath").trim().to_string(),
            reason: text(rule, "reason").to_string(),
        }
    }
}

/// Everything that the rules of a schema say against an object. What did not change is not held against it.
pub(super) fn validate_object(schema: &Node, object: &Object, old: Option<&Object>) -> ErrorList {
    if schema.rules.is_empty() && schema.all_of.is_empty() {
        let run = |run: &mut Run| run.fields(schema, &object.0, old.map(|old| &old.0), &Path::root());
        return on_fitting_stack(schema, &Path::root(), false, run);
    }
    let whole = |object: &Object| Value::Object(object.0.clone());
    validate(schema, &whole(object), old.map(whole).as_ref(), &Path::root(), false)
}

/// Everything that the rules of a schema say against a value. `unchanged` values are held to it too if asked for.
pub(super) fn validate(
    schema: &Node,
    value: &Value,
    old: Option<&Value>,
    path: &Path,
    hold_unchanged: bool,
) -> ErrorList {
    on_fitting_stack(schema, path, hold_unchanged, |run| run.visit(schema, value, old, path))
}

fn on_fitting_stack(
    schema: &Node,
    path: &Path,
    hold_unchanged: bool,
    visit: impl FnOnce(&mut Run) + Send,
) -> ErrorList {
    let run = || {
        let mut run = Run { hold_unchanged, errors: ErrorList::new(), budget: OBJECT_COST_MAX, stopped: false };
        visit(&mut run);
        run.errors
    };
    if !schema.has_large_rules {
        return run();
    }
    on_large_stack(run).unwrap_or_else(|| vec![FieldError::internal(path, "the validation rules could not be run")])
}

struct Run {
    errors: ErrorList,
    budget: u64,
    stopped: bool,
    hold_unchanged: bool,
}

impl Run {
    fn visit(&mut self, schema: &Node, value: &Value, old: Option<&Value>, path: &Path) {
        if !schema.has_rules || value.is_null() || self.stopped {
            return;
        }
        let old = old.filter(|old| !old.is_null());
        self.rules(schema, schema, value, old, path);
        for one in &schema.all_of {
            self.rules(one, schema, value, old, path);
        }
        match value {
            Value::Object(map) => self.fields(schema, map, old.and_then(Value::as_object), path),
            Value::Array(items) => self.items(schema, items, old.and_then(Value::as_array), path),
            _ => {}
        }
    }

    fn fields(&mut self, schema: &Node, map: &Map<String, Value>, old: Option<&Map<String, Value>>, path: &Path) {
        for (name, value) in map {
            let old = old.and_then(|old| old.get(name));
            match (schema.properties.get(name), &schema.additional) {
                (Some(below), _) => self.visit(below, value, old, &path.child(name)),
                (None, Additional::Schema(below)) => self.visit(below, value, old, &path.key(name)),
                _ => {}
            }
        }
    }

    fn items(&mut self, schema: &Node, items: &[Value], old: Option<&Vec<Value>>, path: &Path) {
        let Some(below) = &schema.items else { return };
        for (i, item) in items.iter().enumerate() {
            // Only the items of a map can be told to be the same as before.
            let same = |old: &&Value| schema.map_keys.iter().all(|key| old.get(key) == item.get(key));
            let old = old.filter(|_| schema.list_type == "map").and_then(|old| old.iter().find(same));
            self.visit(below, item, old, &path.index(i));
        }
    }

    fn rules(&mut self, of: &Node, schema: &Node, value: &Value, old: Option<&Value>, path: &Path) {
        if of.rules.is_empty() {
            return;
        }
        let Rules { rules, wanted } = of.compiled();
        let mut context = Context::with_env(env().clone());
        context.add_variable_from_value("self", data::convert(schema, value, wanted));
        let size = cost::longest(value).max(old.map_or(0, cost::longest));
        for rule in rules {
            if self.stopped || (rule.uses_old && old.is_none() && !rule.optional_old) {
                continue;
            }
            if rule.uses_old {
                let old = old.map(|old| data::convert(schema, old, wanted));
                context.add_variable_from_value("oldSelf", data::old_self(old, rule.optional_old));
            }
            let cost = size.max(1).saturating_pow(rule.loops).saturating_add(1);
            let old_read = old.filter(|_| rule.uses_old);
            let cost =
                if cost > CHEAP_MAX { bound::cost(&rule.source, schema, value, old_read).unwrap_or(1) } else { cost };
            if !self.spend(rule, cost, path, schema) {
                return;
            }
            let unchanged = !self.hold_unchanged && !rule.uses_old && old == Some(value);
            if let Some(error) = evaluate(rule, &context, value, path, schema).filter(|_| !unchanged) {
                self.errors.push(error);
            }
        }
    }

    /// Takes what a rule may cost from the budget; whether there is enough.
    fn spend(&mut self, rule: &Rule, cost: u64, path: &Path, schema: &Node) -> bool {
        let kind = schema.types.join(",");
        if cost > RULE_COST_MAX {
            let why = format!(
                "'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to \
                 call cost exceeds limit for rule: {}",
                rule.source
            );
            self.errors.push(FieldError::invalid(path, kind, why));
            self.stopped = true;
        } else if cost > self.budget {
            let why = "validation failed due to running out of cost budget, no further validation rules will be run";
            self.errors.push(FieldError::invalid(path, kind, why));
            self.stopped = true;
        } else {
            self.budget -= cost;
        }
        !self.stopped
    }
}

/// The error of the reference's interpreter.
fn told(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::DivisionByZero(_) => "division by zero".into(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".into(),
        ExecutionError::NoSuchOverload(_) => "no such overload".into(),
        other => other.to_string(),
    }
}

fn evaluate(rule: &Rule, context: &Context<'_, '_>, value: &Value, path: &Path, schema: &Node) -> Option<FieldError> {
    let kind = schema.types.join(",");
    let program = match &rule.program {
        Ok(program) => program,
        Err(why) => return Some(FieldError::invalid(path, kind, format!("rule compile error: {why}"))),
    };
    match program.execute(context) {
        Ok(cel::Value::Bool(true)) => return None,
        Ok(cel::Value::Bool(false)) => {}
        Ok(_) => {
            return Some(FieldError::invalid(path, kind, "rule compile error: cel expression must evaluate to a bool"));
        }
        Err(ExecutionError::NoSuchOverload(error)) => {
            let why = format!(
                "'no such overload: {}': call arguments did not match a supported operator, function or macro \
                 signature for rule: {}",
                error.function(),
                rule.source
            );
            return Some(FieldError::invalid(path, kind, why));
        }
        Err(error) => {
            let why = format!("{} evaluating rule: {}", told(&error), rule.source);
            return Some(FieldError::invalid(path, kind, why));
        }
    }
    let path = if rule.field_path.is_empty() {
        path.clone()
    } else {
        Path::new(&format!("{path}{}", rule.field_path.replace("['", "[").replace("']", "]")))
    };
    let detail = message(rule, context);
    let shown = (!matches!(value, Value::Object(_) | Value::Array(_))).then(|| value.clone());
    Some(match rule.reason.as_str() {
        "FieldValueForbidden" => FieldError::forbidden(&path, detail),
        "FieldValueRequired" => FieldError::required(&path, detail),
        "FieldValueDuplicate" => FieldError::duplicate(&path, value.clone()),
        _ => match shown {
            Some(value) => FieldError::invalid(&path, value, detail),
            None => FieldError { error_type: ErrorType::Invalid, path, value: None, detail },
        },
    })
}

/// What is said of a rule that does not hold: the message expression's text if it gives one.
fn message(rule: &Rule, context: &Context<'_, '_>) -> String {
    if let Some(program) = &rule.message_program
        && let Ok(cel::Value::String(text)) = program.execute(context)
    {
        let text = text.trim();
        if !text.is_empty() && !text.contains('\n') && text.len() <= MESSAGE_BYTES_MAX {
            return text.to_string();
        }
    }
    if rule.message.is_empty() { format!("failed rule: {}", rule.source) } else { rule.message.clone() }
}

#[cfg(test)]
mod tests;
