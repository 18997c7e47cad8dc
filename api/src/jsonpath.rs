//! The JSON paths of printer columns and selectable fields: fields, indexes, slices, wildcards and filters.

use std::fmt;

use serde_json::Value;

/// Longest path that is read, in bytes.
const LENGTH_MAX: usize = 1024;

/// A parsed path.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Path {
    text: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    All,
    Descend(String),
    Filter(Vec<Step>, Option<(Operator, Value)>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PathError(String);

fn error<T>(why: impl Into<String>) -> Result<T, PathError> {
    Err(PathError(why.into()))
}

impl Path {
    /// Reads a path such as `.status.conditions[?(@.type=="Ready")].status`; braces around it are ignored.
    ///
    /// # Errors
    /// If the text is no path.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > LENGTH_MAX {
            return error("path is too long");
        }
        let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
        let steps = Parser { rest: inner.strip_prefix('$').unwrap_or(inner) }.steps()?;
        Ok(Self { text: text.to_string(), steps })
    }

    /// The values at the path.
    pub fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        walk(&self.steps, value)
    }

    /// The names, if the path consists of fields alone.
    pub fn fields(&self) -> Option<Vec<&str>> {
        let mut names: Vec<&str> = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            if let Step::Field(name) = step {
                names.push(name);
            }
        }
        (names.len() == self.steps.len()).then_some(names)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn walk<'v>(steps: &[Step], value: &'v Value) -> Vec<&'v Value> {
    let mut found = vec![value];
    for step in steps {
        found = found.into_iter().flat_map(|value| step.of(value)).collect();
    }
    found
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

impl Step {
    fn of<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match self {
            Self::Field(name) => value.get(name).into_iter().collect(),
            Self::All => children(value),
            Self::Index(index) => {
                let Value::Array(items) = value else { return Vec::new() };
                let at = if *index < 0 { *index + items.len() as i64 } else { *index };
                usize::try_from(at).ok().and_then(|at| items.get(at)).into_iter().collect()
            }
            Self::Slice(from, to) => {
                let Value::Array(items) = value else { return Vec::new() };
                let length = items.len() as i64;
                let place = |at: i64| (if at < 0 { at + length } else { at }).clamp(0, length) as usize;
                let (from, to) = (place(from.unwrap_or(0)), place(to.unwrap_or(length)));
                items.get(from..to.max(from)).map(|s| s.iter().collect()).unwrap_or_default()
            }
            Self::Descend(name) => {
                let mut found: Vec<&Value> = value.get(name).into_iter().collect();
                for child in children(value) {
                    found.extend(self.of(child));
                }
                found
            }
            Self::Filter(steps, condition) => {
                let Value::Array(items) = value else { return Vec::new() };
                items.iter().filter(|item| holds(steps, condition.as_ref(), item)).collect()
            }
        }
    }
}

fn holds(steps: &[Step], condition: Option<&(Operator, Value)>, item: &Value) -> bool {
    let found = walk(steps, item);
    let Some((operator, right)) = condition else { return !found.is_empty() };
    let Some(left) = found.first() else { return false };
    if *operator == Operator::Equal || *operator == Operator::NotEqual {
        let equal = *left == right || left.as_f64().is_some_and(|l| right.as_f64() == Some(l));
        return equal == (*operator == Operator::Equal);
    }
    let order = match (left, right) {
        (Value::String(l), Value::String(r)) => Some(l.as_str().cmp(r.as_str())),
        (l, r) => l.as_f64().zip(r.as_f64()).and_then(|(l, r)| l.partial_cmp(&r)),
    };
    order.is_some_and(|order| match operator {
        Operator::Less => order.is_lt(),
        Operator::LessOrEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        _ => order.is_ge(),
    })
}

struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn steps(mut self) -> Result<Vec<Step>, PathError> {
        let mut steps = Vec::new();
        while !self.rest.is_empty() {
            if let Some(rest) = self.rest.strip_prefix("..") {
                self.rest = rest;
                let name = self.name();
                steps.push(Step::Descend(name));
            } else if let Some(rest) = self.rest.strip_prefix('.') {
                self.rest = rest;
                if rest.is_empty() {
                    break;
                }
                match rest.strip_prefix('*') {
                    Some(rest) => {
                        self.rest = rest;
                        steps.push(Step::All);
                    }
                    None if rest.starts_with('[') => {}
                    None => steps.push(Step::Field(self.name())),
                }
            } else if let Some(rest) = self.rest.strip_prefix('[') {
                let end = closing(rest).ok_or_else(|| PathError("unterminated array".into()))?;
                steps.push(bracket(&rest[..end])?);
                self.rest = &rest[end + 1..];
            } else if steps.is_empty() {
                let word: String = self.rest.chars().take_while(|c| !".[".contains(*c)).collect();
                return error(format!("unrecognized identifier {word}"));
            } else {
                let c = self.rest.chars().next().unwrap_or(' ');
                return error(format!("unrecognized character in action: {c:?}"));
            }
        }
        Ok(steps)
    }

    /// A field's name; a backslash takes the next character as it is.
    fn name(&mut self) -> String {
        let mut name = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '.' | '[' => {
                    self.rest = &self.rest[at..];
                    return name;
                }
                '\\' => name.extend(chars.next().map(|(_, c)| c)),
                c => name.push(c),
            }
        }
        self.rest = "";
        name
    }
}

/// Where the bracket that is open ends, with regard to quotes and nested brackets.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn unquoted(text: &str) -> Option<&str> {
    let inner = |q: char| text.strip_prefix(q).and_then(|t| t.strip_suffix(q));
    inner('\'').or_else(|| inner('"'))
}

fn bracket(text: &str) -> Result<Step, PathError> {
    let text = text.trim();
    if text == "*" {
        return Ok(Step::All);
    }
    if let Some(name) = unquoted(text) {
        return Ok(Step::Field(name.to_string()));
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|t| t.strip_suffix(')')) {
        return self_filter(filter);
    }
    let number = |part: &str| -> Result<Option<i64>, PathError> {
        if part.is_empty() {
            return Ok(None);
        }
        part.parse().map(Some).map_err(|_| PathError(format!("invalid array index {part}")))
    };
    match text.split_once(':') {
        Some((from, to)) => Ok(Step::Slice(number(from)?, number(to.split(':').next().unwrap_or(""))?)),
        None => match number(text)? {
            Some(index) => Ok(Step::Index(index)),
            None => error("invalid array index "),
        },
    }
}

fn self_filter(text: &str) -> Result<Step, PathError> {
    const OPERATORS: [(&str, Operator); 6] = [
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ];
    let found = OPERATORS.iter().filter_map(|(sign, op)| text.find(sign).map(|at| (at, *sign, *op)));
    let first = found.min_by_key(|(at, sign, _)| (*at, std::cmp::Reverse(sign.len())));
    let (left, condition) = match first {
        Some((at, sign, operator)) => {
            let right = text[at + sign.len()..].trim();
            let value = match unquoted(right) {
                Some(text) => Value::from(text),
                None => serde_json::from_str(right).map_err(|_| PathError(format!("cannot parse {right}")))?,
            };
            (&text[..at], Some((operator, value)))
        }
        None => (text, None),
    };
    let left = left.trim().strip_prefix('@').ok_or_else(|| PathError(format!("unrecognized filter {text}")))?;
    Ok(Step::Filter(Parser { rest: left }.steps()?, condition))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(path: &str, expect: Value) {
        let object = json!({
            "spec": {"size": 3, "list": [{"n": "a", "v": 1}, {"n": "b", "v": 2}, {"n": "c", "v": 3}]},
            "metadata": {"labels": {"a.b/c": "x"}},
            "status": {"conditions": [{"type": "A", "status": "False"}, {"type": "Ready", "status": "True"}]},
        });
        let found: Vec<Value> = Path::parse(path).unwrap().find(&object).into_iter().cloned().collect();
        assert_eq!(Value::Array(found), expect, "{path}");
    }

    #[test]
    fn finds() {
        check(".spec.size", json!([3]));
        check("{.spec.size}", json!([3]));
        check(".spec.none", json!([]));
        check(".spec.list[1].n", json!(["b"]));
        check(".spec.list[-1].n", json!(["c"]));
        check(".spec.list[0:2].n", json!(["a", "b"]));
        check(".spec.list[*].v", json!([1, 2, 3]));
        check(r".metadata.labels.a\.b/c", json!(["x"]));
        check(".metadata.labels['a.b/c']", json!(["x"]));
        check(".status.conditions[?(@.type==\"Ready\")].status", json!(["True"]));
        check(".status.conditions[?(@.type=='Ready')].status", json!(["True"]));
        check(".spec.list[?(@.v>1)].n", json!(["b", "c"]));
        check(".spec.list[?(@.v!=1)].n", json!(["b", "c"]));
        check("..type", json!(["A", "Ready"]));
    }

    #[test]
    fn refuses() {
        assert!(Path::parse("spec.a").is_err());
        assert!(Path::parse(".a[").is_err());
        assert!(Path::parse(".a[x]").is_err());
        assert!(Path::parse(".a[?(b==1)]").is_err());
    }
}
