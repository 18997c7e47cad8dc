//! The Node object: registered at start, kept true, with a lease as its heartbeat.
//!
//! What the agent tells of the node is compared with what the API shows, so that it is put right whoever changed it.

mod runtime;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::{catalogue::Catalogue, patch::strategic};
use client::{EventType, Informer, Lease, Selection, informer::drop_managed_fields};
use futures::future::BoxFuture;
use k8s_openapi::{
    api::core::v1::{
        DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus, NodeSystemInfo,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{agent::Agent, events};
use runtime::{Facts, RuntimeHealth};

/// How often the lease is renewed.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long the lease says that the node is alive.
const LEASE_DURATION: Duration = Duration::from_secs(40);
/// The namespace of the leases of nodes.
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// How often facts that no event tells of (images, disk) are looked at again.
const RESYNC: Duration = Duration::from_secs(300);
/// How often the runtime is asked how it is (`updateRuntimeUp` in pkg/kubelet).
const RUNTIME_LOOK: Duration = Duration::from_secs(5);
/// The shortest time between two writes that undo what others wrote.
const RECONCILE_PAUSE: Duration = Duration::from_secs(1);
/// Pause after the API server did not take the node.
const RETRY: Duration = Duration::from_millis(100);
/// How long the network may take to come up before the node is registered as not ready.
const NETWORK_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two looks whether the network is up.
const NETWORK_PAUSE: Duration = Duration::from_millis(10);

/// The features of 1.36 that the API server and the scheduler ask a node for before they let pods use them there
/// (`AllFeatures` in k8s.io/component-helpers/nodedeclaredfeatures), in order.
const DECLARED_FEATURES: [&str; 4] = [
    "ExtendWebSocketsToKubelet",
    "InPlacePodLevelResourcesVerticalScaling",
    "InPlacePodVerticalScalingInitContainers",
    "RestartAllContainersOnContainerExits",
];

/// The node of this agent.
pub struct NodeObject {
    agent: Arc<Agent>,
    api: Api<Node>,
    written: Mutex<Option<NodeStatus>>,
    runtime: Mutex<RuntimeHealth>,
    uid: Mutex<Option<String>>,
}

impl NodeObject {
    /// The node of this agent, not registered yet.
    pub fn new(agent: Arc<Agent>) -> Self {
        let api = Api::all(agent.client.clone());
        Self { api, agent, written: Mutex::default(), runtime: Mutex::default(), uid: Mutex::default() }
    }

    fn name(&self) -> &str {
        &self.agent.config.node_name
    }

    /// Creates the Node, or brings the one of this name up to date; tries until the API server takes it.
    pub fn register(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.wait_for_network().await;
            loop {
                match self.try_register().await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(node = self.name(), %error, "cannot register the node"),
                }
                self.agent.config.clock.sleep(RETRY).await;
            }
        })
    }

    async fn wait_for_network(&self) {
        let up = async {
            while self.trouble().await.is_some() {
                tokio::time::sleep(NETWORK_PAUSE).await;
            }
        };
        let _ = tokio::time::timeout(NETWORK_TIMEOUT, up).await;
    }

    /// Why the runtime cannot run pods.
    async fn trouble(&self) -> Option<String> {
        let conditions = runtime::in_time(self.agent.cri.status()).await;
        self.runtime.lock().judge(self.agent.config.clock.elapsed(), conditions.as_deref())
    }

    async fn try_register(&self) -> Result<(), kube::Error> {
        let status = self.status(None).await;
        let node = Node {
            metadata: ObjectMeta {
                name: Some(self.name().to_owned()),
                labels: Some(self.labels()),
                annotations: Some(BTreeMap::from([(
                    "volumes.kubernetes.io/controller-managed-attach-detach".to_owned(),
                    "true".to_owned(),
                )])),
                ..Default::default()
            },
            spec: Some(NodeSpec::default()),
            status: Some(status.clone()),
        };
        let (node, was_ready) = match self.api.create(&PostParams::default(), &node).await {
            Ok(created) => {
                *self.written.lock() = created.status.clone().map(|_| status);
                (created, false)
            }
            Err(kube::Error::Api(answer)) if answer.is_already_exists() => {
                let patch = json!({"metadata": {"labels": self.labels()}});
                let known = self.api.patch(self.name(), &PatchParams::default(), &Patch::Strategic(patch)).await?;
                let status = self.status(known.status.as_ref()).await;
                self.write(status).await?;
                let was_ready = known.status.as_ref().is_some_and(says_ready);
                (known, was_ready)
            }
            Err(error) => return Err(error),
        };
        *self.uid.lock() = node.metadata.uid.clone();
        let reference = events::node(&node);
        self.agent.recorder.event_about(reference.clone(), EventType::Normal, "Starting", "Starting kubelet.");
        if self.is_ready() && !was_ready {
            let message = format!("Node {} status is now: NodeReady", self.name());
            self.agent.recorder.event_about(reference, EventType::Normal, "NodeReady", message);
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.written.lock().as_ref().is_some_and(says_ready)
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let architecture = &self.agent.machine.info.architecture;
        let mut labels = self.agent.config.node_labels.clone();
        for (key, value) in [
            ("kubernetes.io/hostname", self.name()),
            ("kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", architecture),
            ("beta.kubernetes.io/os", "linux"),
            ("beta.kubernetes.io/arch", architecture),
        ] {
            labels.insert(key.to_owned(), value.to_owned());
        }
        labels
    }

    /// Renews the lease and looks at the node again from time to time, until cancelled.
    pub fn keep(&self, cancel: CancellationToken) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let config = &self.agent.config;
            let owner = OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                name: config.node_name.clone(),
                uid: self.uid.lock().clone().unwrap_or_default(),
                ..Default::default()
            };
            let lease = Lease::new(
                self.agent.client.clone(),
                LEASE_NAMESPACE,
                &config.node_name,
                &config.node_name,
                LEASE_DURATION,
                config.clock.clone(),
            );
            let heartbeat = lease.owned_by(owner).heartbeat(HEARTBEAT, cancel.clone());
            let resync = async {
                loop {
                    config.clock.sleep(RESYNC).await;
                    self.refresh().await;
                }
            };
            tokio::select! {
                () = heartbeat => {}
                () = resync => {}
                () = self.watch_runtime() => {}
                () = self.watch_object(cancel) => {}
            }
        })
    }

    /// Looks at the runtime again and again: one that hangs tells of nothing.
    async fn watch_runtime(&self) {
        loop {
            self.agent.config.clock.sleep(RUNTIME_LOOK).await;
            let trouble = self.trouble().await;
            if trouble.is_none() != self.is_ready() {
                self.refresh().await;
            }
        }
    }

    /// Puts right what others write to the node.
    async fn watch_object(&self, cancel: CancellationToken) {
        let selection = Selection { fields: Some(format!("metadata.name={}", self.name())), labels: None };
        let clock = self.agent.config.clock.clone();
        let api = self.api.clone();
        let nodes: Informer<Node> = Informer::start(api, selection, drop_managed_fields, clock.clone(), cancel);
        let changed = Arc::new(Notify::new());
        let notify = changed.clone();
        nodes.on_change(move |_| notify.notify_one());
        loop {
            changed.notified().await;
            if let Some(node) = nodes.list().into_iter().find(|node| node.metadata.name.as_deref() == Some(self.name()))
            {
                self.reconcile(&node).await;
                clock.sleep(RECONCILE_PAUSE).await;
            }
        }
    }

    /// Writes what was last told of the node if the API shows something else.
    async fn reconcile(&self, node: &Node) {
        let Some(written) = self.written.lock().clone() else { return };
        if !shows(node, &written) {
            tracing::info!(node = self.name(), "another has changed the node's status; writing it again");
            // From what is shown, so that a condition that another changed says that the agent is alive now.
            let status = self.status(node.status.as_ref()).await;
            if let Err(error) = self.write(status).await {
                tracing::warn!(node = self.name(), %error, "cannot write the node's status");
            }
        }
    }

    /// Writes the status if it has changed.
    pub fn refresh(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let written = self.written.lock().clone();
            let status = self.status(written.as_ref()).await;
            if written.as_ref() == Some(&status) {
                return;
            }
            let was_ready = self.is_ready();
            if let Err(error) = self.write(status).await {
                tracing::warn!(node = self.name(), %error, "cannot write the node's status");
                return;
            }
            if was_ready != self.is_ready() {
                let (reason, node) = (if was_ready { "NodeNotReady" } else { "NodeReady" }, self.name());
                let reference = events::node(&Node {
                    metadata: ObjectMeta { name: Some(node.to_owned()), ..Default::default() },
                    ..Default::default()
                });
                let message = format!("Node {node} status is now: {reason}");
                self.agent.recorder.event_about(reference, EventType::Normal, reason, message);
            }
        })
    }

    async fn write(&self, status: NodeStatus) -> Result<(), kube::Error> {
        let patch = json!({"status": &status});
        self.api.patch_status(self.name(), &PatchParams::default(), &Patch::Strategic(patch)).await?;
        *self.written.lock() = Some(status);
        Ok(())
    }

    async fn status(&self, old: Option<&NodeStatus>) -> NodeStatus {
        let (agent, config) = (&self.agent, &self.agent.config);
        let capacity = agent.machine.capacity(config.max_pods);
        let (facts, conditions) = tokio::join!(Facts::ask(&agent.cri), self.conditions(old));
        // What the runtime does not say now is as it was.
        let info = old.and_then(|old| old.node_info.as_ref());
        let version = facts.version.or_else(|| Some(info?.container_runtime_version.clone())).unwrap_or_default();
        let address = |type_: &str, address: String| NodeAddress { type_: type_.to_owned(), address };
        NodeStatus {
            capacity: Some(capacity.clone()),
            allocatable: Some(capacity),
            addresses: Some(vec![
                address("InternalIP", config.node_ip.to_string()),
                address("Hostname", config.node_name.clone()),
            ]),
            daemon_endpoints: Some(NodeDaemonEndpoints {
                kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(config.server_port) }),
            }),
            node_info: Some(NodeSystemInfo {
                container_runtime_version: version,
                kubelet_version: config.version.clone(),
                kube_proxy_version: String::new(),
                ..agent.machine.info.clone()
            }),
            images: facts.images.or_else(|| old?.images.clone()),
            features: facts.features.or_else(|| old?.features.clone()),
            runtime_handlers: facts.handlers.or_else(|| old?.runtime_handlers.clone()),
            declared_features: Some(DECLARED_FEATURES.map(str::to_owned).to_vec()),
            conditions: Some(conditions),
            ..Default::default()
        }
    }

    async fn conditions(&self, old: Option<&NodeStatus>) -> Vec<NodeCondition> {
        let now = Time(self.agent.config.clock.now());
        let trouble = self.trouble().await;
        let ready = match &trouble {
            None => ("Ready", true, "KubeletReady", "kubelet is posting ready status"),
            Some(message) => ("Ready", false, "KubeletNotReady", message.as_str()),
        };
        let known = old.and_then(|old| old.conditions.as_ref());
        [
            ("MemoryPressure", false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ("DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ready,
        ]
        .into_iter()
        .map(|(type_, holds, reason, message)| {
            let status = if holds { "True" } else { "False" };
            let before = known.into_iter().flatten().find(|c| c.type_ == type_ && c.status == status);
            let same = before.filter(|c| c.reason.as_deref() == Some(reason) && c.message.as_deref() == Some(message));
            NodeCondition {
                type_: type_.to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message.to_owned()),
                last_transition_time: before.and_then(|c| c.last_transition_time.clone()).or(Some(now.clone())),
                // The lease is the heartbeat; the condition's own time only moves when it says something new.
                last_heartbeat_time: same.and_then(|c| c.last_heartbeat_time.clone()).or(Some(now.clone())),
            }
        })
        .collect()
    }
}

fn says_ready(status: &NodeStatus) -> bool {
    api::conditions::is_true(status.conditions.iter().flatten(), "Ready")
}

/// Whether writing a status would change nothing of a node.
fn shows(node: &Node, status: &NodeStatus) -> bool {
    let json = |value| serde_json::to_value(value).unwrap_or_default();
    let catalogue = Catalogue::builtin();
    let (Value::Object(before), Some(resource)) =
        (json(json!({"status": node.status})), catalogue.get("", "v1", "nodes"))
    else {
        return true;
    };
    let mut after = before.clone();
    match strategic::apply(&mut after, json(json!({"status": status})), resource.schema.root()) {
        Ok(()) => before == after,
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_add_is_left_and_what_they_change_is_not() {
        let told = json!({"capacity": {"cpu": "2"}, "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]});
        let status: NodeStatus = serde_json::from_value(told.clone()).expect("a status");
        let check = |change: Value, expected: bool| {
            let mut shown = json!({"metadata": {"name": "n"}, "status": told});
            api::patch::merge::apply(shown.as_object_mut().expect("an object"), json!({"status": change}))
                .expect("merged");
            let node: Node = serde_json::from_value(shown).expect("a node");
            assert_eq!(shows(&node, &status), expected, "{node:?}");
        };
        check(json!({}), true);
        check(json!({"capacity": {"example.com/foo": "5"}}), true);
        let ready = json!({"type": "Ready", "status": "True"});
        check(json!({"conditions": [{"type": "NetworkUnavailable", "status": "False"}, ready]}), true);
        check(json!({"conditions": [{"type": "Ready", "status": "Unknown"}]}), false);
        check(json!({"conditions": null}), false);
        check(json!({"capacity": {"cpu": "4"}}), false);
        check(json!({"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}), false);
    }
}
