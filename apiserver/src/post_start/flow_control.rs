//! Keeps the flow schemas and priority levels that every cluster has, and tells each schema whether its level is there.

mod keep;
mod status;

use std::time::Duration;

use store::Snapshot;

use crate::ApiServer;
use crate::flow_control::{KEYS, levels, schemas};
use crate::state::Step;

/// Follows flow schemas and priority levels until the store is closed.
pub(super) async fn follow(server: &ApiServer) {
    let mut keeper = keep::Keeper::default();
    let mut followed = server.registry().follow(KEYS);
    let mut again = None;
    loop {
        let changed = followed.changed(|_| true);
        let changed = match again {
            None => changed.await,
            // Nothing has to happen for what was put off.
            Some(wait) => match tokio::time::timeout(wait, changed).await {
                Ok(changed) => changed,
                Err(_) => Some(server.registry().snapshot()),
            },
        };
        let Some(state) = changed else { return };
        again = synchronise(server, &mut keeper, &state).await;
    }
}

/// Puts right what every cluster has, and says in the statuses what was found; how long until something can be put right
/// that must wait.
async fn synchronise(server: &ApiServer, keeper: &mut keep::Keeper, state: &Snapshot) -> Option<Duration> {
    let (schemas, levels) = (schemas(state), levels(state));
    server.registry().state().finish(Step::FlowControl);
    let again = keeper.restore(server, &schemas, &levels).await;
    // Without priority and fairness nobody looks at them.
    if server.registry().flow_control().is_some() {
        status::write(server, &schemas, &levels).await;
    }
    again
}
