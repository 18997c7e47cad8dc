//! Claims are made for the ephemeral volumes of pods (`pkg/controller/volume/ephemeral`).

use api::pods::claim_of;
use client::{Action, EventType, Informer, ObjectKey};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::PostParams;
use metrics::Counter;

use crate::context::Context;
use crate::error::{Error, Result, message};
use crate::figures::Devices;
use crate::owner::{controller_of, controller_reference};
use crate::volume::{BY_CLAIM, add_pod_index};

/// Pods worked on at a time (`ConcurrentEphemeralVolumeSyncs`).
const WORKERS: usize = 5;

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let pods = context.informers.of::<Pod>();
    let claims = context.informers.of::<PersistentVolumeClaim>();
    add_pod_index(&pods);
    let to = queue.clone();
    // Nothing of a pod's volumes ever changes, and its claims go with it.
    pods.on_change(move |change| {
        let pod = change.object();
        if !change.is_delete() && change.old().is_none() && is_wanted(pod) {
            to.add(ObjectKey::of(&**pod));
        }
    });
    let (to, of) = (queue.clone(), pods.clone());
    claims.on_change(move |change| {
        if change.is_delete() {
            let users = of.indexed(BY_CLAIM, &ObjectKey::of(&**change.object()).to_string());
            users.iter().filter(|pod| is_wanted(pod)).for_each(|pod| to.add(ObjectKey::of(&**pod)));
        }
    });
    pods.wait_synced().await;
    claims.wait_synced().await;
    let of = context.clone();
    context
        .run("ephemeral-volume", queue, WORKERS, move |key| {
            let (context, pod, claims) = (of.clone(), pods.get_key(&key), claims.clone());
            async move {
                if let Some(pod) = pod.filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
                    sync(&context, &pod, &claims).await?;
                }
                Ok::<_, Error>(Action::Done)
            }
        })
        .await;
}

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    volumes.iter().filter(|volume| volume.ephemeral.is_some())
}

fn is_wanted(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && volumes(pod).next().is_some()
}

async fn sync(context: &Context, pod: &Pod, claims: &Informer<PersistentVolumeClaim>) -> Result<()> {
    for volume in volumes(pod) {
        if let Err(why) = ensure(context, pod, volume, claims).await {
            let said = format!("ephemeral volume {}: {why}", volume.name);
            context.events.event(pod, EventType::Warning, "FailedBinding", said.clone());
            return Err(Error::Invalid(said));
        }
    }
    Ok(())
}

/// Makes the claim of a volume if there is none.
async fn ensure(
    context: &Context,
    pod: &Pod,
    volume: &Volume,
    claims: &Informer<PersistentVolumeClaim>,
) -> Result<(), String> {
    let (namespace, pod_name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let Some(name) = claim_of(&pod_name, volume) else { return Ok(()) };
    if let Some(claim) = claims.get(&namespace, &name) {
        return is_for(pod, &claim);
    }
    let template = volume.ephemeral.as_ref().and_then(|ephemeral| ephemeral.volume_claim_template.as_ref());
    let Some(template) = template else { return Ok(()) };
    let meta = template.metadata.clone().unwrap_or_default();
    let claim = PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(name.to_string()),
            annotations: meta.annotations,
            labels: meta.labels,
            owner_references: Some(vec![controller_reference(pod)]),
            ..ObjectMeta::default()
        },
        spec: Some(template.spec.clone()),
        status: None,
    };
    let figures = context.figures::<Devices>();
    figures.volume_claims.with([], Counter::add_one);
    let made = context.api::<PersistentVolumeClaim>(&namespace).create(&PostParams::default(), &claim).await;
    made.map(drop).map_err(|error| {
        figures.volume_claim_failures.with([], Counter::add_one);
        format!("create PVC {name}: {}", message(&error))
    })
}

/// A claim of the right name counts only if the pod owns it (`ephemeral.VolumeIsForPod`).
fn is_for(pod: &Pod, claim: &PersistentVolumeClaim) -> Result<(), String> {
    if controller_of(claim).is_some_and(|owner| Some(&owner.uid) == pod.metadata.uid.as_ref()) {
        return Ok(());
    }
    let namespace = pod.namespace().unwrap_or_default();
    let (claim, pod) = (claim.name_any(), pod.name_any());
    Err(format!("PVC {namespace}/{claim} was not created for pod {namespace}/{pod} (pod is not owner)"))
}
