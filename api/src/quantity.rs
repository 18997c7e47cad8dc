//! Resource quantities (`500m`, `1536Mi`, `12e6`), as `resource.Quantity` in apimachinery reads, prints and compares them.

mod parsed;

use std::cmp::Ordering;
use std::fmt;

use parsed::{EXPONENT_MAX, digits_of, interpret, keeps_text, quick, split};
pub(crate) use parsed::{Parsed, parsed};

/// How a quantity is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `12e6`
    DecimalExponent,
    /// `12Mi`
    BinarySI,
    /// `12M`
    DecimalSI,
}

/// Why a text is no quantity; the wording is that of `ParseQuantity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text has the wrong shape.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The number cannot be read.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// The suffix is unknown.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// A fixed-point number: `mantissa × 10^scale`, never finer than nano.
#[derive(Debug, Clone)]
pub struct Quantity {
    mantissa: i128,
    scale: i32,
    format: Format,
    /// Digits and scale as they were given, where the reference computes with an `i64` (`int64Amount`).
    quick: Option<(i64, i32)>,
    /// The text as it was given, where the reference keeps it because it is canonical.
    text: Option<Box<str>>,
}

const NANO: i32 = -9;
/// More digits than this between the outermost that are not zero are refused: they do not fit the mantissa.
const DIGITS_MAX: usize = 36;
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

/// The number without the zeros around it, and how many there are behind it.
fn significant(number: &str) -> Result<(i128, i32), QuantityError> {
    let digits = number.trim_end_matches('0');
    let zeros = i32::try_from(number.len() - digits.len()).map_err(|_| QuantityError::Numeric)?;
    let digits = digits.trim_start_matches('0');
    match digits.len() {
        0 => Ok((0, 0)),
        1..=DIGITS_MAX => Ok((digits.parse().map_err(|_| QuantityError::Numeric)?, zeros)),
        _ => Err(QuantityError::Numeric),
    }
}

fn pow10(exponent: u32) -> Option<i128> {
    10i128.checked_pow(exponent)
}

/// Division that rounds away from zero, and whether nothing was lost.
fn divide_up(value: i128, divisor: i128) -> (i128, bool) {
    let (quotient, rest) = (value / divisor, value % divisor);
    if rest == 0 { (quotient, true) } else { (quotient + value.signum(), false) }
}

impl Quantity {
    /// Reads a quantity.
    ///
    /// # Errors
    /// Those of [`QuantityError`].
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        let parts = split(text)?;
        let number = digits_of(&parts);
        let (mantissa, zeros) = significant(&number)?;
        let (format, exponent) = interpret(parts.suffix)?;
        let scale = zeros - i32::try_from(parts.fraction.len()).map_err(|_| QuantityError::Numeric)?;
        let quick = quick(&parts, &number, format, exponent);
        let kept = (quick.is_some() && keeps_text(&parts, &number, format, exponent)).then(|| text.into());
        let mut quantity = match format {
            Format::BinarySI => Self::binary(mantissa, scale, exponent),
            _ => Self { scale: scale + exponent, ..Self::of(mantissa, format) }.at_nano(),
        };
        if quantity.scale > EXPONENT_MAX {
            return Err(QuantityError::Suffix);
        }
        quantity.mantissa *= if parts.negative { -1 } else { 1 };
        quantity.quick = quick;
        quantity.text = kept;
        Ok(quantity)
    }

    /// Reads a JSON string or number.
    ///
    /// # Errors
    /// Those of [`QuantityError`].
    pub fn from_json(value: &serde_json::Value) -> Result<Self, QuantityError> {
        match value {
            serde_json::Value::String(text) => Self::parse(text.trim()),
            serde_json::Value::Number(number) => Self::parse(&number.to_string()),
            serde_json::Value::Null => Ok(Self::default()),
            _ => Err(QuantityError::Format),
        }
    }

    fn of(mantissa: i128, format: Format) -> Self {
        Self { mantissa, scale: 0, format, quick: None, text: None }
    }

    /// A whole number.
    pub fn new(value: i64, format: Format) -> Self {
        Self { quick: Some((value, 0)), ..Self::of(value.into(), format) }
    }

    /// A number of thousandths.
    pub fn from_milli(value: i64, format: Format) -> Self {
        Self { scale: -3, quick: Some((value, -3)), ..Self::of(value.into(), format) }
    }

    fn binary(mut mantissa: i128, mut scale: i32, exponent: i32) -> Self {
        // The last digits are rounded up where the product would not fit.
        let mantissa = loop {
            match mantissa.checked_mul(1i128 << exponent) {
                Some(product) => break product,
                None => (mantissa, scale) = (divide_up(mantissa, 10).0, scale + 1),
            }
        };
        let mut quantity = Self { scale, ..Self::of(mantissa, Format::BinarySI) }.at_nano();
        let limit = Self::new(i64::MAX, Format::BinarySI);
        if quantity > limit {
            quantity = limit;
        }
        if quantity < Self::new(1, Format::DecimalSI) {
            quantity.format = Format::DecimalSI;
        }
        quantity
    }

    /// Rounds up to nano what is finer.
    fn at_nano(mut self) -> Self {
        if self.scale < NANO {
            let by = NANO.saturating_sub(self.scale);
            self.mantissa = match pow10(by.unsigned_abs()) {
                Some(divisor) => divide_up(self.mantissa, divisor).0,
                None => self.mantissa.signum(),
            };
            self.scale = NANO;
        }
        if self.mantissa == 0 {
            self.scale = 0;
        }
        self
    }

    /// The format it is written in.
    pub fn format(&self) -> Format {
        self.format
    }

    /// -1, 0 or 1.
    pub fn sign(&self) -> i32 {
        self.mantissa.signum() as i32
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        self.mantissa == 0
    }

    /// The whole value, rounded up, at most what an `i64` holds.
    pub fn value(&self) -> i64 {
        self.scaled(0).0
    }

    /// The value in thousandths, rounded up, at most what an `i64` holds.
    pub fn milli_value(&self) -> i64 {
        self.scaled(-3).0
    }

    /// As [`Quantity::value`], but what does not fit an `i64` comes out wrong as it does in the reference, whose
    /// validation goes by it (`Quantity.Value`).
    pub fn overflowing_value(&self) -> i64 {
        self.overflowing(0)
    }

    /// As [`Quantity::overflowing_value`], in thousandths (`Quantity.MilliValue`).
    pub fn overflowing_milli_value(&self) -> i64 {
        self.overflowing(-3)
    }

    /// The text to go on with once this was read from `given`: the canonical one, unless it would overflow in another way
    /// (`10000000000000000` and `10P` are not the same thousandths).
    pub fn text_to_check(&self, given: &str) -> String {
        let canonical = self.to_string();
        let overflows = |quantity: &Self| [quantity.overflowing_value(), quantity.overflowing_milli_value()];
        match Self::parse(&canonical) {
            Ok(again) if canonical != given && overflows(&again) != overflows(self) => given.to_string(),
            _ => canonical,
        }
    }

    fn overflowing(&self, to: i32) -> i64 {
        match self.quick {
            Some((value, scale)) if scale >= to => scaled_up(value, (scale - to).unsigned_abs()),
            Some(_) => self.scaled(to).0,
            // Here the reference counts nanos without bounds (unless it took the largest amount instead), and looks at
            // their last 64 bits if they are negative.
            None if self.mantissa < 0
                && !(self.format == Format::BinarySI && self.mantissa == -i128::from(i64::MAX)) =>
            {
                let nanos = wrapping(self.mantissa, self.scale - NANO);
                let divisor = 10i64.pow((to - NANO).unsigned_abs());
                nanos / divisor + i64::from(nanos % divisor != 0)
            }
            None if self.scale >= to => wrapping(self.mantissa, self.scale - to),
            None => pow10((to - self.scale).unsigned_abs()).map_or(1, |by| divide_up(self.mantissa, by).0 as i64),
        }
    }

    /// An approximation.
    pub fn as_f64(&self) -> f64 {
        self.mantissa as f64 * 10f64.powi(self.scale)
    }

    /// `mantissa × 10^scale` as a multiple of `10^to`, rounded up, and whether it is exact.
    fn scaled(&self, to: i32) -> (i64, bool) {
        let clamp = |v: i128| i64::try_from(v).unwrap_or(if v < 0 { i64::MIN } else { i64::MAX });
        let by = self.scale - to;
        if by >= 0 {
            let value = pow10(by as u32).and_then(|p| self.mantissa.checked_mul(p));
            let largest = if self.mantissa < 0 { i128::MIN } else { i128::MAX };
            return (clamp(value.unwrap_or(if self.mantissa == 0 { 0 } else { largest })), true);
        }
        match pow10(by.unsigned_abs()) {
            Some(divisor) => {
                let (value, exact) = divide_up(self.mantissa, divisor);
                (clamp(value), exact)
            }
            None => (self.sign().into(), self.is_zero()),
        }
    }

    fn aligned(&self, other: &Self) -> Option<(i128, i128, i32)> {
        let scale = self.scale.min(other.scale);
        let left = self.mantissa.checked_mul(pow10((self.scale - scale) as u32)?)?;
        let right = other.mantissa.checked_mul(pow10((other.scale - scale) as u32)?)?;
        Some((left, right, scale))
    }

    /// Adds; the format becomes that of `other` where this one is zero. `None` if the sum does not fit.
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        let (left, right, scale) = self.aligned(other)?;
        let format = if self.is_zero() { other.format } else { self.format };
        Some(Self { scale, ..Self::of(left.checked_add(right)?, format) }.at_nano())
    }

    /// Subtracts, as [`Quantity::checked_add`] adds.
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        self.checked_add(&other.negated())
    }

    /// The same with the other sign.
    pub fn negated(&self) -> Self {
        Self { scale: self.scale, ..Self::of(-self.mantissa, self.format) }
    }
}

/// The last 64 bits of `mantissa × 10^exponent`.
fn wrapping(mantissa: i128, exponent: i32) -> i64 {
    (mantissa as i64).wrapping_mul(10i64.wrapping_pow(exponent.unsigned_abs()))
}

/// `value × 10^exponent` (`positiveScaleInt64`): what overflows in one step keeps its last 64 bits, what does in several
/// becomes zero.
fn scaled_up(value: i64, exponent: u32) -> i64 {
    let in_one_step = matches!(exponent, 0..=3 | 6 | 9);
    match 10i64.checked_pow(exponent).and_then(|by| value.checked_mul(by)) {
        Some(product) => product,
        None if in_one_step && value != i64::MIN => value.wrapping_mul(10i64.pow(exponent)),
        None => 0,
    }
}

impl Default for Quantity {
    fn default() -> Self {
        Self::new(0, Format::DecimalSI)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.text {
            return f.write_str(text);
        }
        if self.is_zero() {
            return f.write_str("0");
        }
        if self.format == Format::BinarySI {
            let small = *self > Self::new(-1024, Format::DecimalSI) && *self < Self::new(1024, Format::DecimalSI);
            if let ((value, true), false) = (self.scaled(0), small) {
                let (mut value, mut times) = (value, 0);
                while value % 1024 == 0 && times < BINARY.len() {
                    value /= 1024;
                    times += 1;
                }
                return write!(f, "{value}{}", if times == 0 { "" } else { BINARY[times - 1].0 });
            }
        }
        let (mut mantissa, mut scale) = (self.mantissa, self.scale);
        while mantissa % 10 == 0 {
            mantissa /= 10;
            scale += 1;
        }
        let down = scale.rem_euclid(3);
        // Zeros are written, as a long mantissa leaves no room to multiply.
        write!(f, "{mantissa}{}", &"00"[..down as usize])?;
        scale -= down;
        match DECIMAL.iter().find(|(_, exponent)| *exponent == scale) {
            Some((suffix, _)) if self.format != Format::DecimalExponent || scale == 0 => f.write_str(suffix),
            _ => write!(f, "e{scale}"),
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.sign() != other.sign() {
            return self.sign().cmp(&other.sign());
        }
        match self.aligned(other) {
            // Nothing is nothing at whatever scale.
            _ if self.is_zero() => Ordering::Equal,
            Some((left, right, _)) => left.cmp(&right),
            // Only a difference of many orders of magnitude does not align.
            None if self.sign() >= 0 => self.scale.cmp(&other.scale),
            None => other.scale.cmp(&self.scale),
        }
    }
}

impl std::str::FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
#[path = "quantity_tests.rs"]
mod tests;
