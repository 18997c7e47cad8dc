//! Claims that nobody uses any more are given up: reservations, devices, the finalizer, and what was made for a pod.

use client::ObjectKey;
use client::resource_claims::{self, FINALIZER};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimConsumerReference};
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};

use super::{Claims, is_done, owning_pod};
use crate::error::{Result, ignore_not_found};

impl Claims {
    /// Takes out who needs the claim no longer, and gives it up with the last of them (`syncClaim`).
    pub(super) async fn sync_claim(&self, key: &ObjectKey) -> Result<()> {
        let Some(claim) = self.claims.get_key(key) else { return Ok(()) };
        let reserved = resource_claims::reserved_for(&claim);
        let mut remaining = Vec::with_capacity(reserved.len());
        for consumer in reserved {
            if self.is_needed_by(key, consumer).await? {
                remaining.push(consumer.clone());
            }
        }
        let is_unused = remaining.is_empty();
        if remaining.len() < reserved.len() {
            self.release(&claim, remaining).await?;
        } else if is_unused && claim.metadata.deletion_timestamp.is_some() && resource_claims::is_protected(&claim) {
            let claim = match resource_claims::is_allocated(&claim) {
                true => self.deallocate(&claim).await?,
                false => (*claim).clone(),
            };
            self.unprotect(claim).await?;
        }
        if is_unused { self.delete_unneeded(key, &claim).await } else { Ok(()) }
    }

    /// Whether whom the claim is reserved for may need it. What is no pod is not ours to judge.
    async fn is_needed_by(&self, key: &ObjectKey, consumer: &ResourceClaimConsumerReference) -> Result<bool> {
        let is_core = consumer.api_group.as_deref().unwrap_or_default().is_empty();
        if !is_core || consumer.resource != "pods" {
            return Ok(true);
        }
        if self.departed.lock().has(&consumer.uid) {
            return Ok(false);
        }
        let is_same = |pod: &Pod| pod.metadata.uid.as_ref() == Some(&consumer.uid);
        match self.pods.get(&key.namespace, &consumer.name) {
            Some(pod) => Ok(is_same(&pod) && !is_done(&pod)),
            // It may be newer than what the cache shows: the scheduler may be about to bind it.
            None => {
                let pod = self.context.api::<Pod>(&key.namespace).get_opt(&consumer.name).await?;
                Ok(pod.is_some_and(|pod| is_same(&pod)))
            }
        }
    }

    /// Writes who is left; with the last one the devices are free again.
    async fn release(&self, claim: &ResourceClaim, remaining: Vec<ResourceClaimConsumerReference>) -> Result<()> {
        let mut claim = claim.clone();
        let is_last = remaining.is_empty();
        let is_protected = resource_claims::is_protected(&claim);
        let status = claim.status.get_or_insert_default();
        status.reserved_for = Some(remaining);
        if is_last && is_protected {
            status.allocation = None;
        }
        let claim = self.write_status(&claim).await?;
        match resource_claims::is_protected(&claim) && !resource_claims::is_allocated(&claim) {
            true => self.unprotect(claim).await,
            false => Ok(()),
        }
    }

    async fn deallocate(&self, claim: &ResourceClaim) -> Result<ResourceClaim> {
        let mut claim = claim.clone();
        claim.status.get_or_insert_default().allocation = None;
        self.write_status(&claim).await
    }

    /// Writes the status if nobody changed the claim since it was read.
    async fn write_status(&self, claim: &ResourceClaim) -> Result<ResourceClaim> {
        let api = self.context.api::<ResourceClaim>(&claim.namespace().unwrap_or_default());
        Ok(api.replace_status(&claim.name_any(), &PostParams::default(), claim).await?)
    }

    async fn unprotect(&self, mut claim: ResourceClaim) -> Result<()> {
        claim.finalizers_mut().retain(|finalizer| finalizer != FINALIZER);
        let api = self.context.api::<ResourceClaim>(&claim.namespace().unwrap_or_default());
        ignore_not_found(api.replace(&claim.name_any(), &PostParams::default(), &claim).await)?;
        Ok(())
    }

    /// Deletes a claim that was made for a pod which will not run; the garbage collector would wait for the pod to go.
    async fn delete_unneeded(&self, key: &ObjectKey, claim: &ResourceClaim) -> Result<()> {
        let Some((name, uid)) = owning_pod(claim) else { return Ok(()) };
        let Some(pod) = self.pods.get(&key.namespace, name) else { return Ok(()) };
        if pod.metadata.uid.as_deref() != Some(uid) || is_done(&pod) {
            let api = self.context.api::<ResourceClaim>(&key.namespace);
            ignore_not_found(api.delete(&key.name, &DeleteParams::default()).await)?;
        }
        Ok(())
    }
}
