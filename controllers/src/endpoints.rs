//! Endpoints: the old list of a service's pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Action, EventType, Informer, ObjectKey};
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service, ServiceSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};

use crate::context::Context;
use crate::error::{Result, ignore_not_found, is_already_exists, is_namespace_terminating, message};
use crate::pod::{is_ready, node_name};
use crate::selector;
use crate::service_pods::{self, HEADLESS_LABEL, has_cluster_ip, hostname, is_endpoint, is_headless, target_port};
use crate::trigger_times::{self, TriggerTimes};

/// Keys worked on at a time.
const WORKERS: usize = 5;
/// Addresses that one object holds at most (`maxCapacity` in the reference).
const ADDRESSES_MAX: usize = 1000;
/// Says that some were left out.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// Who made the object.
pub(crate) const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// The name of this controller in that label.
const MANAGER: &str = "endpoint-controller";

struct Controller {
    context: Context,
    services: Informer<Service>,
    pods: Informer<Pod>,
    endpoints: Informer<Endpoints>,
    times: TriggerTimes,
}

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let services = context.informers.of::<Service>();
    let pods = context.informers.of::<Pod>();
    let endpoints = context.informers.of::<Endpoints>();
    let to = queue.clone();
    services.on_change(move |change| to.add(ObjectKey::of(&**change.object())));
    service_pods::watch_pods(&pods, &services, &queue);
    let (to, known) = (queue.clone(), services.clone());
    endpoints.on_change(move |change| {
        let key = ObjectKey::of(&**change.object());
        if change.is_delete() && known.get_key(&key).is_some() {
            to.add(key);
        }
    });
    services.wait_synced().await;
    pods.wait_synced().await;
    endpoints.wait_synced().await;
    // What is left of services that went while nobody looked.
    for object in endpoints.list().iter().filter(|e| e.labels().get(MANAGED_BY).is_some_and(|m| m == MANAGER)) {
        queue.add(ObjectKey::of(&**object));
    }
    let controller =
        Arc::new(Controller { context: context.clone(), services, pods, endpoints, times: TriggerTimes::default() });
    context
        .run("endpoints", queue, WORKERS, move |key| {
            let controller = controller.clone();
            async move { controller.sync(key).await }
        })
        .await;
}

impl Controller {
    async fn sync(&self, key: ObjectKey) -> Result<Action> {
        let api = self.context.api::<Endpoints>(&key.namespace);
        let Some(service) = self.services.get_key(&key) else {
            self.times.forget(&key);
            // The informer may not have seen yet what was created a moment ago.
            ignore_not_found(api.delete(&key.name, &DeleteParams::default()).await)?;
            return Ok(Action::Done);
        };
        let current = self.endpoints.get_key(&key);
        let Some(selector) = service_pods::selector(&service) else { return Ok(Action::Done) };
        let pods = self.pods.list_matching(&key.namespace, |labels| selector::contains(labels, selector));
        let pods: Vec<&Pod> = pods.iter().map(|p| &**p).collect();
        let changed_at = self.times.note(&key, &service, pods.iter().copied());
        let mut wanted = endpoints_of(&service, &pods, current.as_deref());
        if current.as_deref() == Some(&wanted) {
            return Ok(Action::Done);
        }
        trigger_times::stamp(&mut wanted.metadata.annotations, changed_at);
        let written = match &current {
            Some(_) => ignore_not_found(api.replace(&key.name, &PostParams::default(), &wanted).await).map(|_| ()),
            None => api.create(&PostParams::default(), &wanted).await.map(|_| ()),
        };
        match written {
            Err(error) if current.is_none() && is_namespace_terminating(&error) => {}
            // The cache is behind our own creation, and its arrival brings the key no more.
            Err(error) if current.is_none() && is_already_exists(&error) => return Ok(Action::Retry),
            Err(error) => {
                let (what, reason) = match current {
                    Some(_) => (format!("update endpoint {key}"), "FailedToUpdateEndpoint"),
                    None => (format!("create endpoint for service {key}"), "FailedToCreateEndpoint"),
                };
                let said = format!("Failed to {what}: {}", message(&error));
                self.context.events.event(&wanted, EventType::Warning, reason, said);
                return Err(error.into());
            }
            Ok(()) => {}
        }
        Ok(Action::Done)
    }
}

fn endpoints_of(service: &Service, pods: &[&Pod], current: Option<&Endpoints>) -> Endpoints {
    let mut wanted = current.cloned().unwrap_or_else(|| Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        subsets: None,
    });
    let mut labels = service.labels().clone();
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if has_cluster_ip(service) {
        labels.remove(HEADLESS_LABEL);
    } else {
        labels.insert(HEADLESS_LABEL.into(), String::new());
    }
    wanted.metadata.labels = Some(labels);
    let (subsets, truncated) = subsets(service, pods);
    wanted.subsets = Some(subsets).filter(|s| !s.is_empty());
    let mut annotations = wanted.metadata.annotations.take().unwrap_or_default();
    annotations.remove(OVER_CAPACITY);
    if truncated {
        annotations.insert(OVER_CAPACITY.into(), "truncated".into());
    }
    wanted.metadata.annotations = Some(annotations).filter(|a| !a.is_empty());
    wanted
}

/// Ports as they sort in a subset.
type PortKey = (String, i32, String, Option<String>);

/// The addresses, grouped by the ports that they are reached at.
fn subsets(service: &Service, pods: &[&Pod]) -> (Vec<EndpointSubset>, bool) {
    let Some(spec) = &service.spec else { return (Vec::new(), false) };
    let tolerates = spec.publish_not_ready_addresses.unwrap_or(false);
    let ipv6 = spec.ip_families.as_ref().and_then(|f| f.first()).is_some_and(|f| f == "IPv6");
    let mut groups: BTreeMap<Vec<PortKey>, Vec<(bool, EndpointAddress)>> = BTreeMap::new();
    let mut left = ADDRESSES_MAX;
    let mut truncated = false;
    let mut pods: Vec<&&Pod> = pods.iter().filter(|p| is_endpoint(p, tolerates)).collect();
    // If not all fit, those that serve come first.
    pods.sort_by_key(|p| (!is_ready(p), p.metadata.uid.clone()));
    for pod in pods {
        let Some(ip) = service_pods::addresses(pod).find(|ip| ip.is_ipv6() == ipv6) else { continue };
        let ports = ports_of(spec, pod);
        if ports.is_empty() && !(is_headless(spec) && spec.ports.iter().flatten().next().is_none()) {
            continue;
        }
        if left == 0 {
            truncated = true;
            break;
        }
        left -= 1;
        let address = EndpointAddress {
            ip: ip.to_string(),
            hostname: hostname(pod, service),
            node_name: Some(node_name(pod).to_owned()).filter(|n| !n.is_empty()),
            target_ref: Some(ObjectReference {
                kind: Some("Pod".into()),
                namespace: pod.metadata.namespace.clone(),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
                ..ObjectReference::default()
            }),
        };
        groups.entry(ports).or_default().push((tolerates || is_ready(pod), address));
    }
    (groups.into_iter().map(|(ports, addresses)| subset(ports, addresses)).collect(), truncated)
}

fn ports_of(spec: &ServiceSpec, pod: &Pod) -> Vec<PortKey> {
    let mut ports: Vec<PortKey> = spec
        .ports
        .iter()
        .flatten()
        .filter_map(|p| {
            let protocol = p.protocol.clone().unwrap_or_else(|| "TCP".into());
            Some((p.name.clone().unwrap_or_default(), target_port(pod, p)?, protocol, p.app_protocol.clone()))
        })
        .collect();
    ports.sort();
    ports
}

fn subset(ports: Vec<PortKey>, mut addresses: Vec<(bool, EndpointAddress)>) -> EndpointSubset {
    addresses.sort_by(|(_, a), (_, b)| a.ip.cmp(&b.ip));
    let (ready, not_ready): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|(ready, _)| *ready);
    let list = |a: Vec<(bool, EndpointAddress)>| {
        Some(a.into_iter().map(|(_, a)| a).collect::<Vec<_>>()).filter(|a| !a.is_empty())
    };
    let ports: Vec<_> = ports
        .into_iter()
        .map(|(name, port, protocol, app_protocol)| EndpointPort {
            name: Some(name).filter(|n| !n.is_empty()),
            port,
            protocol: Some(protocol),
            app_protocol,
        })
        .collect();
    EndpointSubset {
        addresses: list(ready),
        not_ready_addresses: list(not_ready),
        ports: Some(ports).filter(|p| !p.is_empty()),
    }
}
