//! A definition as rows of the catalogue, one a served version.

use std::sync::Arc;

use serde_json::Value;
use serde_json::value::to_raw_value;

use super::{Resource, SelectableField, Subresource, version_order};
use crate::Object;
use crate::crd::{Node, Scale, Version, Versions};
use crate::jsonpath::{Path, PathError};
use crate::prose::of_metadata;
use crate::schema::StructuralError;

/// Why a definition makes no rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// A schema is not structural.
    #[error(transparent)]
    Schema(#[from] StructuralError),
    /// The JSON path of a column or selectable field is none.
    #[error("JSON path {0:?}: {1}")]
    Path(String, PathError),
}

/// A column that a custom resource definition adds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PrinterColumn {
    /// Its heading.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// An OpenAPI format.
    pub format: String,
    /// For people.
    pub description: String,
    /// Zero if it is always shown.
    pub priority: i64,
    /// Where the value is.
    pub path: Path,
}

/// What can be done with a custom resource, in the reference's order.
const VERBS: [&str; 8] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
/// What can be done with its subresources.
const SUBRESOURCE_VERBS: [&str; 3] = ["get", "patch", "update"];

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|t| t.to_string()).collect()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or("").to_string()
}

fn texts(value: &Value, name: &str) -> Vec<String> {
    list(value, name).iter().filter_map(Value::as_str).map(String::from).collect()
}

/// The rows of a definition: its accepted names (those that it asks for, before any are accepted) in each served
/// version.
///
/// # Errors
/// If a schema or a JSON path cannot be read; the definition should have been validated.
pub fn rows(definition: &Object) -> Result<Vec<Resource>, RowError> {
    let null = Value::Null;
    let spec = definition.0.get("spec").unwrap_or(&null);
    let accepted = definition.at(&["status", "acceptedNames"]).filter(|names| !text(names, "kind").is_empty());
    let names = accepted.or_else(|| spec.get("names")).unwrap_or(&null);
    let group = text(spec, "group");
    let versions = list(spec, "versions");
    let is = |version: &Value, name: &str| version.get(name).and_then(Value::as_bool).unwrap_or(false);
    let storage = versions.iter().find(|v| is(v, "storage")).map(|v| text(v, "name")).unwrap_or_default();
    let all = Arc::new(Versions::new(spec)?);
    let terminating = definition.at(&["metadata", "deletionTimestamp"]).is_some();
    let mut rows = Vec::new();
    for version in versions.iter().filter(|v| is(v, "served")) {
        let kind = text(names, "kind");
        let row = Resource {
            version: text(version, "name"),
            plural: text(names, "plural"),
            singular: text(names, "singular"),
            list_kind: text(names, "listKind"),
            namespaced: text(spec, "scope") == "Namespaced",
            verbs: owned(&VERBS),
            short_names: texts(names, "shortNames"),
            categories: texts(names, "categories"),
            subresources: subresources(version, &kind),
            storage_group: group.clone(),
            storage_version: storage.clone(),
            storage_version_hash: Resource::storage_hash(&group, &storage, &kind),
            schema: all.schema(&text(version, "name")).cloned().unwrap_or_default(),
            custom: true,
            flags: crate::catalogue::Flags::custom(),
            functions: &crate::kinds::CUSTOM,
            selectable: selectable(version)?,
            printer_columns: columns(version)?,
            definition: Some(Arc::new(Version {
                terminating,
                deprecation_warning: is(version, "deprecated").then(|| warning(version, versions, &group, &kind)),
                ..definition_of(version, &all, &kind)
            })),
            group: group.clone(),
            kind,
        };
        rows.push(row);
    }
    Ok(rows)
}

/// What clients are told of a version that is deprecated; if its definition does not say, which one to use instead
/// (`defaultDeprecationWarning`).
fn warning(version: &Value, versions: &[Value], group: &str, kind: &str) -> String {
    if let Some(warning) = version.get("deprecationWarning").and_then(Value::as_str) {
        return warning.to_string();
    }
    let name = text(version, "name");
    let is = |version: &Value, name: &str| version.get(name).and_then(Value::as_bool) == Some(true);
    let better = versions.iter().filter(|v| is(v, "served") && !is(v, "deprecated")).map(|v| text(v, "name"));
    let better = better.filter(|other| version_order(other, &name).is_lt()).min_by(|a, b| version_order(a, b));
    let instead = better.map(|better| format!("; use {group}/{better} {kind}")).unwrap_or_default();
    format!("{group}/{name} {kind} is deprecated{instead}")
}

fn definition_of(version: &Value, versions: &Arc<Versions>, kind: &str) -> Version {
    let schema = version.get("schema").and_then(|s| s.get("openAPIV3Schema"));
    let scale = version.get("subresources").and_then(|s| s.get("scale")).filter(|s| !s.is_null());
    Version {
        schema: schema.map(Node::new),
        written: schema.and_then(|schema| to_raw_value(schema).ok()),
        versions: versions.clone(),
        kind: kind.to_string(),
        scale: scale.map(Scale::new),
        terminating: false,
        deprecation_warning: None,
    }
}

fn subresources(version: &Value, kind: &str) -> Vec<Subresource> {
    let has = |name: &str| version.get("subresources").and_then(|s| s.get(name)).is_some_and(|s| !s.is_null());
    let verbs = owned(&SUBRESOURCE_VERBS);
    let mut all = Vec::new();
    if has("status") {
        all.push(Subresource {
            name: "status".into(),
            kind: kind.to_string(),
            verbs: verbs.clone(),
            ..Default::default()
        });
    }
    if has("scale") {
        all.push(Subresource {
            name: "scale".into(),
            group: "autoscaling".into(),
            version: "v1".into(),
            kind: "Scale".into(),
            verbs,
        });
    }
    all
}

fn path(text: &str) -> Result<Path, RowError> {
    Path::parse(text).map_err(|e| RowError::Path(text.to_string(), e))
}

fn selectable(version: &Value) -> Result<Vec<SelectableField>, RowError> {
    let mut all = Vec::new();
    for field in list(version, "selectableFields") {
        let json_path = text(field, "jsonPath");
        let parsed = path(&json_path)?;
        let names: Vec<String> = parsed.fields().unwrap_or_default().into_iter().map(String::from).collect();
        let label = json_path.trim_start_matches('.').to_string();
        all.push(SelectableField { label, paths: vec![names], zero: "" });
    }
    Ok(all)
}

/// The definition's columns, or the age if it has none.
fn columns(version: &Value) -> Result<Vec<PrinterColumn>, RowError> {
    let mut all = Vec::new();
    for column in list(version, "additionalPrinterColumns") {
        all.push(PrinterColumn {
            name: text(column, "name"),
            kind: text(column, "type"),
            format: text(column, "format"),
            description: match text(column, "description") {
                none if none.is_empty() => {
                    let json_path = text(column, "jsonPath");
                    format!("Custom resource definition column (in JSONPath format): {json_path}")
                }
                description => description,
            },
            priority: column.get("priority").and_then(Value::as_i64).unwrap_or(0),
            path: match path(&text(column, "jsonPath")) {
                Ok(path) => path,
                // The reference prints a definition with a column that cannot be read as one without columns.
                Err(_) => return columns(&Value::Null),
            },
        });
    }
    if all.is_empty() {
        all.push(PrinterColumn {
            name: "Age".into(),
            kind: "date".into(),
            description: of_metadata("creationTimestamp").into(),
            path: path(".metadata.creationTimestamp")?,
            ..Default::default()
        });
    }
    Ok(all)
}
