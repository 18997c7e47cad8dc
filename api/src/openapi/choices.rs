//! What a field may be, and which fields exclude each other, where the types do not say so.

use serde_json::{Map, Value, json};

/// A line a field: its definition and name (`[]` behind it if it is a list, `{}` if it is a map), and what it may be.
const CHOICES: &str = include_str!("../../data/enums.txt");

/// A line a definition: the field that tells (`-` if none does), and each other field with the value that it is for.
const UNIONS: &str = include_str!("../../data/unions.txt");

/// Which fields of a definition exclude each other, and the field that tells which is meant.
pub(super) fn union_of(definition: &str) -> Option<Value> {
    let line = UNIONS.lines().find_map(|line| line.strip_prefix(definition)?.strip_prefix(' '))?;
    let mut words = line.split(' ');
    let discriminator = words.next().filter(|name| *name != "-");
    let fields: Map<String, Value> =
        words.filter_map(|word| word.split_once('=')).map(|(field, value)| (field.to_string(), value.into())).collect();
    let mut union = json!({"fields-to-discriminateBy": fields});
    if let Some(discriminator) = discriminator {
        union["discriminator"] = discriminator.into();
    }
    Some(union)
}

/// The values that a text, or each of a list of texts, may have.
pub(super) struct Choices {
    /// Where the values stand: empty for the field itself, else where the schema of its items or values is.
    place: &'static str,
    values: Vec<&'static str>,
}

/// The choices of a field, by the name of its definition and its own.
pub(super) fn choices(field: &str) -> Option<Choices> {
    let rest =
        CHOICES.lines().find_map(|line| line.strip_prefix(field).filter(|rest| rest.starts_with(['\t', '[', '{'])))?;
    let (brackets, values) = rest.split_once('\t')?;
    let place = match brackets {
        "[]" => "items",
        "{}" => "additionalProperties",
        _ => "",
    };
    Some(Choices { place, values: values.split(',').collect() })
}

impl Choices {
    /// Writes them into the schema of the field.
    pub(super) fn add(&self, map: &mut Map<String, Value>) {
        let values = json!(self.values);
        match map.get_mut(self.place).and_then(Value::as_object_mut) {
            Some(below) => _ = below.insert("enum".to_string(), values),
            None => _ = map.insert("enum".to_string(), values),
        }
    }

    /// As the description of the field ends; that of a list says nothing of its items.
    pub(super) fn told(&self) -> String {
        if !self.place.is_empty() {
            return String::new();
        }
        let lines: Vec<String> = self.values.iter().map(|value| format!("\n - `{value:?}`")).collect();
        format!("\n\nPossible enum values:{}", lines.concat())
    }
}
