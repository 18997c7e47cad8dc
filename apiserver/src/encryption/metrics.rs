//! What is counted of encryption, under the reference's names.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use metrics::{Counter, Gauge, Histogram, families};
use sha2::{Digest, Sha256};

use super::provider::hex;
use crate::clock::Clock;

/// Room for families whose labels have few values.
const FEW: usize = 64;
/// As many keys of services as the reference keeps apart.
const KEYS_MAX: usize = 100;
/// Room for what is done with each resource.
const RESOURCES_MAX: usize = 1_024;

/// Which way a value goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Direction {
    /// It is encrypted.
    ToStorage,
    /// It is decrypted.
    FromStorage,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::ToStorage => "to_storage",
            Self::FromStorage => "from_storage",
        }
    }
}

families! {
    /// What is counted.
    pub struct EncryptionMetrics {
        durations: Histogram = "apiserver_storage_transformation_duration_seconds"
            ["transformation_type", "transformer_prefix"] FEW;
        operations: Counter = "apiserver_storage_transformation_operations_total"
            ["resource", "transformation_type", "transformer_prefix", "status"] RESOURCES_MAX;
        misses: Counter = "apiserver_storage_envelope_transformation_cache_misses_total" [] 1;
        generated: Histogram = "apiserver_storage_data_key_generation_duration_seconds" [] 1;
        not_generated: Counter = "apiserver_storage_data_key_generation_failures_total" [] 1;
        seeds: Gauge = "apiserver_envelope_encryption_dek_source_cache_size" ["provider_name"] FEW;
        refused: Counter = "apiserver_envelope_encryption_invalid_key_id_from_status_total"
            ["provider_name", "error"] FEW;
        used: Counter = "apiserver_envelope_encryption_key_id_hash_total"
            ["transformation_type", "provider_name", "key_id_hash", "apiserver_id_hash"] KEYS_MAX;
        used_at: Gauge = "apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds"
            ["transformation_type", "provider_name", "key_id_hash", "apiserver_id_hash"] KEYS_MAX;
        told_at: Gauge = "apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds"
            ["provider_name", "key_id_hash", "apiserver_id_hash"] KEYS_MAX;
        calls: Histogram = "apiserver_envelope_encryption_kms_operations_latency_seconds"
            ["provider_name", "method_name", "grpc_status_code"] FEW;
        reloads: Counter = "apiserver_encryption_config_controller_automatic_reloads_total"
            ["status", "apiserver_id_hash"] FEW;
        reloaded_at: Gauge = "apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds"
            ["status", "apiserver_id_hash"] FEW;
        config: Gauge = "apiserver_encryption_config_controller_last_config_info" ["apiserver_id_hash", "hash"] KEYS_MAX;
    }
}

/// One value on its way.
pub(super) struct Measured<'a> {
    metrics: &'a EncryptionMetrics,
    clock: &'a dyn Clock,
    started: Instant,
    direction: Direction,
    resource: &'a str,
    prefix: &'a str,
}

impl<'a> Measured<'a> {
    /// Begins with it.
    pub(super) fn begin(
        metrics: &'a EncryptionMetrics,
        clock: &'a dyn Clock,
        direction: Direction,
        resource: &'a str,
        prefix: &'a str,
    ) -> Self {
        Self { metrics, clock, started: clock.instant(), direction, resource, prefix }
    }

    /// Counts it.
    pub(super) fn end<T>(self, result: &Result<T, String>) {
        let status = if result.is_ok() { "OK" } else { "unknown-non-grpc" };
        let direction = self.direction.name();
        self.metrics.operations.with([self.resource, direction, self.prefix, status], Counter::add_one);
        if result.is_ok() {
            let took = self.clock.instant().saturating_duration_since(self.started);
            self.metrics.durations.with([direction, self.prefix], |durations| durations.observe(took.as_secs_f64()));
        }
    }
}

impl EncryptionMetrics {
    pub(super) fn cache_missed(&self) {
        self.misses.with([], Counter::add_one);
    }

    pub(super) fn key_generated(&self, took: Duration) {
        self.generated.with([], |durations| durations.observe(took.as_secs_f64()));
        // There is no other outcome: the system always has randomness.
        self.not_generated.with([], |_| {});
    }

    pub(super) fn seeds_known(&self, provider: &str, count: usize) {
        self.seeds.with([provider], |seeds| seeds.set(count as f64));
    }

    pub(super) fn key_refused(&self, provider: &str, code: &str) {
        self.refused.with([provider, code], Counter::add_one);
    }

    pub(super) fn key_used(&self, direction: Direction, provider: &str, key_id: &str, server_id: &str, now: Timestamp) {
        let labels = [direction.name(), provider, &hash(key_id), &hash(server_id)];
        self.used.with(labels, Counter::add_one);
        self.used_at.with(labels, |at| at.set(seconds(now)));
    }

    pub(super) fn key_told(&self, provider: &str, key_id: &str, server_id: &str, now: Timestamp) {
        self.told_at.with([provider, &hash(key_id), &hash(server_id)], |at| at.set(seconds(now)));
    }

    pub(super) fn called(&self, provider: &str, method: &str, code: &str, took: Duration) {
        self.calls.with([provider, method, code], |durations| durations.observe(took.as_secs_f64()));
    }

    pub(super) fn reloaded(&self, server_id: &str, ok: bool, now: Timestamp) {
        let labels = [if ok { "success" } else { "failure" }, &hash(server_id)];
        self.reloads.with(labels, Counter::add_one);
        self.reloaded_at.with(labels, |at| at.set(seconds(now)));
    }

    /// The file that counts now; those before it are gone, which a gauge says as a zero.
    pub(super) fn config_is(&self, server_id: &str, content_hash: &str) {
        for (_, info) in self.config.iter() {
            info.set(0.0);
        }
        self.config.with([&hash(server_id), content_hash], |info| info.set(1.0));
    }
}

fn hash(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("sha256:{}", hex(&Sha256::digest(text))) }
}

fn seconds(now: Timestamp) -> f64 {
    now.as_second() as f64
}
