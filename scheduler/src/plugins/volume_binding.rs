//! `VolumeBinding` (with `VolumeRestrictions` and `VolumeZone`): a pod goes where its claims' volumes are or can be.

use std::sync::Arc;

use api::volumes::class_of;
use client::volume_match::{Seeker, find, is_reached};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;

use super::{Plugin, Rejection};
use crate::cache::Cache;
use crate::lookup::Lookup;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

const PLUGIN: Plugin = Plugin::VolumeBinding;
const CONFLICT: &str = "node(s) didn't match PersistentVolume's node affinity";
const NONE_FITS: &str = "node(s) didn't find available persistent volumes to bind";

/// The pod's claims.
#[derive(Default)]
pub(crate) struct State {
    bound: Vec<Arc<PersistentVolume>>,
    waiting: Vec<(Arc<PersistentVolumeClaim>, Arc<StorageClass>)>,
}

/// What must happen to volumes before the pod can be bound.
#[derive(Default, Debug)]
pub(crate) struct Plan {
    /// Volumes to be bound to claims: volume name, claim.
    pub bind: Vec<(String, Arc<PersistentVolumeClaim>)>,
    /// Claims to be provisioned on the node.
    pub provision: Vec<Arc<PersistentVolumeClaim>>,
}

impl Plan {
    /// Whether nothing must happen.
    pub(crate) fn is_empty(&self) -> bool {
        self.bind.is_empty() && self.provision.is_empty()
    }

    /// The claims that must be bound before the pod is.
    pub(crate) fn claims(&self) -> impl Iterator<Item = &Arc<PersistentVolumeClaim>> {
        self.bind.iter().map(|(_, claim)| claim).chain(&self.provision)
    }
}

impl State {
    /// Looks the claims up.
    ///
    /// # Errors
    /// If one is missing, lost, or must be bound by somebody else first.
    pub(crate) fn new(pod: &PodInfo, cache: &Cache, lookup: &dyn Lookup) -> Result<Self, Rejection> {
        let mut state = Self::default();
        for name in &pod.wanted.claims {
            let claim = lookup
                .claim(pod.namespace(), name)
                .ok_or_else(|| Rejection::final_(PLUGIN, format!("persistentvolumeclaim {name:?} not found")))?;
            if claim.metadata.deletion_timestamp.is_some() {
                return Err(Rejection::final_(PLUGIN, format!("persistentvolumeclaim {name:?} is being deleted")));
            }
            let modes = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or(&[]);
            if modes.iter().any(|mode| mode == "ReadWriteOncePod") && in_use(pod, name, cache) {
                let reason = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode \
                              already in-use by another pod";
                return Err(Rejection::resolvable(PLUGIN, reason));
            }
            state.add(claim, lookup)?;
        }
        Ok(state)
    }

    fn add(&mut self, claim: Arc<PersistentVolumeClaim>, lookup: &dyn Lookup) -> Result<(), Rejection> {
        if let Some(volume) = bound_volume(&claim) {
            let missing = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
            self.bound.push(lookup.volume(volume).ok_or_else(|| Rejection::final_(PLUGIN, missing))?);
            return Ok(());
        }
        match lookup.class(class_of(&*claim)) {
            Some(class) if class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer") => {
                self.waiting.push((claim, class));
                Ok(())
            }
            _ => Err(Rejection::final_(PLUGIN, "pod has unbound immediate PersistentVolumeClaims")),
        }
    }

    /// All volumes, if any is to be chosen.
    fn volumes(&self, lookup: &dyn Lookup) -> Vec<Arc<PersistentVolume>> {
        if self.waiting.is_empty() { Vec::new() } else { lookup.volumes() }
    }

    /// Rejects a node where a volume is not, or cannot be.
    ///
    /// # Errors
    /// Why the node cannot take the pod.
    pub(crate) fn filter(&self, node: &NodeInfo, lookup: &dyn Lookup) -> Result<(), Rejection> {
        if !self.bound.iter().all(|volume| is_reached(volume, node.labels(), node.name())) {
            return Err(Rejection::final_(PLUGIN, CONFLICT));
        }
        let (mut taken, volumes) = (Vec::new(), self.volumes(lookup));
        for (claim, class) in &self.waiting {
            match static_volume(claim, &volumes, node, &taken) {
                Some(volume) => taken.push(volume),
                None if can_provision(class, node) => {}
                None => return Err(Rejection::final_(PLUGIN, NONE_FITS)),
            }
        }
        Ok(())
    }

    /// What must happen before the pod can be bound to `node`.
    pub(crate) fn plan(&self, node: &NodeInfo, lookup: &dyn Lookup) -> Plan {
        let mut plan = Plan::default();
        let (mut taken, volumes) = (Vec::new(), self.volumes(lookup));
        for (claim, _) in &self.waiting {
            match static_volume(claim, &volumes, node, &taken) {
                Some(volume) => {
                    taken.push(volume.clone());
                    plan.bind.push((volume, claim.clone()));
                }
                None => plan.provision.push(claim.clone()),
            }
        }
        plan
    }
}

/// The volume that the claim is fully bound to.
pub(crate) fn bound_volume(claim: &PersistentVolumeClaim) -> Option<&str> {
    let annotations = claim.metadata.annotations.as_ref();
    let completed = annotations.is_some_and(|a| a.contains_key("pv.kubernetes.io/bind-completed"));
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let name = claim.spec.as_ref()?.volume_name.as_deref().filter(|name| !name.is_empty())?;
    (completed || phase == Some("Bound")).then_some(name)
}

fn in_use(pod: &PodInfo, claim: &str, cache: &Cache) -> bool {
    cache.nodes().flat_map(|node| node.pods.values()).any(|other| {
        other.uid != pod.uid
            && other.namespace() == pod.namespace()
            && other.wanted.claims.iter().any(|name| name == claim)
    })
}

/// Whether the class can make a volume on the node.
fn can_provision(class: &StorageClass, node: &NodeInfo) -> bool {
    if class.provisioner == "kubernetes.io/no-provisioner" {
        return false;
    }
    let Some(topologies) = class.allowed_topologies.as_ref().filter(|list| !list.is_empty()) else { return true };
    topologies.iter().any(|term| {
        term.match_label_expressions
            .iter()
            .flatten()
            .all(|wanted| node.labels().get(&wanted.key).is_some_and(|value| wanted.values.contains(value)))
    })
}

/// The volume that a claim can have on the node without one being made.
fn static_volume(
    claim: &PersistentVolumeClaim,
    volumes: &[Arc<PersistentVolume>],
    node: &NodeInfo,
    taken: &[String],
) -> Option<String> {
    find(claim, volumes, Seeker::Node(node.labels(), node.name()), taken)?.metadata.name.clone()
}
