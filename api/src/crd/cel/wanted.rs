//! What the rules of a place read of `self` and `oldSelf`, so that the rest of a large value need not be converted.

use std::collections::BTreeMap;

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr};

/// The fields that are read, by the names that expressions write.
#[derive(Debug, Default)]
pub(in crate::crd) struct Wanted {
    whole: bool,
    fields: BTreeMap<String, Self>,
}

impl Wanted {
    /// Everything.
    pub(super) const ALL: &'static Self = &Self { whole: true, fields: BTreeMap::new() };

    /// What expressions read.
    pub(super) fn by<'e>(expressions: impl IntoIterator<Item = &'e IdedExpr>) -> Self {
        let mut wanted = Self::default();
        expressions.into_iter().for_each(|expression| wanted.read(expression));
        wanted
    }

    /// What is read of a field; none if it is not read at all.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        if self.whole { Some(self) } else { self.fields.get(name) }
    }

    fn read(&mut self, expression: &IdedExpr) {
        if let Some(place) = self.place(expression) {
            place.whole = true;
            return;
        }
        match &expression.expr {
            Expr::Call(call) => call.args.iter().chain(call.target.as_deref()).for_each(|arg| self.read(arg)),
            Expr::Comprehension(c) => {
                for part in [&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result] {
                    self.read(part);
                }
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.read(element)),
            Expr::Select(select) => self.read(&select.operand),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.read_entry(&entry.expr)),
            Expr::Struct(fields) => fields.entries.iter().for_each(|entry| self.read_entry(&entry.expr)),
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        }
    }

    fn read_entry(&mut self, entry: &EntryExpr) {
        match entry {
            EntryExpr::StructField(field) => self.read(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.read(&entry.key);
                self.read(&entry.value);
            }
        }
    }

    /// The place that an expression names by plain selections; none if it is anything else.
    fn place(&mut self, expression: &IdedExpr) -> Option<&mut Self> {
        match &expression.expr {
            Expr::Ident(name) if name == "self" || name == "oldSelf" => Some(self),
            Expr::Select(select) => Some(self.place(&select.operand)?.fields.entry(select.field.clone()).or_default()),
            _ => None,
        }
    }
}
