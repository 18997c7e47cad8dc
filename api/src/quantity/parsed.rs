//! How `ParseQuantity` takes a text apart, for who prints the fields of the result.

use super::{Format, NANO, QUICK_DIGITS, digits_of, interpret, keeps_text, split};

/// What a text says, before it is brought to one form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// Whether it begins with a minus.
    pub(crate) negative: bool,
    /// All digits before and behind the point.
    pub(crate) digits: String,
    /// How many of them stand behind it.
    pub(crate) fraction: i32,
    /// How it is written.
    pub(crate) format: Format,
    /// What the suffix multiplies by, as a power of 2 for [`Format::BinarySI`] and of 10 else.
    pub(crate) exponent: i32,
    /// The value and its scale, where the reference has it as an `int64Amount`.
    pub(crate) quick: Option<(i64, i32)>,
    /// Whether the text is kept because it is taken for canonical.
    pub(crate) keeps_text: bool,
}

/// Takes a text apart; `None` if it is no quantity.
pub(crate) fn parsed(text: &str) -> Option<Parsed> {
    let parts = split(text).ok()?;
    let (format, exponent) = interpret(parts.suffix).ok()?;
    let digits = digits_of(&parts);
    let fraction = i32::try_from(parts.fraction.len()).ok()?;
    let whole = i32::try_from(parts.whole.len()).ok()?;
    let (room, scale, factor) = match format {
        Format::BinarySI if fraction == 0 => (15 - whole - exponent * 3 / 10 - 1, 0, 1i64 << exponent),
        Format::BinarySI => (-1, 0, 1),
        _ => (QUICK_DIGITS - whole - fraction, exponent - fraction, 1),
    };
    let sign = if parts.negative { -1 } else { 1 };
    let value = digits.parse::<i64>().ok().and_then(|value| value.checked_mul(factor)).map(|value| value * sign);
    let quick = value.filter(|_| room >= 0 && scale >= NANO).map(|value| (value, scale));
    let keeps_text = quick.is_some() && keeps_text(&parts, &digits, format, exponent);
    Some(Parsed { negative: parts.negative, digits, fraction, format, exponent, quick, keeps_text })
}
