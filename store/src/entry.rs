//! One key with its value and revisions.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

/// A number that grows by one with each commit and is never used twice.
pub type Revision = u64;

/// What a reader computed from a value, kept beside it.
pub type Memo = Box<dyn Any + Send + Sync>;

/// One key with its value. Cloning is a reference count.
#[derive(Clone)]
pub struct Entry(Arc<Inner>);

struct Inner {
    key: Arc<str>,
    value: Bytes,
    create_revision: Revision,
    mod_revision: Revision,
    memo: OnceLock<Memo>,
}

impl Entry {
    /// An entry as a backend stores or loads it.
    pub fn new(key: Arc<str>, value: Bytes, create_revision: Revision, mod_revision: Revision) -> Self {
        Self(Arc::new(Inner { key, value, create_revision, mod_revision, memo: OnceLock::new() }))
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// The key, shared.
    pub fn key_shared(&self) -> Arc<str> {
        self.0.key.clone()
    }

    /// The bytes as committed.
    pub fn value(&self) -> &Bytes {
        &self.0.value
    }

    /// The revision that created the key.
    pub fn create_revision(&self) -> Revision {
        self.0.create_revision
    }

    /// The revision that last wrote the key.
    pub fn mod_revision(&self) -> Revision {
        self.0.mod_revision
    }

    /// The memo of this entry, computed on first use. Every caller of one process must use one type `T`
    /// for a key, or the later one gets its own value, computed anew each time.
    pub fn memo<T: Any + Send + Sync + Clone>(&self, compute: impl FnOnce(&Bytes) -> T) -> T {
        let mut compute = Some(compute);
        let memo = self.0.memo.get_or_init(|| {
            let compute = compute.take().expect("called once");
            Box::new(compute(&self.0.value))
        });
        match (memo.downcast_ref::<T>(), compute) {
            (Some(found), _) => found.clone(),
            (None, Some(compute)) => compute(&self.0.value),
            (None, None) => unreachable!("the memo just made has type T"),
        }
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{} ({} bytes)", self.key(), self.mod_revision(), self.value().len())
    }
}
