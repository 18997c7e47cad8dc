//! A class of volume attributes that a claim or a volume has is deleted only once none has it.

use client::{Action, ObjectKey};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use kube::ResourceExt;
use kube::api::{ListParams, PostParams};

use crate::context::Context;
use crate::error::{Error, Result, ignore_not_found};

/// Keys worked on at a time.
const WORKERS: usize = 2;
const FINALIZER: &str = "kubernetes.io/vac-protection";

/// Protects classes until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let classes = context.informers.of::<VolumeAttributesClass>();
    let claims = context.informers.of::<PersistentVolumeClaim>();
    let volumes = context.informers.of::<PersistentVolume>();
    classes.wait_synced().await;
    claims.wait_synced().await;
    volumes.wait_synced().await;
    let to = queue.clone();
    classes.on_change(move |change| to.add(ObjectKey::of(&**change.object())));
    let to = queue.clone();
    claims.on_change(move |change| classes_of(change.object()).for_each(|name| to.add(ObjectKey::new("", name))));
    let to = queue.clone();
    volumes.on_change(move |change| {
        if let Some(name) = class_of(change.object()) {
            to.add(ObjectKey::new("", name));
        }
    });
    let of = context.clone();
    context
        .run("vac-protection", queue, WORKERS, move |key| {
            let (context, class) = (of.clone(), classes.get_key(&key));
            async move {
                let Some(class) = class else { return Ok::<_, Error>(Action::Done) };
                let deleting = class.metadata.deletion_timestamp.is_some();
                let held = class.finalizers().iter().any(|f| f == FINALIZER);
                if deleting != held || (deleting && in_use(&context, &key.name).await?) {
                    return Ok(Action::Done);
                }
                let mut changed = (*class).clone();
                match deleting {
                    true => changed.finalizers_mut().retain(|f| f != FINALIZER),
                    false => changed.finalizers_mut().push(FINALIZER.into()),
                }
                let api = context.api_all::<VolumeAttributesClass>();
                ignore_not_found(api.replace(&key.name, &PostParams::default(), &changed).await)?;
                Ok(Action::Done)
            }
        })
        .await;
}

/// Asked of the server: the caches may not have heard of a claim yet.
async fn in_use(context: &Context, class: &str) -> Result<bool> {
    let all = ListParams::default();
    let claims = context.api_all::<PersistentVolumeClaim>().list(&all).await?;
    if claims.items.iter().any(|claim| classes_of(claim).any(|name| name == class)) {
        return Ok(true);
    }
    let volumes = context.api_all::<PersistentVolume>().list(&all).await?;
    Ok(volumes.items.iter().any(|volume| class_of(volume) == Some(class)))
}

/// The classes that a claim wants, has, or is on the way to.
fn classes_of(claim: &PersistentVolumeClaim) -> impl Iterator<Item = &str> {
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    let status = claim.status.as_ref();
    let current = status.and_then(|status| status.current_volume_attributes_class_name.as_deref());
    let target = status.and_then(|status| status.modify_volume_status.as_ref());
    let target = target.and_then(|target| target.target_volume_attributes_class_name.as_deref());
    [wanted, current, target].into_iter().flatten().filter(|name| !name.is_empty())
}

fn class_of(volume: &PersistentVolume) -> Option<&str> {
    volume.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref()).filter(|name| !name.is_empty())
}
