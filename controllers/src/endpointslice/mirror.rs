//! Endpoints that people make by hand are mirrored into EndpointSlices, which is what proxies read.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use client::{Action, EventType, Informer, ObjectKey};
use k8s_openapi::api::core::v1::{EndpointAddress, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointSlice};
use kube::ResourceExt;

use super::plan::{PortKey, Template, Wanted, reconcile};
use super::tally::{self, Tally};
use super::{BY_SERVICE, MANAGED_BY, SERVICE_NAME, add_index, carry_out, is_managed_by, watch_slices};
use crate::context::Context;
use crate::error::Result;
use crate::figures::Mirrored;
use crate::owner::controller_reference;
use crate::selector::Labels;
use crate::trigger_times;
use crate::writes::{self, Writes};

/// Keys worked on at a time.
const WORKERS: usize = 5;
/// Addresses of a subset that are mirrored (`maxEndpointsPerSubset` in the reference).
const ADDRESSES_MAX: usize = 1000;
/// The name of this controller in the label that says who made a slice.
const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// The label by which a user declines.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Endpoints that are locks are no endpoints.
const LOCK: &str = "control-plane.alpha.kubernetes.io/leader";

/// What `kubectl apply` sent last, which is of the object alone.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

struct Controller {
    context: Context,
    services: Informer<Service>,
    endpoints: Informer<Endpoints>,
    slices: Informer<EndpointSlice>,
    writes: Arc<Writes>,
    figures: Arc<Mirrored>,
    tally: Tally,
}

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let services = context.informers.of::<Service>();
    let endpoints = context.informers.of::<Endpoints>();
    let slices = context.informers.of::<EndpointSlice>();
    add_index(&slices);
    let to = queue.clone();
    services.on_change(move |change| to.add(ObjectKey::of(&**change.object())));
    let to = queue.clone();
    endpoints.on_change(move |change| to.add(ObjectKey::of(&**change.object())));
    let writes = Arc::new(Writes::new(context.clock.clone()));
    watch_slices(&slices, &queue, &writes, MANAGER);
    services.wait_synced().await;
    endpoints.wait_synced().await;
    slices.wait_synced().await;
    let controller = Arc::new(Controller {
        figures: context.figures(),
        tally: Tally::default(),
        context: context.clone(),
        services,
        endpoints,
        slices,
        writes,
    });
    context
        .run("endpointslicemirroring", queue, WORKERS, move |key| {
            let controller = controller.clone();
            async move {
                let started = controller.context.clock.elapsed();
                let synced = controller.sync(key).await;
                let took = controller.context.clock.elapsed().saturating_sub(started).as_secs_f64();
                controller.figures.durations.with([], |durations| durations.observe(took));
                synced
            }
        })
        .await;
}

impl Controller {
    async fn sync(&self, key: ObjectKey) -> Result<Action> {
        let current = |name: &str| self.slices.get(&key.namespace, name).map(|s| writes::revision(&*s));
        if !self.writes.settled(&key, current) {
            return Ok(Action::RequeueAfter(writes::TIMEOUT));
        }
        let existing = self.slices.indexed(BY_SERVICE, &key.to_string());
        let existing: Vec<_> = existing.into_iter().filter(|s| is_managed_by(s, MANAGER)).collect();
        let by_hand = |s: &Arc<Service>| s.spec.as_ref().is_none_or(|s| s.selector.is_none());
        let service = self.services.get_key(&key).filter(by_hand);
        let endpoints = self.endpoints.get_key(&key).filter(|e| is_mirrored(e) && service.is_some());
        // Slices of Endpoints that are gone are the garbage collector's; those of a service that now has a selector ours.
        let Some(endpoints) = endpoints else {
            let delete = existing.iter().map(|s| s.name_any()).collect();
            let plan = super::Plan { delete, ..super::Plan::default() };
            self.tally.note(&key, None, self.gauges(), None);
            carry_out(&self.context, &self.writes, &key, plan, &self.figures.changes).await?;
            return Ok(Action::Done);
        };
        let mut labels = endpoints.labels().clone();
        labels.insert(SERVICE_NAME.into(), key.name.clone());
        labels.insert(MANAGED_BY.into(), MANAGER.into());
        let template = Template {
            name: key.name.clone(),
            namespace: endpoints.namespace(),
            labels,
            annotations: Some(annotations(&endpoints)),
            owner: controller_reference(&*endpoints),
        };
        let (wanted, invalid, surplus) = wanted(&endpoints);
        let warn = |reason: &str, said| self.context.events.event(&*endpoints, EventType::Warning, reason, said);
        if invalid > 0 {
            let said = format!("Skipped {invalid} invalid IP addresses when mirroring to EndpointSlices");
            warn("InvalidIPAddress", said);
        }
        if surplus > 0 {
            let (most, all) = (ADDRESSES_MAX, invalid + surplus);
            let what = format!("A max of {most} addresses can be mirrored to EndpointSlices per Endpoints subset");
            warn("TooManyAddressesToMirror", format!("{what}. {all} addresses were skipped"));
        }
        let plan = reconcile(&template, wanted, &existing);
        self.figures.skipped.with([], |counts| counts.observe((invalid + surplus) as f64));
        self.figures.added.with([], |counts| counts.observe(plan.added as f64));
        self.figures.updated.with([], |counts| counts.observe(plan.updated as f64));
        self.figures.removed.with([], |counts| counts.observe(plan.removed as f64));
        self.tally.note(&key, Some((plan.held, "")), self.gauges(), None);
        carry_out(&self.context, &self.writes, &key, plan, &self.figures.changes).await?;
        Ok(Action::Done)
    }

    fn gauges(&self) -> tally::Gauges<'_> {
        [&self.figures.endpoints, &self.figures.slices, &self.figures.slices_wanted]
    }
}

/// The annotations of mirrored slices: those of the Endpoints, but for what is of that object alone.
fn annotations(endpoints: &Endpoints) -> Labels {
    let mut annotations = endpoints.annotations().clone();
    annotations.remove(trigger_times::ANNOTATION);
    annotations.remove(LAST_APPLIED);
    annotations
}

fn is_mirrored(endpoints: &Endpoints) -> bool {
    let skipped = endpoints.labels().get(SKIP).is_some_and(|v| v == "true");
    let made_by_controller = endpoints.labels().contains_key(crate::endpoints::MANAGED_BY);
    !skipped
        && !made_by_controller
        && !endpoints.annotations().contains_key(LOCK)
        && endpoints.metadata.deletion_timestamp.is_none()
}

/// The endpoints to mirror, and how many were left out that are no IP addresses, and that were too many.
fn wanted(endpoints: &Endpoints) -> (Wanted, usize, usize) {
    let mut wanted: Wanted = BTreeMap::new();
    let (mut invalid, mut surplus) = (0, 0);
    for subset in endpoints.subsets.iter().flatten() {
        let mut ports: Vec<PortKey> = subset
            .ports
            .iter()
            .flatten()
            .cloned()
            .map(|p| {
                let protocol = p.protocol.unwrap_or_else(|| "TCP".into());
                (p.name.unwrap_or_default(), Some(p.port), protocol, p.app_protocol)
            })
            .collect();
        ports.sort();
        let ready = subset.addresses.iter().flatten().map(|a| (a, true));
        let not_ready = subset.not_ready_addresses.iter().flatten().map(|a| (a, false));
        let mut added = 0;
        for (address, ready) in ready.chain(not_ready) {
            if added == ADDRESSES_MAX {
                surplus += 1;
                continue;
            }
            let Ok(ip) = address.ip.parse::<IpAddr>() else {
                invalid += 1;
                continue;
            };
            added += 1;
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            wanted.entry((family.to_owned(), ports.clone())).or_default().push(endpoint(address, ready));
        }
    }
    (wanted, invalid, surplus)
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn endpoints(value: serde_json::Value) -> Endpoints {
        serde_json::from_value(value).expect("endpoints")
    }

    #[test]
    fn what_is_of_the_object_alone_is_not_mirrored() {
        let e = endpoints(json!({"metadata": {"name": "e", "annotations": {"a": "1", LAST_APPLIED: "{}",
            trigger_times::ANNOTATION: "2026-01-01T00:00:00Z"}}}));
        assert_eq!(annotations(&e), Labels::from([("a".to_owned(), "1".to_owned())]));
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let ips: Vec<_> = (0..1005).map(|i| json!({"ip": format!("10.0.{}.{}", i / 256, i % 256)})).collect();
        let bad = [vec![json!({"ip": "x"})], ips].concat();
        let (wanted, invalid, surplus) = wanted(&endpoints(json!({"subsets": [{"addresses": bad}]})));
        assert_eq!((wanted.values().map(Vec::len).sum::<usize>(), invalid, surplus), (1000, 1, 5));
    }
}
