//! Cron schedules, as the parser that the reference uses reads them (robfig/cron v3, `ParseStandard`), and when they are due.

mod parse;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

/// The search for the next time ends with this year from now.
const YEARS_MAX: i16 = 5;
/// Clocks never went back by more hours than this.
const CLOCK_BACK_HOURS_MAX: i8 = 3;

static ZONES: &str = include_str!("../data/overlay/zones.txt");

/// Whether there is a time zone of this name in the database of the IANA.
pub fn is_zone_name(name: &str) -> bool {
    ZONES.lines().any(|zone| zone == name)
}

/// When something is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    zone: Option<String>,
    times: Times,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Times {
    /// A pause in seconds (`@every 1h`).
    Every(i64),
    /// The minutes that five fields select.
    Fields([Field; 5]),
}

/// The numbers that one field selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Field {
    /// One bit a number.
    bits: u64,
    /// Whether it was left open. If both fields of days select, either is enough.
    open: bool,
}

impl Field {
    fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|number| self.bits & 1 << number != 0)
    }

    fn numbers(self, from: i8, to: i8) -> impl Iterator<Item = i8> {
        (from..=to).filter(move |number| self.has(*number))
    }
}

impl Schedule {
    /// Reads five fields or a descriptor, with a time zone before it or without.
    ///
    /// # Errors
    /// In the words of `Parser.Parse`.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse::schedule(text)
    }

    /// The time zone that the text itself names (`TZ=` or `CRON_TZ=` before the fields), which goes before all others.
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// The first time after `after`, given the zone whose clocks count; nothing if there is none within five years. A time
    /// that the clocks skip is none, and one that they show twice is two (`SpecSchedule.Next`, `ConstantDelaySchedule.Next`).
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let [.., months, _] = match &self.times {
            Times::Every(seconds) => return Timestamp::from_second(after.as_second().checked_add(*seconds)?).ok(),
            Times::Fields(fields) => fields,
        };
        let start = after.to_zoned(zone.clone()).datetime();
        let (mut date, mut from) = (start.date(), start.hour() - CLOCK_BACK_HOURS_MAX);
        while date.year() <= start.year() + YEARS_MAX {
            if !months.has(date.month()) {
                date = date.last_of_month();
            } else if self.is_day(date)
                && let Some(time) = self.next_on(date, from.max(0), after, zone)
            {
                return Some(time);
            }
            (date, from) = (date.checked_add(1.day()).ok()?, 0);
        }
        None
    }

    /// The first time on a day, from an hour on.
    fn next_on(&self, date: Date, from: i8, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let Times::Fields([minutes, hours, ..]) = &self.times else { return None };
        let times =
            hours.numbers(from, 23).flat_map(|hour| minutes.numbers(0, 59).map(move |m| date.at(hour, m, 0, 0)));
        let mut again = None;
        for time in times {
            let (first, second) = instants(time, zone);
            again = again.or(second.filter(|time| *time > after));
            // What comes the second time may be before what is later on the clock.
            if let Some(first) = first.filter(|time| *time > after) {
                return Some(again.map_or(first, |again| again.min(first)));
            }
        }
        again
    }

    fn is_day(&self, date: Date) -> bool {
        let Times::Fields([_, _, days, _, weekdays]) = &self.times else { return true };
        let day = days.has(date.day());
        let weekday = weekdays.has(Weekday::to_sunday_zero_offset(date.weekday()));
        if days.open || weekdays.open { day && weekday } else { day || weekday }
    }
}

/// When clocks show a time: never, once, or twice.
fn instants(time: DateTime, zone: &TimeZone) -> (Option<Timestamp>, Option<Timestamp>) {
    match zone.to_ambiguous_timestamp(time).offset() {
        AmbiguousOffset::Unambiguous { offset } => (offset.to_timestamp(time).ok(), None),
        AmbiguousOffset::Gap { .. } => (None, None),
        AmbiguousOffset::Fold { before, after } => (before.to_timestamp(time).ok(), after.to_timestamp(time).ok()),
    }
}

#[cfg(test)]
mod tests;
