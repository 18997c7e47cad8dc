//! Which pods stand behind a service, and how they are reached: what Endpoints and EndpointSlices have in common.

use std::net::IpAddr;

use api::pods::is_sidecar;
use api::services;
use client::{Change, Informer, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::{Pod, Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use crate::pod::{is_ready, is_terminal, is_terminating, node_name};
use crate::selector::{self, Labels};

/// The label of what belongs to a service without an address of its own.
pub(crate) const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";

/// Whether the service has a cluster address (`IsServiceIPSet` in the reference).
pub(crate) fn has_cluster_ip(service: &Service) -> bool {
    service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref()).is_some_and(services::has_address)
}

/// Whether the service is declared to have none.
pub(crate) fn is_headless(spec: &ServiceSpec) -> bool {
    spec.cluster_ip.as_deref().is_some_and(services::is_headless)
}

/// The selector, if pods are looked up for this service at all.
pub(crate) fn selector(service: &Service) -> Option<&Labels> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") { None } else { spec.selector.as_ref() }
}

/// Whether `selector` selects a pod. An empty one selects every pod, as the reference's does.
pub(crate) fn selects(selector: &Labels, pod: &Pod) -> bool {
    selector::contains(pod.labels(), selector)
}

/// Whether the pod counts as an endpoint at all.
pub(crate) fn is_endpoint(pod: &Pod, include_terminating: bool) -> bool {
    !is_terminal(pod) && addresses(pod).next().is_some() && (include_terminating || !is_terminating(pod))
}

/// The pod's addresses.
pub(crate) fn addresses(pod: &Pod) -> impl Iterator<Item = IpAddr> {
    let status = pod.status.as_ref();
    let many = status.and_then(|s| s.pod_ips.as_ref()).into_iter().flatten().map(|ip| ip.ip.as_str());
    let one = status.filter(|s| s.pod_ips.is_none()).and_then(|s| s.pod_ip.as_deref());
    many.chain(one).filter_map(|ip| ip.parse().ok())
}

/// The pod's host name, if it is part of this service's domain.
pub(crate) fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let host = spec.hostname.clone().filter(|h| !h.is_empty())?;
    let here = spec.subdomain.is_some() && spec.subdomain == service.metadata.name;
    (here && pod.metadata.namespace == service.metadata.namespace).then_some(host)
}

/// The pod's port that a service port leads to.
pub(crate) fn target_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    let name = match &port.target_port {
        None => return Some(port.port),
        Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten().filter(|c| is_sidecar(c.restart_policy.as_deref()));
    let protocol = |p: Option<&String>| p.map_or("TCP", String::as_str).to_owned();
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|c| c.ports.iter().flatten())
        .find(|p| p.name.as_ref() == Some(name) && protocol(p.protocol.as_ref()) == protocol(port.protocol.as_ref()))
        .map(|p| p.container_port)
}

/// Enqueues the services that a change of a pod concerns.
pub(crate) fn watch_pods(pods: &Informer<Pod>, services: &Informer<Service>, queue: &WorkQueue<ObjectKey>) {
    let (services, to) = (services.clone(), queue.clone());
    pods.on_change(move |change| {
        if let Change::Updated { old, new } = change
            && !concerns_endpoints(old, new)
        {
            return;
        }
        let pod = change.object();
        for service in services.list_in(pod.metadata.namespace.as_deref().unwrap_or_default()) {
            let Some(selector) = selector(&service) else { continue };
            if selects(selector, pod) || change.old().is_some_and(|old| selects(selector, old)) {
                to.add(ObjectKey::of(&*service));
            }
        }
    });
}

fn concerns_endpoints(old: &Pod, new: &Pod) -> bool {
    let view = |p: &Pod| {
        let spec = p.spec.as_ref();
        (
            (is_ready(p), is_terminal(p), is_terminating(p), node_name(p).to_owned()),
            addresses(p).collect::<Vec<_>>(),
            spec.and_then(|s| s.hostname.clone()),
            spec.and_then(|s| s.subdomain.clone()),
        )
    };
    old.metadata.labels != new.metadata.labels || view(old) != view(new)
}
