//! Sizes and costs between a least and a most. Nothing overflows: what is too much is the most there is.

/// From `min` to `max`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cel) struct Range {
    pub(in crate::cel) min: u64,
    pub(in crate::cel) max: u64,
}

impl Range {
    pub(super) const UNKNOWN: Range = Range { min: 0, max: u64::MAX };

    pub(super) const fn fixed(n: u64) -> Range {
        Range { min: n, max: n }
    }

    fn both(self, other: Range, f: impl Fn(u64, u64) -> u64) -> Range {
        Range { min: f(self.min, other.min), max: f(self.max, other.max) }
    }

    pub(super) fn add(self, other: Range) -> Range {
        self.both(other, u64::saturating_add)
    }

    pub(super) fn multiply(self, other: Range) -> Range {
        self.both(other, u64::saturating_mul)
    }

    pub(super) fn union(self, other: Range) -> Range {
        Range { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// Both ends times a factor, rounded up.
    pub(super) fn scale(self, factor: f64) -> Range {
        // A float that is too large for an integer becomes the largest one.
        let scaled = |n: u64| (n as f64 * factor).ceil() as u64;
        Range { min: scaled(self.min), max: scaled(self.max) }
    }
}
