//! Times as objects carry them, and durations as tables show them.

use jiff::{SignedDuration, Timestamp, tz};

/// A time with whole seconds in UTC, as `metav1.Time` prints it.
pub fn format(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time with microseconds in UTC, as `metav1.MicroTime` prints it.
pub fn format_micro(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Why a text is no time; the wording is that of Go's `time.Parse` with `time.RFC3339`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TimeError(String);

/// What Go calls the form of a time; a micro time has just six digits of a fraction.
const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
const LAYOUT_MICRO: &str = "2006-01-02T15:04:05.000000Z07:00";
const FRACTION_MICRO: &str = ".000000";
/// The first second of the year 0.
const YEAR_ZERO_SECONDS: i64 = -62_167_219_200;
/// Each element of the layout: its text, how many digits it takes (0 for a literal), its range and its name in errors.
const ELEMENTS: [(&str, usize, u32, u32, &str); 11] = [
    ("2006", 4, 0, 9999, "year"),
    ("-", 0, 0, 0, ""),
    ("01", 2, 1, 12, "month"),
    ("-", 0, 0, 0, ""),
    ("02", 2, 1, 31, "day"),
    ("T", 0, 0, 0, ""),
    ("15", 2, 0, 23, "hour"),
    (":", 0, 0, 0, ""),
    ("04", 2, 0, 59, "minute"),
    (":", 0, 0, 0, ""),
    ("05", 2, 0, 59, "second"),
];

/// Reads an RFC 3339 time, with or without a fraction of a second.
///
/// # Errors
/// [`TimeError`] says where the text stops being a time.
pub fn parse(text: &str) -> Result<Timestamp, TimeError> {
    parse_as(LAYOUT, text)
}

fn parse_as(layout: &str, text: &str) -> Result<Timestamp, TimeError> {
    let mut rest = text;
    let cannot = |rest: &str, element: &str| cannot(layout, text, rest, element);
    for (element, count, low, high, name) in ELEMENTS {
        if count == 0 {
            rest = rest.strip_prefix(element).ok_or_else(|| cannot(rest, element))?;
            continue;
        }
        let number = rest.get(..count).filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
        let number = number.ok_or_else(|| cannot(rest, element))?;
        rest = &rest[count..];
        let number: u32 = number.parse().map_err(|_| cannot(rest, element))?;
        if !(low..=high).contains(&number) {
            return Err(TimeError(format!("parsing time {text:?}: {name} out of range")));
        }
    }
    if layout == LAYOUT_MICRO {
        let fraction = rest.strip_prefix(['.', ',']).and_then(|digits| digits.get(..6));
        if !fraction.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err(cannot(rest, FRACTION_MICRO));
        }
        rest = &rest[FRACTION_MICRO.len()..];
    } else if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let count = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if count > 0 {
            rest = &fraction[count..];
        }
    }
    zone(layout, text, rest)?;
    let text_of_jiff = text.replacen(',', ".", 1);
    let time: Timestamp =
        text_of_jiff.parse().map_err(|_| TimeError(format!("parsing time {text:?}: day out of range")))?;
    // (Go would print a negative year, which nobody can read.)
    if time.as_second() < YEAR_ZERO_SECONDS {
        return Err(TimeError(format!("parsing time {text:?}: year out of range")));
    }
    Ok(time)
}

fn cannot(layout: &str, text: &str, rest: &str, element: &str) -> TimeError {
    TimeError(format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}"))
}

fn zone(layout: &str, text: &str, rest: &str) -> Result<(), TimeError> {
    let after = match rest.as_bytes() {
        [b'Z', ..] => &rest[1..],
        [b'+' | b'-', a, b, b':', c, d, ..] if [a, b, c, d].iter().all(|x| x.is_ascii_digit()) => &rest[6..],
        _ => return Err(cannot(layout, text, rest, "Z07:00")),
    };
    if after.is_empty() { Ok(()) } else { Err(TimeError(format!("parsing time {text:?}: extra text: {after:?}"))) }
}

/// Reads a time and prints it as `metav1.Time` does, in UTC with whole seconds.
///
/// # Errors
/// Those of [`parse`].
pub fn normalize(text: &str) -> Result<String, TimeError> {
    parse(text).map(format)
}

/// Reads a time and prints it as `metav1.MicroTime` does.
///
/// # Errors
/// Those of [`parse`].
pub fn normalize_micro(text: &str) -> Result<String, TimeError> {
    parse_as(LAYOUT_MICRO, text).map(format_micro)
}

/// A duration with two or three significant figures, as `duration.HumanDuration` in apimachinery prints it.
pub fn human_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    if seconds < -1 {
        return "<invalid>".into();
    }
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |big: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{small_unit}") }
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 24 * 8 => two(days, "d", hours % 24, "h"),
        () if hours < 24 * 365 * 2 => format!("{days}d"),
        () if hours < 24 * 365 * 8 => two(days / 365, "y", days % 365, "d"),
        () => format!("{}y", days / 365),
    }
}

/// How long ago `text` was, as tables show an age: `<unknown>` if there is no time.
pub fn age(text: Option<&str>, now: Timestamp) -> String {
    match text.map(parse) {
        Some(Ok(time)) => human_duration(now.duration_since(time)),
        _ => "<unknown>".into(),
    }
}

/// A time as Go's RFC 1123 with a numeric zone prints it (`Mon, 02 Jan 2006 15:04:05 +0000`).
pub fn format_rfc1123z(time: Timestamp) -> String {
    time.to_zoned(tz::TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let actual = normalize(text).unwrap_or_else(|e| e.to_string());
        assert_eq!(actual, expect);
    }

    #[test]
    fn times_are_read_as_go_reads_them() {
        check("2024-02-29T01:02:03Z", "2024-02-29T01:02:03Z");
        check("2024-02-29T01:02:03.999Z", "2024-02-29T01:02:03Z");
        check("2024-02-29T01:02:03+02:00", "2024-02-28T23:02:03Z");
        check("nope", r#"parsing time "nope" as "2006-01-02T15:04:05Z07:00": cannot parse "nope" as "2006""#);
        check("2024", r#"parsing time "2024" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "-""#);
        check("2024-13-01T00:00:00Z", r#"parsing time "2024-13-01T00:00:00Z": month out of range"#);
        check("2023-02-29T00:00:00Z", r#"parsing time "2023-02-29T00:00:00Z": day out of range"#);
        check("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z");
        check("0000-01-01T00:00:00+02:00", r#"parsing time "0000-01-01T00:00:00+02:00": year out of range"#);
        check(
            "2024-01-01T00:00:00",
            r#"parsing time "2024-01-01T00:00:00" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "Z07:00""#,
        );
        check("2024-01-01T00:00:00Zx", r#"parsing time "2024-01-01T00:00:00Zx": extra text: "x""#);
        assert_eq!(normalize_micro("2024-01-01T02:00:00.500000+02:00").unwrap(), "2024-01-01T00:00:00.500000Z");
        let short = r#"parsing time "2024-01-01T00:00:00.5Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse ".5Z" as ".000000""#;
        assert_eq!(normalize_micro("2024-01-01T00:00:00.5Z").unwrap_err().to_string(), short);
    }

    fn check_duration(seconds: i64, expect: &str) {
        assert_eq!(human_duration(SignedDuration::from_secs(seconds)), expect, "{seconds}");
    }

    #[test]
    fn durations_are_short() {
        check_duration(-5, "<invalid>");
        check_duration(-1, "0s");
        check_duration(119, "119s");
        check_duration(120, "2m");
        check_duration(130, "2m10s");
        check_duration(660, "11m");
        check_duration(3 * 3600, "3h");
        check_duration(3 * 3600 + 60, "3h1m");
        check_duration(9 * 3600, "9h");
        check_duration(49 * 3600, "2d1h");
        check_duration(48 * 3600, "2d");
        check_duration(9 * 86_400, "9d");
        check_duration(800 * 86_400, "2y70d");
        check_duration(10 * 365 * 86_400, "10y");
    }
}
