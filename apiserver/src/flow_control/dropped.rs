//! When a client that was refused may come back: the later, the more were refused lately (`droppedRequestsStats` in
//! apiserver's `util/flowcontrol`).

use std::collections::VecDeque;

/// The longest time, in seconds (`maxRetryAfter`).
const RETRY_SECONDS_MAX: u64 = 32;

/// The refusals of one level by seconds of the wall clock.
#[derive(Debug)]
pub(super) struct Dropped {
    /// Earlier seconds, the oldest first, and how many were refused in each. No more than the longest time has.
    history: VecDeque<(u64, u64)>,
    second: u64,
    count: u64,
    retry_seconds: u64,
    raised: u64,
}

impl Default for Dropped {
    fn default() -> Self {
        Self { history: VecDeque::new(), second: 0, count: 0, retry_seconds: 1, raised: 0 }
    }
}

impl Dropped {
    /// One is refused in this second; in how many it may come back.
    pub(super) fn record(&mut self, second: u64) -> u64 {
        if second == self.second {
            self.count += 1;
            return self.retry_seconds;
        }
        self.history.push_back((self.second, self.count));
        let oldest = self.second.saturating_sub((2 * self.retry_seconds).min(RETRY_SECONDS_MAX));
        while self.history.pop_front_if(|(of, _)| *of < oldest).is_some() {}
        (self.second, self.count) = (second, 1);
        self.adjust();
        self.retry_seconds
    }

    /// Doubles the time after many refusals within it, and lowers it by a second after few.
    fn adjust(&mut self) {
        let begin = self.second.saturating_sub(self.retry_seconds);
        let lately = self.history.iter().filter(|(of, _)| (begin..self.second).contains(of));
        let refused: u64 = lately.map(|(_, count)| count).sum();
        if refused >= 3 * self.retry_seconds && self.second.saturating_sub(self.raised) >= self.retry_seconds {
            self.retry_seconds = (2 * self.retry_seconds).min(RETRY_SECONDS_MAX);
            self.raised = self.second;
        } else if refused < self.retry_seconds && self.retry_seconds > 1 {
            self.retry_seconds -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_doubles_under_pressure_and_shrinks_after() {
        let mut dropped = Dropped::default();
        let mut at = |second: u64, count: u64| (0..count).map(|_| dropped.record(second)).last().unwrap();
        assert_eq!(at(100, 3), 1);
        assert_eq!(at(101, 9), 2);
        assert_eq!(at(102, 9), 2, "not raised again before the time is over");
        assert_eq!(at(103, 9), 4);
        assert_eq!(at(107, 100), 4, "few in the last four seconds");
        assert_eq!((108..200).map(|second| at(second, 200)).max(), Some(RETRY_SECONDS_MAX));
        assert_eq!(at(400, 1), 31);
        assert_eq!((500..1_500).step_by(10).map(|second| at(second, 1)).last(), Some(1));
        assert!(dropped.history.len() <= 33);
    }
}
