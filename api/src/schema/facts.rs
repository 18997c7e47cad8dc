//! The built-in graph, read once from `data/schema.txt`, whose lines [`super::text`] takes apart.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::Value;

use super::graph::{Definition, FieldData, Flags, Graph, Kind, Node, NodeId, Topology};
use super::text::{self, Line, Member};

static TEXT: &str = include_str!("../../data/schema.txt");
/// Files of configuration that the server is started with, in the same form.
static CONFIGURATION: &str = include_str!("../../data/overlay/configuration.txt");
/// Lines `group.version.Definition.field=JSON`, a tab and the function that says so: defaults that the reference sets in
/// code and under no condition.
static DEFAULTS: &str = include_str!("../../data/overlay/defaults.txt");
/// Lines `group.version.Definition.field`, a feature and the function that drops it: fields of features that are off.
static DISABLED: &str = include_str!("../../data/overlay/disabled.txt");

/// The built-in graph.
pub(crate) fn builtin() -> &'static Graph {
    static GRAPH: OnceLock<Graph> = OnceLock::new();
    GRAPH.get_or_init(|| parse(TEXT))
}

/// The graph of configuration files, which no request can name.
pub(crate) fn configuration() -> &'static Graph {
    static GRAPH: OnceLock<Graph> = OnceLock::new();
    GRAPH.get_or_init(|| {
        let mut reader = Reader::open(CONFIGURATION);
        reader.fields();
        reader.orders();
        reader.graph
    })
}

fn parse(text: &'static str) -> Graph {
    let mut reader = Reader::open(text);
    reader.fields();
    reader.orders();
    reader.defaults();
    reader.disabled();
    reader.graph.nodes.shrink_to_fit();
    reader.graph
}
/// Fewer than a line of the text has, so that room for all fields is made at once.
const BYTES_A_FIELD: usize = 32;

struct Reader {
    graph: Graph,
    /// The nodes of types that carry nothing of their field, by their text, to make each once.
    plain: HashMap<&'static str, NodeId>,
    /// Structs whose topology a field states otherwise than their definition does, with the definition's place.
    restated: Vec<(NodeId, NodeId)>,
}

impl Reader {
    /// With all definitions by name and place, and none of their fields.
    fn open(text: &'static str) -> Self {
        let mut graph = Graph::default();
        let blocks: Vec<_> = text::blocks(text).collect();
        graph.fields.reserve_exact(text.len() / BYTES_A_FIELD);
        graph.definitions.reserve_exact(blocks.len());
        graph.by_name.reserve(blocks.len());
        // The structs come first, so that a reference to definition N is node N, whichever is read first.
        for (place, block) in (0..).zip(blocks) {
            let topology = if block.atomic { Topology::Atomic } else { Topology::Unset };
            graph.nodes.push(Node { definition: place, topology, ..Node::new(Kind::Struct) });
            graph.by_name.insert(text::short(block.name), place);
            if let Some(kind) = block.kind {
                graph.by_kind.insert(kind, place);
            }
            graph.definitions.push(Definition {
                name: block.name,
                node: NodeId(place),
                lines: block.lines,
                always: Vec::new(),
                by_number: Vec::new(),
                defaults: Vec::new(),
                disabled: Vec::new(),
                kind: block.kind,
            });
        }
        Self { graph, plain: HashMap::new(), restated: Vec::new() }
    }

    fn fields(&mut self) {
        let mut fields = Vec::new();
        for place in 0..self.graph.definitions.len() {
            self.members(self.graph.definitions[place].lines, [0; 3], true, &mut fields);
            for (place, field) in (0..).zip(&mut fields) {
                field.place = place;
            }
            fields.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            let start = self.graph.fields.len() as u32;
            self.graph.fields.append(&mut fields);
            self.graph.nodes[place].fields = start..self.graph.fields.len() as u32;
        }
        for (node, place) in std::mem::take(&mut self.restated) {
            self.graph.nodes[node.0 as usize].fields = self.graph.node(place).fields.clone();
        }
    }

    /// The fields of a definition and of those that it embeds, below `proto`, the way to them in protobuf.
    fn members(&mut self, lines: &'static str, proto: [u8; 3], numbered: bool, to: &mut Vec<FieldData>) {
        for member in text::members(lines) {
            match member {
                Member::Field(line) => {
                    let proto = if numbered { below(proto, line.proto) } else { [0; 3] };
                    let field = self.field(&line, proto);
                    to.push(field);
                }
                Member::Embedded { of, proto: number } => {
                    let place = self.graph.by_name[of];
                    let lines = self.graph.definitions[place as usize].lines;
                    self.members(lines, below(proto, number), numbered && !number.is_empty(), to);
                }
            }
        }
    }

    fn field(&mut self, line: &Line, proto: [u8; 3]) -> FieldData {
        let mut flags = Flags::default();
        let mut topology = Topology::Unset;
        for letter in line.flags.bytes() {
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
        let text = |s: &'static str| (!s.is_empty()).then_some(s);
        FieldData {
            name: Cow::Borrowed(line.name),
            node: self.node(line.ty, topology, line.keys),
            proto,
            place: 0,
            flags,
            merge_key: text(line.merge_key),
            named: text(line.named),
            default: text(line.default),
        }
    }

    fn node(&mut self, ty: &'static str, topology: Topology, keys: &'static str) -> NodeId {
        if topology == Topology::Unset {
            if let Some(place) = self.definition(ty) {
                return place;
            }
            if let Some(node) = self.plain.get(ty) {
                return *node;
            }
        }
        let node = match ty.as_bytes()[0] {
            b'@' => {
                let place = self.definition(ty).expect("a reference names a definition");
                let node = Node { topology, ..self.graph.node(place).clone() };
                let id = self.graph.push(node);
                self.restated.push((id, place));
                return id;
            }
            open @ (b'[' | b'{') => {
                let elem = self.node(&ty[1..], Topology::Unset, "");
                let start = self.graph.keys.len() as u32;
                self.graph.keys.extend(keys.split(',').filter(|k| !k.is_empty()).map(Cow::Borrowed));
                let kind = if open == b'[' { Kind::List } else { Kind::Map };
                Node { elem, topology, keys: start..self.graph.keys.len() as u32, ..Node::new(kind) }
            }
            letter => {
                let elem = self.definition(&ty[1..]).unwrap_or(NodeId::NONE);
                Node { elem, ..Node::new(scalar(letter)) }
            }
        };
        let id = self.graph.push(node);
        if topology == Topology::Unset {
            self.plain.insert(ty, id);
        }
        id
    }

    fn definition(&self, ty: &str) -> Option<NodeId> {
        ty.strip_prefix('@').map(|name| NodeId(self.graph.by_name[name]))
    }
}

impl Reader {
    /// Notes of each definition its fields in order of number, and which fields Go prints even if they were never set: those without `omitempty`, and
    /// structs by value without `omitzero`.
    fn orders(&mut self) {
        for definition in &mut self.graph.definitions {
            let fields = self.graph.nodes[definition.node.0 as usize].fields.clone();
            definition.by_number = fields.clone().map(|i| (self.graph.fields[i as usize].proto, i)).collect();
            definition.by_number.retain(|(path, _)| path[0] != 0);
            definition.by_number.sort_unstable();
            definition.always = fields
                .filter(|i| {
                    let field = &self.graph.fields[*i as usize];
                    let kind = self.graph.nodes[field.node.0 as usize].kind;
                    let flags = field.flags;
                    let by_value = !flags.pointer && !flags.omit_zero && kind.is_go_struct();
                    by_value || !flags.omit_empty
                })
                .collect();
        }
    }
}

impl Reader {
    /// Gathers the defaults of each definition: those that the schema states and those of `data/overlay/defaults.txt`.
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
            let value = value.split('\t').next().unwrap_or(value);
            let (name, field) = path.rsplit_once('.').expect("a definition and a field");
            let place = self.graph.by_name[name];
            let definition = &mut self.graph.definitions[place as usize];
            let range = self.graph.nodes[definition.node.0 as usize].fields.clone();
            let field = range.clone().find(|i| self.graph.fields[*i as usize].name == field);
            definition.defaults.push((field.expect("a field of the definition"), json(value)));
        }
    }
}

impl Reader {
    /// Notes of each definition the fields of `data/overlay/disabled.txt`.
    fn disabled(&mut self) {
        for path in DISABLED.lines().filter_map(|line| line.split('\t').next()) {
            let (name, field) = path.rsplit_once('.').expect("a definition and a field");
            let place = self.graph.by_name[name] as usize;
            self.graph.definitions[place].disabled.push(field);
        }
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("defaults are JSON")
}

/// The way to a field: that of the message around it and what follows.
fn below(mut around: [u8; 3], numbers: &str) -> [u8; 3] {
    let taken = around.iter().position(|number| *number == 0).unwrap_or(around.len());
    for (slot, number) in around[taken..].iter_mut().zip(numbers.split('.')) {
        *slot = number.parse().unwrap_or(0);
    }
    around
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

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "=io.k8s.api.a.v1.Outer\n!g\tv1\tOuter\n+\t@meta.v1.TypeMeta\nzeta\ts\t3\to\n+\t@a.v1.Inner\t2\n\
                         atomic\t@a.v1.Inner\t4\ta\n=io.k8s.api.a.v1.Inner\nbeta\tl\t1\n+\t@a.v1.Deep\t7\n\
                         =io.k8s.api.a.v1.Deep\ta\nalpha\t[@a.v1.Outer\t9\tM\t\tzeta\n\
                         =io.k8s.apimachinery.pkg.apis.meta.v1.TypeMeta\nkind\ts\t1\to\napiVersion\ts\t2\to\n";

    fn small() -> Graph {
        let mut reader = Reader::open(SMALL);
        reader.fields();
        reader.graph
    }

    #[test]
    fn what_is_embedded_stands_in_the_order_of_go_and_below_its_number() {
        let graph = small();
        let outer = graph.definition("io.k8s.api.a.v1.Outer").expect("it is there");
        let mut fields: Vec<_> = graph.fields(outer).iter().map(|f| (f.place, f.name.as_ref(), f.proto)).collect();
        assert!(fields.is_sorted_by_key(|field| field.1), "fields are found by name: {fields:?}");
        fields.sort_unstable();
        let expect = [
            (0, "kind", [0, 0, 0]),
            (1, "apiVersion", [0, 0, 0]),
            (2, "zeta", [3, 0, 0]),
            (3, "beta", [2, 1, 0]),
            (4, "alpha", [2, 7, 9]),
            (5, "atomic", [4, 0, 0]),
        ];
        assert_eq!(fields, expect);
    }

    #[test]
    fn a_field_may_restate_the_topology_of_a_definition_that_comes_later() {
        let graph = small();
        let outer = graph.definition("a.v1.Outer").expect("short names are names too");
        let restated = graph.fields(outer).iter().find(|field| field.name == "atomic").expect("it is there").node;
        assert_eq!(graph.node(restated).topology, Topology::Atomic);
        let inner = graph.definition("a.v1.Inner").expect("it is there");
        assert_eq!(graph.node(restated).fields, graph.node(inner).fields);
        assert_eq!(graph.node(inner).topology, Topology::Unset);
    }
}
