//! What one call costs, told from its operands and result.

use cel::Value;
use cel::common::ast::operators;
use cel::objects::OptionalValue;

use super::CREATE_LIST;
use crate::cel::network;

/// To go through a text or bytes costs this much a character.
const TRAVERSE: f64 = 0.1;
/// A regular expression costs this much a character.
const REGEX: f64 = 0.25;
/// To ask the authoriser: two of it fit into one expression.
pub(in crate::cel) const AUTHORIZE: u64 = 350_000;
/// What a list and a struct of each two characters of a selector cost.
const REQUIREMENT: f64 = 50.0;
/// How long the regular expression of a named format counts as.
const FORMAT_REGEX: u64 = 128;

fn scaled(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

/// The size that counts (`actualSize`): of texts in characters, of lists and maps in items, and one for anything else.
fn size(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.chars().count() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
        Value::List(list) => list.len() as u64,
        Value::Map(map) => map.map.len() as u64,
        Value::Opaque(_) => match <&OptionalValue>::try_from(value).ok().and_then(OptionalValue::value) {
            Some(inner) => size(inner),
            None => network::size(value).unwrap_or(1),
        },
        _ => 1,
    }
}

/// To look at everything in a value (`traversalCost`).
fn traversal(value: &Value) -> u64 {
    match value {
        Value::String(text) => (text.len() as f64 * TRAVERSE) as u64,
        Value::Bytes(bytes) => (bytes.len() as f64 * TRAVERSE) as u64,
        Value::List(list) => list.iter().map(traversal).sum(),
        Value::Map(map) => map.map.iter().map(|(key, value)| traversal(&key.into()) + traversal(value)).sum(),
        _ => 1,
    }
}

fn is_text(value: Option<&Value>) -> bool {
    matches!(value, Some(Value::String(_) | Value::Bytes(_)))
}

/// To match a regular expression of a length.
fn matched(text: u64, regex: u64) -> u64 {
    scaled(1 + text, TRAVERSE).saturating_mul(scaled(regex, REGEX))
}

/// To make a list whose items are each looked at some times.
fn allocating(factor: f64, size: u64) -> u64 {
    (size as f64 * factor) as u64 + 1 + CREATE_LIST
}

fn compared_with_itself(list: &Value) -> u64 {
    let first = if let Value::List(items) = list { items.first() } else { None };
    let factor = if is_text(first) { 2.0 + TRAVERSE } else { 2.0 };
    allocating(factor, size(list).saturating_mul(size(list)))
}

/// What a call costs beside its operands, of which the target is the first. `qualifier` is what stands before the name
/// if that is no value.
pub(super) fn cost(qualifier: &str, name: &str, operands: &[Value], result: Option<&Value>) -> u64 {
    let at = |place: usize| operands.get(place).map_or(1, size);
    let of_result = || result.map_or(1, size);
    match (qualifier, name) {
        ("sets", "contains" | "intersects") => return 1 + at(0).saturating_mul(at(1)),
        ("sets", "equivalent") => return 1 + at(0).saturating_mul(at(1)).saturating_mul(2),
        ("lists", "range") => return allocating(1.0, of_result()),
        ("ip", "isCanonical") => return scaled(at(0), 2.0 * TRAVERSE),
        ("jsonpatch", "escapeKey") | ("strings", "quote") => return scaled(at(0), TRAVERSE),
        _ => {}
    }
    match name {
        operators::EQUALS | operators::NOT_EQUALS => scaled(at(0).min(at(1)), TRAVERSE),
        operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS
            if is_text(operands.first()) && is_text(operands.get(1)) =>
        {
            scaled(at(0).min(at(1)), TRAVERSE)
        }
        operators::ADD if is_text(operands.first()) => scaled(at(0) + at(1), TRAVERSE),
        operators::IN if matches!(operands.get(1), Some(Value::List(_))) => at(1),
        "startsWith" | "endsWith" | "format" => scaled(at(0), TRAVERSE),
        "bytes" if matches!(operands.first(), Some(Value::String(_))) => scaled(at(0), TRAVERSE),
        "string" if matches!(operands.first(), Some(Value::Bytes(_))) => scaled(at(0), TRAVERSE),
        "contains" if is_text(operands.first()) => scaled(at(0), TRAVERSE).saturating_mul(scaled(at(1), TRAVERSE)),
        "matches" | "find" | "findAll" => matched(at(0), at(1)),
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => operands.first().map_or(0, traversal),
        "url" | "lowerAscii" | "upperAscii" | "substring" | "trim" | "cidr" | "isIP" | "isCIDR" | "quantity"
        | "isQuantity" | "semver" | "isSemver" => scaled(at(0), TRAVERSE),
        "ip" if is_text(operands.first()) => scaled(at(0), TRAVERSE),
        "replace" | "split" => scaled(at(0), 2.0 * TRAVERSE),
        "join" => scaled(of_result(), 2.0 * TRAVERSE),
        "containsIP" | "containsCIDR" => {
            let more = if name == "containsCIDR" { scaled(at(0), TRAVERSE) + 1 } else { 0 };
            let parsed = if is_text(operands.get(1)) { scaled(at(1), TRAVERSE) } else { 0 };
            scaled(2 * at(0), TRAVERSE) + more + parsed
        }
        "validate" => matched(at(1), FORMAT_REGEX),
        "slice" | "reverse" if matches!(operands.first(), Some(Value::List(_))) => allocating(1.0, of_result()),
        "flatten" => {
            let depth = if let Some(Value::Int(depth)) = operands.get(1) { *depth as f64 } else { 1.0 };
            allocating(depth, at(0))
        }
        "check" => AUTHORIZE,
        "fieldSelector" | "labelSelector" => {
            CREATE_LIST + scaled(at(1), TRAVERSE) + scaled(scaled(at(1), 0.5), REQUIREMENT)
        }
        "distinct" | "sort" => operands.first().map_or(1, compared_with_itself),
        "@sortByAssociatedKeys" => operands.get(1).map_or(1, compared_with_itself),
        _ => 1,
    }
}
