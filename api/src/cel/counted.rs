//! Runs an expression and counts what that costs as it goes, as the reference's interpreter does (`CostTracker` in
//! cel-go, with the costs of `library.CostEstimator` in apiserver).
//!
//! The tree is walked here, while each single operation is done by the crate: its operands are put into variables, and a
//! call of those variables is run. That is some times slower than to run the expression at once, so it is only done where
//! a bound says that the cost may matter.

mod calls;

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, MapEntryExpr, MapExpr, SelectExpr, operators};
use cel::objects::{Key, Map};
use cel::{Context, ExecutionError, IdedExpr, Value};

/// To look at a variable or a field.
const SELECT: u64 = 1;
/// To make a list.
const CREATE_LIST: u64 = 10;
/// To make a map.
const CREATE_MAP: u64 = 30;
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

/// Runs an expression; also gives what it cost, up to where it reached the limit.
pub(super) fn run(expr: &IdedExpr, context: &Context<'_, '_>, limit: u64) -> (Counted, u64) {
    let mut counter = Counter { spent: 0, limit, gathered: Vec::new() };
    let value = counter.value(expr, context);
    (value, counter.spent)
}

struct Counter {
    spent: u64,
    limit: u64,
    /// What the loops under way gather: the variable's name, and the error that it is if it is one.
    gathered: Vec<(String, Option<ExecutionError>)>,
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

/// What the planner makes an attribute of: something that can be qualified further.
fn is_attribute(expr: &IdedExpr) -> bool {
    const CALLS: [&str; 4] = [operators::INDEX, operators::OPT_INDEX, operators::OPT_SELECT, operators::CONDITIONAL];
    matches!(expr.expr, Expr::Ident(_) | Expr::Select(_)) && !is_constant(expr) || is_call(expr, &CALLS).is_some()
}

/// Whether an attribute is a choice between two, possibly qualified; a choice has no cost of its own.
fn is_choice(expr: &IdedExpr) -> bool {
    match &expr.expr {
        Expr::Select(select) => is_choice(&select.operand),
        Expr::Call(call) if call.func_name == operators::CONDITIONAL => true,
        Expr::Call(_) if is_attribute(expr) => is_call(expr, &[operators::INDEX, operators::OPT_INDEX])
            .or_else(|| is_call(expr, &[operators::OPT_SELECT]))
            .and_then(|call| call.args.first())
            .is_some_and(is_choice),
        _ => false,
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

impl Counter {
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

    /// What an attribute leads to, with the cost of its qualifiers but without its own.
    fn attribute(&mut self, expr: &IdedExpr, scope: &Context<'_, '_>) -> Counted {
        match &expr.expr {
            Expr::Ident(name) => match self.gathered.iter().rev().find(|(of, _)| of == name) {
                Some((_, Some(error))) => Err(Fault::Failed(error.clone())),
                _ => Ok(Value::resolve(expr, scope)?),
            },
            Expr::Select(select) => {
                let of = self.operand(&select.operand, scope)?;
                let read = SelectExpr { operand: Box::new(operand(0)), ..select.clone() };
                let found = apply(&IdedExpr { id: 0, expr: Expr::Select(read) }, &[of], scope);
                self.spend(SELECT)?;
                Ok(found?)
            }
            Expr::Call(choice) if choice.func_name == operators::CONDITIONAL && choice.args.len() == 3 => {
                let condition = self.value(&choice.args[0], scope)?;
                let branch = match condition {
                    Value::Bool(condition) => &choice.args[if condition { 1 } else { 2 }],
                    other => return Ok(apply(&choice_of(choice), &[other], scope)?),
                };
                self.operand(branch, scope)
            }
            Expr::Call(index) => {
                let [of, by] = index.args.as_slice() else { return Ok(Value::resolve(expr, scope)?) };
                let of = self.operand(of, scope)?;
                let key = self.operand(by, scope)?;
                if !is_attribute(by) || !is_choice(by) {
                    self.spend(SELECT)?;
                }
                // The field of an optional selection is a literal, and must stay one.
                if index.func_name == operators::OPT_SELECT {
                    return Ok(apply(&call(&index.func_name, None, vec![operand(0), by.clone()]), &[of], scope)?);
                }
                Ok(apply(&call(&index.func_name, None, vec![operand(0), operand(1)]), &[of, key], scope)?)
            }
            _ => self.value(expr, scope),
        }
    }

    /// What is qualified further: an attribute does not count itself then.
    fn operand(&mut self, expr: &IdedExpr, scope: &Context<'_, '_>) -> Counted {
        if is_attribute(expr) { self.attribute(expr, scope) } else { self.value(expr, scope) }
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
        self.function(of, scope)
    }

    fn function(&mut self, of: &CallExpr, scope: &Context<'_, '_>) -> Counted {
        let mut operands = Vec::with_capacity(of.args.len() + 1);
        let mut made = CallExpr { func_name: of.func_name.clone(), target: None, args: Vec::new() };
        if let Some(target) = &of.target {
            // The first part of a name such as `sets.contains` is no value.
            if matches!(&target.expr, Expr::Ident(name) if scope.get_variable(name.as_str()).is_none()) {
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
        let result = apply(&IdedExpr { id: 0, expr: Expr::Call(made) }, &operands, scope);
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
        let (first, second) = (first?, second?);
        Ok(apply(&call(&of.func_name, None, vec![operand(0), operand(1)]), &[first, second], scope)?)
    }

    fn looped(&mut self, looped: &ComprehensionExpr, scope: &Context<'_, '_>) -> Counted {
        let range = self.value(&looped.iter_range, scope)?;
        let items = items(&range, looped.iter_var2.is_some())?;
        let start = self.value(&looped.accu_init, scope);
        let mut inner = scope.new_inner_scope();
        self.gathered.push((looped.accu_var.clone(), None));
        let result = self.rounds(looped, items, start, &mut inner);
        self.gathered.pop();
        result
    }

    fn rounds(
        &mut self,
        looped: &ComprehensionExpr,
        items: Vec<(Value, Option<Value>)>,
        start: Counted,
        scope: &mut Context<'_, '_>,
    ) -> Counted {
        self.gather(&looped.accu_var, start, scope)?;
        for (first, second) in items {
            scope.add_variable_from_value(looped.iter_var.clone(), first);
            if let (Some(name), Some(second)) = (&looped.iter_var2, second) {
                scope.add_variable_from_value(name.clone(), second);
            }
            let goes_on = self.value(&looped.loop_cond, scope);
            if !is_true(&goes_on) {
                goes_on?;
                break;
            }
            let step = self.value(&looped.loop_step, scope);
            self.gather(&looped.accu_var, step, scope)?;
        }
        self.value(&looped.result, scope)
    }

    /// Sets what a loop gathers. An error is kept too: what follows may decide without it.
    fn gather(&mut self, name: &str, value: Counted, scope: &mut Context<'_, '_>) -> Result<(), Fault> {
        let error = match value {
            Ok(value) => {
                scope.add_variable_from_value(name.to_string(), value);
                None
            }
            Err(Fault::Failed(error)) => Some(error),
            Err(Fault::TooMuch) => return Err(Fault::TooMuch),
        };
        if let Some(gathered) = self.gathered.last_mut() {
            gathered.1 = error;
        }
        Ok(())
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
