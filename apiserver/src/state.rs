//! Whether the server is ready, and whether it is stopping.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use crate::body::Room;

/// The state that health endpoints show.
#[derive(Debug, Default)]
pub struct State {
    ready: AtomicBool,
    stopping: CancellationToken,
    bodies: Room,
}

impl State {
    /// The cluster's own objects are there: requests may come.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Whether requests may come.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// The room for large bodies.
    pub fn bodies(&self) -> &Room {
        &self.bodies
    }

    /// The server begins to stop: watches end, and nothing new is accepted.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// Whether the server is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Resolves when the server begins to stop.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }
}
