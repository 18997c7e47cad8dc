//! Regular expressions that are written out in an expression: compiled once, and not at each run.

use std::sync::Arc;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue};
use cel::common::types::{DYN_TYPE, STRING_TYPE};
use cel::common::value::CowVal;
use cel::objects::Opaque;
use cel::{Env, ExecutionError, IdedExpr, Value};

use super::bound::{Boxed, boxed};
use super::library::{declare, error, inner, text};
use crate::go::regexp;

/// What the variables begin with that hold them. It cannot be written.
const PATTERN: &str = "@pattern";

/// A compiled regular expression; two of the same text are the same.
#[derive(Debug)]
struct Pattern(regex::Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Opaque for Pattern {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.Pattern"
    }
}

pub(super) fn declare_all(env: &mut Env) {
    declare!(env;
        function "@matches" (STRING_TYPE, DYN_TYPE) => |args| match inner::<Pattern>(&args[1]) {
            Some(pattern) => Ok(Value::Bool(pattern.0.is_match(text(&args[0])?))),
            None => error("matches", "no such overload"),
        };
    );
}

/// An expression whose patterns are variables.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) tree: IdedExpr,
    patterns: Vec<Boxed<'static>>,
}

impl Prepared {
    /// The expression with its patterns compiled; none if it has none.
    pub(super) fn new(tree: &IdedExpr) -> Option<Self> {
        let mut prepared = Self { tree: tree.clone(), patterns: Vec::new() };
        replace(&mut prepared.tree, &mut prepared.patterns);
        (!prepared.patterns.is_empty()).then_some(prepared)
    }

    /// The pattern that a variable holds.
    pub(super) fn pattern(&self, name: &str) -> Option<&Boxed<'static>> {
        self.patterns.get(name.strip_prefix(PATTERN)?.parse::<usize>().ok()?)
    }
}

fn replace(expr: &mut IdedExpr, patterns: &mut Vec<Boxed<'static>>) {
    match &mut expr.expr {
        Expr::Call(call) => {
            call.args.iter_mut().chain(call.target.as_deref_mut()).for_each(|part| replace(part, patterns));
            compile(call, patterns);
        }
        Expr::Comprehension(comprehension) => {
            let ComprehensionExpr { iter_range, accu_init, loop_cond, loop_step, result, .. } = &mut **comprehension;
            [iter_range, accu_init, loop_cond, loop_step, result].into_iter().for_each(|part| replace(part, patterns));
        }
        Expr::List(list) => list.elements.iter_mut().for_each(|element| replace(element, patterns)),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    replace(&mut entry.key, patterns);
                    replace(&mut entry.value, patterns);
                }
            }
        }
        Expr::Select(select) => replace(&mut select.operand, patterns),
        Expr::Struct(_) | Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}

/// `text.matches('pattern')`
fn compile(call: &mut CallExpr, patterns: &mut Vec<Boxed<'static>>) {
    let ("matches", [IdedExpr { expr: Expr::Literal(LiteralValue::String(source)), .. }]) =
        (call.func_name.as_str(), call.args.as_slice())
    else {
        return;
    };
    let (Some(_), Ok(regex)) = (&call.target, regexp::compile(source.inner())) else { return };
    let Some(target) = call.target.take() else { return };
    let name = format!("{PATTERN}{}", patterns.len());
    patterns.push(boxed(Value::Opaque(Arc::new(Pattern(regex)))));
    call.func_name = "@matches".into();
    call.args = vec![*target, IdedExpr { id: 0, expr: Expr::Ident(name) }];
}
