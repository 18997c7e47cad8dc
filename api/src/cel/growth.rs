//! How much larger than what it reads the values of an expression may become.
//!
//! The interpreter copies what is put into a list or a map, so a few that name each other twice, each the one before, are soon larger
//! than any memory, while each costs next to nothing. The reference shares what is named, and counts only that.

use std::collections::BTreeMap;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, operators};

/// The most that the values of an expression may be larger than what it reads.
pub(super) const GROWTH_MAX: f64 = (1 << 20) as f64;
/// What is said of one whose values are larger.
pub(super) const TOO_LARGE: &str = "expression makes values that are too large";
/// How often a loop over what is read counts as run.
const LOOPS: f64 = 16.0;
/// What gives one small value, whatever it is given.
const SMALL: [&str; 18] = [
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::NOT_STRICTLY_FALSE,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::IN,
    "size",
    "matches",
    "contains",
    "startsWith",
    "endsWith",
    "indexOf",
    "lastIndexOf",
];

/// The most that any value in an expression may be larger than what the expression reads.
pub(super) fn growth(expr: &IdedExpr) -> f64 {
    let mut growth = Growth { scope: Vec::new(), sizes: Vec::new(), most: 0.0 };
    growth.visit(expr);
    growth.most
}

/// How large a value may be: so many times the variables of the loops around it, and so much more.
#[derive(Debug, Clone, Default)]
struct Size {
    of: BTreeMap<usize, f64>,
    more: f64,
}

impl Size {
    fn small() -> Self {
        Self { of: BTreeMap::new(), more: 1.0 }
    }

    fn with(mut self, other: Self, join: fn(f64, f64) -> f64) -> Self {
        for (variable, times) in other.of {
            let ours = self.of.entry(variable).or_default();
            *ours = join(*ours, times);
        }
        self.more = join(self.more, other.more);
        self
    }

    fn plus(self, other: Self) -> Self {
        self.with(other, |one, other| one + other)
    }

    fn or(self, other: Self) -> Self {
        self.with(other, f64::max)
    }

    fn times(mut self, number: f64) -> Self {
        self.of.values_mut().for_each(|times| *times *= number);
        self.more *= number;
        self
    }
}

struct Growth<'e> {
    /// What names stand for, the innermost last.
    scope: Vec<(&'e str, Size)>,
    /// How large the variables of loops are, all that one is put to together.
    sizes: Vec<f64>,
    most: f64,
}

impl<'e> Growth<'e> {
    fn visit(&mut self, expr: &'e IdedExpr) -> Size {
        let size = match &expr.expr {
            Expr::Unspecified | Expr::Literal(_) => Size::small(),
            Expr::Ident(name) => {
                let known = self.scope.iter().rev().find(|(known, _)| known == name);
                known.map_or_else(Size::small, |(_, size)| size.clone())
            }
            Expr::Select(select) => self.visit(&select.operand),
            Expr::List(list) => self.sum(&list.elements),
            Expr::Map(map) => self.entries(map.entries.iter().map(|entry| &entry.expr)),
            Expr::Struct(made) => self.entries(made.entries.iter().map(|entry| &entry.expr)),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(looped) => self.looped(looped),
        };
        let whole = size.of.iter().map(|(variable, times)| times * self.sizes[*variable]).sum::<f64>() + size.more;
        self.most = self.most.max(whole);
        size
    }

    fn sum(&mut self, all: impl IntoIterator<Item = &'e IdedExpr>) -> Size {
        all.into_iter().fold(Size::small(), |sum, one| sum.plus(self.visit(one)))
    }

    fn entries(&mut self, all: impl Iterator<Item = &'e EntryExpr>) -> Size {
        let parts = all.flat_map(|entry| match entry {
            EntryExpr::StructField(field) => [Some(&field.value), None],
            EntryExpr::MapEntry(entry) => [Some(&entry.key), Some(&entry.value)],
        });
        self.sum(parts.flatten())
    }

    /// With a name for something.
    fn naming(&mut self, name: &'e str, size: Size, expr: &'e IdedExpr) -> Size {
        self.scope.push((name, size));
        let found = self.visit(expr);
        self.scope.pop();
        found
    }

    fn call(&mut self, call: &'e CallExpr) -> Size {
        if let ("bind", [IdedExpr { expr: Expr::Ident(name), .. }, value, result]) =
            (call.func_name.as_str(), call.args.as_slice())
        {
            let value = self.visit(value);
            return self.naming(name, value, result);
        }
        if let (operators::CONDITIONAL, [asked, one, other]) = (call.func_name.as_str(), call.args.as_slice()) {
            self.visit(asked);
            return self.visit(one).or(self.visit(other));
        }
        let all = self.sum(call.target.as_deref().into_iter().chain(&call.args));
        if SMALL.contains(&call.func_name.as_str()) { Size::small() } else { all }
    }

    fn looped(&mut self, looped: &'e ComprehensionExpr) -> Size {
        let range = self.visit(&looped.iter_range);
        let start = self.visit(&looped.accu_init);
        let loops = match &looped.iter_range.expr {
            Expr::List(list) => list.elements.len() as f64,
            _ => LOOPS,
        };
        let variable = self.sizes.len();
        let whole = range.of.iter().map(|(variable, times)| times * self.sizes[*variable]).sum::<f64>() + range.more;
        self.sizes.push(whole);
        let one = Size { of: BTreeMap::from([(variable, 1.0)]), more: 0.0 };
        let before = self.scope.len();
        self.scope.push((looped.iter_var.as_str(), one.clone()));
        self.scope.extend(looped.iter_var2.as_deref().map(|name| (name, one)));
        // What was gathered already is in what is gathered next, and counts once.
        self.scope.push((looped.accu_var.as_str(), Size::default()));
        self.visit(&looped.loop_cond);
        let mut step = self.visit(&looped.loop_step);
        self.scope.truncate(before);
        // Whatever is made of the parts of the range is made of all of them together.
        let of_range = step.of.remove(&variable).unwrap_or(0.0);
        let gathered = start.plus(range.times(of_range)).plus(step.times(loops));
        self.naming(&looped.accu_var, gathered, &looped.result)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Expression, compile, on_large_stack, parsed};
    use super::*;

    fn grown(source: &str) -> f64 {
        let parse = || compile::parse(source).map_or(f64::INFINITY, |parsed| growth(&parsed.expr));
        on_large_stack(parse).unwrap()
    }

    #[test]
    fn what_names_itself_twice_grows_and_what_is_gathered_does_not() {
        for (source, least, most) in [
            ("object.spec.replicas > 3", 1.0, 4.0),
            ("[object, object, object]", 4.0, 4.0),
            ("[object, object].map(a, [a, a])", 9.0, 20.0),
            ("object.list.all(a, a.list.all(b, b.list.exists(c, c.name == a.name)))", 1.0, 100_000.0),
            ("object.list.map(a, a.list.map(b, b.list.map(c, c.name)))", 1.0, 200_000.0),
            ("object.list.filter(a, a > 1).map(a, a + 1).filter(a, a < 3).size() == 1", 1.0, 1_000.0),
            ("[[0], [1]].map(a, object.list.map(b, object))", 64.0, 1_000.0),
            ("true ? object : [object]", 2.0, 2.0),
        ] {
            let found = grown(source);
            assert!((least..=most).contains(&found), "{source}: {found}");
        }
        let chain = |links: usize| format!("[0]{}.size() == 1", ".map(a, [a, a])".repeat(links));
        assert!(grown(&chain(10)) < GROWTH_MAX);
        assert!(grown(&chain(30)) > GROWTH_MAX);
        assert!(Expression::new(&chain(10)).problem().is_none());
        let nested =
            "[object, object].map(a, [a, a]).map(b, object.map(c, b).map(d, [b, d, d])).map(e, object.map(f, e))";
        assert!(grown(nested) > 10_000.0);
        let list = format!("[{}0]", "0, ".repeat(60));
        let steps = format!("{list}.map(i, {list}.map(j, {list}.map(k, {list}.map(l, {list}))))");
        assert!(parsed(&steps).is_err_and(|why| why.contains("too large")));
    }
}
