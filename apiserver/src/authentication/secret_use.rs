//! When the tokens that Secrets hold were last used: a label tells the day (`patchSecretWithLastUsedDate` in
//! pkg/serviceaccount).
//!
//! Whoever uses a token waits for nothing: the Secret is put in a queue, if its label is of another day, and one task writes the
//! labels (`post_start`). A Secret that waits, or was tried a moment ago, is not queued again, so that requests cause no more
//! than a write each for every Secret and day, also where the writes are refused.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use api::legacy_tokens::day;
use jiff::Timestamp;
use jiff::civil::Date;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// How many Secrets wait or were tried a moment ago; what is used beyond that is told at its next use.
const SECRETS_MAX: usize = 1_024;
/// For how long nothing is tried again (`TokenSuccessCacheTTL`: so long the reference does not look at a token again).
const PAUSE: Duration = Duration::from_secs(10);

/// A Secret whose token was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid: another of its name is not meant.
    pub uid: String,
}

/// Secrets whose label is to be written.
#[derive(Debug, Default)]
pub struct SecretUses {
    inner: Mutex<Inner>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Used>,
    /// By uid: when a write was tried; none for one that waits.
    known: HashMap<String, Option<Instant>>,
}

impl SecretUses {
    /// A token was used of a Secret whose label is of this day, if it has one.
    pub(super) fn note(&self, secret: &Used, labelled: Option<Date>, at: Timestamp, now: Instant) {
        let today = day(at);
        // The next day may have begun where the label was written.
        if labelled.is_some_and(|day| day == today || today.tomorrow().is_ok_and(|tomorrow| day == tomorrow)) {
            return;
        }
        let mut inner = self.inner.lock();
        let is_over =
            |tried: &Option<Instant>| tried.is_some_and(|tried| now.saturating_duration_since(tried) >= PAUSE);
        if inner.known.get(&secret.uid).is_some_and(|tried| !is_over(tried)) {
            return;
        }
        if inner.known.len() >= SECRETS_MAX {
            inner.known.retain(|_, tried| !is_over(tried));
        }
        if inner.known.len() < SECRETS_MAX {
            inner.known.insert(secret.uid.clone(), None);
            inner.waiting.push_back(secret.clone());
            self.wake.notify_one();
        }
    }

    /// The next Secret to be labelled; waits until there is one. For one task.
    pub(crate) async fn next(&self) -> Used {
        loop {
            let next = self.inner.lock().waiting.pop_front();
            match next {
                Some(used) => return used,
                None => self.wake.notified().await,
            }
        }
    }

    /// A label was written, or not.
    pub(crate) fn tried(&self, secret: &Used, now: Instant) {
        self.inner.lock().known.insert(secret.uid.clone(), Some(now));
    }
}

#[cfg(test)]
mod tests {
    use api::legacy_tokens::parse;
    use futures::FutureExt;

    use super::*;

    fn used(number: usize) -> Used {
        Used { namespace: "a".into(), name: format!("s{number}"), uid: number.to_string() }
    }

    #[test]
    fn a_label_is_written_once_a_day() {
        let (uses, start) = (SecretUses::default(), Instant::now());
        let at: Timestamp = "2026-11-22T23:59:59Z".parse().unwrap();
        let next = || uses.next().now_or_never();
        for (label, is_told) in [
            ("2026-11-22", false),
            ("2026-11-23", false),
            ("2026-11-21", true),
            ("2026-11-24", true),
            ("20261122", true),
        ] {
            uses.note(&used(1), parse(label), at, start);
            assert_eq!(next().is_some(), is_told, "{label}");
            uses.inner.lock().known.clear();
        }
        uses.note(&used(1), None, at, start);
        uses.note(&used(1), None, at, start + PAUSE * 2);
        assert_eq!(next(), Some(used(1)));
        assert_eq!(next(), None, "it waited already");
        uses.tried(&used(1), start);
        uses.note(&used(1), None, at, start + PAUSE - Duration::from_nanos(1));
        assert_eq!(next(), None, "it was tried a moment ago");
        uses.note(&used(1), None, at, start + PAUSE);
        assert_eq!(next(), Some(used(1)), "what failed is tried again");
    }

    #[test]
    fn only_so_many_wait() {
        let (uses, start, at) = (SecretUses::default(), Instant::now(), Timestamp::UNIX_EPOCH);
        (0..SECRETS_MAX + 1).for_each(|number| uses.note(&used(number), None, at, start));
        let taken: Vec<Used> = (0..SECRETS_MAX).filter_map(|_| uses.next().now_or_never()).collect();
        assert_eq!((taken.len(), uses.next().now_or_never()), (SECRETS_MAX, None));
        taken.iter().for_each(|used| uses.tried(used, start));
        uses.note(&used(SECRETS_MAX), None, at, start);
        assert_eq!(uses.next().now_or_never(), None, "all were tried a moment ago");
        uses.note(&used(SECRETS_MAX), None, at, start + PAUSE);
        assert_eq!(uses.next().now_or_never(), Some(used(SECRETS_MAX)));
        assert_eq!(uses.inner.lock().known.len(), 1, "what was tried long ago is forgotten");
    }
}
