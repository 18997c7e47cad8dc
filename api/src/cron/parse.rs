//! Reading a schedule (`Parser.Parse` of robfig/cron).

use super::{Field, Schedule, Times, is_zone_name};
use crate::go::{duration, strconv};

/// What a field is: its lowest and highest number, and names that stand for numbers.
struct Bounds {
    low: u64,
    high: u64,
    names: &'static [&'static str],
}

/// Minute, hour, day of the month, month, day of the week.
const FIELDS: [Bounds; 5] = [
    Bounds { low: 0, high: 59, names: &[] },
    Bounds { low: 0, high: 23, names: &[] },
    Bounds { low: 1, high: 31, names: &[] },
    Bounds {
        low: 1,
        high: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Bounds { low: 0, high: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];
/// What descriptors stand for.
const DESCRIPTORS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
const NANOSECONDS: i64 = 1_000_000_000;

pub(super) fn schedule(text: &str) -> Result<Schedule, String> {
    if text.is_empty() {
        return Err("empty spec string".into());
    }
    let (zone, rest) = zone(text)?;
    let zone = zone.map(str::to_owned);
    if let Some(pause) = rest.strip_prefix("@every ") {
        let pause = duration::parse(pause).map_err(|why| format!("failed to parse duration {rest}: {why}"))?;
        return Ok(Schedule { zone, times: Times::Every((pause / NANOSECONDS).max(1)) });
    }
    let rest = if rest.starts_with('@') {
        let known = DESCRIPTORS.iter().find(|(name, _)| *name == rest);
        known.ok_or_else(|| format!("unrecognized descriptor: {rest}"))?.1
    } else {
        rest
    };
    let words: Vec<&str> = rest.split_whitespace().collect();
    if words.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", words.len(), words.join(" ")));
    }
    let mut fields = [Field::default(); FIELDS.len()];
    for ((field, word), bounds) in fields.iter_mut().zip(words).zip(&FIELDS) {
        for part in word.split(',').filter(|part| !part.is_empty()) {
            let range = range(part, bounds)?;
            field.bits |= range.bits;
            field.open |= range.open;
        }
    }
    Ok(Schedule { zone, times: Times::Fields(fields) })
}

/// The name of the time zone before the fields, and the rest.
fn zone(text: &str) -> Result<(Option<&str>, &str), String> {
    let Some(after) = ["TZ=", "CRON_TZ="].iter().find_map(|prefix| text.strip_prefix(prefix)) else {
        return Ok((None, text));
    };
    // (The reference fails on a zone with nothing behind it, without words for it.)
    let (zone, rest) = after.split_once(' ').unwrap_or((after, ""));
    if !zone.is_empty() && !is_zone_name(zone) && zone != "Local" {
        return Err(format!("provided bad location {zone}: unknown time zone {zone}"));
    }
    Ok((Some(zone), rest.trim()))
}

/// One range: `*`, `?`, `n`, `n-m`, each with `/step` behind (`getRange`).
fn range(part: &str, Bounds { low, high, names }: &Bounds) -> Result<Field, String> {
    let parts: Vec<&str> = part.split('/').collect();
    let bounds: Vec<&str> = parts[0].split('-').collect();
    let mut open = matches!(bounds[0], "*" | "?");
    let (first, mut last) = if open {
        (*low, *high)
    } else {
        let first = number(bounds[0], names, *low)?;
        match bounds.len() {
            1 => (first, first),
            2 => (first, number(bounds[1], names, *low)?),
            _ => return Err(format!("too many hyphens: {part}")),
        }
    };
    let step = match parts.len() {
        1 => 1,
        2 => {
            let step = number(parts[1], &[], 0)?;
            if bounds.len() == 1 {
                last = *high;
            }
            open &= step <= 1;
            step
        }
        _ => return Err(format!("too many slashes: {part}")),
    };
    if first < *low {
        return Err(format!("beginning of range ({first}) below minimum ({low}): {part}"));
    }
    if last > *high {
        return Err(format!("end of range ({last}) above maximum ({high}): {part}"));
    }
    if first > last {
        return Err(format!("beginning of range ({first}) beyond end of range ({last}): {part}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {part}"));
    }
    let step = usize::try_from(step).unwrap_or(usize::MAX);
    Ok(Field { bits: (first..=last).step_by(step).fold(0, |bits, number| bits | 1 << number), open })
}

fn number(text: &str, names: &[&str], first: u64) -> Result<u64, String> {
    let named = names.iter().position(|name| text.eq_ignore_ascii_case(name));
    if let Some(at) = named {
        return Ok(first + at as u64);
    }
    let number = strconv::atoi(text).map_err(|why| format!("failed to parse int from {text}: {why}"))?;
    u64::try_from(number).map_err(|_| format!("negative number ({number}) not allowed: {text}"))
}
