//! How the reference prints a value whose type has no JSON of its own: its internal types, by the names and in the
//! order of their fields, with everything that is unset. Error messages show them, whole or as a difference.
//!
//! `data/internal.txt` holds a line a type: its name and its fields, each `Shown:kind=json`. A kind is `s` (text), `n`
//! (number), `b` (truth), `q` (quantity), `-` (anything that is null when unset), or the name of a type, `*` for one that
//! may be null and `[]` for a list. `+Type` takes the fields of another in, `metadata+Type` those of a type that the
//! served version keeps below `metadata`; `^` looks in the value around this one, and `?` leaves out what is empty.

use std::collections::HashMap;

use serde_json::Value;

use crate::diff;
use crate::field::in_html;

const FACTS: &str = include_str!("../data/internal.txt");
static NULL: Value = Value::Null;

/// A value of an internal type, in JSON on one line, as a message shows it.
pub fn compact(type_name: &str, value: &Value, around: &Value) -> String {
    Types::new().text(type_name, value, around, None)
}

/// A list of values of an internal type, in JSON on one line.
pub fn compact_list(type_name: &str, values: &Value) -> String {
    let types = Types::new();
    match values.as_array() {
        None => "null".to_string(),
        Some(items) => {
            let items: Vec<String> = items.iter().map(|item| types.text(type_name, item, &NULL, None)).collect();
            format!("[{}]", items.join(","))
        }
    }
}

/// What differs between two values of an internal type; the old one comes from the store, where empty is unset.
pub fn difference(type_name: &str, old: &Value, new: &Value) -> String {
    let types = Types::new();
    let old = without_empty(old);
    let (old, new) = (types.text(type_name, &old, &NULL, Some(0)), types.text(type_name, new, &NULL, Some(0)));
    diff::unified(&old, &new)
}

/// Lists and maps that are empty are not stored.
fn without_empty(value: &Value) -> Value {
    match value {
        Value::Array(items) if !items.is_empty() => items.iter().map(without_empty).collect(),
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| value.as_array().is_none_or(|items| !items.is_empty()));
            Value::Object(kept.map(|(name, value)| (name.clone(), without_empty(value))).collect())
        }
        other => other.clone(),
    }
}

struct Types(HashMap<&'static str, &'static str>);

impl Types {
    fn new() -> Self {
        Self(FACTS.lines().filter_map(|line| line.split_once(' ')).collect())
    }

    fn text(&self, type_name: &str, value: &Value, around: &Value, indent: Option<usize>) -> String {
        let mut out = Writer { text: String::new(), indent };
        self.object(type_name, value, around, &mut out);
        out.text
    }

    fn object(&self, type_name: &str, value: &Value, around: &Value, out: &mut Writer) {
        let mut fields = Fields { out, count: 0 };
        fields.out.open('{');
        self.fields(type_name, value, around, &mut fields);
        let count = fields.count;
        out.close('}', count);
    }

    fn fields(&self, type_name: &str, value: &Value, around: &Value, fields: &mut Fields<'_>) {
        for token in self.0.get(type_name).copied().unwrap_or_default().split(' ') {
            if let Some((below, other)) = token.split_once('+') {
                let inner = if below.is_empty() { value } else { value.get(below).unwrap_or(&NULL) };
                self.fields(other, inner, around, fields);
                continue;
            }
            let Some((shown, rest)) = token.split_once(':') else { continue };
            let (kind, json) = rest.split_once('=').unwrap_or((rest, ""));
            let of_value = |name: &str| match name.strip_prefix('^') {
                Some(name) => around.get(name).unwrap_or(&NULL),
                None => value.get(name).unwrap_or(&NULL),
            };
            let child = if json.is_empty() { of_value(&first_lower(shown)) } else { of_value(json) };
            let kind = match kind.strip_suffix('?') {
                Some(_) if is_empty(child) => continue,
                Some(kind) => kind,
                None => kind,
            };
            fields.name(shown);
            self.value(kind, child, value, fields.out);
        }
    }

    fn value(&self, kind: &str, value: &Value, around: &Value, out: &mut Writer) {
        match kind {
            "s" | "n" | "b" | "q" if value.is_null() => out.text.push_str(match kind {
                "s" => "\"\"",
                "n" => "0",
                "b" => "false",
                _ => "\"0\"",
            }),
            "s" | "n" | "b" | "q" => out.raw(value),
            "-" => out.any(value),
            _ => match (kind.strip_prefix('*'), kind.strip_prefix("[]"), value) {
                (Some(_), _, Value::Null) | (_, Some(_), Value::Null) => out.raw(&NULL),
                (Some(name), _, _) => self.object(name, value, around, out),
                (_, Some(name), Value::Array(items)) => {
                    out.open('[');
                    for (index, item) in items.iter().enumerate() {
                        out.next(index);
                        self.object(name, item, value, out);
                    }
                    out.close(']', items.len());
                }
                _ => self.object(kind, value, around, out),
            },
        }
    }
}

fn first_lower(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Bool(truth) => !truth,
    }
}

/// JSON on one line, or indented by one space a level.
struct Writer {
    text: String,
    indent: Option<usize>,
}

impl Writer {
    fn open(&mut self, mark: char) {
        self.text.push(mark);
        self.indent = self.indent.map(|indent| indent + 1);
    }

    fn close(&mut self, mark: char, count: usize) {
        self.indent = self.indent.map(|indent| indent - 1);
        if count > 0 {
            self.line();
        }
        self.text.push(mark);
    }

    fn next(&mut self, index: usize) {
        if index > 0 {
            self.text.push(',');
        }
        self.line();
    }

    fn line(&mut self) {
        if let Some(indent) = self.indent {
            self.text.push('\n');
            self.text.extend(std::iter::repeat_n(' ', indent));
        }
    }

    fn name(&mut self, name: &str) {
        self.text.push_str(&in_html(Value::from(name).to_string()));
        self.text.push_str(if self.indent.is_some() { ": " } else { ":" });
    }

    fn raw(&mut self, value: &Value) {
        self.text.push_str(&in_html(value.to_string()));
    }

    /// A value that is written as it is served.
    fn any(&mut self, value: &Value) {
        match value {
            Value::Array(items) => {
                self.open('[');
                for (index, item) in items.iter().enumerate() {
                    self.next(index);
                    self.any(item);
                }
                self.close(']', items.len());
            }
            Value::Object(map) => {
                self.open('{');
                for (index, (name, item)) in map.iter().enumerate() {
                    self.next(index);
                    self.name(name);
                    self.any(item);
                }
                self.close('}', map.len());
            }
            other => self.raw(other),
        }
    }
}

/// The fields of one object, which may come from several types.
struct Fields<'a> {
    out: &'a mut Writer,
    count: usize,
}

impl Fields<'_> {
    fn name(&mut self, name: &str) {
        self.out.next(self.count);
        self.count += 1;
        self.out.name(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_of_internal_types() {
        let check = |name: &str, value: Value, around: Value, expected: &str| {
            assert_eq!(compact(name, &value, &around), expected);
        };
        let taint = json!({"key": "a<b", "effect": "NoSchedule"});
        let shown = r#"{"Key":"a\u003cb","Value":"","Effect":"NoSchedule","TimeAdded":null}"#;
        check("Taint", taint, Value::Null, shown);
        let selector = json!({"matchLabels": {"a": "b"}});
        check("meta.LabelSelector", selector, Value::Null, r#"{"matchLabels":{"a":"b"}}"#);
        let mount = json!({"name": "m", "mountPath": "/a"});
        let shown = "{\"Name\":\"m\",\"ReadOnly\":false,\"RecursiveReadOnly\":null,\"MountPath\":\"/a\",\"SubPath\":\"\",\
                     \"MountPropagation\":null,\"SubPathExpr\":\"\"}";
        check("VolumeMount", mount, Value::Null, shown);
        let volume = json!({"name": "v", "configMap": {"name": "c"}});
        let shown = compact("Volume", &volume, &Value::Null);
        let inner = r#""ConfigMap":{"Name":"c","Items":null,"DefaultMode":null,"Optional":null}"#;
        assert!(shown.starts_with(r#"{"Name":"v","HostPath":null"#) && shown.contains(inner), "{shown}");
        let pod = json!({"hostNetwork": true, "securityContext": {}});
        let shown = compact("PodSpec", &pod, &Value::Null);
        let inner =
            r#""SecurityContext":{"HostNetwork":true,"HostPID":false,"HostIPC":false,"ShareProcessNamespace":null"#;
        assert!(shown.contains(inner), "{shown}");
    }

    #[test]
    fn every_type_that_is_named_is_known() {
        let types = Types::new();
        for token in types.0.values().flat_map(|fields| fields.split(' ')) {
            let kind = match (token.split_once('+'), token.split_once(':')) {
                (Some((_, other)), _) => other,
                (_, Some((_, rest))) => rest.split(['=', '?']).next().unwrap().trim_start_matches(['*', '[', ']']),
                _ => panic!("{token}"),
            };
            assert!(matches!(kind, "s" | "n" | "b" | "q" | "-") || types.0.contains_key(kind), "{token}");
        }
    }
}
