//! Small languages: what was read prints as something that reads as the same.

use std::collections::{BTreeMap, BTreeSet};

use api::jsonpath::Path;
use api::quantity::Quantity;
use api::selector::{FieldSelector, LabelSelector};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Label and field selectors, and with them JSON paths and schedules.
pub fn selectors(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let labels: BTreeMap<String, String> = [("a", "b"), ("n", "5")].map(|(k, v)| (k.into(), v.into())).into();
    if let Ok(selector) = LabelSelector::parse(text) {
        let printed = selector.to_string();
        let again = LabelSelector::parse(&printed).unwrap_or_else(|e| panic!("{text:?} prints {printed:?}: {e}"));
        assert_eq!(again, selector, "{text:?} prints {printed:?}");
        assert_eq!(again.matches(&labels), selector.matches(&labels));
    }
    if let Ok(selector) = FieldSelector::parse(text) {
        let printed = selector.to_string();
        let again = FieldSelector::parse(&printed).unwrap_or_else(|e| panic!("{text:?} prints {printed:?}: {e}"));
        // Terms are sorted as they are written, so equal ones may come in another order.
        let terms = |selector: &FieldSelector| -> BTreeSet<String> {
            selector.to_string().split(',').map(str::to_string).collect()
        };
        assert_eq!(terms(&again), terms(&selector), "{text:?} prints {printed:?}");
    }
    if let Ok(path) = Path::parse(text) {
        let value = serde_json::json!({"a": [{"b": 1, "c": "x"}, {"b": 2}], "spec": {"x": [1, 2, 3]}});
        let _ = path.find(&value);
    }
    if let Ok(schedule) = api::cron::Schedule::parse(text) {
        let _ = schedule.next(Timestamp::UNIX_EPOCH, &TimeZone::UTC);
    }
}

/// Quantities, and with them times.
pub fn quantities(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(quantity) = Quantity::parse(text) {
        let printed = quantity.to_string();
        let again = Quantity::parse(&printed).unwrap_or_else(|e| panic!("{text:?} prints {printed:?}: {e}"));
        assert_eq!(again.cmp(&quantity), std::cmp::Ordering::Equal, "{text:?} prints {printed:?}");
        assert_eq!(again.to_string(), printed, "{text:?}");
        let _ = (quantity.value(), quantity.milli_value(), quantity.as_f64());
        let _ = quantity.checked_add(&again).and_then(|sum| sum.checked_sub(&quantity)).map(|q| q.to_string());
    }
    if let Ok(time) = api::time::normalize(text) {
        assert_eq!(api::time::normalize(&time).as_deref(), Ok(time.as_str()));
    }
    if let Ok(time) = api::time::normalize_micro(text) {
        assert_eq!(api::time::normalize_micro(&time).as_deref(), Ok(time.as_str()));
    }
}
