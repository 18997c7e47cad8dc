//! One priority level at work: its queues under a lock, those who wait for them, and what wakes them.

mod keep;
mod seat;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use api::UserInfo;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

use super::demand::Demand;
use super::dropped::Dropped;
use super::kinds::{Kinds, Phase};
use super::matching::Distinguisher;
use super::queue_set::{FlowId, Key, QueueSet, Queuing, Started, Work};
use super::seat_seconds::Nanos;
use super::spec::{LevelSpec, Limits};
use crate::RequestInfo;
use crate::chain::inflight::TooMany;
use crate::clock::Clock;
pub(crate) use seat::Seat;

/// What all levels of a server share.
pub(super) struct Common {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) created: Instant,
    pub(super) kinds: Kinds,
}

impl Common {
    /// Nanoseconds since the server was made.
    pub(super) fn now(&self) -> Nanos {
        let since = self.clock.instant().saturating_duration_since(self.created);
        Nanos::try_from(since.as_nanos()).unwrap_or(Nanos::MAX)
    }
}

/// A level.
pub(crate) struct Level {
    pub(super) name: String,
    common: Arc<Common>,
    state: Mutex<State>,
    /// Seats come free earlier than whoever keeps those that wait knew.
    changed: Notify,
    /// What one request can have at most; zero if nothing is said.
    of_request: AtomicUsize,
}

/// What changes about a level.
pub(super) struct State {
    pub(super) set: QueueSet<Asked>,
    pub(super) spec: LevelSpec,
    /// The level is not configured any more, and goes once it is idle.
    pub(super) is_quiescing: bool,
    pub(super) limits: Limits,
    is_limited: bool,
    pub(super) demand: Demand,
    /// What the last division aimed at.
    pub(super) target: f64,
    dropped: Dropped,
    /// Whether somebody keeps those that wait, and when that one looks next.
    keeper: Option<Nanos>,
    swept: Nanos,
}

/// Who asks for what at a level.
pub(super) struct Asked {
    pub(super) user: Arc<UserInfo>,
    pub(super) info: Arc<RequestInfo>,
    pub(super) by: Option<Distinguisher>,
    seat: Weak<Seat>,
    /// How far its answer was when somebody looked last.
    seen: u32,
    granted: Option<oneshot::Sender<()>>,
}

/// A request that comes to a level.
pub(super) struct Arriving<'r> {
    pub(super) user: &'r Arc<UserInfo>,
    pub(super) info: &'r Arc<RequestInfo>,
    pub(super) by: Option<Distinguisher>,
    pub(super) flow: FlowId,
    /// The hash of its flow.
    pub(super) hash: u64,
    pub(super) work: Work,
    /// How many watch what it changes.
    pub(super) watchers: Option<usize>,
    pub(super) reads: bool,
    pub(super) now: Nanos,
}

impl Level {
    /// A level as it is configured; its limits have yet to be set.
    pub(super) fn new(spec: LevelSpec, common: Arc<Common>) -> Arc<Self> {
        let state = State {
            set: QueueSet::new(spec.queuing, 0, 1, common.now()),
            is_quiescing: false,
            limits: Limits::default(),
            is_limited: false,
            demand: Demand::default(),
            target: 0.0,
            dropped: Dropped::default(),
            keeper: None,
            swept: 0,
            spec,
        };
        Arc::new(Self {
            name: state.spec.name.clone(),
            common,
            state: Mutex::new(state),
            changed: Notify::new(),
            of_request: AtomicUsize::new(0),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// What one request can have at most, if anything is said of it.
    pub(super) fn seats_of_request(&self) -> Option<usize> {
        Some(self.of_request.load(Ordering::Relaxed)).filter(|seats| *seats > 0)
    }

    /// These are the level's limits by its configuration. One that is new begins with what it has without lending all that it
    /// would.
    pub(super) fn set_limits(&self, state: &mut State, limits: Limits, now: Nanos) {
        self.of_request.store(limits.of_request.unwrap_or(0), Ordering::Relaxed);
        state.limits = limits;
        if !std::mem::replace(&mut state.is_limited, true) {
            let limit = limits.nominal - (limits.nominal - limits.min) / 2;
            state.set.configure(state.spec.queuing, limit, limit.max(1), now);
        }
    }

    /// So many seats are the level's now, and figures tell of parts of `seats`.
    pub(super) fn set_limit(&self, state: &mut State, limit: usize, seats: usize, now: Nanos) {
        state.set.configure(state.spec.queuing, limit, seats, now);
        hand_on(state);
    }

    /// Waits for the seats of a request, for no longer than `wait_max`.
    ///
    /// # Errors
    /// [`TooMany`], at once if there is no place to wait.
    pub(super) async fn enter(
        self: &Arc<Self>,
        arriving: Arriving<'_>,
        wait_max: Duration,
        keep: impl FnOnce(Arc<Self>),
    ) -> Result<Arc<Seat>, TooMany> {
        let (flow, reads, now) = (arriving.flow, arriving.reads, arriving.now);
        let seat = Arc::new(Seat::new(self.clone(), reads));
        let (key, granted) = {
            let mut state = self.lock();
            match state.start(arriving, Arc::downgrade(&seat)) {
                Started::Executing(key) => {
                    hand_on(&mut state);
                    drop(state);
                    seat.take(key, now);
                    return Ok(seat);
                }
                Started::Rejected(_) => {
                    hand_on(&mut state);
                    return Err(state.drop_one(&*self.common.clock));
                }
                Started::Waiting(key) => {
                    let (granted, receiver) = oneshot::channel();
                    if let Some(asked) = &mut state.set.requests.get_mut(key).payload {
                        asked.granted = Some(granted);
                    }
                    hand_on(&mut state);
                    if state.keeper.is_none() {
                        state.keeper = Some(now);
                        keep(self.clone());
                    }
                    self.common.kinds.enter(Phase::Waiting, reads, now);
                    (key, receiver)
                }
            }
        };
        let mut line = Line { level: self, key: Some(key), flow, reads, since: now };
        if matches!(tokio::time::timeout(wait_max, granted).await, Ok(Ok(()))) {
            line.key = None;
            drop(line);
            seat.take(key, self.common.now());
            return Ok(seat);
        }
        drop(line);
        Err(self.lock().drop_one(&*self.common.clock))
    }
}

impl State {
    fn start(&mut self, arriving: Arriving<'_>, seat: Weak<Seat>) -> Started {
        let Arriving { user, info, by, flow, hash, work, watchers, now, .. } = arriving;
        self.set.flows.estimated(flow, work.seats(), watchers);
        let asked = Asked { user: user.clone(), info: info.clone(), by, seat, seen: 0, granted: None };
        let started = self.set.start(work, flow, hash, asked, now);
        // Nobody waits for what is exempt.
        if self.spec.queuing != Queuing::Exempt {
            match started {
                Started::Executing(_) => self.set.flows.waited(flow, 0, false),
                Started::Rejected(_) => self.set.flows.waited(flow, 0, true),
                Started::Waiting(_) => {}
            }
        }
        started
    }

    /// One request is refused; when it may come back.
    fn drop_one(&mut self, clock: &dyn Clock) -> TooMany {
        let second = u64::try_from(clock.now().as_second()).unwrap_or(0);
        TooMany { retry_after_seconds: u32::try_from(self.dropped.record(second)).unwrap_or(1) }
    }
}

/// Tells those who were granted their seats.
fn hand_on(state: &mut State) {
    for key in state.set.take_granted() {
        let granted = state.set.requests.get_mut(key).payload.as_mut().and_then(|asked| asked.granted.take());
        // Who does not wait any more gives the seats back itself.
        let _ = granted.map(|granted| granted.send(()));
    }
}

/// One that waits. When it waits no more, and was not granted what it waited for, somebody else's turn may come.
struct Line<'a> {
    level: &'a Arc<Level>,
    key: Option<Key>,
    flow: FlowId,
    reads: bool,
    since: Nanos,
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let now = self.level.common.now();
        let mut state = self.level.lock();
        if let Some(key) = self.key {
            state.set.give_up(key, now);
            hand_on(&mut state);
        }
        state.set.flows.waited(self.flow, now.saturating_sub(self.since), false);
        self.level.common.kinds.leave(Phase::Waiting, self.reads, now);
    }
}

impl std::fmt::Debug for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Level").field("name", &self.name).finish_non_exhaustive()
    }
}
