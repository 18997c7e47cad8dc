//! Sets of fields: what a manager owns, as a tree of path elements.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Number, Value};

/// One step of a path into an object.
#[derive(Debug, Clone)]
pub enum PathElement {
    /// A field of a struct or an entry of a map.
    Field(Box<str>),
    /// An item of a list, by the values of its key fields in order of name.
    Key(Box<[(Box<str>, Value)]>),
    /// An item of a set, by its value.
    Value(Value),
    /// An item of a list by its place.
    Index(i64),
}

impl PathElement {
    /// A field's element.
    pub fn field(name: &str) -> Self {
        Self::Field(name.into())
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

/// Orders scalars: numbers, then text, then the rest by their JSON.
fn compare_values(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::String(l), Value::String(r)) => l.cmp(r),
        (Value::Number(l), Value::Number(r)) => compare_numbers(l, r),
        (Value::Number(_), _) | (Value::String(_), Value::Bool(_)) => Ordering::Less,
        (_, Value::Number(_)) | (Value::Bool(_), Value::String(_)) => Ordering::Greater,
        _ => left.to_string().cmp(&right.to_string()),
    }
}

/// Orders numbers by what they are worth, whole ones and others together. Comparing as floats whenever one of the two is
/// one would be no order: 2^53 and 2^53 + 1 both equal 2^53 as a float.
fn compare_numbers(left: &Number, right: &Number) -> Ordering {
    // The whole part, then the rest, in an integer that holds every i64 and u64; a float beyond is larger than all of them.
    let parts = |number: &Number| match (number.as_i64(), number.as_u64()) {
        (Some(whole), _) => (i128::from(whole), 0.0),
        (None, Some(whole)) => (i128::from(whole), 0.0),
        (None, None) => {
            let float = number.as_f64().unwrap_or(0.0);
            // What an i128 cannot hold saturates, and is told apart by the rest.
            let whole = float.floor() as i128;
            (whole, if whole == i128::MAX || whole == i128::MIN { float } else { float - float.floor() })
        }
    };
    let ((left, left_rest), (right, right_rest)) = (parts(left), parts(right));
    // Adding zero makes one zero of two.
    left.cmp(&right).then_with(|| (left_rest + 0.0).total_cmp(&(right_rest + 0.0)))
}

impl PartialEq for PathElement {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for PathElement {}

impl PartialOrd for PathElement {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PathElement {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(l), Self::Field(r)) => l.cmp(r),
            (Self::Key(l), Self::Key(r)) => {
                for ((lk, lv), (rk, rv)) in l.iter().zip(r.iter()) {
                    let order = lk.cmp(rk).then_with(|| compare_values(lv, rv));
                    if order != Ordering::Equal {
                        return order;
                    }
                }
                l.len().cmp(&r.len())
            }
            (Self::Value(l), Self::Value(r)) => compare_values(l, r),
            (Self::Index(l), Self::Index(r)) => l.cmp(r),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                f.write_str("[")?;
                for (i, (name, value)) in keys.iter().enumerate() {
                    write!(f, "{}{name}={value}", if i == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// One element of a set: whether the element itself is owned, and what is owned below it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) element: PathElement,
    pub(crate) member: bool,
    pub(crate) below: Set,
}

/// A set of paths. Nodes are sorted and none is without members.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Set {
    pub(crate) nodes: Vec<Node>,
}

impl Set {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A set of paths given as field names.
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let elements: Vec<PathElement> = path.iter().map(|name| PathElement::field(name)).collect();
            set.insert(&elements);
        }
        set
    }

    /// Puts a path in (not its parents).
    pub fn insert(&mut self, path: &[PathElement]) {
        let Some((first, rest)) = path.split_first() else { return };
        let at = match self.find(first) {
            Ok(at) => at,
            Err(at) => {
                self.nodes.insert(at, Node { element: first.clone(), member: false, below: Self::default() });
                at
            }
        };
        if rest.is_empty() {
            self.nodes[at].member = true;
        } else {
            self.nodes[at].below.insert(rest);
        }
    }

    /// Whether a path is in it.
    pub fn has(&self, path: &[PathElement]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        let Some(node) = self.get(first) else { return false };
        if rest.is_empty() { node.member } else { node.below.has(rest) }
    }

    fn find(&self, element: &PathElement) -> Result<usize, usize> {
        self.nodes.binary_search_by(|node| node.element.cmp(element))
    }

    pub(crate) fn get(&self, element: &PathElement) -> Option<&Node> {
        self.find(element).ok().map(|at| &self.nodes[at])
    }

    /// Adds an element that comes after all others, unless there is nothing to it.
    pub(crate) fn push(&mut self, element: &PathElement, member: bool, below: Self) {
        if member || !below.is_empty() {
            self.nodes.push(Node { element: element.clone(), member, below });
        }
    }

    /// Puts the nodes in order after they were pushed in another.
    pub(crate) fn sort(&mut self) {
        self.nodes.sort_by(|a, b| a.element.cmp(&b.element));
    }

    /// What is in either.
    pub fn union(self, other: &Self) -> Self {
        if other.is_empty() {
            return self;
        }
        let mut nodes = Vec::with_capacity(self.nodes.len() + other.nodes.len());
        let mut theirs = other.nodes.iter().peekable();
        for node in self.nodes {
            while let Some(their) = theirs.next_if(|t| t.element < node.element) {
                nodes.push(their.clone());
            }
            match theirs.next_if(|t| t.element == node.element) {
                Some(their) => nodes.push(Node {
                    member: node.member || their.member,
                    below: node.below.union(&their.below),
                    element: node.element,
                }),
                None => nodes.push(node),
            }
        }
        nodes.extend(theirs.cloned());
        Self { nodes }
    }

    /// What is in any of many sets. They are put together by pairs, so that many small ones are not copied again for
    /// each of them.
    pub(crate) fn union_of<'s>(sets: impl IntoIterator<Item = &'s Self>) -> Self {
        let mut sets: Vec<Self> = sets.into_iter().cloned().collect();
        while sets.len() > 1 {
            let mut pairs = sets.into_iter();
            let mut unions = Vec::with_capacity(pairs.len().div_ceil(2));
            while let Some(one) = pairs.next() {
                unions.push(pairs.next().map_or_else(|| one.clone(), |other| one.clone().union(&other)));
            }
            sets = unions;
        }
        sets.pop().unwrap_or_default()
    }

    /// What is in both.
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |node, other| {
            let other = other?;
            Some(Node {
                element: node.element.clone(),
                member: node.member && other.member,
                below: node.below.intersection(&other.below),
            })
        })
    }

    /// What is in this one and not in the other; children of a path that is in the other stay.
    pub fn difference(&self, other: &Self) -> Self {
        let mut left = self.clone();
        left.subtract(other);
        left
    }

    /// Takes out what is in the other; children of a path that is in the other stay.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.take_out(other, &|node, other| {
            node.member &= !other.member;
            node.below.subtract(&other.below);
        });
    }

    /// Takes out what is in the other or below a path of it.
    pub(crate) fn subtract_recursively(&mut self, other: &Self) {
        self.take_out(other, &|node, other| {
            if other.member {
                (node.member, node.below) = (false, Self::default());
            } else {
                node.below.subtract_recursively(&other.below);
            }
        });
    }

    /// Changes the nodes that both have, and drops those of which nothing is left.
    fn take_out(&mut self, other: &Self, change: &dyn Fn(&mut Node, &Node)) {
        if other.is_empty() {
            return;
        }
        // By search: there may be many small sets that a large one is taken out of.
        self.nodes.retain_mut(|node| {
            let Some(their) = other.get(&node.element) else { return true };
            change(node, their);
            node.member || !node.below.is_empty()
        });
    }

    fn combine(&self, other: &Self, f: impl Fn(&Node, Option<&Node>) -> Option<Node>) -> Self {
        let mut nodes = Vec::new();
        for node in &self.nodes {
            let their = other.get(&node.element);
            nodes.extend(f(node, their).filter(|n| n.member || !n.below.is_empty()));
        }
        Self { nodes }
    }

    /// Every path, the members of a level before what is below them.
    pub fn paths(&self) -> Vec<Vec<PathElement>> {
        let mut out = Vec::new();
        self.collect(&mut Vec::new(), &mut out);
        out
    }

    fn collect(&self, prefix: &mut Vec<PathElement>, out: &mut Vec<Vec<PathElement>>) {
        for node in self.nodes.iter().filter(|n| n.member) {
            let mut path = prefix.clone();
            path.push(node.element.clone());
            out.push(path);
        }
        for node in self.nodes.iter().filter(|n| !n.below.is_empty()) {
            prefix.push(node.element.clone());
            node.below.collect(prefix, out);
            prefix.pop();
        }
    }
}

/// A path as text, such as `.spec.containers[name="a"].image`.
pub fn path_text(path: &[PathElement]) -> String {
    path.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(paths: &[&[&str]]) -> Set {
        Set::of_fields(paths)
    }

    #[test]
    fn algebra() {
        let a = set(&[&["a"], &["b", "c"], &["b", "d"]]);
        let b = set(&[&["b"], &["b", "c"], &["e"]]);
        assert_eq!(a.clone().union(&b), set(&[&["a"], &["b"], &["b", "c"], &["b", "d"], &["e"]]));
        assert_eq!(a.intersection(&b), set(&[&["b", "c"]]));
        assert_eq!(a.difference(&b), set(&[&["a"], &["b", "d"]]));
        let mut left = a.clone();
        left.subtract_recursively(&b);
        assert_eq!(left, set(&[&["a"]]));
        let texts: Vec<String> = a.paths().iter().map(|p| path_text(p)).collect();
        assert_eq!(texts, [".a", ".b.c", ".b.d"]);
    }

    #[test]
    fn elements_have_one_order() {
        let values = [
            r#"9007199254740992"#,
            "9007199254740993",
            "9007199254740992.0",
            "9223372036854775807",
            "9223372036854775808.0",
            "18446744073709551615",
            "18446744073709551616.0",
            "1e300",
            "-1e300",
            "0",
            "-0.0",
            "0.0",
            "0.5",
            "1",
            "1.0",
            "-1.5",
            "-1",
            "-2",
            r#""a""#,
            r#""""#,
            r#""9""#,
            "true",
            "false",
            "null",
            "[1]",
            "{}",
        ];
        let values: Vec<Value> = values.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        let mut elements: Vec<PathElement> = values.iter().cloned().map(PathElement::Value).collect();
        elements.extend(values.iter().map(|v| PathElement::Key([("k".into(), v.clone())].into())));
        elements.extend([
            PathElement::field("a"),
            PathElement::field(""),
            PathElement::Index(0),
            PathElement::Index(-1),
        ]);
        crate::order::assert_total(&elements, PathElement::cmp);
        let at = |text: &str| PathElement::Value(serde_json::from_str(text).unwrap());
        assert!(at("9007199254740992.0") < at("9007199254740993") && at("1") == at("1.0"));
        assert!(at("9223372036854775807") < at("9223372036854775808.0") && at("0.5") > at("0"));
    }
}
