//! Identity from outside: files of configuration, issuers of tokens, and webhooks that are asked what users may do.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;
use metrics::{Collect, Counter, Gauge, Histogram, Text, families};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// Room for webhooks and issuers: no configuration has more of them.
const ROOM: usize = 1_024;
const KEY_SETS: &str = "apiserver_authentication_jwt_authenticator_jwks_fetch_last_key_set_info";
const WEBHOOK: &str = "Webhook";

/// A text by its digest, as labels have it; nothing of nothing.
fn hash(text: &[u8]) -> String {
    let mut shown = String::new();
    if !text.is_empty() {
        shown.push_str("sha256:");
        for byte in Sha256::digest(text) {
            write!(shown, "{byte:02x}").expect("a String takes every write");
        }
    }
    shown
}

fn seconds(now: Timestamp) -> f64 {
    now.as_millisecond() as f64 / 1_000.0
}

families! {
    /// Webhooks of authorisation (`plugin/pkg/authorizer/webhook/metrics` and `authorization/cel` in apiserver).
    pub struct AuthorizationWebhooks {
        evaluations: Counter = "apiserver_authorization_webhook_evaluations_total" ["name", "result"] ROOM;
        durations: Histogram = "apiserver_authorization_webhook_duration_seconds" ["name", "result"] ROOM;
        failed_open: Counter = "apiserver_authorization_webhook_evaluations_fail_open_total" ["name", "result"] ROOM;
        condition_errors: Counter =
            "apiserver_authorization_match_condition_evaluation_errors_total" ["type", "name"] ROOM;
        condition_exclusions: Counter = "apiserver_authorization_match_condition_exclusions_total" ["type", "name"] ROOM;
        condition_durations: Histogram =
            "apiserver_authorization_match_condition_evaluation_seconds" ["type", "name"] ROOM;
    }
}

impl AuthorizationWebhooks {
    /// A webhook was asked once.
    pub fn asked(&self, name: &str, result: &str, took: Duration) {
        self.evaluations.with([name, result], Counter::add_one);
        self.durations.with([name, result], |durations| durations.observe(took.as_secs_f64()));
    }

    /// It could not be asked, and that is taken for no opinion.
    pub fn failed_open(&self, name: &str, result: &str) {
        self.failed_open.with([name, result], Counter::add_one);
    }

    /// Its conditions were looked at.
    pub fn matched(&self, name: &str, matched: &Result<bool, String>, took: Duration) {
        let labels = [WEBHOOK, name];
        match matched {
            Ok(true) => {}
            Ok(false) => self.condition_exclusions.with(labels, Counter::add_one),
            Err(_) => self.condition_errors.with(labels, Counter::add_one),
        }
        self.condition_durations.with(labels, |durations| durations.observe(took.as_secs_f64()));
    }
}

families! {
    struct OfIssuers {
        latencies: Histogram =
            "apiserver_authentication_jwt_authenticator_latency_seconds" ["result", "jwt_issuer_hash"] ROOM;
        fetches: Gauge = "apiserver_authentication_jwt_authenticator_jwks_fetch_last_timestamp_seconds"
            ["result", "jwt_issuer_hash", "apiserver_id_hash"] ROOM;
    }
}

/// Issuers of tokens (`plugin/pkg/authenticator/token/oidc` in apiserver).
pub struct Issuers {
    families: OfIssuers,
    server: String,
    /// The digest of the newest keys of each issuer, by its own.
    key_sets: Mutex<BTreeMap<String, String>>,
}

impl Issuers {
    /// Nothing yet, of the server with this identity.
    pub fn new(server: &str) -> Self {
        Self { families: OfIssuers::default(), server: hash(server.as_bytes()), key_sets: Mutex::default() }
    }

    /// A token of an issuer was checked.
    pub fn authenticated(&self, issuer: &str, ok: bool, took: Duration) {
        let result = if ok { "success" } else { "failure" };
        let labels = [result, &hash(issuer.as_bytes())];
        self.families.latencies.with(labels, |latencies| latencies.observe(took.as_secs_f64()));
    }

    /// The keys of an issuer were got.
    pub fn fetched(&self, issuer: &str, keys: &[u8], now: Timestamp) {
        let issuer = hash(issuer.as_bytes());
        self.families.fetches.with(["success", &issuer, &self.server], |gauge| gauge.set(seconds(now)));
        let mut sets = self.key_sets.lock();
        if sets.len() < ROOM || sets.contains_key(&issuer) {
            sets.insert(issuer, hash(keys));
        }
    }

    /// They could not be had.
    pub fn not_fetched(&self, issuer: &str, now: Timestamp) {
        let labels = ["failure", &hash(issuer.as_bytes()), &self.server];
        self.families.fetches.with(labels, |gauge| gauge.set(seconds(now)));
    }

    /// Only these issuers are left.
    pub fn retain<'i>(&self, issuers: impl Iterator<Item = &'i str>) {
        let left: Vec<String> = issuers.map(|issuer| hash(issuer.as_bytes())).collect();
        self.key_sets.lock().retain(|issuer, _| left.contains(issuer));
    }
}

impl Collect for Issuers {
    fn collect(&self, text: &mut Text) {
        self.families.collect(text);
        for (issuer, keys) in &*self.key_sets.lock() {
            let labels = [("apiserver_id_hash", &*self.server), ("hash", keys), ("jwt_issuer_hash", issuer)];
            text.value(KEY_SETS, &labels, 1.0);
        }
    }
}

/// The families of one file of configuration.
struct Names {
    total: &'static str,
    timestamps: &'static str,
    info: &'static str,
}

/// How often a file of configuration was loaded anew (`authenticationconfig/metrics` and its like in apiserver).
pub struct Reloads {
    names: Names,
    server: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Successes and failures: how many, and when the last was.
    counts: [(u64, f64); 2],
    file: String,
}

impl Reloads {
    /// Of the file of authentication.
    pub fn of_authentication(server: &str) -> Self {
        Self::new(
            server,
            Names {
                total: "apiserver_authentication_config_controller_automatic_reloads_total",
                timestamps: "apiserver_authentication_config_controller_automatic_reload_last_timestamp_seconds",
                info: "apiserver_authentication_config_controller_last_config_info",
            },
        )
    }

    /// Of the file of authorisation.
    pub fn of_authorization(server: &str) -> Self {
        Self::new(
            server,
            Names {
                total: "apiserver_authorization_config_controller_automatic_reloads_total",
                timestamps: "apiserver_authorization_config_controller_automatic_reload_last_timestamp_seconds",
                info: "apiserver_authorization_config_controller_last_config_info",
            },
        )
    }

    fn new(server: &str, names: Names) -> Self {
        Self { names, server: hash(server.as_bytes()), state: Mutex::default() }
    }

    /// What the server started with.
    pub fn loaded(&self, file: &[u8]) {
        self.state.lock().file = hash(file);
    }

    /// It was loaded anew.
    pub fn succeeded(&self, file: &[u8], now: Timestamp) {
        let mut state = self.state.lock();
        state.counts[0] = (state.counts[0].0 + 1, seconds(now));
        state.file = hash(file);
    }

    /// It was found to be no good.
    pub fn failed(&self, now: Timestamp) {
        let mut state = self.state.lock();
        state.counts[1] = (state.counts[1].0 + 1, seconds(now));
    }
}

impl Collect for Reloads {
    fn collect(&self, text: &mut Text) {
        let state = self.state.lock();
        for (status, (count, last)) in ["success", "failure"].into_iter().zip(state.counts) {
            let labels = [("apiserver_id_hash", &*self.server), ("status", status)];
            if count > 0 {
                text.value(self.names.total, &labels, count as f64);
                text.value(self.names.timestamps, &labels, last);
            }
        }
        if !state.file.is_empty() {
            text.value(self.names.info, &[("apiserver_id_hash", &self.server), ("hash", &state.file)], 1.0);
        }
    }
}
