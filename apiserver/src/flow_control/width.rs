//! How many seats a request needs (apiserver's `util/flowcontrol/request`).

use super::loads::{Loads, Stock};
use super::queue_set::Work;
use super::seat_seconds::{Nanos, SeatSeconds};
use crate::RequestInfo;
use crate::request::Query;

/// What every request has at least (`MinimumSeats`).
const SEATS_MIN: usize = 1;
/// What a list has at most (`MaximumListSeatsLimit`), and a request that changes something.
const LIST_SEATS_MAX: usize = 100;
const MUTATING_SEATS_MAX: usize = 10;
/// So many bytes in memory are a seat (`bytesPerSeat`).
const BYTES_PER_SEAT: u64 = 100_000;
/// A list of what is in memory takes no more of it (`cacheWithStreamingMaxMemoryUsage`).
const STREAMED_BYTES_MAX: u64 = 1_000_000;
/// So many watches are a seat while a change is told to them (`watchesPerSeat`), for so long (`eventAdditionalDuration`).
const WATCHES_PER_SEAT: usize = 10;
const EVENT_SPAN: Nanos = 5_000_000;

/// What a list or a watch asks for, as far as its cost goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Listing<'q> {
    limit: u64,
    is_selected: bool,
    is_continued: bool,
    version: &'q str,
    matching: &'q str,
    with_state: bool,
}

impl<'q> Listing<'q> {
    /// Nothing of what is no list of options.
    fn read(query: &'q Query) -> Option<Self> {
        query.integer("timeoutSeconds").ok()?;
        let limit = query.integer("limit").ok()?.unwrap_or(0);
        Some(Self {
            limit: u64::try_from(limit).unwrap_or(0),
            is_selected: !query.text("fieldSelector").is_empty() || !query.text("labelSelector").is_empty(),
            is_continued: !query.text("continue").is_empty(),
            version: query.text("resourceVersion"),
            matching: query.text("resourceVersionMatch"),
            with_state: query.optional_flag("sendInitialEvents") == Some(true),
        })
    }

    /// Whether the reference asks its store and not its cache (`ShouldDelegateListMeta`).
    fn is_from_storage(&self) -> bool {
        match self.matching {
            "NotOlderThan" => false,
            "" => self.is_continued || (self.limit > 0 && !matches!(self.version, "" | "0")),
            _ => true,
        }
    }

    /// `seatsBasedOnObjectSize`
    fn seats(&self, stock: Stock, is_watch: bool, is_one: bool) -> usize {
        let limited = if self.limit > 0 { self.limit.min(stock.objects) } else { stock.objects };
        let from_cache = is_watch || !self.is_from_storage();
        let loaded = match () {
            () if is_one => 1,
            () if !from_cache && self.is_selected => limited.max(stock.objects / 2),
            () => limited,
        };
        let bytes = loaded.saturating_mul(stock.object_bytes);
        let bytes = if from_cache { bytes.min(STREAMED_BYTES_MAX) } else { bytes };
        usize::try_from(bytes.div_ceil(BYTES_PER_SEAT)).unwrap_or(usize::MAX)
    }
}

/// The work of a list, or of the beginning of a watch; `stock` tells what is stored.
pub(super) fn of_list(
    info: &RequestInfo,
    query: &Query,
    seats_max: Option<usize>,
    stock: impl FnOnce() -> Stock,
) -> Work {
    let seats_max = seats_max.unwrap_or(LIST_SEATS_MAX).min(LIST_SEATS_MAX);
    let seats = |seats: usize| Work { initial_seats: seats.max(SEATS_MIN), final_seats: 0, lingers: 0 };
    let Some(listing) = Listing::read(query) else { return seats(seats_max) };
    let is_watch = info.verb == "watch";
    if is_watch && !listing.with_state && !matches!(listing.version, "" | "0") {
        return seats(SEATS_MIN);
    }
    seats(listing.seats(stock(), is_watch, !info.name.is_empty()).min(seats_max))
}

/// The work of a request that changes an object, and how many watch it, where that matters.
pub(super) fn of_change(info: &RequestInfo, seats_max: Option<usize>, loads: &Loads) -> (Work, Option<usize>) {
    // A token is nothing that is watched.
    if info.resource == "serviceaccounts" && info.subresource == "token" {
        return (of_other(), None);
    }
    let watchers = loads.watchers(info);
    let seats_max = seats_max.unwrap_or(MUTATING_SEATS_MAX).min(MUTATING_SEATS_MAX);
    let mut work = of_other();
    if watchers >= WATCHES_PER_SEAT {
        let seats = watchers.div_ceil(WATCHES_PER_SEAT);
        let after = SeatSeconds::of(seats as f64, EVENT_SPAN);
        work.final_seats = seats.min(seats_max);
        // As much work, by fewer seats for longer.
        work.lingers = after.per_seat(work.final_seats as f64);
    }
    (work, Some(watchers))
}

/// The work of any other request.
pub(super) fn of_other() -> Work {
    Work { initial_seats: SEATS_MIN, final_seats: 0, lingers: 0 }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    const THOUSAND: Stock = Stock { objects: 1_000, object_bytes: 1_000 };
    const LARGE: Stock = Stock { objects: 100, object_bytes: 1_000_000 };

    fn info(method: Method, url: &str) -> (RequestInfo, Query) {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let query = Query::parse(query);
        (RequestInfo::new(&method, path, &query).unwrap(), query)
    }

    fn check(url: &str, stock: Stock, seats_max: Option<usize>, expected: usize) {
        let (info, query) = info(Method::GET, url);
        let work = of_list(&info, &query, seats_max, || stock);
        assert_eq!((work.seats(), work.final_seats, work.lingers), (expected, 0, 0), "{url} {stock:?}");
    }

    #[test]
    fn lists_are_as_wide_as_what_they_load() {
        check("/api/v1/pods", Stock::default(), None, 1);
        check("/api/v1/pods", THOUSAND, None, 10);
        check("/api/v1/pods", THOUSAND, Some(3), 3);
        check("/api/v1/pods?limit=500", THOUSAND, None, 5);
        check("/api/v1/pods?limit=5000", THOUSAND, None, 10);
        check("/api/v1/pods?limit=-1", THOUSAND, None, 10);
        check("/api/v1/pods?limit=x", THOUSAND, None, 100);
        check("/api/v1/pods?limit=x", THOUSAND, Some(4), 4);
        check("/api/v1/pods?fieldSelector=metadata.name%3Dp", THOUSAND, None, 1);
        check("/api/v1/pods?labelSelector=a", THOUSAND, None, 10);
        // What streams out of memory needs no more of it than so much.
        check("/api/v1/pods", LARGE, None, 10);
        check("/api/v1/pods?resourceVersion=0&limit=50", LARGE, None, 10);
        check("/api/v1/pods?resourceVersion=7&resourceVersionMatch=NotOlderThan", LARGE, None, 10);
        // What the reference has to load is loaded as a whole.
        check("/api/v1/pods?resourceVersion=7&limit=50", LARGE, None, 100);
        check("/api/v1/pods?resourceVersion=7&limit=3", LARGE, None, 30);
        check("/api/v1/pods?resourceVersion=7&resourceVersionMatch=Exact", THOUSAND, None, 10);
        check("/api/v1/pods?continue=x&limit=3", LARGE, None, 30);
        check("/api/v1/pods?continue=x&limit=3&labelSelector=a", THOUSAND, None, 5);
        check(
            "/api/v1/pods?resourceVersion=7&resourceVersionMatch=Exact&fieldSelector=metadata.name%3Dp",
            LARGE,
            None,
            10,
        );
    }

    #[test]
    fn watches_are_wide_if_they_begin_with_the_state() {
        check("/api/v1/pods?watch=1&resourceVersion=7", THOUSAND, None, 1);
        check("/api/v1/pods?watch=1", THOUSAND, None, 10);
        check("/api/v1/pods?watch=1&resourceVersion=0", THOUSAND, None, 10);
        check("/api/v1/pods?watch=1&resourceVersion=7&sendInitialEvents=true", THOUSAND, None, 10);
        check("/api/v1/namespaces/a/pods?watch=1&fieldSelector=metadata.name%3Dp", THOUSAND, None, 1);
    }

    #[test]
    fn changes_leave_work_behind_for_those_who_watch() {
        let loads = Loads::default();
        let (watch, _) = info(Method::GET, "/api/v1/pods?watch=1");
        let mut watches = Vec::new();
        let mut of = |count: usize, url: &str, seats_max: Option<usize>| {
            watches.resize_with(count, || loads.watch(&watch, "").unwrap());
            let (work, watchers) = of_change(&info(Method::PUT, url).0, seats_max, &loads);
            (work.initial_seats, work.final_seats, work.lingers / 1_000_000, watchers)
        };
        let pod = "/api/v1/namespaces/a/pods/p";
        assert_eq!(of(9, pod, None), (1, 0, 0, Some(9)));
        assert_eq!(of(10, pod, None), (1, 1, 5, Some(10)));
        assert_eq!(of(11, pod, None), (1, 2, 5, Some(11)));
        assert_eq!(of(100, pod, None), (1, 10, 5, Some(100)));
        assert_eq!(of(400, pod, None), (1, 10, 20, Some(400)));
        assert_eq!(of(400, pod, Some(5)), (1, 5, 40, Some(400)));
        assert_eq!(of(400, "/api/v1/namespaces/a/secrets/s", None), (1, 0, 0, Some(0)));
        assert_eq!(of(400, "/api/v1/namespaces/a/serviceaccounts/s/token", None), (1, 0, 0, None));
    }
}
