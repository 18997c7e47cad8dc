//! Tests of what quotas count.

use serde_json::{Value, json};

use super::{concerns, counted, in_scope, missing, usage};

fn check(group: &str, resource: &str, object: Value, expect: &str) {
    let now = "2026-01-01T00:01:00Z".parse().expect("a time");
    assert_eq!(usage(group, resource, &object, now).pretty(), expect, "{object}");
}

#[test]
fn usage_of_objects() {
    check("apps", "replicasets", json!({}), "count/replicasets.apps=1");
    check("", "secrets", json!({}), "count/secrets=1,secrets=1");
    check(
        "",
        "services",
        json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 1}, {"port": 2}]}}),
        "count/services=1,services=1,services.loadbalancers=1,services.nodeports=2",
    );
    check(
        "",
        "persistentvolumeclaims",
        json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}}}),
        "count/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,\
         gold.storageclass.storage.k8s.io/requests.storage=1Gi,persistentvolumeclaims=1,requests.storage=1Gi",
    );
    let container =
        json!({"name": "c", "resources": {"requests": {"cpu": "500m", "example.com/d": "3"}, "limits": {"cpu": "1"}}});
    let pod = json!({"spec": {"containers": [container], "overhead": {"cpu": "100m"}}});
    check(
        "",
        "pods",
        pod.clone(),
        "count/pods=1,cpu=600m,limits.cpu=1100m,pods=1,requests.cpu=600m,requests.example.com/d=3",
    );
    let mut ended = pod.clone();
    ended["status"] = json!({"phase": "Succeeded"});
    check("", "pods", ended, "count/pods=1");
    let mut stuck = pod;
    stuck["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30});
    check("", "pods", stuck, "count/pods=1");
}

#[test]
fn names() {
    for (name, group, resource, expect) in [
        ("count/pods", "", "pods", true),
        ("count/deployments.apps", "apps", "deployments", true),
        ("count/deployments.apps", "extensions", "deployments", false),
        ("requests.example.com/gpu", "", "pods", true),
        ("requests.storage", "", "pods", false),
        ("requests.storage", "", "persistentvolumeclaims", true),
        ("gold.storageclass.storage.k8s.io/requests.storage", "", "persistentvolumeclaims", true),
        ("configmaps", "", "configmaps", true),
        ("configmaps", "", "secrets", false),
    ] {
        assert_eq!(concerns(name, group, resource), expect, "{name}");
    }
    assert_eq!(counted("count/deployments.apps"), Some(("apps", "deployments")));
    assert_eq!(counted("limits.cpu"), Some(("", "pods")));
    assert_eq!(counted("services.nodeports"), Some(("", "services")));
}

#[test]
fn scopes() {
    let pod = json!({"spec": {"activeDeadlineSeconds": 5, "priorityClassName": "high", "containers": [{"name": "c"}]}});
    let selector = |operator: &str, values: Value| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": values}]}});
    for (spec, expect) in [
        (json!({}), true),
        (json!({"scopes": ["Terminating", "BestEffort"]}), true),
        (json!({"scopes": ["Terminating", "NotBestEffort"]}), false),
        (selector("In", json!(["high"])), true),
        (selector("NotIn", json!(["high"])), false),
        (selector("DoesNotExist", json!(null)), false),
    ] {
        assert_eq!(in_scope(&spec, "", "pods", &pod), expect, "{spec}");
    }
    assert!(!in_scope(&json!({"scopes": ["Terminating"]}), "", "services", &json!({})));
}

#[test]
fn what_containers_must_say() {
    let pod = json!({"spec": {"containers": [{"name": "b", "resources": {"requests": {"cpu": "1"}}}, {"name": "a"}]}});
    let said = missing(&pod, ["cpu", "limits.memory", "pods"].into_iter());
    assert_eq!(said.as_deref(), Some("must specify cpu for: a; limits.memory for: a,b"));
}
