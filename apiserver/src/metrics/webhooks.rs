//! What is counted of webhooks (`admission/metrics`, and `conversion/metrics` of apiextensions).

use std::time::Duration;

use metrics::{Counter, Histogram, families};

use super::{FEW, RESOURCES_MAX};

/// How many series there are of all webhooks together, whose names are for others to choose.
const WEBHOOKS_MAX: usize = 2 * RESOURCES_MAX;
/// Codes beyond are counted as this one.
const CODE_MAX: u16 = 600;

families! {
    /// Webhooks of admission and of conversion.
    pub struct Webhooks {
        durations: Histogram =
            "apiserver_admission_webhook_admission_duration_seconds" ["name", "type", "operation", "rejected"] WEBHOOKS_MAX;
        requests: Counter =
            "apiserver_admission_webhook_request_total" ["name", "type", "operation", "code", "rejected"] WEBHOOKS_MAX;
        rejections: Counter =
            "apiserver_admission_webhook_rejection_count" ["name", "type", "operation", "error_type", "rejection_code"] WEBHOOKS_MAX;
        fail_open: Counter = "apiserver_admission_webhook_fail_open_count" ["name", "type"] WEBHOOKS_MAX;
        condition_durations: Histogram =
            "apiserver_admission_match_condition_evaluation_seconds" ["name", "kind", "type", "operation"] WEBHOOKS_MAX;
        condition_errors: Counter =
            "apiserver_admission_match_condition_evaluation_errors_total" ["name", "kind", "type", "operation"] WEBHOOKS_MAX;
        condition_exclusions: Counter =
            "apiserver_admission_match_condition_exclusions_total" ["name", "kind", "type", "operation"] WEBHOOKS_MAX;
        conversions: Counter = "apiserver_conversion_webhook_request_total" ["result", "failure_type"] FEW;
        conversion_durations: Histogram = "apiserver_conversion_webhook_duration_seconds" ["result", "failure_type"] FEW;
        versions: Histogram =
            "apiserver_crd_conversion_webhook_duration_seconds" ["crd_name", "from_version", "to_version", "succeeded"] WEBHOOKS_MAX;
    }
}

/// A webhook of admission by name, the phase, and the operation that it was asked about.
pub(super) type Asked<'a> = [&'a str; 3];

impl Webhooks {
    /// A webhook has answered with a code, or its call failed as if with one. A refusal is one of an error type.
    pub fn asked(&self, [name, phase, operation]: Asked<'_>, code: u16, refusal: Option<&str>, took: Duration) {
        let code = code.min(CODE_MAX).to_string();
        let rejected = if refusal.is_some() { "true" } else { "false" };
        self.durations.with([name, phase, operation, rejected], |durations| durations.observe(took.as_secs_f64()));
        self.requests.with([name, phase, operation, &code, rejected], Counter::add_one);
        if let Some(error) = refusal {
            self.rejections.with([name, phase, operation, error, &code], Counter::add_one);
        }
    }

    /// A request goes on although a webhook could not be called.
    pub fn failed_open(&self, name: &str, phase: &str) {
        self.fail_open.with([name, phase], Counter::add_one);
    }

    /// The conditions of a webhook or a policy were evaluated, so many of them in vain: its name, what it is, the phase, the
    /// operation.
    pub fn conditions(&self, labels: [&str; 4], errors: usize, took: Duration) {
        self.condition_durations.with(labels, |durations| durations.observe(took.as_secs_f64()));
        (0..errors).for_each(|_| self.condition_errors.with(labels, Counter::add_one));
    }

    /// A webhook or a policy was spared since a condition does not hold.
    pub fn excluded(&self, labels: [&str; 4]) {
        self.condition_exclusions.with(labels, Counter::add_one);
    }

    /// A conversion webhook has converted objects of a definition from one version to another, or failed with a type of error.
    pub fn converted(&self, definition: &str, [from, to]: [&str; 2], failure: Option<&str>, took: Duration) {
        let (result, failure) = (if failure.is_some() { "failure" } else { "success" }, failure.unwrap_or(""));
        let succeeded = if failure.is_empty() { "true" } else { "false" };
        self.conversions.with([result, failure], Counter::add_one);
        self.conversion_durations.with([result, failure], |durations| durations.observe(took.as_secs_f64()));
        self.versions.with([definition, from, to, succeeded], |durations| durations.observe(took.as_secs_f64()));
    }
}
