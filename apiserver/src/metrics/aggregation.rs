//! The services of APIServices.

use metrics::{Counter, Gauge, families};

/// How many APIServices are kept apart, each with a few reasons.
const API_SERVICES_MAX: usize = 1_024;
/// How many reasons there are.
const REASONS_MAX: usize = 8;

families! {
    /// What is counted of them (`controllers/status/metrics` and `controllers/openapi/aggregator` in kube-aggregator).
    pub struct Aggregation {
        /// Those that were available and are not, and why.
        pub unavailable: Counter = "aggregator_unavailable_apiservice_total" ["name", "reason"] API_SERVICES_MAX;
        /// Documents that were added, changed or taken away.
        pub regenerations: Counter = "aggregator_openapi_v2_regeneration_count" ["apiservice", "reason"] API_SERVICES_MAX;
        /// How long that took last, in seconds.
        pub regeneration_durations: Gauge = "aggregator_openapi_v2_regeneration_duration" ["reason"] REASONS_MAX;
    }
}
