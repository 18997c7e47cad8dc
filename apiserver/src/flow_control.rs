//! Priority and fairness: which flow a request belongs to, as the stored configuration says it, and the seats it gets among
//! those that its priority level has.
//!
//! Requests read the schemas compiled in a [`FlowTable`]; [`crate::post_start`] keeps those that every cluster has. Every request is classified right after it is known who asks, before it is authorised, and its answer
//! carries the uids of what it was found to be (`setResponseHeaders` in apiserver's `server/filters`).
//!
//! A level divides its seats among flows by fair queues (`queue_set`), and levels lend each other what they do not
//! need (`levels`). A request takes the lock of its level when it gets its seats and when it gives them back, and no other.

mod allocation;
mod dealer;
mod demand;
mod dropped;
mod dump;
mod figures;
mod kinds;
mod level;
mod levels;
mod loads;
mod matching;
mod queue_set;
mod seat_seconds;
mod spec;
mod table;
mod weighted;
mod width;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api::UserInfo;
use parking_lot::Mutex;
use store::Store;

use crate::chain::inflight::{TooMany, changes};
use crate::clock::Clock;
use crate::registry::{Derived, Held};
use crate::request::Query;
use crate::{Registry, RequestInfo};
pub(crate) use dump::Dump;
pub(crate) use level::Seat;
use level::{Arriving, Common};
use levels::Levels;
pub(crate) use loads::{Loads, Watcher};
use queue_set::Work;
use seat_seconds::Nanos;
pub use table::{Flow, FlowTable};
pub(crate) use table::{levels, schemas};

/// The group of both kinds.
pub(crate) const GROUP: &str = "flowcontrol.apiserver.k8s.io";
/// What the keys of both kinds begin with.
pub(crate) const KEYS: &str = "/registry/flowcontrol.apiserver.k8s.io/";
/// The schema, and its level of the same name, that no limit holds for.
pub(crate) const EXEMPT: &str = "exempt";
/// The schema, and its level of the same name, of what no other schema matches.
pub(crate) const CATCH_ALL: &str = "catch-all";

/// The flows and levels of one server. Clones share them.
#[derive(Clone)]
pub struct FlowControl(Arc<Inner>);

struct Inner {
    table: Derived<FlowTable>,
    common: Arc<Common>,
    levels: Mutex<Levels>,
    /// When seats are divided next.
    due: AtomicU64,
    loads: Loads,
}

impl FlowControl {
    /// Of a server that has so many seats.
    pub(crate) fn new(seats: usize, clock: Arc<dyn Clock>) -> Self {
        let common = Arc::new(Common { created: clock.instant(), clock, kinds: Default::default() });
        let table = Derived::new(&[KEYS], |snapshot| {
            FlowTable::new(snapshot.revision(), &schemas(snapshot), &levels(snapshot))
        });
        let (levels, due) = (Mutex::new(Levels::new(seats, common.clone())), AtomicU64::new(0));
        Self(Arc::new(Inner { table, common, levels, due, loads: Loads::default() }))
    }

    /// What requests about resources cost.
    pub(crate) fn loads(&self) -> &Loads {
        &self.0.loads
    }

    /// The flow that a request of this user belongs to.
    pub(crate) fn classify(&self, store: &dyn Store, user: &UserInfo, info: &RequestInfo) -> Arc<Flow> {
        self.table(store).classify(user, info)
    }

    /// The stored configuration, in effect.
    fn table(&self, store: &dyn Store) -> Held<FlowTable> {
        let table = self.0.table.get(store);
        if table.is_bound.get().is_none() {
            self.bind(&table);
        }
        table
    }

    /// Makes the levels as the table has them, unless a newer one was first, and tells its flows which are theirs.
    fn bind(&self, table: &FlowTable) {
        let mut levels = self.0.levels.lock();
        if table.is_bound.get().is_some() {
            return;
        }
        if table.revision >= levels.revision {
            levels.configure(&table.levels);
            levels.revision = table.revision;
            self.0.due.store(levels.due(), Ordering::Relaxed);
        }
        for flow in table.flows() {
            let level = levels.by_name.get(&flow.level).or_else(|| levels.by_name.get(CATCH_ALL));
            let level = level.expect("every configuration has the mandatory levels").clone();
            let id = level.lock().set.flows.id(&flow.schema);
            // Nobody else tells a flow.
            let _ = flow.bound.set((level, id));
        }
        let _ = table.is_bound.set(());
    }

    /// Divides the seats of the server anew if that is due.
    fn adjust(&self, now: Nanos) {
        if now < self.0.due.load(Ordering::Relaxed) {
            return;
        }
        // Whoever has the lock does it.
        let Some(mut levels) = self.0.levels.try_lock() else { return };
        levels.adjust(now);
        self.0.due.store(levels.due(), Ordering::Relaxed);
    }

    /// Waits for the seats of a request of a flow, for no longer than `wait_max`.
    ///
    /// # Errors
    /// [`TooMany`], at once if there is no place to wait.
    pub(crate) async fn enter(&self, flow: &Flow, asked: Asked<'_>, wait_max: Duration) -> Result<Arc<Seat>, TooMany> {
        let (level, id) = flow.bound.get().expect("flows are bound before they are handed out");
        let now = self.0.common.now();
        self.adjust(now);
        let Asked { user, info, query, registry } = asked;
        let (work, watchers) = self.work(registry, info, query, level.seats_of_request());
        // Only among several queues it matters which flow it is.
        let hash = if flow.exempt { 0 } else { dealer::hash(&flow.schema, flow.distinguisher(user, info)) };
        let reads = !changes(info);
        let arriving = Arriving { user, info, by: flow.by, flow: *id, hash, work, watchers, reads, now };
        let keep = |level: Arc<level::Level>| {
            let control = self.clone();
            tokio::spawn(level.keep(move |now| control.adjust(now)));
        };
        level.enter(arriving, wait_max, keep).await
    }

    /// How much work a request is, and how many watch what it changes (`workEstimator`).
    fn work(
        &self,
        registry: &Registry,
        info: &RequestInfo,
        query: &Query,
        seats: Option<usize>,
    ) -> (Work, Option<usize>) {
        match info.verb.as_str() {
            "list" | "watch" => {
                let stock = || {
                    let catalogue = registry.catalogue();
                    let resource = catalogue.get(&info.group, &info.version, &info.resource);
                    let Some(resource) = resource.filter(|resource| resource.stored()) else {
                        return Default::default();
                    };
                    let now = self.0.common.now();
                    self.0.loads.stock(info, &resource.prefix(""), || registry.snapshot(), now)
                };
                (width::of_list(info, query, seats, stock), None)
            }
            "create" | "update" | "patch" | "delete" => width::of_change(info, seats, &self.0.loads),
            _ => (width::of_other(), None),
        }
    }
}

/// A request that wants seats.
pub(crate) struct Asked<'r> {
    /// Who asks.
    pub(crate) user: &'r Arc<UserInfo>,
    /// For what.
    pub(crate) info: &'r Arc<RequestInfo>,
    /// The query.
    pub(crate) query: &'r Query,
    /// Where it is looked up how much there is of it.
    pub(crate) registry: &'r Registry,
}

#[cfg(test)]
mod tests;
