//! Tests of quantities: text in, canonical text, whole value and thousandths out.

use super::*;

fn check(text: &str, canonical: &str, value: i64, milli: i64) {
    let quantity = Quantity::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    assert_eq!(
        (quantity.to_string().as_str(), quantity.value(), quantity.milli_value()),
        (canonical, value, milli),
        "{text}"
    );
}

#[test]
fn reads_and_prints() {
    check("0", "0", 0, 0);
    check("0m", "0", 0, 0);
    check("-0", "0", 0, 0);
    check("1", "1", 1, 1000);
    check("100m", "100m", 1, 100);
    check("1500m", "1500m", 2, 1500);
    check("1000m", "1", 1, 1000);
    check("1.5", "1500m", 2, 1500);
    check(".5", "500m", 1, 500);
    check("0.5", "500m", 1, 500);
    check("1.", "1.", 1, 1000);
    check("1.5Gi", "1536Mi", 1536 << 20, 1000 * (1536 << 20));
    check("1024Ki", "1Mi", 1 << 20, 1000 << 20);
    check("12Ki", "12Ki", 12 << 10, 12000 << 10);
    check("0.5Ki", "512", 512, 512_000);
    check("0.1Ki", "102400m", 103, 102_400);
    check("1000", "1k", 1000, 1_000_000);
    check("1024", "1024", 1024, 1_024_000);
    check("12e6", "12e6", 12_000_000, 12_000_000_000);
    check("1e3", "1e3", 1000, 1_000_000);
    check("1E3", "1E3", 1000, 1_000_000);
    check("1000e3", "1e6", 1_000_000, 1_000_000_000);
    check("1E", "1E", 1_000_000_000_000_000_000, i64::MAX);
    check("10Ei", "9223372036854775807", i64::MAX, i64::MAX);
    check("-5", "-5", -5, -5000);
    check("-1.5", "-1500m", -2, -1500);
    check("0.1n", "1n", 1, 1);
    check("1u", "1u", 1, 1);
    check("1.500", "1.500", 2, 1500);
    let [digits, zeros] = ["123456789012345678901234567890123456", "00000000000000000000"];
    check(&format!("{digits}e7"), &format!("{digits}0e6"), i64::MAX, i64::MAX);
    check(&format!("{digits}e8"), &format!("{digits}00e6"), i64::MAX, i64::MAX);
    check(&format!("-{digits}00e6"), &format!("-{digits}00e6"), i64::MIN, i64::MIN);
    check(&format!("1{zeros}{zeros}"), "10e39", i64::MAX, i64::MAX);
    check(&format!("0.0{zeros}{zeros}1"), "1n", 1, 1);
    let long = Quantity::parse("1.23456789012345678901234567890123456Ei");
    assert_eq!(long.map(|quantity| quantity.value()), Ok(1_423_359_869_420_436_338));
    check("3000000Ki", "3000000Ki", 3_072_000_000, 3_072_000_000_000);
}

fn check_error(text: &str, error: QuantityError) {
    assert_eq!(Quantity::parse(text), Err(error), "{text:?}");
}

#[test]
fn refuses() {
    check_error("20020000000000922337203000000000000000.1", QuantityError::Numeric);
    check_error("1234567890123456789012345678901234567", QuantityError::Numeric);
    check_error("1e2147483647", QuantityError::Suffix);
    check_error("10e1000000", QuantityError::Suffix);
    check_error("1e-2147483648", QuantityError::Suffix);
    check_error("", QuantityError::Format);
    check_error("1x", QuantityError::Format);
    check_error("1.2.3", QuantityError::Format);
    check_error(" 1", QuantityError::Format);
    check_error("1mi", QuantityError::Suffix);
    check_error("1MM", QuantityError::Suffix);
    check_error("1e", QuantityError::Suffix);
    check_error("1m5", QuantityError::Suffix);
    check_error("1111111111111111111111111111111111111111", QuantityError::Numeric);
    assert!(Quantity::parse("1x").unwrap_err().to_string().starts_with("quantities must match the regular"));
}

fn check_order(left: &str, right: &str, order: Ordering) {
    assert_eq!(Quantity::parse(left).unwrap().cmp(&Quantity::parse(right).unwrap()), order, "{left} {right}");
}

#[test]
fn compares() {
    check_order("1", "1000m", Ordering::Equal);
    check_order("1Gi", "1G", Ordering::Greater);
    check_order("-1", "1", Ordering::Less);
    check_order("1e100", "1", Ordering::Greater);
    check_order("-1e100", "-1", Ordering::Less);
    check_order("999m", "1", Ordering::Less);
}

fn check_sum(left: &str, right: &str, sum: &str, difference: &str) {
    let (left, right) = (Quantity::parse(left).unwrap(), Quantity::parse(right).unwrap());
    assert_eq!(left.checked_add(&right).unwrap().to_string(), sum);
    assert_eq!(left.checked_sub(&right).unwrap().to_string(), difference);
}

#[test]
fn adds_and_subtracts() {
    check_sum("1", "500m", "1500m", "500m");
    check_sum("1Gi", "512Mi", "1536Mi", "512Mi");
    check_sum("0", "1Ki", "1Ki", "-1Ki");
    check_sum("250m", "750m", "1", "-500m");
}

#[test]
fn quantities_have_one_order() {
    let texts = [
        "0",
        "0n",
        "0E",
        "-0",
        "0e30",
        "1n",
        "1u",
        "1m",
        "1",
        "1.0",
        "1e0",
        "1000m",
        "10P",
        "1E",
        "1e18",
        "1Ei",
        "9223372036854775807",
        "10000000000000000000",
        "1e30",
        "-1e30",
        "-1",
        "-1m",
        "-1Ei",
        "0.5",
        "500m",
        "1Ki",
        "1024",
    ];
    let quantities: Vec<Quantity> = texts.iter().filter_map(|text| Quantity::parse(text).ok()).collect();
    assert!(quantities.len() > 20);
    crate::order::assert_total(&quantities, Quantity::cmp);
}

/// Quantities with what `Quantity.Value` and `Quantity.MilliValue` make of them, as the reference printed it.
const OVERFLOW: &str = include_str!("quantity_overflow.txt");

#[test]
fn what_does_not_fit_comes_out_as_in_the_reference() {
    for line in OVERFLOW.lines() {
        let [text, value, milli] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let quantity = Quantity::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let found = (quantity.overflowing_value(), quantity.overflowing_milli_value());
        assert_eq!(found, (value.parse().unwrap(), milli.parse().unwrap()), "{text}");
    }
    assert!(OVERFLOW.lines().count() > 50);
}
