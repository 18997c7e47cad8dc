//! Floating point numbers as Go's `encoding/json` prints them.

use std::io::{self, Write};

use serde_json::ser::Formatter;
use serde_json::{Number, Value};

/// Numbers of this size are written out; smaller and larger ones have an exponent.
const WRITTEN_OUT: std::ops::Range<f64> = 1e-6..1e21;

/// A number as Go's `encoding/json` prints it (`floatEncoder`).
pub fn float_text(number: f64) -> String {
    if number == 0.0 || WRITTEN_OUT.contains(&number.abs()) {
        return number.to_string();
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
}

/// A floating point number as it comes back from JSON that Go has written: a whole one is an integer then, if it is one
/// of 64 bits.
pub fn double(number: f64) -> Value {
    /// Up to here every whole number has its own digits.
    const EXACT_MAX: f64 = 1e15;
    if number.fract() != 0.0 {
        return Number::from_f64(number).map_or(Value::Null, Value::Number);
    }
    if number.abs() < EXACT_MAX {
        return Value::from(number as i64);
    }
    // Of longer ones Go prints the fewest digits that tell them from others, then zeros.
    let text = float_text(number);
    match (text.parse::<i64>(), text.parse::<u64>()) {
        (Ok(whole), _) => Value::from(whole),
        (_, Ok(whole)) => Value::from(whole),
        _ => Number::from_f64(number).map_or(Value::Null, Value::Number),
    }
}

/// Compact JSON, with numbers as Go prints them.
pub(super) struct GoNumbers;

impl Formatter for GoNumbers {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, number: f64) -> io::Result<()> {
        writer.write_all(float_text(number).as_bytes())
    }
}
