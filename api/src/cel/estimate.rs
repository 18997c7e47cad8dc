//! What a rule may cost at most, told from its text and the bounds of the schema before it ever runs
//! (`checker.Cost` of the reference's CEL with the estimator of Kubernetes).

mod calls;
mod range;

use std::collections::HashMap;
use std::sync::Arc;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators};

use super::check::Checked;
use super::declared::Declared;
use super::types::Type;
pub(super) use range::Range;

type Name = Arc<str>;
type Way = Vec<Name>;

const CREATE_LIST: u64 = 10;
const CREATE_MAP: u64 = 30;

/// How large the keys and values of a list or map are.
#[derive(Clone, Copy)]
struct Entry {
    is_list: bool,
    key: Range,
    value: Range,
}

impl Entry {
    fn union(self, other: Entry) -> Entry {
        Entry { is_list: self.is_list, key: self.key.union(other.key), value: self.value.union(other.value) }
    }
}

/// A variable of a loop.
#[derive(Clone)]
struct Local {
    way: Way,
    size: Option<Range>,
    entry: Option<Entry>,
}

/// The most that an expression costs. Paths in it start at a value of type `root`.
pub(super) fn estimate(expr: &IdedExpr, checked: &Checked, root: &Declared) -> u64 {
    let mut estimator = Estimator {
        checked,
        root,
        ways: HashMap::new(),
        sizes: HashMap::new(),
        entries: HashMap::new(),
        locals: HashMap::new(),
    };
    estimator.cost(expr).max
}

struct Estimator<'a> {
    checked: &'a Checked,
    root: &'a Declared,
    /// Where in the schema the value of a part is.
    ways: HashMap<u64, Way>,
    sizes: HashMap<u64, Range>,
    entries: HashMap<u64, Entry>,
    locals: HashMap<String, Vec<Local>>,
}

/// What an estimate of a call has to go by.
struct Part<'a> {
    expr: &'a IdedExpr,
    ty: &'a Type,
    way: Way,
    size: Option<Range>,
}

impl Part<'_> {
    fn size(&self) -> Range {
        self.size.unwrap_or(Range::UNKNOWN)
    }
}

fn step(way: &Way, name: &str) -> Way {
    way.iter().cloned().chain([Name::from(name)]).collect()
}

impl<'a> Estimator<'a> {
    fn cost(&mut self, expr: &'a IdedExpr) -> Range {
        match &expr.expr {
            Expr::Literal(_) | Expr::Unspecified => Range::default(),
            Expr::Ident(name) => self.ident(expr.id, name.trim_start_matches('.')),
            Expr::Select(_) if self.checked.named.contains_key(&expr.id) => {
                let name = self.checked.named[&expr.id].clone();
                self.ident(expr.id, &name)
            }
            Expr::Select(select) => {
                let of_operand = self.cost(&select.operand);
                if select.test {
                    return of_operand;
                }
                let counts = matches!(
                    self.checked.ty(&select.operand),
                    Type::Map(..) | Type::Object(_) | Type::Library(_) | Type::Var(_)
                );
                let way = step(&self.way(&select.operand), &select.field);
                self.ways.insert(expr.id, way);
                of_operand.add(Range::fixed(u64::from(counts)))
            }
            Expr::Call(call) => self.call(expr, call),
            Expr::List(list) => {
                let mut sum = Range::fixed(CREATE_LIST);
                let mut item = None;
                for element in &list.elements {
                    sum = sum.add(self.cost(element));
                    self.widen(&mut item, element);
                }
                let value = item.unwrap_or_default();
                self.entries.insert(expr.id, Entry { is_list: true, key: Range::fixed(1), value });
                sum
            }
            Expr::Map(map) => {
                let mut sum = Range::fixed(CREATE_MAP);
                let (mut key, mut value) = (None, None);
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
                    sum = sum.add(self.cost(&entry.key)).add(self.cost(&entry.value));
                    self.widen(&mut key, &entry.key);
                    self.widen(&mut value, &entry.value);
                }
                let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
                self.entries.insert(expr.id, Entry { is_list: false, key, value });
                sum
            }
            Expr::Struct(_) => Range::default(),
            Expr::Comprehension(comprehension) if is_binding(comprehension) => self.binding(expr.id, comprehension),
            Expr::Comprehension(comprehension) => self.comprehension(expr.id, comprehension),
        }
    }

    fn widen(&mut self, size: &mut Option<Range>, by: &IdedExpr) {
        let one = self.size(by).unwrap_or(Range::UNKNOWN);
        *size = Some(size.map_or(one, |size| size.union(one)));
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.get(name)?.last()
    }

    fn push(&mut self, name: &str, local: Local) {
        self.locals.entry(name.to_string()).or_default().push(local);
    }

    fn pop(&mut self, name: &str) {
        self.locals.get_mut(name).and_then(Vec::pop);
    }

    fn ident(&mut self, id: u64, name: &str) -> Range {
        let way = self.local(name).map_or_else(|| vec![Name::from(name)], |local| local.way.clone());
        self.ways.insert(id, way);
        Range::fixed(1)
    }

    fn way(&self, expr: &IdedExpr) -> Way {
        if let Expr::Ident(name) = &expr.expr
            && let Some(local) = self.local(name)
        {
            return local.way.clone();
        }
        self.ways.get(&expr.id).cloned().unwrap_or_default()
    }

    /// The size that the schema allows at a place.
    fn declared(&self, way: &Way) -> Option<Range> {
        let max = self.root.at(way.get(1..)?)?;
        Some(Range { min: 0, max })
    }

    fn size(&mut self, expr: &IdedExpr) -> Option<Range> {
        if let Some(size) = self.sizes.get(&expr.id) {
            return Some(*size);
        }
        if let Some(size) = of_text(expr) {
            return Some(Range::fixed(size));
        }
        if let Some(size) = self.declared(&self.way(expr)) {
            self.sizes.insert(expr.id, size);
            return Some(size);
        }
        if self.checked.ty(expr).is_scalar() {
            return Some(Range::fixed(1));
        }
        match &expr.expr {
            Expr::Ident(name) => self.local(name)?.size,
            _ => None,
        }
    }

    fn entry(&self, expr: &IdedExpr) -> Option<Entry> {
        if let Some(entry) = self.entries.get(&expr.id) {
            return Some(*entry);
        }
        match &expr.expr {
            Expr::Ident(name) => self.local(name)?.entry,
            _ => None,
        }
    }

    /// Gives one part the sizes of another.
    fn same_sizes(&mut self, id: u64, as_of: &IdedExpr) {
        if let Some(size) = self.size(as_of) {
            self.sizes.insert(id, size);
        }
        if let Some(entry) = self.entry(as_of) {
            self.entries.insert(id, entry);
        }
    }

    fn part(&mut self, expr: &'a IdedExpr) -> Part<'a> {
        Part { expr, ty: self.checked.ty(expr), way: self.way(expr), size: self.size(expr) }
    }

    fn call(&mut self, expr: &'a IdedExpr, call: &'a CallExpr) -> Range {
        if let ("dyn", [argument]) = (call.func_name.as_str(), &call.args[..]) {
            let cost = self.cost(argument).add(Range::fixed(1));
            self.same_sizes(expr.id, argument);
            return cost;
        }
        let costs: Vec<Range> = call.args.iter().map(|argument| self.cost(argument)).collect();
        let Some(overloads) = self.checked.overloads.get(&expr.id) else { return Range::default() };
        let qualified = self.checked.qualified.get(&expr.id);
        let name = qualified.map_or(call.func_name.trim_start_matches('.'), String::as_str);
        let target = call.target.as_deref().filter(|_| qualified.is_none());
        let of_target = target.map_or(Range::default(), |target| self.cost(target));
        let arguments: Vec<Part> = call.args.iter().map(|argument| self.part(argument)).collect();
        let target = target.map(|target| self.part(target));
        let (mut cost, mut size): (Option<Range>, Option<Range>) = (None, None);
        for overload in overloads {
            let call = calls::Call { id: expr.id, name, overload, target: target.as_ref(), arguments: &arguments };
            let (one, result) = self.of_call(&call, &costs);
            cost = Some(cost.map_or(one, |cost| cost.union(one)));
            size = match (size, result) {
                (Some(size), Some(result)) => Some(size.union(result)),
                (size, result) => size.or(result),
            };
            let place = match *overload {
                "index_list" => Some("@items"),
                "index_map" => Some("@values"),
                _ => None,
            };
            if let (Some(place), [container, ..]) = (place, &call.arguments) {
                size = self.entry(container.expr).map(|entry| entry.value);
                let way = step(&self.way(container.expr), place);
                self.ways.insert(expr.id, way);
            }
            size = size.or_else(|| self.size(expr));
        }
        if let Some(size) = size {
            self.sizes.insert(expr.id, size);
        }
        of_target.add(cost.unwrap_or_default())
    }

    /// A variable for the keys (of lists: the items, or the places if there is one for the items beside it).
    fn push_iterated(&mut self, comprehension: &'a ComprehensionExpr) {
        let range = &comprehension.iter_range;
        let (entry, way) = (self.entry(range), self.way(range));
        let is_list = entry.map_or(matches!(self.checked.ty(range), Type::List(_)), |entry| entry.is_list);
        let (key, value) = (entry.map(|e| e.key), entry.map(|e| e.value));
        let of = |place: &str, size| Local { way: step(&way, place), size, entry: None };
        let items = if is_list { "@items" } else { "@values" };
        match &comprehension.iter_var2 {
            Some(second) => {
                self.push(&comprehension.iter_var, of(if is_list { "@indices" } else { "@keys" }, key));
                self.push(second, of(items, value));
            }
            None if is_list => self.push(&comprehension.iter_var, of(items, value)),
            None => self.push(&comprehension.iter_var, of("@keys", key)),
        }
    }

    fn push_bound(&mut self, comprehension: &'a ComprehensionExpr) {
        let value = &comprehension.accu_init;
        let local = Local { way: self.way(value), entry: self.entry(value), size: self.size(value) };
        self.push(&comprehension.accu_var, local);
    }

    fn comprehension(&mut self, id: u64, comprehension: &'a ComprehensionExpr) -> Range {
        let mut sum = self.cost(&comprehension.iter_range).add(self.cost(&comprehension.accu_init));
        self.push_bound(comprehension);
        self.push_iterated(comprehension);
        let condition = self.cost(&comprehension.loop_cond);
        let each = self.cost(&comprehension.loop_step).add(condition);
        self.pop(&comprehension.iter_var);
        if let Some(second) = &comprehension.iter_var2 {
            self.pop(second);
        }
        sum = sum.add(self.cost(&comprehension.result));
        self.pop(&comprehension.accu_var);
        let times = self.size(&comprehension.iter_range).unwrap_or(Range::UNKNOWN);
        match &comprehension.accu_init.expr {
            Expr::Literal(_) => {
                if let Some(size) = self.size(&comprehension.accu_init) {
                    self.sizes.insert(id, size);
                }
            }
            Expr::List(_) | Expr::Map(_) => {
                self.sizes.insert(id, times);
                if let Some(entry) = self.entry(&comprehension.loop_step) {
                    self.entries.insert(id, entry);
                }
            }
            _ => {}
        }
        sum.add(times.multiply(each))
    }

    fn binding(&mut self, id: u64, comprehension: &'a ComprehensionExpr) -> Range {
        let sum = self.cost(&comprehension.iter_range).add(self.cost(&comprehension.accu_init));
        self.push_bound(comprehension);
        let sum = sum.add(self.cost(&comprehension.result));
        self.pop(&comprehension.accu_var);
        self.same_sizes(id, &comprehension.result);
        sum
    }
}

/// Whether a loop is none, but names a value.
fn is_binding(comprehension: &ComprehensionExpr) -> bool {
    let no_items = matches!(&comprehension.iter_range.expr, Expr::List(list) if list.elements.is_empty());
    let never = matches!(&comprehension.loop_cond.expr, Expr::Literal(LiteralValue::Boolean(b)) if !b.inner());
    no_items && never
}

/// The size of what is written out.
fn of_text(expr: &IdedExpr) -> Option<u64> {
    Some(match &expr.expr {
        Expr::Literal(LiteralValue::String(text)) => text.inner().chars().count() as u64,
        Expr::Literal(LiteralValue::Bytes(bytes)) => bytes.inner().len() as u64,
        Expr::Literal(_) => 1,
        Expr::List(list) => list.elements.len() as u64,
        Expr::Map(map) => map.entries.len() as u64,
        _ => return None,
    })
}

/// Whether the operator decides which of its arguments are evaluated.
fn is_lazy(name: &str) -> bool {
    matches!(name, operators::LOGICAL_AND | operators::LOGICAL_OR | operators::CONDITIONAL)
}
