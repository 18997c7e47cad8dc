//! Who gets seats: into which queue a request goes, and which is served next.

use super::{
    FlowId, QUEUES_MAX, Queue, QueueSet, Queuing, Readings, Rejection, Request, SERVICE_GUESS, Stage, Started,
};
use crate::flow_control::queue_set::slots::Key;
use crate::flow_control::seat_seconds::SeatSeconds;

impl<P> QueueSet<P> {
    pub(super) fn start_at_once(&mut self, request: Request<P>) -> Started {
        if !self.accommodates(request.work.seats()) {
            return self.reject(request.flow, Rejection::ConcurrencyLimit);
        }
        let key = self.requests.insert(request);
        self.execute(key);
        self.note_demand();
        Started::Executing(key)
    }

    fn reject(&mut self, flow: FlowId, why: Rejection) -> Started {
        self.sums.rejected += 1;
        self.flows.rejected(flow, why);
        Started::Rejected(why)
    }

    pub(super) fn enqueue(&mut self, mut request: Request<P>) -> Started {
        self.holders.came(request.hash, self.now);
        let index = self.choose(request.hash);
        let queue = &mut self.queues[index];
        // Nobody waits for whom there are seats. The reference lets a queue grow while some are free that its first request,
        // which wants more, does not get.
        if queue.waiting() >= self.length_max.max(1) {
            return self.reject(request.flow, Rejection::QueueFull);
        }
        if queue.is_idle() {
            queue.next = self.meter;
        }
        request.queue = Some(index);
        let (flow, seats, initial, total) =
            (request.flow, request.work.seats(), request.work.initial_seats, request.total);
        let key = self.requests.insert(request);
        self.change(index, |queue| queue.push(key, [initial, seats], total));
        self.occupied.insert(index);
        self.bound(index);
        self.sums.waiting += 1;
        self.sums.seats_waiting += seats;
        self.flows.queued(flow, seats, self.queues[index].waiting());
        self.dispatch_all();
        self.note_demand();
        match self.requests.get(key).stage {
            Stage::Waiting => Started::Waiting(key),
            Stage::Executing | Stage::Lingering => {
                self.granted.retain(|granted| *granted != key);
                Started::Executing(key)
            }
        }
    }

    /// The queue of the hand with the least work waiting (`shuffleShardLocked`).
    fn choose(&mut self, hash: u64) -> usize {
        let hand = self.dealer.deal(hash);
        let cards = hand.cards();
        // Whose hands overlap should not all begin with the same card.
        let offset = self.enqueued % cards.len();
        self.enqueued = self.enqueued.wrapping_add(1);
        let in_turn = cards[offset..].iter().chain(&cards[..offset]).copied();
        in_turn.min_by_key(|index| self.queues[*index].work()).unwrap_or_default()
    }

    /// A request does not stand in its queue any more.
    pub(super) fn unqueue(&mut self, key: Key, request: &Request<P>) {
        let Some(index) = request.queue else { return };
        let (seats, work) = ([request.work.initial_seats, request.work.seats()], request.total);
        self.change(index, |queue| queue.remove(key, seats, work));
        if self.queues[index].waiting() == 0 {
            self.occupied.remove(index);
        }
        self.bound(index);
        self.sums.waiting -= 1;
        self.sums.seats_waiting -= request.work.seats();
        self.flows.unqueued(request.flow, request.work.seats());
    }

    /// Serves as many of those who wait as there are seats for.
    pub(super) fn dispatch_all(&mut self) {
        while self.sums.waiting > 0 && self.sums.seats_in_use < self.limit && self.dispatch() {}
    }

    /// Serves the request that would end first, if there are seats for it (`findDispatchQueueToBoundLocked`).
    fn dispatch(&mut self) -> bool {
        let Some((index, readings)) = self.next() else { return false };
        let Some(key) = self.queues[index].first() else { return false };
        let request = self.requests.get(key);
        if !self.accommodates(request.work.seats()) {
            let flow = request.flow;
            self.flows.not_accommodated(flow);
            return false;
        }
        let mut request = self.requests.take(key);
        self.unqueue(key, &request);
        // As much work as before, by no more seats than there are.
        if request.work.final_seats > self.limit {
            request.work.final_seats = self.limit;
            request.work.lingers = request.after.per_seat(self.limit as f64);
        }
        (self.robin, self.readings) = (index, Some(readings));
        let total = request.total;
        self.requests.put(key, request);
        self.execute(key);
        let queue = &mut self.queues[index];
        queue.next = queue.next + total;
        self.bound(index);
        self.granted.push(key);
        self.note_demand();
        true
    }

    /// The queue whose first request would end first, in turn where several would at once, and what the figures say of it.
    fn next(&self) -> Option<(usize, Readings)> {
        let mut best: Option<(SeatSeconds, usize)> = None;
        let mut readings = Readings { dispatch: self.meter, ..Readings::default() };
        let (mut starts, mut discounted) =
            ([SeatSeconds::MAX, SeatSeconds::default()], [SeatSeconds::MAX, SeatSeconds::default()]);
        let is_shared = self.holders.is_shared(self.now);
        for index in self.occupied.after(self.robin) {
            let queue = &self.queues[index];
            let Some(first) = queue.first() else { continue };
            let request = self.requests.get(first);
            if is_shared && self.holders.is_full(request.hash, request.work.seats(), self.limit) {
                continue;
            }
            let under_way = SeatSeconds::of(queue.seats_in_use as f64, SERVICE_GUESS);
            starts = [starts[0].min(queue.next), starts[1].max(queue.next)];
            let less = queue.next - under_way;
            discounted = [discounted[0].min(less), discounted[1].max(less)];
            let end = queue.next + request.total;
            if best.is_none_or(|(known, _)| end < known) {
                best = Some((end, index));
                readings.start = queue.next;
            }
        }
        (readings.starts, readings.discounted) = (starts, discounted);
        best.map(|(_, index)| (index, readings))
    }

    /// Whether so many seats are free (`canAccommodateSeatsLocked`). Who wants more than there are is served alone.
    fn accommodates(&self, seats: usize) -> bool {
        match self.queuing {
            Queuing::Exempt => true,
            _ if seats > self.limit => self.sums.executing == 0,
            _ => self.sums.seats_in_use + seats <= self.limit,
        }
    }

    /// A request begins to be served.
    fn execute(&mut self, key: Key) {
        let now = self.now;
        let request = self.requests.get_mut(key);
        (request.stage, request.started) = (Stage::Executing, now);
        let (flow, hash, seats, queue) = (request.flow, request.hash, request.work.seats(), request.queue);
        self.sums.executing += 1;
        self.sums.seats_in_use += seats;
        self.sums.dispatched += 1;
        self.flows.began(flow, seats);
        if let Some(index) = queue {
            self.sums.queued_seats_in_use += seats;
            self.holders.took(hash, seats);
            self.change(index, |queue| {
                queue.executing += 1;
                queue.seats_in_use += seats;
            });
        }
    }

    /// No request begins before it has come, also where a queue has used less than it could (`boundNextDispatchLocked`).
    pub(super) fn bound(&mut self, index: usize) {
        if let Some(first) = self.queues[index].first() {
            let arrived = self.requests.get(first).arrived_at;
            let queue = &mut self.queues[index];
            queue.next = queue.next.max(arrived);
        }
    }

    pub(super) fn change(&mut self, index: usize, change: impl FnOnce(&mut Queue)) {
        let queue = &mut self.queues[index];
        let was_idle = queue.is_idle();
        change(queue);
        match (was_idle, queue.is_idle()) {
            (true, false) => self.sums.active_queues += 1,
            (false, true) => self.sums.active_queues -= 1,
            _ => {}
        }
    }

    /// Queues that are too many go when nobody is in them.
    pub(super) fn drop_surplus(&mut self) {
        let wanted = match self.queuing {
            Queuing::Queues(queues) => queues.count.clamp(1, QUEUES_MAX),
            Queuing::Reject | Queuing::Exempt => 0,
        };
        while self.queues.len() > wanted && self.queues.last().is_some_and(Queue::is_unused) {
            self.queues.pop();
        }
    }
}
