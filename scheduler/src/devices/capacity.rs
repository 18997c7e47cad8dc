//! How much of a device is asked for, and whether it has that left (consumable capacity).

use std::collections::BTreeMap;

use api::quantity::{Format, Quantity};

use super::inventory::{Capacity, Range};
use super::{Amounts, add};

/// What a request would take of a device, by name; nothing if it asks for what the device does not have.
pub(crate) fn consumed(asked: &Amounts, capacity: &BTreeMap<String, Capacity>) -> Option<Amounts> {
    if asked.keys().any(|name| !capacity.contains_key(name)) {
        return None;
    }
    Some(capacity.iter().map(|(name, has)| (name.clone(), rounded(asked.get(name), has))).collect())
}

/// Whether a device has enough left for what a request asks, and that may be asked for (`CmpRequestOverCapacity`).
pub(crate) fn fits(
    asked: &Amounts,
    capacity: &BTreeMap<String, Capacity>,
    taken: Option<&Amounts>,
    more: Option<&Amounts>,
) -> bool {
    let Some(wanted) = consumed(asked, capacity) else { return false };
    let mut total = wanted.clone();
    taken.into_iter().chain(more).for_each(|amounts| add(&mut total, amounts));
    capacity.iter().all(|(name, has)| is_allowed(&wanted[name], has) && total[name] <= has.value)
}

/// What is taken for what is asked (`calculateConsumedCapacity`).
fn rounded(asked: Option<&Quantity>, has: &Capacity) -> Quantity {
    let Some(asked) = asked else { return has.default.as_ref().unwrap_or(&has.value).clone() };
    match (&has.range, &has.valid_values) {
        (Some(range), _) => up(asked, range),
        (None, Some(values)) => values.iter().find(|value| asked <= *value).unwrap_or(asked).clone(),
        (None, None) => asked.clone(),
    }
}

/// The next step of a range.
fn up(asked: &Quantity, range: &Range) -> Quantity {
    if *asked < range.min {
        return range.min.clone();
    }
    let Some(step) = range.step.as_ref().map(Quantity::value).filter(|step| *step > 0) else { return asked.clone() };
    let min = range.min.value();
    let added = asked.value().saturating_sub(min);
    let steps = added / step + i64::from(added % step != 0);
    Quantity::new(step.saturating_mul(steps).saturating_add(min), Format::BinarySI)
}

/// Whether an amount is one of those that a device gives (`violatesPolicy`).
fn is_allowed(wanted: &Quantity, has: &Capacity) -> bool {
    if has.default.as_ref() == Some(wanted) {
        return true;
    }
    match (&has.range, &has.valid_values) {
        (Some(range), _) => {
            let step = range.step.as_ref().map(Quantity::value).filter(|step| *step > 0);
            let on_step = step.is_none_or(|step| wanted.value().saturating_sub(range.min.value()) % step == 0);
            range.max.as_ref().is_none_or(|max| wanted <= max) && on_step
        }
        (None, Some(values)) => values.contains(wanted),
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn q(text: &str) -> Quantity {
        Quantity::parse(text).expect("a quantity")
    }

    fn capacity(
        default: Option<&str>,
        values: &[&str],
        range: Option<(&str, &str, &str)>,
    ) -> BTreeMap<String, Capacity> {
        let values: Vec<Quantity> = values.iter().map(|value| q(value)).collect();
        let range = range.map(|(min, max, step)| Range { min: q(min), max: Some(q(max)), step: Some(q(step)) });
        let valid_values = Some(values).filter(|values| !values.is_empty());
        let value = q("10");
        BTreeMap::from([("mem".to_string(), Capacity { value, default: default.map(q), valid_values, range })])
    }

    fn check(capacity: &BTreeMap<String, Capacity>, asked: Option<&str>, taken: &str, expected: Option<&str>) {
        let asked: Amounts = asked.map(|asked| ("mem".to_string(), q(asked))).into_iter().collect();
        let taken = Amounts::from([("mem".to_string(), q(taken))]);
        let found = fits(&asked, capacity, Some(&taken), None)
            .then(|| consumed(&asked, capacity).expect("known")["mem"].to_string());
        assert_eq!(found.as_deref(), expected, "{asked:?} {capacity:?}");
    }

    #[test]
    fn amounts_are_rounded_and_bounded() {
        let plain = capacity(None, &[], None);
        check(&plain, None, "0", Some("10"));
        check(&plain, None, "1", None);
        check(&plain, Some("4"), "6", Some("4"));
        check(&plain, Some("4"), "7", None);
        let by_default = capacity(Some("2"), &[], None);
        check(&by_default, None, "8", Some("2"));
        let values = capacity(Some("1"), &["2", "4", "8"], None);
        check(&values, Some("3"), "0", Some("4"));
        check(&values, None, "0", Some("1"));
        check(&values, Some("9"), "0", None);
        let range = capacity(Some("2"), &[], Some(("2", "8", "3")));
        check(&range, Some("1"), "0", Some("2"));
        check(&range, Some("3"), "0", Some("5"));
        check(&range, Some("6"), "0", Some("8"));
        check(&range, Some("9"), "0", None);
        let unknown = Amounts::from([("other".to_string(), q("1"))]);
        assert!(!fits(&unknown, &plain, None, None));
    }
}
