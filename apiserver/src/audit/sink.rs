//! Where events go: through a bounded queue to whoever writes them. A request waits for that if the mode says so, and a
//! slow writer never holds a thread that serves others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use metrics::{Counter, families};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::event::Event;
use super::policy::{Level, Stage};
use super::settings::{Batching, Format, Mode, Truncation};
use crate::clock::Clock;
use jiff::Timestamp;

/// How many bytes of events wait for one writer.
const WAITING_BYTES_MAX: usize = 256 << 20;
/// How many events wait where requests wait for them.
const WAITING_MAX: usize = 1024;

families! {
    /// What is counted of audit.
    pub struct AuditCounts {
        /// Events that were made.
        pub events: Counter = "apiserver_audit_event_total" [] 1;
        /// Events that were lost, by who lost them.
        pub errors: Counter = "apiserver_audit_error_total" ["plugin"] 16;
        /// Requests, by how much is written down of them.
        pub levels: Counter = "apiserver_audit_level_total" ["level"] 8;
        /// Requests that were refused because they could not be written down.
        pub rejected: Counter = "apiserver_audit_requests_rejected_total" [] 1;
    }
}

/// An event on its way.
pub(super) struct Line {
    pub(super) text: Bytes,
    done: Option<oneshot::Sender<bool>>,
    _room: OwnedSemaphorePermit,
}

impl Line {
    /// It is written, or lost.
    pub(super) fn finish(self, written: bool) {
        if let Some(done) = self.done {
            let _ = done.send(written);
        }
    }
}

/// What goes through a queue.
pub(super) enum Job {
    Line(Line),
    /// Asks for everything before it to be written.
    Flush(oneshot::Sender<()>),
}

/// One way to write events down.
pub(super) struct Sink {
    plugin: &'static str,
    mode: Mode,
    format: Format,
    truncation: Option<Truncation>,
    queue: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    counts: Arc<AuditCounts>,
}

impl Sink {
    /// A sink and the end of its queue that a writer reads.
    pub(super) fn new(
        plugin: &'static str,
        batching: &Batching,
        format: Format,
        truncation: Option<Truncation>,
        counts: Arc<AuditCounts>,
    ) -> (Self, mpsc::Receiver<Job>) {
        let size = if batching.mode == Mode::Batch { batching.buffer_size } else { WAITING_MAX };
        let (queue, jobs) = mpsc::channel(size);
        let room = Arc::new(Semaphore::new(WAITING_BYTES_MAX));
        (Self { plugin, mode: batching.mode, format, truncation, queue, room, counts }, jobs)
    }

    /// Writes an event down, and waits for that as the mode says. Whether the request may go on.
    pub(super) async fn put(&self, text: Bytes, stage: Stage) -> bool {
        if self.mode == Mode::Batch {
            self.offer(text);
            return true;
        }
        let is_strict = self.mode == Mode::BlockingStrict;
        // What is asked first is written first, so only the last is waited for; who is strict wants to know of each.
        let (done, written) = oneshot::channel();
        let done = (is_strict || stage != Stage::RequestReceived).then_some(done);
        let waits = done.is_some();
        if !self.queued(text, done).await {
            self.lose("the writer has ended");
            return !is_strict;
        }
        !waits || written.await.unwrap_or(false) || !is_strict
    }

    /// Puts a line into the queue when there is room; whether somebody reads it.
    async fn queued(&self, text: Bytes, done: Option<oneshot::Sender<bool>>) -> bool {
        let mut left = Unqueued { sink: self, text: Some(text.clone()) };
        let room = self.room.clone().acquire_many_owned(room_of(&text)).await;
        let place = self.queue.reserve().await;
        left.text = None;
        let (Ok(room), Ok(place)) = (room, place) else { return false };
        place.send(Job::Line(Line { text, done, _room: room }));
        true
    }

    /// Puts a line into the queue if there is room; nobody waits. But what requests wait for is not lost when they are given up: it
    /// waits on its own, as long as there is room for that.
    pub(super) fn offer(&self, text: Bytes) {
        let Ok(room) = self.room.clone().try_acquire_many_owned(room_of(&text)) else { return self.no_room() };
        let line = Job::Line(Line { text, done: None, _room: room });
        match (self.queue.try_send(line), Handle::try_current()) {
            (Ok(()), _) => {}
            (Err(TrySendError::Full(line)), Ok(runtime)) if self.mode != Mode::Batch => {
                let queue = self.queue.clone();
                runtime.spawn(async move { queue.send(line).await });
            }
            _ => self.no_room(),
        }
    }

    fn no_room(&self) {
        self.counts.errors.with(["buffered"], Counter::add_one);
        tracing::warn!(plugin = self.plugin, "an audit event is lost: audit buffer queue blocked");
    }

    fn lose(&self, why: &str) {
        self.counts.errors.with([self.plugin], Counter::add_one);
        tracing::error!(plugin = self.plugin, why, "an audit event is lost");
    }

    /// The event as it is written; none if it is too large for that.
    pub(super) fn text(&self, event: &Event, stage: Stage, at: Timestamp) -> Option<Bytes> {
        let mut json = Vec::new();
        if self.format == Format::Json || self.truncation.is_some() {
            json = event.json(stage, at);
        }
        if let Some(truncation) = self.truncation {
            if json.len() > truncation.event_bytes_max && event.level >= Level::Request {
                json = event.json_truncated(stage, at);
            }
            if json.len() > truncation.event_bytes_max {
                self.counts.errors.with(["truncate"], Counter::add_one);
                tracing::error!(
                    plugin = self.plugin,
                    "an audit event is lost: event is too large even after truncating"
                );
                return None;
            }
        }
        Some(match self.format {
            Format::Json => json.into(),
            Format::Legacy => event.legacy(stage).into(),
        })
    }

    /// Waits until everything that was given to it is written.
    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Job::Flush(done)).await.is_ok() {
            let _ = flushed.await;
        }
    }
}

/// How much room a line takes while it waits.
fn room_of(text: &Bytes) -> u32 {
    u32::try_from(text.len().min(WAITING_BYTES_MAX)).unwrap_or(u32::MAX)
}

/// A line whose request waits for room, and may be given up meanwhile.
struct Unqueued<'s> {
    sink: &'s Sink,
    text: Option<Bytes>,
}

impl Drop for Unqueued<'_> {
    fn drop(&mut self) {
        self.text.take().into_iter().for_each(|text| self.sink.offer(text));
    }
}

/// What is written together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) lines: Vec<Line>,
    /// Who asked for it to be written.
    pub(super) flush: Option<oneshot::Sender<()>>,
}

/// How the events of a queue are taken out of it.
pub(super) struct Collector {
    jobs: mpsc::Receiver<Job>,
    lines_max: usize,
    bytes_max: usize,
    /// How long a batch waits to be full; none if it does not wait.
    wait_max: Option<Duration>,
    throttle: Option<Throttle>,
    clock: Arc<dyn Clock>,
    /// What did not fit into the last batch.
    left: Option<Line>,
}

/// So many batches a second, and so many at once.
struct Throttle {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

/// How many lines are written at once where nobody waits for a batch to be full.
const GREEDY_LINES_MAX: usize = 256;

impl Collector {
    /// Of a queue, as the flags say.
    pub(super) fn new(jobs: mpsc::Receiver<Job>, batching: &Batching, bytes_max: usize, clock: Arc<dyn Clock>) -> Self {
        let is_batch = batching.mode == Mode::Batch;
        let throttle = batching.throttle.filter(|_| is_batch).map(|(per_second, burst)| Throttle {
            per_second,
            burst: burst as f64,
            tokens: burst as f64,
            at: clock.instant(),
        });
        let waits = is_batch && batching.size_max > 1;
        Self {
            jobs,
            lines_max: if waits { batching.size_max } else { GREEDY_LINES_MAX },
            bytes_max,
            wait_max: waits.then_some(batching.wait_max),
            throttle,
            clock,
            left: None,
        }
    }

    /// The next batch; none when nobody can send any more.
    pub(super) async fn next(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        match self.left.take() {
            Some(line) => batch.lines.push(line),
            None => match self.jobs.recv().await? {
                Job::Line(line) => batch.lines.push(line),
                Job::Flush(done) => {
                    batch.flush = Some(done);
                    return Some(batch);
                }
            },
        }
        let mut bytes = batch.lines[0].text.len();
        let started = self.clock.instant();
        while batch.lines.len() < self.lines_max {
            let job = match self.wait_max {
                None => self.jobs.try_recv().ok(),
                Some(most) => {
                    let passed = self.clock.instant().saturating_duration_since(started);
                    let next = tokio::time::timeout(most.saturating_sub(passed), self.jobs.recv());
                    next.await.ok().flatten()
                }
            };
            match job {
                None => break,
                Some(Job::Flush(done)) => {
                    batch.flush = Some(done);
                    break;
                }
                Some(Job::Line(line)) if bytes + line.text.len() > self.bytes_max => {
                    self.left = Some(line);
                    break;
                }
                Some(Job::Line(line)) => {
                    bytes += line.text.len();
                    batch.lines.push(line);
                }
            }
        }
        self.wait_for_turn().await;
        Some(batch)
    }

    async fn wait_for_turn(&mut self) {
        let Some(throttle) = &mut self.throttle else { return };
        let now = self.clock.instant();
        let passed = now.saturating_duration_since(throttle.at).as_secs_f64();
        throttle.tokens = (throttle.tokens + passed * throttle.per_second).min(throttle.burst) - 1.0;
        throttle.at = now;
        if throttle.tokens < 0.0 {
            tokio::time::sleep(Duration::from_secs_f64(-throttle.tokens / throttle.per_second)).await;
        }
    }
}
