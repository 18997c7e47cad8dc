//! A place among the requests under way. With priority and fairness it is the seats that [`crate::flow_control`] gives out;
//! without, one of a number (`WithMaxInFlightLimit` in apiserver's `server/filters`), and nobody waits.
//!
//! A place belongs to a user, so it is taken once the user is known, and to work, so it is taken once the body is there:
//! a client that sends slowly holds none. It is held until the answer is written, as in the reference.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::{Status, UserInfo};

use crate::flow_control::Seat;
use crate::request::RequestInfo;

/// Requests that change something (`--max-mutating-requests-inflight`).
pub const MUTATING_MAX: usize = 200;
/// Requests that change nothing (`--max-requests-inflight`).
pub const READING_MAX: usize = 400;

/// How many requests are served at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InflightLimits {
    /// Of those that change something; zero for no limit.
    pub mutating: usize,
    /// Of all others; zero for no limit.
    pub reading: usize,
    /// Priority and fairness: the sum of both is divided by priority levels (`--enable-priority-and-fairness`).
    pub fair: bool,
}

impl Default for InflightLimits {
    fn default() -> Self {
        Self { mutating: MUTATING_MAX, reading: READING_MAX, fair: true }
    }
}

/// The places of a server without priority and fairness.
#[derive(Debug)]
pub(crate) struct Inflight {
    mutating: Places,
    reading: Places,
}

/// Places of one sort.
#[derive(Debug)]
struct Places {
    taken: Arc<AtomicUsize>,
    max: usize,
}

/// A request's place; shared by those that need it to be held.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// Seats at its priority level.
    Seat(Arc<Seat>),
    /// One of a number.
    Counted(#[expect(dead_code, reason = "it is held")] Arc<Counted>),
}

/// One of a number, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Counted(Arc<AtomicUsize>);

/// There is no place for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// When the client may come back.
    pub retry_after_seconds: u32,
}

impl Default for TooMany {
    fn default() -> Self {
        Self { retry_after_seconds: 1 }
    }
}

impl Place {
    /// Something of the answer was made, or taken by the client: one that stands still gives way to those who wait.
    pub(crate) fn step(&self) {
        if let Self::Seat(seat) = self {
            seat.step();
        }
    }
}

impl Inflight {
    /// So many places.
    pub(crate) fn new(limits: InflightLimits) -> Self {
        let places = |max| Places { taken: Arc::default(), max };
        Self { mutating: places(limits.mutating), reading: places(limits.reading) }
    }

    /// A place for a request of a user that is not long-running; administrators are served without one if there is none.
    ///
    /// # Errors
    /// [`TooMany`] if there is none.
    pub(crate) fn enter(&self, user: &UserInfo, info: &RequestInfo) -> Result<Option<Place>, TooMany> {
        let places = if changes(info) { &self.mutating } else { &self.reading };
        if places.max == 0 {
            return Ok(None);
        }
        let take = |taken: usize| (taken < places.max).then_some(taken + 1);
        match places.taken.fetch_update(Ordering::AcqRel, Ordering::Relaxed, take) {
            Ok(_) => Ok(Some(Place::Counted(Arc::new(Counted(places.taken.clone()))))),
            Err(_) if user.in_group("system:masters") => Ok(None),
            Err(_) => Err(TooMany::default()),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

const TEXT: &str = "Too many requests, please try again later.";

impl TooMany {
    /// The status that stands for it where only a status can.
    pub fn status(self) -> Status {
        let mut status = Status::failure(429, "TooManyRequests", TEXT);
        status.details.get_or_insert_default().retry_after_seconds = self.retry_after_seconds;
        status
    }

    /// What a status stands for, if it does for this.
    pub(super) fn of(status: &Status) -> Option<Self> {
        let is_this = status.code == 429 && status.message == TEXT;
        let retry_after_seconds = status.details.as_ref().filter(|_| is_this)?.retry_after_seconds;
        Some(Self { retry_after_seconds })
    }
}

/// Whether a request may change something (`nonMutatingRequestVerbs`; what is no resource is told apart by its method).
pub fn changes(info: &RequestInfo) -> bool {
    !matches!(info.verb.as_str(), "get" | "list" | "watch" | "head" | "options")
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::request::Query;

    fn info(method: Method, path: &str) -> RequestInfo {
        RequestInfo::new(&method, path, &Query::parse("")).unwrap()
    }

    #[test]
    fn places_are_counted_by_kind_and_administrators_always_get_in() {
        let inflight = Inflight::new(InflightLimits { mutating: 1, reading: 2, fair: false });
        let (alice, admin) = (UserInfo::new("alice", &[]), UserInfo::new("admin", &["system:masters"]));
        let post = info(Method::POST, "/api/v1/namespaces/a/configmaps");
        let get = info(Method::GET, "/api/v1/namespaces/a/configmaps/c");
        let held = inflight.enter(&alice, &post).unwrap().unwrap();
        assert_eq!(inflight.enter(&alice, &post).err(), Some(TooMany::default()));
        assert!(inflight.enter(&admin, &post).unwrap().is_none());
        let reads: Vec<_> = (0..2).map(|_| inflight.enter(&alice, &get).unwrap().unwrap()).collect();
        assert!(inflight.enter(&alice, &get).is_err());
        drop((held, reads));
        assert!(inflight.enter(&alice, &post).unwrap().is_some() && inflight.enter(&alice, &get).unwrap().is_some());
        let unlimited = Inflight::new(InflightLimits { mutating: 0, reading: 1, fair: false });
        assert!(unlimited.enter(&alice, &post).unwrap().is_none());
    }

    #[test]
    fn the_status_is_known_again() {
        let refused = TooMany { retry_after_seconds: 7 };
        assert_eq!(TooMany::of(&refused.status()), Some(refused));
        assert_eq!(TooMany::of(&Status::failure(429, "TooManyRequests", "another")), None);
    }
}
