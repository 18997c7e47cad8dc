//! Whether a cron schedule can be parsed, in the words of the parser that the reference uses (robfig/cron).

/// The fields of a schedule: name, lowest and highest number, and names that stand for numbers.
const FIELDS: [(u64, u64, &[&str]); 5] = [
    (0, 59, &[]),
    (0, 23, &[]),
    (1, 31, &[]),
    (1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    (0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];
static ZONES: &str = include_str!("../data/overlay/zones.txt");
const DESCRIPTORS: [&str; 7] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// Checks a schedule of five fields or a descriptor, with a time zone before it or without (`Parser.Parse`).
///
/// # Errors
/// What is wrong with it.
pub fn check(schedule: &str) -> Result<(), String> {
    let zone = ["TZ=", "CRON_TZ="].iter().find_map(|prefix| schedule.strip_prefix(prefix));
    let rest = match zone {
        None => schedule,
        Some(zone) => {
            let Some((zone, rest)) = zone.split_once(' ') else {
                let detail = "runtime error: slice bounds out of range [:-1]";
                return Err(format!("invalid schedule format: {detail}"));
            };
            if !zone.is_empty() && !is_zone_name(zone) && zone != "Local" {
                return Err(format!("provided bad location {zone}: unknown time zone {zone}"));
            }
            rest.trim()
        }
    };
    if let Some(every) = rest.strip_prefix("@every ") {
        return duration(every).map_err(|problem| format!("failed to parse duration {rest}: {problem}"));
    }
    if rest.starts_with('@') {
        let known = DESCRIPTORS.contains(&rest);
        return if known { Ok(()) } else { Err(format!("unrecognized descriptor: {rest}")) };
    }
    let words: Vec<&str> = rest.split_whitespace().collect();
    if words.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", words.len(), words.join(" ")));
    }
    let ranges =
        |word: &'_ str| word.split(',').filter(|part| !part.is_empty()).map(str::to_string).collect::<Vec<_>>();
    words.iter().zip(FIELDS).try_for_each(|(word, field)| ranges(word).iter().try_for_each(|part| range(part, field)))
}

/// One range: `*`, `?`, `n`, `n-m`, each with `/step` behind (`getRange`).
fn range(part: &str, (low, high, names): (u64, u64, &[&str])) -> Result<(), String> {
    let parts: Vec<&str> = part.split('/').collect();
    let bounds: Vec<&str> = parts[0].split('-').collect();
    let (first, mut last) = if matches!(bounds[0], "*" | "?") {
        (low, high)
    } else {
        let first = number(bounds[0], names, low)?;
        match bounds.len() {
            1 => (first, first),
            2 => (first, number(bounds[1], names, low)?),
            _ => return Err(format!("too many hyphens: {part}")),
        }
    };
    let step = match parts.len() {
        1 => 1,
        2 => {
            let step = number(parts[1], &[], 0)?;
            if bounds.len() == 1 {
                last = high;
            }
            step
        }
        _ => return Err(format!("too many slashes: {part}")),
    };
    if first < low {
        return Err(format!("beginning of range ({first}) below minimum ({low}): {part}"));
    }
    if last > high {
        return Err(format!("end of range ({last}) above maximum ({high}): {part}"));
    }
    if first > last {
        return Err(format!("beginning of range ({first}) beyond end of range ({last}): {part}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {part}"));
    }
    Ok(())
}

fn number(text: &str, names: &[&str], first: u64) -> Result<u64, String> {
    let named = names.iter().position(|name| text.eq_ignore_ascii_case(name));
    if let Some(at) = named {
        return Ok(first + at as u64);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<i64>() {
        Ok(number) => u64::try_from(number).map_err(|_| format!("negative number ({number}) not allowed: {text}")),
        Err(_) => {
            let why = if is_number { "value out of range" } else { "invalid syntax" };
            Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: {why}"))
        }
    }
}

/// Whether a text is a duration as Go reads them (`time.ParseDuration`).
fn duration(text: &str) -> Result<(), String> {
    const UNITS: [&str; 8] = ["ns", "us", "\u{b5}s", "\u{3bc}s", "ms", "s", "m", "h"];
    let invalid = || format!("time: invalid duration {text:?}");
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Ok(());
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let fraction = after.strip_prefix('.').map(|f| f.trim_start_matches(|c: char| c.is_ascii_digit()));
        let number_length = rest.len() - fraction.unwrap_or(after).len();
        if !rest[..number_length].contains(|c: char| c.is_ascii_digit()) {
            return Err(invalid());
        }
        rest = &rest[number_length..];
        let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = &rest[..end];
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        if !UNITS.contains(&unit) {
            return Err(format!("time: unknown unit {unit:?} in duration {text:?}"));
        }
        rest = &rest[end..];
    }
    Ok(())
}

/// Whether there is a time zone of this name in the database of the IANA.
pub fn is_zone_name(name: &str) -> bool {
    ZONES.lines().any(|zone| zone == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules() {
        for good in ["* * * * *", "*/5 0-3 1,2 jan mon", "@hourly", "@every 1h", "0 12 ? * MON-FRI"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let bad = |schedule: &str, expect: &str| {
            let problem = check(schedule).unwrap_err();
            assert!(problem.contains(expect), "{schedule}: {problem}");
        };
        bad("bad", "expected exactly 5 fields, found 1: [bad]");
        bad("60 * * * *", "above maximum (59)");
        bad("* * 0 * *", "below minimum (1)");
        bad("5-1 * * * *", "beyond end of range");
        bad("x * * * *", "failed to parse int");
        bad("*/0 * * * *", "positive number");
        bad("@sometimes", "unrecognized descriptor");
        bad("@every x", "failed to parse duration @every x: time: invalid duration \"x\"");
        bad("TZ=Nowhere 0 * * * *", "provided bad location Nowhere: unknown time zone Nowhere");
        bad("-1 * * * *", "failed to parse int from : strconv.Atoi: parsing \"\": invalid syntax");
        assert!(is_zone_name("Europe/Berlin") && !is_zone_name("Europe/berlin"));
    }
}
