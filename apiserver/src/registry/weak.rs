//! A registry for what the registry itself has.

use std::sync::{Arc, Weak};

use super::{Inner, Registry};

/// A registry that ends if nobody else has it.
pub(crate) struct WeakRegistry(Weak<Inner>);

impl WeakRegistry {
    /// The registry, as long as somebody has it.
    pub(crate) fn upgrade(&self) -> Option<Registry> {
        self.0.upgrade().map(Registry)
    }
}

impl Registry {
    /// The same for whom the registry itself has.
    pub(crate) fn weak(&self) -> WeakRegistry {
        WeakRegistry(Arc::downgrade(&self.0))
    }
}
