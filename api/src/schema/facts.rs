//! The built-in definitions, read once from `data/schema.txt`.
//!
//! A line that starts with `=` opens a definition: its name, and `a` if it is atomic. A line with `!` gives its group,
//! version and kind. Any other line is a field: name, type, protobuf numbers, flags, named scalar, list map keys,
//! merge key and default, separated by tabs. Types are letters (`s` string, `i` and `l` integers, `b` boolean,
//! `d` double, `y` bytes, and the special ones), `@N` for the definition in place N, `[` and `{` before the type of a
//! list's items and a map's values.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::Value;

use super::graph::{Definition, FieldData, Flags, Graph, Kind, Node, NodeId, Topology};

static TEXT: &str = include_str!("../../data/schema.txt");
/// Lines `group.version.Definition.field=JSON`: defaults that the reference sets in code and under no condition.
static DEFAULTS: &str = include_str!("../../data/defaults.txt");
/// The structs whose fields do not stand in the order of their numbers in protobuf: a name and its fields, a line each.
static ORDER: &str = include_str!("../../data/field-order.txt");

/// The built-in graph.
pub(crate) fn builtin() -> &'static Graph {
    static GRAPH: OnceLock<Graph> = OnceLock::new();
    GRAPH.get_or_init(|| parse(TEXT))
}

fn parse(text: &'static str) -> Graph {
    let mut graph = Graph::default();
    let (mut definitions, mut fields) = (0, 0);
    for line in text.lines() {
        match line.as_bytes()[0] {
            b'=' => definitions += 1,
            b'!' => {}
            _ => fields += 1,
        }
    }
    graph.fields.reserve_exact(fields);
    graph.definitions.reserve_exact(definitions);
    graph.by_name.reserve(definitions);
    // The structs come first, so that a reference to definition N is node N, whichever is read first.
    graph.nodes.extend((0..definitions).map(|i| Node { definition: i as u32, ..Node::new(Kind::Struct) }));
    let mut reader = Reader { graph, plain: HashMap::new() };
    for line in text.lines() {
        match line.as_bytes()[0] {
            b'=' => reader.definition(&line[1..]),
            b'!' => reader.kind(&line[1..]),
            _ => reader.field(line),
        }
    }
    reader.orders();
    reader.defaults();
    reader.graph.nodes.shrink_to_fit();
    reader.graph
}

struct Reader {
    graph: Graph,
    /// The nodes of types that carry nothing of their field, by their text, to make each once.
    plain: HashMap<&'static str, NodeId>,
}

impl Reader {
    fn definition(&mut self, line: &'static str) {
        let mut parts = line.split('\t');
        let name = parts.next().unwrap_or("");
        let place = self.graph.definitions.len();
        let start = self.graph.fields.len() as u32;
        let node = &mut self.graph.nodes[place];
        node.fields = start..start;
        if parts.next() == Some("a") {
            node.topology = Topology::Atomic;
        }
        self.graph.definitions.push(Definition {
            name,
            node: NodeId(place as u32),
            always: Vec::new(),
            by_number: Vec::new(),
            defaults: Vec::new(),
            kind: None,
        });
        self.graph.by_name.insert(name, place as u32);
    }

    fn kind(&mut self, line: &'static str) {
        let mut parts = line.split('\t');
        let mut next = || parts.next().unwrap_or("");
        let kind = (next(), next(), next());
        let place = self.graph.definitions.len() - 1;
        self.graph.definitions[place].kind.get_or_insert(kind);
        self.graph.by_kind.insert(kind, place as u32);
    }

    fn field(&mut self, line: &'static str) {
        let mut parts = line.split('\t');
        let mut next = || parts.next().unwrap_or("");
        let (name, ty, proto, letters) = (next(), next(), next(), next());
        let (named, keys, merge_key, default) = (next(), next(), next(), next());
        let mut flags = Flags::default();
        let mut topology = Topology::Unset;
        for letter in letters.bytes() {
            match letter {
                b'r' => flags.required = true,
                b'p' => flags.pointer = true,
                b'o' => flags.omit_empty = true,
                b'z' => flags.omit_zero = true,
                b'P' => flags.strategies.merge = true,
                b'R' => flags.strategies.retain_keys = true,
                b'X' => flags.strategies.replace = true,
                b'A' | b'a' => topology = Topology::Atomic,
                b'S' => topology = Topology::Set,
                b'M' => topology = Topology::Map,
                b'g' => topology = Topology::Granular,
                _ => unreachable!("a letter that the data does not have"),
            }
        }
        let node = self.node(ty, topology, keys);
        let text = |s: &'static str| (!s.is_empty()).then_some(s);
        self.graph.fields.push(FieldData {
            name: Cow::Borrowed(name),
            node,
            proto: numbers(proto),
            place: 0,
            flags,
            merge_key: text(merge_key),
            named: text(named),
            default: text(default),
        });
        let place = self.graph.definitions.len() - 1;
        self.graph.nodes[place].fields.end += 1;
    }

    fn node(&mut self, ty: &'static str, topology: Topology, keys: &'static str) -> NodeId {
        if topology == Topology::Unset {
            if let Some(place) = definition(ty) {
                return place;
            }
            if let Some(node) = self.plain.get(ty) {
                return *node;
            }
        }
        let node = match ty.as_bytes()[0] {
            b'@' => {
                // A field that is atomic or granular against its definition: the same struct under another node.
                let place = definition(ty).expect("a reference is a place");
                return self.overridden(place, topology);
            }
            open @ (b'[' | b'{') => {
                let elem = self.node(&ty[1..], Topology::Unset, "");
                let start = self.graph.keys.len() as u32;
                self.graph.keys.extend(keys.split(',').filter(|k| !k.is_empty()).map(Cow::Borrowed));
                let kind = if open == b'[' { Kind::List } else { Kind::Map };
                Node { elem, topology, keys: start..self.graph.keys.len() as u32, ..Node::new(kind) }
            }
            letter => {
                let elem = definition(&ty[1..]).unwrap_or(NodeId::NONE);
                Node { elem, ..Node::new(scalar(letter)) }
            }
        };
        let id = self.graph.push(node);
        if topology == Topology::Unset {
            self.plain.insert(ty, id);
        }
        id
    }

    /// A struct whose topology a field states otherwise than its definition does. The data has one such field and
    /// the definition comes before it.
    fn overridden(&mut self, place: NodeId, topology: Topology) -> NodeId {
        let node = self.graph.node(place).clone();
        self.graph.push(Node { topology, ..node })
    }
}

impl Reader {
    /// Notes of each definition its fields in order of number, and which fields Go prints even if they were never set: those without `omitempty`, and
    /// structs by value without `omitzero`.
    fn orders(&mut self) {
        let listed: HashMap<&str, Vec<&str>> = ORDER
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, all)| (name, all.split(' ').collect()))
            .collect();
        for definition in &mut self.graph.definitions {
            let fields = self.graph.nodes[definition.node.0 as usize].fields.clone();
            let listed = listed.get(definition.name);
            let mut in_order: Vec<_> = fields.clone().collect();
            in_order.sort_by_key(|i| {
                let field = &self.graph.fields[*i as usize];
                let named = listed.and_then(|all| all.iter().position(|name| *name == field.name));
                // Protobuf has the kind and version outside of the message.
                (named, field.proto[0], field.name != "kind", *i)
            });
            for (place, i) in (0..).zip(in_order) {
                self.graph.fields[i as usize].place = place;
            }
            definition.by_number = fields.clone().map(|i| (self.graph.fields[i as usize].proto, i)).collect();
            definition.by_number.retain(|(path, _)| path[0] != 0);
            definition.by_number.sort_unstable();
            definition.always = fields
                .filter(|i| {
                    let field = &self.graph.fields[*i as usize];
                    let kind = self.graph.nodes[field.node.0 as usize].kind;
                    let flags = field.flags;
                    let by_value = !flags.pointer && !flags.omit_zero && crate::decode::is_go_struct(kind);
                    by_value || !flags.omit_empty
                })
                .collect();
        }
    }
}

impl Reader {
    /// Gathers the defaults of each definition: those that the schema states and those of `data/defaults.txt`.
    fn defaults(&mut self) {
        for definition in &mut self.graph.definitions {
            let fields = self.graph.nodes[definition.node.0 as usize].fields.clone();
            // A default that Go leaves out when it prints is none.
            let shows = |i: u32, value: &Value| {
                let flags = self.graph.fields[i as usize].flags;
                flags.pointer || !flags.omit_empty || !matches!(value.to_string().as_str(), "0" | "false" | "\"\"")
            };
            let stated = fields.filter_map(|i| self.graph.fields[i as usize].default.map(|text| (i, json(text))));
            let stated = stated.filter(|(i, value)| shows(*i, value));
            definition.defaults = stated.collect();
        }
        for line in DEFAULTS.lines() {
            let (path, value) = line.split_once('=').expect("a path and a value");
            let (name, field) = path.rsplit_once('.').expect("a definition and a field");
            let place = DEFINITION_PREFIXES.iter().find_map(|prefix| {
                let name = format!("{prefix}{name}");
                self.graph.by_name.get(name.as_str()).copied()
            });
            let definition = &mut self.graph.definitions[place.expect("a definition of the facts") as usize];
            let range = self.graph.nodes[definition.node.0 as usize].fields.clone();
            let field = range.clone().find(|i| self.graph.fields[*i as usize].name == field);
            definition.defaults.push((field.expect("a field of the definition"), json(value)));
        }
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("defaults are JSON")
}

/// What the names in `data/defaults.txt` leave out.
const DEFINITION_PREFIXES: [&str; 3] =
    ["io.k8s.api.", "io.k8s.apiextensions-apiserver.pkg.apis.", "io.k8s.kube-aggregator.pkg.apis."];

fn definition(ty: &str) -> Option<NodeId> {
    ty.strip_prefix('@').and_then(|n| n.parse().ok()).map(NodeId)
}

fn numbers(text: &str) -> [u8; 3] {
    let mut out = [0; 3];
    for (slot, number) in out.iter_mut().zip(text.split('.')) {
        *slot = number.parse().unwrap_or(0);
    }
    out
}

fn scalar(letter: u8) -> Kind {
    match letter {
        b's' => Kind::String,
        b'y' => Kind::Bytes,
        b'b' => Kind::Boolean,
        b'i' => Kind::Int32,
        b'l' => Kind::Int64,
        b'd' => Kind::Double,
        b'q' => Kind::Quantity,
        b't' => Kind::Time,
        b'm' => Kind::MicroTime,
        b'u' => Kind::Duration,
        b'x' => Kind::IntOrString,
        b'r' => Kind::Raw,
        b'f' => Kind::Fields,
        b'A' => Kind::SchemaOrArray,
        b'B' => Kind::SchemaOrBool,
        b'S' => Kind::SchemaOrStrings,
        b'j' | b'v' => Kind::Any,
        _ => unreachable!("a type that the data does not have"),
    }
}
