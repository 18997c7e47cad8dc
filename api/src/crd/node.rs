//! The schema of a custom resource, read once into the form that validation walks.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use super::rules::Rules;
use crate::cel;
use crate::go::regexp::Pattern;

/// What `additionalProperties` says.
#[derive(Debug, Default)]
pub(super) enum Additional {
    /// Nothing: anything may be there.
    #[default]
    Open,
    /// Nothing may be there.
    Closed,
    /// Values of this schema.
    Schema(Box<Node>),
}

/// One level of a schema.
#[derive(Debug, Default)]
pub struct Node {
    pub(super) types: Vec<String>,
    pub(super) nullable: bool,
    pub(super) format: String,
    pub(super) allowed: Vec<Value>,
    pub(super) maximum: Option<(f64, bool)>,
    pub(super) minimum: Option<(f64, bool)>,
    pub(super) multiple_of: Option<f64>,
    pub(super) max_length: Option<i64>,
    pub(super) min_length: Option<i64>,
    pub(super) pattern: Option<Pattern>,
    pub(super) max_items: Option<i64>,
    pub(super) min_items: Option<i64>,
    pub(super) max_properties: Option<i64>,
    pub(super) min_properties: Option<i64>,
    pub(super) required: Vec<String>,
    pub(super) properties: BTreeMap<String, Arc<Node>>,
    pub(super) additional: Additional,
    pub(super) items: Option<Box<Node>>,
    pub(super) all_of: Vec<Node>,
    pub(super) any_of: Vec<Node>,
    pub(super) one_of: Vec<Node>,
    pub(super) not: Option<Box<Node>>,
    pub(super) list_type: String,
    pub(super) map_keys: Vec<String>,
    pub(super) rules: Vec<Value>,
    compiled: OnceLock<Rules>,
    pub(super) embedded: bool,
    /// Whether there is an embedded object here or below.
    pub(super) has_embedded: bool,
    /// Whether there is a rule here or below.
    pub(super) has_rules: bool,
    /// Whether one of them may need more stack than a worker has.
    pub(super) has_large_rules: bool,
}

impl Node {
    /// Reads an OpenAPI v3 schema. What is malformed counts as absent: the definition was validated before.
    pub fn new(schema: &Value) -> Self {
        match schema {
            Value::Object(map) => Self::of_map(map),
            _ => Self::default(),
        }
    }

    /// The schema of a property.
    pub fn property(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).map(Arc::as_ref)
    }

    /// Whether it says nothing of an object as a whole but how many fields it has and of what schemas.
    pub(super) fn is_plain(&self) -> bool {
        let junctors = [&self.all_of, &self.any_of, &self.one_of];
        let is_object = self.types.is_empty() || self.types.iter().any(|name| name == "object");
        is_object && self.allowed.is_empty() && junctors.iter().all(|nodes| nodes.is_empty()) && self.not.is_none()
    }

    /// The rules here, compiled when they are first needed.
    pub(super) fn compiled(&self) -> &Rules {
        self.compiled.get_or_init(|| Rules::new(&self.rules))
    }

    fn of_map(map: &Map<String, Value>) -> Self {
        let text = |name: &str| map.get(name).and_then(Value::as_str).unwrap_or("").to_string();
        let int = |name: &str| map.get(name).and_then(Value::as_i64);
        let number = |name: &str| map.get(name).and_then(Value::as_f64);
        let yes = |name: &str| map.get(name).and_then(Value::as_bool).unwrap_or(false);
        let texts = |name: &str| -> Vec<String> {
            let items = map.get(name).and_then(Value::as_array).into_iter().flatten();
            items.filter_map(Value::as_str).map(String::from).collect()
        };
        let list = |name: &str| map.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let nodes = |name: &str| -> Vec<Self> { list(name).iter().map(Self::new).collect() };
        let mut types: Vec<String> = Some(text("type")).filter(|t| !t.is_empty()).into_iter().collect();
        if yes("x-kubernetes-int-or-string") {
            types = vec!["integer".into(), "string".into()];
        }
        let properties = map.get("properties").and_then(Value::as_object).into_iter().flatten();
        let mut node = Self {
            types,
            nullable: yes("nullable"),
            format: text("format"),
            allowed: list("enum"),
            maximum: number("maximum").map(|limit| (limit, yes("exclusiveMaximum"))),
            minimum: number("minimum").map(|limit| (limit, yes("exclusiveMinimum"))),
            multiple_of: number("multipleOf"),
            max_length: int("maxLength"),
            min_length: int("minLength"),
            pattern: Some(text("pattern")).filter(|p| !p.is_empty()).map(Pattern::new),
            max_items: int("maxItems"),
            min_items: int("minItems"),
            max_properties: int("maxProperties"),
            min_properties: int("minProperties"),
            required: texts("required"),
            properties: Self::properties(properties),
            additional: match map.get("additionalProperties") {
                Some(Value::Bool(false)) => Additional::Closed,
                Some(schema @ Value::Object(_)) => Additional::Schema(Box::new(Self::new(schema))),
                _ => Additional::Open,
            },
            items: map.get("items").map(|items| Box::new(Self::new(items))),
            all_of: nodes("allOf"),
            any_of: nodes("anyOf"),
            one_of: nodes("oneOf"),
            not: map.get("not").map(|not| Box::new(Self::new(not))),
            list_type: text("x-kubernetes-list-type"),
            map_keys: texts("x-kubernetes-list-map-keys"),
            rules: list("x-kubernetes-validations"),
            compiled: OnceLock::new(),
            embedded: yes("x-kubernetes-embedded-resource"),
            has_embedded: false,
            has_rules: false,
            has_large_rules: false,
        };
        let large = |rule: &Value| {
            let source = |name: &str| rule.get(name).and_then(Value::as_str).is_some_and(cel::is_large);
            source("rule") || source("messageExpression")
        };
        node.has_large_rules = node.rules.iter().any(large) || node.children().any(|child| child.has_large_rules);
        node.has_embedded = node.embedded || node.children().any(|child| child.has_embedded);
        node.has_rules = !node.rules.is_empty() || node.children().any(|child| child.has_rules);
        node
    }

    /// The schemas of properties. Most say next to nothing, and many say the same: those are kept once.
    fn properties<'a>(properties: impl Iterator<Item = (&'a String, &'a Value)>) -> BTreeMap<String, Arc<Self>> {
        let mut seen: HashMap<String, Arc<Self>> = HashMap::new();
        let mut shared = |schema: &Value| match schema.as_object().and_then(simple) {
            Some(said) => seen.entry(said).or_insert_with(|| Arc::new(Self::new(schema))).clone(),
            None => Arc::new(Self::new(schema)),
        };
        properties.map(|(name, schema)| (name.clone(), shared(schema))).collect()
    }

    fn children(&self) -> impl Iterator<Item = &Self> {
        let additional = match &self.additional {
            Additional::Schema(schema) => Some(schema.as_ref()),
            _ => None,
        };
        self.properties.values().map(Arc::as_ref).chain(self.items.as_deref()).chain(additional).chain(&self.all_of)
    }
}

/// What a schema with nothing below it says, but for prose.
fn simple(schema: &Map<String, Value>) -> Option<String> {
    let mut said = String::new();
    for (key, value) in schema {
        match value {
            _ if matches!(key.as_str(), "description" | "title" | "example") => {}
            Value::Array(_) | Value::Object(_) => return None,
            value => said.push_str(&format!("{key}:{value},")),
        }
    }
    Some(said)
}
