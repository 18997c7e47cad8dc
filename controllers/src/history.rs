//! ControllerRevisions: the versions of a template that a StatefulSet or DaemonSet has had.

use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::api::{DeleteParams, PostParams};
use kube::{Resource, ResourceExt};
use serde_json::Value;

use crate::context::Context;
use crate::error::{Error, Result, ignore_not_found, is_already_exists};
use crate::hash;
use crate::owner::{controller_of, controller_reference};

/// Names that a new revision tries before the sync fails.
const COLLISIONS_MAX: i32 = 20;
/// The longest name of an owner that is kept in the name of its revision.
const OWNER_NAME_BYTES_MAX: usize = 223;

/// The template that a revision holds.
pub(crate) fn template_of(revision: &ControllerRevision) -> Result<PodTemplateSpec> {
    let data = revision.data.as_ref().map(|d| &d.0).unwrap_or(&Value::Null);
    Ok(serde_json::from_value(data["spec"]["template"].clone())?)
}

/// Whether a revision holds what `data` does, also if it was written in another form, by another version say.
fn holds(revision: &ControllerRevision, data: &Value) -> bool {
    let Some(there) = revision.data.as_ref().map(|d| &d.0) else { return false };
    there == data || template_of(revision).and_then(|t| hash::revision_data(&t)).is_ok_and(|again| again == *data)
}

/// The revision of the owner's template, found among `owned` or created, with the newest number.
///
/// `label` is the key of the hash label; `collisions` is raised when two templates have the same hash, which `hash_of`
/// makes of the data of a revision and their number.
pub(crate) async fn current<O>(
    context: &Context,
    owner: &O,
    template: &PodTemplateSpec,
    owned: &[Arc<ControllerRevision>],
    label: &str,
    collisions: &mut i32,
    hash_of: impl Fn(&Value, i32) -> Result<String>,
) -> Result<Arc<ControllerRevision>>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let data = hash::revision_data(template)?;
    let newest = owned.iter().map(|r| r.revision).max().unwrap_or(0);
    let same = |r: &&Arc<ControllerRevision>| holds(r, &data);
    let api = context.api::<ControllerRevision>(&owner.namespace().unwrap_or_default());
    if let Some(found) = owned.iter().filter(same).max_by_key(|r| r.revision) {
        if found.revision == newest {
            return Ok(found.clone());
        }
        let mut again = (**found).clone();
        again.revision = newest + 1;
        return Ok(Arc::new(api.replace(&found.name_any(), &PostParams::default(), &again).await?));
    }
    let mut labels = template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
    for _ in 0..COLLISIONS_MAX {
        let hash = hash_of(&data, *collisions)?;
        labels.insert(label.into(), hash.clone());
        let mut prefix = owner.name_any();
        prefix.truncate(OWNER_NAME_BYTES_MAX);
        let revision = ControllerRevision {
            metadata: ObjectMeta {
                name: Some(format!("{prefix}-{hash}")),
                namespace: owner.namespace(),
                labels: Some(labels.clone()),
                annotations: Some(owner.annotations().clone()).filter(|a| !a.is_empty()),
                owner_references: Some(vec![controller_reference(owner)]),
                ..ObjectMeta::default()
            },
            data: Some(RawExtension(data.clone())),
            revision: newest + 1,
        };
        match api.create(&PostParams::default(), &revision).await {
            Ok(created) => return Ok(Arc::new(created)),
            Err(error) if is_already_exists(&error) => {
                let there = api.get(&revision.name_any()).await?;
                let ours = controller_of(&there).map(|r| &r.uid) == owner.meta().uid.as_ref();
                if ours && holds(&there, &data) {
                    return Ok(Arc::new(there));
                }
                *collisions += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Invalid(format!("no free name for a revision of {}", owner.name_any())))
}

/// Deletes the oldest revisions beyond `limit` that `is_live` does not hold on to.
pub(crate) async fn truncate(
    context: &Context,
    owned: &[Arc<ControllerRevision>],
    limit: i32,
    is_live: impl Fn(&ControllerRevision) -> bool,
) -> Result<()> {
    let mut old: Vec<_> = owned.iter().filter(|r| !is_live(r)).collect();
    old.sort_by_key(|r| r.revision);
    let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    for revision in old.into_iter().take(surplus) {
        let api = context.api::<ControllerRevision>(&revision.namespace().unwrap_or_default());
        ignore_not_found(api.delete(&revision.name_any(), &DeleteParams::default()).await)?;
    }
    Ok(())
}
