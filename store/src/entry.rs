//! One key with its value and revisions.

mod packed;

use std::any::Any;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::RwLock;

use self::packed::Packed;
use crate::difference;
use crate::limits::PACKED_BYTES_MIN;

/// A number that grows by one with each commit and is never used twice.
pub type Revision = u64;

/// What a reader computed from a value, kept beside it.
type Memo = Arc<dyn Any + Send + Sync>;

/// One key with its value. Cloning is a reference count.
#[derive(Clone)]
pub struct Entry(Arc<Inner>);

struct Inner {
    key: Arc<str>,
    create_revision: Revision,
    mod_revision: Revision,
    /// What is on the disk for it, if that is not the value.
    sealed: Option<Box<Bytes>>,
    state: RwLock<State>,
}

struct State {
    value: Stored,
    memo: Option<Memo>,
    /// What an older value of the key was packed as, for as long as that one is kept.
    older: Weak<Packed>,
}

/// How the value is kept: as it is, as long as it is the newest of its key.
enum Stored {
    Whole(Bytes),
    Packed(Arc<Packed>),
    /// What is different from an older value of the key.
    Changed(Arc<Packed>, Box<[u8]>),
    /// Nobody knows it yet: only what is on the disk for it.
    Unopened,
}

impl Entry {
    /// An entry as a backend stores or loads it.
    pub fn new(key: Arc<str>, value: Bytes, create_revision: Revision, mod_revision: Revision) -> Self {
        Self::build(key, value, create_revision, mod_revision, None)
    }

    /// An entry of which something else than its value is on the disk.
    pub(crate) fn with_sealed(
        key: Arc<str>,
        value: Bytes,
        create_revision: Revision,
        mod_revision: Revision,
        sealed: Bytes,
    ) -> Self {
        Self::build(key, value, create_revision, mod_revision, Some(Box::new(sealed)))
    }

    /// An entry as it was read from the disk, whose value is not known before it is opened.
    pub(crate) fn unopened(key: Arc<str>, sealed: Bytes, create_revision: Revision, mod_revision: Revision) -> Self {
        let entry = Self::with_sealed(key, Bytes::new(), create_revision, mod_revision, sealed);
        entry.0.state.write().value = Stored::Unopened;
        entry
    }

    /// Whether the value is not known yet, and is shown as an empty one.
    pub fn is_unopened(&self) -> bool {
        matches!(self.0.state.read().value, Stored::Unopened)
    }

    /// The value became known, to everybody who has the entry; nothing happens to one that was known.
    pub fn open_with(&self, value: Bytes) {
        let mut state = self.0.state.write();
        if matches!(state.value, Stored::Unopened) {
            (state.value, state.memo) = (Stored::Whole(value), None);
        }
    }

    fn build(
        key: Arc<str>,
        value: Bytes,
        create_revision: Revision,
        mod_revision: Revision,
        sealed: Option<Box<Bytes>>,
    ) -> Self {
        let state = State { value: Stored::Whole(value), memo: None, older: Weak::new() };
        Self(Arc::new(Inner { key, create_revision, mod_revision, sealed, state: RwLock::new(state) }))
    }

    /// What is on the disk for it, if that is not the value.
    pub fn sealed(&self) -> Option<&Bytes> {
        self.0.sealed.as_deref()
    }

    /// What is written to the disk for it.
    pub(crate) fn written(&self) -> Bytes {
        self.sealed().cloned().unwrap_or_else(|| self.value())
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// The key, shared.
    pub fn key_shared(&self) -> Arc<str> {
        self.0.key.clone()
    }

    /// The bytes as committed. Those of an older state may have to be put together again.
    pub fn value(&self) -> Bytes {
        self.0.state.read().value.bytes()
    }

    /// The revision that created the key.
    pub fn create_revision(&self) -> Revision {
        self.0.create_revision
    }

    /// The revision that last wrote the key.
    pub fn mod_revision(&self) -> Revision {
        self.0.mod_revision
    }

    /// The memo of this entry, computed on first use and gone once the entry is history. Every caller of one process
    /// must use one type `T` for a key, or the later one gets its own value, computed anew each time.
    pub fn memo<T: Any + Send + Sync + Clone>(&self, compute: impl FnOnce(&Bytes) -> T) -> T {
        let kept = |state: &State| Some(state.memo.as_ref()?.downcast_ref::<T>().cloned());
        let found = kept(&self.0.state.read());
        if let Some(Some(found)) = found {
            return found;
        }
        let computed = compute(&self.value());
        let mut state = self.0.state.write();
        match kept(&state) {
            Some(Some(found)) => found,
            Some(None) => computed,
            None => {
                state.memo = Some(Arc::new(computed.clone()));
                computed
            }
        }
    }

    /// How many bytes it keeps alive: key and value, as that is kept.
    pub(crate) fn kept_bytes(&self) -> usize {
        let value = match &self.0.state.read().value {
            Stored::Whole(bytes) => bytes.len(),
            Stored::Packed(packed) => packed.kept_bytes(),
            Stored::Changed(_, difference) => difference.len(),
            Stored::Unopened => 0,
        };
        self.key().len() + value + self.sealed().map_or(0, Bytes::len)
    }

    /// How the value can be kept smaller, now that it is history; `successor` is what followed under the key. None if
    /// that is not worth it.
    pub(crate) fn pack(&self, successor: Option<&Entry>) -> Option<Smaller> {
        let (value, older) = {
            let state = self.0.state.read();
            let Stored::Whole(value) = &state.value else { return None };
            (value.clone(), state.older.upgrade())
        };
        if value.len() < PACKED_BYTES_MIN {
            return None;
        }
        let changed = older.and_then(|older| {
            let difference = difference::between(&older.value(), &value);
            (difference.len() < value.len() / 2).then_some((older, difference))
        });
        let (base, stored) = match changed {
            Some((older, difference)) => (older.clone(), Stored::Changed(older, difference.into())),
            None => {
                let packed = Arc::new(Packed::new(&value));
                (packed.clone(), Stored::Packed(packed))
            }
        };
        if let Some(successor) = successor {
            successor.0.state.write().older = Arc::downgrade(&base);
        }
        Some(Smaller(stored))
    }

    /// Keeps the value like that, if that was worth it, and no memo.
    pub(crate) fn retire(&self, smaller: Option<Smaller>) {
        let mut state = self.0.state.write();
        let memo = state.memo.take();
        let value = smaller.map(|smaller| std::mem::replace(&mut state.value, smaller.0));
        drop(state);
        // Freed without the lock: it may be much.
        drop((memo, value));
    }
}

/// A way to keep a value.
pub(crate) struct Smaller(Stored);

impl Stored {
    fn bytes(&self) -> Bytes {
        match self {
            Self::Whole(bytes) => bytes.clone(),
            Self::Packed(packed) => packed.value(),
            Self::Changed(older, changes) => {
                difference::apply(&older.value(), changes).expect("it was made from this value").into()
            }
            Self::Unopened => Bytes::new(),
        }
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{} ({} bytes)", self.key(), self.mod_revision(), self.value().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_value_takes_what_is_different_in_it() {
        let text = |number: usize| -> Bytes {
            let noise: String =
                (0..40_000_u64).map(|at| char::from(b'a' + (at.wrapping_mul(at) >> 7) as u8 % 26)).collect();
            format!("{{\"time\":{number},\"data\":\"{noise}\",\"number\":{}}}", number * 7).into()
        };
        let entries: Vec<Entry> = (0..20).map(|n| Entry::new("/k".into(), text(n), 1, n as u64 + 1)).collect();
        for pair in entries.windows(2) {
            let smaller = pair[0].pack(Some(&pair[1]));
            assert!(smaller.is_some());
            assert_eq!(pair[0].memo(|value| value.len()), pair[0].value().len(), "a memo may be made until then");
            pair[0].retire(smaller);
        }
        let kept: Vec<usize> = entries.iter().map(Entry::kept_bytes).collect();
        assert!(kept[1..19].iter().all(|bytes| *bytes < 200), "{kept:?}");
        for (number, entry) in entries.iter().enumerate() {
            assert_eq!(entry.value(), text(number));
        }
        // Once the oldest are gone, the newest holds none of them.
        let newest = entries.last().cloned().expect("one");
        drop(entries);
        assert!(newest.0.state.read().older.upgrade().is_none());
    }
}
