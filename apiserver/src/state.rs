//! How far the server's start is, whether it is stopping, and which node's agent runs in its process.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::{Mutex, watch};
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

/// How long a request waits for definitions that are on their way into the catalogue.
const CATALOGUE_WAIT_MAX: Duration = Duration::from_secs(5);

/// The state that health endpoints show.
#[derive(Debug, Default)]
pub struct State {
    done: watch::Sender<BTreeSet<Step>>,
    rounds: watch::Sender<Rounds>,
    stopping: CancellationToken,
    bodies: Room,
    backup: Arc<Mutex<()>>,
    workers: Workers,
    agent: RwLock<Option<OwnAgent>>,
}

/// How often definitions were brought into the catalogue.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rounds {
    begun: u64,
    ended: u64,
}

/// Definitions are on their way into the catalogue for as long as this lives.
#[derive(Debug)]
pub struct Round<'a>(&'a State);

impl Drop for Round<'_> {
    fn drop(&mut self) {
        self.0.rounds.send_modify(|rounds| rounds.ended = rounds.begun);
    }
}

/// The node agent of this process. It is known by having been started here and not by what any object says, so that its
/// server may listen where no other node's may: on the loopback address.
#[derive(Debug)]
struct OwnAgent {
    node: String,
    server: SocketAddr,
}

impl State {
    /// Held by whoever makes a backup: there is one at a time.
    pub fn backup(&self) -> Arc<Mutex<()>> {
        self.backup.clone()
    }

    /// A step is done, once and for all.
    pub fn finish(&self, step: Step) {
        self.done.send_if_modified(|done| done.insert(step));
    }

    /// Whether a step is done.
    pub fn is_done(&self, step: Step) -> bool {
        self.done.borrow().contains(&step)
    }

    /// Resolves when a step is done.
    pub(crate) async fn done(&self, step: Step) {
        let mut done = self.done.subscribe();
        // The sender lives as long as this does.
        let _ = done.wait_for(|done| done.contains(&step)).await;
    }

    /// Resolves when every step is done.
    pub async fn started(&self) {
        let mut done = self.done.subscribe();
        // The sender lives as long as this does.
        let _ = done.wait_for(|done| Step::ALL.iter().all(|step| done.contains(step))).await;
    }

    /// The statuses of definitions are about to be written, and the catalogue to follow them. One at a time.
    pub fn begin_round(&self) -> Round<'_> {
        self.rounds.send_modify(|rounds| rounds.begun += 1);
        Round(self)
    }

    /// Tells whenever the catalogue may have changed.
    pub(crate) fn rounds(&self) -> watch::Receiver<Rounds> {
        self.rounds.subscribe()
    }

    /// Resolves when the catalogue has what every status of a definition said when this was called: whoever reads that
    /// one is established finds its resources. After [`CATALOGUE_WAIT_MAX`] it is given up.
    pub async fn catalogue_followed(&self) {
        let mut rounds = self.rounds.subscribe();
        let Rounds { begun, ended } = *rounds.borrow();
        if ended == begun {
            return;
        }
        // The sender lives as long as this does.
        let ended = rounds.wait_for(|rounds| rounds.ended >= begun);
        let _ = tokio::time::timeout(CATALOGUE_WAIT_MAX, ended).await;
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

    #[tokio::test]
    async fn what_was_begun_is_waited_for_and_no_more() {
        let state = State::default();
        assert!(state.catalogue_followed().now_or_never().is_some());
        let first = state.begin_round();
        let mut waiting = std::pin::pin!(state.catalogue_followed());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        let second = state.begin_round();
        assert!(waiting.as_mut().now_or_never().is_some(), "the second round began after the call");
        assert!(state.catalogue_followed().now_or_never().is_none());
        drop(second);
        assert!(state.catalogue_followed().now_or_never().is_some());
    }

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
