//! How far the server's start is, whether it is stopping, and which node's agent runs in its process.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use parking_lot::RwLock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::body::Room;
use crate::workers::Workers;

/// What has to be done before the server is ready. Each is told by the code that does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The objects that every cluster has are in the store.
    Bootstrap,
    /// What goes on beside the requests has begun.
    Running,
    /// The custom resource definitions that are stored are served.
    Definitions,
    /// Requests are classified as the stored configuration of flow control says.
    FlowControl,
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 4] = [Self::Bootstrap, Self::Running, Self::Definitions, Self::FlowControl];
}

/// The state that health endpoints show.
#[derive(Debug, Default)]
pub struct State {
    done: watch::Sender<BTreeSet<Step>>,
    stopping: CancellationToken,
    bodies: Room,
    workers: Workers,
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
    /// A step is done, once and for all.
    pub fn finish(&self, step: Step) {
        self.done.send_if_modified(|done| done.insert(step));
    }

    /// Whether a step is done.
    pub fn is_done(&self, step: Step) -> bool {
        self.done.borrow().contains(&step)
    }

    /// Resolves when every step is done.
    pub async fn started(&self) {
        let mut done = self.done.subscribe();
        // The sender lives as long as this does.
        let _ = done.wait_for(|done| Step::ALL.iter().all(|step| done.contains(step))).await;
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

    /// The threads for what takes more than a moment.
    pub fn workers(&self) -> &Workers {
        &self.workers
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

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn the_start_is_over_when_every_step_is_done() {
        let state = State::default();
        for step in Step::ALL {
            assert!(state.started().now_or_never().is_none() && !state.is_done(step));
            state.finish(step);
            assert!(state.is_done(step));
        }
        assert!(state.started().now_or_never().is_some());
    }
}
