//! How much a rule may cost at most, and how large an expression may be.

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr};
use serde_json::Value;

/// Longest expression, in bytes.
const SOURCE_BYTES_MAX: usize = 16 * 1024;
/// Deepest nesting of brackets. Parsing and evaluating recurse, and the stack of a worker is small.
const NESTING_MAX: usize = 24;
/// Most operators and selections, each of which may be one more level of recursion.
const OPERATORS_MAX: usize = 150;

/// The most signs and brackets of an expression that the stack of a worker holds for sure.
const SMALL_MAX: usize = 80;

/// Why an expression is too large to be parsed.
pub(super) fn too_large(source: &str) -> Option<String> {
    if source.len() > SOURCE_BYTES_MAX {
        return Some(format!("expression is longer than {SOURCE_BYTES_MAX} bytes"));
    }
    let (operators, deepest) = count(source);
    if deepest > NESTING_MAX {
        return Some(format!("expression nests deeper than {NESTING_MAX} brackets"));
    }
    // `&&`, `||`, `==` and the like are two signs each.
    (operators > 2 * OPERATORS_MAX).then(|| format!("expression has more than {OPERATORS_MAX} operators"))
}

/// Whether evaluating an expression may need more stack than a worker has.
pub(in crate::crd) fn is_large(source: &str) -> bool {
    let (operators, deepest) = count(source);
    operators + 8 * deepest > SMALL_MAX
}

/// How many signs of operators an expression has, and how deep its brackets nest.
fn count(source: &str) -> (usize, usize) {
    let (mut depth, mut deepest, mut operators) = (0usize, 0, 0);
    let mut quote: Option<u8> = None;
    let mut bytes = source.bytes();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (Some(_), b'\\') => {
                bytes.next();
            }
            (Some(q), byte) if q == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'(' | b'[' | b'{') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (None, b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            (None, b'!' | b'-' | b'+' | b'*' | b'/' | b'%' | b'.' | b'?' | b'&' | b'|' | b'<' | b'>' | b'=') => {
                operators += 1;
            }
            _ => {}
        }
    }
    (operators, deepest)
}

/// How deeply the loops of an expression nest.
pub(super) fn loops(expr: &IdedExpr) -> u32 {
    let of_all = |all: &[IdedExpr]| all.iter().map(loops).max().unwrap_or(0);
    match &expr.expr {
        Expr::Call(call) => of_all(&call.args).max(call.target.as_ref().map_or(0, |target| loops(target))),
        Expr::Comprehension(c) => {
            let inside = loops(&c.loop_step).max(loops(&c.loop_cond)) + 1;
            inside.max(loops(&c.iter_range)).max(loops(&c.result)).max(loops(&c.accu_init))
        }
        Expr::List(list) => of_all(&list.elements),
        Expr::Select(select) => loops(&select.operand),
        Expr::Map(map) => map.entries.iter().map(|entry| of_entry(&entry.expr)).max().unwrap_or(0),
        Expr::Struct(fields) => fields.entries.iter().map(|entry| of_entry(&entry.expr)).max().unwrap_or(0),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => 0,
    }
}

fn of_entry(entry: &EntryExpr) -> u32 {
    match entry {
        EntryExpr::StructField(field) => loops(&field.value),
        EntryExpr::MapEntry(entry) => loops(&entry.key).max(loops(&entry.value)),
    }
}

/// How long the longest list or map in a value is.
pub(super) fn longest(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.iter().map(longest).max().unwrap_or(0).max(items.len() as u64),
        Value::Object(map) => map.values().map(longest).max().unwrap_or(0).max(map.len() as u64),
        _ => 1,
    }
}
