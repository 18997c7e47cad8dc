//! A claim in use by a pod, and a volume in use by a claim, are deleted only once they are not.

use client::{Action, ObjectKey};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{ListParams, PostParams};

use super::{BY_CLAIM, add_pod_index, claims_of};
use crate::context::Context;
use crate::error::{Error, Result, ignore_not_found};
use crate::pod::node_name;

/// Keys worked on at a time.
const WORKERS: usize = 2;
const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";
const VOLUME_FINALIZER: &str = "kubernetes.io/pv-protection";

/// What is to be done about a finalizer.
#[derive(PartialEq, Eq)]
enum Finalizer {
    Add,
    Remove,
    Leave,
}

fn decide(finalizers: &[String], ours: &str, deleting: bool) -> Finalizer {
    match (finalizers.iter().any(|f| f == ours), deleting) {
        (true, true) => Finalizer::Remove,
        (false, false) => Finalizer::Add,
        _ => Finalizer::Leave,
    }
}

/// Protects claims until the context is cancelled.
pub(crate) async fn run_claims(context: Context) {
    let queue = context.queue();
    let claims = context.informers.of::<PersistentVolumeClaim>();
    let pods = context.informers.of::<Pod>();
    add_pod_index(&pods);
    let to = queue.clone();
    claims.on_change(move |change| to.add(ObjectKey::of(&**change.object())));
    let to = queue.clone();
    pods.on_change(move |change| {
        if change.is_delete() {
            claims_of(change.object()).into_iter().for_each(|key| to.add(key));
        }
    });
    claims.wait_synced().await;
    pods.wait_synced().await;
    let of = context.clone();
    context
        .run("pvc-protection", queue, WORKERS, move |key| {
            let (context, claim, pods) = (of.clone(), claims.get_key(&key), pods.clone());
            async move {
                let Some(claim) = claim else { return Ok::<_, Error>(Action::Done) };
                let deleting = claim.metadata.deletion_timestamp.is_some();
                let decision = decide(claim.finalizers(), CLAIM_FINALIZER, deleting);
                let cached = || pods.indexed(BY_CLAIM, &key.to_string()).iter().any(|p| uses(p, &key));
                if decision == Finalizer::Remove && (cached() || in_use(&context, &key).await?) {
                    return Ok(Action::Done);
                }
                let mut changed = (*claim).clone();
                if change(changed.finalizers_mut(), CLAIM_FINALIZER, decision) {
                    let api = context.api::<PersistentVolumeClaim>(&key.namespace);
                    ignore_not_found(api.replace(&key.name, &PostParams::default(), &changed).await)?;
                }
                Ok(Action::Done)
            }
        })
        .await;
}

/// A pod that is not on a node yet uses nothing: the node agent refuses claims that are being deleted.
fn uses(pod: &Pod, claim: &ObjectKey) -> bool {
    !node_name(pod).is_empty() && claims_of(pod).contains(claim)
}

/// The cache may not have heard of a pod yet.
async fn in_use(context: &Context, claim: &ObjectKey) -> Result<bool> {
    let pods = context.api::<Pod>(&claim.namespace).list(&ListParams::default()).await?;
    Ok(pods.items.iter().any(|p| uses(p, claim)))
}

/// Protects volumes until the context is cancelled.
pub(crate) async fn run_volumes(context: Context) {
    let queue = context.queue();
    let volumes = context.informers.of::<PersistentVolume>();
    let to = queue.clone();
    volumes.on_change(move |change| to.add(ObjectKey::of(&**change.object())));
    volumes.wait_synced().await;
    let of = context.clone();
    context
        .run("pv-protection", queue, WORKERS, move |key| {
            let (context, volume) = (of.clone(), volumes.get_key(&key));
            async move {
                let Some(volume) = volume else { return Ok::<_, Error>(Action::Done) };
                let deleting = volume.metadata.deletion_timestamp.is_some();
                let decision = decide(volume.finalizers(), VOLUME_FINALIZER, deleting);
                let bound = volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
                if decision == Finalizer::Remove && bound {
                    return Ok(Action::Done);
                }
                let mut changed = (*volume).clone();
                if change(changed.finalizers_mut(), VOLUME_FINALIZER, decision) {
                    let api = context.api_all::<PersistentVolume>();
                    ignore_not_found(api.replace(&key.name, &PostParams::default(), &changed).await)?;
                }
                Ok(Action::Done)
            }
        })
        .await;
}

fn change(finalizers: &mut Vec<String>, ours: &str, decision: Finalizer) -> bool {
    match decision {
        Finalizer::Add => finalizers.push(ours.into()),
        Finalizer::Remove => finalizers.retain(|f| f != ours),
        Finalizer::Leave => return false,
    }
    true
}
