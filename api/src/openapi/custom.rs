//! The schema of a custom resource as the documents have it (`buildKubeNative` in the OpenAPI builder of apiextensions).
//!
//! It is the definition's own schema with what every object has beside it. Version 2 says less than version 3: clients of
//! version 2 take what a schema does not name for forbidden, so that a schema that keeps unknown fields names none.

use serde_json::{Map, Value, json};

use super::schemas::Dialect;

const CONVENTIONS: &str = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md";
/// Switches that are only there when they are on.
const SWITCHES: [&str; 7] = [
    "nullable",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "uniqueItems",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
];
const ALTERNATIVES: [&str; 4] = ["allOf", "anyOf", "oneOf", "not"];

/// What every object has, as the dialect refers to it.
pub(super) struct Native<'a> {
    pub(super) dialect: Dialect,
    /// A reference to `ObjectMeta`.
    pub(super) metadata: Value,
    /// A reference to `ListMeta`.
    pub(super) list_metadata: Value,
    /// What the fields `apiVersion` and `kind` of any object mean.
    pub(super) api_version: &'a str,
    pub(super) kind: &'a str,
}

impl Native<'_> {
    /// The schema of the objects of a definition.
    pub(super) fn object(&self, schema: Option<&Value>) -> Map<String, Value> {
        let whole = schema.and_then(Value::as_object);
        let bare = || Map::from_iter([("type".to_string(), json!("object"))]);
        let Some(whole) = whole else { return bare() };
        if self.dialect == Dialect::V2 && is_on(whole, "x-kubernetes-preserve-unknown-fields") {
            return bare();
        }
        let mut out = self.convert(whole);
        self.add_embedded(&mut out);
        self.add_own(&mut out, self.api_version, self.kind);
        out
    }

    /// The schema of their lists.
    pub(super) fn list(&self, plural: &str, kind: &str, list_kind: &str, reference: &Value) -> Map<String, Value> {
        let doc = format!("List of {plural}. More info: {CONVENTIONS}");
        let about = format!("Standard list metadata. More info: {CONVENTIONS}#types-kinds");
        let mut out = Map::new();
        out.insert("description".into(), format!("{list_kind} is a list of {kind}").into());
        out.insert("type".into(), "object".into());
        out.insert("required".into(), json!(["items"]));
        out.insert(
            "properties".into(),
            json!({
                "apiVersion": {"type": "string", "description": self.api_version},
                "kind": {"type": "string", "description": self.kind},
                "metadata": self.described(&self.list_metadata, &about),
                "items": {"type": "array", "description": doc, "items": reference},
            }),
        );
        out
    }

    /// A reference with a description beside it; in version 3 nothing may stand there.
    fn described(&self, reference: &Value, text: &str) -> Value {
        match self.dialect {
            Dialect::V2 => json!({"$ref": reference["$ref"], "description": text}),
            Dialect::V3 => json!({"allOf": [reference], "description": text}),
        }
    }

    fn add_own(&self, schema: &mut Map<String, Value>, api_version: &str, kind: &str) {
        let about = format!("Standard object's metadata. More info: {CONVENTIONS}#metadata");
        let metadata = self.described(&self.metadata, &about);
        let properties = schema.entry("properties").or_insert_with(|| json!({}));
        properties["apiVersion"] = json!({"type": "string", "description": api_version});
        properties["kind"] = json!({"type": "string", "description": kind});
        properties["metadata"] = metadata;
    }

    /// What embedded resources have (`addEmbeddedProperties`).
    fn add_embedded(&self, schema: &mut Map<String, Value>) {
        for below in below(schema) {
            self.add_embedded(below);
        }
        let keeps = is_on(schema, "x-kubernetes-preserve-unknown-fields") && self.dialect == Dialect::V2;
        if keeps || !is_on(schema, "x-kubernetes-embedded-resource") {
            return;
        }
        let version = format!(
            "apiVersion defines the versioned schema of this representation of an object. More info: \
             {CONVENTIONS}#resources"
        );
        let kind = format!(
            "kind is a string value representing the type of this object. In CamelCase. More info: \
             {CONVENTIONS}#types-kinds"
        );
        self.add_own(schema, &version, &kind);
        let required = schema.entry("required").or_insert_with(|| json!([]));
        for name in ["kind", "apiVersion"] {
            if let Some(names) = required.as_array_mut().filter(|names| !names.iter().any(|n| n == name)) {
                names.push(name.into());
            }
        }
    }

    /// A schema and what is below it.
    fn convert(&self, schema: &Map<String, Value>) -> Map<String, Value> {
        let mut out = Map::new();
        for (name, value) in schema {
            let value = match name.as_str() {
                "properties" => converted_map(value, |below| self.convert(below)),
                "items" | "additionalProperties" if value.is_object() => {
                    value.as_object().map(|below| Value::Object(self.convert(below)))
                }
                _ => said(name, value),
            };
            if let Some(value) = value {
                out.insert(name.clone(), value);
            }
        }
        match self.dialect {
            Dialect::V2 => simplify(&mut out, schema),
            Dialect::V3 => unfold(&mut out),
        }
        out
    }
}

fn is_on(schema: &Map<String, Value>, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool) == Some(true)
}

fn converted_map(value: &Value, convert: impl Fn(&Map<String, Value>) -> Map<String, Value>) -> Option<Value> {
    let fields = value.as_object()?.iter();
    let fields = fields.filter_map(|(name, below)| Some((name.clone(), Value::Object(convert(below.as_object()?)))));
    Some(Value::Object(fields.collect()))
}

/// A keyword's value; none if it says nothing.
fn said(name: &str, value: &Value) -> Option<Value> {
    let silent = match value {
        Value::Null => true,
        Value::Bool(false) => SWITCHES.contains(&name),
        Value::String(text) => text.is_empty() && name != "default" && name != "example",
        Value::Array(items) => items.is_empty() && name != "default" && name != "example",
        _ => false,
    };
    (!silent).then(|| value.clone())
}

fn below(schema: &mut Map<String, Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    schema
        .iter_mut()
        .flat_map(|(name, value)| -> Vec<&mut Value> {
            match (name.as_str(), value) {
                ("properties", Value::Object(fields)) => fields.values_mut().collect(),
                ("items" | "additionalProperties", value) => vec![value],
                _ => Vec::new(),
            }
        })
        .filter_map(Value::as_object_mut)
}

/// Leaves out what version 2 cannot say (`ToStructuralOpenAPIV2`). `before` is the schema as it was.
fn simplify(schema: &mut Map<String, Value>, before: &Map<String, Value>) {
    for name in ALTERNATIVES.into_iter().chain(["default"]) {
        schema.remove(name);
    }
    let keeps = is_on(schema, "x-kubernetes-preserve-unknown-fields");
    let nullable = schema.remove("nullable").is_some();
    if nullable {
        schema.remove("type");
    }
    if nullable || keeps {
        schema.remove("items");
        schema.remove("properties");
    }
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or("");
    if (kind == "array" && !schema.contains_key("items")) || (kind == "object" && keeps) {
        schema.remove("type");
    }
    let is_nullable = |schema: Option<&Value>| schema.and_then(Value::as_object).is_some_and(|s| is_on(s, "nullable"));
    let fields = before.get("properties").filter(|_| schema.contains_key("properties"));
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| !is_nullable(name.as_str().and_then(|name| fields?.get(name))));
        if required.is_empty() || is_nullable(before.get("additionalProperties")) {
            schema.remove("required");
        }
    }
}

/// Says with alternatives what an integer or string is (`Structural.Unfold`).
fn unfold(schema: &mut Map<String, Value>) {
    let either = json!([{"type": "integer"}, {"type": "string"}]);
    let is_told = schema.get("anyOf") == Some(&either)
        || schema.get("allOf").and_then(|all| all.get(0)).is_some_and(|first| first["anyOf"] == either);
    if !is_on(schema, "x-kubernetes-int-or-string") || is_told {
        return;
    }
    if schema.contains_key("anyOf") {
        let all = schema.entry("allOf").or_insert_with(|| json!([]));
        if let Some(all) = all.as_array_mut() {
            all.insert(0, json!({"anyOf": either}));
        }
    } else {
        schema.insert("anyOf".into(), either);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What version 2 and version 3 make of a field's schema.
    #[track_caller]
    fn check(schema: Value, two: Value, three: Value) {
        for (dialect, expect) in [(Dialect::V2, two), (Dialect::V3, three)] {
            let native = Native {
                dialect,
                metadata: json!({"$ref": "M"}),
                list_metadata: json!({"$ref": "L"}),
                api_version: "A",
                kind: "K",
            };
            let whole = json!({"type": "object", "properties": {"f": schema}});
            let made = native.object(Some(&whole));
            assert_eq!(made["properties"]["f"], expect, "{schema} in {dialect:?}");
            assert_eq!(made["properties"]["kind"], json!({"type": "string", "description": "K"}));
        }
    }

    #[test]
    fn fields_are_said_as_the_version_can() {
        let text = json!({"type": "string"});
        check(text.clone(), text.clone(), text.clone());
        check(
            json!({"type": "string", "default": "a", "nullable": false}),
            text.clone(),
            json!({"type": "string", "default": "a"}),
        );
        check(json!({"type": "string", "nullable": true}), json!({}), json!({"type": "string", "nullable": true}));
        let either = json!([{"type": "integer"}, {"type": "string"}]);
        let mixed = json!({"x-kubernetes-int-or-string": true});
        let told = json!({"x-kubernetes-int-or-string": true, "anyOf": either});
        check(mixed.clone(), mixed.clone(), told.clone());
        check(told.clone(), mixed, told);
        check(
            json!({"x-kubernetes-int-or-string": true, "anyOf": [{"minimum": 1}]}),
            json!({"x-kubernetes-int-or-string": true}),
            json!({"x-kubernetes-int-or-string": true, "anyOf": [{"minimum": 1}], "allOf": [{"anyOf": either}]}),
        );
        let keeps = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": text}});
        check(keeps.clone(), json!({"x-kubernetes-preserve-unknown-fields": true}), keeps);
        let list = json!({"type": "array", "x-kubernetes-preserve-unknown-fields": true, "items": {"type": "object"}});
        check(list.clone(), json!({"x-kubernetes-preserve-unknown-fields": true}), list);
        let required =
            json!({"type": "object", "required": ["a", "b"], "properties": {"a": {"nullable": true}, "b": text}});
        let less = json!({"type": "object", "required": ["b"], "properties": {"a": {}, "b": text}});
        check(required.clone(), less, required);
        let choice = json!({"type": "string", "oneOf": [{"minLength": 1}], "not": {"maxLength": 1}});
        check(choice.clone(), text, choice);
    }

    #[test]
    fn embedded_objects_have_what_every_object_has() {
        let embedded = json!({"type": "object", "x-kubernetes-embedded-resource": true});
        let two = json!({"type": "object", "x-kubernetes-embedded-resource": true, "required": ["kind", "apiVersion"],
            "properties": {
                "apiVersion": {"type": "string", "description": format!("apiVersion defines the versioned schema of this \
                    representation of an object. More info: {CONVENTIONS}#resources")},
                "kind": {"type": "string", "description": format!("kind is a string value representing the type of this \
                    object. In CamelCase. More info: {CONVENTIONS}#types-kinds")},
                "metadata": {"$ref": "M",
                    "description": format!("Standard object's metadata. More info: {CONVENTIONS}#metadata")}}});
        let mut three = two.clone();
        let description = two["properties"]["metadata"]["description"].clone();
        three["properties"]["metadata"] = json!({"allOf": [{"$ref": "M"}], "description": description});
        check(embedded, two, three);
    }

    #[test]
    fn a_root_that_keeps_everything_names_nothing_in_version_2() {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "description": "d"});
        let native =
            |dialect| Native { dialect, metadata: json!({}), list_metadata: json!({}), api_version: "", kind: "" };
        assert_eq!(Value::Object(native(Dialect::V2).object(Some(&schema))), json!({"type": "object"}));
        assert_eq!(native(Dialect::V3).object(Some(&schema))["description"], "d");
        assert_eq!(Value::Object(native(Dialect::V3).object(None)), json!({"type": "object"}));
    }
}
