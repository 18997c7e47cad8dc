//! YAML as the reference writes it (`JSONToYAML` of sigs.k8s.io/yaml on go-yaml v2): in order of name, with quotes around
//! whatever a reader of YAML 1.1 would take for something else than a text, and floats as `strconv.FormatFloat` prints
//! the shortest that is the same.

mod scalar;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use scalar::{Style, Text};

/// Readers look for the colon after a key no further than this (`max_simple_key_length` is 1024); longer keys are marked.
const KEY_BYTES_MAX: usize = 1000;
/// How much deeper what is inside stands.
const INDENT: usize = 2;

/// The bytes of an object.
pub fn object(object: &Map<String, Value>) -> Vec<u8> {
    let mut out = String::new();
    match object.is_empty() {
        true => out.push_str("{}\n"),
        false => mapping(&mut out, object, 0, false),
    }
    out.into_bytes()
}

/// Appends the members of a map, a line or more each; the first one's beginning is there already if it `continues` a line.
fn mapping(out: &mut String, map: &Map<String, Value>, indent: usize, mut continues: bool) {
    for (name, value) in map {
        if !std::mem::take(&mut continues) {
            spaces(out, indent);
        }
        if name.len() > KEY_BYTES_MAX {
            out.push_str("? ");
            scalar::write(out, Text { text: name, is_key: true }, indent);
            out.push('\n');
            spaces(out, indent);
            out.push(':');
            inside(out, value, indent, indent + INDENT);
        } else {
            scalar::write(out, Text { text: name, is_key: true }, indent);
            out.push(':');
            inside(out, value, indent, indent);
        }
    }
}

/// Appends a value after a colon, with the end of its line; sequences stand at an indent of their own.
fn inside(out: &mut String, value: &Value, indent: usize, of_sequences: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            mapping(out, map, indent + INDENT, false);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            sequence(out, items, of_sequences, false);
        }
        other => {
            out.push(' ');
            leaf(out, other, indent);
        }
    }
}

/// Appends the items of a list, a line or more each.
fn sequence(out: &mut String, items: &[Value], indent: usize, mut continues: bool) {
    for item in items {
        if !std::mem::take(&mut continues) {
            spaces(out, indent);
        }
        out.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => mapping(out, map, indent + INDENT, true),
            Value::Array(items) if !items.is_empty() => sequence(out, items, indent + INDENT, true),
            other => leaf(out, other, indent),
        }
    }
}

/// Appends what has nothing inside, and the end of its line.
fn leaf(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => out.push_str(&scalar::float(float)),
            None => out.push_str(&number.to_string()),
        },
        Value::String(text) => {
            if scalar::write(out, Text { text, is_key: false }, indent) == Style::Literal {
                return;
            }
        }
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
    out.push('\n');
}

fn spaces(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}
