//! The shared informers of one cluster.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use kube::{Api, Client};
use metrics::Metrics;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::informer::{Cached, drop_managed_fields};
use crate::informer_metrics::Named;
use crate::{Clock, Informer, Selection};

/// Whose informers they are, as the metrics call it.
const OWNER: &str = "kube-controller-manager";

type Slot = (TypeId, String, Selection);

/// Hands out one informer a kind and selection. Clones share them; nothing is global.
#[derive(Clone)]
pub struct Informers(Arc<Inner>);

struct Inner {
    client: Client,
    clock: Clock,
    token: CancellationToken,
    metrics: Metrics,
    slots: Mutex<HashMap<Slot, Box<dyn Any + Send>>>,
}

impl Informers {
    /// Informers that read through `client` and end when `token` is cancelled.
    pub fn new(client: Client, clock: Clock, token: CancellationToken) -> Self {
        Self::counted(client, clock, token, Metrics::default())
    }

    /// The same, handing on where those who work with them count.
    pub fn counted(client: Client, clock: Clock, token: CancellationToken, metrics: Metrics) -> Self {
        Self(Arc::new(Inner { client, clock, token, metrics, slots: Mutex::new(HashMap::new()) }))
    }

    /// Where those who work with the informers count.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The informer of every object of a kind.
    pub fn of<K: Cached<DynamicType = ()>>(&self) -> Informer<K> {
        self.selected(Selection::default())
    }

    /// The informer of the objects of a kind that `selection` matches.
    pub fn selected<K: Cached<DynamicType = ()>>(&self, selection: Selection) -> Informer<K> {
        self.dynamic(&(), selection)
    }

    /// The informer of a kind that is known at run time only.
    pub fn dynamic<K: Cached>(&self, kind: &K::DynamicType, selection: Selection) -> Informer<K> {
        let slot = (TypeId::of::<K>(), K::url_path(kind, None), selection.clone());
        let mut slots = self.0.slots.lock();
        let informer = slots.entry(slot).or_insert_with(|| {
            let api = Api::<K>::all_with(self.0.client.clone(), kind);
            let (clock, token) = (self.0.clock.clone(), self.0.token.clone());
            let is_whole = selection == Selection::default();
            let informer = Informer::start(api, selection, drop_managed_fields, clock, token);
            // Of several informers of a kind the one that holds all of it is told of.
            if is_whole {
                let labels = [OWNER.into(), K::group(kind).into(), K::version(kind).into(), K::plural(kind).into()];
                self.0.metrics.register(Arc::new(Named { labels, counts: informer.counts() }));
            }
            Box::new(informer)
        });
        informer.downcast_ref::<Informer<K>>().expect("the slot's key holds the type's id").clone()
    }

    /// The clock that the informers use.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }
}
