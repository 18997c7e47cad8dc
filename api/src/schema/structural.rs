//! Reads the structural schema of a custom resource (`apiextensions/pkg/apiserver/schema.Structural`) into a graph.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::facts;
use super::graph::{FieldData, Flags, Graph, Kind, Node, NodeId, Rules, Topology};

/// Schemas nested deeper than this are refused.
const DEPTH_MAX: usize = 100;

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StructuralError {
    /// A schema is not a JSON object.
    #[error("schema at {0} is not an object")]
    NotAnObject(String),
    /// A schema is nested too deeply.
    #[error("schema at {0} is nested too deeply")]
    TooDeep(String),
}

/// The graph and its root.
pub(super) fn build(open_api: Option<&Value>) -> Result<(Graph, NodeId), StructuralError> {
    let mut builder = Builder { graph: Graph::default(), string: NodeId::NONE, any: NodeId::NONE };
    builder.string = builder.graph.push(Node::new(Kind::String));
    builder.any = builder.graph.push(Node::new(Kind::Any));
    let everything = serde_json::json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let root = builder.node(open_api.unwrap_or(&everything), "openAPIV3Schema", 0, true)?;
    Ok((builder.graph, root))
}

struct Builder {
    graph: Graph,
    string: NodeId,
    any: NodeId,
}

impl Builder {
    fn node(&mut self, value: &Value, path: &str, depth: usize, object: bool) -> Result<NodeId, StructuralError> {
        let Value::Object(schema) = value else { return Err(StructuralError::NotAnObject(path.to_string())) };
        if depth > DEPTH_MAX {
            return Err(StructuralError::TooDeep(path.to_string()));
        }
        let rules = rules(schema);
        let object = object || rules.embedded_resource;
        let mut node = self.structure(schema, path, depth, object)?;
        node.topology = topology(schema);
        let start = self.graph.keys.len() as u32;
        let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
        let keys = keys.into_iter().flatten().filter_map(Value::as_str);
        self.graph.keys.extend(keys.map(|k| Cow::Owned(k.to_string())));
        node.keys = start..self.graph.keys.len() as u32;
        node.rules = Some(Box::new(rules));
        Ok(self.graph.push(node))
    }

    fn structure(
        &mut self,
        schema: &Map<String, Value>,
        path: &str,
        depth: usize,
        object: bool,
    ) -> Result<Node, StructuralError> {
        if schema.get("x-kubernetes-int-or-string").and_then(Value::as_bool) == Some(true) {
            return Ok(Node::new(Kind::IntOrString));
        }
        let kind = match text(schema, "type") {
            "string" => Kind::String,
            "integer" => Kind::Int64,
            "number" => Kind::Double,
            "boolean" => Kind::Boolean,
            "array" => {
                let elem = match schema.get("items") {
                    Some(items) => self.node(items, &format!("{path}.items"), depth + 1, false)?,
                    None => self.any,
                };
                return Ok(Node { elem, ..Node::new(Kind::List) });
            }
            "object" => Kind::Struct,
            _ if schema.contains_key("properties") || object => Kind::Struct,
            _ => Kind::Any,
        };
        if kind != Kind::Struct {
            return Ok(Node::new(kind));
        }
        let elem = match schema.get("additionalProperties") {
            Some(Value::Bool(true)) => self.any,
            Some(value @ Value::Object(_)) => {
                self.node(value, &format!("{path}.additionalProperties"), depth + 1, false)?
            }
            _ => NodeId::NONE,
        };
        let mut fields = self.properties(schema, path, depth)?;
        if object {
            self.add_object_fields(&mut fields);
        }
        if fields.is_empty() && elem != NodeId::NONE {
            return Ok(Node { elem, ..Node::new(Kind::Map) });
        }
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        let start = self.graph.fields.len() as u32;
        self.graph.fields.extend(fields);
        Ok(Node { elem, fields: start..self.graph.fields.len() as u32, ..Node::new(Kind::Struct) })
    }

    fn properties(
        &mut self,
        schema: &Map<String, Value>,
        path: &str,
        depth: usize,
    ) -> Result<Vec<FieldData>, StructuralError> {
        let Some(Value::Object(properties)) = schema.get("properties") else { return Ok(Vec::new()) };
        let required = schema.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut fields = Vec::with_capacity(properties.len());
        for (name, value) in properties {
            let node = self.node(value, &format!("{path}.properties[{name}]"), depth + 1, false)?;
            fields.push(field(name.clone(), node, required.iter().any(|r| r == name)));
        }
        Ok(fields)
    }

    /// `apiVersion`, `kind` and `metadata`, which the schema need not name and whose types are always these.
    fn add_object_fields(&mut self, fields: &mut Vec<FieldData>) {
        let metadata = facts::builtin().definition("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        let metadata = metadata.expect("the facts have ObjectMeta").seen_from_outside();
        for (name, node) in [("apiVersion", self.string), ("kind", self.string), ("metadata", metadata)] {
            fields.retain(|f| f.name != name);
            fields.push(field(name.to_string(), node, false));
        }
    }
}

fn field(name: String, node: NodeId, required: bool) -> FieldData {
    let flags = Flags { required, pointer: true, omit_empty: true, ..Flags::default() };
    FieldData {
        name: Cow::Owned(name),
        node,
        proto: [0; 3],
        place: 0,
        flags,
        merge_key: None,
        named: None,
        default: None,
    }
}

fn topology(schema: &Map<String, Value>) -> Topology {
    match (text(schema, "x-kubernetes-list-type"), text(schema, "x-kubernetes-map-type")) {
        ("atomic", _) | (_, "atomic") => Topology::Atomic,
        ("set", _) => Topology::Set,
        ("map", _) => Topology::Map,
        (_, "granular") => Topology::Granular,
        _ => Topology::Unset,
    }
}

fn text<'s>(schema: &'s Map<String, Value>, name: &str) -> &'s str {
    schema.get(name).and_then(Value::as_str).unwrap_or("")
}

fn rules(schema: &Map<String, Value>) -> Rules {
    let is_on = |name: &str| schema.get(name).and_then(Value::as_bool) == Some(true);
    Rules {
        nullable: is_on("nullable"),
        preserve_unknown: is_on("x-kubernetes-preserve-unknown-fields"),
        embedded_resource: is_on("x-kubernetes-embedded-resource"),
        default: schema.get("default").cloned(),
    }
}
