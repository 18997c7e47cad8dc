//! The claims of a StatefulSet's pods.

use client::EventType;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::PostParams;
use kube::{Resource, ResourceExt};

use super::identity::{claim_names, ordinal};
use super::{StatefulSets, spec};
use crate::error::{Error, Result, ignore_not_found, is_already_exists, message};

impl StatefulSets {
    /// Creates the claims that a pod lacks.
    pub(super) async fn ensure_claims(&self, set: &StatefulSet, pod: &Pod) -> Result<()> {
        let Some(ordinal) = ordinal(set, pod) else { return Ok(()) };
        let namespace = set.namespace().unwrap_or_default();
        let api = self.context.api::<PersistentVolumeClaim>(&namespace);
        let templates = spec(set)?.volume_claim_templates.iter().flatten();
        for (template, (_, name)) in templates.zip(claim_names(set, ordinal)) {
            if let Some(claim) = self.claims.get(&namespace, &name) {
                if claim.metadata.deletion_timestamp.is_some() {
                    return Err(Error::Invalid(format!("claim {name} is being deleted")));
                }
                continue;
            }
            let mut claim = template.clone();
            claim.status = None;
            claim.metadata.name = Some(name.clone());
            claim.metadata.namespace = Some(namespace.clone());
            let labels = claim.metadata.labels.get_or_insert_default();
            labels.extend(spec(set)?.selector.match_labels.clone().unwrap_or_default());
            claim.metadata.owner_references = wanted_owner(set, pod, false).map(|o| vec![o]);
            let (pod_name, set_name) = (pod.name_any(), set.name_any());
            match api.create(&PostParams::default(), &claim).await {
                Ok(_) => {
                    let said = format!("Create Claim {name} Pod {pod_name} in StatefulSet {set_name} success");
                    self.context.events.event(set, EventType::Normal, "SuccessfulCreate", said);
                }
                Err(error) if is_already_exists(&error) => {}
                Err(error) => {
                    let said = format!(
                        "Create Claim {name} for Pod {pod_name} in StatefulSet {set_name} failed error: {}",
                        message(&error)
                    );
                    self.context.events.event(set, EventType::Warning, "FailedCreate", said);
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    /// Makes the set or the pod the owner of the pod's claims, as the retention policy says.
    pub(super) async fn own_claims(&self, set: &StatefulSet, pod: &Pod, condemned: bool) -> Result<()> {
        let Some(ordinal) = ordinal(set, pod) else { return Ok(()) };
        let namespace = set.namespace().unwrap_or_default();
        for (_, name) in claim_names(set, ordinal) {
            let Some(claim) = self.claims.get(&namespace, &name) else { continue };
            let wanted = wanted_owner(set, pod, condemned);
            let mut owners = claim.owner_references().to_vec();
            let ours = |o: &OwnerReference| Some(&o.uid) == set.metadata.uid.as_ref() || o.uid == pod_uid(pod);
            owners.retain(|o| !ours(o));
            owners.extend(wanted);
            if owners != claim.owner_references() {
                let mut owned = (*claim).clone();
                owned.metadata.owner_references = Some(owners);
                let api = self.context.api::<PersistentVolumeClaim>(&namespace);
                ignore_not_found(api.replace(&name, &PostParams::default(), &owned).await)?;
            }
        }
        Ok(())
    }
}

fn pod_uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// Who should own the claims of a pod, so that they go when the policy says.
fn wanted_owner(set: &StatefulSet, pod: &Pod, condemned: bool) -> Option<OwnerReference> {
    let policy = set.spec.as_ref()?.persistent_volume_claim_retention_policy.as_ref()?;
    let reference = |api_version: &str, kind: &str, name: String, uid: String| OwnerReference {
        api_version: api_version.into(),
        kind: kind.into(),
        name,
        uid,
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    if condemned && policy.when_scaled.as_deref() == Some("Delete") {
        let uid = pod.meta().uid.clone()?;
        return Some(OwnerReference { block_owner_deletion: None, ..reference("v1", "Pod", pod.name_any(), uid) });
    }
    let deletes = policy.when_deleted.as_deref() == Some("Delete");
    deletes.then(|| reference("apps/v1", "StatefulSet", set.name_any(), set.uid().unwrap_or_default()))
}
