//! The schema engine's types: one graph for built-in definitions and for the structural schemas of custom
//! resources, so that decoding, defaulting, merging and protobuf are written once.
//!
//! A [`Schema`] owns (or shares) a graph and names its root; a [`Type`] borrows one node of it and is what
//! everything else walks.

mod facts;
mod graph;
mod structural;
#[cfg(test)]
mod tests;
mod text;

use serde_json::Value;

use graph::{FieldData, Graph, NodeId, Shared};
pub use graph::{Kind, PatchStrategies, Rules, Topology};
pub use structural::StructuralError;
pub(crate) use text::Member;

/// The type of a kind's objects: a graph and the root in it. Cheap to clone.
#[derive(Clone)]
pub struct Schema {
    graph: Shared,
    root: NodeId,
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Schema({})", self.root().name().unwrap_or("inline"))
    }
}

impl Default for Schema {
    fn default() -> Self {
        Self::preserving()
    }
}

impl Schema {
    /// The built-in definition of this name, such as `io.k8s.api.core.v1.Pod`.
    pub fn definition(name: &str) -> Option<Self> {
        let graph = facts::builtin();
        graph.definition(name).map(|root| Self { graph: Shared::Builtin(graph), root })
    }

    /// The built-in definition of a kind (also of option and review kinds that are no resources).
    pub fn of(group: &str, version: &str, kind: &str) -> Option<Self> {
        let graph = facts::builtin();
        graph.kind(group, version, kind).map(|root| Self { graph: Shared::Builtin(graph), root })
    }

    /// The type of a kind of configuration file, such as `AuthenticationConfiguration`.
    pub(crate) fn configuration(group: &str, version: &str, kind: &str) -> Option<Self> {
        let graph = facts::configuration();
        graph.kind(group, version, kind).map(|root| Self { graph: Shared::Builtin(graph), root })
    }

    /// The built-in type of a kind, as [`Schema::of`].
    pub fn builtin_type(group: &str, version: &str, kind: &str) -> Option<Type<'static>> {
        let graph = facts::builtin();
        graph.kind(group, version, kind).map(|node| Type { graph, node })
    }

    /// The built-in type of a definition, as [`Schema::definition`].
    pub fn builtin_definition(name: &str) -> Option<Type<'static>> {
        let graph = facts::builtin();
        graph.definition(name).map(|node| Type { graph, node })
    }

    /// The schema of a custom resource's version, from its `openAPIV3Schema`. The three fields that every object
    /// has are added. `None` gives the schema that keeps everything.
    ///
    /// # Errors
    /// If the schema is not structural.
    pub fn structural(open_api: Option<&Value>) -> Result<Self, StructuralError> {
        let (graph, root) = structural::build(open_api)?;
        Ok(Self { graph: Shared::Custom(std::sync::Arc::new(graph)), root })
    }

    /// The schema that keeps everything, with typed metadata.
    pub fn preserving() -> Self {
        Self::structural(None).expect("the empty schema is structural")
    }

    /// The members of a built-in definition as Go declares them.
    pub(crate) fn declared(name: &str) -> Option<impl Iterator<Item = Member> + use<>> {
        facts::builtin().lines(name).map(text::members)
    }

    /// The root's type.
    pub fn root(&self) -> Type<'_> {
        Type { graph: self.graph.graph(), node: self.root }
    }
}

/// One type in a schema.
#[derive(Clone, Copy)]
pub struct Type<'a> {
    graph: &'a Graph,
    node: NodeId,
}

impl std::fmt::Debug for Type<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Type({:?} {})", self.kind(), self.name().unwrap_or(""))
    }
}

impl<'a> Type<'a> {
    fn at(self, node: NodeId) -> Self {
        match node.builtin() {
            Some(node) => Type { graph: facts::builtin(), node },
            None => Type { graph: self.graph, node },
        }
    }

    /// What values it has.
    pub fn kind(self) -> Kind {
        self.graph.node(self.node).kind
    }

    /// The definition's name, for a built-in struct.
    pub fn name(self) -> Option<&'a str> {
        self.graph.node_name(self.node)
    }

    /// Whether this is the same type (cheaply; two equal inline types are not the same).
    pub fn same(self, other: Type<'_>) -> bool {
        std::ptr::eq(self.graph, other.graph) && self.node == other.node
    }

    /// A field of a struct.
    pub fn field(self, name: &str) -> Option<Field<'a>> {
        let fields = self.graph.fields(self.node);
        let data = &fields[fields.binary_search_by(|f| f.name.as_ref().cmp(name)).ok()?];
        Some(Field { graph: self.graph, data })
    }

    /// The fields of a struct in order of name; none for other types.
    pub fn fields(self) -> impl ExactSizeIterator<Item = Field<'a>> {
        self.graph.fields(self.node).iter().map(move |data| Field { graph: self.graph, data })
    }

    /// The type of a list's items or a map's values.
    pub fn elem(self) -> Option<Type<'a>> {
        match self.kind() {
            Kind::List | Kind::Map => Some(self.at(self.graph.node(self.node).elem)),
            _ => None,
        }
    }

    /// The definition behind the kinds that hold a schema, an array of them or a boolean.
    pub(crate) fn inner(self) -> Type<'a> {
        self.at(self.graph.node(self.node).elem)
    }

    /// The type below a struct's field or a map's key.
    pub fn child(self, name: &str) -> Option<Type<'a>> {
        match self.kind() {
            Kind::Struct => self.field(name).map(Field::ty).or_else(|| self.additional()),
            _ => self.elem(),
        }
    }

    /// The type of a struct's fields that it does not name; none for the built-in ones.
    pub fn additional(self) -> Option<Type<'a>> {
        let elem = self.graph.node(self.node).elem;
        (self.kind() == Kind::Struct && elem != NodeId::NONE).then(|| self.at(elem))
    }

    /// How server-side apply treats a list, map or struct, as written in the schema.
    pub fn topology(self) -> Topology {
        self.graph.node(self.node).topology
    }

    /// The keys by which the items of a list of topology map are told apart.
    pub fn map_keys(self) -> &'a [std::borrow::Cow<'static, str>] {
        self.graph.keys(self.node)
    }

    /// Whether server-side apply owns the value as a whole: scalars, lists that are neither set nor map,
    /// atomic maps and structs, and what has no schema.
    pub fn is_atomic(self) -> bool {
        match self.kind() {
            Kind::List => !matches!(self.topology(), Topology::Set | Topology::Map),
            Kind::Map | Kind::Struct => self.topology() == Topology::Atomic,
            // Without a schema structured merge deduces: maps are granular, lists atomic.
            Kind::Any | Kind::Raw => false,
            _ => true,
        }
    }

    /// Whether fields that the schema does not name are kept.
    pub fn preserves_unknown_fields(self) -> bool {
        matches!(self.kind(), Kind::Any | Kind::Raw | Kind::Fields) || self.rules().is_some_and(|r| r.preserve_unknown)
    }

    /// The rules of a custom resource's schema at this place; none for built-in types.
    pub fn rules(self) -> Option<&'a Rules> {
        self.graph.node(self.node).rules.as_deref()
    }

    /// The fields of a built-in struct that the reference prints even if they were never set.
    pub(crate) fn always_printed(self) -> impl Iterator<Item = Field<'a>> {
        self.graph
            .always(self.node)
            .iter()
            .map(move |i| Field { graph: self.graph, data: &self.graph.fields[*i as usize] })
    }

    /// The fields of a built-in struct that have a default under no condition, with its value.
    pub(crate) fn unconditional_defaults(self) -> impl Iterator<Item = (Field<'a>, &'a Value)> {
        let field = move |i: u32| Field { graph: self.graph, data: &self.graph.fields[i as usize] };
        self.graph.defaults(self.node).iter().map(move |(i, value)| (field(*i), value))
    }

    /// The names of a built-in struct's fields that stand behind features which are off in this version.
    pub(crate) fn disabled(self) -> &'a [&'static str] {
        self.graph.disabled(self.node)
    }

    /// The fields that protobuf has, in order of number, each with the way to it: one number, or several through
    /// messages that JSON does not have (Go's embedded structs), then zeros.
    pub(crate) fn by_number(self) -> &'a [([u8; 3], u32)] {
        self.graph.by_number(self.node)
    }

    /// A field by its place as [`Type::by_number`] tells it.
    pub(crate) fn field_at(self, place: u32) -> Field<'a> {
        Field { graph: self.graph, data: &self.graph.fields[place as usize] }
    }

    /// The group, version and kind if this is the built-in definition of one.
    pub fn group_version_kind(self) -> Option<(&'static str, &'static str, &'static str)> {
        self.graph.kind_of(self.node)
    }
}

/// One field of a struct.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    graph: &'a Graph,
    data: &'a FieldData,
}

impl<'a> Field<'a> {
    /// Its JSON name.
    pub fn name(self) -> &'a str {
        &self.data.name
    }

    /// Its place among the fields of a built-in struct as Go declares and prints them.
    pub fn place(self) -> u16 {
        self.data.place
    }

    /// Its type.
    pub fn ty(self) -> Type<'a> {
        let root = Type { graph: self.graph, node: NodeId::NONE };
        root.at(self.data.node)
    }

    /// Whether the schema requires it.
    pub fn required(self) -> bool {
        self.data.flags.required
    }

    /// Whether the reference leaves it out of JSON when it has its zero value.
    pub fn omit_empty(self) -> bool {
        self.data.flags.omit_empty
    }

    /// Whether the reference leaves it out when it is a struct all of whose fields have their zero value.
    pub fn omit_zero(self) -> bool {
        self.data.flags.omit_zero
    }

    /// Whether the reference tells a zero value from an absent one.
    pub fn pointer(self) -> bool {
        self.data.flags.pointer
    }

    /// The field numbers in protobuf: one, or the way through embedded messages; empty if protobuf lacks it.
    pub fn proto(self) -> &'a [u8] {
        let end = self.data.proto.iter().position(|n| *n == 0).unwrap_or(3);
        &self.data.proto[..end]
    }

    /// `x-kubernetes-patch-merge-key`.
    pub fn patch_merge_key(self) -> Option<&'a str> {
        self.data.merge_key
    }

    /// `x-kubernetes-patch-strategy`.
    pub fn patch_strategies(self) -> PatchStrategies {
        self.data.flags.strategies
    }

    /// The name of the Go type of a named scalar (`v1.PullPolicy`), which decoding errors quote.
    pub fn named_scalar(self) -> Option<&'a str> {
        self.data.named
    }

    /// The default that the schema itself states: the `default` of a custom resource's field, or one that the
    /// OpenAPI documents publish for a built-in one (server-side apply needs it for keys).
    pub fn default(self) -> Option<Value> {
        if let Some(text) = self.data.default {
            return serde_json::from_str(text).ok();
        }
        self.ty().rules().and_then(|rules| rules.default.clone())
    }
}
