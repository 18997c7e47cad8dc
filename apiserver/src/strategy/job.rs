//! A job selects its pods by its own uid unless its maker says otherwise.

use api::{Object, Status};
use serde_json::{Value, json};
use store::{Snapshot, Transaction};

use super::Strategy;
use crate::Context;

/// Jobs.
pub(super) struct Job;

impl Strategy for Job {
    fn prepare_for_create(&self, _: &Context, new: &mut Object) {
        new.set(&["status"], json!({}));
        if new.at(&["spec", "manualSelector"]) == Some(&Value::Bool(true)) {
            return;
        }
        // Labels that the job has from its template are one map with the template's (SetDefaults_Job), so what is added
        // there is added here.
        let shared = new.at(&["metadata", "labels"]).is_some()
            && new.at(&["metadata", "labels"]) == new.at(&["spec", "template", "metadata", "labels"]);
        let (name, uid) = (new.name().to_string(), new.uid().to_string());
        let labels = [
            ("controller-uid", &uid),
            ("job-name", &name),
            ("batch.kubernetes.io/controller-uid", &uid),
            ("batch.kubernetes.io/job-name", &name),
        ];
        for (label, value) in labels {
            if new.at(&["spec", "template", "metadata", "labels", label]).is_none() {
                new.set(&["spec", "template", "metadata", "labels", label], value.as_str());
            }
        }
        if new.at(&["spec", "selector", "matchLabels", "batch.kubernetes.io/controller-uid"]).is_none() {
            new.set(&["spec", "selector", "matchLabels", "batch.kubernetes.io/controller-uid"], uid);
        }
        if shared {
            take_labels(new);
        }
    }

    /// A job without labels has those of its template (`SetDefaults_Job`): when it is read again, after it was checked.
    fn accompany(
        &self,
        _: &Context,
        new: Option<&mut Object>,
        old: Option<&Object>,
        _: &Snapshot,
    ) -> Result<Transaction, Status> {
        let is_empty = |map: &Value| map.as_object().is_none_or(serde_json::Map::is_empty);
        if let Some(new) = new.filter(|new| old.is_none() && new.at(&["metadata", "labels"]).is_none_or(is_empty)) {
            take_labels(new);
        }
        Ok(Transaction::default())
    }
}

fn take_labels(job: &mut Object) {
    if let Some(labels) = job.at(&["spec", "template", "metadata", "labels"]).cloned() {
        job.set(&["metadata", "labels"], labels);
    }
}
