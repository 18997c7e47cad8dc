//! Tests of the plan of a daemon set.

use serde_json::json;

use super::*;

fn set(rolling: serde_json::Value) -> DaemonSet {
    let s = json!({"metadata": {"name": "d"}, "spec": {"selector": {}, "template": {"spec": {"containers": [],
        "nodeSelector": {"ok": "yes"}}}, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}});
    serde_json::from_value(s).expect("a set")
}

fn node(name: &str, ok: &str) -> Arc<Node> {
    let n = json!({"metadata": {"name": name, "labels": {"ok": ok}}});
    Arc::new(serde_json::from_value(n).expect("a node"))
}

fn pod(node: &str, hash: &str, ready: bool) -> Arc<Pod> {
    let ready = if ready { "True" } else { "False" };
    let p = json!({"metadata": {"name": format!("{node}-{hash}"), "labels": {"controller-revision-hash": hash}},
        "spec": {"nodeName": node, "containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}});
    Arc::new(serde_json::from_value(p).expect("a pod"))
}

fn names(work: &Work) -> (Vec<String>, Vec<String>) {
    (work.create.clone(), work.delete.iter().map(|p| p.name_any()).collect())
}

#[test]
fn suitable_nodes_have_one_pod() {
    let nodes = [node("a", "yes"), node("b", "no"), node("c", "yes")];
    let pods = by_node(&[pod("b", "x", true), pod("c", "x", true)]);
    let work = manage(&set(json!({})), &nodes, &pods, "x", Timestamp::UNIX_EPOCH);
    assert_eq!(names(&work), (vec!["a".to_owned()], vec!["b-x".to_owned()]));
}

#[test]
fn an_update_keeps_to_its_limit() {
    let nodes = [node("a", "yes"), node("b", "yes"), node("c", "yes")];
    let pods = by_node(&[pod("a", "x", true), pod("b", "x", true), pod("c", "x", true)]);
    let one = update(&set(json!({"maxUnavailable": 1})), &nodes, &pods, "y", Timestamp::UNIX_EPOCH);
    assert_eq!(names(&one).1.len(), 1);
    let surge = json!({"maxUnavailable": 0, "maxSurge": 2});
    let two = update(&set(surge), &nodes, &pods, "y", Timestamp::UNIX_EPOCH);
    assert_eq!((two.create.len(), two.delete.len()), (2, 0));
    let waiting = by_node(&[pod("a", "y", false), pod("b", "x", true), pod("c", "x", true)]);
    let none = update(&set(json!({"maxUnavailable": 1})), &nodes, &waiting, "y", Timestamp::UNIX_EPOCH);
    assert!(none.is_empty(), "one is unavailable already");
}

/// A node with a taint that the template does not bear.
fn tainted(name: &str, effect: &str) -> Arc<Node> {
    let n = json!({"metadata": {"name": name, "labels": {"ok": "yes"}},
        "spec": {"taints": [{"key": "t", "effect": effect}]}});
    Arc::new(serde_json::from_value(n).expect("a node"))
}

fn surge(max: u32) -> DaemonSet {
    set(json!({"maxUnavailable": 0, "maxSurge": max}))
}

fn updated(set: &DaemonSet, nodes: &[Arc<Node>], pods: &[Arc<Pod>]) -> (Vec<String>, Vec<String>) {
    names(&update(set, nodes, &by_node(pods), "y", Timestamp::UNIX_EPOCH))
}

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// `TestDaemonSetUpdatesSomeOldPodsNotReady` with surge, and the sunsetted nodes of `rollingUpdate`.
#[test]
fn a_surge_makes_no_pod_where_the_new_template_wants_none() {
    let nodes = [node("a", "yes"), tainted("b", "NoSchedule"), tainted("c", "NoSchedule")];
    let old = |available| [pod("a", "x", true), pod("b", "x", available), pod("c", "x", true)];
    assert_eq!(
        updated(&surge(3), &nodes, &old(true)),
        (texts(&["a"]), texts(&["b-x", "c-x"])),
        "one is desired, three live"
    );
    assert_eq!(updated(&surge(3), &nodes, &old(false)), (texts(&["a"]), texts(&["b-x", "c-x"])));
    let moving = [node("a", "yes"), node("d", "yes"), tainted("b", "NoSchedule"), tainted("c", "NoSchedule")];
    let waiting = [pod("b", "x", true), pod("c", "x", true), pod("a", "y", false), pod("d", "y", false)];
    assert_eq!(
        updated(&surge(3), &moving, &waiting),
        (texts(&[]), texts(&[])),
        "the old ones stay until new ones live"
    );
    let one = [pod("b", "x", true), pod("c", "x", true), pod("a", "y", true), pod("d", "y", false)];
    assert_eq!(updated(&surge(3), &moving, &one), (texts(&[]), texts(&["b-x"])));
}

#[test]
fn a_surge_keeps_to_its_limit_and_ends_old_pods_when_new_ones_live() {
    let nodes = [node("a", "yes"), node("b", "yes"), node("c", "yes")];
    let both = |new_ready| [pod("a", "x", true), pod("a", "y", new_ready), pod("b", "x", true), pod("c", "x", false)];
    assert_eq!(
        updated(&surge(1), &nodes, &both(false)),
        (texts(&["c"]), texts(&[])),
        "one surges, and c needs one anyway"
    );
    assert_eq!(updated(&surge(1), &nodes, &both(true)), (texts(&["c", "b"]), texts(&["a-x"])));
    let gone = pod("c", "y", true);
    assert_eq!(
        updated(&surge(1), &nodes, &[gone]),
        (texts(&[]), texts(&[])),
        "nodes without pods are not the update's"
    );
}

#[test]
fn nodes_without_pods_count_as_unavailable() {
    let nodes = [node("a", "yes"), node("b", "yes"), node("c", "yes")];
    let pods = [pod("a", "x", true), pod("b", "x", true)];
    assert!(updated(&set(json!({"maxUnavailable": 1})), &nodes, &pods).1.is_empty());
    assert_eq!(updated(&set(json!({"maxUnavailable": 2})), &nodes, &pods).1.len(), 1);
    let crowd = [pod("a", "x", true), pod("a", "z", true), pod("b", "x", true), pod("c", "x", true)];
    assert!(updated(&set(json!({"maxUnavailable": 1})), &nodes, &crowd).1.is_empty());
}

#[test]
fn a_pod_of_the_same_generation_is_no_old_one() {
    let mut set = set(json!({"maxUnavailable": 1}));
    set.annotations_mut().insert("deprecated.daemonset.template.generation".into(), "3".into());
    let mut pod = (*pod("a", "other", true)).clone();
    pod.labels_mut().insert("pod-template-generation".into(), "3".into());
    assert!(updated(&set, &[node("a", "yes")], &[Arc::new(pod)]).1.is_empty());
}

/// `getNodesToDaemonPods`: what ended and is being deleted holds nobody up.
#[test]
fn an_ended_pod_that_is_being_deleted_is_replaced_at_once() {
    let mut gone = (*pod("a", "x", false)).clone();
    gone.status.get_or_insert_default().phase = Some("Failed".into());
    let deleted = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH);
    gone.metadata.deletion_timestamp = Some(deleted);
    let work = manage(&set(json!({})), &[node("a", "yes")], &by_node(&[Arc::new(gone)]), "x", Timestamp::UNIX_EPOCH);
    assert_eq!(names(&work), (texts(&["a"]), texts(&[])));
}

#[test]
fn a_pod_that_waits_for_its_node_is_counted_there() {
    let waiting = json!({"metadata": {"name": "w"}, "spec": {"containers": [], "affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": ["a"]}]}]}}}}});
    let waiting = Arc::new(serde_json::from_value(waiting).expect("a pod"));
    let found = status(&set(json!({})), &[node("a", "yes")], &by_node(&[waiting]), "x", Timestamp::UNIX_EPOCH);
    assert_eq!((found.desired_number_scheduled, found.current_number_scheduled), (1, 1));
}
