//! What is computed from a stored entry and kept beside it for as long as the entry lives.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use api::Object;
use api::selector::Attributes;
use store::Entry;

/// The one type of all memos.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    /// The attributes, and the definition whose fields they are.
    attributes: OnceLock<(u64, Arc<Attributes>)>,
    /// The definition that the bytes are right for as they are; zero if that is not known.
    fits: AtomicU64,
    object: OnceLock<Option<Arc<Object>>>,
}

impl Memo {
    /// The memo of an entry.
    pub(crate) fn of(entry: &Entry) -> Arc<Self> {
        entry.memo(|_| Arc::new(Self::default()))
    }

    /// Labels and selectable fields. Those of another definition are not kept.
    pub(crate) fn attributes(&self, definition: u64, compute: impl Fn() -> Arc<Attributes>) -> Arc<Attributes> {
        let (of, found) = self.attributes.get_or_init(|| (definition, compute()));
        if *of == definition { found.clone() } else { compute() }
    }

    /// Whether the bytes of a custom object are right as they are under a definition.
    pub(crate) fn fits(&self, definition: u64) -> bool {
        self.fits.load(Ordering::Relaxed) == definition
    }

    /// Remembers that they are.
    pub(crate) fn set_fits(&self, definition: u64) {
        self.fits.store(definition, Ordering::Relaxed);
    }

    /// The decoded object. It takes ten times what its bytes take: only for kinds of which there are few.
    pub(crate) fn object(&self, entry: &Entry) -> Option<Arc<Object>> {
        self.object.get_or_init(|| crate::registry::read(entry).map(Arc::new)).clone()
    }
}
