//! What requests about a resource cost: how many watch it, and how much of it is stored.
//!
//! Watches are told apart by what they are about, whatever they select (`watchTracker` in apiserver's `util/flowcontrol`), but
//! for those of the pods of one node, as no other pod's change reaches them. What is stored is counted by whoever lists
//! it when the last count is old (the reference asks its store each minute).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use api::selector::FieldSelector;
use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use store::Snapshot;

use super::seat_seconds::Nanos;
use crate::RequestInfo;

/// How many resources are told apart; requests about others cost what the smallest do.
const RESOURCES_MAX: usize = 1_024;
/// How old a count may be.
const COUNT_AGE_MAX: Nanos = 5_000_000_000;
/// How many bytes of objects are counted: no list has more seats for more of them.
const COUNTED_BYTES_MAX: u64 = 32 << 20;
/// How many objects are counted, by the same reason.
const COUNTED_MAX: u64 = 32_768;

/// Every resource that was listed or watched, by plural and then by group.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    resources: ArcSwap<HashMap<String, OfGroups>>,
    adding: Mutex<usize>,
}

/// Resources of one name by their group.
type OfGroups = Vec<(String, Arc<Load>)>;

/// One resource.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Watches of all of it.
    all: AtomicUsize,
    /// Watches of a namespace or an object, and how many of those there are: nobody looks where none is.
    placed: RwLock<HashMap<(String, String), usize>>,
    places: AtomicUsize,
    stored: Stored,
}

/// What was counted last.
#[derive(Debug, Default)]
struct Stored {
    objects: AtomicU64,
    bytes: AtomicU64,
    /// A nanosecond later than it was; zero if it never was.
    at: AtomicU64,
    is_counting: AtomicBool,
}

/// How much is stored of a resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stock {
    pub(super) objects: u64,
    /// The average size of one.
    pub(super) object_bytes: u64,
}

/// A watch that is counted for as long as this lives.
#[derive(Debug)]
pub(crate) struct Watcher {
    load: Arc<Load>,
    place: Option<(String, String)>,
}

impl Loads {
    fn get(&self, info: &RequestInfo) -> Option<Arc<Load>> {
        let resources = self.resources.load();
        let groups = resources.get(&info.resource)?;
        groups.iter().find(|(group, _)| *group == info.group).map(|(_, load)| load.clone())
    }

    /// The resource of a request, which exists.
    fn get_or_add(&self, info: &RequestInfo) -> Option<Arc<Load>> {
        if let Some(known) = self.get(info) {
            return Some(known);
        }
        let mut count = self.adding.lock();
        if let Some(known) = self.get(info) {
            return Some(known);
        }
        if *count >= RESOURCES_MAX {
            return None;
        }
        *count += 1;
        let (mut resources, load) = ((**self.resources.load()).clone(), Arc::new(Load::default()));
        resources.entry(info.resource.clone()).or_default().push((info.group.clone(), load.clone()));
        self.resources.store(Arc::new(resources));
        Some(load)
    }

    /// A watch of a resource that exists begins.
    pub(crate) fn watch(&self, info: &RequestInfo, field_selector: &str) -> Option<Watcher> {
        // `getBuiltinIndexes`: those of the other nodes' pods are not asked when one changes.
        let is_of_a_node = || {
            let selector = FieldSelector::parse(field_selector).ok();
            selector.is_some_and(|fields| fields.required("spec.nodeName").is_some_and(|node| !node.is_empty()))
        };
        if info.resource == "pods" && !field_selector.is_empty() && is_of_a_node() {
            return None;
        }
        let load = self.get_or_add(info)?;
        let is_placed = !info.namespace.is_empty() || !info.name.is_empty();
        let place = is_placed.then(|| (info.namespace.clone(), info.name.clone()));
        match &place {
            None => _ = load.all.fetch_add(1, Ordering::Relaxed),
            Some(place) => {
                let mut placed = load.placed.write();
                *placed.entry(place.clone()).or_default() += 1;
                load.places.store(placed.len(), Ordering::Relaxed);
            }
        }
        Some(Watcher { load, place })
    }

    /// How many watch what a request changes (`GetInterestedWatchCount`).
    pub(super) fn watchers(&self, info: &RequestInfo) -> usize {
        let Some(load) = self.get(info) else { return 0 };
        let mut count = load.all.load(Ordering::Relaxed);
        if load.places.load(Ordering::Relaxed) > 0 {
            let placed = load.placed.read();
            let mut of = |namespace: &str, name: &str| {
                let place = (namespace.to_string(), name.to_string());
                count += placed.get(&place).copied().unwrap_or(0);
            };
            if !info.namespace.is_empty() {
                of(&info.namespace, "");
            }
            if !info.name.is_empty() {
                of(&info.namespace, &info.name);
            }
        }
        count
    }

    /// How much is stored below the prefix of a request's resource, which exists.
    pub(super) fn stock(
        &self,
        info: &RequestInfo,
        prefix: &str,
        snapshot: impl FnOnce() -> Snapshot,
        now: Nanos,
    ) -> Stock {
        let Some(load) = self.get_or_add(info) else { return Stock::default() };
        let stored = &load.stored;
        let at = stored.at.load(Ordering::Acquire);
        let is_old = at == 0 || now.saturating_sub(at) > COUNT_AGE_MAX;
        // While somebody counts the old count is good enough, if there is one.
        if is_old && (!stored.is_counting.swap(true, Ordering::AcqRel) || at == 0) {
            stored.count(&snapshot(), prefix, now);
        }
        let (objects, bytes) = (stored.objects.load(Ordering::Relaxed), stored.bytes.load(Ordering::Relaxed));
        Stock { objects, object_bytes: bytes.checked_div(objects).unwrap_or(0) }
    }
}

impl Stored {
    fn count(&self, snapshot: &Snapshot, prefix: &str, now: Nanos) {
        let (mut objects, mut bytes) = (0, 0);
        for entry in snapshot.list(prefix, None) {
            objects += 1;
            bytes += entry.value().len() as u64;
            if bytes >= COUNTED_BYTES_MAX || objects >= COUNTED_MAX {
                break;
            }
        }
        self.objects.store(objects, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.at.store(now + 1, Ordering::Release);
        self.is_counting.store(false, Ordering::Release);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let Some(place) = &self.place else {
            self.load.all.fetch_sub(1, Ordering::Relaxed);
            return;
        };
        let mut placed = self.load.placed.write();
        if let Some(count) = placed.get_mut(place) {
            *count -= 1;
            if *count == 0 {
                placed.remove(place);
            }
        }
        self.load.places.store(placed.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::request::Query;

    fn info(request: &str) -> RequestInfo {
        let (method, path) = request.split_once(' ').unwrap();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        RequestInfo::new(&method.parse::<Method>().unwrap(), path, &Query::parse(query)).unwrap()
    }

    #[test]
    fn watches_count_for_what_they_are_about() {
        let loads = Loads::default();
        let watch = |path: &str, fields: &str| loads.watch(&info(&format!("GET {path}")), fields);
        let watches = [
            watch("/api/v1/pods?watch=1", ""),
            watch("/api/v1/pods?watch=1", "status.phase=Running"),
            watch("/api/v1/pods?watch=1", "spec.nodeName="),
            watch("/api/v1/namespaces/a/pods?watch=1", ""),
            watch("/api/v1/namespaces/a/pods?watch=1&fieldSelector=metadata.name%3Dp", ""),
            watch("/api/v1/namespaces/b/pods?watch=1", ""),
            watch("/apis/metrics/v1/pods?watch=1", ""),
        ];
        assert!(watches.iter().all(Option::is_some));
        assert!(watch("/api/v1/pods?watch=1", "spec.nodeName=n").is_none());
        let check = |request: &str, expected: usize| assert_eq!(loads.watchers(&info(request)), expected, "{request}");
        check("POST /api/v1/namespaces/a/pods", 4);
        check("PUT /api/v1/namespaces/a/pods/p", 5);
        check("PUT /api/v1/namespaces/a/pods/q", 4);
        check("DELETE /api/v1/namespaces/c/pods/p", 3);
        check("POST /api/v1/namespaces/a/configmaps", 0);
        check("POST /apis/metrics/v1/namespaces/a/pods", 1);
        drop(watches);
        check("PUT /api/v1/namespaces/a/pods/p", 0);
        let load = loads.get(&info("GET /api/v1/pods")).unwrap();
        assert!(load.placed.read().is_empty() && load.places.load(Ordering::Relaxed) == 0);
    }

    #[test]
    fn resources_beyond_a_number_are_not_told_apart() {
        let loads = Loads::default();
        let watches: Vec<_> = (0..RESOURCES_MAX + 10)
            .filter_map(|n| loads.watch(&info(&format!("GET /api/v1/r{n}?watch=1")), ""))
            .collect();
        assert_eq!(watches.len(), RESOURCES_MAX);
    }

    #[tokio::test]
    async fn what_is_stored_is_counted_now_and_then() {
        use store::{Memory, Operation, Store, Transaction};
        let (store, loads, lists) = (Memory::new(), Loads::default(), info("GET /api/v1/pods"));
        let put = async |key: &'static str| {
            let operations = vec![Operation::Put(key.into(), "0123456789".into())];
            store.commit(Transaction { operations, ..Transaction::default() }).await.unwrap();
        };
        let stock = |now: Nanos| loads.stock(&lists, "/registry/pods/", || store.snapshot(), now);
        assert_eq!(stock(0), Stock::default());
        for key in ["/registry/pods/a", "/registry/pods/b", "/registry/podsets/c"] {
            put(key).await;
        }
        assert_eq!(stock(COUNT_AGE_MAX), Stock::default(), "not again so soon");
        assert_eq!(stock(COUNT_AGE_MAX + 2), Stock { objects: 2, object_bytes: 10 });
    }
}
