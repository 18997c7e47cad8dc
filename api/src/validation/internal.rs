//! Values as the reference's internal types show them in messages: Go's names of fields, in Go's order, with every
//! zero value written out.
//!
//! `data/internal-forms.txt` has one line a type: its name, then its fields as `Shown=name:form`. `=name` is the field
//! in an object where it differs by more than its first letter, a `?` says that a zero value is left out, a `+` takes in
//! the fields of another type, and the form is what absence looks like or the type of a struct (`*` pointer, `[]` list).

use serde_json::Value;

use super::at::At;
use crate::field::{FieldError, in_html};

static FORMS: &str = include_str!("../../data/internal-forms.txt");
/// Fields of a pod's spec that the internal type keeps in the security context.
const HOST_FIELDS: [&str; 5] = ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers"];

/// An invalid value, shown as its internal type.
pub(super) fn invalid(at: &At<'_>, form: &str, detail: impl Into<String>) -> FieldError {
    FieldError::invalid_text(&at.path, shown(at, form), detail)
}

/// An unsupported value, shown as its internal type.
pub(super) fn not_supported(at: &At<'_>, form: &str, supported: &[&str]) -> FieldError {
    FieldError { value: Some(shown(at, form)), ..FieldError::not_supported(&at.path, Value::Null, supported) }
}

/// A value as its internal type shows it.
pub(super) fn shown(at: &At<'_>, form: &str) -> String {
    let mut out = String::new();
    write(&mut out, form, at.value);
    out
}

fn fields(form: &str) -> &'static str {
    FORMS.lines().find_map(|line| line.strip_prefix(form)?.strip_prefix(' ')).unwrap_or("")
}

fn write(out: &mut String, form: &str, value: &Value) {
    match (form.as_bytes().first(), value) {
        (Some(b'*' | b'[' | b'{'), Value::Null) => out.push_str("null"),
        (Some(b'*'), value) => write(out, &form[1..], value),
        (Some(b'['), Value::Array(items)) => {
            let items = items.iter().map(|item| |out: &mut String| write(out, &form[2..], item));
            list(out, ['[', ']'], items);
        }
        (Some(b'{'), Value::Object(map)) => {
            let entries = map.iter().map(|(key, item)| {
                move |out: &mut String| {
                    quoted(out, key);
                    out.push(':');
                    write(out, &form[2..], item);
                }
            });
            list(out, ['{', '}'], entries);
        }
        (Some(b'"' | b'0' | b'f'), Value::Null) => out.push_str(form),
        (Some(b'a'..=b'z'), value) if form.contains('.') => of_struct(out, form, value),
        (_, value) => out.push_str(&in_html(value.to_string())),
    }
}

fn list(out: &mut String, [open, close]: [char; 2], items: impl Iterator<Item = impl FnOnce(&mut String)>) {
    out.push(open);
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        item(out);
    }
    out.push(close);
}

fn of_struct(out: &mut String, form: &str, value: &Value) {
    let lifted = (form == "core.PodSpec").then(|| with_host_fields(value));
    out.push('{');
    let start = out.len();
    members(out, start, form, lifted.as_ref().unwrap_or(value));
    out.push('}');
}

fn members(out: &mut String, start: usize, form: &str, value: &Value) {
    for member in fields(form).split(' ').filter(|member| !member.is_empty()) {
        if let Some(embedded) = member.strip_prefix('+') {
            // The metadata of a template is no field of its own there, but is one in an object.
            let inner =
                if embedded == "metav1.ObjectMeta" { value.get("metadata").unwrap_or(&Value::Null) } else { value };
            members(out, start, embedded, inner);
            continue;
        }
        let (name, form) = member.split_once(':').unwrap_or((member, "null"));
        let (name, optional) = name.strip_suffix('?').map_or((name, false), |name| (name, true));
        let (shown, key) = match name.split_once('=') {
            Some((shown, key)) => (shown, key.to_string()),
            None => (name, name[..1].to_lowercase() + &name[1..]),
        };
        let found = value.get(&key).unwrap_or(&Value::Null);
        if optional && is_zero(found) {
            continue;
        }
        if out.len() > start {
            out.push(',');
        }
        quoted(out, shown);
        out.push(':');
        write(out, form, found);
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

fn with_host_fields(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let Some(map) = spec.as_object_mut() else { return spec };
    let moved: Vec<_> = HOST_FIELDS.iter().filter_map(|name| Some((name.to_string(), map.remove(*name)?))).collect();
    let context = map.entry("securityContext").or_insert_with(|| Value::Object(Default::default()));
    if let Some(context) = context.as_object_mut() {
        context.extend(moved);
    }
    spec
}

fn quoted(out: &mut String, text: &str) {
    out.push_str(&in_html(Value::from(text).to_string()));
}
