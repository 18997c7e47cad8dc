//! Writes an operation in one version of the documents or the other.

use serde_json::{Map, Value, json};

use super::operations::{Answer, Operation};
use super::parameters::describe;
use super::schemas::{Components, Dialect};

const ANSWERS: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const STREAMS: [&str; 2] = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
const PATCHES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// Adds an operation to the paths.
pub(super) fn operation(operation: &Operation, components: &mut Components<'_>, paths: &mut Map<String, Value>) {
    let item = paths.entry(operation.path.clone()).or_insert_with(|| {
        let names = operation.path_parameters.iter().map(|name| (*name, "path")).chain([("pretty", "query")]);
        let parameters: Vec<Value> = names.map(|(name, place)| parameter(name, place, components.dialect())).collect();
        json!({"parameters": parameters})
    });
    let (group, version, kind) = &operation.kind;
    let query = operation.query.iter().map(|name| parameter(name, "query", components.dialect()));
    let mut parameters: Vec<Value> = query.collect();
    let mut entry = json!({
        "description": operation.description,
        "operationId": operation.id,
        "tags": [operation.tag],
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    });
    let body = operation.body.as_ref().map(|(group, version, kind)| components.reference_of(group, version, kind));
    let answer = match &operation.answer {
        Answer::Object(group, version, kind) => components.reference_of(group, version, kind),
        Answer::Text => json!({"type": "string"}),
    };
    // A custom resource has no strategic merge patch, since nothing says how to merge its lists.
    let patches: &[&str] = if components.is_builtin(&operation.kind) { &PATCHES } else { &PATCHES[..3] };
    let listed = operation.action == "list";
    let answers: Vec<&str> = match operation.answer {
        Answer::Text => vec!["*/*"],
        Answer::Object(..) if listed => ANSWERS.iter().chain(&STREAMS).copied().collect(),
        Answer::Object(..) => ANSWERS.to_vec(),
    };
    let required = operation.action != "delete" && operation.action != "deletecollection";
    match components.dialect() {
        Dialect::V3 => {
            if let Some(body) = body {
                let types: &[&str] = if operation.action == "patch" { patches } else { &["*/*"] };
                let mut request = json!({"content": content(types, &body)});
                if required {
                    request["required"] = true.into();
                }
                entry["requestBody"] = request;
            }
        }
        Dialect::V2 => {
            if let Some(body) = body {
                let mut request = json!({"name": "body", "in": "body", "schema": body});
                if required {
                    request["required"] = true.into();
                }
                parameters.push(request);
            }
            entry["consumes"] = if operation.action == "patch" { json!(patches) } else { json!(["*/*"]) };
            entry["produces"] = json!(answers);
            entry["schemes"] = json!(["https"]);
        }
    }
    if !parameters.is_empty() {
        entry["parameters"] = Value::Array(parameters);
    }
    let mut responses = Map::new();
    for (code, text) in operation.codes {
        let response = match components.dialect() {
            Dialect::V3 => json!({"description": text, "content": content(&answers, &answer)}),
            Dialect::V2 => json!({"description": text, "schema": answer}),
        };
        responses.insert(code.to_string(), response);
    }
    responses.insert("401".to_string(), json!({"description": "Unauthorized"}));
    entry["responses"] = Value::Object(responses);
    item[operation.method] = entry;
}

fn content(types: &[&str], schema: &Value) -> Map<String, Value> {
    types.iter().map(|name| ((*name).to_string(), json!({"schema": schema}))).collect()
}

fn parameter(name: &str, place: &str, dialect: Dialect) -> Value {
    let (kind, description) = describe(name);
    let mut entry = json!({"name": name, "in": place, "description": description});
    if place == "path" {
        entry["required"] = true.into();
    }
    match dialect {
        Dialect::V3 => entry["schema"] = json!({"type": kind, "uniqueItems": true}),
        Dialect::V2 => {
            entry["type"] = kind.into();
            entry["uniqueItems"] = true.into();
        }
    }
    entry
}
