//! A control plane, a namespace, and a node whose agent only pretends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{Clock, Informers};
use coracle::{Cluster, ClusterConfig};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// A control plane of a test's own.
pub(crate) struct Plane {
    _cluster: Cluster,
    /// The administrator's client.
    pub client: Client,
    agent: CancellationToken,
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.agent.cancel();
    }
}

impl Plane {
    /// A control plane with one node and the namespace `t`.
    pub(crate) async fn start() -> Self {
        let cluster = Cluster::start(ClusterConfig::in_memory()).await.expect("a control plane");
        let client = cluster.client();
        let agent = CancellationToken::new();
        pretend_node(&client, "n1").await;
        pretend_agent(&client, &agent);
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let namespace = from(json!({"metadata": {"name": "t"}}));
        namespaces.create(&PostParams::default(), &namespace).await.expect("a namespace");
        let plane = Self { _cluster: cluster, client, agent };
        let accounts = plane.api::<ServiceAccount>();
        eventually("the default service account", async || {
            accounts.get_opt("default").await.expect("an answer").is_some()
        })
        .await;
        plane
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), "t")
    }

    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + serde::Serialize
            + serde::de::DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        self.api::<K>().create(&PostParams::default(), &from(object)).await.expect("it is created")
    }

    pub(crate) async fn pods(&self, labels: &str) -> Vec<Pod> {
        self.api::<Pod>().list(&ListParams::default().labels(labels)).await.expect("pods").items
    }
}

/// A typed object.
pub(crate) fn from<K: serde::de::DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).expect("an object of its kind")
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Makes a node that nobody runs.
pub(crate) async fn pretend_node(client: &Client, name: &str) {
    let node = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}});
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.create(&PostParams::default(), &from(node)).await.expect("a node");
    let room = json!({"cpu": "64", "memory": "64Gi", "pods": "1000", "ephemeral-storage": "100Gi"});
    let status = json!({"status": {"capacity": room, "allocatable": room,
        "conditions": [{"type": "Ready", "status": "True", "reason": "Pretended", "message": "",
            "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.expect("a status");
}

/// Makes pods run that are bound to a node, and lets go those that end. Pods labelled `ends` succeed or fail at once.
fn pretend_agent(client: &Client, token: &CancellationToken) {
    let informers = Informers::new(client.clone(), Clock::system(), token.clone());
    let (seen, mut pods) = tokio::sync::mpsc::unbounded_channel::<Arc<Pod>>();
    informers.of::<Pod>().on_change(move |change| {
        if !change.is_delete() {
            // The agent may have ended with the test.
            let _ = seen.send(change.object().clone());
        }
    });
    let client = client.clone();
    tokio::spawn(async move {
        let mut number = 0;
        while let Some(pod) = pods.recv().await {
            let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
            let bound = pod.spec.as_ref().is_some_and(|s| s.node_name.is_some());
            let phase = pod.status.as_ref().and_then(|s| s.phase.clone()).unwrap_or_default();
            if pod.metadata.deletion_timestamp.is_some() {
                // It is told of twice where a finalizer held it.
                let _ = api.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await;
            } else if bound && phase == "Pending" {
                number += 1;
                let status = running(&pod, number);
                let _ = api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await;
            }
        }
    });
}

fn running(pod: &Pod, number: u32) -> Value {
    let ends = pod.labels().get("ends").map_or("Running", String::as_str);
    let ready = if ends == "Running" { "True" } else { "False" };
    let ip = format!("10.0.{}.{}", number / 250, number % 250 + 1);
    json!({"status": {"phase": ends, "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}})
}
