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
mod health;
pub mod nft;
pub mod ruleset;
pub mod service;
mod status;

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use client::{Change, Informer, Informers, ObjectKey, Selection};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

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

/// Configuration of the service rules.
#[derive(Debug, Clone)]
pub struct Config {
    /// The fixed part of the table.
    pub frame: Frame,
    /// The name of this node, for the traffic policies `Local`.
    pub node_name: String,
}

/// The running service rules.
pub struct Proxy {
    synced: watch::Receiver<bool>,
}

impl Proxy {
    /// Starts to keep the table current, until `token` is cancelled. The table stays when it is: connections of pods go
    /// on while the agent restarts. (`network::teardown` removes it.)
    #[must_use]
    pub fn start(config: Config, informers: &Informers, token: CancellationToken) -> Self {
        let (sender, synced) = watch::channel(false);
        let health = Arc::new(status::Health::new(informers.clock().clone()));
        let feed = Feed::new(informers, health.clone());
        let own = Selection { fields: Some(format!("metadata.name={}", config.node_name)), labels: None };
        status::serve(health, informers.selected::<Node>(own), &token);
        tokio::spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = run(config, feed, sender) => {}
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
    wake: Notify,
    health: Arc<status::Health>,
}

impl Marked {
    fn mark(&self, key: ObjectKey) {
        self.services.lock().insert(key);
        self.health.queued();
        self.wake.notify_one();
    }
}

impl Feed {
    fn new(informers: &Informers, health: Arc<status::Health>) -> Self {
        let (services, slices) = (informers.of::<Service>(), informers.of::<EndpointSlice>());
        Self::of(services, slices, health)
    }

    fn of(services: Informer<Service>, slices: Informer<EndpointSlice>, health: Arc<status::Health>) -> Self {
        let marked = Marked { services: Mutex::default(), wake: Notify::new(), health: health.clone() };
        let marked = Arc::new(marked);
        slices.add_index(BY_SERVICE, |slice| service_of(slice).map(|key| key.to_string()).into_iter().collect());
        let mark = marked.clone();
        services.on_change(move |change| mark.mark(ObjectKey::of(&**change.object())));
        let mark = marked.clone();
        slices.on_change(move |change: &Change<EndpointSlice>| {
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

async fn run(config: Config, feed: Feed, synced: watch::Sender<bool>) {
    feed.services.wait_synced().await;
    feed.slices.wait_synced().await;
    let table = config.frame.network.table();
    let mut rules = Ruleset::default();
    let mut health = health::Servers::default();
    let mut broken = true;
    let mut pause = Duration::from_millis(RETRY_MS);
    loop {
        // The first table is built even if there is no service.
        let marked = if broken { std::mem::take(&mut *feed.marked.services.lock()) } else { feed.next().await };
        let mut stale = conntrack::Stale::default();
        let mut changes = Vec::with_capacity(marked.len());
        let mut sticky_moved = false;
        for key in marked {
            let new = feed.elements(&key, &config.node_name);
            let old = rules.of_service(&key);
            stale.note(old, &new);
            sticky_moved |= lost_sticky_endpoint(old, &new);
            let service = feed.service(&key);
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
        if !transaction.is_empty()
            && let Err(error) = nft::apply(&transaction).await
        {
            tracing::warn!(%error, "the service rules were refused; building them anew");
            broken = true;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(RETRY_MS_MAX));
            continue;
        }
        stale.delete();
        feed.health.updated();
        broken = false;
        pause = Duration::from_millis(RETRY_MS);
        synced.send_replace(true);
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
    let remembered = match nft::affinity(table).await {
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
