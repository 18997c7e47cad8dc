//! Runs an expression and counts what that costs as it goes, as the reference's interpreter does (`CostTracker` in
//! cel-go, with the costs of `library.CostEstimator` in apiserver).
//!
//! The tree is walked here, while each single operation is done by the crate: its operands are put into variables, and a
//! call of those variables is run. That is some times slower than to run the expression at once, so it is only done where
//! a bound says that the cost may matter.

mod attributes;
mod calls;
mod direct;
mod words;

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, MapEntryExpr, MapExpr, operators};
use cel::objects::{Key, Map};
use cel::{Context, ExecutionError, IdedExpr, Value};

use super::made::MAKE;
use attributes::{is_attribute, is_choice};
pub(super) use calls::AUTHORIZE;

/// To look at a variable or a field.
const SELECT: u64 = 1;
/// To make a list.
const CREATE_LIST: u64 = 10;
/// To make a map.
const CREATE_MAP: u64 = 30;
/// To make a struct.
const CREATE_STRUCT: u64 = 40;
/// The names of types, which are constants.
const TYPES: [&str; 11] =
    ["bool", "bytes", "double", "duration", "int", "list", "map", "null_type", "string", "timestamp", "uint"];
/// Conversions, which are done beforehand for constants.
const CONVERSIONS: [&str; 9] = ["bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "uint"];

/// Why there is no value.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The limit was reached.
    TooMuch,
    /// The expression fails.
    Failed(ExecutionError),
}

impl From<ExecutionError> for Fault {
    fn from(error: ExecutionError) -> Self {
        Self::Failed(error)
    }
}

type Counted = Result<Value, Fault>;

/// Variables that are not in the context, or are there in a form that would have to be converted whenever they are read.
pub(super) trait Variables {
    /// The value of a variable.
    fn variable(&self, name: &str) -> Option<Value>;

    /// The value of a field of `variables`, which is found out when it is first read.
    fn composed(&self, name: &str) -> Option<Counted>;
}

/// No others than those of the context.
pub(super) struct OfContext;

impl Variables for OfContext {
    fn variable(&self, _: &str) -> Option<Value> {
        None
    }

    fn composed(&self, _: &str) -> Option<Counted> {
        None
    }
}

/// Runs an expression; also gives what it cost, up to where it reached the limit.
pub(super) fn run(expr: &IdedExpr, context: &Context<'_, '_>, variables: &dyn Variables, limit: u64) -> (Counted, u64) {
    let mut counter = Counter { spent: 0, limit, locals: Vec::new(), variables };
    let value = counter.value(expr, context);
    (value, counter.spent)
}

struct Counter<'a> {
    spent: u64,
    limit: u64,
    /// The variables of the loops under way, the innermost last. What a loop gathers may be an error.
    locals: Vec<(String, Result<Value, ExecutionError>)>,
    variables: &'a dyn Variables,
}

fn call(name: &str, target: Option<Box<IdedExpr>>, args: Vec<IdedExpr>) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Call(CallExpr { func_name: name.to_string(), target, args }) }
}

/// The variable that holds an operand.
fn operand(place: usize) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Ident(format!("@{place}")) }
}

/// Runs one operation on operands.
fn apply(operation: &IdedExpr, operands: &[Value], scope: &Context<'_, '_>) -> Result<Value, ExecutionError> {
    let mut inner = scope.new_inner_scope();
    for (place, value) in operands.iter().enumerate() {
        inner.add_variable_from_value(format!("@{place}"), value.clone());
    }
    Value::resolve(operation, &inner)
}

fn is_call<'e>(expr: &'e IdedExpr, names: &[&str]) -> Option<&'e CallExpr> {
    match &expr.expr {
        Expr::Call(call) if names.contains(&call.func_name.as_str()) => Some(call),
        _ => None,
    }
}

/// Whether the planner knows the value beforehand.
fn is_constant(expr: &IdedExpr) -> bool {
    match &expr.expr {
        Expr::Literal(_) => true,
        Expr::Ident(name) => TYPES.contains(&name.as_str()),
        Expr::List(list) => list.elements.iter().all(is_constant),
        Expr::Map(map) => map.entries.iter().all(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => is_constant(&entry.key) && is_constant(&entry.value),
            EntryExpr::StructField(_) => false,
        }),
        Expr::Call(call) => {
            call.target.is_none()
                && CONVERSIONS.contains(&call.func_name.as_str())
                && call.args.len() == 1
                && is_constant(&call.args[0])
        }
        _ => false,
    }
}

fn is_true(value: &Counted) -> bool {
    matches!(value, Ok(Value::Bool(true)))
}

impl Counter<'_> {
    fn spend(&mut self, cost: u64) -> Result<(), Fault> {
        self.spent = self.spent.saturating_add(cost);
        if self.spent > self.limit { Err(Fault::TooMuch) } else { Ok(()) }
    }

    fn value(&mut self, expr: &IdedExpr, scope: &Context<'_, '_>) -> Counted {
        if is_constant(expr) {
            return Ok(Value::resolve(expr, scope)?);
        }
        if is_attribute(expr) {
            let value = self.attribute(expr, scope);
            let is_test = matches!(&expr.expr, Expr::Select(select) if select.test);
            if !is_test && !is_choice(expr) {
                self.spend(SELECT)?;
            }
            return value;
        }
        match &expr.expr {
            Expr::Call(call) => self.call(call, scope),
            Expr::Comprehension(looped) => self.looped(looped, scope),
            Expr::List(list) => {
                let mut operands = Vec::with_capacity(list.elements.len());
                for element in &list.elements {
                    operands.push(self.value(element, scope)?);
                }
                self.spend(CREATE_LIST)?;
                let mut made = list.clone();
                made.elements = (0..operands.len()).map(operand).collect();
                Ok(apply(&IdedExpr { id: 0, expr: Expr::List(made) }, &operands, scope)?)
            }
            Expr::Map(map) => self.map(map, scope),
            _ => Ok(Value::resolve(expr, scope)?),
        }
    }

    fn map(&mut self, map: &MapExpr, scope: &Context<'_, '_>) -> Counted {
        let (mut made, mut operands) = (map.clone(), Vec::new());
        for entry in &mut made.entries {
            let EntryExpr::MapEntry(MapEntryExpr { key, value, .. }) = &mut entry.expr else { continue };
            for part in [key, value] {
                operands.push(self.value(part, scope)?);
                *part = operand(operands.len() - 1);
            }
        }
        self.spend(CREATE_MAP)?;
        Ok(apply(&IdedExpr { id: 0, expr: Expr::Map(made) }, &operands, scope)?)
    }

    fn call(&mut self, of: &CallExpr, scope: &Context<'_, '_>) -> Counted {
        match (of.func_name.as_str(), of.args.as_slice()) {
            (operators::LOGICAL_AND, [one, other]) => return self.joined(of, one, other, false, scope),
            (operators::LOGICAL_OR, [one, other]) => return self.joined(of, one, other, true, scope),
            (operators::NOT_STRICTLY_FALSE, [one]) => {
                let holds = match self.value(one, scope) {
                    Err(Fault::TooMuch) => return Err(Fault::TooMuch),
                    Ok(Value::Bool(value)) => value,
                    _ => true,
                };
                self.spend(1)?;
                return Ok(Value::Bool(holds));
            }
            (operators::IN, [one, list]) if is_constant(list) && matches!(list.expr, Expr::List(_)) => {
                let Expr::List(items) = &list.expr else { return Ok(Value::Bool(false)) };
                if items.elements.is_empty() {
                    return Ok(Value::Bool(false));
                }
                let operands = [self.value(one, scope)?, Value::resolve(list, scope)?];
                return Ok(apply(&call(operators::IN, None, vec![operand(0), operand(1)]), &operands, scope)?);
            }
            _ => {}
        }
        match (of.func_name.as_str(), of.args.as_slice()) {
            // The fields of a struct are made with it, and have no cost of their own beyond that of a map.
            (MAKE, [name, IdedExpr { expr: Expr::Map(fields), .. }]) => {
                let operands = [Value::resolve(name, scope)?, self.map(fields, scope)?];
                self.spend(CREATE_STRUCT - CREATE_MAP)?;
                Ok(apply(&call(MAKE, None, vec![operand(0), operand(1)]), &operands, scope)?)
            }
            _ => self.function(of, scope),
        }
    }

    fn function(&mut self, of: &CallExpr, scope: &Context<'_, '_>) -> Counted {
        let mut operands = Vec::with_capacity(of.args.len() + 1);
        let mut made = CallExpr { func_name: of.func_name.clone(), target: None, args: Vec::new() };
        if let Some(target) = &of.target {
            // The first part of a name such as `sets.contains` is no value.
            if matches!(&target.expr, Expr::Ident(name) if !self.knows(name, scope)) {
                made.target = Some(target.clone());
            } else {
                operands.push(self.value(target, scope)?);
                made.target = Some(Box::new(operand(0)));
            }
        }
        let mut failed = None;
        for arg in &of.args {
            made.args.push(operand(operands.len()));
            match self.value(arg, scope) {
                Ok(value) => operands.push(value),
                Err(Fault::TooMuch) => return Err(Fault::TooMuch),
                Err(Fault::Failed(error)) => {
                    failed.get_or_insert(error);
                    operands.push(Value::Null);
                }
            }
        }
        if let Some(error) = failed {
            self.spend(1)?;
            return Err(Fault::Failed(error));
        }
        let qualifier = match made.target.as_deref() {
            Some(IdedExpr { expr: Expr::Ident(name), .. }) if !name.starts_with('@') => name.clone(),
            _ => String::new(),
        };
        let result = direct::call(&of.func_name, &operands)
            .map_or_else(|| apply(&IdedExpr { id: 0, expr: Expr::Call(made) }, &operands, scope), Ok)
            .map_err(|error| words::of_call(&of.func_name, &operands, error));
        self.spend(calls::cost(&qualifier, &of.func_name, &operands, result.as_ref().ok()))?;
        Ok(result?)
    }

    /// `&&` and `||`: the first may decide alone, and errors of one do not count if the other decides.
    fn joined(
        &mut self,
        of: &CallExpr,
        one: &IdedExpr,
        other: &IdedExpr,
        deciding: bool,
        scope: &Context<'_, '_>,
    ) -> Counted {
        let decides = |value: &Counted| matches!(value, Ok(Value::Bool(b)) if *b == deciding);
        let first = self.value(one, scope);
        if decides(&first) || matches!(first, Err(Fault::TooMuch)) {
            return first;
        }
        let second = self.value(other, scope);
        if decides(&second) || matches!(second, Err(Fault::TooMuch)) {
            return second;
        }
        let operands = [first?, second?];
        if let Some(value) = direct::call(&of.func_name, &operands) {
            return Ok(value);
        }
        Ok(apply(&call(&of.func_name, None, vec![operand(0), operand(1)]), &operands, scope)?)
    }

    fn looped(&mut self, looped: &ComprehensionExpr, scope: &Context<'_, '_>) -> Counted {
        let range = self.value(&looped.iter_range, scope)?;
        let items = items(&range, looped.iter_var2.is_some())?;
        let start = self.value(&looped.accu_init, scope);
        let outside = self.locals.len();
        let result = self.rounds(looped, items, start, scope);
        self.locals.truncate(outside);
        result
    }

    fn knows(&self, name: &str, scope: &Context<'_, '_>) -> bool {
        self.local(name).is_some() || self.variables.variable(name).is_some() || scope.get_variable(name).is_some()
    }

    fn rounds(
        &mut self,
        looped: &ComprehensionExpr,
        items: Vec<(Value, Option<Value>)>,
        start: Counted,
        scope: &Context<'_, '_>,
    ) -> Counted {
        let place = self.locals.len();
        self.locals.push((looped.accu_var.clone(), gathered(start)?));
        for (first, second) in items {
            self.locals.truncate(place + 1);
            self.locals.push((looped.iter_var.clone(), Ok(first)));
            if let (Some(name), Some(second)) = (&looped.iter_var2, second) {
                self.locals.push((name.clone(), Ok(second)));
            }
            let goes_on = self.value(&looped.loop_cond, scope);
            if !is_true(&goes_on) {
                goes_on?;
                break;
            }
            let step = self.value(&looped.loop_step, scope);
            self.locals[place].1 = gathered(step)?;
        }
        self.locals.truncate(place + 1);
        self.value(&looped.result, scope)
    }
}

/// What a loop gathers. An error is kept too: what follows may decide without it.
fn gathered(value: Counted) -> Result<Result<Value, ExecutionError>, Fault> {
    match value {
        Ok(value) => Ok(Ok(value)),
        Err(Fault::Failed(error)) => Ok(Err(error)),
        Err(Fault::TooMuch) => Err(Fault::TooMuch),
    }
}

/// A choice whose condition is an operand, so that the crate tells what is wrong with it.
fn choice_of(choice: &CallExpr) -> IdedExpr {
    call(&choice.func_name, None, vec![operand(0), choice.args[1].clone(), choice.args[2].clone()])
}

/// What a loop goes over: items, or keys; with two variables places or keys, and what is there.
fn items(range: &Value, pairs: bool) -> Result<Vec<(Value, Option<Value>)>, ExecutionError> {
    match range {
        Value::List(list) if pairs => {
            let numbered = list.iter().zip(0i64..);
            Ok(numbered.map(|(item, place)| (Value::Int(place), Some(item.clone()))).collect())
        }
        Value::List(list) => Ok(list.iter().map(|item| (item.clone(), None)).collect()),
        Value::Map(Map { map, .. }) => {
            let keys: BTreeSet<&Key> = map.keys().collect();
            let value = |key: &Key| pairs.then(|| map.get(key).cloned().unwrap_or(Value::Null));
            Ok(keys.into_iter().map(|key| (key.clone().into(), value(key))).collect())
        }
        other => Err(ExecutionError::UnexpectedType { got: other.type_of().to_string(), want: "iterable".into() }),
    }
}
