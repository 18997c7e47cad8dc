//! What is done about one claim.

use api::volumes::class_of;
use client::volume_match::{Seeker, find, is_bound_to};
use client::{Action, EventType, ObjectKey};
use k8s_openapi::api::core::v1::{
    ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus, PersistentVolumeSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::PostParams;
use kube::{Resource, ResourceExt};

use super::{
    BIND_COMPLETED, BOUND_BY_CONTROLLER, BY_CLAIM, SELECTED_NODE, Volumes, claim_key, claim_ref, has, matching,
    phase_of_claim, volume_name,
};
use crate::error::{Result, ignore_not_found};
use crate::pod::node_name;

impl Volumes {
    pub(super) async fn sync_claim(&self, key: ObjectKey) -> Result<Action> {
        let Some(claim) = self.claims.get_key(&key) else {
            // A volume that was just tied to it does not hear of its end from the claim, which never named the volume.
            let tied = self.volumes.list().into_iter().filter(|volume| claim_key(volume).as_ref() == Some(&key));
            tied.for_each(|volume| self.volume_queue.add(ObjectKey::of(&*volume)));
            return Ok(Action::Done);
        };
        if has(&*claim, BIND_COMPLETED) {
            self.sync_bound(&claim).await?;
        } else {
            self.sync_unbound(&claim).await?;
        }
        Ok(Action::Done)
    }

    async fn sync_unbound(&self, claim: &PersistentVolumeClaim) -> Result<()> {
        if claim.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let Some(wanted) = volume_name(claim) else { return self.find_or_provision(claim).await };
        let Some(volume) = self.volumes.get("", wanted) else { return self.set_phase(claim, "Pending").await };
        if claim_ref(&volume).is_some() && !is_bound_to(&volume, claim) {
            let said = format!("volume \"{wanted}\" already bound to a different claim.");
            self.context.events.event(claim, EventType::Warning, "FailedBinding", said);
            return self.set_phase(claim, "Pending").await;
        }
        if let Some(why) = matching::mismatch(&volume, claim).filter(|_| claim_ref(&volume).is_none()) {
            let said = format!("Cannot bind to requested volume \"{wanted}\": {why}");
            self.context.events.event(claim, EventType::Warning, "VolumeMismatch", said);
            return self.set_phase(claim, "Pending").await;
        }
        self.bind(claim, &volume).await
    }

    async fn find_or_provision(&self, claim: &PersistentVolumeClaim) -> Result<()> {
        let class = class_of(claim);
        let mode = self.classes.get("", class).and_then(|c| c.volume_binding_mode.clone());
        let delayed = mode.as_deref() == Some("WaitForFirstConsumer") && !has(claim, SELECTED_NODE);
        let seeker = if delayed { Seeker::WaitingBinder } else { Seeker::Binder };
        if let Some(volume) = find(claim, &self.volumes.list(), seeker, &[]) {
            return self.bind(claim, volume).await;
        }
        if delayed {
            let key = ObjectKey::of(claim).to_string();
            let waiting = self.pods.indexed(BY_CLAIM, &key).into_iter().find(|p| node_name(p).is_empty());
            let (reason, said) = match waiting {
                Some(pod) => ("WaitForPodScheduled", format!("waiting for pod {} to be scheduled", pod.name_any())),
                None => {
                    let said = "waiting for first consumer to be created before binding";
                    ("WaitForFirstConsumer", said.to_owned())
                }
            };
            self.context.events.event(claim, EventType::Normal, reason, said);
        } else if !class.is_empty() {
            self.provision(claim).await?;
        } else {
            let said = "no persistent volumes available for this claim and no storage class is set";
            self.context.events.event(claim, EventType::Normal, "FailedBinding", said);
        }
        self.set_phase(claim, "Pending").await
    }

    async fn sync_bound(&self, claim: &PersistentVolumeClaim) -> Result<()> {
        let Some(name) = volume_name(claim) else {
            return self
                .lose(
                    claim,
                    "ClaimLost",
                    "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!",
                )
                .await;
        };
        let volume = match self.volumes.get("", name) {
            Some(volume) => Some((*volume).clone()),
            // The cache may be behind a volume that was just made.
            None => self.context.api_all::<PersistentVolume>().get_opt(name).await?,
        };
        let Some(volume) = volume else {
            return self
                .lose(claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
                .await;
        };
        let another = claim_ref(&volume).is_some_and(|r| r.uid.is_some() && r.uid != claim.metadata.uid);
        if another {
            let said = "Two claims are bound to the same volume, this one is bound incorrectly";
            return self.lose(claim, "ClaimMisbound", said).await;
        }
        self.bind(claim, &volume).await
    }

    async fn lose(&self, claim: &PersistentVolumeClaim, reason: &str, said: &str) -> Result<()> {
        if phase_of_claim(claim) != "Lost" {
            self.context.events.event(claim, EventType::Warning, reason, said);
        }
        self.set_phase(claim, "Lost").await
    }

    /// Ties a claim and a volume together, in an order that any interruption leaves repairable: the volume first.
    async fn bind(&self, claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Result<()> {
        let volume = self.tie_volume(claim, volume).await?;
        self.set_volume_phase(&volume, "Bound").await?;
        let claim = self.tie_claim(claim, &volume).await?;
        let status = bound_status(&claim, volume.spec.as_ref());
        self.write_claim_status(&claim, status).await
    }

    async fn tie_volume(&self, claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Result<PersistentVolume> {
        let meant = is_bound_to(volume, claim);
        let mut tied = volume.clone();
        if claim_ref(volume).and_then(|r| r.uid.as_ref()) != claim.metadata.uid.as_ref() || !meant {
            let reference = claim.object_ref(&());
            tied.spec.get_or_insert_default().claim_ref =
                Some(ObjectReference { resource_version: claim.metadata.resource_version.clone(), ..reference });
        }
        if !meant {
            tied.metadata.annotations.get_or_insert_default().insert(BOUND_BY_CONTROLLER.into(), "yes".into());
        }
        if tied == *volume {
            return Ok(tied);
        }
        let api = self.context.api_all::<PersistentVolume>();
        Ok(api.replace(&volume.name_any(), &PostParams::default(), &tied).await?)
    }

    async fn tie_claim(
        &self,
        claim: &PersistentVolumeClaim,
        volume: &PersistentVolume,
    ) -> Result<PersistentVolumeClaim> {
        let mut tied = claim.clone();
        let chosen = volume_name(claim).is_none();
        tied.spec.get_or_insert_default().volume_name = Some(volume.name_any());
        let annotations = tied.metadata.annotations.get_or_insert_default();
        if chosen {
            annotations.insert(BOUND_BY_CONTROLLER.into(), "yes".into());
        }
        annotations.insert(BIND_COMPLETED.into(), "yes".into());
        if tied == *claim {
            return Ok(tied);
        }
        let api = self.context.api::<PersistentVolumeClaim>(&claim.namespace().unwrap_or_default());
        Ok(api.replace(&claim.name_any(), &PostParams::default(), &tied).await?)
    }

    async fn set_phase(&self, claim: &PersistentVolumeClaim, phase: &str) -> Result<()> {
        let mut status = claim.status.clone().unwrap_or_default();
        status.phase = Some(phase.into());
        (status.access_modes, status.capacity, status.current_volume_attributes_class_name) = (None, None, None);
        self.write_claim_status(claim, status).await
    }

    async fn write_claim_status(
        &self,
        claim: &PersistentVolumeClaim,
        status: PersistentVolumeClaimStatus,
    ) -> Result<()> {
        if claim.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let written = PersistentVolumeClaim { status: Some(status), ..claim.clone() };
        let api = self.context.api::<PersistentVolumeClaim>(&claim.namespace().unwrap_or_default());
        ignore_not_found(api.replace_status(&claim.name_any(), &PostParams::default(), &written).await)?;
        Ok(())
    }

    pub(super) async fn set_volume_phase(&self, volume: &PersistentVolume, phase: &str) -> Result<()> {
        if volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some(phase) {
            return Ok(());
        }
        let mut written = volume.clone();
        let status = written.status.get_or_insert_default();
        status.phase = Some(phase.into());
        status.message = None;
        status.last_phase_transition_time = Some(Time(self.context.clock.now()));
        let api = self.context.api_all::<PersistentVolume>();
        ignore_not_found(api.replace_status(&volume.name_any(), &PostParams::default(), &written).await)?;
        Ok(())
    }
}

/// The status of a claim that is bound to a volume (`updateClaimStatus`). What may change later without the volume, or
/// is changed by whoever resizes and modifies volumes, is taken over only when the claim becomes bound.
fn bound_status(claim: &PersistentVolumeClaim, volume: Option<&PersistentVolumeSpec>) -> PersistentVolumeClaimStatus {
    let mut status = claim.status.clone().unwrap_or_default();
    status.access_modes = volume.and_then(|volume| volume.access_modes.clone());
    if phase_of_claim(claim) != "Bound" {
        status.capacity = volume.and_then(|volume| volume.capacity.clone());
        status.current_volume_attributes_class_name =
            volume.and_then(|volume| volume.volume_attributes_class_name.clone());
    }
    status.phase = Some("Bound".into());
    status
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_takes_size_and_attributes_over_when_it_becomes_bound() {
        let volume = json!({"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"],
            "volumeAttributesClassName": "silver"});
        let volume: PersistentVolumeSpec = serde_json::from_value(volume).expect("a volume");
        let status = |old: serde_json::Value| {
            let claim = serde_json::from_value(json!({"status": old})).expect("a claim");
            serde_json::to_value(bound_status(&claim, Some(&volume))).expect("a status")
        };
        let bound = json!({"phase": "Bound", "capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"],
            "currentVolumeAttributesClassName": "silver"});
        assert_eq!(status(json!({"phase": "Pending"})), bound);
        let before = json!({"phase": "Bound", "capacity": {"storage": "4Gi"}, "accessModes": ["ReadWriteOnce"],
            "currentVolumeAttributesClassName": "gold"});
        assert_eq!(status(before.clone()), before);
    }
}
