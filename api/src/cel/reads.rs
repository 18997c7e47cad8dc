//! What expressions read of a variable, so that the rest of a large value need not be converted.

use std::collections::BTreeMap;

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr};

/// The fields that are read, by the names that expressions write.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    whole: bool,
    fields: BTreeMap<String, Self>,
}

impl Reads {
    /// Everything.
    pub(crate) const ALL: &'static Self = &Self { whole: true, fields: BTreeMap::new() };

    /// What expressions read of variables, which have values of one kind.
    pub(super) fn by<'e>(expressions: impl IntoIterator<Item = &'e IdedExpr>, variables: &[&str]) -> Self {
        let mut reads = Self::default();
        expressions.into_iter().for_each(|expression| reads.read(expression, variables));
        reads
    }

    /// What is read of a field; none if it is not read at all.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        if self.whole { Some(self) } else { self.fields.get(name) }
    }

    fn read(&mut self, expression: &IdedExpr, of: &[&str]) {
        if let Some(place) = self.place(expression, of) {
            place.whole = true;
            return;
        }
        match &expression.expr {
            Expr::Call(call) => call.args.iter().chain(call.target.as_deref()).for_each(|arg| self.read(arg, of)),
            Expr::Comprehension(c) => {
                for part in [&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result] {
                    self.read(part, of);
                }
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.read(element, of)),
            Expr::Select(select) => self.read(&select.operand, of),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.read_entry(&entry.expr, of)),
            Expr::Struct(fields) => fields.entries.iter().for_each(|entry| self.read_entry(&entry.expr, of)),
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        }
    }

    fn read_entry(&mut self, entry: &EntryExpr, of: &[&str]) {
        match entry {
            EntryExpr::StructField(field) => self.read(&field.value, of),
            EntryExpr::MapEntry(entry) => {
                self.read(&entry.key, of);
                self.read(&entry.value, of);
            }
        }
    }

    /// The place that an expression names by plain selections; none if it is anything else.
    fn place(&mut self, expression: &IdedExpr, of: &[&str]) -> Option<&mut Self> {
        match &expression.expr {
            Expr::Ident(name) if of.contains(&name.as_str()) => Some(self),
            Expr::Select(select) => {
                Some(self.place(&select.operand, of)?.fields.entry(select.field.clone()).or_default())
            }
            _ => None,
        }
    }
}
