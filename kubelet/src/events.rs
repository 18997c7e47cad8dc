//! Whom events are about: a pod, or one container of it.

use k8s_openapi::api::core::v1::{Container, Node, ObjectReference, Pod};

use crate::pod;

/// A reference to the pod.
pub fn pod(pod: &Pod) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: pod.metadata.name.clone(),
        namespace: pod.metadata.namespace.clone(),
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone(),
        field_path: None,
    }
}

/// A reference to one container of the pod.
pub fn container(of: &Pod, container: &Container) -> ObjectReference {
    ObjectReference { field_path: field_path(of, &container.name), ..pod(of) }
}

fn field_path(of: &Pod, name: &str) -> Option<String> {
    let role = pod::containers(of).into_iter().find(|(_, container)| container.name == name)?.0;
    let list = match role {
        pod::Role::Init | pod::Role::Sidecar => "initContainers",
        pod::Role::Main => "containers",
        pod::Role::Ephemeral => "ephemeralContainers",
    };
    Some(format!("spec.{list}{{{name}}}"))
}

/// A reference to the node; as on a stock node its UID is its name.
pub fn node(node: &Node) -> ObjectReference {
    let name = node.metadata.name.clone();
    ObjectReference { kind: Some("Node".to_owned()), uid: name.clone(), name, ..Default::default() }
}
