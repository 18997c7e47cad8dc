//! Tables as kubectl shows them (`meta.k8s.io/v1 Table`), and objects cut to their metadata.

pub(crate) mod cells;
pub(crate) mod metrics;
pub(crate) mod network;
pub(crate) mod nodes;
pub(crate) mod objects;
pub(crate) mod pods;
pub(crate) mod shared;
pub(crate) mod volumes;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::catalogue::{self, PrinterColumn, Resource};
use crate::prose::of_metadata;
use crate::workloads::TEMPLATE_GENERATION;
use crate::{Object, time};
pub(crate) use cells::Cell;

/// How much of each object a row carries (`includeObject`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Include {
    /// Nothing.
    None,
    /// The metadata alone.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl Include {
    /// Reads the `includeObject` parameter; empty is metadata, and anything unknown is none of them.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Metadata" => Some(Self::Metadata),
            "None" => Some(Self::None),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

/// How the objects of one resource are shown.
pub enum Printer<'a> {
    /// By the reference's columns for a built-in resource.
    Builtin(Vec<catalogue::Column>, &'static [Cell]),
    /// By the columns of a custom resource definition.
    Custom(&'a [PrinterColumn]),
    /// By name and creation time.
    Fallback,
}

impl<'a> Printer<'a> {
    /// The printer of a resource. The columns are those of its definition if it is a custom one.
    pub fn of(resource: &'a Resource) -> Self {
        if resource.custom {
            return Self::Custom(&resource.printer_columns);
        }
        let columns = catalogue::columns(&resource.group, &resource.version, &resource.plural);
        match (columns, resource.functions.table_cells()) {
            (Some(columns), Some(cells)) => Self::Builtin(columns, cells),
            _ => Self::Fallback,
        }
    }

    /// The `columnDefinitions`.
    pub fn columns(&self) -> Vec<Value> {
        match self {
            Self::Builtin(columns, _) => {
                let of_column = |c: &catalogue::Column| definition(c.name, c.kind, c.format, meaning(c), c.priority);
                columns.iter().map(of_column).collect()
            }
            Self::Custom(columns) => {
                let of_column = |c: &PrinterColumn| definition(&c.name, &c.kind, &c.format, &c.description, c.priority);
                std::iter::once(definition("Name", "string", "name", of_metadata("name"), 0))
                    .chain(columns.iter().map(of_column))
                    .collect()
            }
            Self::Fallback => vec![
                definition("Name", "string", "name", of_metadata("name"), 0),
                definition("Created At", "date", "", of_metadata("creationTimestamp"), 0),
            ],
        }
    }

    /// The cells of an object.
    pub fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        match self {
            Self::Builtin(_, cells) => cells.iter().map(|cell| cell.of(object, now)).collect(),
            Self::Custom(columns) => {
                let whole = Value::Object(object.0.clone());
                let name = Value::from(object.name());
                std::iter::once(name).chain(columns.iter().map(|c| custom_cell(c, &whole, now))).collect()
            }
            Self::Fallback => vec![object.name().into(), cells::created_at(object)],
        }
    }
}

/// What a column of a built-in resource means, if it shows metadata.
fn meaning(column: &catalogue::Column) -> &'static str {
    match (column.name, column.format) {
        (_, "name") => of_metadata("name"),
        ("Age", _) => of_metadata("creationTimestamp"),
        _ => "",
    }
}

fn definition(name: &str, kind: &str, format: &str, description: &str, priority: i64) -> Value {
    json!({"name": name, "type": kind, "format": format, "description": description, "priority": priority})
}

/// A table of objects. `list_metadata` is that of the list, if it is one; without headers the columns are left out,
/// as in all but the first event of a watch.
pub fn table<'o>(
    printer: &Printer<'_>,
    objects: impl IntoIterator<Item = &'o Object>,
    now: Timestamp,
    include: Include,
    list_metadata: Option<Value>,
    headers: bool,
) -> Value {
    let rows: Vec<Value> = objects.into_iter().map(|object| row(printer, object, now, include)).collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_metadata.unwrap_or_else(|| json!({})),
        "columnDefinitions": if headers { Value::Array(printer.columns()) } else { Value::Null },
        // The plain printer of the reference begins with no list at all.
        "rows": if rows.is_empty() && matches!(printer, Printer::Fallback) { Value::Null } else { rows.into() },
    })
}

/// One row.
pub fn row(printer: &Printer<'_>, object: &Object, now: Timestamp, include: Include) -> Value {
    let mut row = Map::new();
    row.insert("cells".into(), Value::Array(printer.cells(object, now)));
    if let (Printer::Builtin(..), Some(conditions)) = (printer, pods::row_conditions(object)) {
        row.insert("conditions".into(), conditions);
    }
    let shown = match include {
        Include::None => Value::Null,
        Include::Metadata => partial(object),
        Include::Object => Value::Object(object.0.clone()),
    };
    row.insert("object".into(), shown);
    Value::Object(row)
}

/// An object's metadata where it is shown alone. It is taken from the reference's internal type, in which the template
/// generation of a daemon set is no annotation.
pub fn metadata(object: &Object) -> Value {
    let mut metadata = object.0.get("metadata").cloned().unwrap_or_else(|| json!({}));
    if object.kind() == "DaemonSet"
        && let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut)
    {
        annotations.remove(TEMPLATE_GENERATION);
        if annotations.is_empty()
            && let Some(map) = metadata.as_object_mut()
        {
            map.remove("annotations");
        }
    }
    metadata
}

/// An object's `PartialObjectMetadata`.
pub fn partial(object: &Object) -> Value {
    let metadata = metadata(object);
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

/// The `PartialObjectMetadataList` of objects.
pub fn partial_list<'o>(objects: impl IntoIterator<Item = &'o Object>, list_metadata: Value) -> Value {
    let items: Vec<Value> = objects.into_iter().map(partial).collect();
    json!({
        "kind": "PartialObjectMetadataList",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_metadata,
        "items": items,
    })
}

fn custom_cell(column: &PrinterColumn, object: &Value, now: Timestamp) -> Value {
    let Some(value) = column.path.find(object).into_iter().next() else { return Value::Null };
    match column.kind.as_str() {
        "string" => match value {
            Value::String(text) => text.clone().into(),
            Value::Null => Value::Null,
            other => other.to_string().into(),
        },
        "integer" => match value.as_f64() {
            Some(number) => value.as_i64().unwrap_or(number as i64).into(),
            None => Value::Null,
        },
        "number" if value.is_number() => value.clone(),
        "boolean" if value.is_boolean() => value.clone(),
        "date" => match value.as_str() {
            Some(text) if time::parse(text).is_err() => "<invalid>".into(),
            Some(text) => time::age(Some(text), now).into(),
            None => Value::Null,
        },
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests;
