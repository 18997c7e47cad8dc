//! Which objects the pods of a node use.

use std::collections::HashMap;

use api::Object;
use api::pods::{claim_of, config_map_names, secret_names};
use memchr::memmem;
use parking_lot::Mutex;
use serde_json::Value;
use store::{Entry, Snapshot};

use crate::registry::{key, prefix, read};

/// How many relations are remembered; the memory is emptied when it is full.
const HINTS_MAX: usize = 16_384;

/// What a node wants to touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Target {
    Pod,
    Secret,
    ConfigMap,
    Claim,
    Volume,
    Attachment,
    ServiceAccount,
    ResourceClaim,
    ResourceSlice,
}

/// The relations found so far, as hints: from what was wanted to the key of the pod that uses it.
#[derive(Default)]
pub(super) struct Relations {
    hints: Mutex<HashMap<Wanted, String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Wanted {
    node: String,
    target: Target,
    namespace: String,
    name: String,
}

impl Relations {
    /// Whether some pod of the node uses the object.
    pub(super) fn has(&self, at: &Snapshot, node: &str, target: Target, namespace: &str, name: &str) -> bool {
        let field_is_node = |group: &str, resource: &str| {
            at.get(&key(group, resource, "", name))
                .and_then(read)
                .is_some_and(|object| object.str_at(&["spec", "nodeName"]) == node)
        };
        match target {
            Target::Pod => at.get(&key("", "pods", namespace, name)).is_some_and(|pod| on_node(pod, node).is_some()),
            Target::Attachment => field_is_node("storage.k8s.io", "volumeattachments"),
            Target::ResourceSlice => field_is_node("resource.k8s.io", "resourceslices"),
            Target::Volume => at.get(&key("", "persistentvolumes", "", name)).and_then(read).is_some_and(|volume| {
                let of = |field| volume.str_at(&["spec", "claimRef", field]).to_string();
                self.used(at, node, Target::Claim, &of("namespace"), &of("name"))
            }),
            Target::Secret => self.used(at, node, target, namespace, name) || self.by_volume(at, node, namespace, name),
            _ => self.used(at, node, target, namespace, name),
        }
    }

    fn used(&self, at: &Snapshot, node: &str, target: Target, namespace: &str, name: &str) -> bool {
        if namespace.is_empty() || name.is_empty() {
            return false;
        }
        let wanted = Wanted { node: node.into(), target, namespace: namespace.into(), name: name.into() };
        let hint = self.hints.lock().get(&wanted).cloned();
        if hint.is_some_and(|pod| at.get(&pod).is_some_and(|pod| uses(pod, node, target, name))) {
            return true;
        }
        let pods = prefix("", "pods", namespace);
        // A pod whose bytes do not hold the name cannot refer to it: most pods are passed over without being parsed.
        let finder = memmem::Finder::new(name.as_bytes());
        let found = at
            .list(&pods, None)
            .filter(|pod| target == Target::ServiceAccount || finder.find(&pod.value()).is_some())
            .find(|pod| uses(pod, node, target, name));
        let Some(found) = found else { return false };
        let mut hints = self.hints.lock();
        if hints.len() >= HINTS_MAX {
            hints.clear();
        }
        hints.insert(wanted, found.key().to_string());
        true
    }

    /// Whether a volume that the node's pods use names the secret.
    fn by_volume(&self, at: &Snapshot, node: &str, namespace: &str, name: &str) -> bool {
        let volumes = prefix("", "persistentvolumes", "");
        let finder = memmem::Finder::new(name.as_bytes());
        at.list(&volumes, None).filter(|volume| finder.find(&volume.value()).is_some()).filter_map(read).any(|volume| {
            let of = |field| volume.str_at(&["spec", "claimRef", field]).to_string();
            let claim_namespace = of("namespace");
            names_secret(volume.at(&["spec"]), &claim_namespace, namespace, name)
                && self.used(at, node, Target::Claim, &claim_namespace, &of("name"))
        })
    }
}

/// The pod, if it is bound to the node.
fn on_node(pod: &Entry, node: &str) -> Option<Object> {
    memmem::find(&pod.value(), node.as_bytes())?;
    read(pod).filter(|pod| pod.str_at(&["spec", "nodeName"]) == node)
}

fn uses(pod: &Entry, node: &str, target: Target, name: &str) -> bool {
    let Some(pod) = on_node(pod, node) else { return false };
    // A mirror pod is the node's own and gives it nothing.
    if pod.at(&["metadata", "annotations", "kubernetes.io/config.mirror"]).is_some() {
        return false;
    }
    let Some(spec) = pod.at(&["spec"]) else { return false };
    match target {
        Target::ServiceAccount => {
            let account = pod.str_at(&["spec", "serviceAccountName"]);
            account == name || (account.is_empty() && name == "default")
        }
        Target::Secret => secret_names(spec).any(|secret| secret == name),
        Target::ConfigMap => config_map_names(spec).any(|map| map == name),
        Target::Claim => volumes(spec).any(|volume| claim_of(pod.name(), volume).is_some_and(|claim| claim == name)),
        Target::ResourceClaim => {
            let mut claims = spec.get("resourceClaims").and_then(Value::as_array).into_iter().flatten();
            claims.any(|claim| resource_claim_of(&pod, claim) == Some(name))
                || pod.str_at(&["status", "extendedResourceClaimStatus", "resourceClaimName"]) == name
        }
        Target::Pod | Target::Volume | Target::Attachment | Target::ResourceSlice => false,
    }
}

/// The name of the claim that an entry of a pod stands for: its own, or that of the claim made from its template (`Name`
/// in k8s.io/dynamic-resource-allocation/resourceclaim).
fn resource_claim_of<'a>(pod: &'a Object, claim: &'a Value) -> Option<&'a str> {
    let text = |value: &'a Value, field: &str| value.get(field).and_then(Value::as_str);
    if let Some(own) = text(claim, "resourceClaimName") {
        return Some(own);
    }
    text(claim, "resourceClaimTemplateName")?;
    let statuses = pod.at(&["status", "resourceClaimStatuses"])?.as_array()?;
    let made = statuses.iter().find(|status| text(status, "name") == text(claim, "name"))?;
    text(made, "resourceClaimName")
}

fn volumes(spec: &Value) -> impl Iterator<Item = &Value> {
    spec.get("volumes").and_then(Value::as_array).into_iter().flatten()
}

/// Whether a persistent volume's source names the secret; without a namespace it is in the claim's.
fn names_secret(value: Option<&Value>, claim_namespace: &str, namespace: &str, name: &str) -> bool {
    match value {
        Some(Value::Object(map)) => map.iter().any(|(key, value)| {
            let direct = key.to_ascii_lowercase().ends_with("secretref")
                && value.get("name").and_then(Value::as_str) == Some(name)
                && value.get("namespace").and_then(Value::as_str).unwrap_or(claim_namespace) == namespace;
            direct || names_secret(Some(value), claim_namespace, namespace, name)
        }),
        Some(Value::Array(list)) => list.iter().any(|v| names_secret(Some(v), claim_namespace, namespace, name)),
        _ => false,
    }
}
