//! What the reference's interpreter says where a call of a function fails and the crate says something else.

use cel::objects::ValueType;
use cel::{ExecutionError, Value};

use crate::cel::told::told;
use crate::go::regexp;

/// The error of a call, told from its operands, of which the target is the first.
pub(super) fn of_call(name: &str, operands: &[Value], error: ExecutionError) -> ExecutionError {
    let failed = |why: String| ExecutionError::function_error(name, why);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return error;
    }
    match (name, operands) {
        ("matches", [_, Value::String(pattern)]) => regexp::compile(pattern).err().map_or(error, failed),
        ("bool" | "double" | "duration" | "int" | "timestamp" | "uint", [Value::String(_)]) => {
            let to = match name {
                "duration" => "google.protobuf.Duration",
                "timestamp" => "google.protobuf.Timestamp",
                other => other,
            };
            failed(format!("type conversion error from 'string' to '{to}'"))
        }
        ("format", _) => {
            let why = told(&error)
                .replace("on ints, uints, and doubles", "on integers")
                .replace("ints and uints", "integers");
            failed(why)
        }
        _ if told(&error) == "no such overload" => {
            let types: Vec<_> = operands.iter().map(type_name).collect();
            ExecutionError::no_such_overload(&format!("{name}({})", types.join(", ")), Vec::new())
        }
        _ => error,
    }
}

fn type_name(value: &Value) -> &str {
    match value.type_of() {
        ValueType::List => "list",
        ValueType::Map => "map",
        ValueType::Int => "int",
        ValueType::UInt => "uint",
        ValueType::Float => "double",
        ValueType::String => "string",
        ValueType::Bytes => "bytes",
        ValueType::Bool => "bool",
        ValueType::Duration => "google.protobuf.Duration",
        ValueType::Timestamp => "google.protobuf.Timestamp",
        ValueType::Null => "null_type",
        _ => match value {
            Value::Opaque(inner) => inner.runtime_type_name(),
            _ => "dyn",
        },
    }
}
