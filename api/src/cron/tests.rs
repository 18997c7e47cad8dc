//! What the API server refuses and when the controller makes jobs are two halves of one table.

use super::*;

/// A schedule is due at these times and no others, from the first one's beginning on.
fn due(schedule: &str, after: &str, zone: &str, expected: &[&str]) {
    let mut time: Timestamp = after.parse().expect("a time");
    let zone = TimeZone::get(zone).expect("a zone");
    let parsed = Schedule::parse(schedule).unwrap_or_else(|problem| panic!("{schedule}: {problem}"));
    for expected in expected {
        time = parsed.next(time, &zone).unwrap_or_else(|| panic!("{schedule}: nothing after {time}"));
        assert_eq!(time.to_string(), *expected, "{schedule} after {after}");
    }
}

#[test]
fn schedules_and_their_times() {
    due("*/5 * * * *", "2026-01-01T00:03:10Z", "UTC", &["2026-01-01T00:05:00Z", "2026-01-01T00:10:00Z"]);
    due("0 0 * * *", "2026-01-01T10:00:00Z", "UTC", &["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]);
    due("30 8 * * MON-fri", "2026-01-02T09:00:00Z", "UTC", &["2026-01-05T08:30:00Z", "2026-01-06T08:30:00Z"]);
    due("0 12 ? * 0", "2026-01-01T00:00:00Z", "UTC", &["2026-01-04T12:00:00Z"]);
    due("0 0 29 2 *", "2026-01-01T00:00:00Z", "UTC", &["2028-02-29T00:00:00Z"]);
    due("5/20 22 * JAN *", "2026-01-31T22:30:00Z", "UTC", &["2026-01-31T22:45:00Z", "2027-01-01T22:05:00Z"]);
    due("1,,2 0 * * *", "2026-01-01T00:00:00Z", "UTC", &["2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"]);
    due("@hourly", "2026-01-01T00:03:10Z", "UTC", &["2026-01-01T01:00:00Z"]);
    due("@weekly", "2026-01-01T00:00:00Z", "UTC", &["2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z"]);
    due("@annually", "2026-01-01T00:00:00Z", "UTC", &["2027-01-01T00:00:00Z"]);
    // A pause is whole seconds, and one at least.
    due("@every 1m30s", "2026-01-01T00:00:00.5Z", "UTC", &["2026-01-01T00:01:30Z"]);
    due("@every 1.9s", "2026-01-01T00:00:00Z", "UTC", &["2026-01-01T00:00:01Z"]);
    due("@every 1ms", "2026-01-01T00:00:00Z", "UTC", &["2026-01-01T00:00:01Z"]);
    due("@every -1h", "2026-01-01T00:00:00Z", "UTC", &["2026-01-01T00:00:01Z"]);
}

/// If both fields of days select, either is enough; a star with a step selects.
#[test]
fn days_of_the_month_and_of_the_week() {
    due("0 0 13 * 5", "2026-01-01T00:00:00Z", "UTC", &["2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z"]);
    due("0 0 13 * *", "2026-01-01T00:00:00Z", "UTC", &["2026-01-13T00:00:00Z"]);
    due("0 0 */10 * 5", "2026-01-01T00:00:00Z", "UTC", &["2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z"]);
    due("0 0 */1 * 5", "2026-01-01T00:00:00Z", "UTC", &["2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z"]);
    due("0 0 13 * 1,*", "2026-01-01T00:00:00Z", "UTC", &["2026-01-13T00:00:00Z"]);
    due("0 0 1-31 * 5", "2026-01-01T00:00:00Z", "UTC", &["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]);
}

/// A time that clocks skip is left out, one that they show twice comes twice.
#[test]
fn when_clocks_change() {
    let berlin = "Europe/Berlin";
    due("30 2 * * *", "2026-03-28T00:00:00Z", berlin, &["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"]);
    due("30 2 * * *", "2026-10-24T12:00:00Z", berlin, &["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]);
    due("30 2,3 * * *", "2026-10-25T00:30:00Z", berlin, &["2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"]);
    due("0,30 2 * * *", "2026-10-25T00:00:00Z", berlin, &["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z"]);
    due("15 1 * * *", "2026-10-25T00:30:00Z", "Antarctica/Troll", &["2026-10-25T01:15:00Z", "2026-10-26T01:15:00Z"]);
    due("0 12 * * *", "2026-01-01T00:00:00Z", "Asia/Kolkata", &["2026-01-01T06:30:00Z"]);
}

#[test]
fn a_zone_may_stand_before_the_fields() {
    let check = |schedule: &str, zone: Option<&str>| {
        let parsed = Schedule::parse(schedule).unwrap_or_else(|problem| panic!("{schedule}: {problem}"));
        assert_eq!(parsed.zone(), zone, "{schedule}");
        assert_eq!(parsed.times, Schedule::parse("0 * * * *").expect("a schedule").times, "{schedule}");
    };
    check("0 * * * *", None);
    check("TZ=Europe/Berlin 0 * * * *", Some("Europe/Berlin"));
    check("CRON_TZ=UTC  @hourly ", Some("UTC"));
    check("TZ= 0 * * * *", Some(""));
    check("TZ=Local 0 * * * *", Some("Local"));
    assert!(is_zone_name("Europe/Berlin") && !is_zone_name("Europe/berlin"));
}

#[test]
fn schedules_that_are_never_due() {
    for schedule in ["0 0 31 2 *", ", * * * *", "0 0 * , *"] {
        let parsed = Schedule::parse(schedule).unwrap_or_else(|problem| panic!("{schedule}: {problem}"));
        assert_eq!(parsed.next(Timestamp::UNIX_EPOCH, &TimeZone::UTC), None, "{schedule}");
    }
    let far = Schedule::parse("@every 9000000000s").expect("a schedule");
    assert_eq!(far.next(Timestamp::MAX, &TimeZone::UTC), None, "a time that cannot be told");
}

#[test]
fn what_is_no_schedule() {
    let bad = |schedule: &str, expect: &str| {
        assert_eq!(Schedule::parse(schedule), Err(expect.to_owned()), "{schedule}");
    };
    bad("", "empty spec string");
    bad("bad", "expected exactly 5 fields, found 1: [bad]");
    bad("* * * *", "expected exactly 5 fields, found 4: [* * * *]");
    bad("60 * * * *", "end of range (60) above maximum (59): 60");
    bad("* * 0 * *", "beginning of range (0) below minimum (1): 0");
    bad("* * * * 7", "end of range (7) above maximum (6): 7");
    bad("* * * * 5-7", "end of range (7) above maximum (6): 5-7");
    bad("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1");
    bad("1-2-3 * * * *", "too many hyphens: 1-2-3");
    bad("1/2/3 * * * *", "too many slashes: 1/2/3");
    bad("*/0 * * * *", "step of range should be a positive number: */0");
    bad("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax");
    bad("-1 * * * *", "failed to parse int from : strconv.Atoi: parsing \"\": invalid syntax");
    bad("1/-1 * * * *", "negative number (-1) not allowed: -1");
    let long = "99999999999999999999";
    bad(
        &format!("{long} * * * *"),
        &format!("failed to parse int from {long}: strconv.Atoi: parsing \"{long}\": value out of range"),
    );
    bad("@sometimes", "unrecognized descriptor: @sometimes");
    bad("@every x", "failed to parse duration @every x: time: invalid duration \"x\"");
    bad("@every", "unrecognized descriptor: @every");
    bad("TZ=Nowhere 0 * * * *", "provided bad location Nowhere: unknown time zone Nowhere");
    bad("TZ=UTC", "expected exactly 5 fields, found 0: []");
    bad("TZ=0", "provided bad location 0: unknown time zone 0");
}
