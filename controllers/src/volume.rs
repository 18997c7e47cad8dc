//! Persistent volumes: binding claims to them, and making them under a directory of the node.
//!
//! The provisioner makes `hostPath` volumes of type `DirectoryOrCreate` with the affinity of one node: the node agent
//! makes the directory when the first pod mounts it. A volume that is to be deleted has its directory removed by this
//! controller itself, which runs on that node; the directory must be a direct child of the configured one.

mod claim;
mod class_protection;
mod counts;
mod matching;
mod persistent;
mod protection;
mod provision;

use std::path::PathBuf;
use std::sync::Arc;

use api::pods::claim_of;
use client::{Informer, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::{Node, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};

use crate::context::Context;
pub(crate) use class_protection::run as run_class_protection;
pub(crate) use protection::{run_claims as run_claim_protection, run_volumes as run_volume_protection};

/// The name of the built-in provisioner in storage classes.
pub const PROVISIONER: &str = "coracle.dev/local";
/// The name of the default storage class.
pub const DEFAULT_CLASS: &str = "standard";

/// Claims and volumes worked on at a time.
const WORKERS: usize = 4;
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const STORAGE_PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
const STORAGE_PROVISIONER_BETA: &str = "volume.beta.kubernetes.io/storage-provisioner";
/// The index of pods by the claims they use.
pub(crate) const BY_CLAIM: &str = "by-claim";

/// Where local volumes are made.
#[derive(Debug, Clone)]
pub struct LocalVolumes {
    /// The directory that holds one directory a volume.
    pub directory: PathBuf,
    /// The node whose directory this is.
    pub node: String,
}

/// The default storage class, which an administrator creates.
pub fn default_storage_class() -> StorageClass {
    let annotation = ("storageclass.kubernetes.io/is-default-class".to_owned(), "true".to_owned());
    StorageClass {
        metadata: ObjectMeta {
            name: Some(DEFAULT_CLASS.into()),
            annotations: Some([annotation].into()),
            ..ObjectMeta::default()
        },
        provisioner: PROVISIONER.into(),
        reclaim_policy: Some("Delete".into()),
        volume_binding_mode: Some("WaitForFirstConsumer".into()),
        ..StorageClass::default()
    }
}

struct Volumes {
    context: Context,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    classes: Informer<StorageClass>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    claim_queue: WorkQueue<ObjectKey>,
    volume_queue: WorkQueue<ObjectKey>,
}

/// Runs the binder and the provisioner until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let (claim_queue, volume_queue) = (context.queue(), context.queue());
    let claims = context.informers.of::<PersistentVolumeClaim>();
    let volumes = context.informers.of::<PersistentVolume>();
    let classes = context.informers.of::<StorageClass>();
    let pods = context.informers.of::<Pod>();
    let nodes = context.informers.of::<Node>();
    add_pod_index(&pods);
    watch(&claims, &volumes, &classes, &claim_queue, &volume_queue);
    claims.wait_synced().await;
    volumes.wait_synced().await;
    classes.wait_synced().await;
    pods.wait_synced().await;
    nodes.wait_synced().await;
    let counts = counts::Counts { claims: claims.clone(), volumes: volumes.clone() };
    context.informers.metrics().register(Arc::new(counts));
    let controller = Arc::new(Volumes {
        context: context.clone(),
        claims,
        volumes,
        classes,
        pods,
        nodes,
        claim_queue: claim_queue.clone(),
        volume_queue: volume_queue.clone(),
    });
    let of = controller.clone();
    let bind = context.controller("claims", claim_queue, WORKERS).run(context.token.clone(), move |key| {
        let controller = of.clone();
        async move { controller.sync_claim(key).await }
    });
    let reclaim = context.controller("volumes", volume_queue, WORKERS).run(context.token.clone(), move |key| {
        let controller = controller.clone();
        async move { controller.sync_volume(key).await }
    });
    tokio::join!(bind, reclaim);
}

/// A claim waits for volumes, and a volume for its claim: each wakes the other.
fn watch(
    claims: &Informer<PersistentVolumeClaim>,
    volumes: &Informer<PersistentVolume>,
    classes: &Informer<StorageClass>,
    claim_queue: &WorkQueue<ObjectKey>,
    volume_queue: &WorkQueue<ObjectKey>,
) {
    let (to_claims, to_volumes) = (claim_queue.clone(), volume_queue.clone());
    claims.on_change(move |change| {
        let claim = change.object();
        to_claims.add(ObjectKey::of(&**claim));
        if let Some(volume) = volume_name(claim) {
            to_volumes.add(ObjectKey::cluster(volume));
        }
    });
    let (to_claims, to_volumes, all) = (claim_queue.clone(), volume_queue.clone(), claims.clone());
    volumes.on_change(move |change| {
        let volume = change.object();
        to_volumes.add(ObjectKey::of(&**volume));
        match claim_key(volume) {
            Some(key) => to_claims.add(key),
            None => all.list().iter().filter(|c| is_pending(c)).for_each(|c| to_claims.add(ObjectKey::of(&**c))),
        }
    });
    let (to_claims, all) = (claim_queue.clone(), claims.clone());
    classes.on_change(move |change| {
        if !change.is_delete() {
            all.list().iter().filter(|c| is_pending(c)).for_each(|c| to_claims.add(ObjectKey::of(&**c)));
        }
    });
}

pub(crate) fn add_pod_index(pods: &Informer<Pod>) {
    pods.add_index(BY_CLAIM, |pod| claims_of(pod).iter().map(ObjectKey::to_string).collect());
}

/// The claims that a pod uses, those made for its ephemeral volumes too.
fn claims_of(pod: &Pod) -> Vec<ObjectKey> {
    let namespace = pod.namespace().unwrap_or_default();
    let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_ref()).into_iter().flatten();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    volumes.filter_map(|volume| Some(ObjectKey::new(&namespace, claim_of(name, volume)?))).collect()
}

fn has(object: &impl Resource, annotation: &str) -> bool {
    object.annotations().contains_key(annotation)
}

fn volume_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref().filter(|n| !n.is_empty())
}

fn is_pending(claim: &PersistentVolumeClaim) -> bool {
    !has(claim, BIND_COMPLETED)
}

fn claim_ref(volume: &PersistentVolume) -> Option<&ObjectReference> {
    volume.spec.as_ref()?.claim_ref.as_ref()
}

fn claim_key(volume: &PersistentVolume) -> Option<ObjectKey> {
    let reference = claim_ref(volume)?;
    Some(ObjectKey::new(reference.namespace.clone()?, reference.name.clone()?))
}

fn phase_of_claim(claim: &PersistentVolumeClaim) -> &str {
    claim.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}
