//! What a rule costs at most for one value: the estimate of the definition, with the sizes that the value has in
//! place of those that the schema allows.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::check::check;
use super::compile::parse;
use super::data::escape;
use super::declare::Declared;
use super::estimate::estimate;
use super::on_large_stack;
use super::types::{Object, Type};
use crate::crd::node::{Additional, Node};

/// The most that a rule costs for a value, and for what it was before if the rule reads that. None if the rule does
/// not compile against the schema.
pub(super) fn cost(source: &str, schema: &Node, value: &Value, old: Option<&Value>) -> Option<u64> {
    on_large_stack(|| {
        let values: Vec<&Value> = [value].into_iter().chain(old).collect();
        let declared = measure(schema, &values, "self")?;
        let parsed = parse(source).ok()?;
        for of_old in [declared.ty.clone(), Type::optional(declared.ty.clone())] {
            let variables = [("self", declared.ty.clone()), ("oldSelf", of_old)];
            if let Ok((_, checked)) = check(&parsed.expr, parsed.info(), &variables) {
                return Some(estimate(&parsed.expr, &checked, &declared));
            }
        }
        None
    })
    .flatten()
}

/// The type at a place of the schema, as large as the largest of the values there.
fn measure(schema: &Node, values: &[&Value], name: &str) -> Option<Declared> {
    let has = |kind: &str| schema.types.iter().any(|t| t == kind);
    let longest = || {
        let lengths = values.iter().filter_map(|v| v.as_str()).map(|text| text.chars().count());
        lengths.max().unwrap_or(0)
    };
    if has("string") {
        let ty = match schema.format.as_str() {
            _ if has("integer") => Type::Dyn,
            "byte" => Type::Bytes,
            "duration" => Type::Duration,
            "date" | "date-time" => Type::Timestamp,
            _ => Type::String,
        };
        return Some(Declared::measured(ty, longest(), None));
    }
    if has("array") {
        let lists: Vec<&Vec<Value>> = values.iter().filter_map(|v| v.as_array()).collect();
        let all: Vec<&Value> = lists.iter().flat_map(|list| list.iter()).collect();
        let item = measure(schema.items.as_deref()?, &all, &format!("{name}.@idx"))?;
        let most = lists.iter().map(|list| list.len()).max().unwrap_or(0);
        return Some(Declared::measured(Type::list(item.ty.clone()), most, Some(item)));
    }
    if has("object") || schema.types.is_empty() {
        return object(schema, values, name);
    }
    let ty = if has("boolean") {
        Type::Bool
    } else if has("number") {
        Type::Double
    } else {
        Type::Int
    };
    Some(Declared::measured(ty, 0, None))
}

fn object(schema: &Node, values: &[&Value], name: &str) -> Option<Declared> {
    let maps: Vec<_> = values.iter().filter_map(|v| v.as_object()).collect();
    if let Additional::Schema(of_value) = &schema.additional {
        let all: Vec<&Value> = maps.iter().flat_map(|map| map.values()).collect();
        let value = measure(of_value, &all, &format!("{name}.@elem"))?;
        let most = maps.iter().map(|map| map.len()).max().unwrap_or(0);
        let ty = Type::Map(Arc::new(Type::String), Arc::new(value.ty.clone()));
        return Some(Declared::measured(ty, most, Some(value)));
    }
    let mut fields = HashMap::new();
    for (field, below) in &schema.properties {
        let all: Vec<&Value> = maps.iter().filter_map(|map| map.get(field)).collect();
        let Some(escaped) = escape(field) else { continue };
        if let Some(declared) = measure(below, &all, &format!("{name}.{escaped}")) {
            fields.insert(escaped, declared);
        }
    }
    // Every object has these, whatever the schema says.
    for field in ["kind", "apiVersion", "name", "generateName"] {
        fields.entry(field.to_string()).or_insert_with(|| Declared::measured(Type::String, 253, None));
    }
    if !fields.contains_key("metadata") && !name.ends_with(".metadata") {
        let metadata = object(&Node::default(), &[], &format!("{name}.metadata"))?;
        fields.insert("metadata".into(), metadata);
    }
    let ty = Type::Object(Object { name: name.into(), fields: Arc::new(fields) });
    Some(Declared::measured(ty, 0, None))
}
