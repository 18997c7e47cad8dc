//! The objects beside pods and nodes that decisions depend on.

use std::sync::Arc;

use api::selector::LabelSelector;
use client::{Informer, Informers};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;

use crate::device_claims::DeviceClaims;
use crate::pod::NamespaceLabels;

/// Claims, volumes, classes, budgets and namespaces.
pub(crate) trait Lookup: NamespaceLabels {
    /// A claim.
    fn claim(&self, namespace: &str, name: &str) -> Option<Arc<PersistentVolumeClaim>>;
    /// A volume.
    fn volume(&self, name: &str) -> Option<Arc<PersistentVolume>>;
    /// Every volume.
    fn volumes(&self) -> Vec<Arc<PersistentVolume>>;
    /// A storage class.
    fn class(&self, name: &str) -> Option<Arc<StorageClass>>;
    /// Every disruption budget.
    fn budgets(&self) -> Vec<Arc<PodDisruptionBudget>>;
    /// Claims of devices, where they are known at all.
    fn devices(&self) -> Option<&Arc<DeviceClaims>> {
        None
    }
}

/// The informers of a cluster.
pub(crate) struct Caches {
    /// Claims.
    pub claims: Informer<PersistentVolumeClaim>,
    /// Volumes.
    pub volumes: Informer<PersistentVolume>,
    /// Storage classes.
    pub classes: Informer<StorageClass>,
    /// Namespaces.
    pub namespaces: Informer<Namespace>,
    /// Disruption budgets.
    pub budgets: Informer<PodDisruptionBudget>,
    /// Claims of devices.
    pub devices: Arc<DeviceClaims>,
}

impl Caches {
    /// Starts or shares the informers.
    pub(crate) fn new(informers: &Informers) -> Self {
        Self {
            claims: informers.of(),
            volumes: informers.of(),
            classes: informers.of(),
            namespaces: informers.of(),
            budgets: informers.of(),
            devices: DeviceClaims::new(informers),
        }
    }

    /// Waits until each holds its first list.
    pub(crate) async fn wait_synced(&self) {
        self.claims.wait_synced().await;
        self.volumes.wait_synced().await;
        self.classes.wait_synced().await;
        self.namespaces.wait_synced().await;
        self.budgets.wait_synced().await;
        self.devices.wait_synced().await;
    }
}

impl NamespaceLabels for Caches {
    fn matches(&self, namespace: &str, selector: &LabelSelector) -> bool {
        let Some(namespace) = self.namespaces.get("", namespace) else { return false };
        selector.matches(namespace.metadata.labels.as_ref().unwrap_or(&Default::default()))
    }
}

impl Lookup for Caches {
    fn claim(&self, namespace: &str, name: &str) -> Option<Arc<PersistentVolumeClaim>> {
        self.claims.get(namespace, name)
    }

    fn volume(&self, name: &str) -> Option<Arc<PersistentVolume>> {
        self.volumes.get("", name)
    }

    fn volumes(&self) -> Vec<Arc<PersistentVolume>> {
        self.volumes.list()
    }

    fn class(&self, name: &str) -> Option<Arc<StorageClass>> {
        self.classes.get("", name)
    }
    fn budgets(&self) -> Vec<Arc<PodDisruptionBudget>> {
        self.budgets.list()
    }
    fn devices(&self) -> Option<&Arc<DeviceClaims>> {
        Some(&self.devices)
    }
}
