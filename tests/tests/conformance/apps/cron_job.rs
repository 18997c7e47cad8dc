//! CronJobs. How jobs of one schedule get on with each other takes minutes, as a job is named after its minute.

use std::time::Duration;

use serde_json::{Value, json};

use crate::case::{Conformance, test};

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    vec![test("[sig-apps] CronJob should not schedule jobs when suspended [Slow] [Conformance]", |plane| async move {
        let crons = plane.of("batch/v1", "cronjobs");
        let mut one = cron("Allow");
        one["spec"]["suspend"] = json!(true);
        crons.create(one).await;
        tokio::time::sleep(Duration::from_millis(2200)).await;
        assert!(crons.get("one").await["status"]["active"].is_null());
        assert!(plane.of("batch/v1", "jobs").list("").await.is_empty());
    })]
}

fn cron(policy: &str) -> Value {
    json!({"metadata": {"name": "one"}, "spec": {"schedule": "@every 1s", "concurrencyPolicy": policy, "jobTemplate": {"spec": {
        "template": {"spec": {"restartPolicy": "OnFailure", "containers": [{"name": "c", "image": "a:1"}]}}}}}})
}
