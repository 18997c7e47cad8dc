//! Service rules: what a service address leads to, as nftables rules in one table.
//!
//! Informers tell of Services and EndpointSlices; each change marks its service. One task takes all marked services,
//! computes what they contribute ([`service::elements`]), and applies the difference as one transaction
//! ([`ruleset::Ruleset`]). While a transaction runs, further changes gather for the next, so bursts become batches
//! without any timer.
//!
//! What differs from kube-proxy's nftables mode: packets keep their source address unless the endpoint is off the node or the
//! client itself, also with `externalTrafficPolicy: Cluster`; and node ports answer on every address of the node,
//! 127.0.0.1 included.

mod conntrack;
pub mod element;
mod figures;
mod health;
mod neighbours;
mod printed;
pub mod ruleset;
pub mod service;
mod status;

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use client::{Change, Clock, Informer, Informers, ObjectKey, Selection, SeriesRecorder};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use metrics::Metrics;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::nft;
use figures::Figures;
pub use ruleset::Frame;
use ruleset::Ruleset;
use service::Elements;

/// Names the service of an EndpointSlice.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// The informer index of slices by their service.
const BY_SERVICE: &str = "proxy-service";
/// Pause after a refused transaction.
const RETRY_MS: u64 = 500;
/// The longest such pause.
const RETRY_MS_MAX: u64 = 30_000;
/// So many services changed at once are programmed by building the table anew, which takes one pass.
const REBUILD_SERVICES_MIN: usize = 2_000;
/// The annotation that tells when a change of endpoints was called for.
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// Of so many changes in one round the time until they were programmed is told.
const TRIGGERS_MAX: usize = 4_096;

/// Configuration of the service rules.
#[derive(Debug, Clone)]
pub struct Config {
    /// The fixed part of the table.
    pub frame: Frame,
    /// The name of this node, for the traffic policies `Local`.
    pub node_name: String,
    /// Where it counts.
    pub metrics: Metrics,
}

/// The running service rules.
pub struct Proxy {
    synced: watch::Receiver<bool>,
}

impl Proxy {
    /// Starts to keep the table current, until `token` is cancelled. The table stays when it is: connections of pods go
    /// on while the agent restarts. (`pod_network::teardown` removes it.)
    #[must_use]
    pub fn start(config: Config, informers: &Informers, events: SeriesRecorder, token: CancellationToken) -> Self {
        let (sender, synced) = watch::channel(false);
        let figures: Arc<Figures> = config.metrics.families();
        let health = Arc::new(status::Health::new(informers.clock().clone(), figures.clone()));
        let feed = Feed::new(informers, figures, health.clone());
        let own = Selection { fields: Some(format!("metadata.name={}", config.node_name)), labels: None };
        status::serve(health, informers.selected::<Node>(own), &token);
        tokio::spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = run(config, feed, events, sender) => {}
            }
        });
        Self { synced }
    }

    /// Waits until the table holds every service that was there at start.
    pub async fn wait_synced(&self) {
        if self.synced.clone().wait_for(|synced| *synced).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The marked services, and where to look them up.
struct Feed {
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    marked: Arc<Marked>,
    health: Arc<status::Health>,
}

struct Marked {
    services: Mutex<HashSet<ObjectKey>>,
    /// When what changed the endpoints happened.
    triggers: Mutex<Vec<Timestamp>>,
    wake: Notify,
    figures: Arc<Figures>,
    clock: Clock,
    health: Arc<status::Health>,
}

impl Marked {
    fn mark(&self, key: ObjectKey) {
        self.services.lock().insert(key);
        self.health.queued();
        self.wake.notify_one();
    }

    /// Notes what the endpoints controller says of when a change of a slice was called for.
    fn note_trigger(&self, change: &Change<EndpointSlice>) {
        let trigger = |slice: &EndpointSlice| slice.metadata.annotations.as_ref()?.get(TRIGGER_TIME).cloned();
        let news =
            trigger(change.object()).filter(|new| change.old().and_then(|old| trigger(old)).as_ref() != Some(new));
        let Some(time) = news.filter(|_| !change.is_delete()).and_then(|text| text.parse().ok()) else { return };
        let mut triggers = self.triggers.lock();
        if triggers.len() < TRIGGERS_MAX {
            triggers.push(time);
        }
    }
}

impl Feed {
    fn new(informers: &Informers, figures: Arc<Figures>, health: Arc<status::Health>) -> Self {
        let (services, slices) = (informers.of::<Service>(), informers.of::<EndpointSlice>());
        let marked = Arc::new(Marked {
            services: Mutex::default(),
            triggers: Mutex::default(),
            wake: Notify::default(),
            figures,
            clock: informers.clock().clone(),
            health: health.clone(),
        });
        slices.add_index(BY_SERVICE, |slice| service_of(slice).map(|key| key.to_string()).into_iter().collect());
        let mark = marked.clone();
        services.on_change(move |change| {
            mark.figures.service_changed(mark.clock.now());
            mark.mark(ObjectKey::of(&**change.object()));
        });
        let mark = marked.clone();
        slices.on_change(move |change: &Change<EndpointSlice>| {
            mark.figures.endpoints_changed(mark.clock.now());
            mark.note_trigger(change);
            let both = change.old().into_iter().chain([change.object()]);
            both.filter_map(|slice| service_of(slice)).for_each(|key| mark.mark(key));
        });
        Self { services, slices, marked, health }
    }

    async fn next(&self) -> HashSet<ObjectKey> {
        loop {
            let marked = std::mem::take(&mut *self.marked.services.lock());
            if !marked.is_empty() {
                return marked;
            }
            self.marked.wake.notified().await;
        }
    }

    fn slices_of(&self, key: &ObjectKey) -> Vec<Arc<EndpointSlice>> {
        let mut slices = self.slices.indexed(BY_SERVICE, &key.to_string());
        slices.retain(|slice| service::is_served(&slice.metadata));
        slices
    }

    /// The service, if it is served here.
    fn service(&self, key: &ObjectKey) -> Option<Arc<Service>> {
        self.services.get_key(key).filter(|service| service::is_served(&service.metadata))
    }

    fn elements(&self, key: &ObjectKey, node: &str) -> Elements {
        match self.service(key) {
            Some(service) => service::elements(&service, &self.slices_of(key), node),
            None => Elements::new(),
        }
    }
}

fn service_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
    Some(ObjectKey::new(slice.metadata.namespace.clone().unwrap_or_default(), name.clone()))
}

async fn run(config: Config, feed: Feed, events: SeriesRecorder, synced: watch::Sender<bool>) {
    feed.services.wait_synced().await;
    feed.slices.wait_synced().await;
    let table = config.frame.network.table();
    let mut rules = Ruleset::default();
    let mut health = health::Servers::default();
    let mut broken = true;
    let mut new_ports = Vec::new();
    let mut pause = Duration::from_millis(RETRY_MS);
    let (figures, clock, begun) = (feed.marked.figures.clone(), feed.marked.clock.clone(), feed.marked.clock.now());
    let mut elsewhere = Elsewhere::default();
    loop {
        // The first table is built even if there is no service.
        let marked = if broken { std::mem::take(&mut *feed.marked.services.lock()) } else { feed.next().await };
        figures.taken_up();
        let started = clock.elapsed();
        let mut stale = conntrack::Stale::default();
        let mut changes = Vec::with_capacity(marked.len());
        let mut sticky_moved = false;
        for key in marked {
            let new = feed.elements(&key, &config.node_name);
            let old = rules.of_service(&key);
            stale.note(old, &new);
            sticky_moved |= lost_sticky_endpoint(old, &new);
            let known = old.map(neighbours::node_ports).unwrap_or_default();
            new_ports.extend(neighbours::node_ports(&new).difference(&known).map(|front| (key.clone(), *front)));
            let service = feed.service(&key);
            elsewhere.note(&key, service.as_deref(), || feed.slices_of(&key), &config.node_name);
            health.update(&key, service.as_deref(), || {
                service::local_endpoints(&feed.slices_of(&key), &config.node_name)
            });
            changes.push((key, new));
        }
        let anew = broken || changes.len() >= REBUILD_SERVICES_MIN;
        let transaction = match rules.update(changes, &table) {
            Some(mut transaction) if !anew => {
                if sticky_moved {
                    transaction.push_str(&forget_clients(&table, &rules).await);
                }
                transaction
            }
            _ => rules.rebuild(&config.frame),
        };
        let applied = if transaction.is_empty() { Ok(()) } else { nft::apply(&transaction).await };
        figures.applied(anew, applied.is_ok(), clock.elapsed().saturating_sub(started), clock.now());
        if let Err(error) = applied {
            tracing::warn!(%error, "the service rules were refused; building them anew");
            broken = true;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(RETRY_MS_MAX));
            continue;
        }
        stale.delete(&figures, &clock);
        feed.health.updated();
        elsewhere.tell(&figures);
        let triggers = std::mem::take(&mut *feed.marked.triggers.lock());
        // What was called for before this agent began did not wait for it alone.
        triggers.into_iter().filter(|at| *at >= begun).for_each(|at| figures.programmed(at, clock.now()));
        broken = false;
        pause = Duration::from_millis(RETRY_MS);
        synced.send_replace(true);
        if !new_ports.is_empty() {
            tell_shared(std::mem::take(&mut new_ports), &table, &feed, &events).await;
        }
    }
}

/// Tells of each new node port that another cluster on this machine serves.
async fn tell_shared(new_ports: Vec<(ObjectKey, element::Front)>, table: &str, feed: &Feed, events: &SeriesRecorder) {
    let others = match neighbours::served(table).await {
        Ok(others) => others,
        Err(error) => return tracing::warn!(%error, "whether other clusters serve the same node ports is not known"),
    };
    for (key, front) in new_ports {
        if let (Some(other), Some(service)) = (others.get(&front), feed.service(&key)) {
            neighbours::tell(&service, &key, front, other, events);
        }
    }
}

/// Services that lead to this node's endpoints only, inside the cluster or from outside, while all they have are on others.
#[derive(Default)]
struct Elsewhere(HashMap<ObjectKey, [bool; 2]>);

impl Elsewhere {
    fn note(
        &mut self,
        key: &ObjectKey,
        service: Option<&Service>,
        slices: impl FnOnce() -> Vec<Arc<EndpointSlice>>,
        node: &str,
    ) {
        let local = |policy: Option<&String>| policy.is_some_and(|policy| policy == "Local");
        let spec = service.and_then(|service| service.spec.as_ref());
        let wants = spec
            .map(|spec| [local(spec.internal_traffic_policy.as_ref()), local(spec.external_traffic_policy.as_ref())]);
        let wants = wants.filter(|wants| wants.contains(&true));
        let missing = wants.filter(|_| {
            let slices = slices();
            service::any_endpoints(&slices) && service::local_endpoints(&slices, node) == 0
        });
        match missing {
            Some(wants) => _ = self.0.insert(key.clone(), wants),
            None => _ = self.0.remove(key),
        }
    }

    fn tell(&self, figures: &Figures) {
        let count = |at: usize| self.0.values().filter(|wants| wants[at]).count();
        figures.not_local(count(0), count(1));
    }
}

/// Whether a service with affinity lost an endpoint, so that clients may still be led to it.
fn lost_sticky_endpoint(old: Option<&Elements>, new: &Elements) -> bool {
    let Some(old) = old else { return false };
    let sticky = old.keys().any(|key| matches!(key, element::Key::Sticky(_)));
    let hosts = |elements: &Elements| -> HashSet<SocketAddrV4> {
        elements
            .values()
            .filter_map(|value| if let element::Value::Endpoint(to) = value { Some(*to) } else { None })
            .collect()
    };
    sticky && !hosts(old).is_subset(&hosts(new))
}

/// The transaction part that forgets the clients whose remembered endpoint serves their front no longer.
async fn forget_clients(table: &str, rules: &Ruleset) -> String {
    let remembered = match printed::affinity(table).await {
        Ok(remembered) => remembered,
        Err(error) => {
            tracing::warn!(%error, "session affinity cannot be read; its entries go as they time out");
            return String::new();
        }
    };
    let mut text = String::new();
    for entry in remembered {
        let any = element::Front { address: None, ..entry.front };
        let valid = [entry.front, any].iter().any(|front| rules.endpoints(*front).contains(&entry.endpoint));
        if !valid {
            text.push_str(&format!("delete element ip {table} affinity {{ {} . {} }}\n", entry.client, entry.front));
        }
    }
    text
}

/// One client and where it was led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// The client's address.
    pub client: Ipv4Addr,
    /// Where it called.
    pub front: element::Front,
    /// Where it was led.
    pub endpoint: SocketAddrV4,
}

#[cfg(test)]
mod tests;
