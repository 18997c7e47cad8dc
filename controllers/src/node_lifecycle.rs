//! Nodes that stop renewing their lease, and taints that follow from a node's conditions.

mod eviction;
mod taints;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Action, EventType, Informer, ObjectKey, Selection};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, PostParams};
use parking_lot::Mutex;
use serde_json::json;

use crate::context::Context;
use crate::error::{Result, ignore_not_found};
use crate::pod::is_ready;
pub(crate) use eviction::run as run_eviction;

/// Nodes worked on at a time.
const WORKERS: usize = 4;
/// After this time without a sign a node is not known to live (`--node-monitor-grace-period` of the reference).
const GRACE: Duration = Duration::from_secs(50);
/// The same for a node that has never reported (`--node-startup-grace-period`).
const STARTUP_GRACE: Duration = Duration::from_secs(60);
/// The namespace of the nodes' leases.
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// Conditions that are unknown once the node is.
const CONDITIONS: &[&str] = &["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
/// The index of pods by node.
pub(crate) const BY_NODE: &str = "by-node";

/// The node of a pod, for the index.
pub(crate) fn by_node(pod: &Pod) -> Vec<String> {
    pod.spec.as_ref().and_then(|s| s.node_name.clone()).filter(|n| !n.is_empty()).into_iter().collect()
}

/// The last signs of a node, and when we saw them: its own clock does not count.
struct Signs {
    renewed: Option<jiff::Timestamp>,
    heartbeat: Option<jiff::Timestamp>,
    seen: Duration,
}

struct Nodes {
    context: Context,
    nodes: Informer<Node>,
    leases: Informer<Lease>,
    pods: Informer<Pod>,
    signs: Mutex<HashMap<String, Signs>>,
}

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let nodes = context.informers.of::<Node>();
    let leases = context
        .informers
        .selected::<Lease>(Selection { fields: Some(format!("metadata.namespace={LEASE_NAMESPACE}")), labels: None });
    let pods = context.informers.of::<Pod>();
    pods.add_index(BY_NODE, by_node);
    let to = queue.clone();
    nodes.on_change(move |change| to.add(ObjectKey::of(&**change.object())));
    nodes.wait_synced().await;
    leases.wait_synced().await;
    pods.wait_synced().await;
    let controller = Arc::new(Nodes { context: context.clone(), nodes, leases, pods, signs: Mutex::default() });
    context
        .run("node-lifecycle", queue, WORKERS, move |key| {
            let controller = controller.clone();
            async move { controller.sync(key).await }
        })
        .await;
}

fn condition<'a>(node: &'a Node, type_: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == type_)
}

impl Nodes {
    /// A healthy node is looked at once in a grace period, not at each of its leases: an idle cluster stays idle.
    async fn sync(&self, key: ObjectKey) -> Result<Action> {
        let Some(node) = self.nodes.get_key(&key) else {
            self.signs.lock().remove(&key.name);
            return Ok(Action::Done);
        };
        let left = self.left(&node);
        let mut node = node;
        if left.is_zero() {
            node = Arc::new(self.mark_unknown(&node).await?);
        }
        let now = Time(self.context.clock.now());
        if let Some(wanted) = taints::wanted(&node, &now) {
            let api = self.context.api_all::<Node>();
            let patch = json!({
                "metadata": { "resourceVersion": node.resource_version() },
                "spec": { "taints": wanted },
            });
            ignore_not_found(api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await)?;
        }
        if condition(&node, "Ready").is_some_and(|c| c.status != "True") {
            self.mark_pods(&node).await?;
        }
        Ok(Action::after(Some(if left.is_zero() { GRACE } else { left })))
    }

    /// How long until the node is given up, if it gives no further sign.
    fn left(&self, node: &Node) -> Duration {
        let name = node.name_any();
        let lease = self.leases.get(LEASE_NAMESPACE, &name);
        let renewed = lease.and_then(|l| l.spec.as_ref()?.renew_time.as_ref().map(|t| t.0));
        let ready = condition(node, "Ready");
        let heartbeat = ready.and_then(|c| c.last_heartbeat_time.as_ref().map(|t| t.0));
        let now = self.context.clock.elapsed();
        let mut signs = self.signs.lock();
        let last = signs.entry(name).or_insert(Signs { renewed, heartbeat, seen: now });
        // The time at which the lease was renewed, as far as the two clocks agree, and never later than now.
        if last.renewed != renewed || last.heartbeat != heartbeat {
            let newest = renewed.into_iter().chain(heartbeat).max();
            let age = newest.and_then(|t| Duration::try_from(self.context.clock.now().duration_since(t)).ok());
            let age = age.filter(|age| *age < GRACE).unwrap_or_default();
            *last = Signs { renewed, heartbeat, seen: now.saturating_sub(age) };
        }
        let grace = if ready.is_none() { STARTUP_GRACE } else { GRACE };
        grace.saturating_sub(now.saturating_sub(last.seen))
    }

    async fn mark_unknown(&self, node: &Node) -> Result<Node> {
        let now = Time(self.context.clock.now());
        let mut changed = node.clone();
        let created = node.metadata.creation_timestamp.clone();
        let conditions = changed.status.get_or_insert_default().conditions.get_or_insert_default();
        for type_ in CONDITIONS {
            match conditions.iter_mut().find(|c| c.type_ == *type_) {
                Some(c) if c.status == "Unknown" => {}
                Some(c) => {
                    c.status = "Unknown".into();
                    c.reason = Some("NodeStatusUnknown".into());
                    c.message = Some("Kubelet stopped posting node status.".into());
                    c.last_transition_time = Some(now.clone());
                }
                None => conditions.push(NodeCondition {
                    type_: (*type_).into(),
                    status: "Unknown".into(),
                    reason: Some("NodeStatusNeverUpdated".into()),
                    message: Some("Kubelet never posted node status.".into()),
                    last_heartbeat_time: created.clone(),
                    last_transition_time: Some(now.clone()),
                }),
            }
        }
        if changed == *node {
            return Ok(changed);
        }
        self.context.events.event(
            node,
            EventType::Normal,
            "NodeNotReady",
            format!("Node {} status is now: NodeNotReady", node.name_any()),
        );
        let api = self.context.api_all::<Node>();
        Ok(api.replace_status(&node.name_any(), &PostParams::default(), &changed).await?)
    }

    /// Pods of a node that is not ready are not ready either.
    async fn mark_pods(&self, node: &Node) -> Result<()> {
        let now = Time(self.context.clock.now());
        for pod in self.pods.indexed(BY_NODE, &node.name_any()).iter().filter(|p| is_ready(p)) {
            let patch = json!({"status": {"conditions": [
                {"type": "Ready", "status": "False", "lastTransitionTime": now}]}});
            let api = self.context.api::<Pod>(&pod.namespace().unwrap_or_default());
            let patched = api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(patch)).await;
            ignore_not_found(patched)?;
            let said = "Node is not ready";
            self.context.events.event(&**pod, EventType::Warning, "NodeNotReady", said);
        }
        Ok(())
    }
}
