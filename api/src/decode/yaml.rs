//! YAML bodies: the first document, read as the JSON that the reference makes of it (sigs.k8s.io/yaml on go-yaml v2),
//! with that parser's limits on nesting and aliases and in its words. Nothing here recurses deeper than what is kept.

mod aliases;
mod convert;
mod nodes;
mod scalar;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use super::tree::Tree;

/// What the one finding begins with that holds every key given twice, a line each.
pub(super) const REPEATED_KEYS: &str = "yaml: unmarshal errors:\n";

/// Whether a plain scalar is a text, and not a key that merges another map.
pub(super) fn is_text(value: &str) -> bool {
    scalar::is_text(value)
}

/// Parses a document; keys given twice in one map are told in `strict`.
pub(crate) fn parse<'a>(bytes: &'a [u8], strict: &mut Vec<String>) -> Result<Tree<'a>, String> {
    // JSON is YAML, and its own parser is faster and has no aliases to guard against. Where both read the same.
    if bytes.trim_ascii_start().starts_with(b"{")
        && let Ok(tree) = super::json::parse(bytes)
        && is_read_alike(&tree)
    {
        return Ok(tree);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| format!("yaml: {}", bad_encoding(bytes, error)))?;
    let document = nodes::compose(text).map_err(|error| format!("yaml: {error}"))?;
    let Some(root) = document.root else { return Ok(Tree::Null) };
    aliases::check(&document, root).map_err(|error| format!("yaml: {error}"))?;
    let mut duplicates = Vec::new();
    let tree = convert::convert(&document, root, &mut duplicates)?;
    if !duplicates.is_empty() {
        strict.push(format!("{REPEATED_KEYS}{}", duplicates.join("\n")));
    }
    Ok(tree)
}

/// Whether JSON means the same as YAML: there keys that are given twice are told of, and numbers are numbers of Go, not
/// their spelling.
fn is_read_alike(tree: &Tree) -> bool {
    match tree {
        Tree::Null | Tree::Bool(_) | Tree::String(_) => true,
        Tree::Number(text) => text.parse::<i64>().is_ok_and(|number| number != 0 || &**text == "0"),
        Tree::Array(items) => items.iter().all(is_read_alike),
        Tree::Object(entries) => {
            let mut keys = HashSet::with_capacity(entries.len());
            entries.iter().all(|(key, value)| keys.insert(&**key) && is_read_alike(value))
        }
        Tree::Deep(_) => false,
    }
}

/// What go-yaml's reader says of bytes that are no UTF-8.
fn bad_encoding(bytes: &[u8], error: std::str::Utf8Error) -> &'static str {
    let first = bytes[error.valid_up_to()];
    match error.error_len() {
        None => "incomplete UTF-8 octet sequence",
        Some(1) if !matches!(first, 0xc0..=0xf7) => "invalid leading UTF-8 octet",
        Some(_) => "invalid trailing UTF-8 octet",
    }
}
