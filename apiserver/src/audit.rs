//! Audit: what is written down of requests, where, and who waits for that (`k8s.io/apiserver/pkg/audit` and
//! `plugin/pkg/audit`).
//!
//! Without a policy nothing of this is there. With one each request that a rule is about has a [`Trail`], which gathers what
//! stages and plugins know of it and writes an event at each stage to each sink.

pub(crate) mod body;
mod event;
mod latency;
mod log;
mod log_file;
pub mod policy;
mod recorded;
pub mod settings;
mod sink;
#[cfg(test)]
mod sink_tests;
#[cfg(test)]
pub(crate) mod tests;
mod trail;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use metrics::Counter;

use crate::clock::Clock;
pub use event::{Event, ObjectRef, Response};
pub(crate) use latency::Layer;
pub use log_file::Rotation;
use policy::{Decision, Policy, Stage};
pub use settings::Settings;
pub use sink::AuditCounts;
use sink::Sink;
pub(crate) use trail::Abandoned;
pub use trail::{Received, Trail};

/// How long a server that stops waits for what is not written yet.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// An event as each sink writes it; none where it is not written.
type Texts = Vec<Option<Bytes>>;

/// What is written down, and where.
pub struct Audit {
    policy: Policy,
    sinks: Vec<Sink>,
    counts: Arc<AuditCounts>,
    clock: Arc<dyn Clock>,
}

impl Audit {
    fn new(policy: Policy, sinks: Vec<Sink>, counts: Arc<AuditCounts>, clock: Arc<dyn Clock>) -> Self {
        Self { policy, sinks, counts, clock }
    }

    /// What is written down of a request.
    pub fn decide(&self, asked: &crate::authorization::Attributes<'_>) -> Decision {
        let decision = self.policy.decide(asked);
        self.counts.levels.with([decision.level.as_str()], Counter::add_one);
        decision
    }

    /// An event as each sink writes it.
    fn texts(&self, event: &Event, stage: Stage, at: Timestamp) -> Texts {
        self.counts.events.with([], Counter::add_one);
        self.sinks.iter().map(|sink| sink.text(event, stage, at)).collect()
    }

    /// Writes an event to each sink. Whether the request may go on.
    async fn put(&self, texts: Texts, stage: Stage) -> bool {
        // All of them at once: the one must have it although the request is given up while the other is waited for.
        let put = self.sinks.iter().zip(texts).filter_map(|(sink, text)| Some(sink.put(text?, stage)));
        futures::future::join_all(put).await.into_iter().all(|may_go_on| may_go_on)
    }

    /// Offers an event to each sink; nobody waits.
    fn offer(&self, texts: Texts) {
        for (sink, text) in self.sinks.iter().zip(texts) {
            text.into_iter().for_each(|text| sink.offer(text));
        }
    }

    /// Waits until what was noted is written, for as long as a server that stops may wait.
    pub async fn flush(&self) {
        let all = futures::future::join_all(self.sinks.iter().map(Sink::flush));
        if tokio::time::timeout(FLUSH_TIMEOUT, all).await.is_err() {
            tracing::error!("audit events are lost: their writers are too slow");
        }
    }
}
