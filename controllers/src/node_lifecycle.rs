//! Nodes that stop renewing their lease, and taints that follow from a node's conditions.

mod eviction;
mod health;
mod taints;
mod zones;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use api::conditions;
use client::{Action, EventType, Informer, ObjectKey, Selection, WorkQueue};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, PostParams};
use metrics::{Collect, Counter, Text};
use parking_lot::Mutex;
use serde_json::json;

use crate::context::Context;
use crate::error::{Result, ignore_not_found, is_conflict, is_not_found};
use crate::figures::Nodes as Figures;
use crate::pod::is_ready;
pub(crate) use eviction::run as run_eviction;
use health::Health;
use taints::Execute;
use zones::{Turn, Zones};

/// Nodes worked on at a time.
const WORKERS: usize = 4;
/// How long a node that is not ready waits before it may lose its pods, so that nodes that fail together are seen
/// together (`--node-monitor-period`).
const SETTLE: Duration = Duration::from_secs(5);
/// How many zones are kept apart in the metrics.
const ZONES_MAX: usize = 1_024;
/// The namespace of the nodes' leases.
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// Labels that nodes have under an older name too (`labelReconcileInfo`).
const LABELS: &[(&str, &str)] =
    &[("kubernetes.io/os", "beta.kubernetes.io/os"), ("kubernetes.io/arch", "beta.kubernetes.io/arch")];
/// The index of pods by node.
pub(crate) const BY_NODE: &str = "by-node";

/// The node of a pod, for the index.
pub(crate) fn by_node(pod: &Pod) -> Vec<String> {
    pod.spec.as_ref().and_then(|s| s.node_name.clone()).filter(|n| !n.is_empty()).into_iter().collect()
}

struct Nodes {
    context: Context,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    health: Health,
    zones: Mutex<Zones>,
    /// The nodes themselves, and the zones in which some are to lose their pods.
    queue: WorkQueue<ObjectKey>,
    evictions: WorkQueue<ObjectKey>,
    /// The nodes whose pods have to be told that their node is not ready.
    untold: Mutex<HashSet<String>>,
    /// The nodes that were seen, with their uids.
    known: Mutex<HashMap<String, String>>,
}

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let (queue, evictions) = (context.queue(), context.queue());
    let nodes = context.informers.of::<Node>();
    let selection = Selection { fields: Some(format!("metadata.namespace={LEASE_NAMESPACE}")), labels: None };
    let leases = context.informers.selected::<Lease>(selection);
    let pods = context.informers.of::<Pod>();
    pods.add_index(BY_NODE, by_node);
    let to = queue.clone();
    nodes.on_change(move |change| to.add(ObjectKey::of(&**change.object())));
    nodes.wait_synced().await;
    leases.wait_synced().await;
    pods.wait_synced().await;
    let controller = Arc::new(Nodes {
        health: Health::new(context.clock.clone(), leases),
        context: context.clone(),
        nodes,
        pods,
        zones: Mutex::default(),
        queue: queue.clone(),
        evictions: evictions.clone(),
        untold: Mutex::default(),
        known: Mutex::default(),
    });
    controller.begin();
    context.informers.metrics().register(Arc::new(ZoneSizes(Arc::downgrade(&controller))));
    let evicts = controller.clone();
    let evictions = context.run("node-evictions", evictions, 1, move |zone| {
        let controller = evicts.clone();
        async move { controller.evict_from(&zone.name).await }
    });
    let nodes = context.run("node-lifecycle", queue, WORKERS, move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    });
    tokio::join!(nodes, evictions);
}

/// How the zones are, when somebody asks (`handleDisruption`).
struct ZoneSizes(Weak<Nodes>);

impl Collect for ZoneSizes {
    fn collect(&self, text: &mut Text) {
        let Some(nodes) = self.0.upgrade() else { return };
        let sizes = nodes.zones.lock().sizes();
        for (zone, ready, unready) in sizes.into_iter().take(ZONES_MAX) {
            let (labels, all) = ([("zone", zone.as_str())], ready + unready);
            let health = if all == 0 { 100.0 } else { 100.0 * ready as f64 / all as f64 };
            text.value("node_collector_zone_size", &labels, all as f64);
            text.value("node_collector_zone_health", &labels, health);
            text.value("node_collector_unhealthy_nodes_in_zone", &labels, unready as f64);
        }
    }
}

fn condition<'a>(node: &'a Node, type_: &str) -> Option<&'a NodeCondition> {
    conditions::find(node.status.as_ref()?.conditions.iter().flatten(), type_)
}

fn ready(node: &Node) -> Option<&str> {
    condition(node, "Ready").map(|c| c.status.as_str())
}

impl Nodes {
    /// Judges the zones by all nodes that there are, and not by the first one that is worked on.
    fn begin(&self) {
        let mut zones = self.zones.lock();
        for node in self.nodes.list() {
            zones.note(&node);
            // Whether its pods were told is not known: the last run may have ended just then.
            if ready(&node) == Some("Unknown") {
                self.untold.lock().insert(node.name_any());
            }
        }
        zones.judge();
    }

    /// A healthy node is looked at once in a grace period, not at each of its leases: an idle cluster stays idle.
    async fn sync(&self, key: ObjectKey) -> Result<Action> {
        let started = self.context.clock.elapsed();
        let synced = self.sync_one(key).await;
        let took = self.context.clock.elapsed().saturating_sub(started).as_secs_f64();
        self.context.figures::<Figures>().health_durations.with([], |durations| durations.observe(took));
        synced
    }

    async fn sync_one(&self, key: ObjectKey) -> Result<Action> {
        let Some(node) = self.nodes.get_key(&key) else {
            self.forget(&key.name);
            return Ok(Action::Done);
        };
        self.greet(&node);
        let left = self.health.left(&node);
        let node = if left.is_zero() { Arc::new(self.mark_unknown(&node).await?) } else { node };
        self.judge(Some(&node));
        self.taint(&node, self.execute(&node)).await?;
        self.label(&node).await?;
        let untold = self.untold.lock().contains(&key.name);
        if untold {
            if ready(&node) != Some("True") {
                self.tell_pods(&key.name).await?;
            }
            self.untold.lock().remove(&key.name);
        }
        Ok(Action::after(Some(if left.is_zero() { health::GRACE } else { left })))
    }

    fn greet(&self, node: &Node) {
        let uid = node.uid().unwrap_or_default();
        let before = self.known.lock().insert(node.name_any(), uid.clone());
        if before.as_ref() != Some(&uid) {
            let name = node.name_any();
            self.record(&name, &uid, "RegisteredNode", &format!("event: Registered Node {name} in Controller"));
        }
    }

    fn forget(&self, name: &str) {
        self.health.forget(name);
        self.untold.lock().remove(name);
        self.zones.lock().forget(name);
        self.judge(None);
        let known = self.known.lock().remove(name);
        if let Some(uid) = known {
            self.record(name, &uid, "RemovingNode", &format!("event: Removing Node {name} from Controller"));
        }
    }

    fn record(&self, name: &str, uid: &str, reason: &str, said: &str) {
        let about = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            name: Some(name.into()),
            uid: Some(uid.into()),
            ..ObjectReference::default()
        };
        self.context.events.event_about(about, EventType::Normal, reason, format!("Node {name} {said}"));
    }

    /// Takes in how a node is now, and looks at all others if that changes what becomes of them.
    fn judge(&self, news: Option<&Node>) {
        let mut zones = self.zones.lock();
        if let Some(node) = news {
            zones.note(node);
        }
        let turn = zones.judge();
        let waiting = zones.waiting();
        drop(zones);
        // A zone that was too disrupted may go on by now.
        waiting.into_iter().for_each(|zone| self.evictions.add(ObjectKey::cluster(zone)));
        match turn {
            Turn::None => return,
            Turn::Stopped => tracing::warn!("no node is ready: nothing is evicted until one is"),
            Turn::Resumed => {
                tracing::info!("some node is ready again: evictions go on");
                self.health.begin_again();
            }
        }
        self.nodes.list().iter().for_each(|node| self.queue.add(ObjectKey::of(&**node)));
    }

    /// What becomes of the taint that makes the pods of a node leave.
    fn execute(&self, node: &Node) -> Execute {
        let (name, mut zones) = (node.name_any(), self.zones.lock());
        if taints::executes(node).is_none() || zones.are_stopped() {
            zones.dequeue(&name);
            let clears = ready(node).is_some() || zones.are_stopped();
            return if clears { Execute::Clear } else { Execute::Keep };
        }
        if taints::is_executing(node) {
            zones.dequeue(&name);
        } else if let Some(zone) = zones.enqueue(&name, self.context.clock.elapsed()) {
            self.evictions.add(ObjectKey::cluster(zone));
        }
        Execute::Keep
    }

    /// Lets the next node of a zone lose its pods, as fast as the zone's state allows.
    async fn evict_from(&self, zone: &str) -> Result<Action> {
        let now = self.context.clock.elapsed();
        let next = self.zones.lock().next(zone, SETTLE, now);
        let name = match next {
            None => return Ok(Action::Done),
            Some(Err(wait)) => return Ok(Action::RequeueAfter(wait)),
            Some(Ok(name)) => name,
        };
        match self.nodes.get("", &name).filter(|node| taints::executes(node).is_some()) {
            Some(node) => {
                self.taint(&node, Execute::Add).await?;
                let mut zones = self.zones.lock();
                if let Some(zone) = zones.of(&name) {
                    self.context.figures::<Figures>().evictions.with([zone], Counter::add_one);
                }
                zones.went(&name, now);
            }
            None => self.zones.lock().dequeue(&name),
        }
        Ok(Action::Retry)
    }

    async fn taint(&self, node: &Node, execute: Execute) -> Result<()> {
        let now = Time(self.context.clock.now());
        let Some(wanted) = taints::wanted(node, execute, &now) else { return Ok(()) };
        let version = node.resource_version();
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"taints": wanted}});
        let api = self.context.api_all::<Node>();
        ignore_not_found(api.patch(&node.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await)?;
        Ok(())
    }

    /// Gives a node the older names of its labels too (`reconcileNodeLabels`).
    async fn label(&self, node: &Node) -> Result<()> {
        let labels = node.labels();
        let missing = LABELS.iter().filter_map(|(name, older)| {
            let value = labels.get(*name)?;
            (labels.get(*older) != Some(value)).then(|| ((*older).to_owned(), json!(value)))
        });
        let missing: serde_json::Map<String, serde_json::Value> = missing.collect();
        if !missing.is_empty() {
            let patch = Patch::Merge(json!({"metadata": {"labels": missing}}));
            let api = self.context.api_all::<Node>();
            ignore_not_found(api.patch(&node.name_any(), &PatchParams::default(), &patch).await)?;
        }
        Ok(())
    }

    /// Says of a node that gave no sign that nobody knows how it is.
    async fn mark_unknown(&self, node: &Node) -> Result<Node> {
        let Some(changed) = health::unknown(node, &Time(self.context.clock.now())) else { return Ok(node.clone()) };
        let name = node.name_any();
        let api = self.context.api_all::<Node>();
        let written = api.replace_status(&name, &PostParams::default(), &changed).await?;
        if ready(node) == Some("True") {
            self.untold.lock().insert(name.clone());
            self.record(&name, &node.uid().unwrap_or_default(), "NodeNotReady", "status is now: NodeNotReady");
        }
        Ok(written)
    }

    /// Pods of a node that nobody hears of are not ready (`MarkPodsNotReady`). A node that says itself that it is not ready
    /// says of its pods what they are.
    async fn tell_pods(&self, node: &str) -> Result<()> {
        let now = Time(self.context.clock.now());
        for pod in self.pods.indexed(BY_NODE, node).iter().filter(is_ready) {
            let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [
                {"type": "Ready", "status": "False", "lastTransitionTime": now}]}});
            let api = self.context.api::<Pod>(&pod.namespace().unwrap_or_default());
            match api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(patch)).await {
                Err(error) if is_not_found(&error) || is_conflict(&error) => continue,
                other => other?,
            };
            self.context.events.event(&**pod, EventType::Warning, "NodeNotReady", "Node is not ready");
        }
        Ok(())
    }
}
