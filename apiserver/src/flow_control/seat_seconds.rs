//! Work in seats times seconds, and the reading of the progress meter, in fixed point (`SeatSeconds` in apiserver's
//! `util/flowcontrol/request`).

use std::fmt;
use std::ops::{Add, Sub};

/// A time, or a span of it, in nanoseconds since the server was made.
pub(crate) type Nanos = u64;

/// How many units a seat-second has.
const SCALE: u64 = 100_000_000;
/// How many nanoseconds of one seat are a unit.
const NANOS_OF_UNIT: f64 = 1_000_000_000.0 / SCALE as f64;

/// So much work. Sums and differences stay within what can be represented.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SeatSeconds(u64);

impl SeatSeconds {
    pub(super) const MAX: Self = Self(u64::MAX);
    /// By how much the progress meter goes back when it has come far (`rDecrement`).
    pub(super) const EPOCH: Self = Self(u64::MAX / 2);
    /// Where it goes back (`highR`).
    pub(super) const HIGH: Self = Self(u64::MAX / 2 + u64::MAX / 4);

    /// The work of so many seats for so long.
    pub(super) fn of(seats: f64, span: Nanos) -> Self {
        Self((seats * span as f64 / NANOS_OF_UNIT).round() as u64)
    }

    /// The same as a number of seat-seconds.
    pub(super) fn as_seconds(self) -> f64 {
        self.0 as f64 / SCALE as f64
    }

    /// For how long so many seats do this work.
    pub(super) fn per_seat(self, seats: f64) -> Nanos {
        (self.0 as f64 / seats * NANOS_OF_UNIT) as Nanos
    }

    /// The reading as of the next epoch.
    pub(super) fn wound_back(self) -> Self {
        Self(self.0.saturating_sub(Self::EPOCH.0))
    }
}

impl Add for SeatSeconds {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for SeatSeconds {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for SeatSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:08}ss", self.0 / SCALE, self.0 % SCALE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seats_times_time() {
        let check = |seats: f64, millis: u64, shown: &str| {
            assert_eq!(SeatSeconds::of(seats, millis * 1_000_000).to_string(), shown);
        };
        check(1.0, 1_000, "1.00000000ss");
        check(2.5, 3, "0.00750000ss");
        check(600.0, 3_600_000, "2160000.00000000ss");
        let work = SeatSeconds::of(10.0, 5_000_000);
        assert_eq!((work.per_seat(10.0), work.per_seat(4.0)), (5_000_000, 12_500_000));
        assert_eq!(SeatSeconds::default() - work, SeatSeconds::default());
        assert_eq!((SeatSeconds::EPOCH + work).wound_back(), work);
    }
}
