//! What a priority level's configuration says, and how many seats that makes.

use api::Object;
use serde_json::Value;

use super::EXEMPT;
use super::queue_set::{Queues, Queuing};

/// Of the nominal seats of a level so many are at most one request's, in percent (`priorityLevelMaxSeatsPercent`).
const REQUEST_SEATS_PERCENT: usize = 15;

/// A priority level as it is configured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LevelSpec {
    pub(super) name: String,
    pub(super) uid: String,
    /// Its share of the server's seats.
    pub(super) shares: u64,
    /// How much of its seats others can have, in percent.
    lendable: u64,
    /// How much more than its own it can have, in percent of those; none for as much as there is.
    borrowing: Option<u64>,
    pub(super) queuing: Queuing,
}

/// How many seats a level has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// By its share.
    pub(super) nominal: usize,
    /// What it keeps in any case.
    pub(super) min: usize,
    /// What it can have at most.
    pub(super) max: usize,
    /// What one request can have at most; none if nothing is said.
    pub(super) of_request: Option<usize>,
}

impl LevelSpec {
    /// Reads a stored level; nothing of one that contradicts itself (`queueSetCompleterForPL`).
    pub(super) fn read(level: &Object) -> Option<Self> {
        let is_exempt = match level.str_at(&["spec", "type"]) {
            "Exempt" => true,
            "Limited" => false,
            _ => return None,
        };
        if is_exempt != (level.name() == EXEMPT) {
            return None;
        }
        let part = level.at(&["spec", if is_exempt { "exempt" } else { "limited" }])?;
        let number = |value: &Value| value.as_u64();
        let queuing = if is_exempt { Queuing::Exempt } else { queuing(&part["limitResponse"])? };
        Some(Self {
            name: level.name().into(),
            uid: level.uid().into(),
            shares: number(&part["nominalConcurrencyShares"]).unwrap_or(0),
            lendable: number(&part["lendablePercent"]).unwrap_or(0),
            borrowing: number(&part["borrowingLimitPercent"]),
            queuing,
        })
    }

    /// One of the two that there always are, while it is not stored.
    pub(super) fn imagined(name: &str) -> Self {
        let (shares, queuing) = if name == EXEMPT { (0, Queuing::Exempt) } else { (5, Queuing::Reject) };
        Self { name: name.into(), uid: String::new(), shares, lendable: 0, borrowing: None, queuing }
    }

    /// Whether no limit holds for it.
    pub(super) fn is_exempt(&self) -> bool {
        self.queuing == Queuing::Exempt
    }

    /// The seats of the level if the server has `total` and all levels so many shares (`finishQueueSetReconfigsLocked`).
    pub(super) fn limits(&self, total: usize, shares: u64) -> Limits {
        let nominal = (total as f64 * self.shares as f64 / shares.max(1) as f64).ceil();
        let part = |percent: u64| (nominal * percent as f64 / 100.0).round() as usize;
        // What is borrowed is the server's: an exempt level has as much as it wants in any case.
        let borrowed = self.borrowing.filter(|_| !self.is_exempt()).map_or(total, part);
        let nominal = nominal as usize;
        let of_request = match self.queuing {
            Queuing::Queues(queues) => {
                let percent = (nominal * REQUEST_SEATS_PERCENT).div_ceil(100);
                Some(percent.min(nominal / queues.hand.max(1)).max(1))
            }
            Queuing::Exempt | Queuing::Reject => None,
        };
        Limits { nominal, min: nominal.saturating_sub(part(self.lendable)), max: nominal + borrowed, of_request }
    }
}

fn queuing(response: &Value) -> Option<Queuing> {
    let queuing = &response["queuing"];
    match response["type"].as_str()? {
        "Reject" if queuing.is_null() => Some(Queuing::Reject),
        "Queue" => {
            let number = |name: &str| queuing[name].as_u64().and_then(|number| usize::try_from(number).ok());
            let (count, hand, length_max) = (number("queues")?, number("handSize")?, number("queueLengthLimit")?);
            Some(Queuing::Queues(Queues { count, hand, length_max }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(name: &str, spec: Value) -> Option<LevelSpec> {
        LevelSpec::read(&Object::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap())
    }

    /// The levels that every cluster has, with the seats that they have by default.
    #[test]
    fn seats_follow_from_shares_and_percents() {
        let check = |shares: u64, lendable: u64, hand: u64, expected: (usize, usize, usize)| {
            let queuing = json!({"queues": 128, "handSize": hand, "queueLengthLimit": 50});
            let limited = json!({"nominalConcurrencyShares": shares, "lendablePercent": lendable,
                "limitResponse": {"type": "Queue", "queuing": queuing}});
            let limits = read("l", json!({"type": "Limited", "limited": limited})).unwrap().limits(600, 245);
            assert_eq!((limits.nominal, limits.min, limits.of_request.unwrap()), expected, "{shares}");
            assert_eq!(limits.max, limits.nominal + 600);
        };
        check(10, 0, 4, (25, 25, 4));
        check(40, 25, 6, (98, 73, 15));
        check(30, 33, 6, (74, 50, 12));
        check(40, 50, 6, (98, 49, 15));
        check(100, 90, 6, (245, 24, 37));
        check(20, 50, 6, (49, 24, 8));
        check(0, 0, 6, (0, 0, 1));
        let limited =
            json!({"nominalConcurrencyShares": 5, "borrowingLimitPercent": 50, "limitResponse": {"type": "Reject"}});
        let limits = read("l", json!({"type": "Limited", "limited": limited})).unwrap().limits(600, 245);
        assert_eq!(limits, Limits { nominal: 13, min: 13, max: 20, of_request: None });
        let exempt = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 10, "lendablePercent": 50}});
        let limits = read(EXEMPT, exempt).unwrap().limits(600, 250);
        assert_eq!(limits, Limits { nominal: 24, min: 12, max: 624, of_request: None });
        assert_eq!(LevelSpec::imagined("catch-all").limits(600, 0).nominal, 3_000);
    }

    #[test]
    fn what_contradicts_itself_is_no_level() {
        let reject = json!({"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}});
        assert!(read("l", json!({"type": "Limited", "limited": reject})).is_some());
        assert!(read(EXEMPT, json!({"type": "Limited", "limited": reject})).is_none());
        assert!(read("l", json!({"type": "Exempt", "exempt": {}})).is_none());
        assert!(read(EXEMPT, json!({"type": "Exempt"})).is_none());
        assert!(read("l", json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue"}}})).is_none());
    }
}
