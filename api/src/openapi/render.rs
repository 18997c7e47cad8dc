//! Writes an operation in one version of the documents or the other.

use serde_json::{Map, Value, json};

use super::operations::{Answer, Operation};
use super::parameters::describe;
use super::schemas::{Components, Dialect};

const ANSWERS: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const STREAMS: [&str; 2] = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
const PATCHES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// A custom resource has no strategic merge patch, since nothing says how to merge its lists.
const CUSTOM_PATCHES: [&str; 3] = [PATCHES[0], PATCHES[1], PATCHES[3]];

/// Adds an operation to the paths.
pub(super) fn operation(operation: &Operation, components: &mut Components<'_>, paths: &mut Map<String, Value>) {
    let item = paths.entry(operation.path.clone()).or_insert_with(|| {
        let pretty = (operation.action != "connect").then_some(("pretty", "query"));
        let names = operation.path_parameters.iter().map(|name| (*name, "path")).chain(pretty);
        let kind = &operation.kind.2;
        let parameters: Vec<Value> =
            names.map(|(name, place)| components.share(parameter(name, place, kind, components.dialect()))).collect();
        json!({"parameters": parameters})
    });
    let (group, version, kind) = &operation.kind;
    let query = operation.query.iter().map(|name| parameter(name, "query", kind, components.dialect()));
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
    let patches: &[&str] = if components.is_builtin(&operation.kind) { &PATCHES } else { &CUSTOM_PATCHES };
    let listed = matches!(operation.action, "list" | "watch" | "watchlist");
    let answers: Vec<&str> = match operation.answer {
        Answer::Text if operation.action == "connect" => vec!["*/*"],
        Answer::Text => ["text/plain"].iter().chain(&ANSWERS).copied().collect(),
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
                // All are in order of name, and the body is called so.
                parameters.insert(0, request);
            }
            entry["consumes"] = if operation.action == "patch" { json!(patches) } else { json!(["*/*"]) };
            entry["produces"] = json!(answers);
            entry["schemes"] = json!(["https"]);
        }
    }
    if !parameters.is_empty() {
        let shared = parameters.into_iter().map(|parameter| components.share(parameter)).collect();
        entry["parameters"] = Value::Array(shared);
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

/// What every operation of a path takes stands with the path, but for bodies.
pub(super) fn hoist(item: &mut Value) {
    const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];
    let of = |item: &Value, method: &str| item[method]["parameters"].as_array().cloned().unwrap_or_default();
    let methods: Vec<&str> = METHODS.into_iter().filter(|method| item.get(method).is_some()).collect();
    let mut all = methods.iter().map(|method| of(item, method));
    let mut common = all.next().unwrap_or_default();
    common.retain(|parameter| !is_body(parameter));
    all.for_each(|own| common.retain(|parameter| own.contains(parameter)));
    for method in methods {
        let mut own = of(item, method);
        own.retain(|parameter| !common.contains(parameter));
        if own.is_empty() {
            item[method].as_object_mut().map(|entry| entry.remove("parameters"));
        } else {
            item[method]["parameters"] = own.into();
        }
    }
    if let Some(shared) = item["parameters"].as_array_mut() {
        shared.extend(common);
    }
    sort(&mut item["parameters"]);
}

fn is_body(parameter: &Value) -> bool {
    parameter["in"] == "body" || parameter["$ref"].as_str().is_some_and(|link| link.starts_with("#/parameters/body-"))
}

/// Sorts parameters by name, which a reference begins with.
fn sort(parameters: &mut Value) {
    let name = |parameter: &Value| {
        let reference = parameter["$ref"].as_str().and_then(|link| link.strip_prefix("#/parameters/"));
        let name = reference.map(|name| name.split_once('-').map_or(name, |(name, _)| name));
        name.or(parameter["name"].as_str()).unwrap_or("").to_string()
    };
    if let Some(all) = parameters.as_array_mut() {
        all.sort_by_key(name);
    }
}

fn parameter(name: &str, place: &str, of: &str, dialect: Dialect) -> Value {
    let (kind, description) = describe(name);
    let description = if name == "name" { format!("name of the {of}") } else { description.to_string() };
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
