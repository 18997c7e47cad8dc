//! The downward API: fields of the pod and resources of its containers as text.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

use crate::{pod, resources};

/// Addresses and capacity that fields may name beside the pod itself.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Addresses of the node, primary first.
    pub host_ips: Vec<String>,
    /// Addresses of the pod, primary first.
    pub pod_ips: Vec<String>,
    /// Allocatable CPU of the node in thousandths: what a missing limit counts as.
    pub cpu_milli: i64,
    /// Allocatable memory of the node in bytes, likewise.
    pub memory_bytes: i64,
    /// Allocatable disk of the node in bytes, likewise.
    pub storage_bytes: i64,
}

/// A field of the pod, such as `metadata.labels['app']` or `status.podIP`.
///
/// # Errors
/// When the downward API has no such field.
pub fn field(pod: &Pod, path: &str, around: &Surroundings) -> Result<String, String> {
    let metadata = &pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => &metadata.labels,
            "metadata.annotations" => &metadata.annotations,
            _ => return Err(format!("fieldPath {path:?} does not support subscript")),
        };
        return Ok(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    let spec = pod.spec.as_ref();
    let text = match path {
        "metadata.name" => pod::name(pod).to_owned(),
        "metadata.namespace" => pod::namespace(pod).to_owned(),
        "metadata.uid" => pod::uid(pod).to_owned(),
        "metadata.labels" => format_map(metadata.labels.as_ref()),
        "metadata.annotations" => format_map(metadata.annotations.as_ref()),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default(),
        "status.hostIP" => around.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => around.host_ips.join(","),
        "status.podIP" => around.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => around.pod_ips.join(","),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    };
    Ok(text)
}

fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

fn format_map(map: Option<&BTreeMap<String, String>>) -> String {
    let lines = map.into_iter().flatten().map(|(key, value)| format!("{key}={}", api::go::strconv::quote(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// A request or limit of a container, divided by the selector's divisor and rounded up.
///
/// # Errors
/// When the selector names an unknown container or resource.
pub fn resource(
    pod: &Pod,
    own: &Container,
    selector: &ResourceFieldSelector,
    around: &Surroundings,
) -> Result<String, String> {
    let all = pod::containers(pod);
    let container = match selector.container_name.as_deref().filter(|name| !name.is_empty()) {
        None => own,
        Some(name) => {
            &all.iter()
                .find(|(_, container)| container.name == name)
                .ok_or_else(|| format!("container {name} not found"))?
                .1
        }
    };
    let (kind, name) = selector.resource.split_once('.').ok_or("malformed resource")?;
    let requirements = container.resources.as_ref();
    let list = match kind {
        "limits" => requirements.and_then(|r| r.limits.as_ref()),
        "requests" => requirements.and_then(|r| r.requests.as_ref()),
        _ => return Err(format!("unsupported container resource : {}", selector.resource)),
    };
    let is_limit = kind == "limits";
    let found = list.and_then(|list| list.get(name));
    let cpu = name == "cpu";
    let amount = match (found, name) {
        (Some(quantity), _) if cpu => resources::milli(quantity),
        (Some(quantity), _) => resources::value(quantity),
        (None, "cpu") if is_limit => around.cpu_milli,
        (None, "memory") if is_limit => around.memory_bytes,
        (None, "ephemeral-storage") if is_limit => around.storage_bytes,
        (None, "cpu" | "memory" | "ephemeral-storage") => 0,
        (None, name) if name.starts_with("hugepages-") => 0,
        _ => return Err(format!("unsupported container resource : {}", selector.resource)),
    };
    let divisor = selector.divisor.as_ref().filter(|divisor| resources::milli(divisor) > 0);
    let divisor = match (divisor, cpu) {
        (Some(divisor), true) => resources::milli(divisor),
        (None, true) => 1000,
        (Some(divisor), false) => resources::value(divisor),
        (None, false) => 1,
    };
    Ok((amount.max(0) as u64).div_ceil(divisor.max(1) as u64).to_string())
}
