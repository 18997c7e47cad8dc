//! Objects as tables and as metadata only.

use api::catalogue::Resource;
use api::table::{Include, Printer};
use api::{Object, Status};
use serde_json::{Map, Value};

use crate::Context;
use crate::content::{self, Transform};
use crate::request::Query;

/// One object as the client wants it.
///
/// # Errors
/// If that cannot be made.
pub fn one(
    ctx: &Context,
    resource: &Resource,
    object: Object,
    transform: Transform,
    query: &Query,
) -> Result<Object, Status> {
    match transform {
        Transform::None => Ok(object),
        Transform::PartialObjectMetadata(version) => Ok(partial(&object, version)),
        Transform::PartialObjectMetadataList(_) => Err(Status::failure(
            406,
            "NotAcceptable",
            format!(
                "you requested PartialObjectMetadataList, but the requested object is not a list ({})",
                go_type(resource, object.kind())
            ),
        )),
        Transform::Table(version) => {
            let mut metadata = Map::new();
            metadata.insert("resourceVersion".into(), object.resource_version().into());
            table(ctx, resource, vec![object], metadata, version, query)
        }
    }
}

/// A list as the client wants it.
///
/// # Errors
/// If that cannot be made.
pub fn many(
    ctx: &Context,
    resource: &Resource,
    items: Vec<Object>,
    metadata: Map<String, Value>,
    transform: Transform,
    query: &Query,
) -> Result<Object, Status> {
    match transform {
        Transform::Table(version) => table(ctx, resource, items, metadata, version, query),
        Transform::PartialObjectMetadataList(version) => {
            let items: Vec<Value> = items.iter().map(|item| partial(item, version).into_value()).collect();
            let mut list = Object::default();
            list.set(&["kind"], "PartialObjectMetadataList");
            list.set(&["apiVersion"], format!("meta.k8s.io/{version}"));
            list.set(&["metadata"], Value::Object(metadata));
            list.set(&["items"], if items.is_empty() { Value::Null } else { Value::Array(items) });
            Ok(list)
        }
        Transform::PartialObjectMetadata(_) => Err(Status::failure(
            406,
            "NotAcceptable",
            format!(
                "you requested PartialObjectMetadata, but the requested object is a list ({})",
                go_type(resource, &resource.list_kind)
            ),
        )),
        Transform::None => Err(content::not_negotiated(&[])),
    }
}

/// The Go type of an object in the reference's memory.
fn go_type(resource: &Resource, kind: &str) -> String {
    if resource.custom {
        let list = if kind == resource.list_kind { "List" } else { "" };
        return format!("*unstructured.Unstructured{list}");
    }
    let package = match resource.group.split('.').next().unwrap_or("") {
        "" => "core",
        first => first,
    };
    format!("*{package}.{kind}")
}

/// The metadata of an object.
pub fn partial(object: &Object, version: &str) -> Object {
    let mut partial = Object::default();
    partial.set(&["kind"], "PartialObjectMetadata");
    partial.set(&["apiVersion"], format!("meta.k8s.io/{version}"));
    partial.set(&["metadata"], api::table::metadata(object));
    partial
}

/// What the rows of a table hold of their objects.
///
/// # Errors
/// 400 for what is none of the choices.
pub fn include(query: &Query) -> Result<Include, Status> {
    let text = query.text("includeObject");
    Include::parse(text).ok_or_else(|| {
        Status::bad_request(format!(
            "Unable to convert to Table as requested: includeObject: Invalid value: {text:?}: must be 'Metadata', \
             'Object', 'None', or empty"
        ))
    })
}

fn table(
    ctx: &Context,
    resource: &Resource,
    items: Vec<Object>,
    metadata: Map<String, Value>,
    version: &str,
    query: &Query,
) -> Result<Object, Status> {
    let include = include(query)?;
    let printer = Printer::of(resource);
    let headers = query.text("headers") != "false";
    // A watch outlives the time of its request: ages are counted from when the row is made.
    let now = ctx.registry.clock().now();
    let table = api::table::table(&printer, &items, now, include, Some(Value::Object(metadata)), headers);
    let mut table = Object::from_value(table).expect("a table is an object");
    table.set(&["apiVersion"], format!("meta.k8s.io/{version}"));
    let rows = table.0.get_mut("rows").and_then(Value::as_array_mut).into_iter().flatten();
    for object in rows.filter_map(|row| row.get_mut("object")).filter(|_| version != "v1") {
        if object["kind"] == "PartialObjectMetadata" {
            object["apiVersion"] = format!("meta.k8s.io/{version}").into();
        }
    }
    Ok(table)
}
