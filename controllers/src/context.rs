//! What every controller is handed.

use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use client::{Action, Clock, Controller, EventRecorder, Informers, ObjectKey, WorkQueue};
use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use metrics::Collect;
use tokio_util::sync::CancellationToken;

use crate::Config;

/// Controllers whose queues have another name in the reference's metrics.
const QUEUES: &[(&str, &str)] = &[
    ("clusterrole-aggregation", "ClusterRoleAggregator"),
    ("csrapproving", "certificate"),
    ("csrsigning", "certificate"),
    ("endpoints", "endpoint"),
    ("endpointslice", "endpoint_slice"),
    ("endpointslicemirroring", "endpoint_slice_mirroring"),
    ("ephemeral-volume", "ephemeral_volume"),
    ("garbage", "garbage_collector_attempt_to_delete"),
    ("job-strays", "job_orphan_pod"),
    ("node-lifecycle", "node_lifecycle_controller"),
    ("pod-gc", "orphaned_pods_nodes"),
    ("pv-protection", "pvprotection"),
    ("pvc-protection", "pvcprotection"),
    ("replicationcontroller", "replicationmanager"),
    ("resource-claim", "resource_claim"),
    ("resource-quota", "resourcequota_primary"),
    ("root-ca", "root_ca_cert_publisher"),
    ("service-cidr", "ipaddresses"),
    ("taint-eviction", "noexec_taint_pod"),
    ("tokens", "serviceaccount_tokens_service"),
    ("ttl-after-finished", "ttl_jobs_to_delete"),
    ("vac-protection", "vacprotection"),
];

/// The tools of one controller, under its own identity.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) informers: Informers,
    pub(crate) clock: Clock,
    pub(crate) events: EventRecorder,
    pub(crate) config: Arc<Config>,
    pub(crate) token: CancellationToken,
}

impl Context {
    /// The API of a namespaced kind.
    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The API of a kind over all namespaces, or of a cluster-scoped kind.
    pub(crate) fn api_all<K: Resource<DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.client.clone())
    }

    /// The families of a sort, which whoever counts in them shares.
    pub(crate) fn figures<F: Collect + Default + 'static>(&self) -> Arc<F> {
        self.informers.metrics().families()
    }

    /// A queue of object keys.
    pub(crate) fn queue(&self) -> WorkQueue<ObjectKey> {
        WorkQueue::new(self.clock.clone())
    }

    /// Works on the keys of `queue` until the context's token is cancelled.
    pub(crate) async fn run<F, Fut, E>(&self, name: &'static str, queue: WorkQueue<ObjectKey>, workers: usize, sync: F)
    where
        F: Fn(ObjectKey) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Action, E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        self.controller(name, queue, workers).run(self.token.clone(), sync).await;
    }

    /// A controller whose queue is counted under the name that the reference gives it.
    pub(crate) fn controller<T>(&self, name: &'static str, queue: WorkQueue<T>, workers: usize) -> Controller<T>
    where
        T: Clone + Eq + Hash + Debug + Send + Sync + 'static,
    {
        let counted = QUEUES.iter().find(|(own, _)| *own == name).map_or(name, |(_, counted)| counted);
        Controller::new(name, queue, workers).counted(counted, self.informers.metrics())
    }
}
