//! What a client is told of objects of the core group that are good but not as they should be.

use crate::services;
use crate::validation::addresses::{address_warnings, range_warnings};
use crate::validation::at::At;
use crate::validation::pod::warnings as pods;
use crate::validation::rules;
use crate::volumes::CLASS_ANNOTATION;

const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const MODE: &str = "service.kubernetes.io/topology-mode";
const CLASS_TEXT: &str = "deprecated since v1.8; use \"storageClassName\" attribute instead";
const OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";
/// Sources of persistent volumes that are gone: the field, how its path is shown, and since when.
const VOLUMES: [(&str, &str, &str); 6] = [
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

pub(crate) fn pod_status(new: &At<'_>, _: Option<&At<'_>>) -> Vec<String> {
    let lists = new.field("status").fields(["podIPs", "hostIPs"]);
    let ips = lists.iter().flat_map(|list| list.items().map(|item| item.field("ip")));
    ips.flat_map(|ip| address_warnings(&ip.path, ip.text())).collect()
}

pub(crate) fn service_status(new: &At<'_>, _: Option<&At<'_>>) -> Vec<String> {
    let items = new.at(&["status", "loadBalancer", "ingress"]).items().filter(|item| !item.field("ip").is_empty());
    items.flat_map(|item| address_warnings(&item.path, item.field("ip").text())).collect()
}

/// `GetWarningsForService`
pub(crate) fn service(new: &At<'_>, _: Option<&At<'_>>) -> Vec<String> {
    let spec = new.field("spec");
    let mut out = Vec::new();
    if new.at(&["metadata", "annotations"]).key(HINTS).is_set() {
        out.push(format!("annotation {HINTS} is deprecated, please use {MODE} instead"));
    }
    let (address, external) = (spec.field("clusterIP").text(), spec.field("externalIPs"));
    if services::has_address(address) {
        let all = spec.field("clusterIPs").items();
        out.extend(all.flat_map(|ip| address_warnings(&ip.path, ip.text())));
    }
    let is_external = spec.field("type").text() == "ExternalName";
    let headless = spec.field("type").text() == "ClusterIP" && services::is_headless(address);
    let balancer = spec.field("loadBalancerIP");
    if headless {
        let ignored = [
            ("loadBalancerIP", !balancer.is_empty()),
            ("externalIPs", !external.is_empty()),
            ("SessionAffinity", spec.field("sessionAffinity").text() != "None"),
        ];
        let set = ignored.iter().filter(|(_, set)| *set);
        out.extend(set.map(|(name, _)| format!("spec.{name} is ignored for headless services")));
    }
    out.extend(external.items().flat_map(|ip| address_warnings(&ip.path, ip.text())));
    if !external.is_empty() && !headless && !is_external {
        out.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".into());
    }
    if !balancer.is_empty() {
        out.extend(address_warnings(&balancer.path, balancer.text()));
    }
    let ranges = spec.field("loadBalancerSourceRanges").items();
    out.extend(ranges.flat_map(|range| range_warnings(&range.path, range.text())));
    if is_external && !external.is_empty() {
        out.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".into());
    }
    if !is_external && !spec.field("externalName").is_empty() {
        out.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".into());
    }
    if spec.field("trafficDistribution").text() == "PreferClose" {
        out.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".into());
    }
    out
}

pub(crate) fn claim(new: &At<'_>, _: Option<&At<'_>>) -> Vec<String> {
    let mut out = Vec::new();
    let class = new.at(&["metadata", "annotations"]).key(CLASS_ANNOTATION);
    out.extend(class.is_set().then(|| format!("{}: {CLASS_TEXT}", class.path)));
    pods::claim(&new.field("spec"), &mut out);
    out
}

/// `warningsForPersistentVolumeSpecAndMeta`
pub(crate) fn volume(new: &At<'_>, _: Option<&At<'_>>) -> Vec<String> {
    let mut out = Vec::new();
    let options = "deprecated since v1.31; use \"mountOptions\" attribute instead";
    for (key, text) in [(CLASS_ANNOTATION, CLASS_TEXT), (OPTIONS, options)] {
        let at = new.at(&["metadata", "annotations"]).key(key);
        out.extend(at.is_set().then(|| format!("{}: {text}", at.path)));
    }
    let spec = new.field("spec");
    let policy = spec.field("persistentVolumeReclaimPolicy");
    if policy.text() == "Recycle" {
        out.push(format!(
            "{}: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic \
             provisioning.",
            policy.path
        ));
    }
    for term in spec.at(&["nodeAffinity", "required", "nodeSelectorTerms"]).items() {
        pods::node_term(&term, false, &mut out);
    }
    let given = spec.fields(VOLUMES.map(|(name, ..)| name));
    let gone = VOLUMES.iter().zip(given).filter(|(_, at)| at.is_set());
    out.extend(gone.map(|((_, shown, text), _)| format!("{}: {text}", spec.path.child(shown))));
    out
}

/// `nodeWarnings`
pub(crate) fn node(new: &At<'_>, _: Option<&At<'_>>) -> Vec<String> {
    let spec = new.field("spec");
    let mut out = Vec::new();
    if !spec.field("externalID").is_empty() {
        out.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".into());
    }
    for range in spec.field("podCIDRs").items() {
        out.extend(range_warnings(&range.path, range.text()));
    }
    out
}

/// A request that no limit allows.
pub(crate) fn quota(new: &At<'_>, old: Option<&At<'_>>) -> Vec<String> {
    let hard = new.at(&["spec", "hard"]);
    let mut out = Vec::new();
    for name in ["cpu", "memory", "storage", "ephemeral-storage"].into_iter().filter(|_| old.is_none()) {
        let mut requested = format!("requests.{name}");
        if hard.key(&requested).is_absent() && matches!(name, "cpu" | "memory") {
            requested = name.to_string();
        }
        let limited = format!("limits.{name}");
        let amounts = rules::quantity(&hard.key(&requested)).zip(rules::quantity(&hard.key(&limited)));
        if let Some((request, limit)) = amounts.filter(|(request, limit)| request > limit) {
            out.push(format!("ResourceQuota {requested} ({request}) should be less than {limited} ({limit})"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::Object;
    use serde_json::json;

    #[test]
    fn old_things_are_told_of() {
        let check = |resource: &str, value: serde_json::Value, expected: &[&str]| {
            let object = Object::from_value(value).expect("an object");
            assert_eq!(crate::kinds::of("", resource).warnings("", &object, None), expected);
        };
        check(
            "services",
            json!({"spec": {"type": "ClusterIP", "externalName": "a"}}),
            &["spec.externalName is ignored when spec.type is not \"ExternalName\""],
        );
        check(
            "resourcequotas",
            json!({"spec": {"hard": {"cpu": "2", "limits.cpu": "1"}}}),
            &["ResourceQuota cpu (2) should be less than limits.cpu (1)"],
        );
        check(
            "pods",
            json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "env": [
            {"name": "A", "value": "1"}, {"name": "A", "value": "2"}], "ports": [{"containerPort": 1, "protocol": "TCP"},
            {"containerPort": 1, "protocol": "TCP"}]}]}}),
            &[
                "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
                "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
            ],
        );
    }
}
