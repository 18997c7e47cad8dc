//! Literals that could only fail when the rule runs: durations, times, regular expressions, mixed lists and maps.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue};

use super::Checker;
use super::formats::FORMAT;
use crate::cel::types::Type;
use crate::go::{duration, regexp};
use crate::time;

impl Checker<'_> {
    /// Looks for them; what `format` is given may be mixed.
    pub(super) fn literals(&mut self, expr: &IdedExpr, may_mix: bool) {
        match &expr.expr {
            Expr::Call(call) => {
                self.argument(call);
                self.format(expr.id, call);
                let may_mix = may_mix || call.func_name == FORMAT;
                call.target.iter().for_each(|target| self.literals(target, may_mix));
                call.args.iter().for_each(|argument| self.literals(argument, may_mix));
            }
            Expr::Select(select) => self.literals(&select.operand, may_mix),
            Expr::List(list) => {
                let of = |checker: &Self, i: usize, element: &IdedExpr| {
                    let ty = checker.checked.ty(element);
                    if list.optional_indices.contains(&i) { ty.unwrapped().0.clone() } else { ty.clone() }
                };
                let all: Vec<(u64, Type)> =
                    list.elements.iter().enumerate().map(|(i, e)| (e.id, of(self, i, e))).collect();
                if !may_mix {
                    self.same(&all, true);
                }
                list.elements.iter().for_each(|element| self.literals(element, may_mix));
            }
            Expr::Map(map) => {
                let (mut keys, mut values) = (Vec::new(), Vec::new());
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
                    let ty = self.checked.ty(&entry.value);
                    let ty = if entry.optional { ty.unwrapped().0 } else { ty };
                    keys.push((entry.key.id, self.checked.ty(&entry.key).clone()));
                    values.push((entry.value.id, ty.clone()));
                    self.literals(&entry.key, may_mix);
                    self.literals(&entry.value, may_mix);
                }
                if !may_mix {
                    self.same(&keys, false);
                    self.same(&values, false);
                }
            }
            Expr::Struct(literal) => {
                for entry in &literal.entries {
                    if let EntryExpr::StructField(field) = &entry.expr {
                        self.literals(&field.value, may_mix);
                    }
                }
            }
            Expr::Comprehension(c) => {
                for part in [&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result] {
                    self.literals(part, may_mix);
                }
            }
            _ => {}
        }
    }

    fn argument(&mut self, call: &CallExpr) {
        let Some(IdedExpr { id, expr: Expr::Literal(LiteralValue::String(text)) }) = call.args.first() else { return };
        let text = text.inner();
        let good = match call.func_name.as_str() {
            "duration" => duration::parse(text).is_ok(),
            "timestamp" => time::parse(text).is_ok(),
            "matches" => regexp::compile(text).is_ok(),
            _ => true,
        };
        if !good {
            self.report(*id, format!("invalid {} argument", call.func_name));
        }
    }

    fn same(&mut self, all: &[(u64, Type)], only_first: bool) {
        let Some((_, first)) = all.first() else { return };
        for (id, ty) in all.iter().filter(|(_, ty)| ty != first) {
            self.mismatch(*id, first, ty);
            if only_first {
                break;
            }
        }
    }
}
