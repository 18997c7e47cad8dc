//! Values against a schema, with the wording of kube-openapi's `validate`.

use serde_json::{Map, Value};

use super::node::{Additional, Node};
use crate::field::{ErrorList, ErrorType, FieldError, Path};
use crate::go::strconv;
use crate::{Object, formats};

/// A floating point number beyond this is no integer (`IsFloat64AJSONInteger`).
const WHOLE_MAX: f64 = 9_007_199_254_740_991.0;

/// Everything that is wrong with a value. Paths in messages start at the value, paths of errors at `prefix`.
pub(super) fn validate(schema: &Node, value: &Value, prefix: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    Walk { prefix, path: String::new(), errors: &mut errors }.value(schema, value);
    errors
}

/// Everything that is wrong with an object as a whole.
pub(super) fn validate_object(schema: &Node, object: &Object) -> ErrorList {
    if !schema.is_plain() {
        return validate(schema, &Value::Object(object.0.clone()), &Path::root());
    }
    let mut errors = ErrorList::new();
    Walk { prefix: &Path::root(), path: String::new(), errors: &mut errors }.fields(schema, &object.0);
    errors
}

struct Walk<'a> {
    prefix: &'a Path,
    /// Where the walk is, below the prefix.
    path: String,
    errors: &'a mut ErrorList,
}

/// Whether Go decodes a number as a `float64`: if it has a fraction or an exponent, or is too large for an `int64`.
fn is_float(value: &Value) -> bool {
    value.is_number() && value.as_i64().is_none()
}

/// The JSON type of a value, and the format that Go's type for it has (`schemaInfoForType`).
fn type_of(value: &Value) -> (&'static str, &'static str) {
    match value {
        Value::Null => ("null", ""),
        Value::Bool(_) => ("boolean", ""),
        Value::Number(_) if is_float(value) => ("number", "float64"),
        Value::Number(_) => ("integer", "int64"),
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
    }
}

/// A limit as it is told of a value: with the type that the value has.
fn number(limit: f64, value: &Value) -> String {
    if is_float(value) { strconv::format_float(limit) } else { format!("{limit:.0}") }
}

/// Whether a number is a whole multiple; small factors are turned around, so that 0.3 is one of 0.1.
fn is_multiple(n: f64, factor: f64) -> bool {
    let times = if factor < 1.0 { 1.0 / factor * n } else { n / factor };
    times.fract() == 0.0
}

impl Walk<'_> {
    /// The path of an error here.
    fn at(&self) -> Path {
        match self.path.trim_start_matches('.') {
            "" => self.prefix.clone(),
            path => self.prefix.child(path),
        }
    }

    /// Goes on at a field.
    fn below(&mut self, name: &str, visit: impl FnOnce(&mut Self)) {
        let back = self.path.len();
        if back > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        visit(self);
        self.path.truncate(back);
    }

    fn invalid(&mut self, value: impl Into<Value>, why: &str) {
        let (at, path) = (self.at(), &self.path);
        self.errors.push(FieldError::invalid(&at, value, format!("{path} in body {why}")));
    }

    fn wrong_type(&mut self, wanted: &str, got: &str) {
        let (at, path) = (self.at(), &self.path);
        let why = format!("{path} in body must be of type {wanted}: {got:?}");
        self.errors.push(FieldError::type_invalid(&at, got, why));
    }

    /// An error about several schemas, which names no field.
    fn composite(&mut self, why: String) {
        let at = if self.prefix.as_str().is_empty() { Path::new("<nil>") } else { self.prefix.clone() };
        self.errors.push(FieldError::invalid(&at, "", why));
    }

    fn value(&mut self, schema: &Node, value: &Value) {
        if value.is_null() {
            let typed = !schema.types.is_empty() && !schema.nullable;
            if typed {
                self.wrong_type(&schema.types.join(","), "null");
            }
            return self.allowed(schema, value);
        }
        self.of_type(schema, value);
        self.junctors(schema, value);
        match value {
            Value::String(text) => self.text(schema, text),
            Value::Number(n) => self.range(schema, value, n.as_f64().unwrap_or(0.0)),
            Value::Array(items) => self.items(schema, items),
            _ => {}
        }
        self.allowed(schema, value);
        if let Value::Object(map) = value {
            self.fields(schema, map);
        }
    }

    fn of_type(&mut self, schema: &Node, value: &Value) {
        if schema.types.is_empty() {
            return;
        }
        let has = |name: &str| schema.types.iter().any(|t| t == name);
        let (name, format) = type_of(value);
        let whole = value.as_f64().is_some_and(|v| v.fract() == 0.0 && v.abs() <= WHOLE_MAX)
            && name == "number"
            && has("integer");
        let fits = has(name) || whole || (name == "integer" && has("number"));
        let plain = !matches!(value, Value::String(_) | Value::Array(_));
        if plain && !schema.format.is_empty() && !fits && format != schema.format {
            return self.wrong_type(&schema.format, format);
        }
        if !has("number") && !has("integer") && !schema.format.is_empty() && !plain {
            return;
        }
        if !fits {
            self.wrong_type(&schema.types.join(","), name);
        }
    }

    fn tried(&self, schema: &Node, value: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        Walk { prefix: self.prefix, path: self.path.clone(), errors: &mut errors }.value(schema, value);
        errors
    }

    fn junctors(&mut self, schema: &Node, value: &Value) {
        let tried = |walk: &Self, nodes: &[Node]| -> Vec<ErrorList> {
            nodes.iter().map(|node| walk.tried(node, value)).collect()
        };
        if !schema.any_of.is_empty() {
            let results = tried(self, &schema.any_of);
            if results.iter().all(|errors| !errors.is_empty()) {
                self.composite(format!("{:?} must validate at least one schema (anyOf)", self.path));
                self.errors.extend(results.into_iter().next().unwrap_or_default());
            }
        }
        if !schema.one_of.is_empty() {
            let results = tried(self, &schema.one_of);
            let valid = results.iter().filter(|errors| errors.is_empty()).count();
            if valid != 1 {
                let found =
                    if valid == 0 { "Found none valid".into() } else { format!("Found {valid} valid alternatives") };
                self.composite(format!("{:?} must validate one and only one schema (oneOf). {found}", self.path));
                if valid == 0 {
                    self.errors.extend(results.into_iter().next().unwrap_or_default());
                }
            }
        }
        if !schema.all_of.is_empty() {
            let results = tried(self, &schema.all_of);
            let valid = results.iter().filter(|errors| errors.is_empty()).count();
            let all = results.len();
            self.errors.extend(results.into_iter().flatten());
            if valid != all {
                let none = if valid == 0 { ". None validated" } else { "" };
                self.composite(format!("{:?} must validate all the schemas (allOf){none}", self.path));
            }
        }
        if schema.not.as_ref().is_some_and(|not| self.tried(not, value).is_empty()) {
            self.composite(format!("{:?} must not validate the schema (not)", self.path));
        }
    }

    fn text(&mut self, schema: &Node, text: &str) {
        let length = text.chars().count() as i64;
        // Only the first of these is told (`stringValidator`).
        if let Some(max) = schema.max_length.filter(|max| length > *max) {
            let at = self.at();
            self.errors.push(FieldError::too_long(&at, usize::try_from(max).unwrap_or(0)));
        } else if let Some(min) = schema.min_length.filter(|min| length < *min) {
            self.invalid(text, &format!("should be at least {min} chars long"));
        } else if let Some(pattern) = schema.pattern.as_ref().filter(|p| !p.matches(text)) {
            let why = format!("should match '{}'", pattern.text);
            self.invalid(text, &why);
        }
        if !formats::matches(&schema.format, text) {
            self.wrong_type(&schema.format, text);
        }
    }

    fn range(&mut self, schema: &Node, value: &Value, n: f64) {
        self.representable(schema, value, "Checked");
        let multiple = schema.multiple_of.map(|factor| self.limit(schema, value, factor, "MultipleOf"));
        if let Some((factor, value)) = multiple.filter(|(factor, _)| *factor > 0.0 && !is_multiple(n, *factor)) {
            let why = format!("should be a multiple of {}", number(factor, &value));
            self.invalid(value, &why);
        }
        if let Some((min, exclusive)) = schema.minimum {
            let (min, value) = self.limit(schema, value, min, "Minimum boundary");
            if n < min || (exclusive && n == min) {
                let or_equal = if exclusive { "" } else { " or equal to" };
                let why = format!("should be greater than{or_equal} {}", number(min, &value));
                self.invalid(value, &why);
            }
        }
        if let Some((max, exclusive)) = schema.maximum {
            let (max, value) = self.limit(schema, value, max, "Maximum boundary");
            if n > max || (exclusive && n == max) {
                let or_equal = if exclusive { "" } else { " or equal to" };
                let why = format!("should be less than{or_equal} {}", number(max, &value));
                self.invalid(value, &why);
            }
        }
    }

    /// What a value is held against, and as what it is shown. A limit that the schema's own format has no room for is an
    /// error of whatever is held against it; otherwise the reference compares whole numbers with the limit's whole part.
    fn limit(&mut self, schema: &Node, value: &Value, limit: f64, what: &str) -> (f64, Value) {
        match (self.representable(schema, &limit.into(), what), is_float(value)) {
            (true, false) => (limit.trunc(), value.clone()),
            (true, true) => (limit, value.clone()),
            (false, _) => (limit, value.as_f64().into()),
        }
    }

    /// Whether a number fits the schema's type and format (`IsValueValidAgainstRange`); an error if not.
    fn representable(&mut self, schema: &Node, value: &Value, what: &str) -> bool {
        let [kind] = schema.types.as_slice() else { return true };
        let whole = match value.as_f64() {
            // What is larger than this has no room anywhere.
            Some(n) if is_float(value) => (n.fract() == 0.0 && n.abs() < 1e30).then_some(n as i128),
            _ => value.as_i64().map(i128::from),
        };
        let fits = match (kind.as_str(), schema.format.as_str()) {
            ("integer", "int32") => whole.is_some_and(|n| i32::try_from(n).is_ok()),
            ("integer", "uint32") => whole.is_some_and(|n| u32::try_from(n).is_ok()),
            ("integer", "uint64") => whole.is_some_and(|n| u64::try_from(n).is_ok()),
            ("integer", _) => whole.is_some_and(|n| i64::try_from(n).is_ok()),
            ("number", "float" | "float32") => value.as_f64().is_some_and(|n| n.abs() <= f64::from(f32::MAX)),
            _ => true,
        };
        if !fits {
            let of = match schema.format.as_str() {
                "" => "(default format)".to_string(),
                format => format!("with format {format}"),
            };
            self.composite(format!("{what} value must be of type {kind} {of} in {}", self.path));
        }
        fits
    }

    fn items(&mut self, schema: &Node, items: &[Value]) {
        if let Some(of_item) = &schema.items {
            let back = self.path.len();
            for (i, item) in items.iter().enumerate() {
                self.path.push('[');
                self.path.push_str(itoa::Buffer::new().format(i));
                self.path.push(']');
                self.value(of_item, item);
                self.path.truncate(back);
            }
        }
        if let Some(min) = schema.min_items.filter(|min| (items.len() as i64) < *min) {
            self.invalid(items.len(), &format!("should have at least {min} items"));
        }
        if let Some(max) = schema.max_items.filter(|max| items.len() as i64 > *max) {
            let at = self.at();
            self.errors.push(FieldError::too_many(&at, items.len(), usize::try_from(max).unwrap_or(0)));
        }
    }

    fn allowed(&mut self, schema: &Node, value: &Value) {
        let same = |allowed: &Value| {
            allowed == value || (value.is_number() && allowed.as_f64().is_some() && allowed.as_f64() == value.as_f64())
        };
        if schema.allowed.is_empty() || schema.allowed.iter().any(same) {
            return;
        }
        let at = self.at();
        self.errors.push_with(|| {
            let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), String::from);
            let texts: Vec<String> = schema.allowed.iter().map(text).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            FieldError::not_supported(&at, value.clone(), &texts)
        });
    }

    fn fields(&mut self, schema: &Node, map: &Map<String, Value>) {
        if let Some(min) = schema.min_properties.filter(|min| (map.len() as i64) < *min) {
            self.invalid(map.len(), &format!("should have at least {min} properties"));
        }
        if let Some(max) = schema.max_properties.filter(|max| map.len() as i64 > *max) {
            let at = self.at();
            self.errors.push(FieldError::too_many(&at, map.len(), usize::try_from(max).unwrap_or(0)));
        }
        for (name, value) in map.iter().filter(|(name, _)| !schema.properties.contains_key(*name)) {
            match &schema.additional {
                Additional::Open => {}
                Additional::Schema(of_value) => self.below(name, |walk| walk.value(of_value, value)),
                Additional::Closed => {
                    let why = format!("{}.{name} in body is a forbidden property", self.path);
                    self.below(name, |walk| walk.errors.push(FieldError::invalid(&walk.at(), "", why)));
                }
            }
        }
        for (name, of_field) in &schema.properties {
            if let Some(value) = map.get(name) {
                self.below(name, |walk| walk.value(of_field, value));
            }
        }
        for name in schema.required.iter().filter(|name| !map.contains_key(*name)) {
            self.below(name, |walk| {
                let (error_type, path) = (ErrorType::Required, walk.at());
                walk.errors.push(FieldError { error_type, path, value: None, detail: String::new() });
            });
        }
    }
}
