//! What is done about one volume.

use client::{Action, EventType, ObjectKey};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};

use super::{BOUND_BY_CONTROLLER, PROVISIONED_BY, PROVISIONER, Volumes, claim_key, claim_ref, has, volume_name};
use crate::error::{Result, ignore_not_found};

impl Volumes {
    pub(super) async fn sync_volume(&self, key: ObjectKey) -> Result<Action> {
        let Some(volume) = self.volumes.get_key(&key) else { return Ok(Action::Done) };
        let uid = claim_ref(&volume).and_then(|r| r.uid.clone()).filter(|u| !u.is_empty());
        let (Some(claim_key), Some(uid)) = (claim_key(&volume), uid) else {
            // Unused, or meant for a claim that is yet to come.
            self.set_volume_phase(&volume, "Available").await?;
            return Ok(Action::Done);
        };
        let claim = self.claim(&claim_key).await?.filter(|c| c.uid().as_deref() == Some(&uid));
        match claim {
            None => self.release(&volume).await?,
            Some(claim) if volume_name(&claim).is_none() => self.claim_queue.add(claim_key),
            Some(claim) if volume_name(&claim) == Some(&key.name) => self.set_volume_phase(&volume, "Bound").await?,
            // The claim went to another volume.
            Some(_) if has(&*volume, PROVISIONED_BY) => self.release(&volume).await?,
            Some(_) => self.untie(&volume).await?,
        }
        Ok(Action::Done)
    }

    async fn claim(&self, key: &ObjectKey) -> Result<Option<PersistentVolumeClaim>> {
        if let Some(claim) = self.claims.get_key(key) {
            return Ok(Some((*claim).clone()));
        }
        // Nothing is reclaimed on the word of a cache.
        Ok(self.context.api::<PersistentVolumeClaim>(&key.namespace).get_opt(&key.name).await?)
    }

    async fn untie(&self, volume: &PersistentVolume) -> Result<()> {
        if !has(volume, BOUND_BY_CONTROLLER) {
            return Ok(());
        }
        let mut free = volume.clone();
        free.spec.get_or_insert_default().claim_ref = None;
        free.metadata.annotations.get_or_insert_default().remove(BOUND_BY_CONTROLLER);
        let api = self.context.api_all::<PersistentVolume>();
        ignore_not_found(api.replace(&volume.name_any(), &PostParams::default(), &free).await)?;
        Ok(())
    }

    /// The claim is gone: the volume is kept or deleted, as its policy says.
    async fn release(&self, volume: &PersistentVolume) -> Result<()> {
        let phase = volume.status.as_ref().and_then(|s| s.phase.as_deref());
        let policy = volume.spec.as_ref().and_then(|s| s.persistent_volume_reclaim_policy.as_deref());
        if phase != Some("Released") && phase != Some("Failed") {
            // The change of the phase brings the volume here again.
            return self.set_volume_phase(volume, "Released").await;
        }
        let ours = volume.annotations().get(PROVISIONED_BY).is_some_and(|p| p == PROVISIONER);
        if policy != Some("Delete") || !ours || volume.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let started = self.context.clock.elapsed();
        let removed = self.remove_directory(volume).await;
        self.count("delete", started, removed.is_err());
        if let Err(error) = removed {
            self.context.events.event(volume, EventType::Warning, "VolumeFailedDelete", error.to_string());
            self.set_volume_phase(volume, "Failed").await?;
            return Err(error);
        }
        let api = self.context.api_all::<PersistentVolume>();
        ignore_not_found(api.delete(&volume.name_any(), &DeleteParams::default()).await)?;
        Ok(())
    }
}
