//! The fair queues of one priority level, as a plain machine: whoever calls says what time it is, and asks afterwards whom
//! it granted seats (`queueSet` in apiserver's `util/flowcontrol/fairqueuing/queueset`).
//!
//! A progress meter runs as fast as a queue that always has something to do gets seats. Each queue knows the reading at which its
//! next request would begin if seats could be divided like that; among the queues that have somebody waiting the one whose
//! next request would *end* first is served. How long a request takes is guessed, and put right when it has ended.
//!
//! A request may linger: its seats come free only some time after it has ended, for the work that it leaves behind. No timer
//! is needed for that: whatever happens next looks first whose time is over, and does things as of the time at which they were due.

mod dispatch;
mod flows;
mod holders;
mod queue;
mod slots;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::dealer::Dealer;
use super::demand::Integrator;
use super::seat_seconds::{Nanos, SeatSeconds};
pub(super) use flows::{FlowId, Flows, Rejection, Utilization};
use holders::Holders;
pub(super) use queue::Queue;
use queue::Waiting;
use slots::Slots;
pub(super) use slots::{Key, Stage};

/// How long a request is guessed to take (`estimatedServiceDuration`).
const SERVICE_GUESS: Nanos = 3_000_000;
/// How many queues a level has at most: far more than flows that could be told apart by them.
const QUEUES_MAX: usize = 16_384;

/// What becomes of requests that find no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queuing {
    /// There are none: no limit holds.
    Exempt,
    /// They are refused.
    Reject,
    /// They wait.
    Queues(Queues),
}

/// The queues of a level, as its configuration has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Queues {
    pub(super) count: usize,
    /// How many of them one flow may use.
    pub(super) hand: usize,
    /// How many may wait in each.
    pub(super) length_max: usize,
}

/// The work of a request (`WorkEstimate`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work {
    /// The seats that it has while it is served.
    pub(crate) initial_seats: usize,
    /// The seats that it has afterwards.
    pub(crate) final_seats: usize,
    /// For how long it has them.
    pub(crate) lingers: Nanos,
}

/// A request that waits, is served, or lingers.
#[derive(Debug)]
pub(super) struct Request<P> {
    pub(super) work: Work,
    /// All of its work, and what it leaves behind.
    total: SeatSeconds,
    after: SeatSeconds,
    pub(super) flow: FlowId,
    hash: u64,
    /// None if it came to a level without queues.
    pub(super) queue: Option<usize>,
    pub(super) stage: Stage,
    pub(super) arrived: Nanos,
    arrived_at: SeatSeconds,
    /// When it began to be served.
    pub(super) started: Nanos,
    /// Who asks for what; nothing of one that lingers.
    pub(super) payload: Option<P>,
}

/// What became of a request that has just come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Started {
    Executing(Key),
    Waiting(Key),
    Rejected(Rejection),
}

/// How many there are now.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) waiting: usize,
    pub(super) executing: usize,
    pub(super) seats_in_use: usize,
    pub(super) seats_waiting: usize,
    /// Of the seats in use, those of requests that came through a queue.
    queued_seats_in_use: usize,
    /// Queues that have somebody who waits or is served.
    active_queues: usize,
    pub(super) dispatched: u64,
    pub(super) rejected: u64,
    pub(super) cancelled: u64,
    pub(super) epochs: u64,
}

/// The readings of the last dispatch, for the figures.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Readings {
    pub(super) dispatch: SeatSeconds,
    pub(super) start: SeatSeconds,
    /// The least and the most of those that waited.
    pub(super) starts: [SeatSeconds; 2],
    /// The same less what is thought to be under way.
    pub(super) discounted: [SeatSeconds; 2],
}

/// The fair queues of one level; `P` is whatever belongs to a request.
#[derive(Debug)]
pub(super) struct QueueSet<P> {
    queuing: Queuing,
    dealer: Dealer,
    length_max: usize,
    limit: usize,
    /// Those that are too many are last, and go when they are empty.
    pub(super) queues: Vec<Queue>,
    /// The numbers of queues in which somebody waits.
    occupied: Waiting,
    pub(super) requests: Slots<Request<P>>,
    holders: Holders,
    lingering: BinaryHeap<Reverse<(Nanos, Key)>>,
    granted: Vec<Key>,
    /// The progress meter, and when it was read.
    pub(super) meter: SeatSeconds,
    now: Nanos,
    /// The queue that was served last.
    robin: usize,
    enqueued: usize,
    pub(super) sums: Sums,
    pub(super) readings: Option<Readings>,
    pub(super) flows: Flows,
    pub(super) demand: Integrator,
    pub(super) utilization: Utilization,
}

impl Work {
    /// The most seats that it has at any time.
    pub(crate) fn seats(&self) -> usize {
        self.initial_seats.max(self.final_seats)
    }
}

impl<P> QueueSet<P> {
    /// Queues of a level, as of a time.
    pub(super) fn new(queuing: Queuing, limit: usize, seats: usize, now: Nanos) -> Self {
        let mut set = Self {
            queuing,
            dealer: Dealer::new(1, 1),
            length_max: 0,
            limit,
            queues: Vec::new(),
            occupied: Waiting::default(),
            requests: Slots::default(),
            holders: Holders::default(),
            lingering: BinaryHeap::new(),
            granted: Vec::new(),
            meter: SeatSeconds::default(),
            now,
            robin: 0,
            enqueued: 0,
            sums: Sums::default(),
            readings: None,
            flows: Flows::default(),
            demand: Integrator::default(),
            utilization: Utilization::default(),
        };
        set.configure(queuing, limit, seats, now);
        set
    }

    /// From now on these queues and this limit count, and figures tell of parts of so many seats. Who waits goes on waiting,
    /// also if there are no queues any more.
    pub(super) fn configure(&mut self, queuing: Queuing, limit: usize, seats: usize, now: Nanos) {
        self.advance(now);
        let mut places = self.length_max;
        if let Queuing::Queues(queues) = queuing {
            let count = queues.count.clamp(1, QUEUES_MAX);
            self.dealer = Dealer::new(count, queues.hand);
            self.length_max = queues.length_max;
            places = count * self.length_max;
            self.queues.resize_with(count.max(self.queues.len()), Queue::default);
        }
        (self.queuing, self.limit) = (queuing, limit);
        self.utilization.measure_by(seats, places);
        self.drop_surplus();
        self.dispatch_all();
    }

    /// The limit that counts now.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether nobody waits or is served; some may linger.
    pub(super) fn is_idle(&self) -> bool {
        self.sums.waiting == 0 && self.sums.executing == 0
    }

    /// When seats come free without anybody doing anything.
    pub(super) fn next_release(&self) -> Option<Nanos> {
        self.lingering.peek().map(|Reverse((due, _))| *due)
    }

    /// Those who waited and were granted their seats, the earliest first.
    pub(super) fn take_granted(&mut self) -> Vec<Key> {
        // What is empty keeps its room.
        if self.granted.is_empty() { Vec::new() } else { std::mem::take(&mut self.granted) }
    }

    /// It is `now`, and whatever was due before has happened.
    pub(super) fn advance(&mut self, now: Nanos) {
        while let Some(Reverse((due, key))) = self.lingering.peek().copied().filter(|Reverse((due, _))| *due <= now) {
            self.lingering.pop();
            self.pass_to(due);
            self.release(key);
            self.dispatch_all();
        }
        let shared_until = self.holders.shared_until(self.now).filter(|until| *until <= now);
        self.pass_to(now);
        // Whoever is alone now can have more.
        if shared_until.is_some() {
            self.dispatch_all();
        }
    }

    /// A request comes, of a flow that has this hash.
    pub(super) fn start(&mut self, work: Work, flow: FlowId, hash: u64, payload: P, now: Nanos) -> Started {
        self.advance(now);
        let after = SeatSeconds::of(work.final_seats as f64, work.lingers);
        let request = Request {
            total: SeatSeconds::of(work.initial_seats as f64, SERVICE_GUESS) + after,
            work,
            after,
            flow,
            hash,
            queue: None,
            stage: Stage::Waiting,
            arrived: now,
            arrived_at: self.meter,
            started: now,
            payload: Some(payload),
        };
        if matches!(self.queuing, Queuing::Queues(_)) { self.enqueue(request) } else { self.start_at_once(request) }
    }

    /// A request waits no longer, or was granted seats that it has no use for.
    pub(super) fn give_up(&mut self, key: Key, now: Nanos) {
        self.advance(now);
        match self.requests.get(key).stage {
            Stage::Waiting => {
                let request = self.requests.remove(key);
                self.unqueue(key, &request);
                self.drop_surplus();
                self.sums.rejected += 1;
                self.sums.cancelled += 1;
                self.flows.rejected(request.flow, Rejection::Timeout);
                self.note_demand();
                // Who stood behind a request that wants many seats may be content with fewer.
                self.dispatch_all();
            }
            Stage::Executing => {
                self.granted.retain(|granted| *granted != key);
                self.end(key);
            }
            Stage::Lingering => {}
        }
    }

    /// A request has been served.
    pub(super) fn finish(&mut self, key: Key, now: Nanos) {
        self.advance(now);
        self.end(key);
    }

    fn end(&mut self, key: Key) {
        let request = self.requests.get_mut(key);
        request.payload = None;
        request.stage = Stage::Lingering;
        let (work, started, queue, flow) = (request.work, request.started, request.queue, request.flow);
        self.sums.executing -= 1;
        self.flows.ended(flow);
        if let Some(index) = queue {
            let took = self.now.saturating_sub(started);
            let of = |span: Nanos| SeatSeconds::of(work.initial_seats as f64, span);
            let queue = &mut self.queues[index];
            queue.next = queue.next + of(took.saturating_sub(SERVICE_GUESS)) - of(SERVICE_GUESS.saturating_sub(took));
            self.change(index, |queue| queue.executing -= 1);
            self.bound(index);
        }
        if work.lingers > 0 {
            self.lingering.push(Reverse((self.now + work.lingers, key)));
        } else {
            self.release(key);
        }
        self.dispatch_all();
    }

    /// The seats of a request come free.
    fn release(&mut self, key: Key) {
        let request = self.requests.remove(key);
        let seats = request.work.seats();
        self.sums.seats_in_use -= seats;
        self.flows.released(request.flow, seats);
        if let Some(queue) = request.queue {
            self.sums.queued_seats_in_use -= seats;
            self.queues[queue].seats_in_use -= seats;
            self.holders.gave(request.hash, seats);
            self.drop_surplus();
        }
        self.note_demand();
    }

    /// The state has been what it is until now (`syncTimeLocked`).
    fn pass_to(&mut self, now: Nanos) {
        let span = now.saturating_sub(self.now);
        if span == 0 {
            return;
        }
        self.now = now;
        let sums = &self.sums;
        self.utilization.pass(sums, span);
        self.demand.pass(span);
        if sums.active_queues > 0 {
            let wanted = sums.queued_seats_in_use + sums.seats_waiting;
            let rate = wanted.min(self.limit) as f64 / sums.active_queues as f64;
            self.meter = self.meter + SeatSeconds::of(rate, span);
            if self.meter >= SeatSeconds::HIGH {
                self.wind_back();
            }
        }
    }

    /// Begins a new epoch: every reading goes back by the same (`advanceEpoch`).
    fn wind_back(&mut self) {
        self.sums.epochs += 1;
        self.meter = self.meter.wound_back();
        self.queues.iter_mut().for_each(|queue| queue.next = queue.next.wound_back());
        for request in self.requests.iter_mut() {
            request.arrived_at = request.arrived_at.wound_back();
        }
    }

    fn note_demand(&mut self) {
        self.demand.set((self.sums.seats_in_use + self.sums.seats_waiting) as f64);
    }
}

#[cfg(test)]
mod tests;
