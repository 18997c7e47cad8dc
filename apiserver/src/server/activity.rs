//! What goes on on one connection, and when it has been silent for too long.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::clock::now;
use super::limits::Limits;

/// How many bytes an HTTP/2 client begins with: the preface and the head of its settings.
const PREFACE_BYTES: u64 = 24 + 9;
/// No time.
const NEVER: u64 = u64::MAX;

/// What goes on on one connection. Times are milliseconds since it began.
#[derive(Debug)]
pub(crate) struct Activity {
    began: Instant,
    is_http2: AtomicBool,
    /// Requests whose answer has not been handed over as a whole.
    open: AtomicUsize,
    /// Those of them that last: watches, logs, streams.
    lasting: AtomicUsize,
    /// Whether there ever was a request.
    served: AtomicBool,
    bytes_read: AtomicU64,
    /// Since when there is no request.
    idle_since: AtomicU64,
    /// Since when the beginning of a request is there.
    head_since: AtomicU64,
    /// Since when the client takes nothing of what is to be written.
    blocked_since: AtomicU64,
    unblocked: Notify,
}

/// What is to be done about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing before this time.
    At(Instant),
    /// Its time is over, and why.
    Over(&'static str),
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            began: now(),
            is_http2: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            lasting: AtomicUsize::new(0),
            served: AtomicBool::new(false),
            bytes_read: AtomicU64::new(0),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(NEVER),
            blocked_since: AtomicU64::new(NEVER),
            unblocked: Notify::new(),
        }
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(now().saturating_duration_since(self.began).as_millis()).unwrap_or(NEVER - 1)
    }

    /// The handshake is over: from here on HTTP is spoken.
    pub(super) fn begin_http(&self, is_http2: bool) {
        self.is_http2.store(is_http2, Ordering::Relaxed);
        self.bytes_read.store(0, Ordering::Relaxed);
        self.idle_since.store(self.elapsed(), Ordering::Relaxed);
    }

    /// Bytes came.
    pub(super) fn read(&self, bytes: usize) {
        self.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
        if self.open.load(Ordering::Relaxed) == 0 && self.head_since.load(Ordering::Relaxed) == NEVER {
            self.head_since.store(self.elapsed(), Ordering::Relaxed);
        }
    }

    /// Whether bytes came of which no request has been made yet.
    pub(super) fn is_head_begun(&self) -> bool {
        self.head_since.load(Ordering::Relaxed) != NEVER
    }

    /// Bytes were taken, or could not be.
    pub(super) fn wrote(&self, is_blocked: bool) {
        let was_blocked = self.blocked_since.load(Ordering::Acquire) != NEVER;
        if is_blocked && !was_blocked {
            self.blocked_since.store(self.elapsed(), Ordering::Release);
        } else if !is_blocked && was_blocked {
            self.blocked_since.store(NEVER, Ordering::Release);
            self.unblocked.notify_waiters();
        }
    }

    /// Resolves when the client takes what is written to it. No request is begun before that: what a client does not
    /// read must not pile up.
    pub(super) async fn writable(&self) {
        while self.blocked_since.load(Ordering::Acquire) != NEVER {
            let unblocked = self.unblocked.notified();
            if self.blocked_since.load(Ordering::Acquire) != NEVER {
                unblocked.await;
            }
        }
    }

    /// A request begins.
    pub(super) fn begin(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(NEVER, Ordering::Relaxed);
        self.served.store(true, Ordering::Relaxed);
    }

    /// A request turns out to be one that lasts, or is none any more.
    pub(super) fn set_lasting(&self, lasts: bool) {
        if lasts {
            self.lasting.fetch_add(1, Ordering::Relaxed)
        } else {
            self.lasting.fetch_sub(1, Ordering::Relaxed)
        };
    }

    /// The connection becomes something else than HTTP, and is busy for as long as it is there.
    pub(super) fn leave_http(&self) {
        self.begin();
        self.set_lasting(true);
    }

    /// An answer has been handed over, or given up.
    pub(super) fn end(&self) {
        if self.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.idle_since.store(self.elapsed(), Ordering::Relaxed);
        }
    }

    /// Since when there is no request, if there is none.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.open.load(Ordering::Relaxed) == 0).then(|| self.at(self.idle_since.load(Ordering::Relaxed)))
    }

    fn at(&self, milliseconds: u64) -> Instant {
        self.began + Duration::from_millis(milliseconds)
    }

    /// What is to be done about the connection, and when to ask again.
    pub(super) fn due(&self, limits: &Limits) -> Due {
        let (until, why) = self.deadline(limits);
        let now = now();
        // Whatever begins from now on lasts at least as long.
        let again = now + limits.shortest();
        match until {
            Some(until) if until <= now => Due::Over(why),
            until => Due::At(until.map_or(again, |until| until.min(again))),
        }
    }

    fn deadline(&self, limits: &Limits) -> (Option<Instant>, &'static str) {
        let blocked = self.blocked_since.load(Ordering::Relaxed);
        if blocked != NEVER && self.lasting.load(Ordering::Relaxed) == 0 {
            return (Some(self.at(blocked) + limits.stall_timeout), "the client does not read its answer");
        }
        let Some(idle) = self.idle_since() else { return (None, "") };
        if self.is_http2.load(Ordering::Relaxed) {
            if self.bytes_read.load(Ordering::Relaxed) < PREFACE_BYTES {
                return (Some(idle + limits.preface_timeout), "the HTTP/2 preface did not come");
            }
            return (Some(idle + limits.idle_timeout), "no request came");
        }
        match self.head_since.load(Ordering::Relaxed) {
            NEVER if self.served.load(Ordering::Relaxed) => (Some(idle + limits.idle_timeout), "no request came"),
            NEVER => (Some(idle + limits.headers_timeout), "no request came"),
            since => (Some(self.at(since) + limits.headers_timeout), "the headers of a request did not come"),
        }
    }
}

impl Limits {
    /// The shortest of what may begin while a connection is there.
    fn shortest(&self) -> Duration {
        self.headers_timeout.min(self.idle_timeout).min(self.stall_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A connection as it is so many seconds after these events.
    struct After(Activity);

    impl After {
        fn pass(&mut self, seconds: u32) -> &Activity {
            self.0.began -= seconds * SECOND;
            &self.0
        }
    }

    fn http(is_http2: bool) -> After {
        let mut activity = After(Activity::new());
        activity.pass(5).begin_http(is_http2);
        activity
    }

    /// In how many seconds the connection's time is over, if nothing more happens; none if it is busy.
    #[track_caller]
    fn check(activity: &Activity, expected: Option<u64>) {
        let limits = Limits::default();
        let (until, why) = activity.deadline(&limits);
        let left = until.map(|until| until.saturating_duration_since(now()).as_millis().div_ceil(1000));
        assert_eq!(left, expected.map(u128::from), "{why}");
        assert_eq!(matches!(activity.due(&limits), Due::Over(_)), expected == Some(0));
    }

    #[test]
    fn silence_ends_a_connection() {
        let mut silent = http(false);
        check(silent.pass(0), Some(32));
        check(silent.pass(31), Some(1));
        check(silent.pass(1), Some(0));
        let mut slow = http(false);
        slow.pass(20).read(10);
        // However often another byte of its head comes.
        slow.pass(10).read(10);
        check(slow.pass(1), Some(21));
        let mut client = http(false);
        client.pass(0).read(100);
        client.pass(0).begin();
        check(client.pass(500), None);
        client.pass(0).end();
        check(client.pass(1), Some(89));
        client.pass(0).read(1);
        check(client.pass(1), Some(31));
    }

    #[test]
    fn http2_has_ten_seconds_for_its_preface() {
        let mut half = http(true);
        half.pass(0).read(20);
        check(half.pass(1), Some(9));
        half.pass(0).read(20);
        check(half.pass(1), Some(88));
        half.pass(1).begin();
        check(half.pass(600), None);
    }

    #[test]
    fn an_unread_answer_ends_a_connection_unless_it_lasts() {
        let mut client = http(false);
        client.pass(0).begin();
        client.pass(0).wrote(true);
        client.pass(30).wrote(true);
        check(client.pass(10), Some(20));
        client.pass(0).set_lasting(true);
        check(client.pass(600), None);
        client.pass(0).set_lasting(false);
        check(client.pass(0), Some(0));
        client.pass(0).wrote(false);
        check(client.pass(0), None);
    }

    #[tokio::test]
    async fn no_request_begins_while_answers_are_not_read() {
        use futures::FutureExt;
        let activity = Activity::new();
        assert!(activity.writable().now_or_never().is_some());
        activity.wrote(true);
        let mut writable = Box::pin(activity.writable());
        assert!(writable.as_mut().now_or_never().is_none());
        activity.wrote(false);
        assert!(writable.now_or_never().is_some());
    }
}
