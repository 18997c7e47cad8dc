//! What is counted of policies of admission (`metrics` of apiserver's `policy/validating` and `policy/mutating`).

use std::time::Duration;

use metrics::{Counter, Histogram, families};

use super::RESOURCES_MAX;

/// How many series there are of all policies together, whose names are for others to choose.
const POLICIES_MAX: usize = 4 * RESOURCES_MAX;

families! {
    /// Policies of admission.
    pub struct Policies {
        validated: Counter = "apiserver_validating_admission_policy_check_total"
            ["policy", "policy_binding", "error_type", "enforcement_action"] POLICIES_MAX;
        validating: Histogram = "apiserver_validating_admission_policy_check_duration_seconds"
            ["policy", "policy_binding", "error_type", "enforcement_action"] POLICIES_MAX;
        mutated: Counter = "apiserver_mutating_admission_policy_check_total"
            ["policy", "policy_binding", "error_type"] POLICIES_MAX;
        mutating: Histogram = "apiserver_mutating_admission_policy_check_duration_seconds"
            ["policy", "policy_binding", "error_type"] POLICIES_MAX;
    }
}

impl Policies {
    /// A validation of a policy (by name and binding) was refused, audited, warned of, or failed and was let through.
    pub fn validated(&self, of: [&str; 4], took: Duration) {
        self.validated.with(of, Counter::add_one);
        self.validating.with(of, |durations| durations.observe(took.as_secs_f64()));
    }

    /// A mutation of a policy (by name and binding) was applied, or failed with a type of error.
    pub fn mutated(&self, of: [&str; 3], took: Duration) {
        self.mutated.with(of, Counter::add_one);
        self.mutating.with(of, |durations| durations.observe(took.as_secs_f64()));
    }
}
