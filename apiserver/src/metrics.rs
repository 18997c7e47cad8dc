//! What the API server counts, under the reference's names.

mod aggregation;
mod build;
mod cache;
pub mod chain;
pub mod identity;
mod pod_security;
mod policies;
mod requests;
mod services;
mod storage;
mod webhooks;

use std::time::Duration;

use metrics::{Collect, Counter, Family, Gauge, Histogram, Labels, Tally, Text, process};

use crate::Registry;
pub use aggregation::Aggregation;
pub use build::Build;
use cache::Operations;
pub use cache::{Reads, Stored};
use chain::{Impersonation, Various};
pub use pod_security::PodSecurityCounts;
pub use policies::Policies;
pub(crate) use requests::{Level, scope};
pub use requests::{Measured, Requests};
pub use services::Services;
pub use webhooks::Webhooks;

/// How many kinds of objects are kept apart; custom resources beyond are not counted.
const RESOURCES_MAX: usize = 1_024;
/// How many groups of requests to the store are kept apart: some for each resource.
const OPERATIONS_MAX: usize = 4 * RESOURCES_MAX;
/// Room for families whose labels have few values.
const FEW: usize = 64;
/// Room for what each admission plugin does in each phase.
const PLUGINS_MAX: usize = 1_024;

const STEPS_SUMMARY: &str = "apiserver_admission_step_admission_duration_seconds_summary";

type Counters<const N: usize> = Family<Counter, N>;
/// Of what is counted with every request.
type Tallies<const N: usize> = Family<Tally, N>;
type Histograms<const N: usize> = Family<Histogram, N>;

/// The families that are counted where things happen; what the store holds is counted when it is asked for.
pub struct ServerMetrics {
    /// Whole requests.
    pub requests: Requests,
    /// Bytes of bodies of writes: group, resource, verb.
    pub body_sizes: Histograms<3>,
    filter_durations: Histograms<1>,
    authentication_attempts: Tallies<1>,
    authentication_durations: Histograms<1>,
    authenticated_users: Tallies<1>,
    authorization_attempts: Tallies<1>,
    authorization_durations: Histograms<1>,
    authorization_decisions: Tallies<3>,
    admission_steps: Histograms<3>,
    admission_plugins: Histograms<4>,
    store: Operations,
    /// Events that watches sent: group, version, resource.
    pub watch_events: Counters<3>,
    /// Their bytes.
    pub watch_event_sizes: Histograms<3>,
    /// Objects that watches began with: group, resource.
    pub init_events: Counters<2>,
    /// Watches that fell behind and were closed: group, resource.
    pub terminated_watchers: Counters<2>,
    /// Lists and watches, as the cache serves them.
    pub cache: Reads,
    /// Acting as somebody else.
    pub impersonation: Impersonation,
    /// Addresses and ports of services.
    pub services: Services,
    /// The services of APIServices.
    pub aggregation: Aggregation,
    /// What is answered from other servers, and what the server makes of its own.
    pub various: Various,
    /// Pods held against the policies of their namespaces.
    pub pod_security: PodSecurityCounts,
    /// TLS handshakes that failed.
    pub tls_handshake_errors: Counters<0>,
    /// Deprecated resources that were asked for: group, version, resource, subresource, release that removes it.
    pub deprecated: Family<Gauge, 5>,
    /// Calls of webhooks.
    pub webhooks: Webhooks,
    /// Policies of admission.
    pub policies: Policies,
    health: Family<Gauge, 2>,
    health_total: Counters<3>,
}

impl Default for ServerMetrics {
    fn default() -> Self {
        let of_resource = ["group", "resource"];
        let of_version = ["group", "version", "resource"];
        Self {
            requests: Requests::default(),
            body_sizes: Family::new("apiserver_request_body_size_bytes", ["group", "resource", "verb"], OPERATIONS_MAX),
            filter_durations: Family::new("apiserver_request_filter_duration_seconds", ["filter"], FEW),
            authentication_attempts: Family::new("authentication_attempts", ["result"], FEW),
            authentication_durations: Family::new("authentication_duration_seconds", ["result"], FEW),
            authenticated_users: Family::new("authenticated_user_requests", ["username"], FEW),
            authorization_attempts: Family::new("authorization_attempts_total", ["result"], FEW),
            authorization_durations: Family::new("authorization_duration_seconds", ["result"], FEW),
            authorization_decisions: Family::new(
                "apiserver_authorization_decisions_total",
                ["type", "name", "decision"],
                FEW,
            ),
            admission_steps: Family::new(
                "apiserver_admission_step_admission_duration_seconds",
                ["type", "operation", "rejected"],
                FEW,
            ),
            admission_plugins: Family::new(
                "apiserver_admission_controller_admission_duration_seconds",
                ["name", "type", "operation", "rejected"],
                PLUGINS_MAX,
            ),
            store: Operations::default(),
            watch_events: Family::new("apiserver_watch_events_total", of_version, RESOURCES_MAX),
            watch_event_sizes: Family::new("apiserver_watch_events_sizes", of_version, RESOURCES_MAX),
            init_events: Family::new("apiserver_init_events_total", of_resource, RESOURCES_MAX),
            terminated_watchers: Family::new("apiserver_terminated_watchers_total", of_resource, RESOURCES_MAX),
            cache: Reads::default(),
            impersonation: Impersonation::default(),
            services: Services::default(),
            aggregation: Aggregation::default(),
            various: Various::default(),
            pod_security: PodSecurityCounts::default(),
            tls_handshake_errors: Family::new("apiserver_tls_handshake_errors_total", [], 1),
            deprecated: Family::new(
                "apiserver_requested_deprecated_apis",
                ["group", "version", "resource", "subresource", "removed_release"],
                FEW,
            ),
            webhooks: Webhooks::default(),
            policies: Policies::default(),
            health: Family::new("kubernetes_healthcheck", ["name", "type"], 4 * FEW),
            health_total: Family::new("kubernetes_healthchecks_total", ["name", "type", "status"], 8 * FEW),
        }
    }
}

impl ServerMetrics {
    /// A health check was run.
    pub fn health(&self, name: &str, endpoint: &str, ok: bool) {
        let (number, status) = if ok { (1.0, "success") } else { (0.0, "error") };
        self.health.with([name, endpoint], |gauge| gauge.set(number));
        self.health_total.with([name, endpoint, status], Counter::add_one);
    }

    /// It took so long to find out who asks; `user` is who it was, if that was found out.
    pub fn authenticated(&self, user: Option<&str>, took: Duration) {
        let result = if user.is_some() { "success" } else { "error" };
        let seconds = took.as_secs_f64();
        self.authentication_attempts.with([result], Tally::add_one);
        self.authentication_durations.with([result], |durations| durations.observe(seconds));
        self.filter_durations.with(["authentication"], |durations| durations.observe(seconds));
        if let Some(user) = user {
            self.authenticated_users.with([sort_of_user(user)], Tally::add_one);
        }
    }

    /// It took so long to decide whether a request is allowed.
    pub fn authorized(&self, result: &'static str, took: Duration) {
        let seconds = took.as_secs_f64();
        self.authorization_attempts.with([result], Tally::add_one);
        self.authorization_durations.with([result], |durations| durations.observe(seconds));
        self.filter_durations.with(["authorization"], |durations| durations.observe(seconds));
    }

    /// An authoriser has decided, as the last that was asked.
    pub fn decided(&self, kind: &str, name: &str, allowed: bool) {
        let decision = if allowed { "allowed" } else { "denied" };
        self.authorization_decisions.with([kind, name, decision], Tally::add_one);
    }

    /// A phase of admission is over: `plugin` is one plugin, or all of them where there is none.
    pub fn admitted(&self, plugin: Option<&str>, phase: &str, operation: &str, rejected: bool, took: Duration) {
        let (rejected, seconds) = (if rejected { "true" } else { "false" }, took.as_secs_f64());
        match plugin {
            Some(name) => self.admission_plugins.with([name, phase, operation, rejected], |d| d.observe(seconds)),
            None => self.admission_steps.with([phase, operation, rejected], |d| d.observe(seconds)),
        }
    }

    /// The store has answered a write of an object, and has or has not written anything.
    pub fn stored(&self, operation: &str, group: &str, resource: &str, outcome: Stored, took: Duration) {
        self.store.count([operation, group, resource], outcome, took);
    }

    /// Health checks alone, for `/metrics/slis`.
    pub fn service_levels(&self, text: &mut Text) {
        self.health.collect(text);
        self.health_total.collect(text);
        process::start_time(text);
    }
}

/// `compressUsername` in apiserver's `endpoints/filters`: who exactly it was is nobody's business here.
fn sort_of_user(name: &str) -> &str {
    match name {
        "admin" | "client" | "kube_proxy" | "kubelet" | "system:serviceaccount:kube-system:default" => name,
        _ if name.contains('@') => "email_id",
        _ => "other",
    }
}

impl Collect for ServerMetrics {
    fn collect(&self, text: &mut Text) {
        self.requests.collect(text);
        let all: &[&dyn Collect] = &[
            &self.body_sizes,
            &self.filter_durations,
            &self.authentication_attempts,
            &self.authentication_durations,
            &self.authenticated_users,
            &self.authorization_attempts,
            &self.authorization_durations,
            &self.authorization_decisions,
            &self.admission_steps,
            &self.admission_plugins,
            &self.store,
            &self.watch_events,
            &self.watch_event_sizes,
            &self.init_events,
            &self.terminated_watchers,
            &self.cache,
            &self.impersonation,
            &self.services,
            &self.aggregation,
            &self.various,
            &self.pod_security,
            &self.tls_handshake_errors,
            &self.deprecated,
            &self.webhooks,
            &self.policies,
        ];
        all.iter().for_each(|family| family.collect(text));
        // The same once more, as a summary that tells no quantiles.
        for (values, steps) in self.admission_steps.iter() {
            let labels = Labels::new(&["type", "operation", "rejected"], &values);
            text.summary(STEPS_SUMMARY, &labels, steps.sum(), steps.count());
        }
    }
}

/// All that is counted in the process, as text. Counts every stored object: not for a worker of the runtime.
pub fn text(registry: &Registry) -> String {
    let mut text = Text::default();
    registry.config().metrics.collect(&mut text);
    registry.metrics().collect(&mut text);
    storage::collect(registry, &mut text);
    process::collect(&mut text);
    Build.collect(&mut text);
    text.finish()
}

/// The health checks as text.
pub fn service_levels(registry: &Registry) -> String {
    let mut text = Text::default();
    registry.metrics().service_levels(&mut text);
    text.finish()
}
