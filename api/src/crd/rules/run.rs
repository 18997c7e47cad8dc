//! Runs the rules of a schema on a value (`Validator.Validate` of apiextensions' CEL package).

use cel::{Context, ExecutionError};
use serde_json::{Map, Value};

use super::{Rule, Rules};
use crate::Object;
use crate::cel::{self as expressions, Expression, Fault, Reads, on_large_stack, told};
use crate::crd::node::{Additional, Node};
use crate::field::{ErrorList, ErrorType, FieldError, Path};

/// Longest message that a message expression may give, in bytes.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;
/// The most that one rule may cost (`PerCallLimit`).
const RULE_COST_MAX: u64 = 1_000_000;
/// The most that all rules may cost for one object (`RuntimeCELCostBudget`).
const OBJECT_COST_MAX: u64 = 10_000_000;

/// What rules say against a value.
#[derive(Debug, Default)]
pub(in crate::crd) struct Found {
    pub(in crate::crd) errors: ErrorList,
    /// What did not change is not held against it, but told.
    pub(in crate::crd) warnings: Vec<String>,
}

/// Everything that the rules of a schema say against an object.
pub(in crate::crd) fn validate_object(schema: &Node, object: &Object, old: Option<&Object>) -> Found {
    if schema.rules.is_empty() && schema.all_of.is_empty() {
        let old = old.map(|old| &old.0);
        return on_fitting_stack(schema, &Path::root(), false, |run| {
            run.fields(schema, &object.0, |name| Before { old: old?.get(name), around: None }.into(), &Path::root());
        });
    }
    let whole = |object: &Object| Value::Object(object.0.clone());
    validate(schema, &whole(object), old.map(whole).as_ref(), &Path::root(), false)
}

/// Everything that the rules of a schema say against a value. `unchanged` values are held to it too if asked for.
pub(in crate::crd) fn validate(
    schema: &Node,
    value: &Value,
    old: Option<&Value>,
    path: &Path,
    hold_unchanged: bool,
) -> Found {
    on_fitting_stack(schema, path, hold_unchanged, |run| {
        run.visit(schema, value, Before { old, around: None }, path);
    })
}

/// Runs with bounds of the cost in place of the cost; if they do not suffice, once more with every step counted.
fn on_fitting_stack(schema: &Node, path: &Path, hold_unchanged: bool, visit: impl Fn(&mut Run) + Send + Sync) -> Found {
    let run = |counts: bool| {
        let mut run = Run { hold_unchanged, counts, ..Run::default() };
        visit(&mut run);
        run
    };
    let failed = || Run {
        found: Found {
            errors: FieldError::internal(path, "the validation rules could not be run").into(),
            ..Found::default()
        },
        ..Run::default()
    };
    let first = if schema.has_large_rules { on_large_stack(|| run(false)).unwrap_or_else(failed) } else { run(false) };
    if !first.is_unsure {
        return first.found;
    }
    on_large_stack(|| run(true)).unwrap_or_else(failed).found
}

/// What was there before.
#[derive(Clone, Copy, Default)]
struct Before<'v> {
    /// The value at the same place; none if it cannot be told or there was none.
    old: Option<&'v Value>,
    /// If there is none, the nearest value around that can be told to be the same: as it is, and as it was.
    around: Option<(&'v Value, &'v Value)>,
}

impl<'v> Before<'v> {
    fn is_same(self, value: &Value) -> bool {
        match self.old {
            Some(old) => old == value,
            None => self.around.is_some_and(|(new, old)| new == old),
        }
    }

    /// What was there before at a place below `value`.
    fn below(self, value: &'v Value, find: impl FnOnce(&'v Value) -> Option<&'v Value>) -> Self {
        match self.old {
            Some(old) => Self { old: find(old), around: Some((value, old)) },
            None => self,
        }
    }
}

#[derive(Default)]
struct Run {
    found: Found,
    spent: u64,
    stopped: bool,
    hold_unchanged: bool,
    /// Whether every step is counted.
    counts: bool,
    /// Whether a bound was too high to tell anything.
    is_unsure: bool,
}

impl Run {
    fn visit<'v>(&mut self, schema: &Node, value: &'v Value, before: Before<'v>, path: &Path) {
        if !schema.has_rules || value.is_null() || self.stopped {
            return;
        }
        let before = Before { old: before.old.filter(|old| !old.is_null()), ..before };
        self.rules(schema, schema, value, before, before, path);
        for one in &schema.all_of {
            let held = Before { old: None, ..before };
            self.rules(one, schema, value, before, held, path);
        }
        match value {
            Value::Object(map) => {
                self.fields(schema, map, |name| before.below(value, |old| old.get(name)).into(), path)
            }
            Value::Array(items) => self.items(schema, value, items, before, path),
            _ => {}
        }
    }

    fn fields<'v>(
        &mut self,
        schema: &Node,
        map: &'v Map<String, Value>,
        before: impl Fn(&str) -> Option<Before<'v>>,
        path: &Path,
    ) {
        for (name, value) in map {
            let before = || before(name).unwrap_or_default();
            match (schema.properties.get(name), &schema.additional) {
                (Some(below), _) => self.visit(below, value, before(), &path.child(name)),
                (None, Additional::Schema(below)) => self.visit(below, value, before(), &path.key(name)),
                _ => {}
            }
        }
    }

    fn items<'v>(&mut self, schema: &Node, list: &'v Value, items: &'v [Value], before: Before<'v>, path: &Path) {
        let Some(below) = &schema.items else { return };
        for (i, item) in items.iter().enumerate() {
            // Only the items of a map can be told to be the same as before.
            let same = |old: &&Value| schema.map_keys.iter().all(|key| old.get(key) == item.get(key));
            let find = |old: &'v Value| old.as_array().filter(|_| schema.list_type == "map")?.iter().find(same);
            self.visit(below, item, before.below(list, find), &path.index(i));
        }
    }

    /// Runs the rules of one place; `held` is what tells whether the value is as it was.
    fn rules(&mut self, of: &Node, schema: &Node, value: &Value, before: Before<'_>, held: Before<'_>, path: &Path) {
        if of.rules.is_empty() {
            return;
        }
        let Rules { rules, reads } = of.compiled();
        // Sizes count, so nothing may be left out.
        let reads = if self.counts { Reads::ALL } else { reads };
        let mut context = expressions::context();
        context.add_variable_from_value("self", expressions::convert(Some(schema), value, reads));
        let longest = expressions::longest(value).max(before.old.map_or(0, expressions::longest));
        if self.spent >= OBJECT_COST_MAX {
            self.out_of_budget(path, schema);
        }
        for rule in rules {
            if self.stopped {
                return;
            }
            if rule.uses_old && before.old.is_none() && !rule.optional_old {
                continue;
            }
            if rule.uses_old {
                let old = before.old.map(|old| expressions::convert(Some(schema), old, reads));
                let old = if rule.optional_old { expressions::optional(old) } else { old.unwrap_or(cel::Value::Null) };
                context.add_variable_from_value("oldSelf", old);
            }
            let place = Place { path, schema, value, longest };
            let Some(error) = self.rule(rule, &context, &place) else { continue };
            if !self.hold_unchanged && !rule.uses_old && error.is_judgement && held.is_same(value) {
                self.found.warnings.push(error.error.to_string());
            } else {
                self.found.errors.push(error.error);
            }
        }
    }

    /// Runs an expression; none if there is no more budget for it.
    fn run(&mut self, of: &Expression, context: &Context<'_, '_>, longest: u64) -> Option<Result<cel::Value, Fault>> {
        if !self.counts {
            let bound = of.bound(longest);
            self.spent = self.spent.saturating_add(bound);
            if bound > RULE_COST_MAX || self.spent > OBJECT_COST_MAX {
                self.is_unsure = true;
                self.stopped = true;
                return None;
            }
            // Why it fails is told by the interpreter that counts.
            let value = of.run(context)?.ok();
            self.is_unsure |= value.is_none();
            self.stopped |= value.is_none();
            return value.map(Ok);
        }
        let (value, cost) = of.count(context, RULE_COST_MAX)?;
        self.spent = self.spent.saturating_add(cost);
        if self.spent > OBJECT_COST_MAX { None } else { Some(value) }
    }

    fn out_of_budget(&mut self, path: &Path, schema: &Node) {
        let why = "validation failed due to running out of cost budget, no further validation rules will be run";
        self.stop(FieldError::invalid(path, schema.types.join(","), why));
    }

    fn stop(&mut self, error: FieldError) {
        self.found.errors.push(error);
        self.stopped = true;
    }

    fn rule(&mut self, rule: &Rule, context: &Context<'_, '_>, place: &Place<'_>) -> Option<Judged> {
        let (path, kind) = (place.path, place.schema.types.join(","));
        let fault =
            |why: String| Some(Judged { error: FieldError::invalid(path, kind.clone(), why), is_judgement: false });
        if let Some(why) = rule.expression.problem() {
            return fault(format!("rule compile error: {why}"));
        }
        let said = rule.said();
        match self.run(&rule.expression, context, place.longest) {
            None if self.is_unsure => None,
            None => {
                self.out_of_budget(path, place.schema);
                None
            }
            Some(Ok(cel::Value::Bool(true))) => None,
            Some(Ok(cel::Value::Bool(false))) => self.refused(rule, context, place),
            Some(Ok(_)) => fault("rule compile error: cel expression must evaluate to a bool".into()),
            Some(Err(Fault::TooMuch)) => {
                let why = format!(
                    "'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to \
                     call cost exceeds limit for rule: {said}"
                );
                self.stop(FieldError::invalid(path, kind, why));
                None
            }
            Some(Err(Fault::Failed(ExecutionError::NoSuchOverload(error)))) => fault(format!(
                "'no such overload: {}': call arguments did not match a supported operator, function or macro \
                 signature for rule: {said}",
                error.function()
            )),
            Some(Err(Fault::Failed(error))) => fault(format!("{} evaluating rule: {said}", told(&error))),
        }
    }

    /// The error of a rule that does not hold.
    fn refused(&mut self, rule: &Rule, context: &Context<'_, '_>, place: &Place<'_>) -> Option<Judged> {
        let path = if rule.field_path.is_empty() {
            place.path.clone()
        } else {
            Path::new(&format!("{}{}", place.path, rule.field_path.replace("['", "[").replace("']", "]")))
        };
        let detail = match &rule.message_expression {
            Some(message) => match self.message(message, context, &path, place) {
                Ok(text) => text,
                Err(stopped) => return stopped,
            },
            None => None,
        };
        let detail = detail.unwrap_or_else(|| match rule.message.as_str() {
            "" => format!("failed rule: {}", rule.said()),
            _ => rule.said().to_string(),
        });
        let value = place.value;
        let shown = (!matches!(value, Value::Object(_) | Value::Array(_))).then(|| value.clone());
        let error = match rule.reason.as_str() {
            "FieldValueForbidden" => FieldError::forbidden(&path, detail),
            "FieldValueRequired" => FieldError::required(&path, detail),
            "FieldValueDuplicate" => FieldError::duplicate(&path, value.clone()),
            _ => match shown {
                Some(value) => FieldError::invalid(&path, value, detail),
                None => FieldError { error_type: ErrorType::Invalid, path, value: None, detail },
            },
        };
        Some(Judged { error, is_judgement: true })
    }

    /// What a message expression says, if it can be used; an error if nothing more is run because of it.
    fn message(
        &mut self,
        expression: &Expression,
        context: &Context<'_, '_>,
        path: &Path,
        place: &Place<'_>,
    ) -> Result<Option<String>, Option<Judged>> {
        if expression.problem().is_some() {
            return Ok(None);
        }
        let stop = |run: &mut Self, why: String| {
            run.stopped = true;
            let error = FieldError::invalid(path, place.schema.types.join(","), why);
            Err(Some(Judged { error, is_judgement: true }))
        };
        match self.run(expression, context, place.longest) {
            None if self.is_unsure => Err(None),
            None => stop(
                self,
                "messageExpression evaluation failed due to running out of cost budget, no further validation rules \
                 will be run"
                    .into(),
            ),
            Some(Err(Fault::TooMuch)) => stop(
                self,
                format!(
                    "no further validation rules will be run due to call cost exceeds limit for messageExpression: {:?}",
                    expression.source()
                ),
            ),
            Some(Ok(cel::Value::String(text))) => {
                let text = text.trim();
                let usable = !text.is_empty() && !text.contains('\n') && text.len() <= MESSAGE_BYTES_MAX;
                Ok(usable.then(|| text.to_string()))
            }
            Some(_) => Ok(None),
        }
    }
}

/// Where a rule runs.
struct Place<'a> {
    path: &'a Path,
    schema: &'a Node,
    value: &'a Value,
    longest: u64,
}

/// An error, and whether it is a rule's judgement rather than a failure to judge.
struct Judged {
    error: FieldError,
    is_judgement: bool,
}
