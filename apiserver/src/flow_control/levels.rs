//! All levels of a server: which there are, and how its seats are divided among them (`configController` in apiserver's
//! `util/flowcontrol`).
//!
//! Seats are lent every ten seconds, by what each level could have used. No timer does that: whoever comes with a request
//! finds that it is due, and what was due while nobody came is caught up with, as nothing has changed meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use store::Revision;

use super::allocation::{Impossible, Wish, divide};
use super::level::{Common, Level, State};
use super::queue_set::Queuing;
use super::seat_seconds::Nanos;
use super::spec::LevelSpec;

/// How often seats are divided anew (`borrowingAdjustmentPeriod`).
pub(super) const PERIOD: Nanos = 10_000_000_000;
/// The part of the server's seats that figures of a level without any are told in, as a divisor.
const SEATLESS_PART: usize = 10;

/// The levels, and when they were looked at.
pub(super) struct Levels {
    common: Arc<Common>,
    /// The seats of the server.
    total: usize,
    pub(super) by_name: BTreeMap<String, Arc<Level>>,
    /// As of when they are configured.
    pub(super) revision: Revision,
    /// What all of them have nominally: more than there is, as each is rounded up.
    nominal_sum: usize,
    /// When seats were divided last.
    divided: Nanos,
    /// What fraction of its target each got whom no bound stopped.
    pub(super) fraction: f64,
}

/// What a level gets in a division.
struct Part {
    level: Arc<Level>,
    /// None for an exempt level.
    wish: Option<Wish>,
    min: usize,
    /// The least that it gets where there is enough for all.
    low: usize,
    seats: usize,
}

impl Levels {
    /// No levels yet, of a server with so many seats.
    pub(super) fn new(total: usize, common: Arc<Common>) -> Self {
        let by_name = BTreeMap::new();
        Self { common, total, by_name, revision: 0, nominal_sum: 0, divided: 0, fraction: 0.0 }
    }

    /// When seats have to be divided next.
    pub(super) fn due(&self) -> Nanos {
        self.divided + PERIOD
    }

    /// These levels there are from now on, and those that still have requests (`lockAndDigestConfigObjects`).
    pub(super) fn configure(&mut self, specs: &[LevelSpec]) {
        let is_same = |spec: &LevelSpec| {
            let level = self.by_name.get(&spec.name);
            level.map(|level| level.lock()).is_some_and(|state| state.spec == *spec && !state.is_quiescing)
        };
        if specs.len() == self.by_name.len() && specs.iter().all(is_same) {
            return;
        }
        let mut wanted: BTreeMap<&str, &LevelSpec> = specs.iter().map(|spec| (spec.name.as_str(), spec)).collect();
        self.by_name.retain(|name, level| {
            let mut state = level.lock();
            state.is_quiescing = !wanted.contains_key(name.as_str());
            !state.is_quiescing || !state.set.is_idle()
        });
        for (name, level) in &self.by_name {
            if let Some(spec) = wanted.remove(name.as_str()) {
                level.lock().spec = spec.clone();
            }
        }
        for spec in wanted.into_values() {
            self.by_name.insert(spec.name.clone(), Level::new(spec.clone(), self.common.clone()));
        }
        self.set_limits();
    }

    /// Gives the levels that there are now their seats (`finishQueueSetReconfigsLocked`).
    fn set_limits(&mut self) {
        let now = self.common.now();
        let shares = self.by_name.values().map(|level| level.lock().spec.shares).sum();
        let mut places = 0usize;
        self.nominal_sum = 0;
        for level in self.by_name.values() {
            let mut state = level.lock();
            let limits = state.spec.limits(self.total, shares);
            self.nominal_sum += limits.nominal;
            if let Queuing::Queues(queues) = state.spec.queuing {
                places = places.saturating_add(queues.count.saturating_mul(queues.length_max));
            }
            level.set_limits(&mut state, limits, now);
        }
        self.common.kinds.measure_by(places, self.nominal_sum);
        self.divide(now, [(now, 1), (now, 0)]);
    }

    /// Divides the seats anew if that is due.
    pub(super) fn adjust(&mut self, now: Nanos) {
        let periods = now.saturating_sub(self.divided) / PERIOD;
        if periods == 0 {
            return;
        }
        let (first, last) = (self.divided + PERIOD, self.divided + periods * PERIOD);
        self.divided = last;
        self.divide(now, [(first, 1), (last, periods - 1)]);
        self.reap();
    }

    /// Levels that are not configured any more go when nobody needs them.
    fn reap(&mut self) {
        let before = self.by_name.len();
        self.by_name.retain(|_, level| {
            let state = level.lock();
            !state.is_quiescing || !state.set.is_idle()
        });
        if self.by_name.len() < before {
            self.set_limits();
        }
    }

    /// Divides the seats by what was seen until each of these times, which stand for so many periods
    /// (`updateBorrowingLocked`).
    fn divide(&mut self, now: Nanos, seen: [(Nanos, u64); 2]) {
        let mut parts: Vec<Part> = self.by_name.values().map(|level| part(level, seen)).collect();
        let sum = |of: fn(&Part) -> usize| parts.iter().filter(|part| part.wish.is_some()).map(of).sum::<usize>();
        let (min, low) = (sum(|part| part.min), sum(|part| part.low));
        let exempt: usize = parts.iter().filter(|part| part.wish.is_none()).map(|part| part.low).sum();
        let left = self.nominal_sum.saturating_sub(exempt);
        self.fraction = 0.0;
        if left <= min {
            parts.iter_mut().filter(|part| part.wish.is_some()).for_each(|part| part.seats = part.min);
        } else if left <= low {
            let fraction = (left - min) as f64 / (low - min) as f64;
            for part in parts.iter_mut().filter(|part| part.wish.is_some()) {
                part.seats = part.min + ((part.low - part.min) as f64 * fraction).round() as usize;
            }
        } else {
            let wishes: Vec<Wish> = parts.iter().filter_map(|part| part.wish).collect();
            // What exempt levels have is not taken off here: they are not held to it.
            match divide(self.nominal_sum as f64, &wishes) {
                Ok(division) => {
                    self.fraction = division.fraction;
                    let limited = parts.iter_mut().filter(|part| part.wish.is_some());
                    limited.zip(division.seats).for_each(|(part, seats)| part.seats = seats.round() as usize);
                }
                Err(Impossible) => tracing::error!(?wishes, "seats could not be divided; the limits stay as they are"),
            }
        }
        for part in parts {
            self.give(&mut part.level.lock(), &part, now);
        }
    }

    fn give(&self, state: &mut State, part: &Part, now: Nanos) {
        state.target = part.wish.map_or(part.low as f64, |wish| wish.target);
        let seats = if part.seats > 0 { part.seats } else { (self.total / SEATLESS_PART).max(1) };
        part.level.set_limit(state, part.seats, seats, now);
    }
}

/// What a level gets at least and would get, by what was seen.
fn part(level: &Arc<Level>, seen: [(Nanos, u64); 2]) -> Part {
    let mut state = level.lock();
    for (until, periods) in seen.into_iter().filter(|(_, periods)| *periods > 0) {
        state.set.advance(until);
        let observed = state.set.demand.reset();
        state.demand.learn(observed, periods);
    }
    let (limits, demand) = (state.limits, state.demand);
    let low = |most: usize| limits.min.max(most);
    if state.spec.is_exempt() {
        let low = low(demand.high);
        return Part { level: level.clone(), wish: None, min: limits.min, low, seats: low };
    }
    let low = low(limits.nominal.min(demand.high));
    let wish = Wish { low: low as f64, high: limits.max as f64, target: demand.smoothed.max(low as f64) };
    Part { level: level.clone(), wish: Some(wish), min: limits.min, low, seats: state.set.limit() }
}
