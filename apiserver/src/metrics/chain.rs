//! Who acts as somebody else, and what becomes of requests that others answer.

use std::time::Duration;

use jiff::SignedDuration;
use metrics::{Collect, Counter, Fixed, Gauge, Histogram, Labels, Text, Value, describe, families};

use super::FEW;

families! {
    /// Acting as somebody else (`filters/impersonation/metrics`).
    pub struct Impersonation {
        attempts: Counter = "apiserver_impersonation_attempts_total" ["mode", "decision"] FEW;
        attempt_durations: Histogram = "apiserver_impersonation_attempts_duration_seconds" ["mode", "decision"] FEW;
        checks: Counter = "apiserver_impersonation_authorization_attempts_total" ["mode", "decision"] FEW;
        check_durations: Histogram =
            "apiserver_impersonation_authorization_attempts_duration_seconds" ["mode", "decision"] FEW;
    }
}

impl Impersonation {
    /// It was decided whether somebody may act as another; by the way that allowed it, or the last that was tried.
    pub fn attempted(&self, mode: &str, allowed: bool, took: Duration) {
        let labels = [mode, decision(allowed)];
        self.attempts.with(labels, Counter::add_one);
        self.attempt_durations.with(labels, |durations| durations.observe(took.as_secs_f64()));
    }

    /// One thing was asked of the authorisers for that.
    pub fn checked(&self, mode: &str, allowed: bool, took: Duration) {
        let labels = [mode, decision(allowed)];
        self.checks.with(labels, Counter::add_one);
        self.check_durations.with(labels, |durations| durations.observe(took.as_secs_f64()));
    }
}

fn decision(allowed: bool) -> &'static str {
    if allowed { "allowed" } else { "denied" }
}

families! {
    /// What is rare enough to be counted by name.
    pub struct Various {
        /// Logs asked for: how the node's certificate counts.
        pub log_backends: Counter = "kube_apiserver_pod_logs_insecure_backend_total" ["usage"] FEW;
        /// Logs that were not got as the node's certificate is no good.
        pub log_tls_failures: Counter = "kube_apiserver_pod_logs_backend_tls_failure_total" [] 1;
        /// Streams over WebSocket, by subresource and who speaks with the client.
        pub websockets: Counter = "apiserver_websocket_streaming_requests_total" ["subresource", "proxy_type"] FEW;
        /// Certificates that were issued after somebody asked for their lifetime.
        pub lifetimes_asked: Counter = "apiserver_certificates_registry_csr_requested_duration_total" ["signerName"] FEW;
        /// Those that have it.
        pub lifetimes_given: Counter = "apiserver_certificates_registry_csr_honored_duration_total" ["signerName"] FEW;
        /// Aggregated discovery documents made.
        pub discovery: Counter = "aggregator_discovery_aggregation_count_total" [] 1;
        /// How long the rules of a definition took to be compiled.
        pub cel_compilations: Histogram = "apiserver_cel_compilation_duration_seconds" [] 1;
        /// How long the rules of a definition took on one object.
        pub cel_evaluations: Histogram = "apiserver_cel_evaluation_duration_seconds" [] 1;
    }
}

/// How long the certificates that requests come with are still good for.
#[derive(Debug)]
pub struct Lifetimes(Histogram);

const LIFETIMES: &str = "apiserver_client_certificate_expiration_seconds";

impl Default for Lifetimes {
    fn default() -> Self {
        Self(Histogram::new(describe(LIFETIMES).bounds))
    }
}

impl Lifetimes {
    /// One that is still good for so long.
    pub fn left(&self, left: SignedDuration) {
        self.0.observe(left.as_secs_f64());
    }
}

impl Collect for Lifetimes {
    fn collect(&self, text: &mut Text) {
        self.0.write(LIFETIMES, &Labels::default(), text);
    }
}

/// Counts of bearer tokens, at every request that has one.
#[derive(Debug)]
pub struct Tokens {
    /// Whether a token was remembered.
    requests: Fixed<Counter, 2>,
    durations: Fixed<Histogram, 2>,
    /// Who waits for those that others are asked about, and what is under way.
    active: Fixed<Gauge, 2>,
    /// Whether one that was not is good.
    fetches: Fixed<Counter, 2>,
    uses: [Counter; SORTS.len()],
}

/// A sort of service account tokens, as their uses are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// One whose holder reloads it in time.
    Valid,
    /// One whose holder should have fetched another.
    Stale,
    /// One in a Secret that somebody made.
    Manual,
    /// One in a Secret that was made without being asked for.
    Generated,
    /// One in a Secret that was marked as no longer good.
    Invalid,
}

/// The families of each sort.
const SORTS: [(Sort, &str); 5] = [
    (Sort::Valid, "serviceaccount_valid_tokens_total"),
    (Sort::Stale, "serviceaccount_stale_tokens_total"),
    (Sort::Manual, "serviceaccount_legacy_manual_token_uses_total"),
    (Sort::Generated, "serviceaccount_legacy_auto_token_uses_total"),
    (Sort::Invalid, "serviceaccount_invalid_legacy_auto_token_uses_total"),
];

impl Default for Tokens {
    fn default() -> Self {
        Self {
            requests: Fixed::new("authentication_token_cache_request_total", "status", ["hit", "miss"]),
            durations: Fixed::new("authentication_token_cache_request_duration_seconds", "status", ["hit", "miss"]),
            active: Fixed::new("authentication_token_cache_active_fetch_count", "status", ["blocked", "in_flight"]),
            fetches: Fixed::new("authentication_token_cache_fetch_total", "status", ["ok", "error"]),
            uses: Default::default(),
        }
    }
}

impl Tokens {
    /// A token was looked for among those that are remembered.
    pub fn looked_up(&self, found: bool, took: Duration) {
        self.requests.at(usize::from(!found)).add_one();
        self.durations.at(usize::from(!found)).observe(took.as_secs_f64());
    }

    /// Somebody begins to wait for what others say of a token, or waits no more.
    pub fn blocked(&self, change: f64) {
        self.active.at(0).add(change);
    }

    /// Others are asked about a token, or have answered.
    pub fn in_flight(&self, change: f64) {
        self.active.at(1).add(change);
    }

    /// A token that was not among them was checked.
    pub fn checked(&self, ok: bool) {
        self.fetches.at(usize::from(!ok)).add_one();
    }

    /// A token of this sort was used.
    pub fn used(&self, sort: Sort) {
        self.uses[sort as usize].add_one();
    }
}

impl Collect for Tokens {
    fn collect(&self, text: &mut Text) {
        self.requests.collect(text);
        self.durations.collect(text);
        self.active.collect(text);
        self.fetches.collect(text);
        for (sort, name) in SORTS {
            text.value(name, &[], self.uses[sort as usize].get() as f64);
        }
        let of_secrets = [Sort::Manual, Sort::Generated, Sort::Invalid];
        let all: f64 = of_secrets.iter().map(|sort| self.uses[*sort as usize].get() as f64).sum();
        text.value("serviceaccount_legacy_tokens_total", &[], all);
    }
}
