//! The typed cache of an informer, with its indexes. The objects that changed last are kept as they are, the others
//! packed.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::ObjectKey;
use crate::informer::Cached;
use crate::packed::{Packed, Packer};

/// About how much the objects that are kept as they are may take.
const OPEN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How much an object takes, in sizes of its type: most is in what it points to.
const SIZES_EACH: usize = 5;
/// How many of the oldest open objects are looked at for one to pack; some are held by others, which packing would
/// not free.
const LOOKED_AT_MAX: usize = 4;

/// Computes the values under which an index finds an object.
pub(crate) type IndexFn<K> = Box<dyn Fn(&K) -> Vec<String> + Send + Sync>;

/// The labels of an object.
pub type Labels = BTreeMap<String, String>;

pub(crate) struct Cache<K> {
    objects: BTreeMap<ObjectKey, Slot<K>>,
    indexes: HashMap<&'static str, Index<K>>,
    /// Open objects, those that changed longest ago first. A key may stand here more than once.
    open: VecDeque<ObjectKey>,
    packer: Packer<K>,
    /// Every set of labels of a packed object, to have each once.
    labels: BTreeSet<Arc<Labels>>,
}

/// What tells two states of an object apart: hashes of its uid and, if it has one, its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) uid: u64,
    pub(crate) version: Option<u64>,
}

struct Slot<K> {
    mark: Mark,
    kept: Kept<K>,
}

enum Kept<K> {
    Open(Arc<K>),
    Packed(Packed, Arc<Labels>),
}

struct Index<K> {
    keys_of: IndexFn<K>,
    entries: HashMap<String, BTreeSet<ObjectKey>>,
}

impl Mark {
    pub(crate) fn of<K: Cached>(object: &K) -> Self {
        let meta = object.meta();
        Self::of_parts(meta.uid.as_deref().unwrap_or(""), meta.resource_version.as_deref().unwrap_or(""))
    }

    pub(crate) fn of_parts(uid: &str, version: &str) -> Self {
        let hash = |text: &str| {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            hasher.finish()
        };
        Self { uid: hash(uid), version: Some(version).filter(|version| !version.is_empty()).map(hash) }
    }
}

impl<K> Index<K> {
    fn insert(&mut self, key: &ObjectKey, object: &K) {
        for value in (self.keys_of)(object) {
            self.entries.entry(value).or_default().insert(key.clone());
        }
    }

    fn remove(&mut self, key: &ObjectKey, object: &K) {
        for value in (self.keys_of)(object) {
            if let Some(set) = self.entries.get_mut(&value) {
                set.remove(key);
                if set.is_empty() {
                    self.entries.remove(&value);
                }
            }
        }
    }
}

impl<K: Cached> Cache<K> {
    /// How many objects are kept as they are.
    const OPEN_MAX: usize = OPEN_BYTES_MAX / (SIZES_EACH * size_of::<K>());

    pub(crate) fn new() -> Self {
        Self {
            objects: BTreeMap::new(),
            indexes: HashMap::new(),
            open: VecDeque::new(),
            packer: Packer::default(),
            labels: BTreeSet::new(),
        }
    }

    pub(crate) fn add_index(&mut self, name: &'static str, keys_of: IndexFn<K>) {
        if self.indexes.contains_key(name) {
            return;
        }
        let mut index = Index { keys_of, entries: HashMap::new() };
        for (key, slot) in &self.objects {
            if let Some(object) = self.opened(&slot.kept) {
                index.insert(key, &object);
            }
        }
        self.indexes.insert(name, index);
    }

    fn opened(&self, kept: &Kept<K>) -> Option<Arc<K>> {
        match kept {
            Kept::Open(object) => Some(object.clone()),
            Kept::Packed(packed, _) => self.packer.unpack(packed).map(Arc::new),
        }
    }

    /// The object in a slot if its labels are wanted. One that is not need not be unpacked.
    fn opened_if(&self, slot: &Slot<K>, wanted: &dyn Fn(&Labels) -> bool) -> Option<Arc<K>> {
        let found = match &slot.kept {
            Kept::Open(object) => match &object.meta().labels {
                Some(labels) => wanted(labels),
                None => wanted(&Labels::new()),
            },
            Kept::Packed(_, labels) => wanted(labels),
        };
        if found { self.opened(&slot.kept) } else { None }
    }

    pub(crate) fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.opened(&self.objects.get(key)?.kept)
    }

    pub(crate) fn mark(&self, key: &ObjectKey) -> Option<Mark> {
        self.objects.get(key).map(|slot| slot.mark)
    }

    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(crate) fn list(&self) -> Vec<Arc<K>> {
        self.objects.values().filter_map(|slot| self.opened(&slot.kept)).collect()
    }

    pub(crate) fn list_in(&self, namespace: &str, wanted: &dyn Fn(&Labels) -> bool) -> Vec<Arc<K>> {
        self.objects
            .range(ObjectKey::new(namespace, "")..)
            .take_while(|(key, _)| key.namespace == namespace)
            .filter_map(|(_, slot)| self.opened_if(slot, wanted))
            .collect()
    }

    /// Panics on an index that was never added: a fault of the program, found by its first test.
    pub(crate) fn indexed(&self, name: &str, value: &str, wanted: &dyn Fn(&Labels) -> bool) -> Vec<Arc<K>> {
        let index = self.indexes.get(name).unwrap_or_else(|| panic!("no index {name} was added to this informer"));
        let keys = index.entries.get(value).into_iter().flatten();
        keys.filter_map(|key| self.opened_if(self.objects.get(key)?, wanted)).collect()
    }

    pub(crate) fn insert(&mut self, key: ObjectKey, object: Arc<K>) -> Option<Arc<K>> {
        let old = self.remove(&key);
        for index in self.indexes.values_mut() {
            index.insert(&key, &object);
        }
        self.open.push_back(key.clone());
        self.objects.insert(key, Slot { mark: Mark::of(&*object), kept: Kept::Open(object) });
        self.bound_open();
        old
    }

    pub(crate) fn remove(&mut self, key: &ObjectKey) -> Option<Arc<K>> {
        let slot = self.objects.remove(key)?;
        let old = self.opened(&slot.kept);
        if let Kept::Packed(_, labels) = slot.kept {
            self.forget_labels(labels);
        }
        if let Some(old) = &old {
            for index in self.indexes.values_mut() {
                index.remove(key, old);
            }
        }
        old
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.objects.keys()
    }

    /// Packs the object that changed longest ago, if too many are open.
    fn bound_open(&mut self) {
        for _ in 0..LOOKED_AT_MAX {
            if self.open.len() <= Self::OPEN_MAX {
                return;
            }
            let Some(key) = self.open.pop_front() else { return };
            let Some(Kept::Open(object)) = self.objects.get(&key).map(|slot| &slot.kept) else { continue };
            if Arc::strong_count(object) > 1 {
                self.open.push_back(key);
                continue;
            }
            let labels = object.meta().labels.clone().unwrap_or_default();
            let Some(packed) = self.packer.pack(object) else { continue };
            let labels = self.share_labels(labels);
            if let Some(slot) = self.objects.get_mut(&key) {
                slot.kept = Kept::Packed(packed, labels);
            }
        }
    }

    fn share_labels(&mut self, labels: Labels) -> Arc<Labels> {
        if let Some(known) = self.labels.get(&labels) {
            return known.clone();
        }
        let labels = Arc::new(labels);
        self.labels.insert(labels.clone());
        labels
    }

    fn forget_labels(&mut self, labels: Arc<Labels>) {
        // This one and the one in the set.
        if Arc::strong_count(&labels) == 2 {
            self.labels.remove(&*labels);
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    const OPEN_MAX: usize = Cache::<ConfigMap>::OPEN_MAX;

    fn object(number: usize) -> Arc<ConfigMap> {
        let map = json!({
            "metadata": {"namespace": "ns", "name": format!("m{number}"), "resourceVersion": number.to_string(),
                "labels": {"parity": if number.is_multiple_of(2) { "even" } else { "odd" }}},
            "data": {"number": number.to_string()},
        });
        Arc::new(serde_json::from_value(map).unwrap())
    }

    fn filled(count: usize) -> Cache<ConfigMap> {
        let mut cache = Cache::new();
        cache.add_index(
            "number",
            Box::new(|map: &ConfigMap| map.data.iter().flatten().map(|(_, n)| n.clone()).collect()),
        );
        for number in 0..count {
            let key = ObjectKey::of(&*object(number));
            assert!(cache.insert(key, object(number)).is_none());
        }
        cache
    }

    #[test]
    fn packed_objects_are_found_as_they_were() {
        let count = OPEN_MAX * 3;
        let mut cache = filled(count);
        let packed = cache.objects.values().filter(|slot| matches!(slot.kept, Kept::Packed(..))).count();
        assert_eq!(packed, count - OPEN_MAX);
        assert_eq!(cache.labels.len(), 2, "equal labels are kept once");
        assert_eq!(cache.get(&ObjectKey::new("ns", "m7")), Some(object(7)));
        assert_eq!(cache.indexed("number", "7", &|_| true), [object(7)]);
        assert!(cache.indexed("number", "7", &|labels| labels["parity"] == "even").is_empty());
        assert_eq!(cache.list_in("ns", &|labels| labels["parity"] == "odd").len(), count / 2);
        assert_eq!(cache.mark(&ObjectKey::new("ns", "m7")), Some(Mark::of(&*object(7))));
        assert_eq!(cache.insert(ObjectKey::new("ns", "m7"), object(8)), Some(object(7)));
        assert!(cache.indexed("number", "7", &|_| true).is_empty());
        for number in 0..count {
            cache.remove(&ObjectKey::new("ns", format!("m{number}")));
        }
        assert_eq!((cache.len(), cache.labels.len()), (0, 0));
    }

    #[test]
    fn what_others_hold_is_not_packed() {
        let held: Vec<_> = (0..OPEN_MAX * 2).map(object).collect();
        let mut cache = Cache::new();
        for object in &held {
            cache.insert(ObjectKey::of(&**object), object.clone());
        }
        assert!(cache.objects.values().all(|slot| matches!(slot.kept, Kept::Open(_))));
    }
}
