//! From nodes to a tree: aliases expanded, merge keys merged, keys made text (`convertToJSONableObject`).

use std::collections::BTreeMap;

use super::nodes::{Document, Kind, Place};
use super::scalar::{Scalar, resolve};
use crate::decode::tree::Tree;
use crate::json::float_text;
use crate::object::NESTING_MAX;

type Entries = BTreeMap<String, Tree<'static>>;

/// Converts what is at `root`; keys that are given twice are told in `duplicates`.
pub(super) fn convert(document: &Document, root: Place, duplicates: &mut Vec<String>) -> Result<Tree<'static>, String> {
    Converter { document, duplicates }.value(root, 0)
}

struct Converter<'a> {
    document: &'a Document,
    duplicates: &'a mut Vec<String>,
}

impl Converter<'_> {
    fn value(&mut self, place: Place, depth: usize) -> Result<Tree<'static>, String> {
        let document = self.document;
        match &document.nodes[self.target(place)].kind {
            Kind::Sequence(_) if depth >= NESTING_MAX => Ok(Tree::Deep("array")),
            Kind::Mapping(_) if depth >= NESTING_MAX => Ok(Tree::Deep("object")),
            Kind::Sequence(items) => {
                let items: Result<_, _> = items.iter().map(|&item| self.value(item, depth + 1)).collect();
                Ok(Tree::Array(items?))
            }
            Kind::Mapping(children) => {
                let mut entries = Entries::new();
                self.entries(children, depth, &mut entries)?;
                // The reference goes through a Go map here, so what strict decoding finds comes in order of name.
                Ok(Tree::Object(entries.into_iter().map(|(key, value)| (key.into(), value)).collect()))
            }
            _ => match self.scalar(place)? {
                Scalar::Null => Ok(Tree::Null),
                Scalar::Bool(yes) => Ok(Tree::Bool(yes)),
                Scalar::Integer(number) => Ok(Tree::Number(number.to_string().into())),
                Scalar::Float(number) if number.is_finite() => Ok(Tree::Number(float_text(number).into())),
                Scalar::Float(number) => Err(format!("json: unsupported value: {}", unsupported(number))),
                Scalar::Text(text) => Ok(Tree::String(text.into())),
            },
        }
    }

    /// What a place stands for, after aliases.
    fn target(&self, mut place: Place) -> Place {
        while let Kind::Alias { target, .. } = &self.document.nodes[place].kind {
            place = *target;
        }
        place
    }

    fn scalar(&self, place: Place) -> Result<Scalar, String> {
        match &self.document.nodes[self.target(place)].kind {
            Kind::Scalar { value, tag, plain } => {
                resolve(value, tag.as_deref(), *plain).map_err(|error| format!("yaml: {error}"))
            }
            _ => Ok(Scalar::Null),
        }
    }

    fn entries(&mut self, children: &[Place], depth: usize, entries: &mut Entries) -> Result<(), String> {
        for pair in children.chunks_exact(2) {
            if self.is_merge(pair[0]) {
                self.merge(pair[1], depth, entries)?;
                continue;
            }
            let (key, shown) = self.key(pair[0])?;
            let value = self.value(pair[1], depth + 1)?;
            if entries.insert(key, value).is_some() {
                let line = self.document.nodes[pair[1]].line + 1;
                self.duplicates.push(format!("  line {line}: key {shown} already set in map"));
            }
        }
        Ok(())
    }

    fn is_merge(&self, place: Place) -> bool {
        matches!(&self.document.nodes[place].kind, Kind::Scalar { value, tag, plain }
            if value == "<<" && (*plain || tag.as_deref() == Some("tag:yaml.org,2002:merge")))
    }

    fn merge(&mut self, place: Place, depth: usize, entries: &mut Entries) -> Result<(), String> {
        let document = self.document;
        let wanted = || "yaml: map merge requires map or sequence of maps as the value".to_string();
        let depth = depth + 1;
        if depth >= NESTING_MAX {
            return Err("yaml: exceeded max depth".to_string());
        }
        match &document.nodes[place].kind {
            Kind::Sequence(items) => {
                // From the back, since earlier ones take precedence.
                for &item in items.iter().rev() {
                    let Kind::Mapping(children) = &document.nodes[self.target(item)].kind else {
                        return Err(wanted());
                    };
                    self.entries(children, depth, entries)?;
                }
                Ok(())
            }
            _ => match &document.nodes[self.target(place)].kind {
                Kind::Mapping(children) => self.entries(children, depth, entries),
                _ => Err(wanted()),
            },
        }
    }

    /// A key as text, and as Go prints it.
    fn key(&self, place: Place) -> Result<(String, String), String> {
        let target = self.target(place);
        if matches!(self.document.nodes[target].kind, Kind::Sequence(_) | Kind::Mapping(_)) {
            return Err(format!("yaml: invalid map key: {}", self.shown(target, 0)));
        }
        let shown = self.shown(target, 0);
        Ok(match self.scalar(target)? {
            Scalar::Text(text) => (text, shown),
            Scalar::Integer(number) => (number.to_string(), shown),
            Scalar::Bool(yes) => (yes.to_string(), shown),
            Scalar::Float(number) if number.is_nan() => (".nan".to_string(), shown),
            Scalar::Float(number) if number.is_infinite() => {
                (if number > 0.0 { ".inf" } else { "-.inf" }.to_string(), shown)
            }
            Scalar::Float(number) => ((number as f32).to_string(), shown),
            Scalar::Null => {
                return Err("unsupported map key of type: %!s(<nil>), key: <nil>, value: <nil>".to_string());
            }
        })
    }

    /// A value as Go's `%#v` prints it, cut short where it is deep.
    fn shown(&self, place: Place, depth: usize) -> String {
        const SHOWN_NESTING_MAX: usize = 8;
        const SHOWN_ITEMS_MAX: usize = 64;
        if depth > SHOWN_NESTING_MAX {
            return "...".to_string();
        }
        let show = |place: &Place| self.shown(self.target(*place), depth + 1);
        match &self.document.nodes[place].kind {
            Kind::Sequence(items) => {
                let items: Vec<String> = items.iter().take(SHOWN_ITEMS_MAX).map(show).collect();
                format!("[]interface {{}}{{{}}}", items.join(", "))
            }
            Kind::Mapping(children) => {
                let pairs = children.chunks_exact(2).take(SHOWN_ITEMS_MAX);
                let pairs: Vec<String> = pairs.map(|pair| format!("{}:{}", show(&pair[0]), show(&pair[1]))).collect();
                format!("map[interface {{}}]interface {{}}{{{}}}", pairs.join(", "))
            }
            _ => match self.scalar(place) {
                Ok(Scalar::Text(text)) => format!("{text:?}"),
                Ok(Scalar::Integer(number)) => number.to_string(),
                Ok(Scalar::Float(number)) => number.to_string(),
                Ok(Scalar::Bool(yes)) => yes.to_string(),
                _ => "interface {}(nil)".to_string(),
            },
        }
    }
}

/// What Go's JSON encoder calls a number that JSON does not have.
fn unsupported(number: f64) -> &'static str {
    match number {
        _ if number.is_nan() => "NaN",
        _ if number > 0.0 => "+Inf",
        _ => "-Inf",
    }
}
