//! Making and removing local volumes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use api::volumes::class_of;
use client::EventType;
use k8s_openapi::api::core::v1::{
    HostPathVolumeSource, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, ObjectReference, PersistentVolume,
    PersistentVolumeClaim, PersistentVolumeSpec, VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Resource, ResourceExt};
use metrics::Counter;

use super::{
    LocalVolumes, PROVISIONED_BY, PROVISIONER, SELECTED_NODE, STORAGE_PROVISIONER, STORAGE_PROVISIONER_BETA, Volumes,
};
use crate::error::{Error, Result, is_already_exists};
use crate::figures::Various;

/// The label by which nodes are selected.
const HOSTNAME: &str = "kubernetes.io/hostname";
/// The provisioner of classes whose volumes people make by hand.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

impl Volumes {
    /// Makes a volume for the claim, or asks the class's own provisioner to.
    pub(super) async fn provision(&self, claim: &PersistentVolumeClaim) -> Result<()> {
        let name = class_of(claim);
        let Some(class) = self.classes.get("", name) else {
            let said = format!("storageclass.storage.k8s.io \"{name}\" not found");
            self.context.events.event(claim, EventType::Warning, "ProvisioningFailed", said);
            return Ok(());
        };
        match class.provisioner.as_str() {
            PROVISIONER => {
                let node = claim.annotations().get(SELECTED_NODE).cloned();
                match plan(claim, &class, node, self.context.config.local_volumes.as_ref()) {
                    Ok((volume, node)) => self.create(claim, volume, &node).await,
                    Err(said) => {
                        self.context.events.event(claim, EventType::Warning, "ProvisioningFailed", said);
                        Ok(())
                    }
                }
            }
            NO_PROVISIONER => Ok(()),
            other => self.ask(claim, other).await,
        }
    }

    async fn create(&self, claim: &PersistentVolumeClaim, mut volume: PersistentVolume, node: &str) -> Result<()> {
        let hostname = self.nodes.get("", node).and_then(|n| n.labels().get(HOSTNAME).cloned());
        volume.spec.get_or_insert_default().node_affinity = Some(affinity(hostname.as_deref().unwrap_or(node)));
        let name = volume.name_any();
        let started = self.context.clock.elapsed();
        let made = self.context.api_all::<PersistentVolume>().create(&PostParams::default(), &volume).await;
        self.count("provision", started, made.as_ref().err().is_some_and(|error| !is_already_exists(error)));
        match made {
            Ok(_) => {
                let said = format!("Successfully provisioned volume {name}");
                self.context.events.event(claim, EventType::Normal, "ProvisioningSucceeded", said);
                self.volume_queue.add(client::ObjectKey::cluster(name));
                Ok(())
            }
            // The cache is behind; the volume's arrival brings the claim again.
            Err(error) if is_already_exists(&error) => Ok(()),
            Err(error) => {
                let said = format!("Error creating provisioned PV object for claim: {error}");
                self.context.events.event(claim, EventType::Warning, "ProvisioningFailed", said);
                Err(error.into())
            }
        }
    }

    /// Counts an operation on a volume, which began at `started`.
    pub(super) fn count(&self, operation: &str, started: Duration, failed: bool) {
        let (figures, labels) = (self.context.figures::<Various>(), [operation, PROVISIONER]);
        if failed {
            figures.volume_errors.with(labels, Counter::add_one);
            return;
        }
        let took = self.context.clock.elapsed().saturating_sub(started).as_secs_f64();
        figures.volume_durations.with(labels, |durations| durations.observe(took));
    }

    /// Tells a provisioner that is not ours of the claim, by the annotations it waits for.
    async fn ask(&self, claim: &PersistentVolumeClaim, provisioner: &str) -> Result<()> {
        let said = format!(
            "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the \
             system administrator. If volume creation is delayed, please verify that the provisioner is running and \
             correctly registered."
        );
        self.context.events.event(claim, EventType::Normal, "ExternalProvisioning", said);
        let mut asked = claim.clone();
        let annotations = asked.metadata.annotations.get_or_insert_default();
        for key in [STORAGE_PROVISIONER, STORAGE_PROVISIONER_BETA] {
            annotations.insert(key.into(), provisioner.into());
        }
        if asked != *claim {
            let api = self.context.api::<PersistentVolumeClaim>(&claim.namespace().unwrap_or_default());
            api.replace(&claim.name_any(), &PostParams::default(), &asked).await?;
        }
        Ok(())
    }

    /// Removes the directory of a volume that we made.
    pub(super) async fn remove_directory(&self, volume: &PersistentVolume) -> Result<()> {
        let local = self.context.config.local_volumes.as_ref();
        let local = local.ok_or_else(|| Error::Invalid("this server has no directory for local volumes".into()))?;
        let Some(path) = owned_path(volume, local) else {
            let said = format!("the directory of {} is not one of this node's local volumes", volume.name_any());
            return Err(Error::Invalid(said));
        };
        let shown = path.display().to_string();
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(&path)).await;
        match removed.map_err(|e| Error::Invalid(e.to_string()))? {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::File { path: shown, source }),
            _ => Ok(()),
        }
    }
}

/// The path of a volume, if it is a direct child of our directory named after the volume: nothing else is removed.
fn owned_path(volume: &PersistentVolume, local: &LocalVolumes) -> Option<PathBuf> {
    let path = Path::new(&volume.spec.as_ref()?.host_path.as_ref()?.path);
    let expected = local.directory.join(volume.metadata.name.as_deref()?);
    (path == expected && expected.parent() == Some(&local.directory)).then_some(expected)
}

fn plan(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    selected: Option<String>,
    local: Option<&LocalVolumes>,
) -> Result<(PersistentVolume, String), String> {
    let local = local.ok_or("this server has no directory for local volumes")?;
    let node = selected.unwrap_or_else(|| local.node.clone());
    if node != local.node {
        return Err(format!("local volumes can only be made on node {}, not on {node}", local.node));
    }
    let spec = claim.spec.clone().unwrap_or_default();
    if spec.volume_mode.as_deref() == Some("Block") {
        return Err("local volumes are file systems, not block devices".into());
    }
    if spec.selector.is_some() {
        return Err("claim.Spec.Selector is not supported for dynamic provisioning".into());
    }
    let name = format!("pvc-{}", claim.uid().unwrap_or_default());
    let path = local.directory.join(&name).display().to_string();
    let requests = spec.resources.and_then(|r| r.requests).unwrap_or_default();
    let volume = PersistentVolume {
        metadata: ObjectMeta {
            name: Some(name),
            annotations: Some([(PROVISIONED_BY.to_owned(), PROVISIONER.to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: spec.access_modes,
            capacity: Some(requests.into_iter().filter(|(k, _)| k == "storage").collect()),
            claim_ref: Some(ObjectReference { resource_version: claim.resource_version(), ..claim.object_ref(&()) }),
            host_path: Some(HostPathVolumeSource { path, type_: Some("DirectoryOrCreate".into()) }),
            mount_options: class.mount_options.clone(),
            persistent_volume_reclaim_policy: Some(class.reclaim_policy.clone().unwrap_or_else(|| "Delete".into())),
            storage_class_name: Some(class.name_any()),
            volume_mode: spec.volume_mode,
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    };
    Ok((volume, node))
}

fn affinity(hostname: &str) -> VolumeNodeAffinity {
    let requirement =
        NodeSelectorRequirement { key: HOSTNAME.into(), operator: "In".into(), values: Some(vec![hostname.into()]) };
    let term = NodeSelectorTerm { match_expressions: Some(vec![requirement]), match_fields: None };
    VolumeNodeAffinity { required: Some(NodeSelector { node_selector_terms: vec![term] }) }
}
