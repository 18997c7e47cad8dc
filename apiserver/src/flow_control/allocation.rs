//! How seats are divided among priority levels that want them (`computeConcurrencyAllocation` in apiserver's
//! `util/flowcontrol`): each gets the same fraction of what it aims at, but no less than its lower and no more than its
//! upper bound.

/// What one level has to get, may get, and aims at; `low <= target`, `low <= high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Wish {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) target: f64,
}

/// Who gets what.
#[derive(Debug, PartialEq)]
pub(super) struct Division {
    /// In the order of the wishes.
    pub(super) seats: Vec<f64>,
    /// The fraction of its target that each gets whom no bound stops.
    pub(super) fraction: f64,
}

/// There is no division that keeps the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Impossible;

/// Targets are no smaller than this (`MinTarget`), so that fractions of them are numbers.
const TARGET_MIN: f64 = 0.001;
/// Sums that differ by less are equal.
const EPSILON: f64 = 0.000_000_1;

impl Wish {
    fn target(&self) -> f64 {
        self.target.max(TARGET_MIN)
    }

    fn at(&self, fraction: f64) -> f64 {
        (fraction * self.target()).min(self.high).max(self.low)
    }

    fn is_possible(&self) -> bool {
        self.low >= 0.0 && self.target >= self.low && self.high >= self.low
    }
}

/// Divides `total` seats.
///
/// # Errors
/// [`Impossible`] if bounds contradict each other, or the sum.
pub(super) fn divide(total: f64, wishes: &[Wish]) -> Result<Division, Impossible> {
    let sum = |part: fn(&Wish) -> f64| wishes.iter().map(part).sum::<f64>();
    let (low, high) = (sum(|wish| wish.low), sum(|wish| wish.high));
    if !wishes.iter().all(Wish::is_possible) || total < 0.0 || low - total > EPSILON || total - high > EPSILON {
        return Err(Impossible);
    }
    let seats = |part: fn(&Wish) -> f64| wishes.iter().map(part).collect();
    if total == 0.0 {
        return Ok(Division { seats: vec![0.0; wishes.len()], fraction: 0.0 });
    }
    let lows = || wishes.iter().map(|wish| wish.low / wish.target());
    if low - total > -EPSILON {
        return Ok(Division { seats: seats(|wish| wish.low), fraction: lows().fold(f64::INFINITY, f64::min) });
    }
    if total - high > -EPSILON {
        let highs = wishes.iter().map(|wish| wish.high / wish.target());
        return Ok(Division { seats: seats(|wish| wish.high), fraction: highs.fold(0.0, f64::max) });
    }
    let fraction = fraction(total, wishes)?;
    Ok(Division { seats: wishes.iter().map(|wish| wish.at(fraction)).collect(), fraction })
}

/// The fraction at which the seats of all sum up to `total`: that sum grows with the fraction along straight lines, whose
/// slope changes where a level leaves its lower bound or comes to its upper one.
fn fraction(total: f64, wishes: &[Wish]) -> Result<f64, Impossible> {
    let mut turns: Vec<(f64, f64)> = wishes
        .iter()
        .flat_map(|wish| [(wish.low / wish.target(), wish.target()), (wish.high / wish.target(), -wish.target())])
        .collect();
    turns.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut sum: f64 = wishes.iter().map(|wish| wish.low).sum();
    let (mut at, mut slope) = (turns.first().map_or(0.0, |turn| turn.0), 0.0);
    for (turn, change) in turns {
        let there = sum + (turn - at) * slope;
        if slope > 0.0 && there >= total {
            return Ok(at + (total - sum) / slope);
        }
        (sum, at, slope) = (there, turn, slope + change);
    }
    Err(Impossible)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(low: f64, target: f64, high: f64) -> Wish {
        Wish { low, high, target }
    }

    fn check(total: f64, wishes: &[Wish], seats: &[f64], fraction: f64) {
        let division = divide(total, wishes).unwrap();
        let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
        let same = division.seats.iter().zip(seats).all(|(a, b)| near(*a, *b)) && near(division.fraction, fraction);
        assert!(same && division.seats.len() == seats.len(), "{total} {wishes:?}: {division:?}");
    }

    #[test]
    fn bounds_hold_and_the_rest_is_in_proportion() {
        check(0.0, &[wish(0.0, 1.0, 9.0)], &[0.0], 0.0);
        check(10.0, &[wish(0.0, 1.0, 9.0), wish(0.0, 4.0, 9.0)], &[2.0, 8.0], 2.0);
        check(10.0, &[wish(0.0, 1.0, 9.0), wish(0.0, 9.0, 9.5)], &[1.0, 9.0], 1.0);
        check(10.0, &[wish(0.0, 1.0, 9.0), wish(0.0, 9.0, 5.0)], &[5.0, 5.0], 5.0);
        check(10.0, &[wish(4.0, 4.0, 9.0), wish(0.0, 16.0, 20.0)], &[4.0, 6.0], 0.375);
        check(10.0, &[wish(4.0, 5.0, 9.0), wish(6.0, 6.0, 20.0)], &[4.0, 6.0], 0.8);
        check(29.0, &[wish(4.0, 5.0, 9.0), wish(6.0, 6.0, 20.0)], &[9.0, 20.0], 20.0 / 6.0);
        check(3.0, &[wish(0.0, 0.0, 9.0), wish(0.0, 0.0, 9.0), wish(0.0, 0.0, 9.0)], &[1.0, 1.0, 1.0], 1_000.0);
        // Between the second's upper bound and the first's lower one nothing changes.
        check(15.0, &[wish(10.0, 10.0, 30.0), wish(0.0, 10.0, 4.0)], &[11.0, 4.0], 1.1);
    }

    #[test]
    fn what_contradicts_itself_is_told() {
        let impossible = |total: f64, wishes: &[Wish]| assert_eq!(divide(total, wishes), Err(Impossible), "{wishes:?}");
        impossible(1.0, &[wish(2.0, 2.0, 3.0)]);
        impossible(4.0, &[wish(2.0, 2.0, 3.0)]);
        impossible(1.0, &[wish(2.0, 1.0, 3.0)]);
        impossible(2.0, &[wish(2.0, 2.0, 1.0)]);
        impossible(-1.0, &[wish(0.0, 2.0, 3.0)]);
        impossible(1.0, &[]);
    }

    /// What the definition says of every division, for many wishes.
    #[test]
    fn every_division_is_the_one_that_is_defined() {
        let mut seed = 1u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((seed >> 33) % below) as f64
        };
        for _ in 0..2_000 {
            let count = 1 + next(6) as usize;
            let wishes: Vec<Wish> = (0..count)
                .map(|_| {
                    let low = next(20);
                    wish(low, low + next(30), low + next(60))
                })
                .collect();
            let (low, high): (f64, f64) = (wishes.iter().map(|w| w.low).sum(), wishes.iter().map(|w| w.high).sum());
            let total = low + next(1 + (high - low) as u64);
            let Division { seats, fraction } = divide(total, &wishes).unwrap();
            assert!((seats.iter().sum::<f64>() - total).abs() < 1e-3, "{total} {wishes:?} {seats:?}");
            for (wish, seats) in wishes.iter().zip(&seats) {
                let share = fraction * wish.target();
                let fits = total == 0.0
                    || (seats - share).abs() < 1e-3
                    || ((seats - wish.low).abs() < 1e-3 && wish.low > share - 1e-3)
                    || ((seats - wish.high).abs() < 1e-3 && wish.high < share + 1e-3);
                assert!(fits, "{total} {wishes:?} {seats} {fraction}");
            }
        }
    }
}
