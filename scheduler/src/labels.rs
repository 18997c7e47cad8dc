//! What the reference's metrics call the events that the scheduler hears (`ClusterEvent.Label`).

use client::Change;
use k8s_openapi::api::core::v1::{Node, Pod};

/// What is said of a kind: one is new, one has changed, one is gone.
pub(crate) type Labels = [&'static str; 3];

/// Claims.
pub(crate) const CLAIM: Labels =
    ["PersistentVolumeClaimAdd", "PersistentVolumeClaimUpdate", "PersistentVolumeClaimDelete"];
/// Volumes.
pub(crate) const VOLUME: Labels = ["PersistentVolumeAdd", "PersistentVolumeUpdate", "PersistentVolumeDelete"];
/// Storage classes.
pub(crate) const CLASS: Labels = ["StorageClassAdd", "StorageClassUpdate", "StorageClassDelete"];
/// Namespaces.
pub(crate) const NAMESPACE: Labels = ["NamespaceAdd", "NamespaceUpdate", "NamespaceDelete"];
/// Claims of devices.
pub(crate) const DEVICE_CLAIM: Labels = ["ResourceClaimAdd", "ResourceClaimUpdate", "ResourceClaimDelete"];
/// Classes of devices.
pub(crate) const DEVICE_CLASS: Labels = ["DeviceClassAdd", "DeviceClassUpdate", "DeviceClassDelete"];
/// What drivers offer.
pub(crate) const SLICE: Labels = ["ResourceSliceAdd", "ResourceSliceUpdate", "ResourceSliceDelete"];
/// A pod left its node.
pub(crate) const POD_GONE: &str = "AssignedPodDelete";

/// A pod on a node was made smaller.
pub(crate) const POD_SMALLER: &str = "AssignedPodUpdatePodScaleDown";

/// The one that fits a change.
pub(crate) fn of<K>(change: &Change<K>, [added, updated, deleted]: Labels) -> &'static str {
    match change {
        Change::Added(_) => added,
        Change::Updated { .. } => updated,
        Change::Deleted(_) => deleted,
    }
}

/// The first thing that differs of a node (`NodeSchedulingPropertiesChange`).
pub(crate) fn of_node(change: &Change<Node>) -> &'static str {
    let (old, new) = match change {
        Change::Added(_) => return "NodeAdd",
        Change::Deleted(_) => return "NodeDelete",
        Change::Updated { old, new } => (old, new),
    };
    let (was, is) = (old.status.as_ref(), new.status.as_ref());
    match () {
        () if old.spec != new.spec => "NodeUpdateNodeTaint",
        () if was.map(|s| &s.allocatable) != is.map(|s| &s.allocatable) => "NodeUpdateNodeAllocatable",
        () if old.metadata.labels != new.metadata.labels => "NodeUpdateNodeLabel",
        () if was.map(|s| &s.conditions) != is.map(|s| &s.conditions) => "NodeUpdateNodeCondition",
        () if declared(old) != declared(new) => "NodeUpdateNodeDeclaredFeature",
        () if old.metadata.annotations != new.metadata.annotations => "NodeUpdateNodeAnnotation",
        () => "NodeUpdate",
    }
}

/// The features that a node declares.
pub(crate) fn declared(node: &Node) -> &[String] {
    node.status.as_ref().and_then(|status| status.declared_features.as_deref()).unwrap_or(&[])
}

/// What became of a pod, by whether it is on a node.
pub(crate) fn of_pod(change: &Change<Pod>) -> &'static str {
    let on_node =
        |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_some_and(|n| !n.is_empty());
    let now = on_node(change.object());
    match (now, change.is_delete(), change.old().map(|old| on_node(old))) {
        (true, true, _) => POD_GONE,
        // A pod that was just bound is new among those on nodes.
        (true, false, None | Some(false)) => "AssignedPodAdd",
        (true, false, Some(true)) => "AssignedPodUpdate",
        (false, true, _) => "UnscheduledPodDelete",
        (false, false, None) => "UnscheduledPodAdd",
        (false, false, Some(_)) => "UnscheduledPodUpdate",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn changes_have_the_reference_s_labels() {
        let node = |value: Value| -> Arc<Node> { Arc::new(serde_json::from_value(value).expect("a node")) };
        let check = |old: Value, new: Value, label: &str| {
            let change = Change::Updated { old: node(old), new: node(new) };
            assert_eq!(of_node(&change), label);
        };
        let plain = json!({"metadata": {}});
        assert_eq!(of_node(&Change::Added(node(plain.clone()))), "NodeAdd");
        check(plain.clone(), json!({"metadata": {}, "spec": {"unschedulable": true}}), "NodeUpdateNodeTaint");
        check(plain.clone(), json!({"metadata": {"labels": {"a": "b"}}}), "NodeUpdateNodeLabel");
        check(plain.clone(), plain, "NodeUpdate");
        let pod = |node: &str| -> Arc<Pod> {
            Arc::new(
                serde_json::from_value(json!({"metadata": {}, "spec": {"nodeName": node, "containers": []}}))
                    .expect("a pod"),
            )
        };
        assert_eq!(of_pod(&Change::Added(pod(""))), "UnscheduledPodAdd");
        assert_eq!(of_pod(&Change::Updated { old: pod(""), new: pod("n") }), "AssignedPodAdd");
        assert_eq!(of_pod(&Change::Updated { old: pod("n"), new: pod("n") }), "AssignedPodUpdate");
    }
}
