//! Admission policies and webhook configurations as objects. What policies do to requests is in `admission_policies`.

use serde_json::{Value, json};

use crate::case::{Conformance, test};
use crate::operations::{Kind, check};
use crate::plane::{Plane, has};

const GROUP: &str = "admissionregistration.k8s.io/v1";

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    let mut tests = policies();
    tests.extend(conditions());
    tests
}

fn policies() -> Vec<Conformance> {
    const START: &str = "AdmissionPolicy [Privileged:ClusterAdmin] should support ";
    let named = |prefix: &str, kind: &str| -> &'static str {
        format!("[sig-api-machinery] {prefix}{START}{prefix}{kind} API operations [Conformance]").leak()
    };
    let constraints = json!({"resourceRules": [{"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"],
        "resources": ["deployments"]}]});
    let validating = json!({"spec": {"validations": [{"expression": "object.spec.replicas <= 100"}], "matchConstraints": constraints}});
    let mutation = json!({"patchType": "ApplyConfiguration",
        "applyConfiguration": {"expression": "Object{spec: Object.spec{replicas: 100}}"}});
    let mutating =
        json!({"spec": {"reinvocationPolicy": "Never", "mutations": [mutation], "matchConstraints": constraints}});
    vec![
        test(named("Validating", "AdmissionPolicy"), move |plane| {
            let status = json!({"conditions": [{"type": "Checked", "status": "True", "reason": "Test", "message": "yes",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
            let change = json!({"spec": {"failurePolicy": "Ignore"}});
            let kind = kind("validatingadmissionpolicies", validating.clone(), change);
            check(plane, Kind { status: Some(status), status_takes_metadata: false, ..kind })
        }),
        test(named("Validating", "AdmissionPolicyBinding"), |plane| {
            let object =
                json!({"spec": {"policyName": "replicalimit-policy.example.com", "validationActions": ["Deny"]}});
            let change = json!({"spec": {"validationActions": ["Warn"]}});
            check(plane, kind("validatingadmissionpolicybindings", object, change))
        }),
        test(named("Mutating", "AdmissionPolicy"), move |plane| {
            let change = json!({"spec": {"failurePolicy": "Ignore"}});
            check(plane, kind("mutatingadmissionpolicies", mutating.clone(), change))
        }),
        test(named("Mutating", "AdmissionPolicyBinding"), |plane| {
            let object = json!({"spec": {"policyName": "replicalimit-policy.example.com"}});
            let change = json!({"spec": {"policyName": "new-policy.example.com"}});
            check(plane, kind("mutatingadmissionpolicybindings", object, change))
        }),
    ]
}

fn kind(resource: &'static str, object: Value, change: Value) -> Kind {
    Kind { version: GROUP, resource, namespaced: false, object, change, status: None, status_takes_metadata: true }
}

fn conditions() -> Vec<Conformance> {
    const START: &str = "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should";
    let named = |what: &str| -> &'static str { format!("{START} {what} match conditions [Conformance]").leak() };
    vec![
        test(named("be able to create and update validating webhook configurations with"), |plane| {
            kept(plane, "validatingwebhookconfigurations")
        }),
        test(named("be able to create and update mutating webhook configurations with"), |plane| {
            kept(plane, "mutatingwebhookconfigurations")
        }),
        test(named("reject validating webhook configurations with invalid"), |plane| {
            refused(plane, "validatingwebhookconfigurations")
        }),
        test(named("reject mutating webhook configurations with invalid"), |plane| {
            refused(plane, "mutatingwebhookconfigurations")
        }),
    ]
}

/// A configuration that concerns nothing, with these conditions.
fn configuration(plane: &Plane, conditions: &Value) -> Value {
    let client = json!({"service": {"namespace": plane.namespace(), "name": "none", "path": "/none", "port": 8443}});
    let rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
    let concerned = json!({"matchLabels": {"concerned": plane.namespace()}});
    json!({"metadata": {"name": plane.unique("conditions")}, "webhooks": [{"name": "conditions.example.com",
        "clientConfig": client, "rules": [rule], "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "namespaceSelector": concerned, "objectSelector": concerned, "matchConditions": conditions}]})
}

async fn kept(plane: Plane, resource: &'static str) {
    let configurations = plane.wide(GROUP, resource);
    let condition = |name: &str, namespace: &str| json!({"name": name, "expression": format!("object.metadata.namespace == '{namespace}'")});
    let one = json!([condition("expression-1", "production")]);
    let made = configurations.create(configuration(&plane, &one)).await;
    let name = made["metadata"]["name"].as_str().expect("a name").to_owned();
    assert_eq!(configurations.get(&name).await["webhooks"][0]["matchConditions"], one);
    let two = json!([condition("expression-1", "production"), condition("expression-2", "staging")]);
    configurations.change(&name, |c| c["webhooks"][0]["matchConditions"] = two.clone()).await;
    let found = configurations.get(&name).await;
    assert!(has(&found["webhooks"][0]["matchConditions"], &two), "{found}");
    configurations.delete(&name).await;
}

async fn refused(plane: Plane, resource: &'static str) {
    let bad = json!([{"name": "invalid-expression-1", "expression": "... [] bad expression"}]);
    let answer = plane.wide(GROUP, resource).try_create(&configuration(&plane, &bad)).await;
    answer.refused(422, "compilation failed");
}
