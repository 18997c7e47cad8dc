//! Whether the server is ready, whether it is stopping, and which node's agent runs in its process.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

use crate::body::Room;

/// The state that health endpoints show.
#[derive(Debug, Default)]
pub struct State {
    ready: AtomicBool,
    stopping: CancellationToken,
    bodies: Room,
    agent: RwLock<Option<OwnAgent>>,
}

/// The node agent of this process. It is known by having been started here and not by what any object says, so that its
/// server may listen where no other node's may: on the loopback address.
#[derive(Debug)]
struct OwnAgent {
    node: String,
    server: SocketAddr,
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

    /// Tells where the server of this process's own node agent listens.
    pub fn set_agent(&self, node: impl Into<String>, server: SocketAddr) {
        *self.agent.write() = Some(OwnAgent { node: node.into(), server });
    }

    /// Where the node's server listens, if its agent runs in this process.
    pub fn agent(&self, node: &str) -> Option<SocketAddr> {
        self.agent.read().as_ref().filter(|agent| agent.node == node).map(|agent| agent.server)
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
