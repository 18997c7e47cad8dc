//! The keys of an issuer, as it serves them (`RemoteKeySet` of go-oidc).
//!
//! They are got when a token comes that none of those at hand signed, and behind a request's back when they have become old. A
//! token may name any key, so whoever sends tokens could have the issuer asked at will: all who wait share one answer, and
//! answers are asked for no more often than [`FETCHES_MAX`] and [`FETCH_INTERVAL`] say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use http::HeaderMap;
use http::header::CACHE_CONTROL;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::super::jose::{Algorithm, Compact, KeySet};
use super::{Surroundings, fetch};
use crate::outgoing::Client;

/// How many answers may be asked for at once, after nothing was for a while.
const FETCHES_MAX: u32 = 8;
/// How often after that.
const FETCH_INTERVAL: Duration = Duration::from_secs(2);
/// Keys that are older are got anew, so that those which the issuer has given up are not believed for ever.
const REFRESH_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// Keys may be kept for so long at most, whatever the issuer says.
const KEEP_MAX: SignedDuration = SignedDuration::from_hours(24);
/// Keys that end so soon count as ended if a token names others (`keysExpiryDelta`).
const EXPIRY_DELTA: SignedDuration = SignedDuration::from_secs(30);
const NOT_SIGNED: &str = "failed to verify id token signature";

type Fetched = Result<Arc<KeySet>, Arc<str>>;

/// The keys.
pub(super) struct RemoteKeys(Arc<Inner>);

struct Inner {
    issuer: String,
    url: String,
    remote: Client,
    around: Surroundings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Arc<KeySet>,
    /// When they were got, and until when no others are expected.
    got: Option<Timestamp>,
    expires: Option<Timestamp>,
    under_way: Option<Shared<BoxFuture<'static, Fetched>>>,
    budget: Budget,
}

/// How many answers may be asked for now.
struct Budget {
    left: u32,
    since: Option<Instant>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: FETCHES_MAX, since: None }
    }
}

impl Budget {
    /// Takes one, and tells how long to wait for it.
    fn take(&mut self, now: Instant) -> Duration {
        let since = *self.since.get_or_insert(now);
        let grown = now.saturating_duration_since(since).as_secs_f64() / FETCH_INTERVAL.as_secs_f64();
        let grown = grown as u32;
        if grown > 0 {
            self.left = self.left.saturating_add(grown).min(FETCHES_MAX);
            self.since = Some(if self.left == FETCHES_MAX { now } else { since + FETCH_INTERVAL * grown });
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Duration::ZERO
            }
            None => {
                let next = self.since.unwrap_or(now) + FETCH_INTERVAL;
                self.since = Some(next);
                next.saturating_duration_since(now)
            }
        }
    }
}

impl RemoteKeys {
    /// The keys at a URL; none are got yet.
    pub(super) fn new(issuer: String, url: String, remote: Client, around: Surroundings) -> Self {
        Self(Arc::new(Inner { issuer, url, remote, around, state: Mutex::default() }))
    }

    /// Whether the issuer signed a token, with one of these algorithms.
    ///
    /// # Errors
    /// If it did not, or its keys cannot be had.
    pub(super) async fn verify(&self, token: &Compact<'_>, allowed: &[Algorithm]) -> Result<(), String> {
        let now = self.0.around.clock.now();
        let (keys, got, expires) = {
            let state = self.0.state.lock();
            (state.keys.clone(), state.got, state.expires)
        };
        if keys.verify(token, allowed) {
            if got.is_none_or(|got| got + REFRESH_AFTER < now || got > now) {
                drop(self.0.fetch());
            }
            return Ok(());
        }
        if expires.is_some_and(|expires| now + EXPIRY_DELTA <= expires) {
            return Err(NOT_SIGNED.into());
        }
        let keys = self.0.fetch().await.map_err(|why| format!("fetching keys {why}"))?;
        if keys.verify(token, allowed) { Ok(()) } else { Err(NOT_SIGNED.into()) }
    }
}

impl Inner {
    /// Gets the keys; who comes while they are being got waits for the same answer.
    fn fetch(self: &Arc<Self>) -> Shared<BoxFuture<'static, Fetched>> {
        let mut state = self.state.lock();
        // One that has ended is over, however it did: it takes itself away, unless it came to nothing.
        if let Some(under_way) = state.under_way.as_ref().filter(|under_way| under_way.peek().is_none()) {
            return under_way.clone();
        }
        let wait = state.budget.take(self.around.clock.instant());
        let inner = self.clone();
        // It goes on when nobody waits any more, so that the answer is there for the next.
        let task = tokio::spawn(async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let found = inner.get().await;
            inner.keep(&found);
            found.map(|(keys, _)| keys)
        });
        let failed = |_| Arc::<str>::from("oidc: get keys failed");
        let under_way = task.map(move |done| done.map_err(failed).and_then(|found| found)).boxed().shared();
        state.under_way = Some(under_way.clone());
        under_way
    }

    async fn get(&self) -> Result<(Arc<KeySet>, SignedDuration), Arc<str>> {
        let document = fetch::document(&self.remote, &self.url, &HeaderMap::new()).await;
        let document = document.map_err(|why| Arc::from(format!("oidc: get keys failed {why}")))?;
        let keys = KeySet::parse(&document.body);
        let keys = keys.map_err(|why| Arc::from(format!("oidc: failed to decode keys: {why}")))?;
        self.around.metrics.fetched(&self.issuer, &document.body, self.around.clock.now());
        Ok((Arc::new(keys), may_be_kept(&document.headers)))
    }

    fn keep(&self, found: &Result<(Arc<KeySet>, SignedDuration), Arc<str>>) {
        let now = self.around.clock.now();
        let mut state = self.state.lock();
        state.under_way = None;
        match found {
            Ok((keys, keep)) => {
                (state.keys, state.got, state.expires) = (keys.clone(), Some(now), Some(now + *keep));
            }
            Err(why) => {
                tracing::warn!(issuer = self.issuer, %why, "the keys of an issuer of tokens cannot be had");
                self.around.metrics.not_fetched(&self.issuer, now);
            }
        }
    }
}

/// For how long an answer may be kept (`Cache-Control`); not at all, if nothing is said.
fn may_be_kept(headers: &HeaderMap) -> SignedDuration {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let words: Vec<String> = values.flat_map(|value| value.split(',')).map(|word| word.trim().to_lowercase()).collect();
    if words.iter().any(|word| matches!(word.as_str(), "no-store" | "no-cache")) {
        return SignedDuration::ZERO;
    }
    let age = words.iter().find_map(|word| word.strip_prefix("max-age="));
    let seconds = age.and_then(|age| age.trim_matches('"').parse::<u32>().ok()).unwrap_or(0);
    SignedDuration::from_secs(seconds.into()).min(KEEP_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_asked_for_at_a_bounded_rate() {
        let start = Instant::now();
        let mut budget = Budget::default();
        let mut waits: Vec<u64> = (0..12).map(|_| budget.take(start).as_secs()).collect();
        assert_eq!(waits[..8], [0; 8]);
        assert_eq!(waits.split_off(8), [2, 4, 6, 8], "each waits for its own turn");
        assert_eq!(budget.take(start + Duration::from_secs(3600)), Duration::ZERO);
        let later: Vec<Duration> = (0..8).map(|_| budget.take(start + Duration::from_secs(3600))).collect();
        assert_eq!(later.iter().filter(|wait| wait.is_zero()).count(), 7, "no more is saved up than at the beginning");
    }

    #[test]
    fn how_long_answers_are_kept() {
        let check = |value: &str, seconds: i64| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, value.parse().unwrap());
            assert_eq!(may_be_kept(&headers).as_secs(), seconds, "{value}");
        };
        check("public, max-age=300", 300);
        check("max-age=300, no-store", 0);
        check("no-cache", 0);
        check("max-age=x", 0);
        check("Max-Age=4294967295", 86_400);
        assert_eq!(may_be_kept(&HeaderMap::new()), SignedDuration::ZERO);
    }
}
