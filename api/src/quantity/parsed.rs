//! How `ParseQuantity` takes a text apart: its parts, its suffix, and the quick path on which the text itself may be kept.

use super::{BINARY, DECIMAL, Format, NANO, QuantityError};

/// Decimal digits that always fit an `i64`; the reference's quick path, which may keep the text, ends there.
const QUICK_DIGITS: i32 = 18;
/// Larger powers of ten are refused. (The reference takes them, and computes for minutes.)
pub(super) const EXPONENT_MAX: i32 = 1_000_000;

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
    let quick = quick(&parts, &digits, format, exponent);
    let keeps_text = quick.is_some() && keeps_text(&parts, &digits, format, exponent);
    Some(Parsed { negative: parts.negative, digits, fraction, format, exponent, quick, keeps_text })
}

/// A text split at its parts.
pub(super) struct Parts<'a> {
    pub(super) negative: bool,
    pub(super) whole: &'a str,
    pub(super) fraction: &'a str,
    pub(super) suffix: &'a str,
}

/// The digits before and behind the point.
pub(super) fn digits_of(parts: &Parts<'_>) -> String {
    format!("{}{}", parts.whole, parts.fraction)
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

pub(super) fn split(text: &str) -> Result<Parts<'_>, QuantityError> {
    let negative = text.starts_with('-');
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let rest = rest.trim_start_matches('0');
    let (whole, rest) = rest.split_at(digits(rest));
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    let letters = suffix.bytes().take_while(|b| b"eEinumkKMGTP".contains(b)).count();
    let tail = &suffix[letters..];
    let tail = tail.strip_prefix(['-', '+']).unwrap_or(tail);
    if digits(tail) != tail.len() {
        return Err(QuantityError::Format);
    }
    Ok(Parts { negative, whole: if whole.is_empty() { "0" } else { whole }, fraction, suffix })
}

/// What a suffix says: the format, and the exponent of 2 (binary) or of 10.
pub(super) fn interpret(suffix: &str) -> Result<(Format, i32), QuantityError> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Ok((Format::DecimalSI, *exponent));
    }
    if let Some((_, exponent)) = BINARY.iter().find(|(s, _)| *s == suffix) {
        return Ok((Format::BinarySI, *exponent as i32));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).filter(|e| !e.is_empty()).ok_or(QuantityError::Suffix)?;
    let exponent: i32 = exponent.parse().map_err(|_| QuantityError::Suffix)?;
    if !(-EXPONENT_MAX..=EXPONENT_MAX).contains(&exponent) {
        return Err(QuantityError::Suffix);
    }
    Ok((Format::DecimalExponent, exponent))
}

/// Digits and scale with which the reference takes its quick path.
pub(super) fn quick(parts: &Parts<'_>, number: &str, format: Format, exponent: i32) -> Option<(i64, i32)> {
    let (whole, fraction) = (parts.whole.len() as i32, parts.fraction.len() as i32);
    let value: i64 = number.parse().ok()?;
    let value = if parts.negative { -value } else { value };
    if format == Format::BinarySI {
        let precision = 15 - whole - exponent * 3 / 10 - 1;
        return (fraction == 0 && precision >= 0).then(|| Some((value.checked_mul(1 << exponent)?, 0)))?;
    }
    let scale = exponent.saturating_sub(fraction);
    (QUICK_DIGITS - whole - fraction >= 0 && scale >= NANO).then_some((value, scale))
}

/// Whether the text is taken for canonical on the quick path.
pub(super) fn keeps_text(parts: &Parts<'_>, number: &str, format: Format, exponent: i32) -> bool {
    match format {
        Format::BinarySI => number.parse::<i64>().is_ok_and(|v| v & 7 != 0),
        _ => {
            let scale = exponent.saturating_sub(parts.fraction.len() as i32);
            scale % 3 == 0 && !number.ends_with("000") && !number.starts_with('0')
        }
    }
}
