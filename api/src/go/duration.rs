//! Durations as Go's package `time` reads and prints them, in nanoseconds.

/// The units, and how many nanoseconds they have. The sign for micro is two characters that look alike.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
];
const SECOND: u64 = 1_000_000_000;
/// The magnitude of the longest negative duration; the longest positive one has a nanosecond less.
const NANOSECONDS_MAX: u64 = 1 << 63;

/// Why a text is no duration, as `time.ParseDuration` says it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("time: {0}")]
pub struct DurationError(String);

/// Reads a duration such as `1h30m` or `-1.5s` (`time.ParseDuration`).
///
/// # Errors
/// [`DurationError`], also for what does not fit an `i64`.
pub fn parse(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError(format!("invalid duration {}", quoted(text)));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0u64;
    while !rest.is_empty() {
        let number = Number::read(&mut rest).ok_or_else(invalid)?;
        let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, after) = rest.split_at(end);
        rest = after;
        if unit.is_empty() {
            return Err(DurationError(format!("missing unit in duration {}", quoted(text))));
        }
        let Some((_, nanoseconds)) = UNITS.iter().find(|(known, _)| *known == unit) else {
            return Err(DurationError(format!("unknown unit {} in duration {}", quoted(unit), quoted(text))));
        };
        let part = number.times(*nanoseconds).ok_or_else(invalid)?;
        total = total.checked_add(part).filter(|sum| *sum <= NANOSECONDS_MAX).ok_or_else(invalid)?;
    }
    match (negative, i64::try_from(total)) {
        (false, Ok(total)) => Ok(total),
        (true, Ok(total)) => Ok(-total),
        (true, Err(_)) => Ok(i64::MIN),
        (false, Err(_)) => Err(invalid()),
    }
}

/// Digits with a point, or without.
struct Number {
    whole: u64,
    /// Digits behind the point, as many as an `i64` holds.
    fraction: u64,
    /// What the digits behind the point are divided by.
    scale: f64,
}

impl Number {
    /// Takes the digits off the front; nothing if there are none, or too many before the point.
    fn read(rest: &mut &str) -> Option<Self> {
        let whole = digits(rest);
        let fraction = rest.strip_prefix('.').map(|after| {
            *rest = after;
            digits(rest)
        });
        if whole.is_empty() && fraction.is_none_or(str::is_empty) {
            return None;
        }
        let whole = if whole.is_empty() { 0 } else { whole.parse().ok().filter(|n| *n <= NANOSECONDS_MAX)? };
        let mut number = Self { whole, fraction: 0, scale: 1.0 };
        for digit in fraction.unwrap_or_default().bytes() {
            // What is finer than that is not seen.
            let longer = number.fraction.checked_mul(10).and_then(|f| f.checked_add(u64::from(digit - b'0')));
            let Some(longer) = longer.filter(|f| *f <= NANOSECONDS_MAX) else { break };
            number.fraction = longer;
            number.scale *= 10.0;
        }
        Some(number)
    }

    fn times(&self, unit: u64) -> Option<u64> {
        let whole = self.whole.checked_mul(unit)?;
        let fraction = (self.fraction as f64 * (unit as f64 / self.scale)) as u64;
        whole.checked_add(fraction).filter(|sum| *sum <= NANOSECONDS_MAX)
    }
}

fn digits<'a>(rest: &mut &'a str) -> &'a str {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    digits
}

/// In quotes, with everything that is not printable ASCII byte by byte: the package has a way of its own, not that of `%q`.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b' '..=b'~' | 0x7f => quoted.push(char::from(byte)),
            other => quoted.push_str(&format!("\\x{other:02x}")),
        }
    }
    quoted.push('"');
    quoted
}

/// Prints a duration such as `1h30m0s` or `1.5ms` (`time.Duration.String`).
pub fn format(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let length = nanoseconds.unsigned_abs();
    let (minutes, seconds) = (length / (60 * SECOND), length % (60 * SECOND));
    match length {
        0 => "0s".into(),
        1..1_000 => format!("{sign}{length}ns"),
        1_000..1_000_000 => format!("{sign}{}\u{b5}s", decimal(length, 3)),
        1_000_000..SECOND => format!("{sign}{}ms", decimal(length, 6)),
        _ => {
            let (hours, minutes, seconds) = (minutes / 60, minutes % 60, decimal(seconds, 9));
            match (hours, minutes) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// A number with a point before its last `places` digits, without zeros at the end.
fn decimal(number: u64, places: u32) -> String {
    let (whole, fraction) = (number / 10u64.pow(places), number % 10u64.pow(places));
    let text = format!("{whole}.{fraction:0width$}", width = places as usize);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_printed() {
        let check = |text: &str, nanoseconds: i64, printed: &str| {
            assert_eq!(parse(text), Ok(nanoseconds), "{text}");
            assert_eq!(format(nanoseconds), printed, "{text}");
            assert_eq!(parse(printed), Ok(nanoseconds), "{printed}");
        };
        const HOUR: i64 = 3_600_000_000_000;
        check("0", 0, "0s");
        check("+0", 0, "0s");
        check("1h30m", HOUR * 3 / 2, "1h30m0s");
        check("-1.5h", -HOUR * 3 / 2, "-1h30m0s");
        check("80s", 80_000_000_000, "1m20s");
        check("0.5s", 500_000_000, "500ms");
        check(".5s", 500_000_000, "500ms");
        check("5.s", 5_000_000_000, "5s");
        check("1.004s", 1_004_000_000, "1.004s");
        check("1us", 1_000, "1\u{b5}s");
        check("1.5\u{3bc}s", 1_500, "1.5\u{b5}s");
        check("2000000h", 2_000_000 * HOUR, "2000000h0m0s");
        check("39h9m14.425s", 39 * HOUR + 554_425_000_000, "39h9m14.425s");
        check("9223372036854775807ns", i64::MAX, "2562047h47m16.854775807s");
        check("-9223372036854775808ns", i64::MIN, "-2562047h47m16.854775808s");
        // Digits that are too fine are not seen, however many there are.
        check("0.3333333333333333333h", HOUR / 3, "20m0s");
        check("0.100000000000000000000h", HOUR / 10, "6m0s");
    }

    #[test]
    fn what_is_no_duration() {
        let check = |text: &str, expect: &str| {
            assert_eq!(parse(text).map_err(|error| error.to_string()), Err(format!("time: {expect}")), "{text}");
        };
        check("", "invalid duration \"\"");
        check("-", "invalid duration \"-\"");
        check("3", "missing unit in duration \"3\"");
        check("1h3", "missing unit in duration \"1h3\"");
        check("s", "invalid duration \"s\"");
        check(".s", "invalid duration \".s\"");
        check("--1s", "invalid duration \"--1s\"");
        check("1x", "unknown unit \"x\" in duration \"1x\"");
        check("1h 30m", "unknown unit \"h \" in duration \"1h 30m\"");
        check("1\u{e9}", "unknown unit \"\\xc3\\xa9\" in duration \"1\\xc3\\xa9\"");
        check("\"", "invalid duration \"\\\"\"");
        check("9223372036854775808ns", "invalid duration \"9223372036854775808ns\"");
        check("99999999999999999999s", "invalid duration \"99999999999999999999s\"");
        check("9223372036s1s", "invalid duration \"9223372036s1s\"");
        check("3000001h1h", "invalid duration \"3000001h1h\"");
    }
}
