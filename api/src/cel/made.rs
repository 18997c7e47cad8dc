//! Structs that expressions make: `Object{…}` and `JSONPatch{…}` of mutations (`cel/mutation` in apiserver).
//!
//! Their names are not known beforehand (`Object.spec.template` is one), while the interpreter wants each struct declared. So
//! a literal becomes a call that is given the name and a map of the fields, which also knows what an optional field is.

use std::collections::BTreeMap;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, LiteralValue, MapEntryExpr, MapExpr, StructExpr,
};
use cel::common::types::{MAP_TYPE, STRING_TYPE};
use cel::common::value::CowVal;
use cel::objects::{Key, Opaque};
use cel::{Env, ExecutionError, IdedExpr, Value};

use super::library::{declare, error, opaque, text};

/// The function that literals call. Its name cannot be written.
pub(super) const MAKE: &str = "@make";
/// The type of patches.
pub(super) const JSON_PATCH: &str = "JSONPatch";
/// The type of configurations; the types of their fields begin with it and a dot.
pub(super) const OBJECT: &str = "Object";

/// Whether a type of this name can be made.
pub(super) fn is_type(name: &str) -> bool {
    name == JSON_PATCH || name == OBJECT || name.starts_with("Object.")
}

/// A struct that was made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) name: String,
    pub(crate) fields: BTreeMap<String, Value>,
}

impl Opaque for Made {
    fn runtime_type_name(&self) -> &str {
        &self.name
    }
}

pub(super) fn declare_all(env: &mut Env) {
    declare!(env;
        function "@make" (STRING_TYPE, MAP_TYPE) => make;
        function "jsonpatch.escapeKey" (STRING_TYPE) => |args| Ok(Value::from(escaped(text(&args[0])?)));
    );
}

/// A key as a part of a path of JSON patches.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn make(args: &[Value]) -> Result<Value, ExecutionError> {
    let (name, Value::Map(map)) = (text(&args[0])?, &args[1]) else { return error("make", "no such overload") };
    let mut fields = BTreeMap::new();
    for (key, value) in map.map.iter() {
        let Key::String(field) = key else { return error("make", "no such overload") };
        if name == JSON_PATCH && field.as_str() != "value" && !matches!(value, Value::String(_)) {
            let found = value.type_of();
            return error("make", format!("unexpected type {found} for JSONPatchType '{field}' field"));
        }
        fields.insert(field.to_string(), value.clone());
    }
    Ok(opaque(Made { name: name.to_string(), fields }))
}

/// The same expression with calls in place of literals of structs.
pub(super) fn without_literals(mut expr: IdedExpr) -> IdedExpr {
    replace(&mut expr);
    expr
}

fn replace(expr: &mut IdedExpr) {
    match &mut expr.expr {
        Expr::Call(call) => call.args.iter_mut().chain(call.target.as_deref_mut()).for_each(replace),
        Expr::Comprehension(comprehension) => {
            let ComprehensionExpr { iter_range, accu_init, loop_cond, loop_step, result, .. } = &mut **comprehension;
            [iter_range, accu_init, loop_cond, loop_step, result].into_iter().for_each(replace);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(replace),
        Expr::Map(map) => map.entries.iter_mut().for_each(replace_entry),
        Expr::Select(select) => replace(&mut select.operand),
        Expr::Struct(literal) => {
            literal.entries.iter_mut().for_each(replace_entry);
            expr.expr = call(std::mem::take(literal));
        }
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}

fn replace_entry(entry: &mut IdedEntryExpr) {
    match &mut entry.expr {
        EntryExpr::StructField(field) => replace(&mut field.value),
        EntryExpr::MapEntry(entry) => [&mut entry.key, &mut entry.value].into_iter().for_each(replace),
    }
}

fn call(literal: StructExpr) -> Expr {
    let name = |text: String| IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::String(text.into())) };
    let entry = |entry: IdedEntryExpr| match entry.expr {
        EntryExpr::StructField(field) => {
            let of_map = MapEntryExpr { key: name(field.field), value: field.value, optional: field.optional };
            IdedEntryExpr { id: entry.id, expr: EntryExpr::MapEntry(of_map) }
        }
        EntryExpr::MapEntry(_) => entry,
    };
    let fields = Expr::Map(MapExpr { entries: literal.entries.into_iter().map(entry).collect() });
    let args = vec![name(literal.type_name.trim_start_matches('.').to_string()), IdedExpr { id: 0, expr: fields }];
    Expr::Call(CallExpr { func_name: MAKE.into(), target: None, args })
}

/// What names of types are wrong in a struct: each is that of the struct around it, and the field that it is in
/// (`CheckTypeNamesMatchFieldPathNames`).
pub(crate) fn misnamed(value: &Value, path: &str, wrong: &mut Vec<String>) {
    match value {
        Value::Opaque(inner) => {
            let Some(made) = inner.downcast_ref::<Made>().filter(|made| made.name != JSON_PATCH) else { return };
            if made.name != path {
                wrong.push(format!(
                    "unexpected type name {:?}, expected {path:?}, which matches field name path from root Object type",
                    made.name
                ));
            }
            made.fields.iter().for_each(|(field, value)| misnamed(value, &format!("{path}.{field}"), wrong));
        }
        Value::List(items) => items.iter().for_each(|item| misnamed(item, path, wrong)),
        Value::Map(map) => map.map.values().for_each(|value| misnamed(value, path, wrong)),
        _ => {}
    }
}
