//! Operations that need not go through the crate: on lists and maps that would have to be converted for it, which would take as
//! long as they are large, and on scalars, which take less than that.

use std::cmp::Ordering;

use cel::common::ast::operators;
use cel::objects::{Key, Map};
use cel::{ExecutionError, Value};

use crate::cel::data::optional;

type Outcome = Result<Value, ExecutionError>;

/// A field of a map, or whether it is there; none if this is no map.
pub(super) fn select(of: &Value, field: &str, test: bool) -> Option<Outcome> {
    let Value::Map(map) = of else { return plain(of, field, test) };
    let found = field_of(map, field);
    Some(match found {
        _ if test => Ok(Value::Bool(found.is_some())),
        Some(value) => Ok(value.clone()),
        None => Err(ExecutionError::no_such_key(field)),
    })
}

/// What is no object has no fields.
fn plain(of: &Value, field: &str, test: bool) -> Option<Outcome> {
    let is_object = matches!(of, Value::Opaque(_) | Value::Struct(_) | Value::Function(..));
    (!is_object).then(|| if test { Ok(Value::Bool(false)) } else { Err(ExecutionError::no_such_key(field)) })
}

fn field_of<'m>(map: &'m Map, field: &str) -> Option<&'m Value> {
    map.map.get(&Key::String(std::sync::Arc::new(field.to_string())))
}

/// What is at a key or a place; none if this cannot be told here.
pub(super) fn index(operator: &str, of: &Value, key: &Value) -> Option<Outcome> {
    let found = match (of, key) {
        (Value::Map(map), Value::String(key)) => field_of(map, key).cloned(),
        (Value::List(items), Value::Int(place)) => usize::try_from(*place).ok().and_then(|p| items.get(p).cloned()),
        _ => return None,
    };
    Some(match (operator, found, key) {
        (operators::OPT_INDEX | operators::OPT_SELECT, found, _) => Ok(optional(found)),
        (_, Some(value), _) => Ok(value),
        (_, None, Value::String(key)) => Err(ExecutionError::no_such_key(key)),
        (_, None, key) => Err(ExecutionError::IndexOutOfBounds(key.clone())),
    })
}

/// A call on operands, the target first; none if it is left to the crate.
pub(super) fn call(name: &str, operands: &[Value]) -> Option<Value> {
    match (name, operands) {
        ("size", [Value::List(items)]) => Some(Value::Int(items.len() as i64)),
        ("size", [Value::Map(map)]) => Some(Value::Int(map.map.len() as i64)),
        (operators::IN, [Value::String(key), Value::Map(map)]) => Some(Value::Bool(field_of(map, key).is_some())),
        (operators::EQUALS, [one, other]) if are_plain(one, other) => Some(Value::Bool(one == other)),
        (operators::NOT_EQUALS, [one, other]) if are_plain(one, other) => Some(Value::Bool(one != other)),
        (operators::LOGICAL_NOT, [Value::Bool(one)]) => Some(Value::Bool(!one)),
        (operators::LOGICAL_AND, [Value::Bool(one), Value::Bool(other)]) => Some(Value::Bool(*one && *other)),
        (operators::LOGICAL_OR, [Value::Bool(one), Value::Bool(other)]) => Some(Value::Bool(*one || *other)),
        (operators::ADD, [Value::Int(one), Value::Int(other)]) => one.checked_add(*other).map(Value::Int),
        (_, [Value::Int(one), Value::Int(other)]) => compared(name, one.cmp(other)),
        (_, [Value::String(one), Value::String(other)]) => compared(name, one.cmp(other)),
        _ => None,
    }
}

/// Whether two values are of one kind, of which it is known what is the same.
fn are_plain(one: &Value, other: &Value) -> bool {
    matches!(
        (one, other),
        (Value::List(_), Value::List(_))
            | (Value::Map(_), Value::Map(_))
            | (Value::Int(_), Value::Int(_))
            | (Value::String(_), Value::String(_))
            | (Value::Bool(_), Value::Bool(_))
    )
}

fn compared(operator: &str, order: Ordering) -> Option<Value> {
    Some(Value::Bool(match operator {
        operators::LESS => order.is_lt(),
        operators::LESS_EQUALS => order.is_le(),
        operators::GREATER => order.is_gt(),
        operators::GREATER_EQUALS => order.is_ge(),
        _ => return None,
    }))
}
