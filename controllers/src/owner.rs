//! Controllers own what they make: controller references, adoption and release.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::error::{Error, Result, is_not_found, status};
use crate::selector::Labels;

/// The index of an informer by the uid of the object's controller.
pub(crate) const BY_CONTROLLER: &str = "by-controller";
/// The index of an informer by namespace, of the objects that have no controller.
pub(crate) const ORPHANS: &str = "orphans";

/// The reference that makes `owner` the controller of an object.
pub(crate) fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The controller of an object.
pub(crate) fn controller_of<K: Resource>(object: &K) -> Option<&OwnerReference> {
    object.owner_references().iter().find(|r| r.controller == Some(true))
}

/// Whether a reference names an object of type `K`, in whatever version of its group.
pub(crate) fn refers_to<K: Resource<DynamicType = ()>>(reference: &OwnerReference) -> bool {
    let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
    reference.kind == K::kind(&()) && group == K::group(&())
}

/// The name of the controller of `object`, if that is of type `O`.
pub(crate) fn controller_name<O: Resource<DynamicType = ()>, K: Resource>(object: &K) -> Option<&str> {
    controller_of(object).filter(|r| refers_to::<O>(r)).map(|r| r.name.as_str())
}

/// Adds the two indexes that [`claim`] needs.
pub(crate) fn add_indexes<K: client::informer::Cached>(informer: &client::Informer<K>) {
    informer.add_index(BY_CONTROLLER, |o| controller_of(o).map(|r| r.uid.clone()).into_iter().collect());
    informer.add_index(ORPHANS, |o| match controller_of(o) {
        None => vec![o.namespace().unwrap_or_default()],
        Some(_) => Vec::new(),
    });
}

/// The objects that `owner` controls, after it adopted the orphans that `wanted` accepts and released those that
/// it no longer does (`ControllerRefManager` in the reference).
///
/// `adoptable` says whether an orphan may be adopted at all. Before the first adoption the owner is read afresh, so that
/// an owner that is being deleted adopts nothing.
pub(crate) async fn claim<O, K>(
    client: &kube::Client,
    owner: &O,
    candidates: &client::Informer<K>,
    wanted: impl Fn(&Labels) -> bool,
    adoptable: impl Fn(&K) -> bool,
) -> Result<Vec<Arc<K>>>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    K: client::informer::Cached + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    claim_held(client, owner, candidates, wanted, adoptable, None).await
}

/// [`claim`] for an owner that holds what it controls by a finalizer: one that is adopted gets it, one that is released
/// loses it.
pub(crate) async fn claim_held<O, K>(
    client: &kube::Client,
    owner: &O,
    candidates: &client::Informer<K>,
    wanted: impl Fn(&Labels) -> bool,
    adoptable: impl Fn(&K) -> bool,
    finalizer: Option<&str>,
) -> Result<Vec<Arc<K>>>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    K: client::informer::Cached + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let (namespace, uid) = (owner.namespace().unwrap_or_default(), owner.uid().unwrap_or_default());
    let deleting = owner.meta().deletion_timestamp.is_some();
    let api = Api::<K>::namespaced(client.clone(), &namespace);
    let mut claimed = Vec::new();
    for object in candidates.indexed(BY_CONTROLLER, &uid) {
        if wanted(object.labels()) {
            claimed.push(object);
        } else if !deleting {
            release(&api, &*object, &uid, finalizer).await?;
        }
    }
    if deleting {
        return Ok(claimed);
    }
    let mut checked = false;
    for object in candidates.indexed_matching(ORPHANS, &namespace, &wanted) {
        let gone = object.meta().deletion_timestamp.is_some();
        if gone || !adoptable(&object) {
            continue;
        }
        if !checked {
            check_alive(client, owner, &namespace, &uid).await?;
            checked = true;
        }
        if let Some(adopted) = adopt(&api, owner, &*object, finalizer).await? {
            claimed.push(Arc::new(adopted));
        }
    }
    Ok(claimed)
}

async fn check_alive<O>(client: &kube::Client, owner: &O, namespace: &str, uid: &str) -> Result<()>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let fresh = Api::<O>::namespaced(client.clone(), namespace).get(&owner.name_any()).await?;
    if fresh.uid().as_deref() != Some(uid) {
        return Err(Error::Invalid(format!("{namespace}/{} was replaced by another object", owner.name_any())));
    }
    if fresh.meta().deletion_timestamp.is_some() {
        return Err(Error::Invalid(format!("{namespace}/{} is being deleted and adopts nothing", owner.name_any())));
    }
    Ok(())
}

async fn adopt<O, K>(api: &Api<K>, owner: &O, object: &K, finalizer: Option<&str>) -> Result<Option<K>>
where
    O: Resource<DynamicType = ()>,
    K: client::informer::Cached,
{
    let reference = controller_reference(owner);
    let mut patch = serde_json::json!({
        "metadata": { "uid": object.uid(), "ownerReferences": [reference] },
    });
    if let Some(finalizer) = finalizer {
        patch["metadata"]["finalizers"] = serde_json::json!([finalizer]);
    }
    match api.patch(&object.name_any(), &PatchParams::default(), &Patch::Strategic(patch)).await {
        Ok(adopted) => Ok(Some(adopted)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn release<K>(api: &Api<K>, object: &K, uid: &str, finalizer: Option<&str>) -> Result<()>
where
    K: client::informer::Cached,
{
    let mut patch = serde_json::json!({
        "metadata": { "uid": object.uid(), "ownerReferences": [{ "$patch": "delete", "uid": uid }] },
    });
    if let Some(finalizer) = finalizer {
        patch["metadata"]["$deleteFromPrimitiveList/finalizers"] = serde_json::json!([finalizer]);
    }
    match api.patch(&object.name_any(), &PatchParams::default(), &Patch::Strategic(patch)).await {
        Ok(_) => Ok(()),
        // Gone, or another object of the same name by now: nothing to release.
        Err(error) if is_not_found(&error) || status(&error).is_some_and(|s| s.code == 422) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
