//! Webhooks of admission, through the whole server: each test stands beside one of the reference's conformance tests on them, or beside
//! a way in which webhooks go wrong.

mod bad;
mod conditions;
mod custom;
mod requests;
mod rounds;

use serde_json::{Value, json};

use crate::strategy::tests::{PODS, Server, pod};
use crate::webhooks::testing::{Hook, Reply};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const CONFIG_MAPS: &str = "/api/v1/namespaces/a/configmaps";

/// An answer that says this and no more.
fn answer(asked: &Value, response: Value) -> Reply {
    let mut response = response;
    response["uid"] = asked["request"]["uid"].clone();
    Reply::Json(json!({"kind": "AdmissionReview", "apiVersion": asked["apiVersion"], "response": response}))
}

fn allow(asked: &Value) -> Reply {
    answer(asked, json!({"allowed": true}))
}

fn deny(asked: &Value, why: &str) -> Reply {
    answer(asked, json!({"allowed": false, "status": {"message": why}}))
}

fn patch(asked: &Value, operations: Value) -> Reply {
    use base64::Engine;
    let patch = base64::engine::general_purpose::STANDARD.encode(operations.to_string());
    answer(asked, json!({"allowed": true, "patchType": "JSONPatch", "patch": patch}))
}

/// A rule about creating and changing these resources of the core group.
fn rule(resources: &[&str]) -> Value {
    json!({"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": resources})
}

/// A webhook of a configuration at a path, with these fields besides.
fn hook(at: &Hook, path: &str, rules: Value, more: Value) -> Value {
    let name = format!("{}.example.com", path.trim_start_matches('/').replace('/', "-"));
    let mut hook = json!({"name": name, "clientConfig": at.client_config(path), "rules": rules, "sideEffects": "None",
        "admissionReviewVersions": ["v1"]});
    hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    hook
}

async fn configure(server: &Server, kind: &str, name: &str, hooks: Value) {
    let configuration = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
        "metadata": {"name": name}, "webhooks": hooks});
    let path = format!("{GROUP}/{}s", kind.to_lowercase());
    let (code, made) = server.send("POST", &path, configuration).await;
    assert_eq!(code, 201, "{made}");
}

async fn validate(server: &Server, name: &str, hooks: Value) {
    configure(server, "ValidatingWebhookConfiguration", name, hooks).await;
}

async fn mutate(server: &Server, name: &str, hooks: Value) {
    configure(server, "MutatingWebhookConfiguration", name, hooks).await;
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}})
}

async fn make(server: &Server, object: Value) -> (u16, Value) {
    server.send("POST", CONFIG_MAPS, object).await
}

/// The code and the message of a refusal.
fn told((code, answer): &(u16, Value)) -> (u16, &str) {
    (*code, answer["message"].as_str().unwrap_or(""))
}
