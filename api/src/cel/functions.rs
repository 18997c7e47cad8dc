//! The functions that rules may call, as the checker needs them: a table of overloads.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::types::Type;

/// One way to call a function.
#[derive(Debug)]
pub(super) struct Overload {
    /// Tells overloads of a function apart where costs differ.
    pub(super) id: &'static str,
    /// Whether it is called on its first argument.
    pub(super) member: bool,
    pub(super) arguments: Vec<Type>,
    pub(super) result: Type,
    /// Whether there are type variables in it.
    pub(super) generic: bool,
}

/// Overloads: id, name, `g`lobal or `m`ember, arguments, result. Capitals are type variables. The standard library,
/// optional values, then the extensions of strings, sets and lists.
const STANDARD: &str = include_str!("functions/standard.txt");
/// What Kubernetes adds: lists, regular expressions, URLs, addresses, quantities, formats, versions, authorisation.
const KUBERNETES: &str = include_str!("functions/kubernetes.txt");

/// The formats that `format.NAME()` gives.
pub(super) const FORMATS: [&str; 13] = [
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
];

type Table = HashMap<&'static str, Vec<Overload>>;

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = Table::new();
        for line in STANDARD.lines().chain(KUBERNETES.lines()).filter(|line| !line.trim().is_empty()) {
            let words: Vec<&'static str> = line.split_whitespace().collect();
            let [id, name, style, arguments, result] = words[..] else { panic!("five words in {line:?}") };
            for (arguments, result, generic) in instances(arguments, result) {
                let overload = Overload { id, member: style == "m", arguments, result, generic };
                table.entry(name).or_default().push(overload);
            }
        }
        table
    })
}

/// `#n` stands for each type that can be added up, `#c` for each that can be compared: one overload each.
fn instances(arguments: &'static str, result: &'static str) -> Vec<(Vec<Type>, Type, bool)> {
    const SUMMABLE: [&str; 4] = ["int", "uint", "double", "duration"];
    const COMPARABLE: [&str; 8] = ["int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes"];
    let of = |mark: &str, names: &[&str]| -> Vec<(Vec<Type>, Type, bool)> {
        let one = |name: &&str| read(&arguments.replace(mark, name), &result.replace(mark, name));
        names.iter().map(one).collect()
    };
    if arguments.contains("#n") {
        of("#n", &SUMMABLE)
    } else if arguments.contains("#c") {
        of("#c", &COMPARABLE)
    } else {
        vec![read(arguments, result)]
    }
}

fn read(arguments: &str, result: &str) -> (Vec<Type>, Type, bool) {
    let types: Vec<Type> = split(arguments).into_iter().filter(|a| *a != "-").map(ty).collect();
    let result_type = ty(result);
    let generic = types.iter().chain([&result_type]).any(has_variable);
    (types, result_type, generic)
}

fn has_variable(ty: &Type) -> bool {
    let mut found = false;
    ty.replace(&mut |_| {
        found = true;
        None
    });
    found
}

/// Splits at the commas outside of brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// A type as the table writes it.
fn ty(text: &str) -> Type {
    const LIBRARY: [&str; 11] = [
        "kubernetes.Quantity",
        "kubernetes.URL",
        "kubernetes.Semver",
        "kubernetes.NamedFormat",
        "net.IP",
        "net.CIDR",
        "kubernetes.authorization.Authorizer",
        "kubernetes.authorization.PathCheck",
        "kubernetes.authorization.GroupCheck",
        "kubernetes.authorization.ResourceCheck",
        "kubernetes.authorization.Decision",
    ];
    if let Some((name, rest)) = text.split_once('(') {
        let inner: Vec<Type> = split(&rest[..rest.len() - 1]).into_iter().map(ty).collect();
        return match (name, inner.as_slice()) {
            ("list", [item]) => Type::list(item.clone()),
            ("optional", [inner]) => Type::optional(inner.clone()),
            ("type", [inner]) => Type::Of(Some(Arc::new(inner.clone()))),
            ("map", [key, value]) => Type::Map(Arc::new(key.clone()), Arc::new(value.clone())),
            _ => panic!("no type {text:?}"),
        };
    }
    if let Some(named) = standard(text) {
        return named;
    }
    match LIBRARY.into_iter().find(|name| *name == text) {
        Some(name) => Type::Library(name),
        None => Type::Var(text.into()),
    }
}

fn standard(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "duration" => Type::Duration,
        "timestamp" => Type::Timestamp,
        "dyn" => Type::Dyn,
        _ => return None,
    })
}

/// The overloads of a function; none if there is no such function.
pub(super) fn overloads(name: &str) -> Option<&'static [Overload]> {
    if let Some(format) = name.strip_prefix("format.").filter(|f| FORMATS.contains(f)) {
        static FORMAT: OnceLock<Vec<Overload>> = OnceLock::new();
        let result = Type::Library("kubernetes.NamedFormat");
        debug_assert!(!format.is_empty());
        let one = || vec![Overload { id: "format", member: false, arguments: vec![], result, generic: false }];
        return Some(FORMAT.get_or_init(one));
    }
    table().get(name).map(Vec::as_slice)
}

/// The type that a name stands for where it is used as a value, such as `int` in `type(x) == int`.
pub(super) fn type_named(name: &str) -> Option<Type> {
    let inner = match name {
        "list" => Type::list(Type::Dyn),
        "map" => Type::Map(Arc::new(Type::Dyn), Arc::new(Type::Dyn)),
        "null_type" => Type::Null,
        "type" => Type::Of(None),
        "optional_type" => Type::optional(Type::Var("V".into())),
        "google.protobuf.Timestamp" => Type::Timestamp,
        "google.protobuf.Duration" => Type::Duration,
        "dyn" | "duration" | "timestamp" => return None,
        name => match ty(name) {
            Type::Var(_) => return None,
            found => found,
        },
    };
    Some(Type::Of(Some(Arc::new(inner))))
}
