//! The handle by which everything in this crate reads and writes objects.

pub mod create;
pub mod delete;
pub mod derived;
pub mod follow;
pub mod prepare;
pub mod target;
mod unenforced;
pub mod update;
mod weak;

use std::sync::Arc;
use std::time::Instant;

use api::catalogue::{Catalogue, Resource};
use api::status::StatusDetails;
use api::{Object, Status};
use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use store::{Committed, Entry, Revision, Snapshot, Store, StoreError, Transaction};

use crate::aggregator::Aggregator;
use crate::audit::AuditCounts;
use crate::chain::inflight::Inflight;
use crate::clock::{self, Clock};
use crate::documents::discovery::Whole as WholeDiscovery;
use crate::documents::openapi::Documents;
use crate::flow_control::FlowControl;
use crate::group_versions::{self, GroupVersions};
use crate::memo::Memo;
use crate::metrics::{ServerMetrics, Stored};
use crate::plug::Plugins;
use crate::post_start::Compaction;
use crate::state::State;
use crate::watch::FrameCache;
use crate::webhooks::Webhooks;
use crate::{Config, conversion};
pub use derived::{Derived, Held};
pub use follow::{Followed, Happened, News};
pub(crate) use weak::WeakRegistry;

/// Objects on the store, the catalogue of what they are, the clock, and what is plugged in. Cloning is cheap.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

/// What became of a write.
pub struct Written {
    /// The object as it will be read: a custom one in the version of the request, any other in the one that is stored.
    pub object: Object,
    /// Whether the object is new.
    pub created: bool,
    /// The bytes that are stored and their revision, if a reader gets them as they are; none after a dry run.
    pub encoded: Option<(Bytes, Revision)>,
}

impl Written {
    /// What is stored under a revision.
    fn new(object: Object, encoded: Encoded, revision: Revision, created: bool) -> Self {
        let bytes = encoded.settled.then_some((encoded.bytes, revision));
        Self { object: with_revision(object, revision), created, encoded: bytes }
    }
}

/// An object as it is stored.
struct Encoded {
    bytes: Bytes,
    /// Whether a reader gets the bytes as they are.
    settled: bool,
}

struct Inner {
    config: Config,
    catalogue: ArcSwap<Catalogue>,
    state: State,
    metrics: ServerMetrics,
    created: Instant,
    flow_control: Option<FlowControl>,
    inflight: Inflight,
    group_versions: Derived<GroupVersions>,
    aggregator: Aggregator,
    frames: FrameCache,
    documents: Documents,
    whole_discovery: WholeDiscovery,
    compaction: Compaction,
    webhooks: Webhooks,
    converted: conversion::Shared,
}

impl Registry {
    /// The registry of a server that begins with `catalogue`.
    pub fn new(config: Config, catalogue: Catalogue) -> Self {
        let limits = config.inflight;
        let fair = || FlowControl::new(limits.mutating + limits.reading, config.clock.clone());
        // They are told even where nothing is written down.
        config.metrics.families::<AuditCounts>();
        Self(Arc::new(Inner {
            flow_control: limits.fair.then(fair),
            inflight: Inflight::new(limits),
            created: config.clock.instant(),
            config,
            catalogue: ArcSwap::from_pointee(catalogue),
            state: State::default(),
            metrics: ServerMetrics::default(),
            group_versions: group_versions::table(),
            aggregator: Aggregator::default(),
            frames: FrameCache::default(),
            documents: Documents::default(),
            whole_discovery: WholeDiscovery::default(),
            compaction: Compaction::default(),
            webhooks: Webhooks::default(),
            converted: conversion::Shared::default(),
        }))
    }

    /// Whether the server is ready, and whether it is stopping.
    pub fn state(&self) -> &State {
        &self.0.state
    }

    /// What the server counts.
    pub fn metrics(&self) -> &ServerMetrics {
        &self.0.metrics
    }

    /// Whole seconds from when the registry was made to `instant`.
    pub fn seconds(&self, instant: Instant) -> u64 {
        instant.saturating_duration_since(self.0.created).as_secs()
    }

    /// Flows and their levels, with priority and fairness.
    pub fn flow_control(&self) -> Option<&FlowControl> {
        self.0.flow_control.as_ref()
    }

    /// The places for requests, without.
    pub(crate) fn inflight(&self) -> &Inflight {
        &self.0.inflight
    }

    /// The APIServices that are stored now.
    pub(crate) fn group_versions(&self) -> Held<GroupVersions> {
        self.0.group_versions.get(&**self.store())
    }

    /// What is kept of the services of APIServices.
    pub(crate) fn aggregator(&self) -> &Aggregator {
        &self.0.aggregator
    }

    /// The aggregated form of discovery, kept.
    pub(crate) fn whole_discovery(&self) -> &WholeDiscovery {
        &self.0.whole_discovery
    }

    /// OpenAPI documents, kept.
    pub fn documents(&self) -> &Documents {
        &self.0.documents
    }

    /// The webhooks that are called.
    pub fn webhooks(&self) -> &Webhooks {
        &self.0.webhooks
    }

    /// What webhooks have converted for watches.
    pub(crate) fn converted(&self) -> &conversion::Shared {
        &self.0.converted
    }

    /// Frames of watches, shared among watchers.
    pub fn frames(&self) -> &FrameCache {
        &self.0.frames
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// What is plugged in.
    pub fn plugins(&self) -> &Plugins {
        &self.0.config.plugins
    }

    /// Time and randomness.
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.config.clock
    }

    /// The store itself.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.0.config.store
    }

    /// The newest state.
    pub fn snapshot(&self) -> Snapshot {
        self.0.config.store.snapshot()
    }

    /// The state as of a revision, right for the keys below a prefix.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] if it is forgotten, [`StoreError::FutureRevision`] if there is none such yet.
    pub fn snapshot_at(&self, revision: Revision, prefix: &str) -> Result<Snapshot, StoreError> {
        let oldest = self.0.compaction.oldest();
        if revision < oldest {
            return Err(StoreError::Compacted { requested: revision, oldest });
        }
        self.store().snapshot_at(revision, prefix)
    }

    /// Forgets for lists every state before `revision`, as a compaction of etcd does.
    pub fn forget_before(&self, revision: Revision) {
        self.0.compaction.forget_before(revision);
    }

    /// The resources served now, for a moment: without a count that all threads share. Who keeps them clones the [`Arc`].
    pub fn catalogue(&self) -> Guard<Arc<Catalogue>> {
        self.0.catalogue.load()
    }

    /// Replaces the catalogue, as custom resource definitions come and go.
    pub fn set_catalogue(&self, catalogue: Catalogue) {
        self.0.catalogue.store(Arc::new(catalogue));
    }

    /// One object at the newest state, in its storage version, by group and plural.
    pub fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Object> {
        self.get_in(&self.snapshot(), group, resource, namespace, name)
    }

    /// One object in a snapshot, in its storage version.
    pub fn get_in(
        &self,
        snapshot: &Snapshot,
        group: &str,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Object> {
        snapshot.get(&key(group, resource, namespace, name)).and_then(read)
    }

    /// As [`Registry::get`], decoded once for as long as it is not written: for kinds of which there are few.
    pub fn get_shared(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let snapshot = self.snapshot();
        let entry = snapshot.get(&key(group, resource, namespace, name))?;
        Memo::of(entry).object(entry)
    }

    /// All objects of a resource, decoded once for as long as they are not written: for kinds of which there are few.
    pub fn list_shared(&self, group: &str, resource: &str) -> Vec<Arc<Object>> {
        let (snapshot, prefix) = (self.snapshot(), prefix(group, resource, ""));
        snapshot.list(&prefix, None).filter_map(|entry| Memo::of(entry).object(entry)).collect()
    }

    /// All objects of a resource in a snapshot, in their storage version; an empty namespace means all.
    pub fn list_in(&self, snapshot: &Snapshot, group: &str, resource: &str, namespace: &str) -> Vec<Object> {
        list(snapshot, group, resource, namespace)
    }

    /// Commits a write of an object of `resource`; `operation` is what its store would call it.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn commit(
        &self,
        operation: &'static str,
        resource: &Resource,
        transaction: Transaction,
    ) -> Result<Committed, StoreError> {
        let started = self.clock().instant();
        let committed = self.store().commit(transaction).await;
        let took = self.clock().instant().saturating_duration_since(started);
        let outcome = match &committed {
            Ok(_) => Stored::Written,
            // An answer, not a failure.
            Err(StoreError::ConditionFailed { .. }) => Stored::Refused,
            Err(_) => Stored::Failed,
        };
        self.metrics().stored(operation, &resource.storage_group, &resource.plural, outcome, took);
        committed
    }

    /// Encodes an object, which becomes what a reader will get.
    ///
    /// # Errors
    /// If it cannot be converted to the version that is stored.
    async fn encode(&self, target: &target::Target, object: &mut Object) -> Result<Encoded, Status> {
        if target.resource.definition.is_none() {
            let mut bytes = object.encode();
            let schema = &target.storage.schema;
            let recounted = api::decode::canonical_quantities(schema, object, &bytes);
            if api::decode::forget_empty_lists(schema, object, &bytes) || recounted {
                bytes = object.encode();
            }
            return Ok(Encoded { bytes, settled: true });
        }
        let (resource, version) = (&target.resource, target.resource.storage_api_version());
        let stored = self.convert_one(resource, std::mem::take(object), &version).await?;
        let bytes = stored.encode();
        let (read, settled) = self.settled(resource, stored, &bytes).await?;
        *object = read;
        Ok(Encoded { bytes, settled })
    }
}

/// The key under which an object is stored.
pub fn key(group: &str, resource: &str, namespace: &str, name: &str) -> String {
    let mut key = prefix(group, resource, namespace);
    key.push_str(name);
    key
}

/// What the keys of all objects of a resource (in a namespace) begin with.
pub fn prefix(group: &str, resource: &str, namespace: &str) -> String {
    let mut prefix = String::with_capacity(96);
    prefix.push_str("/registry/");
    for part in [group, resource, namespace] {
        if !part.is_empty() {
            prefix.push_str(part);
            prefix.push('/');
        }
    }
    prefix
}

/// All objects of a resource in a snapshot, in their storage version; an empty namespace means all.
pub fn list(snapshot: &Snapshot, group: &str, resource: &str, namespace: &str) -> Vec<Object> {
    snapshot.list(&prefix(group, resource, namespace), None).filter_map(read).collect()
}

/// The object of an entry, with its resource version.
pub fn read(entry: &Entry) -> Option<Object> {
    match Object::parse(&entry.value()) {
        Ok(object) => Some(with_revision(object, entry.mod_revision())),
        Err(error) => {
            tracing::error!(key = entry.key(), %error, "a stored object does not parse");
            None
        }
    }
}

/// Sets `metadata.resourceVersion`.
pub fn with_revision(mut object: Object, revision: Revision) -> Object {
    object.metadata_mut().insert("resourceVersion".into(), revision.to_string().into());
    object
}

/// `metav1.FillObjectMetaSystemFields`: creation time and uid.
pub fn fill_metadata(clock: &dyn Clock, object: &mut Object) {
    let metadata = object.metadata_mut();
    metadata.insert("creationTimestamp".into(), clock::time(clock.now()).into());
    metadata.insert("uid".into(), clock::uuid(clock).into());
}

/// What a client is told of a store's refusal.
pub fn store_status(error: &StoreError) -> Status {
    match error {
        StoreError::TooLarge { size, limit, .. } => {
            Status::too_large(format!("Request is too large: {size} bytes, limit is {limit}"))
        }
        // It may be deleted meanwhile, or somebody makes room.
        StoreError::Full(_) => {
            let details = StatusDetails { retry_after_seconds: FULL_RETRY_AFTER_SECONDS, ..Default::default() };
            Status::failure(507, "InsufficientStorage", error.to_string()).with_details(details)
        }
        other => Status::internal(other.to_string()),
    }
}

/// When a client that found the disk full may come back; client-go does that ten times before it tells its caller.
const FULL_RETRY_AFTER_SECONDS: u32 = 1;

/// The groups of API groups whose names have no dot, as no custom one may be called.
const PLAIN_GROUPS: [&str; 4] = ["apps", "autoscaling", "batch", "policy"];

/// The part of a key, or of the prefix of keys, that names the resource: what the store keeps history apart for. Empty
/// for what is above resources.
pub fn history_group(key: &str) -> &str {
    let mut slashes = key.match_indices('/').map(|(at, _)| at).skip(1);
    let (Some(registry), Some(first)) = (slashes.next(), slashes.next()) else { return "" };
    let name = &key[registry + 1..first];
    let end = if name.contains('.') || PLAIN_GROUPS.contains(&name) { slashes.next() } else { Some(first) };
    end.map_or("", |end| &key[..=end])
}

#[cfg(test)]
mod tests;
