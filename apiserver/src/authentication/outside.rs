//! Tokens that others know: issuers of JSON web tokens, and a webhook.
//!
//! To check one takes a signature, expressions, or a request to somewhere else. So who is found is remembered for a moment
//! (`token/cache` in apiserver), and those who come with the same token at the same time share one answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::identity::aggregate_texts;
use arc_swap::ArcSwap;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, ready};
use parking_lot::Mutex;

use super::oidc::Issuers;
use super::token_webhook::{Owner, TokenWebhook};
use crate::clock::Clock;
use crate::metrics::chain::Tokens;
use crate::remote::Cache;
use crate::remote::cache::Key;

/// How long it is remembered whose a token is (`TokenSuccessCacheTTL`). That one is no good is not remembered here.
const TTL: Duration = Duration::from_secs(10);
/// How many tokens are looked at together. Whoever sends many that nobody knows keeps other new ones out, and no more.
const UNDER_WAY_MAX: usize = 1_024;
/// How long an answer may take that several wait for (`sharedLookupTimeout`).
const TIMEOUT: Duration = Duration::from_secs(30);

type Found = Result<Option<Owner>, Arc<str>>;

/// Those who know tokens that this server does not. Cheap to clone.
#[derive(Clone)]
pub struct Outside(Arc<Inner>);

struct Inner {
    issuers: ArcSwap<Issuers>,
    webhook: Option<TokenWebhook>,
    /// The audiences of this server, which the tokens of every issuer are for.
    audiences: Vec<String>,
    remembered: Cache<Owner>,
    under_way: Mutex<HashMap<Key, Shared<BoxFuture<'static, Found>>>>,
    clock: Arc<dyn Clock>,
    counts: Arc<Tokens>,
}

/// Somebody who waits for an answer, which is counted when they do no more.
struct Waiting<'a> {
    inner: &'a Inner,
    started: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Inner { counts, clock, .. } = self.inner;
        counts.blocked(-1.0);
        counts.looked_up(false, clock.instant().saturating_duration_since(self.started));
    }
}

/// A token about which others are asked.
struct UnderWay<'a>(&'a Tokens);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.in_flight(-1.0);
    }
}

impl Outside {
    /// Issuers, and a webhook; the server has these audiences, and counts here what becomes of tokens.
    pub fn new(
        issuers: Issuers,
        webhook: Option<TokenWebhook>,
        audiences: Vec<String>,
        clock: Arc<dyn Clock>,
        counts: Arc<Tokens>,
    ) -> Self {
        let remembered = Cache::new(&*clock);
        let issuers = ArcSwap::from_pointee(issuers);
        Self(Arc::new(Inner { issuers, webhook, audiences, remembered, under_way: Mutex::default(), clock, counts }))
    }

    /// Asks other issuers from now on.
    pub fn replace(&self, issuers: Issuers) {
        self.0.issuers.store(Arc::new(issuers));
    }

    /// The issuers that are asked.
    pub fn issuers(&self) -> Arc<Issuers> {
        self.0.issuers.load_full()
    }

    /// Whose token this is, and for which of the audiences; none if nobody knows it.
    ///
    /// # Errors
    /// Why it is no good, or could not be looked at.
    pub(super) async fn owner(&self, token: &str, audiences: &[String]) -> Result<Option<Owner>, Arc<str>> {
        let parts = std::iter::once(token.as_bytes()).chain(audiences.iter().map(String::as_bytes));
        let key = self.0.remembered.key(parts);
        let started = self.0.clock.instant();
        if let Some(owner) = self.0.remembered.get(&key, started) {
            self.0.counts.looked_up(true, self.0.clock.instant().saturating_duration_since(started));
            return Ok(Some(owner));
        }
        self.0.counts.blocked(1.0);
        let _waiting = Waiting { inner: &self.0, started };
        self.share(key, token, audiences).await
    }

    fn share(&self, key: Key, token: &str, audiences: &[String]) -> Shared<BoxFuture<'static, Found>> {
        let mut under_way = self.0.under_way.lock();
        if let Some(answer) = under_way.get(&key) {
            return answer.clone();
        }
        if under_way.len() >= UNDER_WAY_MAX {
            let full = format!("no more than {UNDER_WAY_MAX} tokens are looked at together");
            return ready(Err(full.into())).boxed().shared();
        }
        let (inner, token, audiences) = (self.0.clone(), token.to_string(), audiences.to_vec());
        // It goes on when who came first leaves: others may wait for it.
        let task = tokio::spawn(async move {
            inner.counts.in_flight(1.0);
            let under_way = UnderWay(&inner.counts);
            let found = tokio::time::timeout(TIMEOUT, inner.find(&token, &audiences)).await;
            let found = found.unwrap_or_else(|_| Err("context deadline exceeded".into()));
            drop(under_way);
            inner.counts.checked(found.is_ok());
            if let Ok(Some(owner)) = &found {
                inner.remembered.put(key, owner.clone(), TTL, inner.clock.instant());
            }
            inner.under_way.lock().remove(&key);
            found
        });
        let inner = self.0.clone();
        let ended = move |ended: Result<Found, _>| {
            ended.unwrap_or_else(|_| {
                inner.under_way.lock().remove(&key);
                Err("authentication failed unexpectedly".into())
            })
        };
        let answer = task.map(ended).boxed().shared();
        under_way.insert(key, answer.clone());
        answer
    }
}

impl Inner {
    /// Asks everybody in order; errors of one are told if nobody knows the token (`tokenunion`).
    async fn find(&self, token: &str, wanted: &[String]) -> Found {
        let mut faults = Vec::new();
        match self.of_issuers(token, wanted).await {
            Ok(Some(owner)) => return Ok(Some(owner)),
            Ok(None) => {}
            Err(why) => faults.push(why),
        }
        if let Some(webhook) = &self.webhook {
            match webhook.authenticate(token, wanted).await {
                Ok(Some(owner)) => return Ok(Some(owner)),
                Ok(None) => {}
                Err(why) => faults.push(why),
            }
        }
        aggregate_texts(faults).map_or(Ok(None), |why| Err(why.into()))
    }

    async fn of_issuers(&self, token: &str, wanted: &[String]) -> Result<Option<Owner>, String> {
        let shared: Vec<String> = wanted.iter().filter(|audience| self.audiences.contains(audience)).cloned().collect();
        if shared.is_empty() && !wanted.is_empty() {
            return Ok(None);
        }
        let issuers = self.issuers.load_full();
        Ok(issuers.authenticate(token).await?.map(|user| (Arc::new(user), shared)))
    }
}
