//! Cron schedules: five fields, or `@daily` and its like.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Days that the search for the next time looks at: February 29th may be eight years away.
const DAYS_MAX: usize = 366 * 9;

/// When jobs are due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Schedule {
    /// A fixed pause instead of fields (`@every 1h`).
    every_seconds: Option<i64>,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether the day fields are stars: if neither is, either may match.
    any_day: bool,
    any_weekday: bool,
}

/// The text is no schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not five fields of a schedule")]
pub(super) struct Unparseable;

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Schedule {
    /// Reads a schedule.
    pub(super) fn parse(text: &str) -> Result<Self, Unparseable> {
        let text = text.trim();
        if let Some(pause) = text.strip_prefix("@every ") {
            let seconds = go_duration(pause.trim()).filter(|s| *s >= 1).ok_or(Unparseable)?;
            return Ok(Self { every_seconds: Some(seconds), ..Self::parse("* * * * *")? });
        }
        let text = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else { return Err(Unparseable) };
        let star = |f: &str| f.starts_with('*') || f.starts_with('?');
        let weekdays = field(weekday, 0, 7, WEEKDAYS, 0)?;
        Ok(Self {
            every_seconds: None,
            minutes: field(minute, 0, 59, &[], 0)?,
            hours: field(hour, 0, 23, &[], 0)?,
            days: field(day, 1, 31, &[], 0)?,
            months: field(month, 1, 12, MONTHS, 1)?,
            // Sunday is 0 and 7.
            weekdays: weekdays | (weekdays >> 7),
            any_day: star(day),
            any_weekday: star(weekday),
        })
    }

    /// The first time after `after`.
    pub(super) fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if let Some(seconds) = self.every_seconds {
            return Timestamp::from_second(after.as_second() + seconds).ok();
        }
        let start = after.to_zoned(zone.clone()).datetime();
        let mut date = start.date();
        for _ in 0..DAYS_MAX {
            if self.is_day(date) {
                for hour in (0..24).filter(|h| self.hours & (1 << h) != 0) {
                    for minute in (0..60).filter(|m| self.minutes & (1 << m) != 0) {
                        // A time that the clocks skip is moved by the gap; one that comes twice counts once.
                        let time = date.at(hour, minute, 0, 0).to_zoned(zone.clone()).ok()?.timestamp();
                        if time > after {
                            return Some(time);
                        }
                    }
                }
            }
            date = date.checked_add(1.day()).ok()?;
        }
        None
    }

    /// The last time after `from` and not after `until`.
    pub(super) fn last_before(&self, mut from: Timestamp, until: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut last = None;
        while let Some(time) = self.next(from, zone).filter(|t| *t <= until) {
            last = Some(time);
            from = time;
        }
        last
    }

    fn is_day(&self, date: Date) -> bool {
        let in_month = self.months & (1 << date.month()) != 0;
        let day = self.days & (1 << date.day()) != 0;
        let weekday = self.weekdays & (1 << Weekday::to_sunday_zero_offset(date.weekday())) != 0;
        in_month && if self.any_day || self.any_weekday { day && weekday } else { day || weekday }
    }
}

fn field(text: &str, min: u32, max: u32, names: &[&str], first_name: u32) -> Result<u64, Unparseable> {
    let number = |t: &str| -> Result<u32, Unparseable> {
        let named = names.iter().position(|n| n.eq_ignore_ascii_case(t)).map(|i| i as u32 + first_name);
        named.map_or_else(|| t.parse().map_err(|_| Unparseable), Ok)
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().ok().filter(|s| *s > 0).ok_or(Unparseable)?)),
            None => (part, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if matches!(range, "*" | "?") => (min, max),
            Some((first, last)) => (number(first)?, number(last)?),
            None if step.is_some() => (number(range)?, max),
            None => (number(range)?, number(range)?),
        };
        if first < min || last > max || first > last {
            return Err(Unparseable);
        }
        (first..=last).step_by(step.unwrap_or(1) as usize).for_each(|i| bits |= 1 << i);
    }
    Ok(bits)
}

/// Seconds of a duration such as `1h30m`.
fn go_duration(text: &str) -> Option<i64> {
    let (mut total, mut number) = (0.0, String::new());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c.is_ascii_digit() || c == '.' {
            number.push(c);
            continue;
        }
        let milli = c == 'm' && rest.next_if_eq(&'s').is_some();
        let unit = match c {
            'h' => 3600.0,
            'm' if milli => 0.001,
            'm' => 60.0,
            's' => 1.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * unit;
        number.clear();
    }
    number.is_empty().then_some(total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schedule: &str, after: &str, zone: &str, expected: &str) {
        let after: Timestamp = after.parse().expect("a time");
        let zone = TimeZone::get(zone).expect("a zone");
        let next = Schedule::parse(schedule).expect("a schedule").next(after, &zone);
        assert_eq!(next.map(|t| t.to_string()).as_deref(), Some(expected), "{schedule} after {after}");
    }

    #[test]
    fn the_next_time() {
        check("*/5 * * * *", "2026-01-01T00:03:10Z", "UTC", "2026-01-01T00:05:00Z");
        check("*/5 * * * *", "2026-01-01T00:05:00Z", "UTC", "2026-01-01T00:10:00Z");
        check("0 0 * * *", "2026-01-01T10:00:00Z", "UTC", "2026-01-02T00:00:00Z");
        check("30 8 * * mon-fri", "2026-01-02T09:00:00Z", "UTC", "2026-01-05T08:30:00Z");
        check("0 0 13 * 5", "2026-01-01T00:00:00Z", "UTC", "2026-01-02T00:00:00Z");
        check("0 0 29 2 *", "2026-01-01T00:00:00Z", "UTC", "2028-02-29T00:00:00Z");
        check("@hourly", "2026-01-01T00:03:10Z", "UTC", "2026-01-01T01:00:00Z");
        check("0 12 * * 7", "2026-01-01T00:00:00Z", "UTC", "2026-01-04T12:00:00Z");
        check("@every 1m30s", "2026-01-01T00:00:00Z", "UTC", "2026-01-01T00:01:30Z");
    }

    #[test]
    fn what_is_no_schedule() {
        for text in ["", "* * * *", "60 * * * *", "* * 0 * *", "*/0 * * * *", "a * * * *", "@every x", "5-1 * * * *"] {
            assert_eq!(Schedule::parse(text), Err(Unparseable), "{text}");
        }
    }
}
