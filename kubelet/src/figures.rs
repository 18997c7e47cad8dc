//! The node agent's counts, under the reference's names (`pkg/kubelet/metrics`).

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Metrics, families};

use crate::pod::Role;

/// Room for families whose labels have few values.
const FEW: usize = 64;
/// Room for families with labels that meet in many ways.
const MANY: usize = 1_024;

/// Where the parts of a node count: what `/metrics` of its server shows, and what `/metrics/probes` does.
#[derive(Clone, Default, Debug)]
pub struct NodeMetrics {
    /// The agent, its server and the service rules.
    pub agent: Metrics,
    /// Probes.
    pub probes: Metrics,
}

families! {
    /// Calls of the runtime (`instrumentedRuntimeService`).
    pub struct Runtime {
        calls: Counter = "kubelet_runtime_operations_total" ["operation_type"] FEW;
        errors: Counter = "kubelet_runtime_operations_errors_total" ["operation_type"] FEW;
        durations: Histogram = "kubelet_runtime_operations_duration_seconds" ["operation_type"] FEW;
        sandboxes: Histogram = "kubelet_run_podsandbox_duration_seconds" ["runtime_handler"] FEW;
        sandbox_errors: Counter = "kubelet_run_podsandbox_errors_total" ["runtime_handler"] FEW;
    }
}

impl Runtime {
    /// A call is over.
    pub(crate) fn called(&self, operation: &str, ok: bool, took: Duration) {
        self.calls.with([operation], Counter::add_one);
        self.durations.with([operation], |durations| durations.observe(took.as_secs_f64()));
        if !ok {
            self.errors.with([operation], Counter::add_one);
        }
    }

    /// A sandbox was made, or could not be.
    pub(crate) fn ran_sandbox(&self, handler: &str, ok: bool, took: Duration) {
        self.sandboxes.with([handler], |durations| durations.observe(took.as_secs_f64()));
        if !ok {
            self.sandbox_errors.with([handler], Counter::add_one);
        }
    }
}

families! {
    /// Pods, containers, images and resizes.
    pub struct Agent {
        evictions: Counter = "kubelet_evictions" ["eviction_signal"] FEW;
        started_pods: Counter = "kubelet_started_pods_total" [] 1;
        started_pod_errors: Counter = "kubelet_started_pods_errors_total" [] 1;
        started: Counter = "kubelet_started_containers_total" ["container_type"] FEW;
        start_errors: Counter = "kubelet_started_containers_errors_total" ["container_type", "code"] FEW;
        terminated: Counter = "kubelet_terminated_containers_total" ["container_type", "exit_code", "reason"] MANY;
        /// How many containers a pod has.
        pub(crate) containers_per_pod: Histogram = "kubelet_containers_per_pod_count" [] 1;
        worker_durations: Histogram = "kubelet_pod_worker_duration_seconds" ["operation_type"] FEW;
        worker_start: Histogram = "kubelet_pod_worker_start_duration_seconds" [] 1;
        pod_start: Histogram = "kubelet_pod_start_duration_seconds" [] 1;
        pod_start_sli: Histogram = "kubelet_pod_start_sli_duration_seconds" [] 1;
        pod_start_total: Histogram = "kubelet_pod_start_total_duration_seconds" [] 1;
        status_sync: Histogram = "kubelet_pod_status_sync_duration_seconds" [] 1;
        rejections: Counter = "kubelet_admission_rejections_total" ["reason"] FEW;
        pulls: Histogram = "kubelet_image_pull_duration_seconds" ["image_size_in_bytes"] FEW;
        ensured: Counter =
            "kubelet_image_manager_ensure_image_requests_total" ["present_locally", "pull_policy", "pull_required"] FEW;
        image_volumes: Counter = "kubelet_image_volume_requested_total" [] 1;
        image_volumes_mounted: Counter = "kubelet_image_volume_mounted_succeed_total" [] 1;
        image_volume_errors: Counter = "kubelet_image_volume_mounted_errors_total" [] 1;
        resizes: Counter =
            "kubelet_container_requested_resizes_total" ["resource", "requirement", "operation"] FEW;
        infeasible: Counter = "kubelet_pod_infeasible_resizes_total" ["reason_detail"] FEW;
        accepted: Counter = "kubelet_pod_deferred_accepted_resizes_total" ["retry_trigger"] FEW;
        resized: Histogram = "kubelet_pod_resize_duration_milliseconds" ["success"] FEW;
        /// Pauses of hooks that were cut short.
        pub(crate) sleeps_cut: Counter = "kubelet_sleep_action_terminated_early_total" [] 1;
        /// Sandboxes of pods that nobody knows.
        pub(crate) orphans: Counter = "kubelet_orphaned_runtime_pods_total" [] 1;
        /// Subscriptions to the runtime's events.
        pub(crate) subscribed: Counter = "kubelet_evented_pleg_connection_success_count" [] 1;
        /// Those that failed.
        pub(crate) subscription_errors: Counter = "kubelet_evented_pleg_connection_error_count" [] 1;
        /// How long it took to register the node.
        pub(crate) registration: Gauge = "kubelet_node_startup_registration_duration_seconds" [] 1;
        volumes: Histogram =
            "storage_operation_duration_seconds" ["volume_plugin", "operation_name", "status", "migrated"] MANY;
    }
}

/// When and how a pod came to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PodStart {
    /// Since the agent saw it first.
    pub(crate) seen: Duration,
    /// Since it was created.
    pub(crate) created: Duration,
    /// How much of that images were pulled.
    pub(crate) pulling: Duration,
}

impl Agent {
    /// A pod is evicted, for what it used too much of.
    pub(crate) fn evicted(&self, signal: &str) {
        self.evictions.with([signal], Counter::add_one);
    }

    /// A pod's sandbox was to be made.
    pub(crate) fn started_pod(&self, ok: bool) {
        self.started_pods.with([], Counter::add_one);
        if !ok {
            self.started_pod_errors.with([], Counter::add_one);
        }
    }

    /// A container was to be started; a failure has the reason that its status shows.
    pub(crate) fn started_container(&self, role: Role, error: Option<&str>) {
        self.started.with([kind(role)], Counter::add_one);
        if let Some(code) = error {
            self.start_errors.with([kind(role), code], Counter::add_one);
        }
    }

    /// A container has ended.
    pub(crate) fn ended_container(&self, role: Role, exit_code: i32, reason: &str) {
        self.terminated.with([kind(role), &exit_code.to_string(), reason], Counter::add_one);
    }

    /// The worker of a pod has done a round: a first or a later one, or the last.
    pub(crate) fn worked(&self, operation: &str, took: Duration) {
        self.worker_durations.with([operation], |durations| durations.observe(took.as_secs_f64()));
    }

    /// The worker of a pod began so long after the agent saw the pod.
    pub(crate) fn began(&self, after: Duration) {
        self.worker_start.with([], |durations| durations.observe(after.as_secs_f64()));
    }

    /// A pod runs for the first time.
    pub(crate) fn runs(&self, start: PodStart) {
        self.pod_start.with([], |durations| durations.observe(start.seen.as_secs_f64()));
        self.pod_start_total.with([], |durations| durations.observe(start.created.as_secs_f64()));
        let without_pulls = start.created.saturating_sub(start.pulling).as_secs_f64();
        self.pod_start_sli.with([], |durations| durations.observe(without_pulls));
    }

    /// A status was written so long after it was known.
    pub(crate) fn wrote_status(&self, after: Duration) {
        self.status_sync.with([], |durations| durations.observe(after.as_secs_f64()));
    }

    /// The node did not take a pod.
    pub(crate) fn rejected(&self, reason: &str) {
        let known = REJECTIONS.into_iter().find(|known| *known == reason);
        let others = if reason.starts_with("OutOf") { "OutOfExtendedResources" } else { "Other" };
        self.rejections.with([known.unwrap_or(others)], Counter::add_one);
    }

    /// An image was pulled.
    pub(crate) fn pulled(&self, bytes: u64, took: Duration) {
        self.pulls.with([size_class(bytes)], |durations| durations.observe(took.as_secs_f64()));
    }

    /// An image was asked for: whether it was there and whether it had to be pulled, as far as that was looked at.
    pub(crate) fn ensured(&self, policy: &str, present: Option<bool>, pulls: Option<bool>) {
        let policy = ["Always", "IfNotPresent", "Never"].into_iter().find(|known| *known == policy).unwrap_or("");
        self.ensured.with([known(present), &policy.to_lowercase(), known(pulls)], Counter::add_one);
    }

    /// A volume that is an image was to be mounted.
    pub(crate) fn image_volume(&self, ok: bool) {
        self.image_volumes.with([], Counter::add_one);
        let family = if ok { &self.image_volumes_mounted } else { &self.image_volume_errors };
        family.with([], Counter::add_one);
    }

    /// A container is to have other resources.
    pub(crate) fn resize_asked(&self, resource: &str, requirement: &str, operation: &str) {
        self.resizes.with([resource, requirement, operation], Counter::add_one);
    }

    /// A pod is to have resources that the node never has.
    pub(crate) fn resize_infeasible(&self) {
        self.infeasible.with(["insufficient_node_allocatable"], Counter::add_one);
    }

    /// A resize that had to wait has room: what waits is looked at again from time to time.
    pub(crate) fn resize_accepted(&self) {
        self.accepted.with(["periodic_retry"], Counter::add_one);
    }

    /// A pod has other resources, or could not get them.
    pub(crate) fn resized(&self, ok: bool, took: Duration) {
        let millis = took.as_secs_f64() * 1e3;
        self.resized.with([if ok { "true" } else { "false" }], |durations| durations.observe(millis));
    }

    /// A volume was set up or taken away.
    pub(crate) fn volume(&self, plugin: &str, operation: &str, ok: bool, took: Duration) {
        let status = if ok { "success" } else { "fail-unknown" };
        let labels = [plugin, operation, status, "false"];
        self.volumes.with(labels, |durations| durations.observe(took.as_secs_f64()));
    }
}

/// The reasons of this node's admission that the metrics tell apart (`admissionRejectionReasons`).
const REJECTIONS: [&str; 7] = [
    "AppArmor",
    "OutOfcpu",
    "OutOfephemeral-storage",
    "OutOfmemory",
    "OutOfpods",
    "SupplementalGroupsPolicyNotSupported",
    "SysctlForbidden",
];

fn kind(role: Role) -> &'static str {
    match role {
        Role::Main => "container",
        Role::Init | Role::Sidecar => "init_container",
        Role::Ephemeral => "ephemeral_container",
    }
}

fn known(answer: Option<bool>) -> &'static str {
    match answer {
        Some(true) => "true",
        Some(false) => "false",
        None => "unknown",
    }
}

/// The class of an image by its size (`GetImageSizeBucket`).
fn size_class(bytes: u64) -> &'static str {
    const MB: u64 = 1024 * 1024;
    const GB: u64 = 1024 * MB;
    const CLASSES: [(u64, &str); 12] = [
        (100 * GB, "GT100GB"),
        (60 * GB, "60GB-100GB"),
        (40 * GB, "40GB-60GB"),
        (30 * GB, "30GB-40GB"),
        (20 * GB, "20GB-30GB"),
        (10 * GB, "10GB-20GB"),
        (5 * GB, "5GB-10GB"),
        (GB, "1GB-5GB"),
        (500 * MB, "500MB-1GB"),
        (100 * MB, "100MB-500MB"),
        (10 * MB, "10MB-100MB"),
        (0, "0-10MB"),
    ];
    CLASSES.into_iter().find(|(more_than, _)| bytes > *more_than).map_or("", |(_, class)| class)
}

#[cfg(test)]
mod tests {
    use metrics::{Collect, Text};

    use super::*;

    #[test]
    fn labels_come_from_closed_sets() {
        let agent = Agent::default();
        agent.rejected("OutOfcpu");
        agent.rejected("OutOfexample.com/gpu");
        agent.rejected("whatever");
        agent.ensured("IfNotPresent", Some(true), Some(false));
        agent.ensured("mine", None, None);
        agent.pulled(0, Duration::ZERO);
        agent.pulled(600 * 1024 * 1024, Duration::from_secs(2));
        agent.ended_container(Role::Sidecar, 137, "OOMKilled");
        let mut text = Text::default();
        agent.collect(&mut text);
        let text = text.finish();
        for line in [
            "admission_rejections_total{reason=\"OutOfcpu\"} 1",
            "admission_rejections_total{reason=\"OutOfExtendedResources\"} 1",
            "admission_rejections_total{reason=\"Other\"} 1",
            "image_manager_ensure_image_requests_total{present_locally=\"true\",pull_policy=\"ifnotpresent\",pull_required=\"false\"} 1",
            "image_manager_ensure_image_requests_total{present_locally=\"unknown\",pull_policy=\"\",pull_required=\"unknown\"} 1",
            "image_pull_duration_seconds_sum{image_size_in_bytes=\"500MB-1GB\"} 2",
            "image_pull_duration_seconds_count{image_size_in_bytes=\"\"} 1",
            "terminated_containers_total{container_type=\"init_container\",exit_code=\"137\",reason=\"OOMKilled\"} 1",
        ] {
            let line = format!("kubelet_{line}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
    }
}
