//! The errors of a run in the words of the reference's interpreter (`common/types` and `interpreter` of cel-go).

use cel::{ExecutionError, Value};

/// What the reference says.
pub(crate) fn told(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::DivisionByZero(_) => "division by zero".into(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".into(),
        // That of a function is given with the types of its arguments.
        ExecutionError::NoSuchOverload(error) if error.function().ends_with(')') => {
            format!("no such overload: {}", error.function())
        }
        ExecutionError::NoSuchOverload(_)
        | ExecutionError::ValuesNotComparable(..)
        | ExecutionError::UnsupportedBinaryOperator(..)
        | ExecutionError::UnsupportedIndex(..)
        | ExecutionError::UnexpectedType { .. } => "no such overload".into(),
        ExecutionError::IndexOutOfBounds(index) => format!("index out of bounds: {}", scalar(index)),
        ExecutionError::Overflow(_, Value::UInt(_), _) => "unsigned integer overflow".into(),
        ExecutionError::Overflow(_, Value::Duration(_), _) => "duration overflow".into(),
        ExecutionError::Overflow(_, Value::Timestamp(_), _) => "timestamp overflow".into(),
        ExecutionError::Overflow(..) => "integer overflow".into(),
        ExecutionError::DuplicateKey(key) => format!("Failed with repeated key {}", scalar(key)),
        ExecutionError::FunctionError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Int(n) => n.to_string(),
        Value::UInt(n) => n.to_string(),
        Value::Bool(b) => b.to_string(),
        Value::String(text) => text.to_string(),
        other => format!("{other:?}"),
    }
}
