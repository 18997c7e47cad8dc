//! The Go types below a pod template, from the schema's text, read once.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::schema::{Member, Schema};

static TYPES: LazyLock<HashMap<String, Vec<Field>>> = LazyLock::new(read);

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
    /// A definition by its short name, or one of [`OWN_FORM`].
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
    pub(super) name: String,
    /// The name in JSON; empty for a struct whose fields stand in the one around it.
    pub(super) json: &'static str,
    /// Whether JSON leaves it out when it is empty.
    pub(super) omits_empty: bool,
    /// Its type.
    pub(super) of: Type,
}

/// The structs that have a JSON form of their own.
const OWN_FORM: [(char, &str); 4] =
    [('q', "resource.Quantity"), ('x', "intstr.IntOrString"), ('t', "v1.Time"), ('f', "v1.FieldsV1")];

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
            Self::Map { name, .. } | Self::Scalar { name, .. } => name.clone(),
            // `core.v1.Pod` is Go's `v1.Pod`: a package goes by the last part of its path.
            Self::Struct(name) => match name.split_once('.') {
                Some((_, rest)) if rest.contains('.') => rest.to_owned(),
                _ => name.clone(),
            },
        }
    }

    /// The type of a line of the schema; `named` is the name of a scalar, or behind `=` of a list or map.
    fn parse(text: &str, named: &str) -> Self {
        let (letter, rest) = (text.chars().next().unwrap_or(' '), &text[text.len().min(1)..]);
        let whole = named.strip_prefix('=');
        let scalar = |name: &str, kind| {
            let name = if named.is_empty() || whole.is_some() { name } else { named };
            Self::Scalar { name: name.to_owned(), kind }
        };
        match letter {
            '@' => Self::Struct(rest.to_owned()),
            '[' => Self::List(Box::new(Self::parse(rest, named))),
            '{' => {
                let values = Box::new(Self::parse(rest, if whole.is_some() { "" } else { named }));
                let name = whole.map_or_else(|| format!("map[string]{}", values.name()), str::to_owned);
                Self::Map { name, values }
            }
            'y' => Self::List(Box::new(scalar("uint8", Kind::Whole))),
            's' => scalar("string", Kind::Text),
            'b' => scalar("bool", Kind::Bool),
            'i' => scalar("int32", Kind::Whole),
            'l' => scalar("int64", Kind::Whole),
            other => {
                let own = OWN_FORM.iter().find(|(letter, _)| *letter == other);
                Self::Struct(own.map_or_else(|| text.to_owned(), |(_, name)| (*name).to_owned()))
            }
        }
    }

    /// The struct that it is or consists of.
    fn structure(&self) -> Option<&str> {
        match self {
            Self::Pointer(of) | Self::List(of) | Self::Map { values: of, .. } => of.structure(),
            Self::Struct(name) => Some(name),
            Self::Scalar { .. } => None,
        }
    }
}

fn read() -> HashMap<String, Vec<Field>> {
    let mut types: HashMap<String, Vec<Field>> = HashMap::new();
    types.extend(OWN_FORM.map(|(_, name)| (name.to_owned(), Vec::new())));
    let mut open = vec![super::POD_TEMPLATE.to_owned()];
    while let Some(name) = open.pop() {
        if types.contains_key(&name) {
            continue;
        }
        let fields: Vec<_> = Schema::declared(&name).into_iter().flatten().map(field).collect();
        open.extend(fields.iter().filter_map(|field| field.of.structure()).map(str::to_owned));
        types.insert(name, fields);
    }
    types
}

fn field(member: Member) -> Field {
    match member {
        Member::Embedded { of, .. } => {
            let name = of.rsplit('.').next().unwrap_or(of).to_owned();
            Field { name, json: "", omits_empty: false, of: Type::Struct(of.to_owned()) }
        }
        Member::Field(line) => {
            let of = Type::parse(line.ty, line.named);
            let of = if line.flags.contains('p') { Type::Pointer(Box::new(of)) } else { of };
            let name = match line.go_name {
                "" => line.name[..1].to_uppercase() + &line.name[1..],
                name => name.to_owned(),
            };
            Field { name, json: line.name, omits_empty: line.flags.contains(['o', 'z']), of }
        }
    }
}
