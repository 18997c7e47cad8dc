//! What is computed from a stored entry and kept beside it for as long as the entry lives.

use std::sync::{Arc, OnceLock};

use api::Object;
use api::selector::Attributes;
use store::Entry;

/// The one type of all memos.
#[derive(Debug, Default)]
pub struct Memo {
    attributes: OnceLock<Arc<Attributes>>,
    object: OnceLock<Option<Arc<Object>>>,
}

impl Memo {
    /// The memo of an entry.
    pub fn of(entry: &Entry) -> Arc<Self> {
        entry.memo(|_| Arc::new(Self::default()))
    }

    /// Labels and selectable fields.
    pub fn attributes(&self, compute: impl FnOnce() -> Arc<Attributes>) -> Arc<Attributes> {
        self.attributes.get_or_init(compute).clone()
    }

    /// The decoded object. It takes ten times what its bytes take: only for kinds of which there are few.
    pub fn object(&self, entry: &Entry) -> Option<Arc<Object>> {
        self.object.get_or_init(|| crate::registry::read(entry).map(Arc::new)).clone()
    }
}
