//! One watch a resource, feeding the graph.

use std::collections::HashMap;
use std::sync::Arc;

use client::{Action, Change, EventType, Informer, Selection, WorkQueue};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Api, ResourceExt};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::graph::{FOREGROUND, Graph, Node, ORPHAN, Owner, Place};
use crate::context::Context;
use crate::discovery::{self, Found, Meta, Served};
use crate::error::Result;

/// Resources that own nothing, are owned by nothing and change all the time.
const IGNORED: &[(&str, &str)] = &[("", "events"), ("events.k8s.io", "events")];

/// The reason of the event about an object that names an owner in another namespace.
const ASTRAY: &str = "OwnerRefInvalidNamespace";

/// The version and kind of each monitored resource, by its number.
type Kinds = Arc<Mutex<Vec<(String, String)>>>;

/// How long the collector waits at first for everything to be listed (`initialSyncTimeout`): one dead server must not keep it.
const SYNC_MAX: std::time::Duration = std::time::Duration::from_secs(30);
/// How soon all is asked for again while a server of an aggregated API does not say what it has.
const STALE_AGAIN: std::time::Duration = std::time::Duration::from_secs(30);

/// The monitored resources.
pub(super) struct Monitors {
    context: Context,
    kinds: Kinds,
    graph: Arc<Mutex<Graph>>,
    work: WorkQueue<String>,
    table: Mutex<Table>,
    ready: watch::Sender<bool>,
}

#[derive(Default)]
struct Table {
    /// Every resource ever monitored; a place in the graph is a position here.
    rows: Vec<Row>,
    by_kind: HashMap<(String, String), usize>,
}

struct Row {
    served: Served,
    monitor: Option<Monitor>,
}

struct Monitor {
    token: CancellationToken,
    informer: Informer<Meta>,
}

impl Monitors {
    pub(super) fn new(context: Context, graph: Arc<Mutex<Graph>>, work: WorkQueue<String>) -> Self {
        let (ready, _) = watch::channel(false);
        Self { context, kinds: Kinds::default(), graph, work, table: Mutex::default(), ready }
    }

    /// Waits until everything that was served at the start is in the graph.
    pub(super) async fn wait_synced(&self) {
        let mut ready = self.ready.subscribe();
        if ready.wait_for(|r| *r).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Monitors what is served now, and nothing else.
    pub(super) async fn refresh(&self) -> Result<Action> {
        let mut found = discovery::find(&self.context.client).await?;
        found.resources.retain(|s| {
            let name = (s.resource.group.as_str(), s.resource.plural.as_str());
            s.can("list") && s.can("watch") && s.can("delete") && !IGNORED.contains(&name)
        });
        let started = self.adjust(&found);
        // Later nobody waits: what is defined and gone again at once never comes in sync, and the next refresh must see to it.
        if !*self.ready.borrow() {
            let synced = async {
                for informer in started {
                    informer.wait_synced().await;
                }
            };
            tokio::select! {
                () = synced => {}
                () = self.context.clock.sleep(SYNC_MAX) => {
                    tracing::warn!("not everything that is served could be listed; what is not known is asked for");
                }
            }
            self.ready.send_replace(true);
        }
        if !found.stale.is_empty() {
            return Ok(Action::RequeueAfter(STALE_AGAIN));
        }
        Ok(Action::Done)
    }

    fn adjust(&self, found: &Found) -> Vec<Informer<Meta>> {
        let served = &found.resources;
        let mut table = self.table.lock();
        let mut started = Vec::new();
        let is = |a: &Served, b: &Served| a.resource == b.resource && a.scope == b.scope;
        for (id, row) in table.rows.iter_mut().enumerate() {
            // Of what nobody knows now nothing is gone (`GarbageCollector.Sync`).
            let resource = &row.served.resource;
            let is_known = !found.is_stale(&resource.group, &resource.version);
            let gone = is_known && !served.iter().any(|s| is(s, &row.served));
            if let Some(monitor) = row.monitor.take_if(|_| gone) {
                monitor.token.cancel();
                let mut graph = self.graph.lock();
                for uid in graph.of_resource(id) {
                    graph.remove(&uid).into_iter().for_each(|look| self.work.add(look));
                }
            }
        }
        for one in served {
            let known = table.rows.iter().position(|row| is(&row.served, one));
            let id = known.unwrap_or(table.rows.len());
            table.by_kind.insert((one.resource.group.clone(), one.resource.kind.clone()), id);
            if known.is_none() {
                table.rows.push(Row { served: one.clone(), monitor: None });
                self.graph.lock().add_resource(&one.resource.group, &one.resource.kind);
                self.kinds.lock().push((one.resource.api_version.clone(), one.resource.kind.clone()));
            }
            if table.rows[id].monitor.is_none() {
                let monitor = self.monitor(id, one);
                started.push(monitor.informer.clone());
                table.rows[id].monitor = Some(monitor);
            }
        }
        started
    }

    fn monitor(&self, id: usize, served: &Served) -> Monitor {
        let token = self.context.token.child_token();
        let api = Api::<Meta>::dynamic(self.context.client.clone(), &served.resource, &served.scope);
        let clock = self.context.clock.clone();
        let informer = Informer::start(api, Selection::default(), keep_ownership, clock, token.clone());
        let (graph, work, alive) = (self.graph.clone(), self.work.clone(), token.clone());
        let (events, kinds) = (self.context.events.clone(), self.kinds.clone());
        informer.on_change(move |change: &Change<Meta>| {
            let object = change.object();
            let Some(uid) = object.metadata.uid.as_deref().filter(|_| !alive.is_cancelled()) else { return };
            if change.is_delete() {
                graph.lock().remove(uid).into_iter().for_each(|uid| work.add(uid));
                return;
            }
            let mut graph = graph.lock();
            let found = graph.put(uid, node_of(id, object));
            let astray = found.astray.iter().filter_map(|(uid, owner)| astray(&graph, &kinds, uid, owner));
            astray.for_each(|(about, said)| events.event_about(about, EventType::Warning, ASTRAY, said));
            drop(graph);
            found.look.into_iter().for_each(|uid| work.add(uid));
        });
        Monitor { token, informer }
    }

    /// The resource at a position.
    pub(super) fn resource(&self, id: usize) -> Option<Served> {
        self.table.lock().rows.get(id).map(|row| row.served.clone())
    }

    /// The resource of a kind, in whatever version.
    pub(super) fn of_kind(&self, api_version: &str, kind: &str) -> Option<Served> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let table = self.table.lock();
        let id = table.by_kind.get(&(group.to_owned(), kind.to_owned()))?;
        table.rows.get(*id).map(|row| row.served.clone())
    }
}

/// What an event says of an object that names an owner in another namespace (`reportInvalidNamespaceOwnerRef`).
fn astray(graph: &Graph, kinds: &Kinds, uid: &str, owner: &str) -> Option<(ObjectReference, String)> {
    let node = graph.get(uid)?;
    let Owner { api_version, kind, name, .. } = node.owners.iter().find(|o| o.uid == owner)?;
    let namespace = &node.place.namespace;
    let identity = format!("[{api_version}/{kind}, namespace: {namespace}, name: {name}, uid: {owner}]");
    let (own_version, own_kind) = kinds.lock().get(node.place.resource).cloned()?;
    let about = ObjectReference {
        api_version: Some(own_version),
        kind: Some(own_kind),
        namespace: Some(namespace.clone()).filter(|n| !n.is_empty()),
        name: Some(node.place.name.clone()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    };
    Some((about, format!("ownerRef {identity} does not exist in namespace \"{namespace}\"")))
}

/// The cache holds nothing but what the graph needs to follow an object.
fn keep_ownership(object: &mut Meta) {
    let old = std::mem::take(&mut object.metadata);
    object.types = None;
    object.metadata.namespace = old.namespace;
    object.metadata.name = old.name;
    object.metadata.uid = old.uid;
    object.metadata.resource_version = old.resource_version;
    object.metadata.owner_references = old.owner_references;
    object.metadata.finalizers = old.finalizers;
    object.metadata.deletion_timestamp = old.deletion_timestamp;
}

fn node_of(resource: usize, object: &Meta) -> Node {
    let deleting = object.metadata.deletion_timestamp.is_some();
    let has = |finalizer: &str| object.finalizers().iter().any(|f| f == finalizer);
    let owners = object.owner_references().iter().map(|r| Owner {
        uid: r.uid.clone(),
        api_version: r.api_version.clone(),
        kind: r.kind.clone(),
        name: r.name.clone(),
        blocks: r.block_owner_deletion.unwrap_or(false),
    });
    Node {
        place: Place { resource, namespace: object.namespace().unwrap_or_default(), name: object.name_any() },
        owners: owners.collect(),
        waits: deleting && has(FOREGROUND),
        orphans: deleting && has(ORPHAN),
        deleting,
    }
}
