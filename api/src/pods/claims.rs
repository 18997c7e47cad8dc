//! The claims behind a pod's volumes.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::Volume;
use serde_json::Value;

/// A volume of a pod, as JSON or typed, as far as claims go.
pub trait VolumeView {
    /// Its name.
    fn name(&self) -> &str;

    /// The claim that it names.
    fn claim_name(&self) -> Option<&str>;

    /// Whether a claim is made for it.
    fn is_ephemeral(&self) -> bool;
}

impl VolumeView for Volume {
    fn name(&self) -> &str {
        &self.name
    }

    fn claim_name(&self) -> Option<&str> {
        Some(self.persistent_volume_claim.as_ref()?.claim_name.as_str())
    }

    fn is_ephemeral(&self) -> bool {
        self.ephemeral.is_some()
    }
}

impl VolumeView for Value {
    fn name(&self) -> &str {
        self.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    fn claim_name(&self) -> Option<&str> {
        self.get("persistentVolumeClaim")?.get("claimName")?.as_str()
    }

    fn is_ephemeral(&self) -> bool {
        self.get("ephemeral").is_some_and(Value::is_object)
    }
}

/// The claim that a volume of a pod stands on: the one it names, or the one that is made for it (`ephemeral.VolumeClaimName`).
pub fn claim_of<'a>(pod_name: &str, volume: &'a impl VolumeView) -> Option<Cow<'a, str>> {
    match volume.claim_name() {
        Some(name) => Some(name.into()),
        None => volume.is_ephemeral().then(|| format!("{pod_name}-{}", volume.name()).into()),
    }
}
