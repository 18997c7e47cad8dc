//! What makes the schema of a definition valid: OpenAPI that is understood, and structural.

mod defaults;
mod rules;
mod structural;

use std::collections::HashSet;

use serde_json::Value;

use super::definition::{given, items, text};
use crate::field::{ErrorList, FieldError, Path};
use crate::go::internal;

/// Schemas nested deeper than this are refused.
const DEPTH_MAX: usize = 100;
const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
/// What may stand at the root if there is a status subresource.
const ROOT: [(&str, &str); 22] = [
    ("description", "Description"),
    ("type", "Type"),
    ("format", "Format"),
    ("title", "Title"),
    ("maximum", "Maximum"),
    ("exclusiveMaximum", "ExclusiveMaximum"),
    ("minimum", "Minimum"),
    ("exclusiveMinimum", "ExclusiveMinimum"),
    ("maxLength", "MaxLength"),
    ("minLength", "MinLength"),
    ("pattern", "Pattern"),
    ("maxItems", "MaxItems"),
    ("minItems", "MinItems"),
    ("uniqueItems", "UniqueItems"),
    ("multipleOf", "MultipleOf"),
    ("required", "Required"),
    ("items", "Items"),
    ("properties", "Properties"),
    ("externalDocs", "ExternalDocs"),
    ("example", "Example"),
    ("x-kubernetes-preserve-unknown-fields", "XPreserveUnknownFields"),
    ("x-kubernetes-validations", "XValidations"),
];

/// Everything that is wrong with a schema. `unchanged` ones may have rules that cost too much.
pub(super) fn validate(schema: &Value, status: bool, unchanged: bool, path: &Path, errors: &mut ErrorList) {
    if status {
        root(schema, path, errors);
    }
    if schema["nullable"].as_bool() == Some(true) {
        errors.push(FieldError::forbidden(&path.child("nullable"), "nullable cannot be true at the root"));
    }
    if depth(schema) > DEPTH_MAX {
        errors.push(FieldError::invalid(path, "", "is nested too deeply"));
        return;
    }
    let before = errors.len();
    let mut of_structure = ErrorList::new();
    // What is foreign is told in the words of the walk below, alone.
    let is_foreign = structural::is_foreign(schema);
    if !is_foreign {
        structural::validate(schema, path, &mut of_structure);
    }
    let is_structural = of_structure.is_empty() && !is_foreign;
    errors.extend(of_structure);
    if is_structural {
        defaults::each(schema, path, true, errors);
        if let Some(default) = schema.get("default").filter(|default| default.is_object()) {
            defaults::root(default, &path.child("default"), errors);
        }
    }
    let place = Place { rules: is_structural && errors.len() == before, cardinality: Some(1), ..Place::default() };
    let mut walk = Walk { errors, rule_errors: ErrorList::new(), cost: rules::TotalCost::default(), unchanged };
    walk.schema(schema, path, true, &place);
    let Walk { rule_errors, cost, .. } = walk;
    errors.extend(rule_errors);
    errors.extend(cost.errors(path));
}

fn depth(schema: &Value) -> usize {
    match schema {
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        Value::Array(all) => all.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn root(schema: &Value, path: &Path, errors: &mut ErrorList) {
    if text(schema, "type") != "object" && given(schema, "type").is_some() {
        let why =
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        errors.push(FieldError::invalid(&path.child("type"), text(schema, "type"), why));
    }
    let unknown = schema.as_object().into_iter().flatten().any(|(name, _)| !ROOT.iter().any(|(json, _)| json == name));
    if unknown {
        let all: Vec<&str> = ROOT.iter().map(|(_, go)| *go).collect();
        let why = format!(
            "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
            all.join(" ")
        );
        let shown = internal::shown("apiextensions.JSONSchemaProps", schema);
        errors.push(FieldError::invalid_text(path, shown, why));
    }
}

/// What holds at one place of a schema because of what is above it.
#[derive(Clone, Default)]
struct Place {
    /// Why there may be no default; empty if there may.
    no_default: String,
    inside_metadata: bool,
    /// The list or map whose items cannot be told to be the same after an update.
    uncorrelated: Option<Path>,
    /// Whether rules are compiled here.
    rules: bool,
    /// How many values there can be at most, if lists and maps above are bounded.
    cardinality: Option<u64>,
}

/// By how much a schema multiplies what is below it; none if without bound.
fn elements_max(schema: &Value) -> Option<u64> {
    let bound = |name: &str| given(schema, name).and_then(Value::as_i64).map(|max| max.max(0) as u64);
    match text(schema, "type") {
        "object" if given(schema, "additionalProperties").is_some() => bound("maxProperties"),
        "array" => bound("maxItems"),
        _ => Some(1),
    }
}

struct Walk<'a> {
    errors: &'a mut ErrorList,
    /// What is wrong with rules, which is told after everything else.
    rule_errors: ErrorList,
    cost: rules::TotalCost,
    unchanged: bool,
}

impl Walk<'_> {
    fn schema(&mut self, schema: &Value, path: &Path, root: bool, place: &Place) {
        if !schema.is_object() {
            return;
        }
        let before = self.errors.len();
        self.understood(schema, path, place);
        self.below(schema, path, root, place);
        self.lists_and_maps(schema, path);
        self.rule_texts(schema, path);
        if place.rules && self.errors.len() == before {
            self.compile(schema, path, root, place);
        }
    }

    fn understood(&mut self, schema: &Value, path: &Path, place: &Place) {
        let kind = text(schema, "type");
        if !kind.is_empty() && !TYPES.contains(&kind) {
            self.errors.push(FieldError::not_supported(&path.child("type"), kind, &TYPES));
        }
        if schema.get("default").is_some_and(|d| !d.is_null()) && !place.no_default.is_empty() {
            let why = format!("must not be set {}", place.no_default);
            self.errors.push(FieldError::forbidden(&path.child("default"), why));
        }
        for name in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
            if given(schema, name).is_some_and(|v| v.as_str() != Some("")) {
                self.errors.push(FieldError::forbidden(&path.child(name), format!("{name} is not supported")));
            }
        }
        if kind == "null" {
            let why = "type cannot be set to null, use nullable as an alternative";
            self.errors.push(FieldError::forbidden(&path.child("type"), why));
        }
        if schema["items"].is_array() {
            let why = "items must be a schema object and not an array";
            self.errors.push(FieldError::forbidden(&path.child("items"), why));
        }
        if place.inside_metadata && schema["x-kubernetes-embedded-resource"].as_bool() == Some(true) {
            let why = "must not be used inside of resource meta";
            self.errors.push(FieldError::forbidden(&path.child("x-kubernetes-embedded-resource"), why));
        }
        if schema["uniqueItems"].as_bool() == Some(true) {
            let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.errors.push(FieldError::forbidden(&path.child("uniqueItems"), why));
        }
    }

    fn below(&mut self, schema: &Value, path: &Path, root: bool, place: &Place) {
        let cardinality = place.cardinality.zip(elements_max(schema)).map(|(n, times)| n.saturating_mul(times));
        let place = &Place { cardinality, ..place.clone() };
        let properties = schema["properties"].as_object().filter(|p| !p.is_empty());
        if let Some(additional) = given(schema, "additionalProperties") {
            if properties.is_some() && additional.as_bool() != Some(true) {
                let why = "additionalProperties and properties are mutual exclusive";
                self.errors.push(FieldError::forbidden(&path.child("additionalProperties"), why));
            }
            let mut below = place.clone();
            if place.inside_metadata {
                below.no_default = "inside additionalProperties applying to object metadata".into();
            }
            self.schema(additional, &path.child("additionalProperties"), false, &below);
        }
        for (name, of_field) in properties.into_iter().flatten() {
            let mut below = place.clone();
            let embedded = schema["x-kubernetes-embedded-resource"].as_bool() == Some(true);
            if (root || embedded) && matches!(name.as_str(), "metadata" | "kind" | "apiVersion") {
                below.inside_metadata = true;
                if root {
                    below.no_default = format!("in top-level {name}");
                }
            }
            self.schema(of_field, &path.child("properties").key(name), false, &below);
        }
        let nested = Place { rules: false, ..place.clone() };
        self.schema(&schema["not"], &path.child("not"), false, &nested);
        for name in ["allOf", "oneOf", "anyOf"] {
            for (i, one) in items(schema, name).iter().enumerate() {
                self.schema(one, &path.child(name).index(i), false, &nested);
            }
        }
        let mut below = place.clone();
        if text(schema, "x-kubernetes-list-type") != "map" && below.uncorrelated.is_none() {
            below.uncorrelated = Some(path.clone());
        }
        self.schema(&schema["items"], &path.child("items"), false, &below);
    }

    fn lists_and_maps(&mut self, schema: &Value, path: &Path) {
        let kind = text(schema, "type");
        if schema["x-kubernetes-preserve-unknown-fields"].as_bool() == Some(false) {
            let at = path.child("x-kubernetes-preserve-unknown-fields");
            self.errors.push(FieldError::invalid(&at, false, "must be true or undefined"));
        }
        for (name, wanted, allowed) in [
            ("x-kubernetes-map-type", "object", &["atomic", "granular"][..]),
            ("x-kubernetes-list-type", "array", &["atomic", "set", "map"][..]),
        ] {
            let Some(value) = given(schema, name).and_then(Value::as_str) else { continue };
            if kind != wanted {
                let why = format!("must be {wanted} if {name} is specified");
                let at = path.child("type");
                self.errors.push(if kind.is_empty() {
                    FieldError::required(&at, why)
                } else {
                    FieldError::invalid(&at, kind, why)
                });
            }
            if !allowed.contains(&value) {
                self.errors.push(FieldError::not_supported(&path.child(name), value, allowed));
            }
        }
        self.set_items(schema, path);
        self.map_keys(schema, path);
    }

    fn set_items(&mut self, schema: &Value, path: &Path) {
        let (list, of_item) = (text(schema, "x-kubernetes-list-type"), &schema["items"]);
        let at = path.child("items");
        if list == "set" && text(schema, "type") == "array" {
            let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
            let name = match text(of_item, "type") {
                "array" if !matches!(text(of_item, "x-kubernetes-list-type"), "" | "atomic") => {
                    "x-kubernetes-list-type"
                }
                "object" if text(of_item, "x-kubernetes-map-type") != "atomic" => "x-kubernetes-map-type",
                _ => "",
            };
            if !name.is_empty() {
                let value = of_item.get("x-kubernetes-list-type").cloned().unwrap_or(Value::Null);
                self.errors.push(FieldError::invalid(&at.child(name), value, why));
            }
        }
        if matches!(list, "set" | "map") && of_item["nullable"].as_bool() == Some(true) {
            let why = format!("cannot be nullable when x-kubernetes-list-type is {list}");
            self.errors.push(FieldError::forbidden(&at.child("nullable"), why));
        }
    }

    fn map_keys(&mut self, schema: &Value, path: &Path) {
        let keys: Vec<&str> = items(schema, "x-kubernetes-list-map-keys").iter().filter_map(Value::as_str).collect();
        let list = text(schema, "x-kubernetes-list-type");
        let (at, keys_at) = (path.child("x-kubernetes-list-type"), path.child("x-kubernetes-list-map-keys"));
        if !keys.is_empty() && list != "map" {
            let why = "must be map if x-kubernetes-list-map-keys is non-empty";
            self.errors.push(if list.is_empty() {
                FieldError::required(&at, why)
            } else {
                FieldError::invalid(&at, list, why)
            });
        }
        if list != "map" {
            return;
        }
        if keys.is_empty() {
            self.errors.push(FieldError::required(&keys_at, "must not be empty if x-kubernetes-list-type is map"));
        }
        let Some(of_item) = given(schema, "items") else {
            let why = "must have a schema if x-kubernetes-list-type is map";
            self.errors.push(FieldError::required(&path.child("items"), why));
            return;
        };
        if text(of_item, "type") != "object" {
            let why = "must be object if parent array's x-kubernetes-list-type is map";
            let at = path.child("items").child("type");
            self.errors.push(FieldError::invalid(&at, text(of_item, "type"), why));
            return;
        }
        let required: HashSet<&str> = items(of_item, "required").iter().filter_map(Value::as_str).collect();
        let mut seen = HashSet::with_capacity(keys.len());
        for key in &keys {
            let properties = path.child("items").child("properties").key(key);
            match of_item["properties"].get(*key) {
                None => {
                    let why = "entries must all be names of item properties";
                    self.errors.push_with(|| FieldError::invalid(&keys_at, keys.clone(), why));
                }
                Some(property) => {
                    if matches!(text(property, "type"), "array" | "object") {
                        let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                        self.errors.push(FieldError::invalid(&properties.child("type"), "object", why));
                    }
                    if !required.contains(key) && given(property, "default").is_none() {
                        let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                        self.errors.push(FieldError::required(&properties.child("default"), why));
                    }
                    if property["nullable"].as_bool() == Some(true) {
                        let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
                        self.errors.push(FieldError::forbidden(&properties.child("nullable"), why));
                    }
                }
            }
            if !seen.insert(key) {
                let why = "must not contain duplicate entries";
                self.errors.push_with(|| FieldError::invalid(&keys_at, keys.clone(), why));
            }
        }
    }
}
