//! What the controllers count, under the reference's names.
//!
//! A label that an object gives (a namespace, a zone) has as many values as there are objects that somebody may make, so
//! its family has room for some of them only.

use metrics::{Counter, Gauge, Histogram, families};

/// Room for families whose labels have few values.
const FEW: usize = 64;
/// Room for one series for each of something that users make.
const MANY: usize = 1_024;

families! {
    /// Of the Job controller (`pkg/controller/job/metrics`).
    pub(crate) struct Jobs {
        /// How long a sync took: completion mode, result, what it did.
        pub(crate) sync_durations: Histogram =
            "job_controller_job_sync_duration_seconds" ["completion_mode", "result", "action"] FEW;
        /// Syncs.
        pub(crate) syncs: Counter = "job_controller_job_syncs_total" ["completion_mode", "result", "action"] FEW;
        /// Jobs that ended.
        pub(crate) finished: Counter = "job_controller_jobs_finished_total" ["completion_mode", "result", "reason"] FEW;
        /// Pods whose end was counted.
        pub(crate) pods_finished: Counter = "job_controller_job_pods_finished_total" ["completion_mode", "result"] FEW;
        /// Indexes that came to an end.
        pub(crate) indexes: Counter = "job_controller_job_finished_indexes_total" ["status", "backoffLimit"] FEW;
        /// Pods that were made.
        pub(crate) creations: Counter = "job_controller_job_pods_creation_total" ["reason", "status"] FEW;
        /// Failures that the failure policy decided of.
        pub(crate) by_policy: Counter = "job_controller_pod_failures_handled_by_failure_policy_total" ["action"] FEW;
        /// Pods that ended while they were tracked, and those that were let go.
        pub(crate) tracked: Counter = "job_controller_terminated_pods_tracking_finalizer_total" ["event"] FEW;
    }
}

families! {
    /// Of the controllers whose families are few.
    pub(crate) struct Various {
        /// How late a CronJob's job was made.
        pub(crate) cron_skew: Histogram = "cronjob_controller_job_creation_skew_duration_seconds" [] 1;
        /// How late an ended job was deleted.
        pub(crate) ttl: Histogram = "ttl_after_finished_controller_job_deletion_duration_seconds" [] 1;
        /// Failures to find out what there is to collect.
        pub(crate) garbage_sync_errors: Counter = "garbagecollector_controller_resources_sync_error_total" [] 1;
        /// Pods that were deleted by force.
        pub(crate) forced: Counter = "pod_gc_collector_force_delete_pods_total" ["namespace", "reason"] MANY;
        /// Pods that could not be.
        pub(crate) force_errors: Counter = "pod_gc_collector_force_delete_pod_errors_total" ["namespace", "reason"] MANY;
        /// How long it took to publish the certificate of the authority in a namespace.
        pub(crate) root_ca_durations: Histogram = "root_ca_cert_publisher_sync_duration_seconds" ["code"] FEW;
        /// How often that was done.
        pub(crate) root_ca_syncs: Counter = "root_ca_cert_publisher_sync_total" ["code"] FEW;
        /// How old pods were that a ReplicaSet gave up, by the age of its youngest.
        pub(crate) age_ratio: Histogram = "replicaset_controller_sorting_deletion_age_ratio" [] 1;
        /// Pods of StatefulSets that are not available.
        pub(crate) unavailable: Gauge = "statefulset_controller_statefulset_unavailable_replicas"
            ["statefulset_namespace", "statefulset_name", "pod_management_policy"] MANY;
        /// How long volumes took to be made and removed.
        pub(crate) volume_durations: Histogram = "volume_operation_total_seconds" ["operation_name", "plugin_name"] FEW;
        /// How often that failed.
        pub(crate) volume_errors: Counter = "volume_operation_errors_total" ["operation_name", "plugin_name"] FEW;
        /// Which controllers run.
        pub(crate) running: Gauge = "running_managed_controllers" ["name", "manager"] FEW;
    }
}

families! {
    /// Of the controllers of claims and devices (`pkg/controller/devicetainteviction/metrics`,
    /// `pkg/controller/resourceclaim/metrics`, `pkg/controller/volume/ephemeral/metrics`).
    pub(crate) struct Devices {
        /// Claims of devices that were to be made.
        pub(crate) claims: Counter = "resourceclaim_controller_creates_total" ["status", "admin_access"] FEW;
        /// Claims of volumes that were to be made.
        pub(crate) volume_claims: Counter = "ephemeral_volume_controller_create_total" [] 1;
        /// Those of them that could not be.
        pub(crate) volume_claim_failures: Counter = "ephemeral_volume_controller_create_failures_total" [] 1;
        /// Pods that were deleted for a taint of a device.
        pub(crate) taint_deletions: Counter = "device_taint_eviction_controller_pod_deletions_total" [] 1;
        /// How late.
        pub(crate) taint_deletion_durations: Histogram =
            "device_taint_eviction_controller_pod_deletion_duration_seconds" [] 1;
    }
}

families! {
    /// Of the controllers of nodes (`nodelifecycle`, `tainteviction`).
    pub(crate) struct Nodes {
        /// Nodes whose pods were told to leave.
        pub(crate) evictions: Counter = "node_collector_evictions_total" ["zone"] MANY;
        /// How long it took to judge one node.
        pub(crate) health_durations: Histogram = "node_collector_update_node_health_duration_seconds" [] 1;
        /// How many pods were deleted for a taint.
        pub(crate) pod_deletions: Counter = "taint_eviction_controller_pod_deletions_total" [] 1;
        /// How late.
        pub(crate) pod_deletion_durations: Histogram = "taint_eviction_controller_pod_deletion_duration_seconds" [] 1;
    }
}

families! {
    /// Of the EndpointSlice controller (`k8s.io/endpointslice/metrics`).
    pub(crate) struct Slices {
        /// Slices written.
        pub(crate) changes: Counter = "endpoint_slice_controller_changes" ["operation"] FEW;
        /// Endpoints that came in a sync.
        pub(crate) added: Histogram = "endpoint_slice_controller_endpoints_added_per_sync" [] 1;
        /// Endpoints that went.
        pub(crate) removed: Histogram = "endpoint_slice_controller_endpoints_removed_per_sync" [] 1;
        /// Slices written in a sync.
        pub(crate) changed: Histogram =
            "endpoint_slice_controller_endpointslices_changed_per_sync" ["topology", "traffic_distribution"] FEW;
        /// Syncs.
        pub(crate) syncs: Counter = "endpoint_slice_controller_syncs" ["result"] FEW;
        /// How many slices there would be at the least.
        pub(crate) slices_wanted: Gauge = "endpoint_slice_controller_desired_endpoint_slices" [] 1;
        /// How many there are.
        pub(crate) slices: Gauge = "endpoint_slice_controller_num_endpoint_slices" [] 1;
        /// Endpoints in them.
        pub(crate) endpoints: Gauge = "endpoint_slice_controller_endpoints_desired" [] 1;
        /// Services that say how traffic is shared out.
        pub(crate) by_distribution: Gauge =
            "endpoint_slice_controller_services_count_by_traffic_distribution" ["traffic_distribution"] FEW;
    }
}

families! {
    /// Of the controller that mirrors Endpoints (`endpointslicemirroring/metrics`).
    pub(crate) struct Mirrored {
        /// Slices written.
        pub(crate) changes: Counter = "endpoint_slice_mirroring_controller_changes" ["operation"] FEW;
        /// Addresses that were left out.
        pub(crate) skipped: Histogram = "endpoint_slice_mirroring_controller_addresses_skipped_per_sync" [] 1;
        /// Endpoints that came in a sync.
        pub(crate) added: Histogram = "endpoint_slice_mirroring_controller_endpoints_added_per_sync" [] 1;
        /// Endpoints that changed.
        pub(crate) updated: Histogram = "endpoint_slice_mirroring_controller_endpoints_updated_per_sync" [] 1;
        /// Endpoints that went.
        pub(crate) removed: Histogram = "endpoint_slice_mirroring_controller_endpoints_removed_per_sync" [] 1;
        /// How long a sync took.
        pub(crate) durations: Histogram = "endpoint_slice_mirroring_controller_endpoints_sync_duration" [] 1;
        /// How many slices there would be at the least.
        pub(crate) slices_wanted: Gauge = "endpoint_slice_mirroring_controller_desired_endpoint_slices" [] 1;
        /// How many there are.
        pub(crate) slices: Gauge = "endpoint_slice_mirroring_controller_num_endpoint_slices" [] 1;
        /// Endpoints in them.
        pub(crate) endpoints: Gauge = "endpoint_slice_mirroring_controller_endpoints_desired" [] 1;
    }
}
