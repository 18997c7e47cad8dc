//! Values of expressions as patches (`smd.go` and `json_patch.go` of apiserver's `policy/mutating/patch`).

use base64::Engine;
use cel::Value;
use cel::objects::{Key, OptionalValue};
use serde_json::{Map, Value as Json};

use crate::cel::{Made, misnamed};
use crate::go::duration;

/// What a mutation wants to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Patch {
    /// A configuration that is merged as apply does, though nobody owns its fields afterwards.
    Configuration(Map<String, Json>),
    /// The operations of a JSON patch.
    Operations(Json),
}

fn made(value: &Value) -> Option<&Made> {
    match value {
        Value::Opaque(inner) => inner.downcast_ref(),
        _ => None,
    }
}

fn checked_names(value: &Value, name: &str) -> Result<(), String> {
    let mut wrong = Vec::new();
    misnamed(value, name, &mut wrong);
    if wrong.is_empty() { Ok(()) } else { Err(format!("type mismatch: {}", wrong.join("\n"))) }
}

/// The configuration that an expression gives.
pub(super) fn configuration(value: &Value) -> Result<Patch, String> {
    let Some(object) = made(value) else {
        return Err(format!("unsupported return type from ApplyConfiguration expression: {}", value.type_of()));
    };
    checked_names(value, &object.name)?;
    Ok(Patch::Configuration(fields(object)?))
}

/// The operations that an expression gives.
pub(super) fn operations(value: &Value) -> Result<Patch, String> {
    let Value::List(items) = value else {
        return Err("type mismatch: JSONPatchType.expression should evaluate to array".into());
    };
    let operation = |item: &Value| {
        let Some(operation) = made(item) else {
            return Err("type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch".to_string());
        };
        let mut shown = Map::new();
        for name in ["op", "path", "from"] {
            match operation.fields.get(name) {
                Some(Value::String(text)) if name != "from" || !text.is_empty() => {
                    shown.insert(name.into(), Json::String(text.to_string()));
                }
                None if name != "from" => {
                    shown.insert(name.into(), "".into());
                }
                _ => {}
            }
        }
        if let Some(value) = operation.fields.get("value") {
            if let Some(object) = made(value) {
                checked_names(value, &object.name)?;
            }
            let why =
                |why| format!("JSONPath valueExpression evaluated to a type that could not marshal to JSON: {why}");
            shown.insert("value".into(), json(value).map_err(why)?);
        }
        Ok(Json::Object(shown))
    };
    items.iter().map(operation).collect::<Result<Vec<Json>, String>>().map(|all| Patch::Operations(all.into()))
}

fn fields(made: &Made) -> Result<Map<String, Json>, String> {
    made.fields.iter().map(|(name, value)| Ok((name.clone(), json(value)?))).collect()
}

/// A value as JSON.
fn json(value: &Value) -> Result<Json, String> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(n) => (*n).into(),
        Value::UInt(n) => (*n).into(),
        Value::Float(n) => number(*n),
        Value::String(text) => Json::String(text.to_string()),
        Value::Bytes(bytes) => base64::engine::general_purpose::STANDARD.encode(&**bytes).into(),
        Value::Duration(d) => duration::format(d.num_nanoseconds().unwrap_or(i64::MAX)).into(),
        Value::Timestamp(time) => time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true).into(),
        Value::List(items) => items.iter().map(json).collect::<Result<Vec<Json>, String>>()?.into(),
        Value::Map(map) => {
            let entry = |(key, value): (&Key, &Value)| match key {
                Key::String(name) => Ok((name.to_string(), json(value)?)),
                other => Err(format!("map key {other} is not a string")),
            };
            Json::Object(map.map.iter().map(entry).collect::<Result<Map<String, Json>, String>>()?)
        }
        Value::Opaque(inner) => match (inner.downcast_ref::<Made>(), <&OptionalValue>::try_from(value)) {
            (Some(made), _) => Json::Object(fields(made)?),
            (None, Ok(optional)) => optional.value().map_or(Ok(Json::Null), json)?,
            (None, Err(_)) => return Err(format!("unsupported type: {}", inner.runtime_type_name())),
        },
        other => return Err(format!("unsupported type: {}", other.type_of())),
    })
}

/// A number; a whole one as the integer that it is.
fn number(n: f64) -> Json {
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    if n.fract() == 0.0 && n.abs() <= WHOLE_MAX { (n as i64).into() } else { n.into() }
}
