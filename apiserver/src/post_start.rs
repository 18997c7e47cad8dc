//! What goes on beside the requests once the server has started (post-start hooks, and what they start).

mod api_services;
pub(crate) mod cluster_authentication;
mod compaction;
mod condition;
pub mod definitions;
mod description;
mod discovery;
mod event_expiry;
mod flow_control;
mod identity;
mod legacy_tokens;
mod registration;
mod rounds;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::state::Step;
use crate::{ApiServer, encryption};

pub use compaction::Compaction;
pub use identity::lease_name;

impl ApiServer {
    /// Does what goes on beside the requests: serves custom resources as their definitions come and go, tells
    /// APIServices whether they are available, and servers of aggregated APIs whom to believe, notes
    /// when tokens of Secrets were last used, keeps the configuration of flow control, holds the server's own lease, ends events when their hour is over, forgets old
    /// states, and writes anew what was encrypted with older keys. Runs until `stop` is cancelled or the store is closed.
    pub fn run(&self, stop: CancellationToken) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.registry().state().finish(Step::Running);
            let unended = async {
                tokio::join!(
                    api_services::follow(self),
                    registration::follow(self),
                    discovery::follow(self),
                    description::follow(self),
                    definitions::follow(self),
                    cluster_authentication::follow(self),
                    legacy_tokens::follow(self),
                    legacy_tokens::label(self),
                    flow_control::follow(self),
                    event_expiry::follow(self.registry()),
                    compaction::run(self.registry()),
                    encryption::rotation::follow(self.registry()),
                )
            };
            // The lease is given up at the end.
            tokio::join!(stop.run_until_cancelled(unended), identity::hold(self.clone(), stop.clone()));
        })
    }
}
