//! A job selects its pods by its own uid unless its maker says otherwise.

use api::Object;
use serde_json::{Value, json};

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
        // A job without labels has those of its template (SetDefaults_Job).
        let has_labels = new.at(&["metadata", "labels"]).and_then(Value::as_object).is_some_and(|l| !l.is_empty());
        if (shared || !has_labels)
            && let Some(labels) = new.at(&["spec", "template", "metadata", "labels"]).cloned()
        {
            new.set(&["metadata", "labels"], labels);
        }
    }
}
