//! The whole life of a kind, as the tests called "should support … API operations" demand it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::plane::{Plane, has};
use crate::resource::Resource;

/// A kind to try.
pub(crate) struct Kind {
    /// `apps/v1`.
    pub version: &'static str,
    /// `deployments`.
    pub resource: &'static str,
    /// Whether it is in namespaces.
    pub namespaced: bool,
    /// An object without name and labels.
    pub object: Value,
    /// A merge patch that changes something of it.
    pub change: Value,
    /// Status to patch in, if it has a status subresource.
    pub status: Option<Value>,
    /// Whether a write of the status changes annotations too; some kinds keep their metadata (`ResetObjectMetaForStatus`).
    pub status_takes_metadata: bool,
}

/// Every operation once, with discovery before it and a watch beside it.
pub(crate) async fn check(plane: Plane, kind: Kind) {
    discovered(&plane, &kind).await;
    let resource =
        if kind.namespaced { plane.of(kind.version, kind.resource) } else { plane.wide(kind.version, kind.resource) };
    let name = |n: u32| plane.unique(&format!("one-{n}"));
    let label = format!("special={}", plane.namespace());
    let selected = format!("labelSelector={}", label.replace('=', "%3D"));
    let mut watch = resource.watch(&selected).await;
    for n in 1..=3 {
        let mut object = kind.object.clone();
        object["metadata"]["name"] = json!(name(n));
        object["metadata"]["labels"]["special"] = json!(plane.namespace());
        let made = resource.create(object).await;
        assert!(made["metadata"]["uid"].is_string() && made["metadata"]["creationTimestamp"].is_string());
        watch.expect("ADDED", &name(n)).await;
    }
    read(&plane, &kind, &resource, &selected).await;
    let patched = json!({"metadata": {"annotations": {"patched": "true"}}});
    resource.merge(&name(1), patched.clone()).await;
    resource.merge(&name(1), kind.change.clone()).await;
    let updated = resource.change(&name(1), |o| o["metadata"]["annotations"]["updated"] = json!("true")).await;
    assert!(has(&updated, &patched) && has(&updated, &kind.change), "{updated}");
    watch.until("MODIFIED", "the update", |o| o["metadata"]["annotations"]["updated"] == "true").await;
    if let Some(status) = &kind.status {
        status_written(&resource, &name(1), status, kind.status_takes_metadata).await;
    }
    resource.delete(&name(1)).await;
    resource.until_gone(&name(1)).await;
    watch.expect("DELETED", &name(1)).await;
    assert_eq!(resource.list(&selected).await.len(), 2);
    resource.delete_all(&selected).await;
    resource.until_all(&selected, "none", <[Value]>::is_empty).await;
    // What has finalizers goes in any order.
    let mut gone = BTreeSet::new();
    while gone.len() < 2 {
        let object = watch.until("DELETED", "the others", |_| true).await;
        gone.insert(object["metadata"]["name"].as_str().expect("a name").to_owned());
    }
    assert_eq!(gone, BTreeSet::from([name(2), name(3)]));
    let more = watch.within(Duration::from_millis(1)).await;
    assert!(more.is_none(), "nothing else happened: {more:?}");
}

async fn discovered(plane: &Plane, kind: &Kind) {
    let (group, version) = kind.version.split_once('/').unwrap_or(("", kind.version));
    if !group.is_empty() {
        let groups = plane.get("/apis").await;
        let found = groups["groups"].as_array().expect("groups").iter().find(|g| g["name"] == group).cloned();
        let versions = found.expect("the group in /apis")["versions"].as_array().cloned().unwrap_or_default();
        assert!(versions.iter().any(|v| v["version"] == version), "{version} of {group}");
        let group = plane.get(&format!("/apis/{group}")).await;
        assert!(group["versions"].as_array().expect("versions").iter().any(|v| v["groupVersion"] == kind.version));
    }
    let root = if group.is_empty() { "api" } else { "apis" };
    let resources = plane.get(&format!("/{root}/{}", kind.version)).await;
    let named = |name: &str| resources["resources"].as_array().expect("resources").iter().any(|r| r["name"] == name);
    assert!(named(kind.resource));
    assert_eq!(named(&format!("{}/status", kind.resource)), kind.status.is_some(), "its status in discovery");
}

async fn read(plane: &Plane, kind: &Kind, resource: &Resource, selected: &str) {
    let name = plane.unique("one-1");
    assert_eq!(resource.get(&name).await["metadata"]["name"], name.as_str());
    assert_eq!(resource.list(selected).await.len(), 3);
    let everywhere = plane.wide(kind.version, kind.resource);
    assert_eq!(everywhere.list(selected).await.len(), 3);
    everywhere.watch(selected).await.expect("ADDED", &name).await;
    let at = format!("fieldSelector=metadata.name%3D{name}");
    assert_eq!(resource.list(&at).await.len(), 1);
}

async fn status_written(resource: &Resource, name: &str, status: &Value, takes_metadata: bool) {
    let patched =
        resource.status().merge(name, json!({"status": status, "metadata": {"annotations": {"s": "p"}}})).await;
    assert!(has(&patched["status"], status), "{patched}");
    let written = resource.status().change(name, |o| o["metadata"]["annotations"]["s"] = json!("u")).await;
    assert_eq!(written["metadata"]["annotations"]["s"] == "u", takes_metadata, "{written}");
    assert!(has(&resource.status().get(name).await["status"], status));
}
