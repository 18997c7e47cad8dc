//! Policies of admission, through the whole server: beside each of the reference's conformance tests on them, and what bindings,
//! parameters and failures lead to.

mod mutating;
mod validating;

use api::UserInfo;
use serde_json::{Map, Value, json};

use crate::strategy::tests::Server;

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/a/deployments";
const CONFIG_MAPS: &str = "/api/v1/namespaces/a/configmaps";

fn rule(group: &str, resources: &[&str], operations: &[&str]) -> Value {
    json!({"apiGroups": [group], "apiVersions": ["*"], "resources": resources, "operations": operations})
}

/// What policies are about here, mostly.
fn about_deployments() -> Value {
    json!({"resourceRules": [rule("apps", &["deployments"], &["CREATE", "UPDATE"])]})
}

fn about_config_maps() -> Value {
    json!({"resourceRules": [rule("", &["configmaps"], &["CREATE", "UPDATE"])]})
}

fn with(mut value: Value, more: Value) -> Value {
    let more: Map<String, Value> = more.as_object().unwrap().clone();
    value.as_object_mut().unwrap().extend(more);
    value
}

async fn put(server: &Server, kind: &str, name: &str, spec: Value) {
    let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let plural = if kind.ends_with("Policy") {
        kind.to_lowercase().replace("policy", "policies")
    } else {
        format!("{}s", kind.to_lowercase())
    };
    let (code, made) = server.send("POST", &format!("{GROUP}/{plural}"), object).await;
    assert_eq!(code, 201, "{made}");
    assert!(made["status"].is_null() || made["status"] == json!({}), "{made}");
}

/// A validating policy and a binding that denies, both with more.
async fn validate(server: &Server, name: &str, spec: Value, binding: Value) {
    put(server, "ValidatingAdmissionPolicy", name, spec).await;
    let binding = with(json!({"policyName": name, "validationActions": ["Deny"]}), binding);
    put(server, "ValidatingAdmissionPolicyBinding", name, binding).await;
}

/// A mutating policy and a binding, both with more.
async fn mutate(server: &Server, name: &str, spec: Value, binding: Value) {
    put(server, "MutatingAdmissionPolicy", name, with(json!({"reinvocationPolicy": "Never"}), spec)).await;
    put(server, "MutatingAdmissionPolicyBinding", name, with(json!({"policyName": name}), binding)).await;
}

fn workload(kind: &str, name: &str, replicas: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "labels": {"app": "x"}}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": "x"}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

async fn deploy(server: &Server, name: &str, replicas: i64) -> (u16, Value) {
    server.send("POST", DEPLOYMENTS, workload("Deployment", name, replicas)).await
}

async fn make(server: &Server, name: &str, data: Value) -> (u16, Value) {
    server.send("POST", CONFIG_MAPS, config_map(name, data)).await
}

/// The code, the reason and the message of a refusal.
fn told((code, answer): &(u16, Value)) -> (u16, &str, &str) {
    (*code, answer["reason"].as_str().unwrap_or(""), answer["message"].as_str().unwrap_or(""))
}

fn user() -> UserInfo {
    UserInfo::new("bob", &["system:masters"])
}
