//! Label selectors and field selectors: their text, their objects, and matching.

mod extract;
mod fields;
mod labels;
mod parser;

pub use extract::{Attributes, extract};
pub use fields::{FieldRequirement, FieldSelector};
pub use labels::{LabelSelector, Operator, Requirement, selects};

/// What labels or fields a selector looks at.
pub trait Lookup {
    /// The value under `key`, if there is one.
    fn lookup(&self, key: &str) -> Option<&str>;
}

impl Lookup for serde_json::Map<String, serde_json::Value> {
    fn lookup(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }
}

impl Lookup for std::collections::BTreeMap<String, String> {
    fn lookup(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

/// In order of name.
impl Lookup for [(Box<str>, Box<str>)] {
    fn lookup(&self, key: &str) -> Option<&str> {
        let found = self.binary_search_by(|(name, _)| (**name).cmp(key)).ok()?;
        Some(&self[found].1)
    }
}

impl Lookup for [(&str, &str)] {
    fn lookup(&self, key: &str) -> Option<&str> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }
}

/// Why a selector cannot be read; the wording is the reference's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);
