//! YAML bodies: one document, with limits on aliases and size, read as the JSON that the reference makes of it.

use std::collections::BTreeMap;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};

use super::tree::{NESTING_MAX, Tree};

/// What aliases stand for may have no more events (scalars, starts and ends) than this in a whole document.
const ALIAS_EVENTS_MAX: usize = 50_000;

/// Parses a document; keys given twice in one map are told in `strict`.
pub(super) fn parse(bytes: &[u8], strict: &mut Vec<String>) -> Result<Tree, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "yaml: invalid leading UTF-8 octet".to_string())?;
    if text.trim().is_empty() {
        return Ok(Tree::Null);
    }
    // JSON is YAML, and its own parser is faster and has no aliases to guard against.
    if text.trim_start().starts_with('{')
        && let Ok(tree) = super::json::parse(bytes)
    {
        return Ok(tree);
    }
    let mut options = serde_saphyr::Options::default();
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    options.non_finite_float_policy = NonFiniteFloatPolicy::AsString;
    options.alias_limits.max_total_replayed_events = ALIAS_EVENTS_MAX;
    if let Some(budget) = &mut options.budget {
        budget.max_depth = NESTING_MAX;
    }
    let mut duplicates = Vec::new();
    let tree = serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| {
        Seed { duplicates: &mut duplicates, depth: 0 }.deserialize(deserializer)
    });
    let tree = tree.map_err(|e| format!("yaml: {}", first_line(&e.to_string())))?;
    if !duplicates.is_empty() {
        let lines: Vec<String> = duplicates.iter().map(|key| format!("  key {key:?} already set in map")).collect();
        strict.push(format!("yaml: unmarshal errors:\n{}", lines.join("\n")));
    }
    Ok(tree)
}

/// The parser's errors show the place in the source below the message; a status has room for one line.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}

struct Seed<'d> {
    duplicates: &'d mut Vec<String>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Tree;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Tree;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(yes))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Number(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Number(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        Ok(Tree::Number(super::tree::double(number).to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::String(text.to_string()))
    }

    fn visit_string<E>(self, text: String) -> Result<Tree, E> {
        Ok(Tree::String(text))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let depth = deeper(self.depth)?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(Seed { duplicates: self.duplicates, depth })? {
            items.push(item);
        }
        Ok(Tree::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let depth = deeper(self.depth)?;
        let mut entries = BTreeMap::new();
        while let Some(key) = access.next_key_seed(Seed { duplicates: &mut Vec::new(), depth })? {
            let key = key_text(key)?;
            let value = access.next_value_seed(Seed { duplicates: self.duplicates, depth })?;
            if entries.insert(key.clone(), value).is_some() {
                self.duplicates.push(key);
            }
        }
        // The reference goes through a Go map here, so what strict decoding finds comes in order of name.
        Ok(Tree::Object(entries.into_iter().collect()))
    }
}

fn deeper<E: serde::de::Error>(depth: usize) -> Result<usize, E> {
    if depth >= NESTING_MAX { Err(E::custom("exceeded max depth")) } else { Ok(depth + 1) }
}

fn key_text<E: serde::de::Error>(key: Tree) -> Result<String, E> {
    match key {
        Tree::String(text) | Tree::Number(text) => Ok(text),
        Tree::Bool(yes) => Ok(yes.to_string()),
        Tree::Null => Ok("null".to_string()),
        Tree::Array(_) | Tree::Object(_) => Err(E::custom("a map's key must be a scalar")),
    }
}
