//! The labels that a node may give itself.

use std::collections::BTreeSet;

use api::Object;
use serde_json::Value;

/// The domain of labels by which workloads are kept away from nodes.
const RESTRICTED: &str = "node-restriction.kubernetes.io";
/// The labels of the `kubernetes.io` domains that a node may set on itself, and the domains it may.
const NODE_LABELS: [&str; 12] = [
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "node.kubernetes.io/windows-build",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
const NODE_LABEL_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

/// The labels that differ and that a node may not touch, as a list for people; none if there are none.
pub(super) fn forbidden(new: &Object, old: Option<&Object>) -> Option<String> {
    let labels = changed(new, old);
    (!labels.is_empty()).then(|| labels.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
}

fn changed(new: &Object, old: Option<&Object>) -> BTreeSet<String> {
    let labels = |object: Option<&Object>| {
        object.and_then(|o| o.at(&["metadata", "labels"])).and_then(Value::as_object).cloned().unwrap_or_default()
    };
    let (new, old) = (labels(Some(new)), labels(old));
    let changed = new.keys().chain(old.keys()).filter(|key| new.get(*key) != old.get(*key));
    changed.filter(|key| !may_set(key)).cloned().collect()
}

fn may_set(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let within = |of: &str| domain == of || domain.strip_suffix(of).is_some_and(|rest| rest.ends_with('.'));
    if within(RESTRICTED) {
        return false;
    }
    if !within("kubernetes.io") && !within("k8s.io") {
        return true;
    }
    NODE_LABELS.contains(&label) || NODE_LABEL_DOMAINS.iter().any(|of| within(of))
}

#[cfg(test)]
mod tests {
    use super::may_set;

    #[test]
    fn labels_of_nodes() {
        for (label, may) in [
            ("team", true),
            ("example.com/x", true),
            ("notkubernetes.io/x", true),
            ("kubernetes.io/hostname", true),
            ("topology.kubernetes.io/zone", true),
            ("kubelet.kubernetes.io/x", true),
            ("a.node.kubernetes.io/x", true),
            ("kubernetes.io/x", false),
            ("x.k8s.io/y", false),
            ("k8s.io/y", false),
            ("node-role.kubernetes.io/control-plane", false),
            ("node-restriction.kubernetes.io/x", false),
            ("a.node-restriction.kubernetes.io/x", false),
        ] {
            assert_eq!(may_set(label), may, "{label}");
        }
    }
}
