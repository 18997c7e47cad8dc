//! Label selectors: the text form (`labels.Parse`) and the object form (`metav1.LabelSelector`).

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use serde_json::Value;

use super::parser::Parser;
use super::{Lookup, SelectorError};
use crate::field::{FieldError, Path};
use crate::names;

/// How a requirement relates a label to values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the operators")]
pub enum Operator {
    In,
    NotIn,
    Equals,
    DoubleEquals,
    NotEquals,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// One requirement on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// The relation.
    pub operator: Operator,
    /// The values, sorted and without repeats.
    pub values: Vec<String>,
}

/// Requirements that must all hold, sorted by key; or one that nothing matches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    /// The requirements.
    pub requirements: Vec<Requirement>,
    nothing: bool,
}

impl Requirement {
    /// A requirement, checked as `labels.NewRequirement` does.
    ///
    /// # Errors
    /// All that is wrong, as an aggregate.
    pub fn new(key: &str, operator: Operator, values: Vec<String>) -> Result<Self, SelectorError> {
        match problems(key, operator, &values).as_slice() {
            [] => Ok(Self { key: key.to_string(), operator, values }),
            [one] => Err(SelectorError(one.to_string())),
            many => {
                let texts: Vec<String> = many.iter().map(ToString::to_string).collect();
                Err(SelectorError(format!("[{}]", texts.join(", "))))
            }
        }
    }

    /// Whether labels satisfy it.
    pub fn matches(&self, labels: &(impl Lookup + ?Sized)) -> bool {
        self.operator.holds(labels.lookup(&self.key), &self.values)
    }
}

/// What is wrong with a requirement (`labels.NewRequirement`).
fn problems(key: &str, operator: Operator, values: &[String]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let of_key = names::label_key(key);
    if !of_key.is_empty() {
        errors.push(FieldError::invalid(&Path::new("key"), key, of_key.join("; ")));
    }
    let path = || Path::new("values");
    let mut wrong = |why: &str| errors.push(FieldError::invalid(&path(), values.to_vec(), why));
    match operator {
        Operator::In | Operator::NotIn if values.is_empty() => {
            wrong("for 'in', 'notin' operators, values set can't be empty");
        }
        Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if values.len() != 1 => {
            wrong("exact-match compatibility requires one single value");
        }
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            wrong("values set must be empty for exists and does not exist");
        }
        Operator::GreaterThan | Operator::LessThan => {
            if values.len() != 1 {
                wrong("for 'Gt', 'Lt' operators, exactly one value is required");
            }
            for (i, value) in values.iter().enumerate().filter(|(_, v)| v.parse::<i64>().is_err()) {
                let why = "for 'Gt', 'Lt' operators, the value must be an integer";
                errors.push(FieldError::invalid(&path().index(i), value.as_str(), why));
            }
        }
        _ => {}
    }
    for (i, value) in values.iter().enumerate() {
        let of_value = names::label_value(value);
        if !of_value.is_empty() {
            let at = path().index(i).key(key);
            errors.push(FieldError::invalid(&at, value.as_str(), of_value.join("; ")));
        }
    }
    errors
}

impl Operator {
    /// The operator of this name in the requirements of nodes (`v1.NodeSelectorOperator`).
    pub fn of_node_selector(name: &str) -> Option<Self> {
        match name {
            "Gt" => Some(Self::GreaterThan),
            "Lt" => Some(Self::LessThan),
            other => Self::of_label_selector(other),
        }
    }

    /// The operator of this name in label selectors that are objects (`metav1.LabelSelectorOperator`).
    fn of_label_selector(name: &str) -> Option<Self> {
        match name {
            "In" => Some(Self::In),
            "NotIn" => Some(Self::NotIn),
            "Exists" => Some(Self::Exists),
            "DoesNotExist" => Some(Self::DoesNotExist),
            _ => None,
        }
    }

    /// Whether a label that has this value, or is not there, is in this relation to values (`Requirement.Matches`).
    pub fn holds(self, found: Option<&str>, values: &[String]) -> bool {
        let has = |value: &str| values.iter().any(|v| v == value);
        match self {
            Self::In | Self::Equals | Self::DoubleEquals => found.is_some_and(has),
            Self::NotIn | Self::NotEquals => !found.is_some_and(has),
            Self::Exists => found.is_some(),
            Self::DoesNotExist => found.is_none(),
            Self::GreaterThan | Self::LessThan => {
                let numbers =
                    (found.and_then(|v| v.parse::<i64>().ok()), values.first().and_then(|v| v.parse::<i64>().ok()));
                let (Some(label), Some(bound)) = numbers else { return false };
                if self == Self::GreaterThan { label > bound } else { label < bound }
            }
        }
    }
}

/// Whether a typed selector selects labels: an empty one does, one that [`LabelSelector::from_typed`] refuses does not. This is
/// for who asks once, as nothing is made of the selector.
pub fn selects(selector: &meta::LabelSelector, labels: &(impl Lookup + ?Sized)) -> bool {
    let mut equal = selector.match_labels.iter().flatten();
    let mut expressions = selector.match_expressions.iter().flatten();
    equal.all(|(key, value)| labels.lookup(key) == Some(value))
        && expressions.all(|expression| {
            let values = expression.values.as_deref().unwrap_or_default();
            Operator::of_label_selector(&expression.operator).is_some_and(|operator| {
                operator.holds(labels.lookup(&expression.key), values)
                    && problems(&expression.key, operator, values).is_empty()
            })
        })
}

impl LabelSelector {
    /// The selector that everything matches.
    pub fn everything() -> Self {
        Self::default()
    }

    /// The selector that nothing matches.
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Reads the text form, such as `a=b,c in (d,e),!f`.
    ///
    /// # Errors
    /// With the wording of `labels.Parse`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Parser::new(text).parse()?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements, nothing: false })
    }

    /// Exactly the labels of a map, such as a service's selector; an empty map matches everything.
    pub fn from_map<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut requirements: Vec<Requirement> = labels
            .into_iter()
            .map(|(key, value)| Requirement {
                key: key.to_string(),
                operator: Operator::Equals,
                values: vec![value.to_string()],
            })
            .collect();
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements, nothing: false }
    }

    /// Reads a `metav1.LabelSelector` object: none matches nothing, an empty one everything.
    ///
    /// # Errors
    /// With the wording of `metav1.LabelSelectorAsSelector`.
    pub fn from_object(selector: Option<&Value>) -> Result<Self, SelectorError> {
        let Some(selector) = selector.filter(|s| !s.is_null()) else { return Ok(Self::nothing()) };
        let labels = selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
        let expressions = selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten();
        Self::of(
            labels.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or(""))),
            expressions.map(|expression| {
                let text = |name: &str| expression.get(name).and_then(Value::as_str).unwrap_or("");
                let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
                (text("key"), text("operator"), values.filter_map(Value::as_str).map(String::from).collect())
            }),
        )
    }

    /// Reads a typed `metav1.LabelSelector` in the same way.
    ///
    /// # Errors
    /// Those of [`LabelSelector::from_object`].
    pub fn from_typed(selector: Option<&meta::LabelSelector>) -> Result<Self, SelectorError> {
        let Some(selector) = selector else { return Ok(Self::nothing()) };
        let labels = selector.match_labels.iter().flatten();
        let expressions = selector.match_expressions.iter().flatten();
        Self::of(
            labels.map(|(key, value)| (key.as_str(), value.as_str())),
            expressions.map(|e| (e.key.as_str(), e.operator.as_str(), e.values.clone().unwrap_or_default())),
        )
    }

    fn of<'a>(
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        expressions: impl Iterator<Item = (&'a str, &'a str, Vec<String>)>,
    ) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for (key, value) in labels {
            requirements.push(Requirement::new(key, Operator::Equals, vec![value.to_string()])?);
        }
        for (key, name, values) in expressions {
            let unknown = || SelectorError(format!("{name:?} is not a valid label selector operator"));
            let operator = Operator::of_label_selector(name).ok_or_else(unknown)?;
            requirements.push(Requirement::new(key, operator, values)?);
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements, nothing: false })
    }

    /// Whether it lets everything through.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// Whether labels satisfy every requirement.
    pub fn matches(&self, labels: &(impl Lookup + ?Sized)) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(labels))
    }

    /// Whether the labels of an object (`metadata.labels`) satisfy every requirement.
    pub fn matches_object(&self, object: &crate::Object) -> bool {
        match object.at(&["metadata", "labels"]).and_then(Value::as_object) {
            Some(labels) => self.matches(labels),
            None => self.matches(&[] as &[(&str, &str)]),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut values = self.values.clone();
        values.sort();
        let (key, values) = (&self.key, values.join(","));
        match self.operator {
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            write!(f, "{}{requirement}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "labels_tests.rs"]
mod tests;
