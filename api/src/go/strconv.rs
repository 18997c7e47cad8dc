//! Numbers, truth values and quoted texts as Go's package `strconv` reads and writes them.

/// Why a text is no integer.
fn fault(text: &str, is_signed: bool) -> &'static str {
    let digits = if is_signed { text.strip_prefix(['-', '+']).unwrap_or(text) } else { text };
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { "value out of range" } else { "invalid syntax" }
}

fn error(function: &str, text: &str, why: &str) -> String {
    format!("strconv.{function}: parsing {}: {why}", quote(text))
}

/// Reads a decimal integer (`Atoi`).
///
/// # Errors
/// That function's text.
pub fn atoi(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| error("Atoi", text, fault(text, true)))
}

/// Reads a decimal integer (`ParseInt`).
///
/// # Errors
/// That function's text.
pub fn parse_int(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| error("ParseInt", text, fault(text, true)))
}

/// Reads a decimal number without a sign (`ParseUint`).
///
/// # Errors
/// That function's text.
pub fn parse_uint(text: &str) -> Result<u64, String> {
    let number = if text.starts_with('+') { None } else { text.parse().ok() };
    number.ok_or_else(|| error("ParseUint", text, fault(text, false)))
}

/// Reads a truth value; nothing if it is none (`ParseBool`).
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Quotes a text (`Quote`, and the verb `%q`).
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' | '\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            '\u{80}'..='\u{a0}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{feff}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A `float64` with as many digits as it needs, as `%v` and `%g` print it (`FormatFloat` of the shortest `g`).
pub fn format_float(number: f64) -> String {
    match number {
        _ if number.is_nan() => return "NaN".into(),
        f64::INFINITY => return "+Inf".into(),
        f64::NEG_INFINITY => return "-Inf".into(),
        _ => {}
    }
    let text = format!("{number:e}");
    let parts = text.split_once('e').and_then(|(digits, exponent)| Some((digits, exponent.parse::<i32>().ok()?)));
    match parts {
        Some((digits, exponent)) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        let long = "99999999999999999999";
        for (text, why) in
            [("", "invalid syntax"), ("x", "invalid syntax"), ("-", "invalid syntax"), (long, "value out of range")]
        {
            assert_eq!(atoi(text), Err(format!("strconv.Atoi: parsing \"{text}\": {why}")));
            assert_eq!(parse_int(text), Err(format!("strconv.ParseInt: parsing \"{text}\": {why}")));
            assert_eq!(parse_uint(text), Err(format!("strconv.ParseUint: parsing \"{text}\": {why}")));
        }
        assert_eq!((atoi("-5"), parse_int("+5"), parse_uint("5")), (Ok(-5), Ok(5), Ok(5)));
        for text in ["-5", "+5"] {
            assert_eq!(parse_uint(text), Err(format!("strconv.ParseUint: parsing \"{text}\": invalid syntax")));
        }
        assert_eq!(atoi("\"\n"), Err(r#"strconv.Atoi: parsing "\"\n": invalid syntax"#.into()));
    }

    #[test]
    fn floats() {
        for (number, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-2.5, "-2.5"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (0.000_012_345, "1.2345e-05"),
            (999_999.0, "999999"),
            (999_999.5, "999999.5"),
            (1_000_000.0, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (123_456_789.125, "1.23456789125e+08"),
            (12_345_678_901_234_567_890.0, "1.2345678901234567e+19"),
            (9_223_372_036_854_775_808.0, "9.223372036854776e+18"),
            (1e21, "1e+21"),
            (-1e100, "-1e+100"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(format_float(number), expected);
        }
    }

    #[test]
    fn truth_values() {
        for (text, expected) in
            [("T", Some(true)), ("False", Some(false)), ("0", Some(false)), ("yes", None), ("", None)]
        {
            assert_eq!(parse_bool(text), expected, "{text}");
        }
    }

    #[test]
    fn quoted_texts() {
        assert_eq!(quote("a\"\\\n\t\u{7}\u{1}\u{7f}\u{85}\u{2028}é😀"), r#""a\"\\\n\t\a\x01\x7f\u0085\u2028é😀""#);
    }
}
