//! Tokens that Secrets hold: how it is written down when they were last used, for the API server, which does, and the controller
//! that cleans up (`pkg/serviceaccount`, `legacytokentracking`).

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// The label of a Secret that tells on which day its token was last used.
pub const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
/// The label of a Secret whose token is no longer taken, and since when.
pub const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
/// The ConfigMap that tells since when uses are written down: its namespace, name, and key.
pub const TRACKING: (&str, &str, &str) =
    ("kube-system", "kube-apiserver-legacy-service-account-token-tracking", "since");

/// The day of a time.
pub fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// The day that a label tells, or the ConfigMap; none if it is not written as one.
pub fn parse(text: &str) -> Option<Date> {
    text.parse::<Date>().ok().filter(|day| day.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_written_in_one_way() {
        assert_eq!(parse("2026-11-22"), Some(day("2026-11-22T23:59:59Z".parse().unwrap())));
        for bad in ["", "20261122", "2026-11-31", "2026-11-22T00:00:00", "2026-1-2", " 2026-11-22"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
