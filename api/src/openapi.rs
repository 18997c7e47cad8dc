//! The OpenAPI documents, version 2 and 3, from the same catalogue and schemas that everything else uses; custom
//! resources go through the same generator.
//!
//! The documents are large and rarely asked for: whoever serves them should make them on the first request and keep
//! them as bytes until the catalogue changes.

mod choices;
mod custom;
mod operations;
mod parameters;
mod protobuf;
mod render;
mod roots;
mod schemas;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
#[cfg(test)]
use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};

use crate::catalogue::{Catalogue, Resource};
use crate::prose::Prose;
use roots::Root;
use schemas::{Components, Dialect};

/// In the place of group and version: no built-in resource has prose there, but what all kinds share.
const CUSTOM: &str = "custom";

/// A part of a document, already written: a tree of the whole would take many times its room.
type Written = Box<RawValue>;

fn written(value: &impl Serialize) -> Written {
    to_raw_value(value).expect("JSON values encode")
}

/// `/openapi/v3`: where the document of each group and version is, with a hash that changes when it does.
pub fn v3_index(catalogue: &Catalogue) -> Value {
    let mut paths = Map::new();
    for group in catalogue.groups() {
        for version in catalogue.versions(group) {
            let path = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
            let hash = hash(catalogue.of_version(group, version));
            let url = format!("/openapi/v3/{path}?hash={hash}");
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    for path in rooted(catalogue).filter_map(|root| root.document) {
        let url = format!("/openapi/v3/{path}?hash={}", root_hash(&path));
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

/// The operations that have a document of their own.
fn rooted(catalogue: &Catalogue) -> impl Iterator<Item = Root> + use<'_> {
    let groups = catalogue.groups().into_iter().filter(|group| !is_custom(catalogue, group));
    roots::of_server().into_iter().chain(groups.filter_map(roots::of_group))
}

/// Whether a group has custom resources alone.
fn is_custom(catalogue: &Catalogue, group: &str) -> bool {
    catalogue.iter().filter(|row| row.group == group).all(|row| row.custom)
}

fn root_at(catalogue: &Catalogue, path: &str) -> Option<Root> {
    rooted(catalogue).find(|root| root.document.as_deref() == Some(path))
}

/// The bytes of `/openapi/v3/PATH` for the paths that are of no version; none if there is no such document.
pub fn v3_root_document(catalogue: &Catalogue, path: &str) -> Option<Vec<u8>> {
    let root = root_at(catalogue, path)?;
    let prose = Prose::of(Some((CUSTOM, CUSTOM)));
    let mut components = Components::new(Dialect::V3, &prose, None);
    let mut paths = Map::new();
    roots::write(&root, &mut components, &mut paths);
    let mut parts = BTreeMap::from([("securitySchemes", written(&json!({"BearerToken": security()})))]);
    let schemas = components.finish();
    if !schemas.is_empty() {
        parts.insert("schemas", written(&schemas));
    }
    Some(encode(&BTreeMap::from([
        ("openapi", written(&"3.0.0")),
        ("info", written(&info(false))),
        ("paths", written(&paths)),
        ("components", written(&parts)),
    ])))
}

/// The hash of the document of [`v3_root_document`], without making it.
pub fn v3_root_hash(catalogue: &Catalogue, path: &str) -> Option<String> {
    root_at(catalogue, path).map(|_| root_hash(path))
}

fn root_hash(path: &str) -> String {
    let digest = Sha512::new().chain_update(crate::VERSION).chain_update(path).finalize();
    digest.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The hash of one group and version's document, without making it.
pub fn v3_hash(catalogue: &Catalogue, group: &str, version: &str) -> Option<String> {
    let rows = catalogue.of_version(group, version);
    (!rows.is_empty()).then(|| hash(rows))
}

/// The bytes of `/openapi/v3/apis/GROUP/VERSION` and `/openapi/v3/api/v1`; none if the version is not served.
pub fn v3_document(catalogue: &Catalogue, group: &str, version: &str) -> Option<Vec<u8>> {
    let rows = catalogue.of_version(group, version);
    if rows.is_empty() {
        return None;
    }
    let custom = rows.iter().all(|row| row.custom);
    let prose = Prose::of(Some(if custom { (CUSTOM, CUSTOM) } else { (group, version) }));
    let components = Components::new(Dialect::V3, &prose, None);
    let mut components = if custom { components } else { components.of_version(group, version) };
    let mut paths = BTreeMap::new();
    for row in rows {
        add_paths(row, &mut components, &mut paths);
    }
    if !custom {
        add_root(&roots::of_version(group, version), &mut components, &mut paths);
    }
    let components = BTreeMap::from([
        ("schemas", written(&components.finish())),
        ("securitySchemes", written(&json!({"BearerToken": security()}))),
    ]);
    Some(encode(&BTreeMap::from([
        ("openapi", written(&"3.0.0")),
        ("info", written(&info(custom))),
        ("paths", written(&paths)),
        ("components", written(&components)),
    ])))
}

/// What `/openapi/v2` says of built-in resources. It never changes, and takes longer to write than all the rest.
pub struct Builtin {
    paths: BTreeMap<String, Written>,
    definitions: BTreeMap<String, Written>,
    parameters: BTreeMap<String, Written>,
}

impl Builtin {
    /// Writes it.
    #[must_use]
    pub fn write() -> Self {
        let prose = Prose::of(None);
        let mut components = Components::new(Dialect::V2, &prose, None);
        let mut paths = BTreeMap::new();
        let catalogue = Catalogue::builtin();
        for row in catalogue.iter() {
            add_paths(row, &mut components, &mut paths);
        }
        for root in rooted(&catalogue) {
            add_root(&root, &mut components, &mut paths);
        }
        for group in catalogue.groups() {
            for version in catalogue.versions(group) {
                add_root(&roots::of_version(group, version), &mut components, &mut paths);
            }
        }
        let parameters = components.take_shared();
        Self { paths, definitions: components.finish(), parameters }
    }
}

/// The bytes of `/openapi/v2`: everything in one document.
pub fn v2_document(catalogue: &Catalogue, builtin: &Builtin) -> Vec<u8> {
    let prose = Prose::of(Some((CUSTOM, CUSTOM)));
    let mut components = Components::new(Dialect::V2, &prose, Some(&builtin.definitions));
    let mut paths = BTreeMap::new();
    for row in catalogue.iter().filter(|row| row.custom) {
        add_paths(row, &mut components, &mut paths);
    }
    let parameters = components.take_shared();
    let definitions = components.finish();
    // What is built in goes before what somebody defines by the same name.
    let paths: BTreeMap<&String, &Written> = paths.iter().chain(&builtin.paths).collect();
    let definitions: BTreeMap<&String, &Written> = definitions.iter().chain(&builtin.definitions).collect();
    encode(&BTreeMap::from([
        ("swagger", written(&"2.0")),
        ("info", written(&info(false))),
        ("paths", written(&paths)),
        ("definitions", written(&definitions)),
        ("parameters", written(&parameters.iter().chain(&builtin.parameters).collect::<BTreeMap<_, _>>())),
        ("securityDefinitions", written(&json!({"BearerToken": security()}))),
        ("security", written(&json!([{"BearerToken": []}]))),
    ]))
}

/// The document of [`v2_document`] as protobuf.
pub fn v2_protobuf(document: &Value) -> Vec<u8> {
    protobuf::v2::encode(document)
}

/// A document of [`v3_document`] as protobuf.
pub fn v3_protobuf(document: &Value) -> Vec<u8> {
    protobuf::v3::encode(document)
}

fn encode(document: &BTreeMap<&str, Written>) -> Vec<u8> {
    serde_json::to_vec(document).expect("JSON values encode")
}

fn info(custom: bool) -> Value {
    if custom {
        return json!({"title": "Kubernetes CRD Swagger", "version": "v0.1.0"});
    }
    // Major and minor version alone (`EffectiveVersion`).
    json!({"title": "Kubernetes", "version": crate::major_and_minor()})
}

fn security() -> Value {
    json!({"description": "Bearer Token authentication", "type": "apiKey", "name": "authorization", "in": "header"})
}

fn add_paths(row: &Resource, components: &mut Components<'_>, all: &mut BTreeMap<String, Written>) {
    components.add_resource(row);
    let mut paths = Map::new();
    for operation in operations::of(row) {
        render::operation(&operation, components, &mut paths);
    }
    paths.values_mut().for_each(render::hoist);
    all.extend(paths.into_iter().map(|(path, item)| (path, written(&item))));
}

fn add_root(root: &Root, components: &mut Components<'_>, all: &mut BTreeMap<String, Written>) {
    let mut paths = Map::new();
    roots::write(root, components, &mut paths);
    all.extend(paths.into_iter().map(|(path, item)| (path, written(&item))));
}

fn hash(rows: &[std::sync::Arc<Resource>]) -> String {
    let mut digest = Sha512::new();
    digest.update(crate::VERSION);
    for row in rows {
        let names = (&row.plural, &row.singular, &row.kind, &row.list_kind, row.namespaced);
        digest.update(format!("{names:?}{:?}{:?}", row.verbs, row.subresources));
        match &row.definition {
            Some(version) => {
                let fields: Vec<&String> = row.selectable.iter().map(|field| &field.label).collect();
                digest.update(format!("{fields:?}{}", version.open_api_text()));
            }
            None => digest.update(row.schema.root().name().unwrap_or("")),
        }
    }
    digest.finalize().iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The names of definitions that a document refers to but does not have; for tests.
#[cfg(test)]
fn dangling(document: &Value, prefix: &str, definitions: &Map<String, Value>) -> BTreeSet<String> {
    fn walk(value: &Value, prefix: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                if let Some(name) = map.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix(prefix)) {
                    found.insert(name.to_string());
                }
                map.values().for_each(|value| walk(value, prefix, found));
            }
            Value::Array(items) => items.iter().for_each(|value| walk(value, prefix, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    walk(document, prefix, &mut found);
    found.retain(|name| !definitions.contains_key(name));
    found
}
