//! How much a rule may cost at most.

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr};
use serde_json::Value;

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
