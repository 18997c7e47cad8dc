//! Which volume suits a claim best: a plain function on what is known.

use std::sync::Arc;

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt;

use super::{claim_ref, class_of, class_of_volume, is_bound_to};
use crate::selector;

/// The storage that a claim asks for.
pub(super) fn requested(claim: &PersistentVolumeClaim) -> Option<Quantity> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    Quantity::parse(&requests.get("storage")?.0).ok()
}

fn capacity(volume: &PersistentVolume) -> Option<Quantity> {
    let capacity = volume.spec.as_ref()?.capacity.as_ref()?;
    Quantity::parse(&capacity.get("storage")?.0).ok()
}

/// Whether a volume can serve a claim at all (`checkVolumeSatisfyClaim`).
pub(super) fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<&'static str> {
    let (Some(v), Some(c)) = (&volume.spec, &claim.spec) else { return Some("incomplete") };
    let or = |name: &Option<String>, default: &str| name.clone().unwrap_or_else(|| default.into());
    if requested(claim).is_some_and(|wanted| capacity(volume).is_none_or(|there| there < wanted)) {
        return Some("requested PV is too small");
    }
    if class_of(claim) != class_of_volume(volume) {
        return Some("storageClassName does not match");
    }
    if or(&v.volume_attributes_class_name, "") != or(&c.volume_attributes_class_name, "") {
        return Some("volumeAttributesClassName does not match");
    }
    if or(&v.volume_mode, "Filesystem") != or(&c.volume_mode, "Filesystem") {
        return Some("incompatible volumeMode");
    }
    let offered = v.access_modes.as_deref().unwrap_or_default();
    if !c.access_modes.iter().flatten().all(|m| offered.contains(m)) {
        return Some("incompatible accessMode");
    }
    None
}

/// The volume that is meant for the claim, or the smallest that suits it.
///
/// While the claim waits for its first consumer (`delayed`), only the former counts: the scheduler chooses.
pub(super) fn find(
    claim: &PersistentVolumeClaim,
    volumes: &[Arc<PersistentVolume>],
    delayed: bool,
) -> Option<Arc<PersistentVolume>> {
    let wanted = claim.spec.as_ref()?;
    let mut best: Option<(Option<Quantity>, &Arc<PersistentVolume>)> = None;
    for volume in volumes.iter().filter(|v| v.metadata.deletion_timestamp.is_none()) {
        if mismatch(volume, claim).is_some() {
            continue;
        }
        if is_bound_to(volume, claim) {
            return Some(volume.clone());
        }
        let selected = wanted.selector.as_ref().is_none_or(|s| selector::matches(s, volume.labels()));
        let available = volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Available");
        if claim_ref(volume).is_some() || delayed || !selected || !available {
            continue;
        }
        let size = capacity(volume);
        if best.as_ref().is_none_or(|(smallest, _)| size < *smallest) {
            best = Some((size, volume));
        }
    }
    best.map(|(_, volume)| volume.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn volume(name: &str, size: &str, claim: Option<&str>) -> Arc<PersistentVolume> {
        let mut v = json!({"metadata": {"name": name}, "spec": {"capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"]}, "status": {"phase": "Available"}});
        if let Some(claim) = claim {
            v["spec"]["claimRef"] = json!({"namespace": "ns", "name": claim});
        }
        Arc::new(serde_json::from_value(v).expect("a volume"))
    }

    fn check(volumes: &[Arc<PersistentVolume>], delayed: bool, expected: Option<&str>) {
        let claim = json!({"metadata": {"name": "data", "namespace": "ns", "uid": "u"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}});
        let claim = serde_json::from_value(claim).expect("a claim");
        assert_eq!(find(&claim, volumes, delayed).map(|v| v.name_any()).as_deref(), expected);
    }

    #[test]
    fn the_smallest_that_is_large_enough() {
        let volumes = [volume("small", "1Gi", None), volume("large", "10Gi", None), volume("right", "2048Mi", None)];
        check(&volumes, false, Some("right"));
        check(&volumes, true, None);
        check(&volumes[..1], false, None);
    }

    #[test]
    fn a_volume_has_the_class_of_attributes_that_is_asked_for() {
        let of = |class: Option<&str>| json!({"spec": {"volumeAttributesClassName": class}});
        let check = |volume: Option<&str>, claim: Option<&str>, expected: Option<&str>| {
            let volume = serde_json::from_value(of(volume)).expect("a volume");
            let claim = serde_json::from_value(of(claim)).expect("a claim");
            assert_eq!(mismatch(&volume, &claim), expected);
        };
        check(Some("gold"), Some("gold"), None);
        check(None, Some(""), None);
        check(Some("gold"), Some("silver"), Some("volumeAttributesClassName does not match"));
        check(Some("gold"), None, Some("volumeAttributesClassName does not match"));
    }

    #[test]
    fn a_volume_meant_for_the_claim_comes_first() {
        let volumes =
            [volume("right", "2Gi", None), volume("meant", "5Gi", Some("data")), volume("other", "2Gi", Some("x"))];
        check(&volumes, false, Some("meant"));
        check(&volumes, true, Some("meant"));
        check(&volumes[2..], false, None);
    }
}
