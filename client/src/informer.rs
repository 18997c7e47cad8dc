//! One watch and one typed cache of a kind.
//!
//! The informer keeps a copy of every object that its selection matches. Handlers are *called*, one after the other,
//! in the order of the watch, with the old and the new object; when a handler runs, the cache already shows the change.
//! A relist infers the deletes that a broken watch missed. A handler that is added late first gets every object as
//! [`Change::Added`], and then misses nothing.
//!
//! Handlers must be quick (they enqueue), must not block and must not add handlers to their own informer. One that
//! panics holds up neither the others nor the watch: it is told of the object again after a back-off, as it then is.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use kube::{Api, Resource};
use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::caught::{Panicked, Panics, caught, caught_call};
pub use crate::informer_cache::Labels;
use crate::informer_cache::{Cache, Mark};
use crate::informer_metrics::Counts;
use crate::reflector::{Raw, Reflector, Told};
use crate::{Change, Clock, ObjectKey, WorkQueue};

/// Pause before an informer whose watch panicked begins afresh.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Which objects of a kind an informer holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    /// A field selector, such as `spec.nodeName=one`.
    pub fields: Option<String>,
    /// A label selector.
    pub labels: Option<String>,
}

/// What a kind needs so that an informer can hold it.
pub trait Cached: Resource + Clone + Serialize + DeserializeOwned + Debug + Send + Sync + 'static {}
impl<K: Resource + Clone + Serialize + DeserializeOwned + Debug + Send + Sync + 'static> Cached for K {}

/// Drops from an object what nobody reads, before it goes into the cache.
pub type Transform<K> = fn(&mut K);

/// The default transform: managed fields take memory and no component reads them.
pub fn drop_managed_fields<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

type Handler<K> = Box<dyn Fn(&Change<K>) + Send>;

/// The keys that a list under way has told so far.
pub type Relist = Option<BTreeSet<ObjectKey>>;

/// What a watch tells of a kind.
#[derive(Debug, Clone)]
pub enum Event<K> {
    /// A list begins: what it does not tell of is gone.
    Init,
    /// An object of the list.
    InitApply(K),
    /// The list has ended.
    InitDone,
    /// An object is new, or has changed.
    Apply(K),
    /// An object is gone; this is its last state.
    Delete(K),
}

/// The place of a handler, and the object that it panicked on.
type Missed = (usize, ObjectKey);

struct Shared<K> {
    cache: RwLock<Cache<K>>,
    handlers: Mutex<Vec<Handler<K>>>,
    synced: watch::Sender<bool>,
    transform: Transform<K>,
    /// What handlers panicked on, with the last state that they were told; at most one entry a handler and object.
    missed: Mutex<HashMap<Missed, Arc<K>>>,
    again: WorkQueue<Missed>,
    panics: Panics,
    clock: Clock,
    counts: Arc<Counts>,
}

/// A cache of one kind, kept current by one watch. Clones share it.
pub struct Informer<K>(Arc<Shared<K>>);

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Cached> Informer<K> {
    /// Starts the watch on `api`; it ends when `token` is cancelled. Needs a tokio runtime.
    pub fn start(
        api: Api<K>,
        selection: Selection,
        transform: Transform<K>,
        clock: Clock,
        token: CancellationToken,
    ) -> Self {
        let informer = Self::on(transform, clock.clone());
        let shared = informer.0.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = run_always(&shared, &api, selection, clock) => {}
                () = shared.tell_missed() => {}
            }
        });
        informer
    }

    /// An informer with no watch, filled by [`Informer::feed`]: for unit tests of what reads informers.
    pub fn detached(transform: Transform<K>) -> Self {
        Self::on(transform, Clock::manual(jiff::Timestamp::UNIX_EPOCH))
    }

    fn on(transform: Transform<K>, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            cache: RwLock::new(Cache::new()),
            handlers: Mutex::default(),
            synced: watch::channel(false).0,
            transform,
            missed: Mutex::default(),
            again: WorkQueue::new(clock.clone()),
            panics: Panics::default(),
            clock,
            counts: Arc::default(),
        }))
    }

    /// Handles one event of a watch.
    pub fn feed(&self, relist: &mut Relist, event: Event<K>) {
        self.0.handle(relist, event);
    }

    /// The object, if the cache holds it.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.get_key(&ObjectKey::new(namespace, name))
    }

    /// The object with this key.
    pub fn get_key(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.0.cache.read().get(key)
    }

    /// Every object, in the order of their keys.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.0.cache.read().list()
    }

    /// Every object of a namespace.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        self.0.cache.read().list_in(namespace, &|_| true)
    }

    /// The objects of a namespace whose labels are wanted; cheaper than to list all and look.
    pub fn list_matching(&self, namespace: &str, wanted: impl Fn(&Labels) -> bool) -> Vec<Arc<K>> {
        self.0.cache.read().list_in(namespace, &wanted)
    }

    /// How many objects the cache holds.
    pub fn len(&self) -> usize {
        self.0.cache.read().len()
    }

    /// Whether the cache holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds an index, unless there is one with this name. `keys_of` must depend on the object alone.
    pub fn add_index(&self, name: &'static str, keys_of: impl Fn(&K) -> Vec<String> + Send + Sync + 'static) {
        self.0.cache.write().add_index(name, Box::new(keys_of));
    }

    /// The objects that the index `name` files under `value`.
    ///
    /// # Panics
    /// If no such index was added.
    pub fn indexed(&self, name: &str, value: &str) -> Vec<Arc<K>> {
        self.0.cache.read().indexed(name, value, &|_| true)
    }

    /// Those of [`Informer::indexed`] whose labels are wanted; cheaper than to look at all.
    ///
    /// # Panics
    /// If no such index was added.
    pub fn indexed_matching(&self, name: &str, value: &str, wanted: impl Fn(&Labels) -> bool) -> Vec<Arc<K>> {
        self.0.cache.read().indexed(name, value, &wanted)
    }

    /// Adds a handler. It is called at once for every object in the cache, and then for each change.
    pub fn on_change(&self, handler: impl Fn(&Change<K>) + Send + 'static) {
        let mut handlers = self.0.handlers.lock();
        // One by one: all of them unpacked at once would take many times their room.
        let keys: Vec<ObjectKey> = self.0.cache.read().keys().cloned().collect();
        for key in keys {
            if let Some(object) = self.get_key(&key) {
                self.0.call(handlers.len(), &handler, &Change::Added(object));
            }
        }
        handlers.push(Box::new(handler));
    }

    /// What is counted of it.
    pub(crate) fn counts(&self) -> Arc<Counts> {
        self.0.counts.clone()
    }

    /// How many panics of its handlers and of its watch the informer has outlived.
    pub fn panics(&self) -> u64 {
        self.0.panics.count()
    }

    /// Whether the first list is in the cache and was told to the handlers.
    pub fn has_synced(&self) -> bool {
        *self.0.synced.borrow()
    }

    /// Waits for the first list.
    pub async fn wait_synced(&self) {
        let mut synced = self.0.synced.subscribe();
        if synced.wait_for(|s| *s).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl<K: Cached> Shared<K> {
    fn handle(&self, relist: &mut Relist, event: Event<K>) {
        let started = self.clock.elapsed();
        self.take_in(relist, event);
        self.counts.handled(self.clock.elapsed().saturating_sub(started));
    }

    fn take_in(&self, relist: &mut Relist, event: Event<K>) {
        match event {
            Event::Init => *relist = Some(BTreeSet::new()),
            Event::InitApply(mut object) => {
                (self.transform)(&mut object);
                let key = ObjectKey::of(&object);
                relist.get_or_insert_default().insert(key.clone());
                self.apply(&self.handlers.lock(), key, object);
            }
            Event::InitDone => {
                self.delete_missed(&relist.take().unwrap_or_default());
                self.synced.send_replace(true);
            }
            Event::Apply(mut object) => {
                (self.transform)(&mut object);
                self.apply(&self.handlers.lock(), ObjectKey::of(&object), object);
            }
            Event::Delete(object) => {
                let handlers = self.handlers.lock();
                self.delete(&handlers, &ObjectKey::of(&object), Some(object));
            }
        }
    }

    /// Whether the cache holds this very state of the object.
    fn is_known(&self, raw: &Raw<'_>) -> bool {
        let mark = Mark::of_parts(&raw.head.uid, &raw.head.resource_version);
        mark.version.is_some() && self.cache.read().mark(&key_of(raw)) == Some(mark)
    }

    /// Deletes what a whole list did not tell of.
    fn delete_missed(&self, listed: &BTreeSet<ObjectKey>) {
        let handlers = self.handlers.lock();
        let gone: Vec<_> = self.cache.read().keys().filter(|key| !listed.contains(*key)).cloned().collect();
        for key in gone {
            self.delete(&handlers, &key, None);
        }
    }

    fn apply(&self, handlers: &[Handler<K>], key: ObjectKey, object: K) {
        let mark = Mark::of(&object);
        let known = self.cache.read().mark(&key);
        if let Some(known) = known {
            if mark.version.is_some() && known.version == mark.version {
                return;
            }
            if known.uid != mark.uid {
                // Another object of the same name: its delete was missed, and a controller must hear of both.
                self.delete(handlers, &key, None);
            }
        }
        self.counts.holds(object.meta().resource_version.as_deref());
        let new = Arc::new(object);
        let old = self.cache.write().insert(key, new.clone());
        let change = match old {
            Some(old) => Change::Updated { old, new },
            None => Change::Added(new),
        };
        self.tell(handlers, &change);
    }

    fn tell(&self, handlers: &[Handler<K>], change: &Change<K>) {
        handlers.iter().enumerate().for_each(|(at, handler)| _ = self.call(at, handler, change));
    }

    /// Calls the handler at a place; false if it panicked, in which case it is called again later.
    fn call(&self, at: usize, handler: &impl Fn(&Change<K>), change: &Change<K>) -> bool {
        let Err(panic) = caught_call(|| handler(change)) else { return true };
        let missed = (at, ObjectKey::of(&**change.object()));
        self.told_panic(&panic, &missed.1);
        self.missed.lock().insert(missed.clone(), change.object().clone());
        self.again.add_rate_limited(missed);
        false
    }

    fn told_panic(&self, panic: &Panicked, key: &ObjectKey) {
        let panics = self.panics.note();
        let kind = std::any::type_name::<K>().rsplit("::").next();
        tracing::error!(kind, %key, %panic, panics, "an informer panicked, trying again");
    }

    /// Calls handlers again that panicked.
    async fn tell_missed(&self) {
        while let Some(missed) = self.again.get().await {
            self.tell_again(&missed);
            self.again.done(&missed);
        }
    }

    /// Tells a handler of an object as it is now, or that it is gone.
    fn tell_again(&self, missed: &Missed) {
        let handlers = self.handlers.lock();
        let Some(last) = self.missed.lock().remove(missed) else { return };
        let now = self.cache.read().get(&missed.1);
        let change = now.map_or(Change::Deleted(last), Change::Added);
        if handlers.get(missed.0).is_none_or(|handler| self.call(missed.0, handler, &change)) {
            self.again.forget(missed);
        }
    }

    fn delete(&self, handlers: &[Handler<K>], key: &ObjectKey, last: Option<K>) {
        let Some(old) = self.cache.write().remove(key) else { return };
        let last = match last {
            Some(mut object) => {
                (self.transform)(&mut object);
                Arc::new(object)
            }
            None => old,
        };
        self.tell(handlers, &Change::Deleted(last));
    }
}

/// [`run`], and again from the first list if that panics.
async fn run_always<K: Cached>(shared: &Shared<K>, api: &Api<K>, selection: Selection, clock: Clock) {
    while let Err(panic) = caught(run(shared, api, selection.clone(), clock.clone())).await {
        shared.told_panic(&panic, &ObjectKey::default());
        clock.sleep(RESTART_PAUSE).await;
    }
}

async fn run<K: Cached>(shared: &Shared<K>, api: &Api<K>, selection: Selection, clock: Clock) {
    let reflector = Reflector::new(api.clone().into_client(), api.resource_url().to_owned(), selection, clock);
    let mut relist: Relist = None;
    let tell = |told: Told<'_>| {
        let event = match told {
            Told::Begin => Some(Event::Init),
            Told::Listed(raw) if shared.is_known(&raw) => {
                relist.get_or_insert_default().insert(key_of(&raw));
                None
            }
            Told::Listed(raw) => decoded(&raw).map(Event::InitApply),
            Told::End => Some(Event::InitDone),
            Told::Applied(raw) if shared.is_known(&raw) => None,
            Told::Applied(raw) => decoded(&raw).map(Event::Apply),
            Told::Deleted(raw) => decoded(&raw).map(Event::Delete),
        };
        if let Some(event) = event {
            shared.handle(&mut relist, event);
        }
    };
    reflector.run(tell).await;
}

fn key_of(raw: &Raw<'_>) -> ObjectKey {
    ObjectKey::new(&*raw.head.namespace, &*raw.head.name)
}

/// The object, unless it is not what its kind says.
fn decoded<K: Cached>(raw: &Raw<'_>) -> Option<K> {
    let failed =
        |error: &serde_json::Error| tracing::error!(object = %key_of(raw), %error, "an object does not decode");
    raw.decode().inspect_err(failed).ok()
}

#[cfg(test)]
mod tests;
