//! The webhook: events are posted in batches, some at the same time, and posted again if that fails.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metrics::Counter;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::settings::WebhookSettings;
use super::sink::{AuditCounts, Collector, Job, Line};
use crate::clock::Clock;
use crate::outgoing::Kubeconfig;

/// How many batches are on their way at the same time; more wait in the queue.
const SENDING_MAX: usize = 16;
/// How often a batch is posted at most, and how much longer is waited each time (`DefaultRetryBackoffWithInitialDelay`).
const ATTEMPTS_MAX: u32 = 5;
const BACKOFF_FACTOR: f64 = 1.5;
const BACKOFF_JITTER: f64 = 0.2;
/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer may be, of which nothing is wanted.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// What an event begins with; in a list its items do not.
const KIND: &[u8] = b"{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",";

/// Reads the file and starts to post, until nobody can send any more.
pub(super) fn start(
    settings: &WebhookSettings,
    jobs: mpsc::Receiver<Job>,
    counts: Arc<AuditCounts>,
    clock: Arc<dyn Clock>,
    runtime: &Handle,
) -> Result<(), String> {
    let endpoint = Kubeconfig::read(&settings.config_file).map_err(|error| error.to_string())?;
    let bytes_max = settings.truncation.unwrap_or_default().batch_bytes_max;
    let mut collector = Collector::new(jobs, &settings.batching, bytes_max, clock.clone());
    let poster = Arc::new(Poster { endpoint, backoff: settings.initial_backoff, counts, clock });
    runtime.spawn(async move {
        let mut sending = JoinSet::new();
        while let Some(batch) = collector.next().await {
            while sending.len() >= SENDING_MAX {
                sending.join_next().await;
            }
            while sending.try_join_next().is_some() {}
            if !batch.lines.is_empty() {
                let poster = poster.clone();
                sending.spawn(async move { poster.send(batch.lines).await });
            }
            if let Some(flushed) = batch.flush {
                while sending.join_next().await.is_some() {}
                let _ = flushed.send(());
            }
        }
    });
    Ok(())
}

struct Poster {
    endpoint: Kubeconfig,
    backoff: Duration,
    counts: Arc<AuditCounts>,
    clock: Arc<dyn Clock>,
}

impl Poster {
    async fn send(&self, lines: Vec<Line>) {
        let body = list(&lines);
        let sent = self.post_with_backoff(body).await;
        if let Err(error) = &sent {
            self.counts.errors.with(["webhook"], |errors: &Counter| lines.iter().for_each(|_| errors.add_one()));
            tracing::error!(error, events = lines.len(), "audit events are lost: the webhook does not take them");
        }
        lines.into_iter().for_each(|line| line.finish(sent.is_ok()));
    }

    async fn post_with_backoff(&self, body: Bytes) -> Result<(), String> {
        let mut delay = self.backoff.as_secs_f64();
        let mut attempt = 1;
        loop {
            let error = match self.post(body.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if attempt >= ATTEMPTS_MAX {
                return Err(error);
            }
            tracing::warn!(error, attempt, "the audit webhook does not take events; they are sent again");
            let mut random = [0_u8; 2];
            self.clock.random(&mut random);
            let jitter = f64::from(u16::from_ne_bytes(random)) / f64::from(u16::MAX);
            tokio::time::sleep(Duration::from_secs_f64(delay * (1.0 + jitter * BACKOFF_JITTER))).await;
            delay *= BACKOFF_FACTOR;
            attempt += 1;
        }
    }

    async fn post(&self, body: Bytes) -> Result<(), String> {
        let reply =
            self.endpoint.post(body, ATTEMPT_TIMEOUT, ANSWER_BYTES_MAX).await.map_err(|error| error.to_string())?;
        if reply.status.is_success() { Ok(()) } else { Err(format!("it answers {}", reply.status)) }
    }
}

/// Events as one list.
fn list(lines: &[Line]) -> Bytes {
    let length: usize = lines.iter().map(|line| line.text.len() + 1).sum();
    let mut out = Vec::with_capacity(length + 96);
    out.extend_from_slice(b"{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"metadata\":{},\"items\":[");
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        match line.text.strip_prefix(KIND) {
            Some(rest) => {
                out.push(b'{');
                out.extend_from_slice(rest);
            }
            None => out.extend_from_slice(&line.text),
        }
    }
    out.extend_from_slice(b"]}");
    out.into()
}
