//! How many seats each flow has, so that none has all of them where several come.
//!
//! Fair queues divide what comes free; they take nothing away. A flow whose requests keep their seats for long (large answers,
//! slow clients, webhooks that hang) would have all of them before another comes, who waits until one of them is over.
//! So a flow that shares its level has no more than half of the seats; one that is alone has all. The reference has no such
//! bound.

use std::collections::HashMap;

use crate::flow_control::seat_seconds::Nanos;

/// For how long a flow that came shares the level.
const SHARED_SPAN: Nanos = 10_000_000_000;
/// What a flow has at most of the seats of a level that it shares, in percent.
const SHARE_PERCENT: usize = 50;

/// The seats of flows by their hash.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    seats: HashMap<u64, usize>,
    /// The two flows that came last, and when.
    recent: [Option<(u64, Nanos)>; 2],
}

impl Holders {
    /// A request of a flow comes.
    pub(super) fn came(&mut self, flow: u64, now: Nanos) {
        if self.recent[0].is_none_or(|(last, _)| last != flow) {
            self.recent.swap(0, 1);
        }
        self.recent[0] = Some((flow, now));
    }

    /// Whether several flows came lately.
    pub(super) fn is_shared(&self, now: Nanos) -> bool {
        self.recent[1].is_some_and(|(_, came)| now.saturating_sub(came) < SHARED_SPAN)
    }

    /// When it is shared no more, if it is.
    pub(super) fn shared_until(&self, now: Nanos) -> Option<Nanos> {
        self.recent[1].filter(|_| self.is_shared(now)).map(|(_, came)| came + SHARED_SPAN)
    }

    /// Whether a flow has as many seats of a shared level as it can have. One that has none always gets what it asks for.
    pub(super) fn is_full(&self, flow: u64, seats: usize, limit: usize) -> bool {
        let max = (limit * SHARE_PERCENT).div_ceil(100);
        self.seats.get(&flow).is_some_and(|has| has + seats > max)
    }

    pub(super) fn took(&mut self, flow: u64, seats: usize) {
        *self.seats.entry(flow).or_default() += seats;
    }

    pub(super) fn gave(&mut self, flow: u64, seats: usize) {
        if let Some(has) = self.seats.get_mut(&flow) {
            *has -= seats;
            if *has == 0 {
                self.seats.remove(&flow);
            }
        }
    }

    /// Whether no flow has anything.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_shared_by_whoever_came_lately() {
        let mut holders = Holders::default();
        let mut came = |flow: u64, now: Nanos| {
            holders.came(flow, now);
            holders.is_shared(now)
        };
        assert!(!came(1, 0) && !came(1, 5));
        assert!(came(2, 10) && came(2, 20) && came(1, 30) && came(1, SHARED_SPAN));
        assert!(!came(1, SHARED_SPAN + 20), "the other came too long ago");
        assert!(came(3, SHARED_SPAN + 21) && came(1, SHARED_SPAN + 22));
    }

    #[test]
    fn no_flow_has_more_than_half_unless_one_request_wants_more() {
        let mut holders = Holders::default();
        assert!(!holders.is_full(1, 9, 5));
        holders.took(1, 2);
        assert!(!holders.is_full(1, 1, 5) && holders.is_full(1, 2, 5) && !holders.is_full(2, 2, 5));
        holders.gave(1, 2);
        assert!(!holders.is_full(1, 9, 5) && holders.is_empty());
    }
}
