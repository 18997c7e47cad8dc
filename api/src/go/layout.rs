//! The Go types below a pod template: `data/go-types.txt`, read once.

use std::collections::HashMap;
use std::sync::LazyLock;

const TEXT: &str = include_str!("../../data/go-types.txt");

static TYPES: LazyLock<HashMap<&'static str, Vec<Field>>> = LazyLock::new(read);

/// A type of Go, as far as it matters to what is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    /// `*T`
    Pointer(Box<Type>),
    /// `[]T`
    List(Box<Type>),
    /// `map[K]V`, by the name to print; keys are texts.
    Map { name: String, values: Box<Type> },
    /// Something simple, by the name to print.
    Scalar { name: String, kind: Kind },
    /// A struct of the table.
    Struct(String),
}

/// What sort of simple value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Bool,
    Whole,
}

/// One field of a struct.
#[derive(Debug)]
pub(super) struct Field {
    /// The name in Go.
    pub(super) name: &'static str,
    /// The name in JSON; empty for a struct whose fields stand in the one around it.
    pub(super) json: &'static str,
    /// Whether JSON leaves it out when it is empty.
    pub(super) omits_empty: bool,
    /// Its type.
    pub(super) of: Type,
}

/// The fields of a struct; none for the few that have a JSON form of their own.
pub(super) fn fields(name: &str) -> Option<&'static [Field]> {
    TYPES.get(name).map(Vec::as_slice)
}

impl Type {
    /// The name as Go's reflection gives it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Pointer(of) => format!("*{}", of.name()),
            Self::List(of) => format!("[]{}", of.name()),
            Self::Map { name, .. } | Self::Scalar { name, .. } | Self::Struct(name) => name.clone(),
        }
    }

    fn parse(text: &str) -> Self {
        if let Some(of) = text.strip_prefix('*') {
            return Self::Pointer(Box::new(Self::parse(of)));
        }
        if let Some(of) = text.strip_prefix("[]") {
            return Self::List(Box::new(Self::parse(of)));
        }
        // A map may be named, and so may its keys: `v1.ResourceList=map[v1.ResourceName=string]resource.Quantity`.
        let map = text.strip_prefix("map[").map(|rest| ("", rest)).or_else(|| text.split_once("=map["));
        if let Some((name, (key, values))) = map.and_then(|(name, rest)| Some((name, rest.split_once(']')?))) {
            let values = Box::new(Self::parse(values));
            let key = key.split('=').next().unwrap_or(key);
            let name = if name.is_empty() { format!("map[{key}]{}", values.name()) } else { name.to_owned() };
            return Self::Map { name, values };
        }
        let (name, kind) = text.split_once('=').unwrap_or((text, text));
        let kind = match kind {
            "string" => Kind::Text,
            "bool" => Kind::Bool,
            "int32" | "int64" | "uint8" => Kind::Whole,
            _ => return Self::Struct(name.into()),
        };
        Self::Scalar { name: name.into(), kind }
    }
}

fn read() -> HashMap<&'static str, Vec<Field>> {
    let mut types: HashMap<&'static str, Vec<Field>> = HashMap::new();
    let mut open = "";
    for line in TEXT.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('=') {
            open = name;
            types.entry(open).or_default();
            continue;
        }
        let mut columns = line.split('\t');
        let (name, json, of) = (columns.next(), columns.next(), columns.next());
        let (Some(name), Some(json), Some(of)) = (name, json, of) else { continue };
        let bare = json.trim_end_matches(['?', '!']);
        let field = Field { name, json: bare, omits_empty: bare.len() < json.len(), of: Type::parse(of) };
        types.entry(open).or_default().push(field);
    }
    types
}
