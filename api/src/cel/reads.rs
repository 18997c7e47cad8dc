//! What expressions read of a variable, so that the rest of a large value need not be converted.

use std::collections::BTreeMap;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators};

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

    /// Everything.
    pub(crate) fn all() -> Self {
        Self { whole: true, fields: BTreeMap::new() }
    }

    /// Adds what others read.
    pub(crate) fn add(&mut self, other: &Self) {
        self.whole |= other.whole;
        for (name, below) in &other.fields {
            self.fields.entry(name.clone()).or_default().add(below);
        }
    }

    /// Whether only this is asked: is there something at all?
    pub(super) fn is_presence(&self) -> bool {
        !self.whole && self.fields.is_empty()
    }

    /// What is read of a field; none if it is not read at all.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        if self.whole { Some(self) } else { self.fields.get(name) }
    }

    fn read(&mut self, expression: &IdedExpr, of: &[&str]) {
        let is_test = matches!(&expression.expr, Expr::Select(select) if select.test);
        if let Some(place) = self.place(expression, of) {
            place.whole |= !is_test;
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
            Expr::Call(call) => {
                let (operand, field) = field_of(call)?;
                Some(self.place(operand, of)?.fields.entry(field.to_string()).or_default())
            }
            _ => None,
        }
    }
}

/// The operand and the field of `a.?b`, `a['b']` and `a[?'b']`.
fn field_of(call: &CallExpr) -> Option<(&IdedExpr, &str)> {
    const FIELDS: [&str; 3] = [operators::OPT_SELECT, operators::INDEX, operators::OPT_INDEX];
    match call.args.as_slice() {
        [operand, IdedExpr { expr: Expr::Literal(LiteralValue::String(field)), .. }]
            if FIELDS.contains(&call.func_name.as_str()) =>
        {
            Some((operand, field.inner()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(source: &str) -> Reads {
        let parsed = crate::cel::compile::parse(source).map_err(|_| ()).unwrap();
        Reads::by([&parsed.expr], &["object"])
    }

    #[test]
    fn what_is_only_asked_for_is_not_read() {
        let all = reads("has(object.spec.a) && object.spec.b == 1 && object['c'].d == 2 && object.?e.?f.hasValue()");
        let spec = all.field("spec").unwrap();
        assert!(spec.field("a").is_some_and(Reads::is_presence));
        assert!(spec.field("b").is_some_and(|b| b.field("anything").is_some()));
        assert!(spec.field("z").is_none());
        assert!(all.field("c").unwrap().field("d").is_some_and(|d| d.field("anything").is_some()));
        assert!(all.field("c").unwrap().field("z").is_none());
        assert!(all.field("e").unwrap().field("f").is_some());
        assert!(all.field("z").is_none());
        assert!(reads("object == 1").field("z").is_some());
        let mut both = reads("has(object.a)");
        both.add(&reads("object.a.b"));
        assert!(!both.field("a").unwrap().is_presence());
    }
}
