//! The claims that a pod has templates for, and the pods that were bound without their claims being reserved.

use std::collections::BTreeMap;

use client::EventType;
use client::ObjectKey;
use client::resource_claims::{self, Named, POD_CLAIM, Unnamed, name};
use k8s_openapi::api::core::v1::{Pod, PodResourceClaim};
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimTemplate};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, PostParams};
use metrics::Counter;
use serde_json::json;

use super::counts::admin_access;
use super::{BY_POD, Claims};
use crate::error::{Error, Result, ignore_not_found, message};
use crate::figures::Devices;
use crate::pod::node_name;

/// Who writes the names of claims into the status of pods.
const FIELD_MANAGER: &str = "ResourceClaimController";
/// What a generated name begins with is no longer than this, so that it fits into 63 characters.
const BASE_LENGTH_MAX: usize = 57;

impl Claims {
    /// Makes the claims that a pod lacks, says their names in its status, and reserves those of a pod that is bound.
    pub(super) async fn sync_pod(&self, key: &ObjectKey) -> Result<()> {
        let Some(pod) = self.pods.get_key(key).filter(|pod| pod.metadata.deletion_timestamp.is_none()) else {
            return Ok(());
        };
        let mut fresh = BTreeMap::new();
        for of in resource_claims::of_pod(&pod) {
            match self.ensure(&pod, of).await {
                Ok(Some(name)) => _ = fresh.insert(of.name.clone(), name),
                Ok(None) => {}
                Err(why) => {
                    let said = format!("PodResourceClaim {}: {why}", of.name);
                    let events = &self.context.events;
                    events.event(&*pod, EventType::Warning, "FailedResourceClaimCreation", said.clone());
                    return Err(Error::Invalid(said));
                }
            }
        }
        if !fresh.is_empty() {
            self.publish(key, &pod, fresh).await?;
        }
        // Until then it is the scheduler's to reserve them.
        if node_name(&pod).is_empty() { Ok(()) } else { self.reserve(&pod).await }
    }

    /// The name of a claim that the pod's status does not tell yet, after it was made or found.
    async fn ensure(&self, pod: &Pod, of: &PodResourceClaim) -> Result<Option<String>, String> {
        let namespace = pod.namespace().unwrap_or_default();
        match name(pod, of) {
            Err(Unnamed::NotMade(_)) => {}
            Err(why) => return Err(format!("checking for claim before creating it: {why}")),
            Ok(None) => return Ok(None),
            Ok(Some(Named { name, is_made })) => {
                let claim = self.claims.get(&namespace, name);
                if claim.is_some_and(|claim| !is_made || resource_claims::foreign(pod, &claim).is_none()) {
                    return Ok(None);
                }
            }
        }
        let Some(template) = &of.resource_claim_template_name else { return Ok(None) };
        if let Some(found) = self.find(pod, of).await? {
            return Ok(Some(found));
        }
        let template = self.templates.get(&namespace, template).ok_or_else(|| {
            format!(
                "resource claim template {template:?}: resourceclaimtemplate.resource.k8s.io {template:?} not found"
            )
        })?;
        self.make(pod, of, &template).await.map(Some)
    }

    /// A claim that was made before, when its name could not be told.
    async fn find(&self, pod: &Pod, of: &PodResourceClaim) -> Result<Option<String>, String> {
        let uid = pod.uid().unwrap_or_default();
        let is_it = |claim: &ResourceClaim| claim.annotations().get(POD_CLAIM) == Some(&of.name);
        if let Some(claim) = self.claims.indexed(BY_POD, &uid).iter().find(|claim| is_it(claim)) {
            return Ok(Some(claim.name_any()));
        }
        let made = self.made.lock().get(&(uid, of.name.clone())).cloned();
        let Some(made) = made else { return Ok(None) };
        let api = self.context.api::<ResourceClaim>(&pod.namespace().unwrap_or_default());
        Ok(api.get_opt(&made).await.map_err(|error| message(&error))?.map(|_| made))
    }

    async fn make(&self, pod: &Pod, of: &PodResourceClaim, template: &ResourceClaimTemplate) -> Result<String, String> {
        let (pod_name, uid) = (pod.name_any(), pod.uid().unwrap_or_default());
        let meta = template.spec.metadata.clone().unwrap_or_default();
        let mut annotations = meta.annotations.unwrap_or_default();
        annotations.insert(POD_CLAIM.into(), of.name.clone());
        let owner = OwnerReference {
            api_version: "v1".into(),
            kind: "Pod".into(),
            name: pod_name.clone(),
            uid: uid.clone(),
            controller: Some(true),
            block_owner_deletion: None,
        };
        let claim = ResourceClaim {
            metadata: ObjectMeta {
                generate_name: Some(base_name(&pod_name, &of.name)),
                owner_references: Some(vec![owner]),
                annotations: Some(annotations),
                labels: meta.labels,
                ..ObjectMeta::default()
            },
            spec: template.spec.spec.clone(),
            status: None,
        };
        let api = self.context.api::<ResourceClaim>(&pod.namespace().unwrap_or_default());
        let made = api.create(&PostParams::default(), &claim).await;
        let outcome = if made.is_ok() { "success" } else { "failure" };
        self.context.figures::<Devices>().claims.with([outcome, admin_access(&claim)], Counter::add_one);
        let made = made.map_err(|error| format!("create ResourceClaim : {}", message(&error)))?;
        self.made.lock().insert((uid, of.name.clone()), made.name_any());
        Ok(made.name_any())
    }

    /// Says the names in the pod's status, with those that it tells already: what is left out of an apply is given up.
    async fn publish(&self, key: &ObjectKey, pod: &Pod, fresh: BTreeMap<String, String>) -> Result<()> {
        let mut names = BTreeMap::new();
        for of in resource_claims::of_pod(pod) {
            if let Ok(Some(Named { name, is_made: true })) = name(pod, of) {
                names.insert(of.name.clone(), name.to_owned());
            }
        }
        names.extend(fresh);
        let statuses: Vec<_> =
            names.iter().map(|(name, claim)| json!({"name": name, "resourceClaimName": claim})).collect();
        let status = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": pod.uid()},
            "status": {"resourceClaimStatuses": statuses}});
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let api = self.context.api::<Pod>(&key.namespace);
        ignore_not_found(api.patch_status(&key.name, &params, &Patch::Apply(status)).await)?;
        Ok(())
    }

    /// Reserves the claims of a pod that somebody else than the scheduler bound.
    async fn reserve(&self, pod: &Pod) -> Result<()> {
        let (namespace, uid) = (pod.namespace().unwrap_or_default(), pod.uid().unwrap_or_default());
        for of in resource_claims::of_pod(pod) {
            // What is not told yet comes again when the status shows it.
            let Ok(Some(named)) = name(pod, of) else { continue };
            let Some(claim) = self.claims.get(&namespace, named.name) else { return Ok(()) };
            if let Some(why) = resource_claims::foreign(pod, &claim).filter(|_| named.is_made) {
                return Err(Error::Invalid(why));
            }
            if resource_claims::is_allocated(&claim) && !resource_claims::is_reserved_for(&claim, &uid) {
                let mut claim = (*claim).clone();
                let consumers = claim.status.get_or_insert_default().reserved_for.get_or_insert_default();
                consumers.push(resource_claims::consumer(&pod.name_any(), &uid));
                let api = self.context.api::<ResourceClaim>(&namespace);
                api.replace_status(named.name, &PostParams::default(), &claim).await?;
            }
        }
        Ok(())
    }
}

/// What the name of a claim begins with: that of the pod and of the claim in it, each shortened by as much if they are long.
fn base_name(pod: &str, claim: &str) -> String {
    let whole = format!("{pod}-{claim}-");
    if whole.len() <= BASE_LENGTH_MAX {
        return whole;
    }
    let share = pod.len() * BASE_LENGTH_MAX / whole.len();
    let claim_share = claim.len() * BASE_LENGTH_MAX / whole.len();
    format!("{}-{}", &pod[..share], &claim[..claim_share])
}

#[cfg(test)]
mod tests {
    use super::base_name;

    #[test]
    fn long_names_are_shortened_in_proportion() {
        assert_eq!(base_name("pod", "gpu"), "pod-gpu-");
        let (pod, claim) = ("p".repeat(63), "c".repeat(21));
        let name = base_name(&pod, &claim);
        assert_eq!(name, format!("{}-{}", "p".repeat(41), "c".repeat(13)));
    }
}
