//! Which slices to create, change and delete: a plain function on what is known.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;

use super::{MANAGED_BY, MANAGER, SERVICE_NAME};
use crate::owner::controller_reference;
use crate::pod::{is_ready, is_terminating, node_name};
use crate::selector::Labels;
use crate::service_pods::{HEADLESS_LABEL, addresses, has_cluster_ip, hostname, is_endpoint, target_port};

/// Endpoints in a slice (`maxEndpointsPerSlice` in the reference).
pub(super) const ENDPOINTS_MAX: usize = 100;

/// What to write.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) create: Vec<EndpointSlice>,
    pub(super) update: Vec<EndpointSlice>,
    pub(super) delete: Vec<String>,
    /// Endpoints that come, that change, and that go.
    pub(super) added: usize,
    pub(super) updated: usize,
    pub(super) removed: usize,
    /// What there is in the end.
    pub(super) held: Held,
}

/// How much of a service is in slices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) endpoints: usize,
    pub(super) slices: usize,
    /// How few slices could hold it (`numDesiredSlices`).
    pub(super) slices_least: usize,
}

impl Plan {
    /// How many slices are written.
    pub(super) fn writes(&self) -> usize {
        self.create.len() + self.update.len() + self.delete.len()
    }
}

/// Ports by name, number, protocol and application protocol, in order.
pub(super) type PortKey = (String, Option<i32>, String, Option<String>);

/// What every slice of an owner has in common.
pub(super) struct Template {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) labels: Labels,
    /// The annotations; if none are given, those that are there stay.
    pub(super) annotations: Option<Labels>,
    pub(super) owner: OwnerReference,
}

/// The endpoints that there should be, by address type and ports.
pub(super) type Wanted = BTreeMap<(String, Vec<PortKey>), Vec<Endpoint>>;

/// The plan for a service with a selector.
pub(super) fn of_service(
    service: &Service,
    pods: &[&Pod],
    existing: &[Arc<EndpointSlice>],
    zone: impl Fn(&str) -> Option<String>,
) -> Plan {
    let Some(spec) = &service.spec else { return Plan::default() };
    let mut wanted = Wanted::new();
    for family in families(spec) {
        let before = wanted.len();
        for pod in pods.iter().filter(|p| is_endpoint(p, true)) {
            let ips: Vec<String> =
                addresses(pod).filter(|ip| family_of(ip) == family).map(|ip| ip.to_string()).collect();
            if !ips.is_empty() {
                let group = (family.to_owned(), ports_of(spec, pod));
                wanted.entry(group).or_default().push(endpoint(service, spec, pod, ips, &zone));
            }
        }
        if wanted.len() == before {
            // A service without pods still has one slice a family, so that watchers know it was looked at.
            wanted.insert((family.to_owned(), Vec::new()), Vec::new());
        }
    }
    let mut labels = service.labels().clone();
    labels.remove(HEADLESS_LABEL);
    if !has_cluster_ip(service) {
        labels.insert(HEADLESS_LABEL.into(), String::new());
    }
    labels.insert(SERVICE_NAME.into(), service.name_any());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    let template = Template {
        name: service.name_any(),
        namespace: service.namespace(),
        labels,
        annotations: None,
        owner: controller_reference(service),
    };
    reconcile(&template, wanted, existing)
}

fn families(spec: &ServiceSpec) -> Vec<&'static str> {
    let declared: BTreeSet<_> = spec.ip_families.iter().flatten().map(String::as_str).collect();
    if declared.is_empty() {
        return vec!["IPv4"];
    }
    ["IPv4", "IPv6"].into_iter().filter(|f| declared.contains(f)).collect()
}

fn family_of(ip: &IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn ports_of(spec: &ServiceSpec, pod: &Pod) -> Vec<PortKey> {
    let mut ports: Vec<PortKey> = spec
        .ports
        .iter()
        .flatten()
        .filter_map(|p| {
            let protocol = p.protocol.clone().unwrap_or_else(|| "TCP".into());
            Some((p.name.clone().unwrap_or_default(), Some(target_port(pod, p)?), protocol, p.app_protocol.clone()))
        })
        .collect();
    ports.sort();
    ports
}

fn endpoint(
    service: &Service,
    spec: &ServiceSpec,
    pod: &Pod,
    addresses: Vec<String>,
    zone: &impl Fn(&str) -> Option<String>,
) -> Endpoint {
    let (serving, terminating) = (is_ready(pod), is_terminating(pod));
    let ready = spec.publish_not_ready_addresses.unwrap_or(false) || (serving && !terminating);
    let node = Some(node_name(pod).to_owned()).filter(|n| !n.is_empty());
    Endpoint {
        addresses,
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(pod, service),
        zone: node.as_deref().and_then(zone),
        node_name: node,
        target_ref: Some(ObjectReference {
            kind: Some("Pod".into()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    }
}

/// Brings the existing slices to `wanted` with few writes: endpoints stay where they are, new ones go to slices that
/// are written anyway, then to slices with room, and only then to new slices.
pub(super) fn reconcile(template: &Template, mut wanted: Wanted, existing: &[Arc<EndpointSlice>]) -> Plan {
    let mut plan = Plan::default();
    let mut by_group: BTreeMap<(String, Vec<PortKey>), Vec<&Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in existing.iter().filter(|s| s.metadata.deletion_timestamp.is_none()) {
        by_group.entry((slice.address_type.clone(), port_keys(slice))).or_default().push(slice);
    }
    for (group, slices) in &mut by_group {
        match wanted.remove(group) {
            None => {
                plan.removed += slices.iter().map(|slice| count(slice)).sum::<usize>();
                plan.delete.extend(slices.iter().map(|s| s.name_any()));
            }
            Some(endpoints) => reconcile_group(template, group, endpoints, slices, &mut plan),
        }
    }
    for (group, endpoints) in wanted {
        reconcile_group(template, &group, endpoints, &[], &mut plan);
    }
    let before = by_group.values().map(Vec::len).sum::<usize>();
    plan.held.slices = before + plan.create.len() - plan.delete.len();
    plan
}

fn reconcile_group(
    template: &Template,
    group: &(String, Vec<PortKey>),
    endpoints: Vec<Endpoint>,
    slices: &[&Arc<EndpointSlice>],
    plan: &mut Plan,
) {
    let placeholder = endpoints.is_empty();
    plan.held.endpoints += endpoints.len();
    plan.held.slices_least += endpoints.len().div_ceil(ENDPOINTS_MAX);
    let mut missing: BTreeMap<String, Endpoint> = endpoints.into_iter().map(|e| (identity(&e), e)).collect();
    let mut kept: Vec<(bool, EndpointSlice)> = Vec::new();
    for slice in slices {
        let mut now = (***slice).clone();
        let old = now.endpoints.take().unwrap_or_default();
        let stay = old.iter().filter_map(|before| {
            let now = missing.remove(&identity(before))?;
            plan.updated += usize::from(now != *before);
            Some(now)
        });
        let stay: Vec<Endpoint> = stay.collect();
        let mut changed = stay != old;
        plan.removed += old.len() - stay.len();
        if now.metadata.labels.as_ref() != Some(&template.labels) {
            now.metadata.labels = Some(template.labels.clone());
            changed = true;
        }
        if template.annotations.as_ref().is_some_and(|wanted| now.annotations() != wanted) {
            now.metadata.annotations = template.annotations.clone().filter(|a| !a.is_empty());
            changed = true;
        }
        now.endpoints = Some(stay);
        kept.push((changed, now));
    }
    // Slices that are written anyway are filled first, the fullest before the others.
    kept.sort_by_key(|(changed, s)| (!*changed, std::cmp::Reverse(count(s))));
    plan.added += missing.len();
    let mut missing = missing.into_values();
    for (changed, slice) in &mut kept {
        let room = ENDPOINTS_MAX.saturating_sub(count(slice));
        let more: Vec<_> = missing.by_ref().take(room).collect();
        *changed |= !more.is_empty();
        slice.endpoints.get_or_insert_default().extend(more);
    }
    let mut left: Vec<_> = missing.collect();
    let mut spare = placeholder;
    for (changed, slice) in kept {
        let empty = count(&slice) == 0;
        if empty && !std::mem::take(&mut spare) {
            plan.delete.push(slice.name_any());
        } else if changed {
            plan.update.push(slice);
        }
    }
    if spare && slices.is_empty() {
        plan.create.push(new_slice(template, group, Vec::new()));
    }
    while !left.is_empty() {
        let rest = left.split_off(left.len().min(ENDPOINTS_MAX));
        plan.create.push(new_slice(template, group, std::mem::replace(&mut left, rest)));
    }
}

fn count(slice: &EndpointSlice) -> usize {
    slice.endpoints.as_ref().map_or(0, Vec::len)
}

fn identity(endpoint: &Endpoint) -> String {
    let target = endpoint.target_ref.as_ref().and_then(|t| t.uid.clone()).unwrap_or_default();
    format!("{target}/{}", endpoint.addresses.join(","))
}

pub(super) fn port_keys(slice: &EndpointSlice) -> Vec<PortKey> {
    let ports = slice.ports.iter().flatten().cloned();
    let mut keys: Vec<PortKey> = ports
        .map(|p| (p.name.unwrap_or_default(), p.port, p.protocol.unwrap_or_else(|| "TCP".into()), p.app_protocol))
        .collect();
    keys.sort();
    keys
}

fn new_slice(template: &Template, group: &(String, Vec<PortKey>), endpoints: Vec<Endpoint>) -> EndpointSlice {
    let ports = group.1.iter().cloned().map(|(name, port, protocol, app_protocol)| EndpointPort {
        name: Some(name),
        port,
        protocol: Some(protocol),
        app_protocol,
    });
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", template.name)),
            namespace: template.namespace.clone(),
            labels: Some(template.labels.clone()),
            annotations: template.annotations.clone().filter(|a| !a.is_empty()),
            owner_references: Some(vec![template.owner.clone()]),
            ..ObjectMeta::default()
        },
        address_type: group.0.clone(),
        endpoints: Some(endpoints),
        ports: Some(ports.collect()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service() -> Service {
        let s = json!({"metadata": {"name": "web", "namespace": "ns", "uid": "s"}, "spec": {
            "clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"],
            "ports": [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}]}});
        serde_json::from_value(s).expect("a service")
    }

    fn pod(i: usize, ready: bool) -> Pod {
        let ready = if ready { "True" } else { "False" };
        let p = json!({"metadata": {"name": format!("p{i}"), "namespace": "ns", "uid": format!("u{i}")},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}]},
            "status": {"phase": "Running", "podIPs": [{"ip": format!("10.1.{}.{}", i / 256, i % 256)}],
                "conditions": [{"type": "Ready", "status": ready}]}});
        serde_json::from_value(p).expect("a pod")
    }

    fn plan(pods: &[Pod], existing: &[Arc<EndpointSlice>]) -> Plan {
        of_service(&service(), &pods.iter().collect::<Vec<_>>(), existing, |_| Some("z".into()))
    }

    fn stored(plan: Plan) -> Vec<Arc<EndpointSlice>> {
        let named = plan.create.into_iter().enumerate().map(|(i, mut s)| {
            s.metadata.name = Some(format!("web-{i}"));
            Arc::new(s)
        });
        named.collect()
    }

    #[test]
    fn no_pods_make_one_empty_slice() {
        let first = plan(&[], &[]);
        assert_eq!(first.create.len(), 1);
        let again = plan(&[], &stored(first));
        assert_eq!((again.writes(), again.held.slices), (0, 1), "and it stays");
    }

    #[test]
    fn slices_are_full_before_there_is_another() {
        let pods: Vec<_> = (0..250).map(|i| pod(i, true)).collect();
        let first = plan(&pods, &[]);
        assert_eq!(first.create.iter().map(count).collect::<Vec<_>>(), [100, 100, 50]);
        assert_eq!(first.create[0].ports.as_ref().and_then(|p| p[0].port), Some(8080));
        let slices = stored(first);
        let again = plan(&pods, &slices);
        assert_eq!((again.writes(), again.held), (0, Held { endpoints: 250, slices: 3, slices_least: 3 }));
        let more: Vec<_> = (0..260).map(|i| pod(i, true)).collect();
        let next = plan(&more, &slices);
        assert_eq!((next.create.len(), next.update.len()), (0, 1));
        assert_eq!((next.added, next.removed), (10, 0));
    }

    #[test]
    fn readiness_changes_one_slice() {
        let slices = stored(plan(&[pod(1, false), pod(2, true)], &[]));
        let next = plan(&[pod(1, true), pod(2, true)], &slices);
        assert_eq!(next.update.len(), 1);
        let ready = |e: &Endpoint| e.conditions.as_ref().and_then(|c| c.ready) == Some(true);
        assert!(next.update[0].endpoints.iter().flatten().all(ready));
    }
}
