//! Whether a cron schedule can be parsed, in the words of the parser that the reference uses (robfig/cron).

/// The fields of a schedule: name, lowest and highest number, and names that stand for numbers.
const FIELDS: [(u32, u32, &[&str]); 5] = [
    (0, 59, &[]),
    (0, 23, &[]),
    (1, 31, &[]),
    (1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    (0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];
const DESCRIPTORS: [&str; 7] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// Checks a schedule of five fields or a descriptor.
///
/// # Errors
/// What is wrong with it.
pub fn check(schedule: &str) -> Result<(), String> {
    if let Some(every) = schedule.strip_prefix("@every ") {
        let valid = every.ends_with(['h', 'm', 's']) && every.starts_with(|c: char| c.is_ascii_digit());
        return if valid { Ok(()) } else { Err(format!("failed to parse duration {schedule}")) };
    }
    if schedule.starts_with('@') {
        let known = DESCRIPTORS.contains(&schedule);
        return if known { Ok(()) } else { Err(format!("unrecognized descriptor: {schedule}")) };
    }
    let words: Vec<&str> = schedule.split_whitespace().collect();
    if words.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", words.len(), words.join(" ")));
    }
    words.iter().zip(FIELDS).try_for_each(|(word, field)| word.split(',').try_for_each(|part| range(part, field)))
}

/// One range: `*`, `?`, `n`, `n-m`, each with `/step` behind.
fn range(part: &str, (low, high, names): (u32, u32, &[&str])) -> Result<(), String> {
    let (span, step) = part.split_once('/').map_or((part, None), |(span, step)| (span, Some(step)));
    if part.matches('/').count() > 1 {
        return Err(format!("too many slashes: {part}"));
    }
    if span.matches('-').count() > 1 {
        return Err(format!("too many hyphens: {part}"));
    }
    let (first, last) = match span {
        "*" | "?" => (low, high),
        _ => match span.split_once('-') {
            Some((first, last)) => (number(first, names, low)?, number(last, names, low)?),
            None => {
                let first = number(span, names, low)?;
                (first, if step.is_some() { high } else { first })
            }
        },
    };
    if step.map(|step| number(step, &[], 0)).transpose()? == Some(0) {
        return Err(format!("step of range should be a positive number: {part}"));
    }
    if first < low {
        return Err(format!("beginning of range ({first}) below minimum ({low}): {part}"));
    }
    if last > high {
        return Err(format!("end of range ({last}) above maximum ({high}): {part}"));
    }
    if first > last {
        return Err(format!("beginning of range ({first}) beyond end of range ({last}): {part}"));
    }
    Ok(())
}

fn number(text: &str, names: &[&str], first: u32) -> Result<u32, String> {
    let named = names.iter().position(|name| text.eq_ignore_ascii_case(name));
    if let Some(at) = named {
        return Ok(first + u32::try_from(at).expect("a dozen names"));
    }
    text.parse().map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))
}

/// Whether a text looks like the name of a time zone: words of letters with slashes between.
pub fn is_zone_name(name: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+'))
    };
    name.split('/').all(word) && name.starts_with(|c: char| c.is_ascii_uppercase())
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
    }
}
