//! What is written of claims of devices before a pod is bound: their devices, and that the pod has them (`PreBind` of
//! `DynamicResources`), and what is taken back if it is not bound (`Unreserve`).

use std::sync::Arc;
use std::time::Duration;

use client::resource_claims::{FINALIZER, consumer, is_allocated};
use client::{EventType, Note, ObjectKey};
use k8s_openapi::api::core::v1::{ContainerExtendedResourceRequest, Pod};
use k8s_openapi::api::resource::v1::{AllocationResult, ResourceClaim};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt};
use metrics::Counter;
use serde_json::json;

use crate::bind::{BindError, Binder};
use crate::device_claims::DeviceClaims;
use crate::plugins::dynamic_resources::{
    BINDING_MAX, GiveUp, Plan, Readiness, conditional, is_late, is_mine, readiness,
};
use crate::pod::PodInfo;

/// How often a claim is written that somebody else writes at the same time, and the pause between (`retry.DefaultRetry`).
const TRIES_MAX: u32 = 5;
const PAUSE: Duration = Duration::from_millis(10);
/// How often it is asked whether devices are ready though nobody said that something changed.
const READY_PAUSE: Duration = Duration::from_secs(5);

/// The claims for which devices were taken; those that are not written when it goes are free again.
pub(crate) struct Taken {
    devices: Arc<DeviceClaims>,
    uids: Vec<String>,
}

impl Taken {
    /// Takes the devices of a plan at once, before anything is written.
    pub(crate) fn new(devices: &Arc<DeviceClaims>, pod: &PodInfo, plan: &Plan) -> Self {
        let mut taken = Self { devices: devices.clone(), uids: Vec::new() };
        for (claim, allocation) in &plan.claims {
            if let Some(allocation) = allocation {
                taken.take(claim.uid().unwrap_or_default(), allocation);
            }
        }
        if let Some((_, allocation, _)) = &plan.extended {
            // It has no uid yet.
            taken.take(format!("for pod {}", pod.uid), allocation);
        }
        taken
    }

    fn take(&mut self, uid: String, allocation: &AllocationResult) {
        self.devices.reserve(&uid, allocation.clone());
        self.uids.push(uid);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.uids.iter().for_each(|uid| self.devices.settle(uid, None));
    }
}

/// What was written for a pod.
#[derive(Default)]
pub(crate) struct Written {
    /// The claims that were reserved for it.
    reserved: Vec<ResourceClaim>,
    /// The claim that was made for its extended resources.
    made: Option<ResourceClaim>,
}

fn failed(why: impl Into<String>) -> BindError {
    BindError::Claims(why.into())
}

fn in_claim(what: &str, claim: &ResourceClaim, error: kube::Error) -> BindError {
    match error {
        kube::Error::Api(status) if status.code == 409 => BindError::Api(kube::Error::Api(status)),
        other => failed(format!("{what} {}: {other}", ObjectKey::of(claim))),
    }
}

impl Binder {
    /// Writes what a plan says. What was written is in `written`, also if it fails.
    pub(crate) async fn bind_claims(
        &self,
        pod: &PodInfo,
        node: &str,
        plan: &Plan,
        written: &mut Written,
    ) -> Result<(), BindError> {
        for (claim, allocation) in &plan.claims {
            if !is_mine(claim, pod) {
                let bound = self.bind_claim(pod, claim, allocation.as_ref()).await?;
                self.note_written(&bound, allocation.is_some());
                written.reserved.push(bound);
            }
        }
        if let Some((claim, allocation, mappings)) = &plan.extended {
            let made = self.make(claim).await?;
            written.made = Some(made.clone());
            let bound = self.bind_claim(pod, &made, Some(allocation)).await?;
            self.note_written(&bound, true);
            written.made = Some(bound.clone());
            self.tell_extended(pod, &bound, mappings).await?;
        }
        let claims: Vec<&ResourceClaim> = written.reserved.iter().chain(&written.made).collect();
        let mine = plan.claims.iter().filter(|(claim, _)| is_mine(claim, pod)).map(|(claim, _)| &**claim);
        let all: Vec<ObjectKey> = claims.iter().copied().chain(mine.clone()).map(ObjectKey::of).collect();
        if claims.into_iter().chain(mine).any(|claim| conditional(claim).next().is_some()) {
            self.wait_ready(pod, node, &all).await?;
        }
        Ok(())
    }

    fn note_written(&self, claim: &ResourceClaim, is_new: bool) {
        match is_new {
            true => self.caches.devices.settle(claim.metadata.uid.as_deref().unwrap_or_default(), Some(claim)),
            false => self.caches.devices.note(claim),
        }
    }

    fn claims_of(&self, claim: &ResourceClaim) -> Api<ResourceClaim> {
        Api::namespaced(self.client.clone(), claim.metadata.namespace.as_deref().unwrap_or_default())
    }

    /// Writes the devices of a claim, if it gets some, and that the pod has it.
    async fn bind_claim(
        &self,
        pod: &PodInfo,
        claim: &ResourceClaim,
        allocation: Option<&AllocationResult>,
    ) -> Result<ResourceClaim, BindError> {
        let api = self.claims_of(claim);
        let mut current = claim.clone();
        for tried in 1.. {
            match self.try_claim(&api, pod, current.clone(), allocation).await {
                Err(BindError::Api(kube::Error::Api(status))) if status.code == 409 && tried < TRIES_MAX => {}
                outcome => return outcome,
            }
            self.clock.sleep(PAUSE).await;
            let again = format!("get updated claim {} after conflict", ObjectKey::of(claim));
            current = api.get(&claim.name_any()).await.map_err(|error| failed(format!("{again}: {error}")))?;
        }
        unreachable!("the last try is answered")
    }

    async fn try_claim(
        &self,
        api: &Api<ResourceClaim>,
        pod: &PodInfo,
        mut claim: ResourceClaim,
        allocation: Option<&AllocationResult>,
    ) -> Result<ResourceClaim, BindError> {
        let (key, name) = (ObjectKey::of(&claim), claim.name_any());
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(failed(format!("claim {key} got deleted in the meantime")));
        }
        if let Some(allocation) = allocation {
            if is_allocated(&claim) {
                return Err(failed(format!("claim {key} got allocated elsewhere in the meantime")));
            }
            if !claim.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
                claim.finalizers_mut().push(FINALIZER.into());
                let written = api.replace(&name, &PostParams::default(), &claim).await;
                claim = written.map_err(|error| in_claim("add finalizer to claim", &claim, error))?;
            }
            claim.status.get_or_insert_default().allocation = Some(allocation.clone());
        }
        let status = claim.status.get_or_insert_default();
        status.reserved_for.get_or_insert_default().push(consumer(pod.name(), &pod.uid));
        let Some(current) = &mut status.allocation else {
            return Err(failed(format!("claim {key} got deallocated elsewhere in the meantime")));
        };
        current.allocation_timestamp.get_or_insert_with(|| Time(self.clock.now()));
        let what = match allocation {
            Some(_) => "add allocation and reservation to claim",
            None => "add reservation to claim",
        };
        let written = api.replace_status(&name, &PostParams::default(), &claim).await;
        written.map_err(|error| in_claim(what, &claim, error))
    }

    /// Makes the claim for extended resources.
    async fn make(&self, claim: &ResourceClaim) -> Result<ResourceClaim, BindError> {
        let made = self.claims_of(claim).create(&PostParams::default(), claim).await;
        let outcome = if made.is_ok() { "success" } else { "failure" };
        self.figures.families.claims_made.with([outcome], Counter::add_one);
        made.map_err(|error| failed(format!("create claim for extended resources {}: {error}", ObjectKey::of(claim))))
    }

    /// Says in the pod's status which claim it has for its extended resources.
    async fn tell_extended(
        &self,
        pod: &PodInfo,
        claim: &ResourceClaim,
        mappings: &[ContainerExtendedResourceRequest],
    ) -> Result<(), BindError> {
        let status = json!({"resourceClaimName": claim.name_any(), "requestMappings": mappings});
        let patch = json!({"metadata": {"uid": pod.uid}, "status": {"extendedResourceClaimStatus": status}});
        let api: Api<Pod> = Api::namespaced(self.client.clone(), pod.namespace());
        let told = api.patch_status(pod.name(), &PatchParams::default(), &Patch::Strategic(patch)).await;
        let of = format!("{}/{}", pod.namespace(), pod.name());
        told.map(drop).map_err(|error| failed(format!("update pod {of} ExtendedResourceClaimStatus: {error}")))
    }

    /// Waits until the devices of all claims can be used.
    async fn wait_ready(&self, pod: &PodInfo, node: &str, claims: &[ObjectKey]) -> Result<(), BindError> {
        self.events.note(Note {
            regarding: pod.reference(),
            related: None,
            type_: EventType::Normal,
            reason: "BindingConditionsPending",
            action: "Scheduling",
            note: format!("waiting for binding conditions for device on node {node}"),
        });
        let begun = self.clock.elapsed();
        let waited = tokio::time::timeout(BINDING_MAX, self.ready(claims)).await;
        let waited =
            waited.unwrap_or_else(|_| Err((failed("device binding timeout: context deadline exceeded"), "timeout")));
        let outcome = waited.as_ref().err().map_or("success", |(_, outcome)| outcome);
        let took = self.clock.elapsed().saturating_sub(begun);
        let known = claims.iter().filter_map(|key| self.caches.devices.claim(&key.namespace, &key.name));
        for claim in known {
            for result in conditional(&claim) {
                self.figures.bound_device(&result.driver, outcome, took);
            }
        }
        waited.map_err(|(error, _)| error)
    }

    async fn ready(&self, claims: &[ObjectKey]) -> Result<(), (BindError, &'static str)> {
        let mut changed = self.device_claims_changed.clone();
        loop {
            changed.borrow_and_update();
            let mut all_ready = true;
            for key in claims {
                let gone = || (failed(format!("could not find resourceclaim {:?}", key.to_string())), "error");
                let claim = self.caches.devices.claim(&key.namespace, &key.name).ok_or_else(gone)?;
                match readiness(&claim) {
                    Readiness::Ready => {}
                    Readiness::Failed(why) => return Err((failed(why), "failed")),
                    Readiness::Waiting if is_late(&claim, self.clock.now()) => {
                        return Err((failed(format!("device binding timeout: claim={}", key.name)), "timeout"));
                    }
                    Readiness::Waiting => all_ready = false,
                }
            }
            if all_ready {
                return Ok(());
            }
            tokio::select! {
                _ = changed.changed() => {}
                () = self.clock.sleep(READY_PAUSE) => {}
            }
        }
    }

    /// Takes back what was written for a pod that is not bound after all.
    pub(crate) async fn unreserve(&self, pod: &PodInfo, written: &Written) {
        for claim in &written.reserved {
            let patch = json!({"metadata": {"uid": claim.metadata.uid},
                "status": {"reservedFor": [{"$patch": "delete", "uid": pod.uid}]}});
            let api = self.claims_of(claim);
            match api.patch_status(&claim.name_any(), &PatchParams::default(), &Patch::Strategic(patch)).await {
                Ok(claim) => self.caches.devices.note(&claim),
                Err(error) => tracing::debug!(claim = claim.name_any(), %error, "a claim stays reserved"),
            }
        }
        if let Some(claim) = &written.made
            && let Err(error) = self.delete_claim(claim).await
        {
            tracing::debug!(claim = claim.name_any(), %error, "a claim for extended resources stays");
        }
    }

    /// Deletes a claim that was made for extended resources, with its finalizer.
    async fn delete_claim(&self, claim: &ResourceClaim) -> Result<(), kube::Error> {
        let (api, name) = (self.claims_of(claim), claim.name_any());
        let mut claim = claim.clone();
        for tried in 1.. {
            claim.finalizers_mut().retain(|finalizer| finalizer != FINALIZER);
            match api.replace(&name, &PostParams::default(), &claim).await {
                Err(kube::Error::Api(status)) if status.code == 409 && tried < TRIES_MAX => {}
                outcome => {
                    outcome?;
                    break;
                }
            }
            self.clock.sleep(PAUSE).await;
            claim = api.get(&name).await?;
        }
        api.delete(&name, &DeleteParams::default()).await.map(drop)
    }

    /// Gives up the devices of a claim, or the claim, so that others may be found.
    pub(crate) async fn give_up(&self, what: &GiveUp) -> Result<(), BindError> {
        match what {
            GiveUp::Claim(claim) => Ok(self.delete_claim(claim).await?),
            GiveUp::Devices(claim) => {
                let mut claim = (**claim).clone();
                claim.meta_mut().managed_fields = None;
                let status = claim.status.get_or_insert_default();
                (status.reserved_for, status.allocation, status.devices) = (None, None, None);
                let api = self.claims_of(&claim);
                let written = api.replace_status(&claim.name_any(), &PostParams::default(), &claim).await?;
                self.caches.devices.note(&written);
                Ok(())
            }
        }
    }
}
