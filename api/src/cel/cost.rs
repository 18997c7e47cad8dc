//! How much a rule may cost at most, and how large an expression may be.

use std::collections::BTreeMap;

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, LiteralValue, operators};
use serde_json::Value;

use super::counted::AUTHORIZE;

/// Longest expression, in characters (`ExpressionSizeCodePointLimit` of cel-go's parser).
const SOURCE_CHARS_MAX: usize = 100_000;
/// Deepest nesting of brackets. Parsing and evaluating recurse, and the stack of a worker is small.
const NESTING_MAX: usize = 24;
/// Most operators and selections, each of which may be one more level of recursion.
const OPERATORS_MAX: usize = 150;

/// The most signs and brackets of an expression that the stack of a worker holds for sure.
const SMALL_MAX: usize = 80;

/// Why an expression is too large to be parsed.
pub(super) fn too_large(source: &str) -> Option<String> {
    let size = source.chars().count();
    if size > SOURCE_CHARS_MAX {
        return Some(format!("expression code point size exceeds limit: size: {size}, limit {SOURCE_CHARS_MAX}"));
    }
    let (operators, deepest) = count(source);
    if deepest > NESTING_MAX {
        return Some(format!("expression nests deeper than {NESTING_MAX} brackets"));
    }
    // `&&`, `||`, `==` and the like are two signs each.
    (operators > 2 * OPERATORS_MAX).then(|| format!("expression has more than {OPERATORS_MAX} operators"))
}

/// Whether evaluating an expression may need more stack than a worker has.
pub(crate) fn is_large(source: &str) -> bool {
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

/// Values count as at least this long: numbers become texts, and addresses have bytes.
const SIZE_MIN: u64 = 64;

/// What one step of an expression costs at most, by the size of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// However large they are.
    Step,
    /// Goes through a value once.
    Linear,
    /// Goes through one value for each part of another.
    Product,
    /// Asks the authoriser.
    Check,
}

/// What bounds the cost of an expression: how many steps of which weight are inside how many loops.
#[derive(Debug, Default)]
pub(super) struct Shape {
    steps: BTreeMap<(u32, Weight), u64>,
    /// How often values are put together.
    joins: u64,
    /// How often a value may become as long as the product of others.
    products: u32,
    /// The longest text in the expression.
    literal: u64,
    /// Nothing is known of the size of what it makes.
    boundless: bool,
}

impl Shape {
    /// The shape of an expression.
    pub(super) fn of(expr: &IdedExpr) -> Self {
        let mut shape = Self::default();
        shape.visit(expr, 0);
        shape
    }

    /// The most that the expression costs, if no list, map or text is longer than `longest`.
    pub(super) fn bound(&self, longest: u64) -> u64 {
        self.bound_with(longest, AUTHORIZE)
    }

    /// The same as work for this thread, which asking the authoriser is not.
    pub(super) fn work(&self, longest: u64) -> u64 {
        self.bound_with(longest, 1)
    }

    fn bound_with(&self, longest: u64, check: u64) -> u64 {
        if self.boundless {
            return u64::MAX;
        }
        let mut size = longest.max(self.literal).max(SIZE_MIN).saturating_mul(1 + self.joins);
        for _ in 0..self.products {
            size = size.saturating_mul(size);
        }
        let one = |weight: Weight| match weight {
            // To make a map costs most.
            Weight::Step => 30,
            Weight::Linear => size.saturating_add(12),
            Weight::Product => size.saturating_mul(size).saturating_mul(3).saturating_add(12),
            Weight::Check => check,
        };
        let times = |depth: u32| size.saturating_pow(depth);
        let costs =
            self.steps.iter().map(|((depth, weight), n)| one(*weight).saturating_mul(*n).saturating_mul(times(*depth)));
        costs.fold(0, u64::saturating_add)
    }

    fn visit(&mut self, expr: &IdedExpr, depth: u32) {
        let weight = match &expr.expr {
            Expr::Call(call) => {
                call.args.iter().chain(call.target.as_deref()).for_each(|arg| self.visit(arg, depth));
                self.weigh(&call.func_name)
            }
            Expr::Comprehension(c) => {
                self.visit(&c.iter_range, depth);
                self.visit(&c.accu_init, depth);
                self.visit(&c.result, depth);
                self.visit(&c.loop_cond, depth + 1);
                self.visit(&c.loop_step, depth + 1);
                Weight::Step
            }
            Expr::List(list) => {
                list.elements.iter().for_each(|element| self.visit(element, depth));
                Weight::Step
            }
            Expr::Map(map) => {
                map.entries.iter().for_each(|entry| self.entry(&entry.expr, depth));
                Weight::Step
            }
            Expr::Struct(fields) => {
                fields.entries.iter().for_each(|entry| self.entry(&entry.expr, depth));
                Weight::Step
            }
            Expr::Select(select) => {
                self.visit(&select.operand, depth);
                Weight::Step
            }
            Expr::Literal(literal) => {
                if let LiteralValue::String(text) = literal {
                    self.literal = self.literal.max(text.inner().len() as u64);
                }
                Weight::Step
            }
            Expr::Unspecified | Expr::Ident(_) => Weight::Step,
        };
        *self.steps.entry((depth, weight)).or_default() += 1;
    }

    fn entry(&mut self, entry: &EntryExpr, depth: u32) {
        match entry {
            EntryExpr::StructField(field) => self.visit(&field.value, depth),
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key, depth);
                self.visit(&entry.value, depth);
            }
        }
    }

    fn weigh(&mut self, function: &str) -> Weight {
        match function {
            operators::ADD => self.joins += 1,
            "join" | "replace" | "format" => self.products += 1,
            "flatten" | "range" => self.boundless = true,
            "check" => return Weight::Check,
            "matches"
            | "find"
            | "findAll"
            | "contains"
            | "validate"
            | "isSorted"
            | "sum"
            | "min"
            | "max"
            | "indexOf"
            | "lastIndexOf"
            | "distinct"
            | "sort"
            | "@sortByAssociatedKeys"
            | "intersects"
            | "equivalent"
            | "fieldSelector"
            | "labelSelector" => {
                return Weight::Product;
            }
            operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT | operators::CONDITIONAL => {
                return Weight::Step;
            }
            _ => {}
        }
        Weight::Linear
    }
}

/// How long the longest list, map or text in a value is.
pub(crate) fn longest(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.iter().map(longest).max().unwrap_or(0).max(items.len() as u64),
        Value::Object(map) => map.values().map(longest).max().unwrap_or(0).max(map.len() as u64),
        Value::String(text) => text.len() as u64,
        _ => 1,
    }
}
