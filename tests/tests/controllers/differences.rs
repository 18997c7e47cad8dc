//! What people and their tools read of controllers: events, conditions, annotations, and owners that are none.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Event, Namespace, Node, Pod, ResourceQuota, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::plane::{Plane, eventually, from};

/// Waits for an event of this reason about this object: its type, source and message.
async fn event(plane: &Plane, namespace: &str, reason: &str, name: &str) -> (String, String, String) {
    let events: Api<Event> = Api::namespaced(plane.client.clone(), namespace);
    let found = async || {
        let all = events.list(&ListParams::default()).await.expect("events").items;
        all.into_iter().find(|e| e.reason.as_deref() == Some(reason) && e.involved_object.name.as_deref() == Some(name))
    };
    eventually(reason, async || found().await.is_some()).await;
    let event = found().await.expect("it was there");
    let component = event.source.and_then(|s| s.component).unwrap_or_default();
    (event.type_.unwrap_or_default(), component, event.message.unwrap_or_default())
}

fn said(type_: &str, component: &str, message: &str) -> (String, String, String) {
    (type_.into(), component.into(), message.into())
}

fn owned_by(owner: &Value, uid: &str) -> Value {
    let mut reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid});
    owner.as_object().into_iter().flatten().for_each(|(field, value)| reference[field] = value.clone());
    json!([reference])
}

/// Owners are objects, not uids: `TestCrossNamespaceReferences` and its like in the reference.
#[tokio::test]
async fn an_owner_elsewhere_is_none() {
    let plane = Plane::start().await;
    let owner = plane.create::<ConfigMap>(json!({"metadata": {"name": "owner"}})).await;
    let uid = owner.uid().expect("a uid");
    let namespaces: Api<Namespace> = Api::all(plane.client.clone());
    namespaces.create(&PostParams::default(), &from(json!({"metadata": {"name": "u"}}))).await.expect("a namespace");
    let there: Api<ConfigMap> = Api::namespaced(plane.client.clone(), "u");
    let elsewhere = json!({"metadata": {"name": "elsewhere", "ownerReferences": owned_by(&json!({}), &uid)}});
    there.create(&PostParams::default(), &from(elsewhere)).await.expect("a map");
    for (name, wrong) in [
        ("name", json!({"name": "another"})),
        ("kind", json!({"kind": "Secret"})),
        ("group", json!({"apiVersion": "apps/v1", "kind": "Deployment"})),
    ] {
        let map = json!({"metadata": {"name": name, "ownerReferences": owned_by(&wrong, &uid)}});
        plane.create::<ConfigMap>(map).await;
    }
    let right = json!({"metadata": {"name": "right", "ownerReferences": owned_by(&json!({}), &uid)}});
    plane.create::<ConfigMap>(right).await;
    let maps = plane.api::<ConfigMap>();
    for name in ["name", "kind", "group"] {
        eventually(name, async || maps.get_opt(name).await.expect("an answer").is_none()).await;
    }
    eventually("elsewhere", async || there.get_opt("elsewhere").await.expect("an answer").is_none()).await;
    let text =
        format!("ownerRef [v1/ConfigMap, namespace: u, name: owner, uid: {uid}] does not exist in namespace \"u\"");
    let found = event(&plane, "u", "OwnerRefInvalidNamespace", "elsewhere").await;
    assert_eq!(found, said("Warning", "garbage-collector-controller", &text));
    assert!(maps.get_opt("right").await.expect("an answer").is_some());
    maps.delete("owner", &DeleteParams::background()).await.expect("it is deleted");
    eventually("right", async || maps.get_opt("right").await.expect("an answer").is_none()).await;
}

#[tokio::test]
async fn a_node_that_never_reports_is_free_at_once() {
    let plane = Plane::start().await;
    let nodes: Api<Node> = Api::all(plane.client.clone());
    let fake = json!({"metadata": {"name": "fake", "labels": {"kubernetes.io/os": "linux"}}});
    nodes.create(&PostParams::default(), &from(fake)).await.expect("a node");
    eventually("no taint, a time and a label", async || {
        let node = nodes.get("fake").await.expect("the node");
        let taints = node.spec.as_ref().and_then(|s| s.taints.as_ref()).map_or(0, Vec::len);
        let ttl = node.annotations().get("node.alpha.kubernetes.io/ttl").map(String::as_str);
        let label = node.labels().get("beta.kubernetes.io/os").map(String::as_str);
        taints == 0 && ttl == Some("0") && label == Some("linux")
    })
    .await;
    let text = "Node fake event: Registered Node fake in Controller";
    assert_eq!(event(&plane, "default", "RegisteredNode", "fake").await, said("Normal", "node-controller", text));
    nodes.delete("fake", &DeleteParams::default()).await.expect("it is deleted");
    let text = "Node fake event: Removing Node fake from Controller";
    assert_eq!(event(&plane, "default", "RemovingNode", "fake").await, said("Normal", "node-controller", text));
}

/// The only node says that it is not ready: it is tainted against new pods, but nothing has to leave it, and its pods are
/// what it says of them.
#[tokio::test]
async fn no_pod_leaves_while_no_node_is_ready() {
    let plane = Plane::start().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    plane.create::<Pod>(pod).await;
    let pods = plane.api::<Pod>();
    let is_ready = async || {
        let status = pods.get("p").await.expect("the pod").status.unwrap_or_default();
        status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
    };
    eventually("a pod that is ready", is_ready).await;
    let nodes: Api<Node> = Api::all(plane.client.clone());
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady",
        "message": "", "lastHeartbeatTime": "2026-01-01T00:00:01Z", "lastTransitionTime": "2026-01-01T00:00:01Z"}]}});
    nodes.patch_status("n1", &PatchParams::default(), &Patch::Merge(unready)).await.expect("a status");
    let effects = async || {
        let taints = nodes.get("n1").await.expect("the node").spec.and_then(|s| s.taints).unwrap_or_default();
        taints.into_iter().map(|t| format!("{}:{}", t.key, t.effect)).collect::<Vec<_>>()
    };
    eventually("the taint", async || effects().await == ["node.kubernetes.io/not-ready:NoSchedule"]).await;
    assert!(is_ready().await, "the node answers for its pods");
    let evict = json!({"spec": {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]}});
    nodes.patch("n1", &PatchParams::default(), &Patch::Merge(evict)).await.expect("a taint of an earlier run");
    eventually("that it goes", async || effects().await == ["node.kubernetes.io/not-ready:NoSchedule"]).await;
}

#[tokio::test]
async fn budgets_say_what_is_wrong() {
    let plane = Plane::start().await;
    let budget = |name: &str, app: &str, spec: Value| {
        let mut budget = json!({"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": app}}}});
        spec.as_object().into_iter().flatten().for_each(|(field, value)| budget["spec"][field] = value.clone());
        budget
    };
    plane.create::<PodDisruptionBudget>(budget("empty", "none", json!({"minAvailable": 1}))).await;
    let text = "No matching pods found";
    assert_eq!(event(&plane, "t", "NoPods", "empty").await, said("Normal", "controllermanager", text));
    let pod = json!({"metadata": {"name": "bare", "labels": {"app": "bare"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    plane.create::<Pod>(pod).await;
    plane.create::<PodDisruptionBudget>(budget("share", "bare", json!({"maxUnavailable": 1}))).await;
    let (type_, component, message) = event(&plane, "t", "UnmanagedPods", "share").await;
    assert_eq!((&*type_, &*component), ("Warning", "controllermanager"));
    let start = "Pods selected by this PodDisruptionBudget (selector: &LabelSelector{MatchLabels:map[string]string{app: \
                 bare,},MatchExpressions:[]LabelSelectorRequirement{},}) were found to be unmanaged.";
    assert!(message.starts_with(start), "{message}");
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "x", "controller": true});
    let map = plane.create::<ConfigMap>(json!({"metadata": {"name": "o"}})).await;
    let mut owned = json!({"metadata": {"name": "owned", "labels": {"app": "owned"}, "ownerReferences": [owner]},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    owned["metadata"]["ownerReferences"][0]["uid"] = json!(map.uid());
    plane.create::<Pod>(owned).await;
    plane.create::<PodDisruptionBudget>(budget("foreign", "owned", json!({"maxUnavailable": 1}))).await;
    eventually("the failure", async || {
        let status = plane.api::<PodDisruptionBudget>().get("foreign").await.expect("it").status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        conditions
            .iter()
            .any(|c| c.reason == "SyncFailed" && c.message == "configmaps does not implement the scale subresource")
    })
    .await;
}

#[tokio::test]
async fn a_schedule_that_never_comes_is_told() {
    let plane = Plane::start().await;
    let template = json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [
        {"name": "c", "image": "i"}]}}}});
    plane
        .create::<CronJob>(json!({"metadata": {"name": "never"}, "spec": {"schedule": "59 23 31 2 *",
        "jobTemplate": template}}))
        .await;
    let text = "invalid schedule: 59 23 31 2 * : time difference between two schedules is less than 1 second";
    assert_eq!(event(&plane, "t", "InvalidSchedule", "never").await, said("Warning", "cronjob-controller", text));
}

#[tokio::test]
async fn mirrored_slices_and_endpoints_carry_annotations() {
    let plane = Plane::start().await;
    let ports = json!([{"port": 80, "protocol": "TCP"}]);
    plane.create::<Service>(json!({"metadata": {"name": "hand"}, "spec": {"ports": ports}})).await;
    plane
        .create::<Endpoints>(json!({"metadata": {"name": "hand", "annotations": {"a": "1",
        "kubectl.kubernetes.io/last-applied-configuration": "{}"}}, "subsets": [{"addresses": [{"ip": "10.9.9.9"}],
        "ports": [{"port": 80}]}]}))
        .await;
    let slices = plane.api::<EndpointSlice>();
    let of = async |service: &str| {
        let params = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
        slices.list(&params).await.expect("slices").items.into_iter().next().map(|s| s.annotations().clone())
    };
    let expect = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
    eventually("the annotation", async || of("hand").await.as_ref() == Some(&expect)).await;
    let selector = json!({"app": "x"});
    plane.create::<Service>(json!({"metadata": {"name": "own"}, "spec": {"ports": ports, "selector": selector}})).await;
    let time = "endpoints.kubernetes.io/last-change-trigger-time";
    let created = plane.api::<Service>().get("own").await.expect("it").metadata.creation_timestamp.expect("a time").0;
    eventually("the time", async || of("own").await.and_then(|a| a.get(time).cloned()) == Some(created.to_string()))
        .await;
    eventually("the time of the Endpoints", async || {
        let endpoints = plane.api::<Endpoints>().get_opt("own").await.expect("an answer");
        endpoints.and_then(|e| e.annotations().get(time).cloned()) == Some(created.to_string())
    })
    .await;
}

/// What nothing counts is not listed as used (`CalculateUsage`).
#[tokio::test]
async fn a_quota_lists_what_it_counts() {
    let plane = Plane::start().await;
    plane
        .create::<ResourceQuota>(json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "3",
        "requests.example.com/gpu": "1", "count/deployments.apps": "2", "count/unknowns.example.com": "5"}}}))
        .await;
    eventually("the use", async || {
        let status = plane.api::<ResourceQuota>().get("q").await.expect("it").status.unwrap_or_default();
        let names: Vec<_> = status.used.unwrap_or_default().into_keys().collect();
        names == ["count/deployments.apps", "pods", "requests.example.com/gpu"]
    })
    .await;
}

#[tokio::test]
async fn a_page_of_one_that_has_a_name_is_the_last() {
    let plane = Plane::start().await;
    for name in ["web", "web-1"] {
        plane.create::<ConfigMap>(json!({"metadata": {"name": name}})).await;
    }
    let maps = plane.api::<ConfigMap>();
    let page = maps.list(&ListParams::default().fields("metadata.name=web").limit(1)).await.expect("a page");
    assert_eq!((page.items.len(), page.metadata.continue_.unwrap_or_default()), (1, String::new()));
    let all: Api<ConfigMap> = Api::all(plane.client.clone());
    let page = all.list(&ListParams::default().fields("metadata.name=web,metadata.namespace=t").limit(1)).await;
    assert_eq!(page.expect("a page").metadata.continue_.unwrap_or_default(), "");
    let page = maps.list(&ListParams::default().limit(1)).await.expect("a page");
    assert_ne!(page.metadata.continue_.unwrap_or_default(), "");
}

#[tokio::test]
async fn a_pod_that_was_not_disrupted_after_all_says_so() {
    let plane = Plane::start().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    plane.create::<Pod>(pod).await;
    let stale = json!({"status": {"conditions": [{"type": "DisruptionTarget", "status": "True",
        "reason": "EvictionByEvictionAPI", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    let pods = plane.api::<Pod>();
    pods.patch_status("p", &PatchParams::default(), &Patch::Strategic(stale)).await.expect("a condition");
    eventually("the reset", async || {
        let status = pods.get("p").await.expect("the pod").status.unwrap_or_default();
        let set = status.conditions.into_iter().flatten().find(|c| c.type_ == "DisruptionTarget");
        set.is_some_and(|c| c.status == "False" && c.reason.is_none())
    })
    .await;
}

#[tokio::test]
async fn a_namespace_tells_all_of_its_end() {
    let plane = Plane::start().await;
    plane.create::<ConfigMap>(json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}})).await;
    let namespaces: Api<Namespace> = Api::all(plane.client.clone());
    namespaces.delete("t", &DeleteParams::default()).await.expect("it is being deleted");
    let conditions = async || {
        let conditions = namespaces.get("t").await.expect("it").status.and_then(|s| s.conditions).unwrap_or_default();
        conditions.into_iter().map(|c| (c.type_, c.status, c.message.unwrap_or_default())).collect::<Vec<_>>()
    };
    eventually("what remains", async || {
        conditions().await.iter().any(|c| c.2 == "Some resources are remaining: configmaps. has 1 resource instances")
    })
    .await;
    let types: Vec<_> = conditions().await.into_iter().map(|c| (c.0, c.1)).collect();
    let expect = [
        ("NamespaceDeletionDiscoveryFailure", "False"),
        ("NamespaceDeletionGroupVersionParsingFailure", "False"),
        ("NamespaceDeletionContentFailure", "False"),
        ("NamespaceContentRemaining", "True"),
        ("NamespaceFinalizersRemaining", "True"),
    ];
    assert_eq!(types, expect.map(|(type_, status)| (type_.to_owned(), status.to_owned())));
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    plane.api::<ConfigMap>().patch("held", &PatchParams::default(), &free).await.expect("it is let go");
    eventually("the namespace to go", async || namespaces.get_opt("t").await.expect("an answer").is_none()).await;
}
