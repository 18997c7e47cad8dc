//! Counts of the service rules (`pkg/proxy/metrics`). A node has IPv4 rules alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Collect, Counter, Gauge, Histogram, Text, families};

/// The label of the only family of addresses.
const IPV4: [&str; 1] = ["IPv4"];

families! {
    /// Rounds, and what they are about.
    pub(crate) struct Families {
        rounds: Histogram = "kubeproxy_sync_proxy_rules_duration_seconds" ["ip_family"] 1;
        whole: Histogram = "kubeproxy_sync_full_proxy_rules_duration_seconds" ["ip_family"] 1;
        partial: Histogram = "kubeproxy_sync_partial_proxy_rules_duration_seconds" ["ip_family"] 1;
        failures: Counter = "kubeproxy_sync_proxy_rules_nftables_sync_failures_total" ["ip_family"] 1;
        queued_at: Gauge = "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds" ["ip_family"] 1;
        applied_at: Gauge = "kubeproxy_sync_proxy_rules_last_timestamp_seconds" ["ip_family"] 1;
        programming: Histogram = "kubeproxy_network_programming_duration_seconds" ["ip_family"] 1;
        service_changes: Counter = "kubeproxy_sync_proxy_rules_service_changes_total" [] 1;
        endpoint_changes: Counter = "kubeproxy_sync_proxy_rules_endpoint_changes_total" [] 1;
        deleted: Counter = "kubeproxy_conntrack_reconciler_deleted_entries_total" ["ip_family"] 1;
        deletions: Histogram = "kubeproxy_conntrack_reconciler_sync_duration_seconds" ["ip_family"] 1;
        healthz: Counter = "kubeproxy_proxy_healthz_total" ["code"] 2;
        livez: Counter = "kubeproxy_proxy_livez_total" ["code"] 2;
        not_local: Gauge = "kubeproxy_sync_proxy_rules_no_local_endpoints_total" ["ip_family", "traffic_policy"] 2;
    }
}

/// The counts of the service rules of a node.
#[derive(Default)]
pub(crate) struct Figures {
    families: Families,
    /// Changes that wait for the next round.
    services: AtomicU64,
    endpoints: AtomicU64,
}

impl Figures {
    /// A service has changed.
    pub(super) fn service_changed(&self, now: jiff::Timestamp) {
        self.services.fetch_add(1, Ordering::Relaxed);
        self.families.service_changes.with([], Counter::add_one);
        self.families.queued_at.with(IPV4, |gauge| gauge.set(seconds(now)));
    }

    /// The endpoints of a service have changed.
    pub(super) fn endpoints_changed(&self, now: jiff::Timestamp) {
        self.endpoints.fetch_add(1, Ordering::Relaxed);
        self.families.endpoint_changes.with([], Counter::add_one);
        self.families.queued_at.with(IPV4, |gauge| gauge.set(seconds(now)));
    }

    /// A round takes up what has changed.
    pub(super) fn taken_up(&self) {
        self.services.store(0, Ordering::Relaxed);
        self.endpoints.store(0, Ordering::Relaxed);
    }

    /// A round is over: the table was built anew or changed in part, or was refused.
    pub(super) fn applied(&self, anew: bool, ok: bool, took: Duration, now: jiff::Timestamp) {
        let took = took.as_secs_f64();
        self.families.rounds.with(IPV4, |durations| durations.observe(took));
        let family = if anew { &self.families.whole } else { &self.families.partial };
        family.with(IPV4, |durations| durations.observe(took));
        if ok {
            self.families.applied_at.with(IPV4, |gauge| gauge.set(seconds(now)));
        } else {
            self.families.failures.with(IPV4, Counter::add_one);
        }
    }

    /// A change of endpoints that was asked for then is in the table now.
    pub(super) fn programmed(&self, asked: jiff::Timestamp, now: jiff::Timestamp) {
        let took = now.duration_since(asked).as_secs_f64().max(0.0);
        self.families.programming.with(IPV4, |durations| durations.observe(took));
    }

    /// Entries of connection tracking were deleted.
    pub(super) fn forgot(&self, entries: u64, took: Duration) {
        self.families.deleted.with(IPV4, |counter| counter.add(entries));
        self.families.deletions.with(IPV4, |durations| durations.observe(took.as_secs_f64()));
    }

    /// Someone asked whether the rules are current, a load balancer or else who watches over this process alone.
    pub(super) fn asked(&self, balancer: bool, ok: bool) {
        let family = if balancer { &self.families.healthz } else { &self.families.livez };
        family.with([if ok { "200" } else { "503" }], Counter::add_one);
    }

    /// So many services have the policy to lead to this node's endpoints only, and none of them here.
    pub(super) fn not_local(&self, internal: usize, external: usize) {
        for (policy, count) in [("internal", internal), ("external", external)] {
            self.families.not_local.with([IPV4[0], policy], |gauge| gauge.set(count as f64));
        }
    }
}

fn seconds(time: jiff::Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1e3
}

impl Collect for Figures {
    fn collect(&self, text: &mut Text) {
        self.families.collect(text);
        let pending = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        text.value("kubeproxy_sync_proxy_rules_service_changes_pending", &[], pending(&self.services));
        text.value("kubeproxy_sync_proxy_rules_endpoint_changes_pending", &[], pending(&self.endpoints));
    }
}
