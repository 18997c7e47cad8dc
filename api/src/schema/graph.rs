//! The arena that types live in: nodes, fields and names, with indexes instead of pointers.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use super::text::short;

/// What values a type has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any JSON value.
    Any,
    /// Text.
    String,
    /// Bytes, in JSON as base64.
    Bytes,
    /// True or false.
    Boolean,
    /// An integer of 32 bits.
    Int32,
    /// An integer of 64 bits.
    Int64,
    /// A floating point number.
    Double,
    /// `resource.Quantity`.
    Quantity,
    /// `metav1.Time`: to the second.
    Time,
    /// `metav1.MicroTime`: to the microsecond.
    MicroTime,
    /// `metav1.Duration`, in JSON as Go writes a duration.
    Duration,
    /// An integer or text.
    IntOrString,
    /// `runtime.RawExtension`: an object of any kind.
    Raw,
    /// `metav1.FieldsV1`.
    Fields,
    /// A schema or an array of schemas (`JSONSchemaPropsOrArray`).
    SchemaOrArray,
    /// A schema or a boolean (`JSONSchemaPropsOrBool`).
    SchemaOrBool,
    /// A schema or an array of strings (`JSONSchemaPropsOrStringArray`).
    SchemaOrStrings,
    /// A list.
    List,
    /// A map from text.
    Map,
    /// Named fields.
    Struct,
}

impl Kind {
    /// Whether its values are structs in Go, which `omitempty` does not omit.
    pub(crate) fn is_go_struct(self) -> bool {
        matches!(
            self,
            Self::Struct
                | Self::Quantity
                | Self::Time
                | Self::MicroTime
                | Self::Duration
                | Self::IntOrString
                | Self::Raw
                | Self::SchemaOrArray
                | Self::SchemaOrBool
                | Self::SchemaOrStrings
        )
    }
}

/// `x-kubernetes-list-type` and `x-kubernetes-map-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Topology {
    /// Not stated.
    #[default]
    Unset,
    /// Owned as a whole.
    Atomic,
    /// A list of distinct scalars.
    Set,
    /// A list whose items are told apart by keys.
    Map,
    /// A map or struct owned field by field.
    Granular,
}

/// `x-kubernetes-patch-strategy`: strategies of strategic merge patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PatchStrategies {
    /// Lists are merged.
    pub merge: bool,
    /// Fields that the patch does not name are dropped (`retainKeys`).
    pub retain_keys: bool,
    /// The value is replaced.
    pub replace: bool,
}

/// What the schema of a custom resource says at one place beside its structure that decoding and defaulting need.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// `nullable`.
    pub nullable: bool,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserve_unknown: bool,
    /// `x-kubernetes-embedded-resource`.
    pub embedded_resource: bool,
    /// `default`.
    pub default: Option<Value>,
}

/// A node of a graph; with the highest bit set, one of the built-in graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NodeId(pub(crate) u32);

impl NodeId {
    const BUILTIN: u32 = 1 << 31;
    /// No node.
    pub(crate) const NONE: Self = Self(u32::MAX);

    /// The same node, seen from another graph.
    pub(crate) fn seen_from_outside(self) -> Self {
        Self(self.0 | Self::BUILTIN)
    }

    /// The node in the built-in graph, if it is seen from another.
    pub(crate) fn builtin(self) -> Option<Self> {
        (self.0 & Self::BUILTIN != 0 && self != Self::NONE).then_some(Self(self.0 & !Self::BUILTIN))
    }
}

/// One type.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) topology: Topology,
    /// Items of a list, values of a map, unnamed fields of a struct, or [`NodeId::NONE`].
    pub(crate) elem: NodeId,
    /// The fields of a struct.
    pub(crate) fields: Range<u32>,
    /// The keys of a list.
    pub(crate) keys: Range<u32>,
    /// Which definition, or `u32::MAX`.
    pub(crate) definition: u32,
    pub(crate) rules: Option<Box<Rules>>,
}

impl Node {
    /// A type of this kind and nothing more.
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            topology: Topology::Unset,
            elem: NodeId::NONE,
            fields: 0..0,
            keys: 0..0,
            definition: u32::MAX,
            rules: None,
        }
    }
}

/// What the schema states of a field by yes or no.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flags {
    pub(crate) required: bool,
    pub(crate) omit_empty: bool,
    pub(crate) omit_zero: bool,
    pub(crate) pointer: bool,
    pub(crate) strategies: PatchStrategies,
}

/// One field.
#[derive(Debug, Clone)]
pub(crate) struct FieldData {
    pub(crate) name: Cow<'static, str>,
    pub(crate) node: NodeId,
    pub(crate) proto: [u8; 3],
    /// The place in the order of Go's struct.
    pub(crate) place: u16,
    pub(crate) flags: Flags,
    pub(crate) merge_key: Option<&'static str>,
    pub(crate) named: Option<&'static str>,
    pub(crate) default: Option<&'static str>,
}

/// A named struct of the built-in graph.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) node: NodeId,
    /// Its members as `data/schema.txt` writes them.
    pub(crate) lines: &'static str,
    /// The fields that are printed even if they were never set, as places in the graph's.
    pub(crate) always: Vec<u32>,
    /// The fields that protobuf has, in order of number: the way through embedded messages, and the place.
    pub(crate) by_number: Vec<([u8; 3], u32)>,
    /// Fields with a default that needs no condition: the place and the value.
    pub(crate) defaults: Vec<(u32, Value)>,
    /// The names of fields that stand behind features which are off in this version.
    pub(crate) disabled: Vec<&'static str>,
    pub(crate) kind: Option<(&'static str, &'static str, &'static str)>,
}

/// All types of a schema.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) fields: Vec<FieldData>,
    pub(crate) keys: Vec<Cow<'static, str>>,
    pub(crate) definitions: Vec<Definition>,
    /// The definitions by their short names.
    pub(crate) by_name: HashMap<&'static str, u32>,
    pub(crate) by_kind: HashMap<(&'static str, &'static str, &'static str), u32>,
}

impl Graph {
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(crate) fn fields(&self, id: NodeId) -> &[FieldData] {
        let range = &self.node(id).fields;
        &self.fields[range.start as usize..range.end as usize]
    }

    pub(crate) fn keys(&self, id: NodeId) -> &[Cow<'static, str>] {
        let range = &self.node(id).keys;
        &self.keys[range.start as usize..range.end as usize]
    }

    fn definition_of(&self, id: NodeId) -> Option<&Definition> {
        self.definitions.get(self.node(id).definition as usize)
    }

    pub(crate) fn node_name(&self, id: NodeId) -> Option<&str> {
        self.definition_of(id).map(|d| d.name)
    }

    pub(crate) fn always(&self, id: NodeId) -> &[u32] {
        self.definition_of(id).map_or(&[], |d| &d.always)
    }

    pub(crate) fn by_number(&self, id: NodeId) -> &[([u8; 3], u32)] {
        self.definition_of(id).map_or(&[], |d| &d.by_number)
    }

    pub(crate) fn defaults(&self, id: NodeId) -> &[(u32, Value)] {
        self.definition_of(id).map_or(&[], |d| &d.defaults)
    }

    pub(crate) fn disabled(&self, id: NodeId) -> &[&'static str] {
        self.definition_of(id).map_or(&[], |d| &d.disabled)
    }

    pub(crate) fn kind_of(&self, id: NodeId) -> Option<(&'static str, &'static str, &'static str)> {
        self.definition_of(id).and_then(|d| d.kind)
    }

    pub(crate) fn definition(&self, name: &str) -> Option<NodeId> {
        self.by_name.get(short(name)).map(|i| self.definitions[*i as usize].node)
    }

    /// What `data/schema.txt` says of a definition's members.
    pub(crate) fn lines(&self, name: &str) -> Option<&'static str> {
        self.by_name.get(short(name)).map(|i| self.definitions[*i as usize].lines)
    }

    pub(crate) fn kind(&self, group: &str, version: &str, kind: &str) -> Option<NodeId> {
        self.by_kind.get(&(group, version, kind)).map(|i| self.definitions[*i as usize].node)
    }

    pub(crate) fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(u32::try_from(self.nodes.len() - 1).expect("a schema has fewer than 2^31 nodes"))
    }
}

/// The built-in graph, or one that belongs to a custom resource.
#[derive(Clone)]
pub(crate) enum Shared {
    Builtin(&'static Graph),
    Custom(Arc<Graph>),
}

impl Shared {
    pub(crate) fn graph(&self) -> &Graph {
        match self {
            Self::Builtin(graph) => graph,
            Self::Custom(graph) => graph,
        }
    }
}
