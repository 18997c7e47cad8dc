//! How many seats a level could have used: its moments over a period, and what is expected from them
//! (`Integrator` in apiserver's `util/flowcontrol/fairqueuing`, `seatDemandStats` in `apf_controller.go`).

use super::seat_seconds::Nanos;

/// How slowly the expectation forgets: it is halved in five minutes (`seatDemandSmoothingCoefficient`).
const SMOOTHING: f64 = 0.977;
const NANOS_OF_SECOND: f64 = 1e9;

/// The integrals of a number over time, and of its square.
#[derive(Debug, Default)]
pub(super) struct Integrator {
    now: f64,
    seconds: f64,
    sum: f64,
    squares: f64,
    most: f64,
}

/// The number over a period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Observed {
    seconds: f64,
    average: f64,
    deviation: f64,
    most: f64,
}

impl Integrator {
    /// The number has been what it is for so long.
    pub(super) fn pass(&mut self, span: Nanos) {
        let seconds = span as f64 / NANOS_OF_SECOND;
        self.seconds += seconds;
        self.sum += self.now * seconds;
        self.squares += self.now * self.now * seconds;
    }

    /// The number is this from now on.
    pub(super) fn set(&mut self, number: f64) {
        self.now = number;
        self.most = self.most.max(number);
    }

    /// What was seen since the last call.
    pub(super) fn reset(&mut self) -> Observed {
        let (mut average, mut deviation) = (0.0, 0.0);
        if self.seconds > 0.0 {
            average = self.sum / self.seconds;
            deviation = (self.squares / self.seconds - average * average).max(0.0).sqrt();
        }
        let observed = Observed { seconds: self.seconds, average, deviation, most: self.most };
        *self = Self { now: self.now, most: self.now, ..Self::default() };
        observed
    }
}

/// What is expected of a level.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Demand {
    pub(super) average: f64,
    pub(super) deviation: f64,
    /// The most at once.
    pub(super) high: usize,
    pub(super) smoothed: f64,
}

impl Demand {
    /// Learns from so many periods in each of which the same was seen.
    pub(super) fn learn(&mut self, observed: Observed, periods: u64) {
        self.high = observed.most.round() as usize;
        if observed.seconds <= 0.0 {
            return;
        }
        (self.average, self.deviation) = (observed.average, observed.deviation);
        let envelope = observed.average + observed.deviation;
        let kept = SMOOTHING.powi(i32::try_from(periods).unwrap_or(i32::MAX));
        self.smoothed = envelope.max(kept * self.smoothed + (1.0 - kept) * envelope);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    #[test]
    fn moments_are_weighted_by_time() {
        let mut integrator = Integrator::default();
        integrator.pass(SECOND);
        integrator.set(4.0);
        integrator.pass(3 * SECOND);
        integrator.set(0.0);
        let observed = integrator.reset();
        assert_eq!((observed.seconds, observed.average, observed.most), (4.0, 3.0, 4.0));
        assert!((observed.deviation - 3f64.sqrt()).abs() < 1e-9);
        integrator.pass(SECOND);
        assert_eq!(integrator.reset(), Observed { seconds: 1.0, average: 0.0, deviation: 0.0, most: 0.0 });
        assert_eq!(integrator.reset().seconds, 0.0);
    }

    #[test]
    fn expectations_rise_at_once_and_fall_slowly() {
        let seen = |average: f64| Observed { seconds: 10.0, average, deviation: 0.0, most: average };
        let mut demand = Demand::default();
        demand.learn(seen(100.0), 1);
        assert_eq!((demand.smoothed, demand.high), (100.0, 100));
        let mut stepwise = demand;
        (0..30).for_each(|_| stepwise.learn(seen(0.0), 1));
        assert!((49.0..51.0).contains(&stepwise.smoothed), "{stepwise:?}");
        demand.learn(seen(0.0), 30);
        assert!((demand.smoothed - stepwise.smoothed).abs() < 1e-6);
        demand.learn(seen(0.0), u64::MAX);
        assert!(demand.smoothed < 1e-9 && demand.high == 0);
    }
}
