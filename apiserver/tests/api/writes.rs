//! Create, update, patch and delete.

use serde_json::{Value, json};

use crate::harness::Server;

const MAPS: &str = "/api/v1/namespaces/a/configmaps";

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "1"}})
}

#[tokio::test]
async fn an_object_from_create_to_delete() {
    let server = Server::new();
    let made = server.post(MAPS, map("x")).await;
    assert_eq!(made.code, 201, "{:?}", made.json());
    assert_eq!(made.at("metadata.namespace"), "a");
    assert!(made.at("metadata.uid").is_string());
    let url = format!("{MAPS}/x");
    let read = server.get(&url).await;
    assert_eq!(read.json(), made.json());
    let again = server.post(MAPS, map("x")).await;
    assert_eq!((again.code, again.at("reason")), (409, "AlreadyExists".into()));

    let same = server.put(&url, map("x")).await;
    assert_eq!(same.at("metadata.resourceVersion"), made.at("metadata.resourceVersion"));
    let changed = server.merge(&url, json!({"data": {"k": "2", "l": "3"}})).await;
    assert_eq!((changed.code, changed.at("data")), (200, json!({"k": "2", "l": "3"})));
    let mut stale = made.json();
    stale["data"] = json!({"k": "9"});
    let refused = server.put(&url, stale).await;
    assert_eq!((refused.code, refused.at("reason")), (409, "Conflict".into()));
    let mut other = map("x");
    other["metadata"]["uid"] = json!("another");
    let refused = server.put(&url, other).await;
    let key = "StorageError: invalid object, Code: 4, Key: /registry/configmaps/a/x, ResourceVersion: 0";
    assert_eq!(refused.code, 409);
    assert!(refused.at("message").to_string().contains(key), "{:?}", refused.json());
    let json_patch = json!([{"op": "remove", "path": "/data/l"}]);
    let patched = server.send("PATCH", &url, "application/json-patch+json", json_patch).await;
    assert_eq!(patched.at("data"), json!({"k": "2"}));

    let gone = server.delete(&url, Value::Null).await;
    assert_eq!((gone.code, gone.at("status"), gone.at("details.kind")), (200, "Success".into(), "configmaps".into()));
    assert_eq!(server.get(&url).await.code, 404);
}

#[tokio::test]
async fn finalizers_hold_a_deletion() {
    let server = Server::new();
    let url = format!("{MAPS}/x");
    let mut object = map("x");
    object["metadata"]["finalizers"] = json!(["ex.com/f"]);
    server.post(MAPS, object).await;
    let held = server.delete(&url, Value::Null).await;
    assert!(held.at("metadata.deletionTimestamp").is_string(), "{:?}", held.json());
    let more = server.merge(&url, json!({"metadata": {"finalizers": ["ex.com/f", "ex.com/g"]}})).await;
    assert_eq!(more.code, 422);
    let free = server.merge(&url, json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(free.code, 200);
    assert_eq!(server.get(&url).await.code, 404);
}

#[tokio::test]
async fn propagation_sets_finalizers() {
    let server = Server::new();
    for (policy, finalizer) in [("Orphan", "orphan"), ("Foreground", "foregroundDeletion")] {
        server.post(MAPS, map("x")).await;
        let url = format!("{MAPS}/x");
        let held = server.delete(&url, json!({"propagationPolicy": policy})).await;
        assert_eq!(held.at("metadata.finalizers"), json!([finalizer]));
        server.merge(&url, json!({"metadata": {"finalizers": null}})).await;
        assert_eq!(server.get(&url).await.code, 404);
    }
    let bad = server.delete(&format!("{MAPS}/x"), json!({"propagationPolicy": "Bogus"})).await;
    assert_eq!(bad.code, 422);
}

#[tokio::test]
async fn status_and_spec_are_apart() {
    let server = Server::new();
    let deployments = "/apis/apps/v1/namespaces/a/deployments";
    let spec = json!({
        "replicas": 2, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    });
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec,
        "status": {"replicas": 7}});
    let made = server.post(deployments, object).await;
    assert_eq!((made.code, made.at("metadata.generation")), (201, 1.into()), "{:?}", made.json());
    assert_ne!(made.at("status.replicas"), 7);
    let url = format!("{deployments}/d");
    let status =
        server.merge(&format!("{url}/status"), json!({"status": {"replicas": 1}, "spec": {"replicas": 9}})).await;
    assert_eq!((status.at("status.replicas"), status.at("spec.replicas")), (1.into(), 2.into()));
    assert_eq!(status.at("metadata.generation"), 1);
    let scaled = server.merge(&format!("{url}/scale"), json!({"spec": {"replicas": 5}})).await;
    assert_eq!((scaled.at("kind"), scaled.at("spec.replicas")), ("Scale".into(), 5.into()), "{:?}", scaled.json());
    assert_eq!(scaled.at("status.selector"), "a=b");
    let after = server.get(&url).await;
    assert_eq!((after.at("spec.replicas"), after.at("metadata.generation")), (5.into(), 2.into()));
    assert_eq!(after.at("status.replicas"), 1);
}

#[tokio::test]
async fn names_are_generated_and_dry_runs_leave_nothing() {
    let server = Server::new();
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "g-"}});
    let made = server.post(MAPS, object).await;
    let name = made.at("metadata.name");
    assert!(name.as_str().is_some_and(|n| n.len() == 7 && n.starts_with("g-")), "{name}");
    let dry = server.post(&format!("{MAPS}?dryRun=All"), map("dry")).await;
    assert_eq!((dry.code, dry.at("metadata.resourceVersion")), (201, Value::Null));
    assert_eq!(server.get(&format!("{MAPS}/dry")).await.code, 404);
    let bad = server.post(&format!("{MAPS}?dryRun=Some"), map("dry")).await;
    assert_eq!(
        bad.at("message"),
        "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Some\"]: supported values: \"All\""
    );
}

#[tokio::test]
async fn a_version_on_creation() {
    let server = Server::new();
    let leases = "/apis/coordination.k8s.io/v1/namespaces/a/leases";
    let lease = |name: &str, version: &str| {
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "resourceVersion": version}, "spec": {}})
    };
    let refused = "resourceVersion should not be set on objects to be created";
    let no_number = "strconv.ParseUint: parsing \"x\": invalid syntax";
    let too_large = "strconv.ParseUint: parsing \"99999999999999999999\": value out of range";
    let apply = "application/apply-patch+yaml";
    let cases = [
        // Method, version, whether it is a dry run, code, the version that comes back or the message.
        ("POST", "70000", false, 500, refused),
        ("POST", "70000", true, 201, "70000"),
        ("POST", "x", true, 201, "x"),
        ("POST", "x", false, 201, ""),
        ("POST", "+5", false, 201, ""),
        ("POST", "0", false, 201, ""),
        ("PUT", "70000", false, 201, ""),
        ("PUT", "70000", true, 201, "70000"),
        ("PUT", "x", false, 500, no_number),
        ("PUT", "99999999999999999999", true, 500, too_large),
        ("PATCH", "70000", false, 201, ""),
        ("PATCH", "70000", true, 201, "70000"),
        ("PATCH", "x", false, 500, no_number),
    ];
    for (i, (method, version, dry_run, code, expected)) in cases.into_iter().enumerate() {
        let name = format!("l{i}");
        let place = if method == "POST" { leases.to_string() } else { format!("{leases}/{name}") };
        let url = format!("{place}?fieldManager=m{}", if dry_run { "&dryRun=All" } else { "" });
        let content = if method == "PATCH" { apply } else { "" };
        let answer = server.send(method, &url, content, lease(&name, version)).await;
        let case = format!("{method} {version} {dry_run}: {:?}", answer.json());
        assert_eq!(answer.code, code, "{case}");
        match (code, expected) {
            (201, "") => assert!(answer.at("metadata.resourceVersion") != version, "{case}"),
            (201, echoed) => assert_eq!(answer.at("metadata.resourceVersion"), echoed, "{case}"),
            _ => assert_eq!(answer.at("message"), expected, "{case}"),
        }
    }
    // Only what is right in every other way is refused for its version, but before the name is found taken.
    let taken = server.post(leases, lease("l3", "5")).await;
    assert_eq!((taken.code, taken.at("message")), (500, refused.into()));
    let mut wrong = lease("l3", "5");
    wrong["spec"]["leaseDurationSeconds"] = (-1).into();
    assert_eq!(server.post(leases, wrong).await.code, 422);
    // As numbers are compared, not as text.
    let stored = server.get(&format!("{leases}/l3")).await;
    let stored = stored.at("metadata.resourceVersion").as_str().unwrap_or_default().to_string();
    assert_eq!(server.put(&format!("{leases}/l3"), lease("l3", &format!("00{stored}"))).await.code, 200);
    assert_eq!(server.put(&format!("{leases}/l3"), lease("l3", &format!("+{stored}"))).await.code, 500);
}

#[tokio::test]
async fn strict_fields_and_warnings() {
    let server = Server::new();
    let mut object = map("x");
    object["nope"] = true.into();
    let strict = server.post(&format!("{MAPS}?fieldValidation=Strict"), object.clone()).await;
    assert_eq!(strict.code, 400);
    let warned = server.post(&format!("{MAPS}?fieldValidation=Warn"), object).await;
    assert_eq!(warned.code, 201);
    assert_eq!(warned.headers["warning"], "299 - \"unknown field \\\"nope\\\"\"");
}

#[tokio::test]
async fn whole_amounts_of_extended_resources() {
    let server = Server::new();
    let pods = "/api/v1/namespaces/a/pods?dryRun=All";
    let pod = |resource: &str, amount: &str| {
        let resources = json!({"limits": {resource: amount}, "requests": {resource: amount}});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
            "containers": [{"name": "c", "image": "i", "resources": resources}]}})
    };
    // What does not fit is whole or not by how the reference overflows.
    for amount in ["10P", "1E", "1e18", "9223372036854775807", "1000000000000000", "1Pi", "1", "0"] {
        let answer = server.post(pods, pod("example.com/thing", amount)).await;
        assert_eq!(answer.code, 201, "{amount}: {:?}", answer.json());
    }
    for (amount, shown) in
        [("1Ei", "1Ei"), ("10000000000000000", "10P"), ("9Pi", "9Pi"), ("500m", "500m"), ("1.5", "1500m")]
    {
        let answer = server.post(pods, pod("example.com/thing", amount)).await;
        assert_eq!(answer.code, 422, "{amount}: {:?}", answer.json());
        let message = answer.at("message").to_string();
        assert!(message.contains(&format!("Invalid value: \\\"{shown}\\\": must be an integer")), "{message}");
    }
    let answer = server.post(pods, pod("memory", "10000000000000000")).await;
    assert_eq!(answer.at("spec.containers.0.resources.limits.memory"), "10P");
    let warning = answer.headers["warning"].to_str().unwrap();
    assert!(warning.contains("fractional byte value \\\"10P\\\" is invalid, must be an integer"), "{warning}");
}
