//! Prints values of internal types as JSON, on one line or indented by one space a level.

use serde_json::Value;

use super::{Field, Member, members};
use crate::go::json::in_html;

static NULL: Value = Value::Null;

/// Text that grows.
pub(super) struct Printer {
    text: String,
    /// How far the line in work is indented; nothing if all stands on one line.
    indent: Option<usize>,
}

impl Printer {
    pub(super) fn on_one_line() -> Self {
        Self { text: String::new(), indent: None }
    }

    pub(super) fn indented() -> Self {
        Self { text: String::new(), indent: Some(0) }
    }

    pub(super) fn print(mut self, form: &str, value: &Value) -> String {
        self.value(form, value, &NULL);
        self.text
    }

    fn value(&mut self, form: &str, value: &Value, around: &Value) {
        match (form.as_bytes().first(), value) {
            (Some(b'*' | b'[' | b'{'), Value::Null) => self.text.push_str("null"),
            (Some(b'*'), _) => self.value(&form[1..], value, around),
            (Some(b'['), Value::Array(items)) => {
                self.list(['[', ']'], items, |out, item| out.value(&form[2..], item, value));
            }
            (Some(b'{'), Value::Object(map)) => self.list(['{', '}'], map, |out, (name, item)| {
                out.name(name);
                out.value(&form[2..], item, value);
            }),
            (Some(b'a'..=b'z'), _) if form.contains('.') => self.object(form, value, around),
            (Some(_), Value::Null) => self.text.push_str(form),
            _ => self.as_served(value),
        }
    }

    /// A value of a type that the served version shares.
    fn as_served(&mut self, value: &Value) {
        match value {
            Value::Array(items) => self.list(['[', ']'], items, Self::as_served),
            Value::Object(map) => self.list(['{', '}'], map, |out, (name, item)| {
                out.name(name);
                out.as_served(item);
            }),
            other => self.text.push_str(&in_html(other.to_string())),
        }
    }

    fn object(&mut self, type_name: &str, value: &Value, around: &Value) {
        let mut fields = Vec::new();
        fields_of(type_name, value, around, &mut fields);
        self.list(['{', '}'], fields, |out, (field, found)| {
            out.name(field.shown);
            out.value(field.form, found, value);
        });
    }

    fn list<I>(&mut self, [open, close]: [char; 2], items: impl IntoIterator<Item = I>, print: impl Fn(&mut Self, I)) {
        self.text.push(open);
        let outer = self.indent;
        self.indent = outer.map(|indent| indent + 1);
        let mut is_empty = true;
        for item in items {
            if !is_empty {
                self.text.push(',');
            }
            is_empty = false;
            self.line();
            print(self, item);
        }
        self.indent = outer;
        if !is_empty {
            self.line();
        }
        self.text.push(close);
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
}

/// The fields that are shown of a value, with those of the types that are taken in.
fn fields_of<'v>(type_name: &str, value: &'v Value, around: &'v Value, fields: &mut Vec<(Field, &'v Value)>) {
    for member in members(type_name) {
        match member {
            Member::Embedded { below, type_name } => {
                let inner = if below.is_empty() { value } else { value.get(below).unwrap_or(&NULL) };
                fields_of(type_name, inner, around, fields);
            }
            Member::Field(field) => {
                let found = field.source.find(value, around).unwrap_or(&NULL);
                if !field.may_lack || !is_empty(found) {
                    fields.push((field, found));
                }
            }
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(truth) => !truth,
    }
}
