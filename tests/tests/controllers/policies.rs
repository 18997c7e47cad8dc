//! The status of admission policies.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use crate::plane::{Plane, eventually, from};

/// The warnings of a policy about these resources, once it was checked.
async fn checked(plane: &Plane, name: &str, group: &str, resource: &str, validations: Value) -> Vec<(String, String)> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(plane.client.clone());
    let rule = json!({"operations": ["CREATE"], "apiGroups": [group], "apiVersions": ["v1"], "resources": [resource]});
    let policy = json!({"metadata": {"name": name}, "spec": {"validations": validations,
        "matchConstraints": {"resourceRules": [rule]}}});
    policies.create(&PostParams::default(), &from(policy)).await.expect("a policy");
    let status = async || policies.get(name).await.expect("the policy").status.unwrap_or_default();
    eventually("the check", async || status().await.type_checking.is_some()).await;
    let status = status().await;
    assert_eq!(status.observed_generation, Some(1));
    let warnings = status.type_checking.unwrap_or_default().expression_warnings.unwrap_or_default();
    warnings.into_iter().map(|warning| (warning.field_ref, warning.warning)).collect()
}

/// `ValidatingAdmissionPolicy should type check validation expressions`
#[tokio::test]
async fn expressions_are_checked_against_built_in_types() {
    let plane = Plane::start().await;
    let right = json!([{"expression": "object.spec.replicas > 1"}]);
    assert_eq!(checked(&plane, "right", "apps", "deployments", right).await, []);
    let confused = json!([{"expression": "object.spec.replicas > '1'",
        "messageExpression": "'wants replicas > 1, got ' + object.spec.replicas"}]);
    let warnings = checked(&plane, "confused", "apps", "deployments", confused).await;
    let expected = [
        ("spec.validations[0].expression", "found no matching overload for '_>_' applied to '(int, string)'"),
        ("spec.validations[0].messageExpression", "found no matching overload for '_+_' applied to '(string, int)'"),
    ];
    assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
    for ((field, warning), (expected_field, text)) in warnings.iter().zip(expected) {
        assert!(field == expected_field && warning.contains(text), "{warnings:?}");
    }
}

/// `ValidatingAdmissionPolicy should type check a CRD`
#[tokio::test]
async fn expressions_are_checked_against_definitions() {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

    let plane = Plane::start().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(plane.client.clone());
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "cronSpec": {"type": "string"}, "image": {"type": "string"}, "replicas": {"type": "integer"}}}}});
    let definition = json!({"metadata": {"name": "crontabs.stable.example.com"}, "spec": {"group": "stable.example.com",
        "scope": "Namespaced", "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
    definitions.create(&PostParams::default(), &from(definition)).await.expect("a definition");
    let request = || http::Request::get("/openapi/v3/apis/stable.example.com/v1").body(Vec::new()).expect("a request");
    eventually("the definition to be published", async || plane.client.request_text(request()).await.is_ok()).await;
    let right = json!([{"expression": "object.spec.replicas > 1 && object.metadata.name != ''"}]);
    assert_eq!(checked(&plane, "right", "stable.example.com", "crontabs", right).await, []);
    let confused = json!([{"expression": "object.spec.replicas > '1'"}, {"expression": "object.spec.maxRetries < 10"}]);
    let warnings = checked(&plane, "confused", "stable.example.com", "crontabs", confused).await;
    let expected = ["'_>_' applied to '(int, string)'", "undefined field 'maxRetries'"];
    assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
    for ((_, warning), text) in warnings.iter().zip(expected) {
        assert!(warning.contains(text) && warning.starts_with("stable.example.com/v1, Kind=CronTab: "), "{warnings:?}");
    }
}
