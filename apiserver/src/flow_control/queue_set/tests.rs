//! Fair queues, by a clock that the test moves.

use std::collections::{BTreeMap, HashSet};

use super::*;

const MS: Nanos = 1_000_000;
const ONE: Work = Work { initial_seats: 1, final_seats: 0, lingers: 0 };
const QUEUES: Queues = Queues { count: 8, hand: 2, length_max: 10 };

fn wide(seats: usize) -> Work {
    Work { initial_seats: seats, ..ONE }
}

/// A set, what time it is, and whom it granted seats.
struct Tried {
    set: QueueSet<u32>,
    now: Nanos,
    flow: FlowId,
}

impl Tried {
    fn new(queuing: Queuing, limit: usize) -> Self {
        let mut set = QueueSet::new(queuing, limit, limit, 0);
        let flow = set.flows.id("schema");
        Self { set, now: 0, flow }
    }

    fn start(&mut self, hash: u64, work: Work) -> Started {
        self.set.start(work, self.flow, hash, hash as u32, self.now)
    }

    fn executes(&mut self, hash: u64, work: Work) -> Key {
        match self.start(hash, work) {
            Started::Executing(key) => key,
            other => panic!("{hash}: {other:?}"),
        }
    }

    fn waits(&mut self, hash: u64, work: Work) -> Key {
        match self.start(hash, work) {
            Started::Waiting(key) => key,
            other => panic!("{hash}: {other:?}"),
        }
    }

    fn finish(&mut self, key: Key) {
        self.set.finish(key, self.now);
    }

    /// The flows of those that were granted seats since the last call.
    fn granted(&mut self) -> Vec<u32> {
        self.set.take_granted().into_iter().map(|key| self.set.requests.get(key).payload.unwrap()).collect()
    }

    /// What holds at any time.
    fn check(&self) {
        let (set, sums) = (&self.set, &self.set.sums);
        let (mut waiting, mut executing, mut in_use, mut wanted) = (0, 0, 0, 0);
        for (_, request) in set.requests.iter() {
            let seats = request.work.seats();
            match request.stage {
                Stage::Waiting => (waiting, wanted) = (waiting + 1, wanted + seats),
                Stage::Executing => (executing, in_use) = (executing + 1, in_use + seats),
                Stage::Lingering => in_use += seats,
            }
        }
        assert_eq!((sums.waiting, sums.executing), (waiting, executing));
        assert_eq!((sums.seats_in_use, sums.seats_waiting), (in_use, wanted));
        assert_eq!(set.queues.iter().map(Queue::waiting).sum::<usize>(), waiting);
        assert_eq!(sums.active_queues, set.queues.iter().filter(|queue| !queue.is_idle()).count());
        let occupied: Vec<usize> = set.occupied.after(0).collect();
        assert!(occupied.iter().all(|index| set.queues[*index].waiting() > 0));
        assert_eq!(occupied.len(), set.queues.iter().filter(|queue| queue.waiting() > 0).count());
    }

    /// Whether nothing is left of any request.
    fn is_empty(&self) -> bool {
        let unused = self.set.queues.iter().all(|queue| queue.is_unused() && queue.work() == SeatSeconds::default());
        unused
            && self.set.holders.is_empty()
            && self.set.requests.iter().count() == 0
            && self.set.next_release().is_none()
    }
}

#[test]
fn nobody_waits_while_there_are_seats() {
    let mut tried = Tried::new(Queuing::Queues(QUEUES), 3);
    let held: Vec<Key> = (0..3).map(|hash| tried.executes(hash, ONE)).collect();
    let fourth = tried.waits(4, ONE);
    tried.check();
    assert!(tried.granted().is_empty());
    tried.now += MS;
    tried.finish(held[0]);
    assert_eq!(tried.granted(), [4]);
    held[1..].iter().chain([&fourth]).for_each(|key| tried.finish(*key));
    assert!(tried.is_empty() && tried.set.is_idle());
    assert_eq!((tried.set.sums.dispatched, tried.set.sums.rejected), (4, 0));
}

#[test]
fn a_full_queue_refuses_and_levels_without_queues_do_at_once() {
    let mut tried = Tried::new(Queuing::Queues(Queues { count: 1, hand: 1, length_max: 2 }), 1);
    tried.executes(1, ONE);
    tried.waits(1, ONE);
    let second = tried.waits(1, ONE);
    assert_eq!(tried.start(1, ONE), Started::Rejected(Rejection::QueueFull));
    tried.set.give_up(second, tried.now);
    tried.waits(1, ONE);
    let mut tried = Tried::new(Queuing::Reject, 2);
    let (first, _) = (tried.executes(1, ONE), tried.executes(1, ONE));
    assert_eq!(tried.start(2, ONE), Started::Rejected(Rejection::ConcurrencyLimit));
    tried.finish(first);
    assert_eq!(tried.start(2, wide(2)), Started::Rejected(Rejection::ConcurrencyLimit));
    tried.executes(2, ONE);
    let mut tried = Tried::new(Queuing::Exempt, 0);
    (0..100).for_each(|_| _ = tried.executes(1, wide(7)));
    assert_eq!(tried.set.sums.seats_in_use, 700);
}

#[test]
fn one_who_asks_much_does_not_pass_one_who_asks_little() {
    // With one card each the two have queues of their own.
    let mut tried = Tried::new(Queuing::Queues(Queues { count: 2, hand: 1, length_max: 100 }), 1);
    let mut held = tried.executes(0, ONE);
    (0..50).for_each(|_| _ = tried.waits(0, ONE));
    tried.waits(1, ONE);
    let mut order = Vec::new();
    for _ in 0..4 {
        tried.now += 10 * MS;
        tried.finish(held);
        let granted = tried.set.take_granted();
        held = granted[0];
        order.push(tried.set.requests.get(held).payload.unwrap());
    }
    assert_eq!(order, [1, 0, 0, 0]);
}

/// Two flows that always have somebody waiting get the same seats times time, whatever each request takes.
#[test]
fn seats_are_divided_by_time_and_width() {
    let mut tried = Tried::new(Queuing::Queues(Queues { count: 2, hand: 1, length_max: 1_000 }), 10);
    let shape = [(wide(1), 10 * MS), (wide(5), 4 * MS)];
    let mut under_way: BTreeMap<(Nanos, Key), usize> = BTreeMap::new();
    let mut served = [0u64; 2];
    for _ in 0..1_000 {
        for (flow, (work, took)) in shape.iter().enumerate() {
            if let Started::Executing(key) = tried.start(flow as u64, *work) {
                under_way.insert((tried.now + took, key), flow);
            }
        }
    }
    for _ in 0..600 {
        let ((ended, key), flow) = under_way.pop_first().unwrap();
        tried.now = ended;
        served[flow] += shape[flow].0.seats() as u64 * shape[flow].1;
        tried.finish(key);
        for key in tried.set.take_granted() {
            let flow = tried.set.requests.get(key).payload.unwrap() as usize;
            under_way.insert((tried.now + shape[flow].1, key), flow);
        }
        tried.check();
    }
    let ratio = served[0] as f64 / served[1] as f64;
    assert!((0.8..1.25).contains(&ratio), "{served:?}");
}

#[test]
fn a_wide_request_waits_for_its_seats_and_one_that_is_too_wide_is_served_alone() {
    let mut tried = Tried::new(Queuing::Queues(Queues { count: 1, hand: 1, length_max: 10 }), 4);
    let (first, second) = (tried.executes(0, ONE), tried.executes(0, ONE));
    let third = tried.waits(0, wide(3));
    tried.waits(0, ONE);
    tried.finish(first);
    assert_eq!(tried.granted().len(), 1, "three and one fit");
    tried.finish(second);
    assert_eq!(tried.granted().len(), 1);
    let large = tried.waits(0, wide(9));
    tried.finish(third);
    assert!(tried.granted().is_empty());
    let last = tried.set.requests.iter().find(|(_, request)| request.stage == Stage::Executing).unwrap().0;
    tried.finish(last);
    assert_eq!(tried.set.take_granted(), [large]);
    tried.waits(0, ONE);
    tried.finish(large);
    assert_eq!(tried.granted().len(), 1);
}

#[test]
fn seats_linger_without_a_timer() {
    let work = Work { initial_seats: 1, final_seats: 2, lingers: 5 * MS };
    let mut tried = Tried::new(Queuing::Queues(Queues { count: 1, hand: 1, length_max: 10 }), 2);
    let first = tried.executes(0, work);
    tried.finish(first);
    assert!(tried.set.is_idle() && tried.set.sums.seats_in_use == 2);
    tried.waits(0, ONE);
    assert_eq!(tried.set.next_release(), Some(5 * MS));
    tried.now = 4 * MS;
    tried.set.advance(tried.now);
    assert!(tried.granted().is_empty());
    // Whoever looks later finds what was due done as of then.
    tried.now = 50 * MS;
    tried.set.advance(tried.now);
    let granted = tried.set.take_granted();
    assert_eq!(tried.set.requests.get(granted[0]).started, 5 * MS);
    tried.finish(granted[0]);
    assert!(tried.is_empty());
    // What wants more seats afterwards than there are has fewer for longer.
    let first = tried.executes(0, Work { initial_seats: 1, final_seats: 8, lingers: 5 * MS });
    tried.finish(first);
    assert_eq!((tried.set.sums.seats_in_use, tried.set.next_release()), (2, Some(70 * MS)));
}

#[test]
fn who_gives_up_leaves_nothing_behind_and_lets_others_pass() {
    let mut tried = Tried::new(Queuing::Queues(Queues { count: 1, hand: 1, length_max: 10 }), 2);
    let first = tried.executes(0, ONE);
    let large = tried.waits(0, wide(2));
    let second = tried.waits(0, ONE);
    tried.set.give_up(large, tried.now);
    assert_eq!(tried.set.take_granted(), [second]);
    // Granted, and gone before it learned of it.
    tried.set.give_up(second, tried.now);
    tried.finish(first);
    assert!(tried.is_empty());
    assert_eq!((tried.set.sums.rejected, tried.set.sums.cancelled), (1, 1));
}

/// Who shares a level has half of it, so that the next who comes need not wait for what takes long.
#[test]
fn a_flow_that_is_alone_has_all_and_one_that_is_not_has_half() {
    let mut tried = Tried::new(Queuing::Queues(Queues { count: 64, hand: 1, length_max: 10 }), 4);
    let held: Vec<Key> = (0..4).map(|_| tried.executes(1, ONE)).collect();
    let bobs = tried.waits(2, ONE);
    let waits: Vec<Key> = (0..2).map(|_| tried.waits(1, ONE)).collect();
    tried.now += MS;
    tried.finish(held[0]);
    assert_eq!(tried.set.take_granted(), [bobs]);
    tried.finish(bobs);
    tried.finish(held[1]);
    assert!(tried.granted().is_empty(), "two are free for others");
    let bobs = [tried.executes(2, ONE), tried.executes(2, ONE)];
    bobs.into_iter().for_each(|key| tried.finish(key));
    tried.finish(held[2]);
    assert_eq!(tried.set.take_granted(), [waits[0]]);
    // Nobody else has come for a while.
    tried.now += 11_000 * MS;
    tried.set.advance(tried.now);
    assert_eq!(tried.set.take_granted(), [waits[1]]);
    tried.executes(1, ONE);
    tried.check();
}

#[test]
fn queues_come_at_once_and_go_when_they_are_empty() {
    let many = Queues { count: 64, hand: 1, length_max: 10 };
    let mut tried = Tried::new(Queuing::Queues(many), 1);
    let held = tried.executes(63, ONE);
    let waits = tried.waits(62, ONE);
    tried.set.configure(Queuing::Queues(Queues { count: 2, ..many }), 1, 1, tried.now);
    assert_eq!(tried.set.queues.len(), 64);
    tried.waits(63, ONE);
    tried.finish(held);
    assert_eq!(tried.set.queues.len(), 63);
    tried.set.configure(Queuing::Reject, 3, 3, tried.now);
    assert_eq!(tried.granted().len(), 2, "who waits is served when the limit is higher");
    tried.finish(waits);
    tried.check();
    assert!(tried.set.queues.len() <= 2);
    assert!(matches!(tried.start(5, ONE), Started::Executing(_)));
}

#[test]
fn the_meter_is_wound_back_in_time() {
    let mut tried = Tried::new(Queuing::Queues(Queues { count: 2, hand: 1, length_max: 9 }), 1_000_000_000);
    let first = tried.executes(0, wide(1_000_000_000));
    let waits = tried.waits(1, ONE);
    for _ in 0..3 {
        tried.now += 100 * 1_000 * MS;
        tried.set.advance(tried.now);
    }
    assert!(tried.set.sums.epochs > 0 && tried.set.meter < SeatSeconds::HIGH);
    tried.finish(first);
    assert_eq!(tried.set.take_granted(), [waits]);
    tried.check();
}

/// Whatever comes, leaves and takes its time: seats never exceed the limit, everybody who does not give up is served, and
/// in the end nothing is left.
#[test]
fn no_course_of_events_breaks_it() {
    for seed in 0..60u64 {
        let mut state = seed * 7_919 + 1;
        let mut next = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let queues =
            Queues { count: 1 + next(9) as usize, hand: 1 + next(3) as usize, length_max: 1 + next(6) as usize };
        let mut limit = 1 + next(8) as usize;
        let mut tried = Tried::new(Queuing::Queues(queues), limit);
        let (mut waiting, mut executing): (HashSet<Key>, Vec<Key>) = (HashSet::new(), Vec::new());
        for _ in 0..400 {
            tried.now += next(6) * MS;
            // What was due before a lower limit counts happens under the higher one.
            let before = tried.set.sums.seats_in_use.max(limit);
            match next(10) {
                0..5 => {
                    let work = Work {
                        initial_seats: 1 + next(3) as usize,
                        final_seats: next(12) as usize,
                        lingers: if next(3) == 0 { next(9) * MS } else { 0 },
                    };
                    match tried.start(next(30), work) {
                        Started::Executing(key) => executing.push(key),
                        Started::Waiting(key) => assert!(waiting.insert(key)),
                        Started::Rejected(why) => assert_eq!(why, Rejection::QueueFull),
                    }
                }
                5..8 if !executing.is_empty() => {
                    let key = executing.swap_remove(next(executing.len() as u64) as usize);
                    tried.finish(key);
                }
                8 => {
                    if let Some(key) = waiting.iter().copied().min() {
                        tried.set.give_up(key, tried.now);
                        // It may have been granted its seats by what was due before, and has given them back.
                        waiting.remove(&key);
                    }
                }
                _ => {
                    limit = 1 + next(8) as usize;
                    tried.set.configure(Queuing::Queues(queues), limit, limit, tried.now);
                }
            }
            for key in tried.set.take_granted() {
                assert!(waiting.remove(&key));
                executing.push(key);
            }
            let sums = tried.set.sums;
            assert!(sums.seats_in_use <= limit.max(before) || sums.executing == 1, "{before}, {sums:?} of {limit}");
            tried.check();
        }
        drain(&mut tried, &mut waiting, &mut executing);
    }
}

/// Lets everybody be served; the limit is not exceeded but by one who wants more than there are, alone.
fn drain(tried: &mut Tried, waiting: &mut HashSet<Key>, executing: &mut Vec<Key>) {
    for _ in 0..10_000 {
        if let Some(key) = executing.pop() {
            tried.finish(key);
        }
        tried.now += 20 * MS;
        let before = tried.set.sums;
        tried.set.advance(tried.now);
        for key in tried.set.take_granted() {
            assert!(waiting.remove(&key));
            executing.push(key);
        }
        let sums = tried.set.sums;
        let fits =
            sums.seats_in_use <= tried.set.limit() || sums.executing <= 1 || sums.seats_in_use <= before.seats_in_use;
        assert!(fits, "{sums:?} of {}", tried.set.limit());
        tried.check();
        if waiting.is_empty() && executing.is_empty() {
            break;
        }
    }
    tried.now += 1_000 * MS;
    tried.set.advance(tried.now);
    assert!(tried.is_empty() && waiting.is_empty() && executing.is_empty(), "{:?}", tried.set.sums);
}
