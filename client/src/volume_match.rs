//! Which volume suits a claim. The scheduler, which looks for one that the pod's node reaches, and the binder must choose alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::quantity::Quantity;
use api::selector::LabelSelector;
use api::volumes::class_of;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::api::resource;

use crate::node_fit::selector_matches;

/// Who looks for a volume.
#[derive(Debug, Clone, Copy)]
pub enum Seeker<'a> {
    /// The scheduler, for a node of these labels and this name.
    Node(&'a BTreeMap<String, String>, &'a str),
    /// The binder.
    Binder,
    /// The binder, for a claim that waits for its first consumer: the scheduler chooses, so only a volume that is meant for the
    /// claim counts.
    WaitingBinder,
}

fn storage(list: Option<&BTreeMap<String, resource::Quantity>>) -> Option<Quantity> {
    Quantity::parse(&list?.get("storage")?.0).ok()
}

/// The storage that a claim asks for.
pub fn requested(claim: &PersistentVolumeClaim) -> Option<Quantity> {
    storage(claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref())
}

/// The storage that a volume has.
pub fn capacity(volume: &PersistentVolume) -> Option<Quantity> {
    storage(volume.spec.as_ref()?.capacity.as_ref())
}

/// Whether a volume has as much room as a claim asks for.
pub fn is_large_enough(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    requested(claim).is_none_or(|wanted| capacity(volume).is_some_and(|there| there >= wanted))
}

/// Whether both are file systems, or both are block devices (`CheckVolumeModeMismatches`).
pub fn same_mode(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    fn mode(mode: Option<&String>) -> &str {
        mode.map_or("Filesystem", String::as_str)
    }
    let of_volume = volume.spec.as_ref().and_then(|spec| spec.volume_mode.as_ref());
    mode(of_volume) == mode(claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_ref()))
}

/// Whether a volume offers every way of access that a claim wants (`CheckAccessModes`).
pub fn offers_access(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let offered = volume.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    let mut wanted = claim.spec.iter().flat_map(|spec| spec.access_modes.iter().flatten());
    wanted.all(|mode| offered.contains(mode))
}

/// Whether both name the same class of attributes, or none.
pub fn same_attributes(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let of_volume = volume.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    let of_claim = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    of_volume.unwrap_or_default() == of_claim.unwrap_or_default()
}

/// Whether a volume is meant for a claim, by its user or by a binder (`IsVolumeBoundToClaim`).
pub fn is_bound_to(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    reference.is_some_and(|reference| {
        let uid = reference.uid.as_ref().filter(|uid| !uid.is_empty());
        reference.name == claim.metadata.name
            && reference.namespace == claim.metadata.namespace
            && uid.is_none_or(|uid| Some(uid) == claim.metadata.uid.as_ref())
    })
}

/// Whether a volume can be reached from a node (`CheckNodeAffinity`).
pub fn is_reached(volume: &PersistentVolume, labels: &BTreeMap<String, String>, node: &str) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required.as_ref());
    required.is_none_or(|selector| selector_matches(selector, labels, node))
}

/// The volume that is meant for the claim, or the smallest that suits it, but none of those that are taken
/// (`FindMatchingVolume`). A claim whose volume is out of the node's reach has no other.
pub fn find<'v>(
    claim: &PersistentVolumeClaim,
    volumes: &'v [Arc<PersistentVolume>],
    seeker: Seeker<'_>,
    taken: &[String],
) -> Option<&'v Arc<PersistentVolume>> {
    let spec = claim.spec.as_ref()?;
    let selector = spec.selector.as_ref();
    let selector = selector.map(|typed| LabelSelector::from_typed(Some(typed))).transpose().ok()?;
    let mut best: Option<(Option<Quantity>, &Arc<PersistentVolume>)> = None;
    for volume in volumes {
        let Some(has) = &volume.spec else { continue };
        let meant = is_bound_to(volume, claim);
        let is_taken = volume.metadata.name.as_ref().is_some_and(|name| taken.contains(name));
        if is_taken
            || has.claim_ref.is_some() && !meant
            || volume.metadata.deletion_timestamp.is_some()
            || !is_large_enough(volume, claim)
            || !same_mode(volume, claim)
            || !offers_access(volume, claim)
            || !same_attributes(volume, claim)
        {
            continue;
        }
        let reached = match seeker {
            Seeker::Node(labels, name) => is_reached(volume, labels, name),
            Seeker::Binder | Seeker::WaitingBinder => true,
        };
        if meant {
            return reached.then_some(volume);
        }
        let available = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Available");
        let labels = volume.metadata.labels.as_ref();
        let selected = selector.as_ref().is_none_or(|s| s.matches(labels.unwrap_or(&BTreeMap::new())));
        let waits = matches!(seeker, Seeker::WaitingBinder);
        if waits || !available || !selected || class_of(&**volume) != class_of(claim) || !reached {
            continue;
        }
        let size = capacity(volume);
        if best.as_ref().is_none_or(|(smallest, _)| size < *smallest) {
            best = Some((size, volume));
        }
    }
    best.map(|(_, volume)| volume)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A volume with some fields of its own.
    fn volume(name: &str, size: &str, own: Value) -> Arc<PersistentVolume> {
        let mut volume = json!({"metadata": {"name": name}, "spec": {"capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"]}, "status": {"phase": "Available"}});
        for (part, fields) in own.as_object().into_iter().flatten() {
            let fields = fields.as_object().cloned().unwrap_or_default();
            volume[part].as_object_mut().expect("a part").extend(fields);
        }
        Arc::new(serde_json::from_value(volume).expect("a volume"))
    }

    fn meant(uid: &str) -> Value {
        json!({"spec": {"claimRef": {"namespace": "ns", "name": "data", "uid": uid}}})
    }

    /// What each of the three finds for a claim of 2Gi with some fields of its own.
    fn check(volumes: &[Arc<PersistentVolume>], own: Value, taken: &[&str], expected: [Option<&str>; 3]) {
        let mut claim = json!({"metadata": {"name": "data", "namespace": "ns", "uid": "u"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}});
        claim["spec"].as_object_mut().expect("a map").extend(own.as_object().cloned().unwrap_or_default());
        let claim = serde_json::from_value(claim).expect("a claim");
        let labels = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
        let taken: Vec<String> = taken.iter().map(ToString::to_string).collect();
        let seekers = [Seeker::Node(&labels, "one"), Seeker::Binder, Seeker::WaitingBinder];
        let found = seekers.map(|seeker| find(&claim, volumes, seeker, &taken)?.metadata.name.as_deref());
        assert_eq!(found, expected, "{own}");
    }

    #[test]
    fn the_smallest_that_suits() {
        let none = || json!({});
        let volumes =
            [volume("small", "1Gi", none()), volume("large", "10Gi", none()), volume("right", "2048Mi", none())];
        check(&volumes, none(), &[], [Some("right"), Some("right"), None]);
        check(&volumes, none(), &["right"], [Some("large"), Some("large"), None]);
        check(&volumes[..1], none(), &[], [None; 3]);
    }

    #[test]
    fn what_does_not_suit() {
        let suits = |own: Value, claim: Value, expected: bool| {
            let expected = expected.then_some("v");
            check(&[volume("v", "2Gi", own)], claim, &[], [expected, expected, None]);
        };
        let none = || json!({});
        suits(none(), none(), true);
        suits(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}), none(), false);
        suits(json!({"status": {"phase": "Released"}}), none(), false);
        suits(json!({"spec": {"claimRef": {"namespace": "ns", "name": "other"}}}), none(), false);
        suits(json!({"spec": {"volumeMode": "Block"}}), none(), false);
        suits(json!({"spec": {"volumeMode": "Block"}}), json!({"volumeMode": "Block"}), true);
        suits(none(), json!({"accessModes": ["ReadWriteMany"]}), false);
        suits(json!({"spec": {"storageClassName": "gold"}}), none(), false);
        suits(json!({"spec": {"storageClassName": "gold"}}), json!({"storageClassName": "gold"}), true);
        let annotated = json!({"metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "gold"}}});
        suits(annotated, json!({"storageClassName": "gold"}), true);
        suits(json!({"spec": {"volumeAttributesClassName": "fast"}}), none(), false);
        let selector = || json!({"selector": {"matchLabels": {"a": "b"}}});
        suits(none(), selector(), false);
        suits(json!({"metadata": {"labels": {"a": "b"}}}), selector(), true);
    }

    #[test]
    fn a_volume_meant_for_the_claim_comes_first() {
        let volumes = [volume("right", "2Gi", json!({})), volume("meant", "5Gi", meant(""))];
        check(&volumes, json!({}), &[], [Some("meant"); 3]);
        check(&[volume("meant", "5Gi", meant("u"))], json!({}), &[], [Some("meant"); 3]);
        // Its class does not matter then, its size does, and a claim of the same name is another.
        check(&[volume("meant", "5Gi", meant("u"))], json!({"storageClassName": "gold"}), &[], [Some("meant"); 3]);
        check(&[volume("meant", "1Gi", meant("u"))], json!({}), &[], [None; 3]);
        check(&[volume("meant", "5Gi", meant("before"))], json!({}), &[], [None; 3]);
    }

    #[test]
    fn the_scheduler_minds_where_a_volume_is() {
        let at = |zone: &str, claim: Value| {
            let terms = json!([{"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}]);
            let mut own = claim;
            own["spec"]["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": terms}});
            own
        };
        let near = volume("near", "5Gi", at("a", json!({})));
        let far = volume("far", "2Gi", at("b", json!({})));
        check(&[far, near.clone()], json!({}), &[], [Some("near"), Some("far"), None]);
        check(
            &[volume("meant", "2Gi", at("b", meant(""))), near],
            json!({}),
            &[],
            [None, Some("meant"), Some("meant")],
        );
    }
}
