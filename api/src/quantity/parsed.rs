//! How `ParseQuantity` takes a text apart, for who prints the fields of the result.

use super::{Format, digits_of, interpret, keeps_text, quick, split};

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
