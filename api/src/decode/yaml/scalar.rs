//! What a scalar is, by YAML 1.1 as go-yaml v2 reads it (`resolve`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const PREFIX: &str = "tag:yaml.org,2002:";

/// A scalar's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    /// An integer of 64 bits, with or without a sign.
    Integer(i128),
    Float(f64),
    Text(String),
}

/// The value of a scalar. `plain` says that it was neither quoted nor tagged.
pub(super) fn resolve(value: &str, tag: Option<&str>, plain: bool) -> Result<Scalar, String> {
    let short = tag.map(|tag| tag.strip_prefix(PREFIX).unwrap_or(tag));
    match short {
        None if !plain => Ok(Scalar::Text(value.to_string())),
        None => Ok(untagged(value)),
        Some("binary") => {
            let bytes = STANDARD.decode(value.replace(['\n', '\r'], ""));
            let bytes = bytes.map_err(|_| "!!binary value contains invalid base64 data".to_string())?;
            Ok(Scalar::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        Some(wanted @ ("bool" | "int" | "float" | "null")) => tagged(value, wanted),
        Some(_) => Ok(Scalar::Text(value.to_string())),
    }
}

/// Whether an untagged scalar is a text, and not a key that merges another map.
pub(super) fn is_text(value: &str) -> bool {
    matches!(untagged(value), Scalar::Text(_)) && value != "<<"
}

fn tagged(value: &str, wanted: &str) -> Result<Scalar, String> {
    let found = untagged(value);
    let name = match &found {
        Scalar::Null => "null",
        Scalar::Bool(_) => "bool",
        Scalar::Integer(_) => "int",
        Scalar::Float(_) => "float",
        Scalar::Text(_) => "str",
    };
    match found {
        Scalar::Integer(number) if wanted == "float" => Ok(Scalar::Float(number as f64)),
        found if name == wanted => Ok(found),
        _ => Err(format!("cannot decode !!{name} `{value}` as a !!{wanted}")),
    }
}

fn untagged(value: &str) -> Scalar {
    let text = || Scalar::Text(value.to_string());
    match value {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    match value.as_bytes()[0] {
        b'.' => float(value).map_or_else(text, Scalar::Float),
        b'+' | b'-' | b'0'..=b'9' => {
            let digits = value.replace('_', "");
            integer(&digits).or_else(|| float(&digits).map(Scalar::Float)).unwrap_or_else(text)
        }
        _ => text(),
    }
}

/// An integer as `strconv.ParseInt` reads it with base 0.
fn integer(text: &str) -> Option<Scalar> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.get(..2).map(str::to_ascii_lowercase);
    let (radix, digits) = match lower.as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some(two) if two.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let number = i128::from_str_radix(digits, radix).ok()?;
    let number = if negative { -number } else { number };
    let signed = i64::try_from(number).is_ok();
    let unsigned = u64::try_from(number).is_ok() && !text.starts_with('+');
    (signed || unsigned).then_some(Scalar::Integer(number))
}

/// A number with a point or an exponent; what is out of range is none.
fn float(text: &str) -> Option<f64> {
    let good = |b: u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E');
    let number: f64 = text.bytes().all(good).then(|| text.parse().ok())??;
    number.is_finite().then_some(number)
}
