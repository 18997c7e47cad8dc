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
            let owners = claim.owner_references();
            if has_other_controller(owners, set, pod) {
                let said = format!(
                    "PersistentVolumeClaim {name} has a conflicting OwnerReference that acts as a manging controller, the \
                     retention policy is ignored for this claim"
                );
                self.context.events.event(set, EventType::Warning, "ConflictingController", said);
            }
            if let Some(owners) = owners_to_write(owners, set, pod, condemned) {
                let mut owned = (*claim).clone();
                owned.metadata.owner_references = Some(owners);
                let api = self.context.api::<PersistentVolumeClaim>(&namespace);
                ignore_not_found(api.replace(&name, &PostParams::default(), &owned).await)?;
            }
        }
        Ok(())
    }
}

/// Whether an owner is a set's or pod's name, be it that very object or one that had the name before.
fn names<O: Resource<DynamicType = ()>>(owner: &OwnerReference, object: &O) -> bool {
    owner.kind == O::kind(&())
        && owner.api_version == O::api_version(&())
        && Some(&owner.name) == object.meta().name.as_ref()
}

/// Whether an owner is this very object.
fn is<O: Resource>(owner: &OwnerReference, object: &O) -> bool {
    Some(&owner.uid) == object.meta().uid.as_ref()
}

/// Whether an owner has the name of the set or the pod and is an earlier object (`hasStaleOwnerRef`).
fn is_stale(owner: &OwnerReference, set: &StatefulSet, pod: &Pod) -> bool {
    names(owner, set) && !is(owner, set) || names(owner, pod) && !is(owner, pod)
}

/// Whether a claim that the policy is about has somebody else for its controller (`hasUnexpectedController`).
fn has_other_controller(owners: &[OwnerReference], set: &StatefulSet, pod: &Pod) -> bool {
    let policy = set.spec.as_ref().and_then(|s| s.persistent_volume_claim_retention_policy.as_ref());
    let deletes = |when: &Option<String>| when.as_deref() == Some("Delete");
    let is_other = |owner: &OwnerReference| {
        let ours = names(owner, set) || names(owner, pod);
        is_stale(owner, set, pod) || !ours && owner.controller == Some(true)
    };
    policy.is_some_and(|p| deletes(&p.when_scaled) || deletes(&p.when_deleted)) && owners.iter().any(is_other)
}

/// The owners that a claim should have, if it has others (`isClaimOwnerUpToDate`, `updateClaimOwnerRefForSetAndPod`). One that
/// earlier objects own is left to the garbage collector, one that another controller owns gets no second.
fn owners_to_write(
    owners: &[OwnerReference],
    set: &StatefulSet,
    pod: &Pod,
    condemned: bool,
) -> Option<Vec<OwnerReference>> {
    if owners.iter().any(|owner| is_stale(owner, set, pod)) {
        return None;
    }
    let others = owners.iter().filter(|owner| !is(owner, set) && !is(owner, pod)).cloned();
    let wanted = wanted_owner(set, pod, condemned).filter(|_| !has_other_controller(owners, set, pod));
    let wanted: Vec<_> = others.chain(wanted).collect();
    (wanted != owners).then_some(wanted)
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(owners: Value, condemned: bool, expected: Option<Value>) {
        let set: StatefulSet = serde_json::from_value(json!({"metadata": {"name": "web", "uid": "s"}, "spec": {"selector": {},
            "template": {}, "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete", "whenDeleted": "Retain"}}}))
        .unwrap();
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "web-0", "uid": "p"}})).unwrap();
        let owners: Vec<OwnerReference> = serde_json::from_value(owners).unwrap();
        let written = owners_to_write(&owners, &set, &pod, condemned);
        assert_eq!(written, expected.map(|e| serde_json::from_value(e).unwrap()), "{owners:?}");
    }

    #[test]
    fn a_claim_gets_no_second_controller() {
        let pod =
            |uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": "web-0", "uid": uid, "controller": true});
        let other = |controls: bool| json!({"apiVersion": "v1", "kind": "Pod", "name": "other", "uid": "o", "controller": controls});
        check(json!([]), true, Some(json!([pod("p")])));
        check(json!([pod("p")]), true, None);
        check(json!([pod("p")]), false, Some(json!([])));
        check(json!([other(true)]), true, None);
        check(json!([other(true), pod("p")]), true, Some(json!([other(true)])));
        check(json!([other(false)]), true, Some(json!([other(false), pod("p")])));
        // The pod that had the name before.
        check(json!([pod("earlier")]), true, None);
    }
}
