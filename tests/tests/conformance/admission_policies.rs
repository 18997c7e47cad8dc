//! What admission policies do to requests.

use serde_json::{Value, json};

use crate::case::{Conformance, test};
use crate::plane::Plane;

const GROUP: &str = "admissionregistration.k8s.io/v1";

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    const VALIDATING: &str = "[sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should";
    const MUTATING: &str =
        "[sig-api-machinery] MutatingAdmissionPolicy [Privileged:ClusterAdmin] should mutate a Deployment";
    let named = |start: &str, what: &str| -> &'static str { format!("{start}{what} [Conformance]").leak() };
    vec![
        test(named(VALIDATING, " validate against a Deployment"), validates),
        test(named(VALIDATING, " allow expressions to refer variables."), refers_to_variables),
        test(named(MUTATING, ""), |plane| {
            mutates(plane, "Object{spec: Object.spec{replicas: 1337}}", "/spec/replicas", 1337.into())
        }),
        test(named(MUTATING, " with annotations"), |plane| {
            let expression = "Object{metadata: Object.metadata{annotations: {\"mutated-by\": \"admission-policy\"}}}";
            mutates(plane, expression, "/metadata/annotations/mutated-by", "admission-policy".into())
        }),
    ]
}

/// A policy about the deployments of the test's namespace, and a binding to it.
async fn enforce(plane: &Plane, kind: &str, mut spec: Value, mut binding: Value) {
    spec["matchConstraints"] = json!({
        "resourceRules": [{"operations": ["CREATE", "UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": plane.namespace()}},
    });
    let name = plane.unique("policy");
    binding["policyName"] = name.clone().into();
    let policy = json!({"metadata": {"name": name}, "spec": spec});
    plane.wide(GROUP, &format!("{kind}admissionpolicies")).create(policy).await;
    let binding = json!({"metadata": {"name": name}, "spec": binding});
    plane.wide(GROUP, &format!("{kind}admissionpolicybindings")).create(binding).await;
}

async fn forget(plane: &Plane, kind: &str) {
    for resource in ["policybindings", "policies"] {
        plane.wide(GROUP, &format!("{kind}admission{resource}")).delete(&plane.unique("policy")).await;
    }
}

fn workload(name: &str, replicas: i64) -> Value {
    json!({"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}})
}

async fn validates(plane: Plane) {
    let own = format!("namespaceObject.metadata.name == '{}'", plane.namespace());
    let spec = json!({"validations": [
        {"expression": "object.spec.replicas > 1", "messageExpression": "'wants replicas > 1, got ' + object.spec.replicas"},
        {"expression": own, "message": "Internal error! Other namespace should not be allowed."},
    ]});
    enforce(&plane, "validating", spec, json!({"validationActions": ["Deny"]})).await;
    let deployments = plane.of("apps/v1", "deployments");
    let refused = deployments.try_create(&workload("marker", 1)).await;
    assert_eq!(refused.body["reason"], "Invalid");
    refused.refused(422, "denied request: failed expression: object.spec.replicas > 1");
    deployments.create(workload("replicated", 2)).await;
    plane.of("apps/v1", "replicasets").create(workload("non-replicated", 1)).await;
    forget(&plane, "validating").await;
    deployments.create(workload("single", 1)).await;
}

async fn refers_to_variables(plane: Plane) {
    let spec = json!({
        "variables": [
            {"name": "replicas", "expression": "object.spec.replicas"},
            {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"},
        ],
        "validations": [{"expression": "variables.replicas > 1"}, {"expression": "variables.oddReplicas"}],
    });
    enforce(&plane, "validating", spec, json!({"validationActions": ["Deny"]})).await;
    let deployments = plane.of("apps/v1", "deployments");
    deployments.try_create(&workload("one", 1)).await.refused(422, "failed expression: variables.replicas > 1");
    deployments.try_create(&workload("two", 2)).await.refused(422, "failed expression: variables.oddReplicas");
    deployments.create(workload("three", 3)).await;
    plane.of("apps/v1", "replicasets").create(workload("non-replicated", 1)).await;
    forget(&plane, "validating").await;
}

async fn mutates(plane: Plane, expression: &'static str, at: &'static str, expected: Value) {
    let mutation = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}});
    enforce(&plane, "mutating", json!({"reinvocationPolicy": "Never", "mutations": [mutation]}), json!({})).await;
    let deployments = plane.of("apps/v1", "deployments");
    let made = deployments.create(workload("marker", 1)).await;
    assert_eq!(made.pointer(at), Some(&expected), "{made}");
    deployments.delete("marker").await;
    forget(&plane, "mutating").await;
    let made = deployments.create(workload("after", 1)).await;
    assert_ne!(made.pointer(at), Some(&expected), "{made}");
}
