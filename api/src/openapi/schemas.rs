//! Types as JSON schemas in the two versions' dialects.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};

use super::choices::{choices, union_of};
use super::{Written, custom, written};
use crate::catalogue::Resource;
use crate::prose::Prose;
use crate::schema::{Field, Kind, Schema, Topology, Type};

/// Which version of OpenAPI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    V2,
    V3,
}

/// The definitions of one document, gathered as they are referred to.
pub(super) struct Components<'p> {
    dialect: Dialect,
    prose: &'p Prose,
    /// Definitions that are written already, elsewhere.
    base: Option<&'p BTreeMap<String, Written>>,
    /// None while a definition is being written.
    done: BTreeMap<String, Option<Written>>,
    /// The names of the definitions of custom resources' kinds.
    custom: BTreeMap<(String, String, String), String>,
    /// The parameters of version 2 that operations share, by name.
    shared: BTreeMap<String, Written>,
    /// The group and version that a document of version 3 is of.
    version: Option<(&'p str, &'p str)>,
}

pub(super) const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

impl<'p> Components<'p> {
    pub(super) fn new(dialect: Dialect, prose: &'p Prose, base: Option<&'p BTreeMap<String, Written>>) -> Self {
        Self {
            dialect,
            prose,
            base,
            done: BTreeMap::new(),
            custom: BTreeMap::new(),
            shared: BTreeMap::new(),
            version: None,
        }
    }

    /// For the document of a built-in group and version.
    pub(super) fn of_version(self, group: &'p str, version: &'p str) -> Self {
        Self { version: Some((group, version)), ..self }
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The parameters that were shared.
    pub(super) fn take_shared(&mut self) -> BTreeMap<String, Written> {
        std::mem::take(&mut self.shared)
    }

    /// A parameter of version 2 as a reference to the one place where it stands, but for those that depend on the kind
    /// and those that old clients look for (`collectSharedParameters` in kube-openapi).
    pub(super) fn share(&mut self, parameter: Value) -> Value {
        let name = parameter["name"].as_str().unwrap_or("");
        let body = parameter["schema"]["$ref"].as_str();
        let of_kind = body.is_some_and(|link| !link.starts_with("#/definitions/io.k8s.apimachinery"));
        if self.dialect == Dialect::V3 || of_kind || matches!(name, "name" | "fieldValidation" | "dryRun") {
            return parameter;
        }
        let text = parameter.to_string();
        let hash = Sha512::digest(&text);
        let shared = format!("{name}-{}", crate::go::base64::encode_url(&hash[..6]));
        let link = json!({"$ref": format!("#/parameters/{shared}")});
        self.shared.entry(shared).or_insert_with(|| written(&parameter));
        link
    }

    pub(super) fn finish(self) -> BTreeMap<String, Written> {
        self.done.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    pub(super) fn is_builtin(&self, kind: &(String, String, String)) -> bool {
        !self.custom.contains_key(kind)
    }

    /// Adds the definitions of a resource's kind and its list.
    pub(super) fn add_resource(&mut self, row: &Resource) {
        if !row.custom {
            self.reference_of(&row.group, &row.version, &row.kind);
            if !row.list_kind.is_empty() {
                self.reference_of(&row.group, &row.version, &row.list_kind);
            }
            return;
        }
        let reversed: Vec<&str> = row.group.rsplit('.').collect();
        let prefix = format!("{}.{}", reversed.join("."), row.version);
        let (name, list) = (format!("{prefix}.{}", row.kind), format!("{prefix}.{}", row.list_kind));
        let key = |kind: &str| (row.group.clone(), row.version.clone(), kind.to_string());
        self.custom.insert(key(&row.kind), name.clone());
        self.custom.insert(key(&row.list_kind), list.clone());
        let reference = json!({"$ref": self.link(&name)});
        let (metadata, list_metadata) =
            (self.reference(&format!("{META}.ObjectMeta")), self.reference(&format!("{META}.ListMeta")));
        let prose = self.prose;
        let text = |field: &str| prose.field(&format!("{META}.Status"), field).unwrap_or("");
        let native = custom::Native {
            dialect: self.dialect,
            metadata,
            list_metadata,
            api_version: text("apiVersion"),
            kind: text("kind"),
        };
        let mut object = native.object(row.definition.as_ref().and_then(|version| version.open_api()).as_ref());
        let mut list_of = native.list(&row.plural, &row.kind, &row.list_kind, &reference);
        for (definition, kind) in [(&mut object, &row.kind), (&mut list_of, &row.list_kind)] {
            definition.insert("x-kubernetes-group-version-kind".to_string(), tagged(&row.group, &row.version, kind));
            if !row.selectable.is_empty() {
                let fields: Vec<Value> = row.selectable.iter().map(|f| json!({"fieldPath": f.label})).collect();
                definition.insert("x-kubernetes-selectable-fields".to_string(), fields.into());
            }
        }
        self.done.insert(name, Some(written(&object)));
        self.done.insert(list, Some(written(&list_of)));
    }

    /// A reference to the definition of a kind; a plain object if there is none.
    pub(super) fn reference_of(&mut self, group: &str, version: &str, kind: &str) -> Value {
        let key = (group.to_string(), version.to_string(), kind.to_string());
        if let Some(name) = self.custom.get(&key) {
            return json!({"$ref": self.link(name)});
        }
        if kind == "Patch" {
            return self.reference(&format!("{META}.Patch"));
        }
        let schema = Schema::of(group, version, kind);
        match schema.as_ref().and_then(|s| s.root().name()) {
            Some(name) => self.reference(name),
            None => json!({"type": "object"}),
        }
    }

    fn link(&self, name: &str) -> String {
        match self.dialect {
            Dialect::V2 => format!("#/definitions/{name}"),
            Dialect::V3 => format!("#/components/schemas/{name}"),
        }
    }

    /// A reference to a built-in definition, which is written if it was not yet.
    pub(super) fn reference(&mut self, name: &str) -> Value {
        let is_known = self.base.is_some_and(|base| base.contains_key(name)) || self.done.contains_key(name);
        if !is_known {
            self.done.insert(name.to_string(), None);
            let definition = self.definition(name);
            self.done.insert(name.to_string(), Some(written(&definition)));
        }
        json!({"$ref": self.link(name)})
    }

    fn definition(&mut self, name: &str) -> Map<String, Value> {
        let mut map = match Schema::definition(name) {
            Some(schema) => self.of_type(schema.root()),
            None => self.special(name),
        };
        if let Some(text) = self.prose.definition(name) {
            map.insert("description".to_string(), text.into());
        }
        if let Some(union) = union_of(name) {
            map.insert("x-kubernetes-unions".to_string(), json!([union]));
        }
        if let Some((group, version, kind)) = Schema::definition(name).and_then(|s| s.root().group_version_kind()) {
            let mut tags = tagged(group, version, kind);
            // What every version takes or sends is a kind of each.
            let own = self.version.filter(|(own, _)| !own.is_empty() && matches!(kind, "DeleteOptions" | "WatchEvent"));
            if let (Some((own, version)), Some(tags)) = (own, tags.as_array_mut()) {
                tags.push(json!({"group": own, "version": version, "kind": kind}));
            }
            map.insert("x-kubernetes-group-version-kind".to_string(), tags);
        }
        map
    }

    /// The definitions that are no structs.
    fn special(&self, name: &str) -> Map<String, Value> {
        let v3 = self.dialect == Dialect::V3;
        let value = match name.rsplit('.').next().unwrap_or("") {
            "Quantity" if v3 => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            "Quantity" => json!({"type": "string"}),
            "IntOrString" if v3 => {
                json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
            }
            "IntOrString" => json!({"format": "int-or-string", "type": "string"}),
            "Time" | "MicroTime" => json!({"format": "date-time", "type": "string"}),
            "RawExtension" | "FieldsV1" | "Patch" => json!({"type": "object"}),
            _ => json!({}),
        };
        match value {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    /// A type where it is used: a reference for definitions, the schema itself for the rest.
    fn used(&mut self, ty: Type<'_>) -> Map<String, Value> {
        const SCHEMAS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";
        let meta = |kind: &str| format!("{META}.{kind}");
        let name = match ty.kind() {
            Kind::Struct => ty.name().map(str::to_string),
            Kind::Quantity => Some("io.k8s.apimachinery.pkg.api.resource.Quantity".to_string()),
            Kind::Time => Some(meta("Time")),
            Kind::MicroTime => Some(meta("MicroTime")),
            Kind::IntOrString => Some("io.k8s.apimachinery.pkg.util.intstr.IntOrString".to_string()),
            Kind::Raw => Some("io.k8s.apimachinery.pkg.runtime.RawExtension".to_string()),
            Kind::Fields => Some(meta("FieldsV1")),
            Kind::Any => Some(format!("{SCHEMAS}.JSON")),
            Kind::SchemaOrArray => Some(format!("{SCHEMAS}.JSONSchemaPropsOrArray")),
            Kind::SchemaOrBool => Some(format!("{SCHEMAS}.JSONSchemaPropsOrBool")),
            Kind::SchemaOrStrings => Some(format!("{SCHEMAS}.JSONSchemaPropsOrStringArray")),
            _ => None,
        };
        match name {
            Some(name) => match self.reference(&name) {
                Value::Object(map) => map,
                _ => Map::new(),
            },
            None => self.of_type(ty),
        }
    }

    fn of_type(&mut self, ty: Type<'_>) -> Map<String, Value> {
        let mut map = Map::new();
        let simple: &[(&str, &str)] = match ty.kind() {
            Kind::String | Kind::Duration => &[("type", "string")],
            Kind::Bytes => &[("type", "string"), ("format", "byte")],
            Kind::Boolean => &[("type", "boolean")],
            Kind::Int32 => &[("type", "integer"), ("format", "int32")],
            Kind::Int64 => &[("type", "integer"), ("format", "int64")],
            Kind::Double => &[("type", "number"), ("format", "double")],
            Kind::List => &[("type", "array")],
            Kind::Map | Kind::Struct => &[("type", "object")],
            _ => &[],
        };
        map.extend(simple.iter().map(|(key, value)| ((*key).to_string(), Value::from(*value))));
        match ty.kind() {
            Kind::List | Kind::Map => {
                let elem = ty.elem().map(|elem| self.used(elem)).unwrap_or_default();
                let key = if ty.kind() == Kind::List { "items" } else { "additionalProperties" };
                map.insert(key.to_string(), Value::Object(elem));
            }
            Kind::Struct => self.add_fields(ty, &mut map),
            _ => {}
        }
        add_topology(ty, &mut map);
        map
    }

    fn add_fields(&mut self, ty: Type<'_>, map: &mut Map<String, Value>) {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in ty.fields() {
            if field.required() {
                required.push(Value::from(field.name()));
            }
            let schema = self.of_field(ty, field);
            properties.insert(field.name().to_string(), Value::Object(schema));
        }
        if !properties.is_empty() {
            map.insert("properties".to_string(), Value::Object(properties));
        }
        if !required.is_empty() {
            let place = |name: &Value| name.as_str().and_then(|name| ty.field(name)).map(|field| field.place());
            required.sort_by_key(place);
            map.insert("required".to_string(), Value::Array(required));
        }
    }

    /// What a field is in Go that nobody sets, which version 3 tells as its default.
    fn zero(&self, field: Field<'_>) -> Option<Value> {
        let kind = field.ty().kind();
        if self.dialect != Dialect::V3 || field.pointer() {
            return None;
        }
        match kind {
            Kind::Struct => Some(json!({})),
            _ if field.omit_empty() => None,
            Kind::String | Kind::Duration => Some("".into()),
            Kind::Boolean => Some(false.into()),
            Kind::Int32 | Kind::Int64 => Some(0.into()),
            _ => None,
        }
    }

    fn of_field(&mut self, owner: Type<'_>, field: Field<'_>) -> Map<String, Value> {
        let mut map = self.used(field.ty());
        let prose = self.prose;
        let text = owner.name().and_then(|name| prose.field(name, field.name()));
        // Version 2 tells none.
        let tells = owner.name().is_some() && self.dialect == Dialect::V3;
        let default = if tells { field.default().or_else(|| self.zero(field)) } else { None };
        let choices = owner.name().and_then(|name| choices(&format!("{name}.{}", field.name())));
        if let Some(choices) = &choices {
            choices.add(&mut map);
        }
        // In version 3 nothing may stand beside a reference, so it moves into `allOf`.
        if map.contains_key("$ref") && self.dialect == Dialect::V3 && (text.is_some() || default.is_some()) {
            map = Map::from_iter([("allOf".to_string(), Value::Array(vec![Value::Object(map)]))]);
        }
        if let Some(text) = text {
            let choices = choices.map(|choices| choices.told()).unwrap_or_default();
            map.insert("description".to_string(), format!("{text}{choices}").into());
        }
        if let Some(default) = default {
            map.insert("default".to_string(), default);
        }
        let strategies = field.patch_strategies();
        let names =
            [(strategies.merge, "merge"), (strategies.replace, "replace"), (strategies.retain_keys, "retainKeys")];
        let names: Vec<&str> = names.iter().filter(|(yes, _)| *yes).map(|(_, name)| *name).collect();
        if !names.is_empty() {
            map.insert("x-kubernetes-patch-strategy".to_string(), names.join(",").into());
        }
        if let Some(key) = field.patch_merge_key() {
            map.insert("x-kubernetes-patch-merge-key".to_string(), key.into());
        }
        map
    }
}

fn tagged(group: &str, version: &str, kind: &str) -> Value {
    json!([{"group": group, "version": version, "kind": kind}])
}

fn add_topology(ty: Type<'_>, map: &mut Map<String, Value>) {
    let name = match ty.topology() {
        Topology::Unset => return,
        Topology::Atomic => "atomic",
        Topology::Set => "set",
        Topology::Map => "map",
        Topology::Granular => "granular",
    };
    let key = if ty.kind() == Kind::List { "x-kubernetes-list-type" } else { "x-kubernetes-map-type" };
    map.insert(key.to_string(), name.into());
    if !ty.map_keys().is_empty() {
        map.insert("x-kubernetes-list-map-keys".to_string(), json!(ty.map_keys()));
    }
}
