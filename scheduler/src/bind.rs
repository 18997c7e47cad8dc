//! What the scheduler writes: bindings, volumes' claims, conditions, and the deletes of preempted pods.

use std::sync::Arc;
use std::time::Duration;

use client::{Clock, SeriesRecorder};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use metrics::Counter;
use serde_json::json;
use tokio::sync::watch;

use crate::bind_claims::Written;
use crate::cycle::Decision;
use crate::figures::Figures;
use crate::lookup::Caches;
use crate::plugins::dynamic_resources;
use crate::plugins::volume_binding::{Plan, bound_volume};
use crate::pod::PodInfo;
use crate::preemption::Preemption;

/// How long volumes may take to be bound (`BindTimeoutSeconds`).
const VOLUMES_MAX: Duration = Duration::from_secs(600);
/// The annotation that tells a provisioner where a volume is wanted.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// Why a pod was not bound.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    /// The API server refused.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// The request could not be made.
    #[error(transparent)]
    Request(#[from] http::Error),
    /// A value could not be encoded.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The volumes were not bound in time.
    #[error("timed out waiting for volumes to be bound")]
    Volumes,
    /// Something about claims of devices.
    #[error("{0}")]
    Claims(String),
}

/// Writes through the API.
#[derive(Clone)]
pub(crate) struct Binder {
    /// The scheduler that it writes for.
    pub scheduler_name: Arc<str>,
    /// The API.
    pub client: Client,
    /// The time.
    pub clock: Clock,
    /// What waiting for volumes reads.
    pub caches: Arc<Caches>,
    /// Changes with each change of a claim.
    pub claims_changed: watch::Receiver<u64>,
    /// Changes with each change of a claim of devices.
    pub(crate) device_claims_changed: watch::Receiver<u64>,
    /// Events.
    pub(crate) events: SeriesRecorder,
    /// What is counted.
    pub(crate) figures: Arc<Figures>,
}

impl Binder {
    /// Prepares claims of devices and volumes, and binds the pod to the node.
    ///
    /// # Errors
    /// Why it is not bound; what was written for it is taken back.
    pub(crate) async fn bind(&self, pod: &PodInfo, decision: &Decision) -> Result<(), BindError> {
        let mut written = Written::default();
        let bound = self.bind_all(pod, decision, &mut written).await;
        if bound.is_err() {
            self.unreserve(pod, &written).await;
        }
        bound
    }

    async fn bind_all(&self, pod: &PodInfo, decision: &Decision, written: &mut Written) -> Result<(), BindError> {
        let Decision { node, volumes, devices } = decision;
        self.prepare_devices(pod, node, devices, written).await?;
        let begun = self.clock.elapsed();
        if !volumes.is_empty() {
            let bound = self.bind_volumes(pod, node, volumes).await;
            self.counted("PreBind", bound.is_ok(), begun);
            if bound.is_err() {
                self.figures.families.volume_errors.with(["bind"], Counter::add_one);
            }
            bound?;
        }
        let begun = self.clock.elapsed();
        let bound = self.bind_pod(pod, node).await;
        self.counted("Bind", bound.is_ok(), begun);
        bound
    }

    async fn prepare_devices(
        &self,
        pod: &PodInfo,
        node: &str,
        devices: &dynamic_resources::Plan,
        written: &mut Written,
    ) -> Result<(), BindError> {
        if devices.is_empty() {
            return Ok(());
        }
        let begun = self.clock.elapsed();
        let bound = self.bind_claims(pod, node, devices, written).await;
        self.counted("PreBind", bound.is_ok(), begun);
        let of_plugin = |error| match error {
            BindError::Claims(why) => BindError::Claims(format!("running PreBind plugin \"DynamicResources\": {why}")),
            other => other,
        };
        bound.map_err(of_plugin)
    }

    fn counted(&self, point: &str, ok: bool, begun: Duration) {
        let took = self.clock.elapsed().saturating_sub(begun);
        self.figures.point(point, if ok { "Success" } else { "Error" }, took);
    }

    async fn bind_volumes(&self, pod: &PodInfo, node: &str, volumes: &Plan) -> Result<(), BindError> {
        self.prepare(node, volumes).await?;
        let bound = tokio::time::timeout(VOLUMES_MAX, self.wait_bound(pod, volumes)).await;
        bound.map_err(|_| BindError::Volumes)
    }

    async fn bind_pod(&self, pod: &PodInfo, node: &str) -> Result<(), BindError> {
        let (namespace, name) = (pod.namespace(), pod.name());
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": pod.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/binding");
        let request = http::Request::post(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(serde_json::to_vec(&binding)?)?;
        self.client.request::<serde_json::Value>(request).await?;
        Ok(())
    }

    async fn prepare(&self, node: &str, volumes: &Plan) -> Result<(), BindError> {
        let params = PatchParams::default();
        for (volume, claim) in &volumes.bind {
            let meta = &claim.metadata;
            let patch = json!({"spec": {"claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": meta.namespace, "name": meta.name,
                "uid": meta.uid, "resourceVersion": meta.resource_version,
            }}});
            let api: Api<PersistentVolume> = Api::all(self.client.clone());
            api.patch(volume, &params, &Patch::Merge(patch)).await?;
        }
        for claim in &volumes.provision {
            let meta = &claim.metadata;
            let patch = json!({"metadata": {"annotations": {SELECTED_NODE: node}}});
            let namespace = meta.namespace.as_deref().unwrap_or("");
            let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
            api.patch(meta.name.as_deref().unwrap_or(""), &params, &Patch::Merge(patch)).await?;
        }
        Ok(())
    }

    async fn wait_bound(&self, pod: &PodInfo, volumes: &Plan) {
        let mut changed = self.claims_changed.clone();
        let is_bound = |claim: &Arc<PersistentVolumeClaim>| {
            let name = claim.metadata.name.as_deref().unwrap_or("");
            self.caches.claims.get(pod.namespace(), name).is_some_and(|claim| bound_volume(&claim).is_some())
        };
        loop {
            changed.borrow_and_update();
            if volumes.claims().all(is_bound) {
                return;
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Records in the pod's status that it does not fit, and which node it was promised, if that is news.
    ///
    /// # Errors
    /// If the API server refuses.
    pub(crate) async fn mark_unschedulable(
        &self,
        pod: &PodInfo,
        reason: &str,
        message: &str,
        nominated: Option<&str>,
    ) -> Result<(), BindError> {
        let before = pod.scheduled.as_deref();
        let same = before.is_some_and(|condition| {
            condition.status == "False"
                && condition.reason.as_deref() == Some(reason)
                && condition.message.as_deref() == Some(message)
        });
        if same && (nominated.is_none() || nominated == pod.nominated.as_deref()) {
            return Ok(());
        }
        let since = before.filter(|condition| condition.status == "False").and_then(|c| c.last_transition_time.clone());
        let since = since.map_or_else(|| self.clock.now(), |time| time.0);
        let mut patch = json!({"metadata": {"uid": pod.uid}, "status": {"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": reason, "message": message,
            "lastProbeTime": null, "lastTransitionTime": api::time::format(since),
            "observedGeneration": pod.generation,
        }]}});
        if let Some(node) = nominated {
            patch["status"]["nominatedNodeName"] = json!(node);
        }
        let api: Api<Pod> = Api::namespaced(self.client.clone(), pod.namespace());
        api.patch_status(pod.name(), &PatchParams::default(), &Patch::Strategic(patch)).await?;
        Ok(())
    }

    /// Deletes the victims, after telling them why.
    ///
    /// # Errors
    /// If the API server refuses; a victim that is gone already is none.
    pub(crate) async fn preempt(&self, preemption: &Preemption) -> Result<(), BindError> {
        for victim in &preemption.victims {
            let api: Api<Pod> = Api::namespaced(self.client.clone(), victim.namespace());
            let message = format!("{}: preempting to accommodate a higher priority pod", self.scheduler_name);
            let patch = json!({"metadata": {"uid": victim.uid}, "status": {"conditions": [{
                "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": message,
                "lastTransitionTime": api::time::format(self.clock.now()), "observedGeneration": victim.generation,
            }]}});
            ignore_gone(api.patch_status(victim.name(), &PatchParams::default(), &Patch::Strategic(patch)).await)?;
            let preconditions = Preconditions { uid: Some(victim.uid.clone()), resource_version: None };
            let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
            ignore_gone(api.delete(victim.name(), &params).await)?;
        }
        Ok(())
    }
}

fn ignore_gone<T>(result: Result<T, kube::Error>) -> Result<(), BindError> {
    match result {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}
