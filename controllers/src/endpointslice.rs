//! EndpointSlices: the pods of a service, in lists of at most a hundred.

mod mirror;
mod plan;
mod tally;

use std::sync::Arc;

use client::{Action, EventType, Informer, ObjectKey};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use metrics::{Counter, Family};

use crate::context::Context;
use crate::error::{Result, ignore_not_found, is_namespace_terminating};
use crate::figures::Slices;
use crate::trigger_times::{self, TriggerTimes};
use crate::writes::{self, Writes};
use crate::{selector, service_pods};
pub(crate) use mirror::run as run_mirroring;
use plan::Plan;
use tally::Tally;

/// Keys worked on at a time.
const WORKERS: usize = 5;
/// Who made the slice.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// The name of this controller in that label.
const MANAGER: &str = "endpointslice-controller.k8s.io";
/// The service of a slice.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The index of slices by namespace and service.
const BY_SERVICE: &str = "by-service";
/// The label of a node's zone.
const ZONE: &str = "topology.kubernetes.io/zone";

struct Controller {
    context: Context,
    services: Informer<Service>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    slices: Informer<EndpointSlice>,
    writes: Arc<Writes>,
    times: TriggerTimes,
    figures: Arc<Slices>,
    tally: Tally,
}

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let services = context.informers.of::<Service>();
    let pods = context.informers.of::<Pod>();
    let nodes = context.informers.of::<Node>();
    let slices = context.informers.of::<EndpointSlice>();
    add_index(&slices);
    let to = queue.clone();
    services.on_change(move |change| to.add(ObjectKey::of(&**change.object())));
    service_pods::watch_pods(&pods, &services, &queue);
    let writes = Arc::new(Writes::new(context.clock.clone()));
    watch_slices(&slices, &queue, &writes, MANAGER);
    services.wait_synced().await;
    pods.wait_synced().await;
    nodes.wait_synced().await;
    slices.wait_synced().await;
    let controller = Arc::new(Controller {
        times: TriggerTimes::default(),
        figures: context.figures(),
        tally: Tally::default(),
        context: context.clone(),
        services,
        pods,
        nodes,
        slices,
        writes,
    });
    context
        .run("endpointslice", queue, WORKERS, move |key| {
            let controller = controller.clone();
            async move {
                let synced = controller.sync(key).await;
                let result = match &synced {
                    // What was written is not in the cache yet.
                    Ok(Action::RequeueAfter(_)) => "stale",
                    Ok(_) => "success",
                    Err(_) => "error",
                };
                controller.figures.syncs.with([result], Counter::add_one);
                synced
            }
        })
        .await;
}

fn add_index(slices: &Informer<EndpointSlice>) {
    slices.add_index(BY_SERVICE, |s| service_of(s).map(|key| key.to_string()).into_iter().collect());
}

fn service_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    let name = slice.labels().get(SERVICE_NAME).filter(|n| !n.is_empty())?;
    Some(ObjectKey::new(slice.metadata.namespace.as_deref().unwrap_or_default(), name))
}

fn is_managed_by(slice: &EndpointSlice, manager: &str) -> bool {
    slice.labels().get(MANAGED_BY).is_some_and(|m| m == manager)
}

/// Somebody else's changes of our slices are undone, and our own ones free the key for the next sync.
fn watch_slices(
    slices: &Informer<EndpointSlice>,
    queue: &client::WorkQueue<ObjectKey>,
    writes: &Arc<Writes>,
    manager: &'static str,
) {
    let (to, writes) = (queue.clone(), writes.clone());
    slices.on_change(move |change| {
        for slice in [Some(change.object()), change.old()].into_iter().flatten() {
            if is_managed_by(slice, manager)
                && let Some(key) = service_of(slice)
            {
                if change.is_delete() {
                    writes.forget(&key, &slice.name_any());
                }
                to.add(key);
            }
        }
    });
}

impl Controller {
    async fn sync(&self, key: ObjectKey) -> Result<Action> {
        let current = |name: &str| self.slices.get(&key.namespace, name).map(|s| writes::revision(&*s));
        if !self.writes.settled(&key, current) {
            return Ok(Action::RequeueAfter(writes::TIMEOUT));
        }
        let Some(service) = self.services.get_key(&key) else {
            self.times.forget(&key);
            self.tally.note(&key, None, self.gauges(), Some(&self.figures.by_distribution));
            return Ok(Action::Done);
        };
        let existing = self.slices.indexed(BY_SERVICE, &key.to_string());
        let existing: Vec<_> = existing.into_iter().filter(|s| is_managed_by(s, MANAGER)).collect();
        let Some(selector) = service_pods::selector(&service) else { return Ok(Action::Done) };
        if service.metadata.deletion_timestamp.is_some() {
            return Ok(Action::Done);
        }
        let pods = self.pods.list_matching(&key.namespace, |labels| selector::contains(labels, selector));
        let pods: Vec<&Pod> = pods.iter().map(|p| &**p).collect();
        let zone = |node: &str| self.nodes.get("", node).and_then(|n| n.labels().get(ZONE).cloned());
        let changed_at = self.times.note(&key, &service, pods.iter().copied());
        let mut plan = plan::of_service(&service, &pods, &existing, zone);
        for slice in plan.create.iter_mut().chain(&mut plan.update) {
            trigger_times::stamp(&mut slice.metadata.annotations, changed_at);
        }
        let distribution = distribution(&service);
        self.figures.added.with([], |counts| counts.observe(plan.added as f64));
        self.figures.removed.with([], |counts| counts.observe(plan.removed as f64));
        let held = Some((plan.held, distribution));
        self.tally.note(&key, held, self.gauges(), Some(&self.figures.by_distribution));
        let writes = plan.writes();
        let carried_out = carry_out(&self.context, &self.writes, &key, plan, &self.figures.changes).await;
        if carried_out.is_ok() {
            // There are no hints by topology alone.
            self.figures.changed.with(["Disabled", distribution], |counts| counts.observe(writes as f64));
        }
        if let Err(error) = carried_out {
            let why = error.status().map_or_else(|| error.to_string(), |s| s.message.clone());
            let said = format!("Error updating Endpoint Slices for Service {key}: {why}");
            self.context.events.event(&*service, EventType::Warning, "FailedToUpdateEndpointSlices", said);
            return Err(error);
        }
        Ok(Action::Done)
    }

    fn gauges(&self) -> tally::Gauges<'_> {
        [&self.figures.endpoints, &self.figures.slices, &self.figures.slices_wanted]
    }
}

/// How the traffic of a service is shared out, if it says so in a way that there is.
fn distribution(service: &Service) -> &'static str {
    const KNOWN: [&str; 3] = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    let wanted = service.spec.as_ref().and_then(|spec| spec.traffic_distribution.as_deref());
    KNOWN.into_iter().find(|known| Some(*known) == wanted).unwrap_or("")
}

async fn carry_out(
    context: &Context,
    writes: &Writes,
    key: &ObjectKey,
    plan: Plan,
    changes: &Family<Counter, 1>,
) -> Result<()> {
    let api = context.api::<EndpointSlice>(&key.namespace);
    for slice in plan.create {
        match api.create(&PostParams::default(), &slice).await {
            Ok(created) => {
                changes.with(["create"], Counter::add_one);
                writes.note(key, &created);
            }
            Err(error) if is_namespace_terminating(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    for slice in plan.update {
        if let Some(updated) = ignore_not_found(api.replace(&slice.name_any(), &PostParams::default(), &slice).await)? {
            changes.with(["update"], Counter::add_one);
            writes.note(key, &updated);
        }
    }
    for name in plan.delete {
        ignore_not_found(api.delete(&name, &DeleteParams::default()).await)?;
        changes.with(["delete"], Counter::add_one);
    }
    Ok(())
}
