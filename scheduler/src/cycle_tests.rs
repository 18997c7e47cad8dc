//! Whole cycles on small clusters, as data.

use std::sync::Arc;

use api::selector::LabelSelector;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::{Value, json};

use crate::cache::Cache;
use crate::cycle::{Finder, Nominated};
use crate::lookup::Lookup;
use crate::pod::{NamespaceLabels, PodInfo};
use crate::preemption;

#[derive(Default)]
struct Objects {
    claims: Vec<Arc<PersistentVolumeClaim>>,
    volumes: Vec<Arc<PersistentVolume>>,
    classes: Vec<Arc<StorageClass>>,
    budgets: Vec<Arc<PodDisruptionBudget>>,
}

impl NamespaceLabels for Objects {
    fn matches(&self, _: &str, _: &LabelSelector) -> bool {
        false
    }
}

impl Lookup for Objects {
    fn claim(&self, _: &str, name: &str) -> Option<Arc<PersistentVolumeClaim>> {
        self.claims.iter().find(|claim| claim.metadata.name.as_deref() == Some(name)).cloned()
    }
    fn volume(&self, name: &str) -> Option<Arc<PersistentVolume>> {
        self.volumes.iter().find(|volume| volume.metadata.name.as_deref() == Some(name)).cloned()
    }
    fn volumes(&self) -> Vec<Arc<PersistentVolume>> {
        self.volumes.clone()
    }
    fn class(&self, name: &str) -> Option<Arc<StorageClass>> {
        self.classes.iter().find(|class| class.metadata.name.as_deref() == Some(name)).cloned()
    }
    fn budgets(&self) -> Vec<Arc<PodDisruptionBudget>> {
        self.budgets.clone()
    }
}

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value).unwrap())
}

/// A node of 2 cores and 10 pods.
fn node(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}, "spec": spec,
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}}})
}

fn pod(name: &str, spec: Value) -> Arc<PodInfo> {
    let mut spec = spec;
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "c"}]);
    }
    let labels = json!({"app": name.split('-').next()});
    let pod: Arc<Pod> =
        parse(json!({"metadata": {"name": name, "namespace": "n", "uid": name, "labels": labels}, "spec": spec}));
    Arc::new(PodInfo::new(&pod, &mut crate::pod::Sharing::default()))
}

fn cpu(amount: &str) -> Value {
    json!([{"name": "c", "resources": {"requests": {"cpu": amount}}}])
}

/// Looks for a node; gives its name, or the message.
fn find(nodes: &[Value], placed: &[(Arc<PodInfo>, &str)], wanted: &PodInfo, objects: &Objects) -> String {
    let mut cache = Cache::default();
    for node in nodes {
        cache.set_node(parse(node.clone()));
    }
    for (pod, node) in placed {
        cache.set_pod(pod.clone(), node);
    }
    match Finder::default().find(wanted, &cache, objects, &Nominated::new(), &mut || 0, &mut |_, _| ()) {
        Ok(decision) => decision.node,
        Err(error) => match preemption::plan(wanted, &cache, objects, &error, &Nominated::new()) {
            Ok(plan) => {
                let victims: Vec<&str> = plan.victims.iter().map(|pod| pod.name()).collect();
                format!("preempt {} on {}", victims.join(","), plan.node)
            }
            Err(_) => error.message(None),
        },
    }
}

fn check(nodes: &[Value], placed: &[(Arc<PodInfo>, &str)], wanted: &PodInfo, expect: &str) {
    assert_eq!(find(nodes, placed, wanted, &Objects::default()), expect);
}

#[test]
fn room() {
    let nodes = [node("a", json!({})), node("b", json!({}))];
    check(&[], &[], &pod("p", json!({})), "no nodes available to schedule pods");
    check(&nodes, &[(pod("x", json!({"containers": cpu("1")})), "a")], &pod("p", json!({})), "b");
    let big = pod("p", json!({"containers": cpu("3")}));
    check(&nodes, &[], &big, "0/2 nodes are available: 2 Insufficient cpu.");
    let full: Vec<_> = (0..10).map(|n| (pod(&format!("x-{n}"), json!({})), "a")).collect();
    check(&nodes[..1], &full, &pod("p", json!({})), "0/1 nodes are available: 1 Too many pods.");
}

#[test]
fn nodes_that_refuse() {
    let nodes = [
        node("a", json!({"unschedulable": true})),
        node("b", json!({"taints": [{"key": "k", "effect": "NoSchedule"}]})),
    ];
    let message = "0/2 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable.";
    check(&nodes, &[], &pod("p", json!({})), message);
    check(&nodes, &[], &pod("p", json!({"tolerations": [{"key": "k", "operator": "Exists"}]})), "b");
    let selective = pod("p", json!({"nodeSelector": {"kubernetes.io/hostname": "c"}}));
    let message = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
    check(&[node("a", json!({}))], &[], &selective, message);
}

#[test]
fn host_ports_are_taken_once() {
    let with_port = |name| {
        pod(
            name,
            json!({"containers": [{"name": "c", "ports": [
        {"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]}]}),
        )
    };
    let nodes = [node("a", json!({}))];
    let message = "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.";
    check(&nodes, &[(with_port("x"), "a")], &with_port("p"), message);
}

#[test]
fn near_and_far() {
    let nodes = [node("a", json!({})), node("b", json!({}))];
    let term = |app: &str| {
        json!([{"topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app": app}}}])
    };
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let near = pod("p", json!({"affinity": {"podAffinity": {required: term("x")}}}));
    check(&nodes, &[(pod("x", json!({})), "b")], &near, "b");
    check(&nodes, &[], &near, "0/2 nodes are available: 2 node(s) didn't match pod affinity rules.");
    let far = |name| pod(name, json!({"affinity": {"podAntiAffinity": {required: term("p")}}}));
    check(&nodes, &[(far("p-1"), "a")], &far("p-2"), "b");
    let both = [(far("p-1"), "a"), (far("p-2"), "b")];
    check(&nodes, &both, &far("p-3"), "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.");
    let message = "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules.";
    check(&nodes, &both, &pod("p-3", json!({})), message);
    let itself = pod("p-1", json!({"affinity": {"podAffinity": {required: term("p")}}}));
    assert!(["a", "b"].contains(&find(&nodes, &[], &itself, &Objects::default()).as_str()));
}

#[test]
fn spread_evenly() {
    let nodes = [node("a", json!({})), node("b", json!({}))];
    let spread = |name| {
        pod(
            name,
            json!({"topologySpreadConstraints": [{"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
        "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "p"}}}]}),
        )
    };
    check(&nodes, &[(spread("p-1"), "a")], &spread("p-2"), "b");
    let placed = [(spread("p-1"), "a"), (spread("p-2"), "b"), (spread("p-3"), "b")];
    check(&nodes, &placed, &spread("p-4"), "a");
}

#[test]
fn preemption_takes_the_least_important() {
    let nodes = [node("a", json!({})), node("b", json!({}))];
    let with = |name, priority: i32, amount| pod(name, json!({"priority": priority, "containers": cpu(amount)}));
    let placed = [(with("x", 5, "2"), "a"), (with("y", 1, "1"), "b"), (with("z", 2, "1"), "b")];
    check(&nodes, &placed, &with("p", 10, "1"), "preempt y on b");
    check(&nodes, &placed, &with("p", 10, "2"), "preempt z,y on b");
    check(&nodes, &placed, &with("p", 1, "1"), "0/2 nodes are available: 2 Insufficient cpu.");
}

#[test]
fn preemption_counts_from_the_lowest_priority_and_the_unstarted_as_the_youngest() {
    let nodes = [node("a", json!({})), node("b", json!({}))];
    let with = |name, priority: i32, amount| pod(name, json!({"priority": priority, "containers": cpu(amount)}));
    // Two of a negative priority are more than one, and the highest of both nodes is the same.
    let placed = [(with("x", -1, "1"), "a"), (with("y", -5, "1"), "a"), (with("z", -1, "2"), "b")];
    check(&nodes, &placed, &with("p", 10, "2"), "preempt z on b");
    let started = |name: &str, time: Value| {
        let pod: Arc<Pod> = parse(json!({"metadata": {"name": name, "namespace": "n", "uid": name},
            "spec": {"priority": 1, "containers": cpu("1")}, "status": {"startTime": time}}));
        Arc::new(PodInfo::new(&pod, &mut crate::pod::Sharing::default()))
    };
    let old = started("old", json!("2026-01-01T00:00:00Z"));
    let placed = [(started("new", Value::Null), "a"), (old.clone(), "a")];
    check(&nodes[..1], &placed, &with("p", 10, "1"), "preempt new on a");
    let placed = [(started("new", Value::Null), "b"), (with("q", 20, "1"), "b"), (old, "a"), (with("r", 20, "1"), "a")];
    check(&nodes, &placed, &with("p", 10, "1"), "preempt new on b");
}

#[test]
fn preemption_keeps_budgets_where_it_can() {
    let nodes = [node("a", json!({})), node("b", json!({}))];
    let with = |name, priority: i32, amount| pod(name, json!({"priority": priority, "containers": cpu(amount)}));
    let budget = |app: &str, allowed: i32, disrupted: Value| {
        parse(json!({"metadata": {"name": app, "namespace": "n"},
            "spec": {"selector": {"matchLabels": {"app": app}}},
            "status": {"disruptionsAllowed": allowed, "disruptedPods": disrupted,
                "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}}))
    };
    let given = |budgets: Vec<Arc<PodDisruptionBudget>>| Objects { budgets, ..Objects::default() };
    let wanted = with("p", 10, "1");
    // Less important, but kept by a budget: the other node's goes.
    let placed = [(with("x-1", 1, "2"), "a"), (with("y-1", 5, "2"), "b")];
    assert_eq!(find(&nodes, &placed, &wanted, &given(vec![])), "preempt x-1 on a");
    assert_eq!(find(&nodes, &placed, &wanted, &given(vec![budget("x", 0, Value::Null)])), "preempt y-1 on b");
    assert_eq!(find(&nodes, &placed, &wanted, &given(vec![budget("x", 1, Value::Null)])), "preempt x-1 on a");
    let counted = json!({"x-1": "2026-01-01T00:00:00Z"});
    assert_eq!(find(&nodes, &placed, &wanted, &given(vec![budget("x", 0, counted)])), "preempt x-1 on a");
    // On one node it is put back first, though the other is more important; where nothing else helps it goes.
    let placed = [(with("x-1", 1, "1"), "a"), (with("y-1", 5, "1"), "a")];
    assert_eq!(find(&nodes[..1], &placed, &wanted, &given(vec![budget("x", 0, Value::Null)])), "preempt y-1 on a");
    let large = with("p", 10, "2");
    assert_eq!(find(&nodes[..1], &placed, &large, &given(vec![budget("x", 0, Value::Null)])), "preempt y-1,x-1 on a");
    // What one budget allows is used up by the most important.
    let placed = [(with("x-1", 1, "1"), "a"), (with("x-2", 5, "1"), "a")];
    assert_eq!(find(&nodes[..1], &placed, &wanted, &given(vec![budget("x", 1, Value::Null)])), "preempt x-2 on a");
    // A budget that selects nothing, or in another namespace, keeps nobody.
    let mut foreign = (*budget("x", 0, Value::Null)).clone();
    foreign.metadata.namespace = Some("m".into());
    let mut empty = (*budget("x", 0, Value::Null)).clone();
    empty.spec.as_mut().unwrap().selector = Some(Default::default());
    let others = given(vec![Arc::new(foreign), Arc::new(empty)]);
    assert_eq!(find(&nodes[..1], &placed, &wanted, &others), "preempt x-1 on a");
}

#[test]
fn preemption_leaves_room_for_those_who_were_promised_it() {
    let nodes = [node("a", json!({})), node("b", json!({}))];
    let with = |name, priority: i32, amount| pod(name, json!({"priority": priority, "containers": cpu(amount)}));
    let placed = [(with("x", 1, "2"), "a"), (with("y", 2, "2"), "b")];
    let (mut cache, objects) = (Cache::default(), Objects::default());
    nodes.iter().for_each(|node| cache.set_node(parse(node.clone())));
    placed.iter().for_each(|(pod, node)| cache.set_pod(pod.clone(), node));
    let (first, second) = (with("p", 10, "2"), with("q", 10, "2"));
    let nominated: Nominated = [(first.uid.clone(), (first, "a".to_string()))].into();
    let error =
        Finder::default().find(&second, &cache, &objects, &nominated, &mut || 0, &mut |_, _| ()).expect_err("no node");
    assert_eq!(preemption::plan(&second, &cache, &objects, &error, &nominated).unwrap().node, "b");
}

/// The whole message of a pod that no node takes.
fn refusal(nodes: &[Value], placed: &[(Arc<PodInfo>, &str)], wanted: &Arc<PodInfo>, promised: Option<&str>) -> String {
    let (mut cache, objects) = (Cache::default(), Objects::default());
    nodes.iter().for_each(|node| cache.set_node(parse(node.clone())));
    placed.iter().for_each(|(pod, node)| cache.set_pod(pod.clone(), node));
    let error = Finder::default()
        .find(wanted, &cache, &objects, &Nominated::new(), &mut || 0, &mut |_, _| ())
        .expect_err("no node");
    let nominated = promised.map(|node| (wanted.uid.clone(), (wanted.clone(), node.to_string()))).into_iter().collect();
    let why = preemption::plan(wanted, &cache, &objects, &error, &nominated).expect_err("no preemption");
    error.message(Some(&why))
}

#[test]
fn a_refusal_ends_with_what_preemption_says() {
    let with = |name: &str, spec: Value| {
        let mut whole = json!({"containers": cpu("2")});
        spec.as_object().into_iter().flatten().for_each(|(field, value)| whole[field] = value.clone());
        pod(name, whole)
    };
    let nodes = [node("a", json!({})), node("b", json!({})), node("c", json!({"unschedulable": true}))];
    let small = |name, priority: i32| with(name, json!({"priority": priority, "containers": cpu("1")}));
    let placed = [(with("x", json!({})), "a"), (small("y", -5), "b"), (small("z", 0), "b")];
    let lines = "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu. no new claims to deallocate, \
        preemption: 0/3 nodes are available: ";
    let big = with("p", json!({}));
    let expect = "1 Insufficient cpu, 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.";
    assert_eq!(refusal(&nodes, &placed, &big, None), format!("{lines}{expect}"));
    let never = with("p", json!({"preemptionPolicy": "Never"}));
    let end = "no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never.";
    assert!(refusal(&nodes, &placed, &never, None).ends_with(end));
    let many: Vec<Value> = (0..12).map(|n| node(&format!("n{n}"), json!({"unschedulable": true}))).collect();
    let end = "preemption: 0/12 nodes are available: 12 Preemption is not helpful for scheduling.";
    assert!(refusal(&many, &[], &with("p", json!({})), None).ends_with(end));
}

#[test]
fn nobody_more_has_to_go_while_the_last_ones_end() {
    let nodes = [node("a", json!({}))];
    let ending: Arc<Pod> = parse(json!({"metadata": {"name": "x", "namespace": "n", "uid": "x",
            "deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"priority": -1, "containers": cpu("2")},
        "status": {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]}}));
    let ending = Arc::new(PodInfo::new(&ending, &mut crate::pod::Sharing::default()));
    let wanted = pod("p", json!({"containers": cpu("2")}));
    let end = "preemption: not eligible due to a terminating pod on the nominated node.";
    assert!(refusal(&nodes, &[(ending.clone(), "a")], &wanted, Some("a")).ends_with(end));
    assert_eq!(find(&nodes, &[(ending, "a")], &wanted, &Objects::default()), "preempt x on a");
}

#[test]
fn volumes_decide() {
    let nodes = [node("a", json!({})), node("b", json!({}))];
    let wanted = pod("p", json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}));
    let claim = |spec: Value, phase| {
        parse(json!({"metadata": {"name": "c", "namespace": "n"}, "spec": spec,
        "status": {"phase": phase}}))
    };
    let mut objects = Objects::default();
    let message = "0/2 nodes are available: persistentvolumeclaim \"c\" not found.";
    assert_eq!(find(&nodes, &[], &wanted, &objects), message);
    objects.claims = vec![claim(json!({"storageClassName": "now"}), "Pending")];
    let message = "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims.";
    assert_eq!(find(&nodes, &[], &wanted, &objects), message);
    objects.classes = vec![parse(json!({"metadata": {"name": "now"}, "provisioner": "local",
        "volumeBindingMode": "WaitForFirstConsumer"}))];
    assert!(["a", "b"].contains(&find(&nodes, &[], &wanted, &objects).as_str()));
    objects.claims = vec![claim(json!({"volumeName": "v"}), "Bound")];
    objects.volumes = vec![parse(json!({"metadata": {"name": "v"}, "spec": {"nodeAffinity": {"required": {
        "nodeSelectorTerms": [{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": ["b"]}]}]}}}}))];
    assert_eq!(find(&nodes, &[], &wanted, &objects), "b");
}

#[test]
fn declared_features() {
    let wanted =
        pod("p", json!({"containers": [{"name": "c", "restartPolicyRules": [{"action": "RestartAllContainers"}]}]}));
    let mut able = node("a", json!({}));
    able["status"]["declaredFeatures"] = json!(["RestartAllContainersOnContainerExits"]);
    check(&[node("b", json!({})), able], &[], &wanted, "a");
    let none = "0/1 nodes are available: 1 node(s) didn't match Pod's required features.";
    check(&[node("b", json!({}))], &[], &wanted, none);
}
