//! How the reference shows parts of a definition in errors: as the structs that it keeps them in, with every field in
//! its order, set or not.

use serde_json::Value;

use super::definition::{given, items, shared};
use crate::field::in_html;

/// What a field of a struct holds, and so what it shows when it is not set.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    Flag,
    /// Nothing, or the value as it is.
    Whole,
    Schema,
    Schemas,
    Properties,
    Items,
    Additional,
    Rules,
}

/// The fields of `JSONSchemaProps` with their JSON names.
const SCHEMA: [(&str, &str, Shape); 43] = [
    ("ID", "id", Shape::Text),
    ("Schema", "$schema", Shape::Text),
    ("Ref", "$ref", Shape::Whole),
    ("Description", "description", Shape::Text),
    ("Type", "type", Shape::Text),
    ("Nullable", "nullable", Shape::Flag),
    ("Format", "format", Shape::Text),
    ("Title", "title", Shape::Text),
    ("Default", "default", Shape::Whole),
    ("Maximum", "maximum", Shape::Whole),
    ("ExclusiveMaximum", "exclusiveMaximum", Shape::Flag),
    ("Minimum", "minimum", Shape::Whole),
    ("ExclusiveMinimum", "exclusiveMinimum", Shape::Flag),
    ("MaxLength", "maxLength", Shape::Whole),
    ("MinLength", "minLength", Shape::Whole),
    ("Pattern", "pattern", Shape::Text),
    ("MaxItems", "maxItems", Shape::Whole),
    ("MinItems", "minItems", Shape::Whole),
    ("UniqueItems", "uniqueItems", Shape::Flag),
    ("MultipleOf", "multipleOf", Shape::Whole),
    ("Enum", "enum", Shape::Whole),
    ("MaxProperties", "maxProperties", Shape::Whole),
    ("MinProperties", "minProperties", Shape::Whole),
    ("Required", "required", Shape::Whole),
    ("Items", "items", Shape::Items),
    ("AllOf", "allOf", Shape::Schemas),
    ("OneOf", "oneOf", Shape::Schemas),
    ("AnyOf", "anyOf", Shape::Schemas),
    ("Not", "not", Shape::Schema),
    ("Properties", "properties", Shape::Properties),
    ("AdditionalProperties", "additionalProperties", Shape::Additional),
    ("PatternProperties", "patternProperties", Shape::Properties),
    ("Dependencies", "dependencies", Shape::Whole),
    ("AdditionalItems", "additionalItems", Shape::Additional),
    ("Definitions", "definitions", Shape::Properties),
    ("ExternalDocs", "externalDocs", Shape::Whole),
    ("Example", "example", Shape::Whole),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields", Shape::Whole),
    ("XEmbeddedResource", "x-kubernetes-embedded-resource", Shape::Flag),
    ("XIntOrString", "x-kubernetes-int-or-string", Shape::Flag),
    ("XListMapKeys", "x-kubernetes-list-map-keys", Shape::Whole),
    ("XListType", "x-kubernetes-list-type", Shape::Whole),
    ("XMapType", "x-kubernetes-map-type", Shape::Whole),
];

const RULE: [(&str, &str, Shape); 6] = [
    ("Rule", "rule", Shape::Text),
    ("Message", "message", Shape::Text),
    ("MessageExpression", "messageExpression", Shape::Text),
    ("Reason", "reason", Shape::Whole),
    ("FieldPath", "fieldPath", Shape::Text),
    ("OptionalOldSelf", "optionalOldSelf", Shape::Whole),
];

fn list(parts: impl Iterator<Item = String>) -> String {
    format!("[{}]", parts.collect::<Vec<_>>().join(","))
}

fn of_struct(value: &Value, fields: &[(&str, &str, Shape)]) -> Vec<String> {
    let one = |(go, json, shape): &(&str, &str, Shape)| format!("\"{go}\":{}", field(given(value, json), *shape));
    fields.iter().map(one).collect()
}

fn field(value: Option<&Value>, shape: Shape) -> String {
    let null = || "null".to_string();
    match (shape, value) {
        (Shape::Text, value) => value.filter(|v| v.is_string()).map_or_else(|| "\"\"".into(), Value::to_string),
        (Shape::Flag, value) => value.and_then(Value::as_bool).unwrap_or(false).to_string(),
        (_, None) => null(),
        (Shape::Whole, Some(value)) => value.to_string(),
        (Shape::Schema, Some(schema)) => of_schema(schema),
        (Shape::Schemas, Some(all)) => match all.as_array() {
            Some(all) if !all.is_empty() => list(all.iter().map(of_schema)),
            _ => null(),
        },
        (Shape::Properties, Some(all)) => {
            let of_property =
                |(name, schema): (&String, &Value)| format!("{}:{}", Value::from(name.as_str()), of_schema(schema));
            let all: Vec<String> = all.as_object().into_iter().flatten().map(of_property).collect();
            format!("{{{}}}", all.join(","))
        }
        (Shape::Items, Some(Value::Array(all))) => {
            format!("{{\"Schema\":null,\"JSONSchemas\":{}}}", list(all.iter().map(of_schema)))
        }
        (Shape::Items, Some(schema)) => format!("{{\"Schema\":{},\"JSONSchemas\":null}}", of_schema(schema)),
        (Shape::Additional, Some(Value::Bool(allows))) => format!("{{\"Allows\":{allows},\"Schema\":null}}"),
        (Shape::Additional, Some(schema)) => format!("{{\"Allows\":true,\"Schema\":{}}}", of_schema(schema)),
        (Shape::Rules, Some(all)) => match all.as_array() {
            Some(all) if !all.is_empty() => list(all.iter().map(of_rule)),
            _ => null(),
        },
    }
}

fn of_rule(rule: &Value) -> String {
    format!("{{{}}}", of_struct(rule, &RULE).join(","))
}

fn of_schema(schema: &Value) -> String {
    let mut fields = of_struct(schema, &SCHEMA);
    fields.push(format!("\"XValidations\":{}", field(given(schema, "x-kubernetes-validations"), Shape::Rules)));
    format!("{{{}}}", fields.join(","))
}

/// A schema.
pub(super) fn schema(schema: &Value) -> String {
    in_html(of_schema(schema))
}

/// A rule.
pub(super) fn rule(rule: &Value) -> String {
    in_html(of_rule(rule))
}

/// The versions of a definition. What all share stands elsewhere in the reference's form and is null here.
pub(super) fn versions(spec: &Value) -> String {
    let Some(Value::Array(all)) = given(spec, "versions") else { return "null".into() };
    let own = |version: &Value, name: &str| given(version, name).filter(|_| shared(spec, name).is_none()).cloned();
    let one = |version: &Value| {
        let mut fields = of_struct(
            version,
            &[
                ("Name", "name", Shape::Text),
                ("Served", "served", Shape::Flag),
                ("Storage", "storage", Shape::Flag),
                ("Deprecated", "deprecated", Shape::Flag),
                ("DeprecationWarning", "deprecationWarning", Shape::Whole),
            ],
        );
        let schema = own(version, "schema").map_or_else(
            || "null".to_string(),
            |schema| format!("{{\"OpenAPIV3Schema\":{}}}", field(given(&schema, "openAPIV3Schema"), Shape::Schema)),
        );
        fields.push(format!("\"Schema\":{schema}"));
        let subresources = own(version, "subresources").map_or_else(|| "null".to_string(), |s| subresources(&s));
        fields.push(format!("\"Subresources\":{subresources}"));
        let columns = own(version, "additionalPrinterColumns").unwrap_or(Value::Null);
        let of_column = [
            ("Name", "name", Shape::Text),
            ("Type", "type", Shape::Text),
            ("Format", "format", Shape::Text),
            ("Description", "description", Shape::Text),
        ];
        let shown = columns.as_array().into_iter().flatten().map(|column| {
            let mut fields = of_struct(column, &of_column);
            fields.push(format!("\"Priority\":{}", column["priority"].as_i64().unwrap_or(0)));
            fields.extend(of_struct(column, &[("JSONPath", "jsonPath", Shape::Text)]));
            format!("{{{}}}", fields.join(","))
        });
        fields.push(format!(
            "\"AdditionalPrinterColumns\":{}",
            if columns.is_null() { "null".into() } else { list(shown) }
        ));
        let selectable = own(version, "selectableFields").unwrap_or(Value::Null);
        let of_field = |f: &Value| format!("{{{}}}", of_struct(f, &[("JSONPath", "jsonPath", Shape::Text)]).join(","));
        let shown = items(version, "selectableFields").iter().map(of_field);
        fields.push(format!("\"SelectableFields\":{}", if selectable.is_null() { "null".into() } else { list(shown) }));
        format!("{{{}}}", fields.join(","))
    };
    in_html(list(all.iter().map(one)))
}

fn subresources(value: &Value) -> String {
    let status = if given(value, "status").is_some() { "{}" } else { "null" };
    let scale = given(value, "scale").map_or_else(
        || "null".to_string(),
        |scale| {
            let fields = [
                ("SpecReplicasPath", "specReplicasPath", Shape::Text),
                ("StatusReplicasPath", "statusReplicasPath", Shape::Text),
                ("LabelSelectorPath", "labelSelectorPath", Shape::Whole),
            ];
            format!("{{{}}}", of_struct(scale, &fields).join(","))
        },
    );
    format!("{{\"Status\":{status},\"Scale\":{scale}}}")
}
