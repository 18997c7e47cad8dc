//! Writes a pod's status: only what changed, the newest state only, in the background.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::{agent::Agent, pod, status::OWN_CONDITIONS};

/// The first pause after a failed write.
const RETRY_MIN: Duration = Duration::from_millis(50);
/// The longest pause after failed writes.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Fields of the status that are lists with a merge key: without a directive, old items would stay.
const KEYED_LISTS: [(&str, &str); 3] = [("podIPs", "ip"), ("hostIPs", "ip"), ("conditions", "type")];

/// The writer of one pod's status. Dropping it ends it.
pub struct StatusWriter {
    wanted: watch::Sender<(u64, Option<PodStatus>)>,
    written: watch::Receiver<u64>,
    sent: u64,
    agent: Arc<Agent>,
    namespace: String,
    name: String,
    uid: String,
}

impl StatusWriter {
    /// Starts the writer of a pod whose status in the API is `known`.
    pub fn start(agent: Arc<Agent>, of: &Pod) -> Self {
        let (wanted, receiver) = watch::channel((0, None));
        let (done, written) = watch::channel(0);
        let (namespace, name, uid) = (pod::namespace(of), pod::name(of), pod::uid(of));
        let known = serde_json::to_value(of.status.clone().unwrap_or_default()).unwrap_or_default();
        let api = Api::namespaced(agent.client.clone(), namespace);
        tokio::spawn(write_all(api, name.to_owned(), uid.to_owned(), known, receiver, done));
        Self {
            wanted,
            written,
            sent: 0,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            agent,
        }
    }

    /// Wants this status; what was wanted before and not written yet is forgotten.
    pub fn set(&mut self, status: PodStatus) {
        self.sent += 1;
        self.wanted.send_replace((self.sent, Some(status)));
    }

    /// Waits until the newest status is written, or cannot be because the pod is gone.
    pub async fn flush(&mut self) {
        let sent = self.sent;
        // The sender goes away when the pod is gone from the API; then there is nothing to wait for.
        let _ = self.written.wait_for(|written| *written >= sent).await;
    }

    /// Deletes the pod from the API for good.
    ///
    /// # Errors
    /// When the API server refuses; a pod that is gone or replaced is no error.
    pub async fn delete(&self) -> Result<(), kube::Error> {
        let api: Api<Pod> = Api::namespaced(self.agent.client.clone(), &self.namespace);
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: Some(self.uid.clone()), resource_version: None }),
            ..Default::default()
        };
        match api.delete(&self.name, &params).await {
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
            other => other.map(drop),
        }
    }
}

async fn write_all(
    api: Api<Pod>,
    name: String,
    uid: String,
    mut known: Value,
    mut wanted: watch::Receiver<(u64, Option<PodStatus>)>,
    done: watch::Sender<u64>,
) {
    while wanted.changed().await.is_ok() {
        let mut retry = RETRY_MIN;
        loop {
            let (number, status) = wanted.borrow_and_update().clone();
            let Some(status) = status else { break };
            let Ok(new) = serde_json::to_value(&status) else { break };
            let Some(patch) = patch(&known, &new) else {
                done.send_replace(number);
                break;
            };
            let body = json!({"metadata": {"uid": uid}, "status": patch});
            match api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(body)).await {
                Ok(_) => {
                    known = new;
                    done.send_replace(number);
                    break;
                }
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {
                    tracing::debug!(%name, code = status.code, message = status.message, "the pod's status is not written");
                    if status.code == 404 || status.message.contains("uid") {
                        return;
                    }
                }
                Err(error) => tracing::debug!(%name, %error, "the pod's status was not written"),
            }
            tokio::time::sleep(retry).await;
            retry = (retry * 2).min(RETRY_MAX);
        }
    }
}

/// The strategic merge patch from one status to another; `None` if they are equal.
fn patch(old: &Value, new: &Value) -> Option<Value> {
    let empty = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let mut patch = Map::new();
    for (key, value) in new.iter().filter(|(key, value)| old.get(*key) != Some(*value)) {
        let merge_key = KEYED_LISTS.iter().find(|(list, _)| list == key).map(|(_, merge_key)| *merge_key);
        let value = match merge_key {
            Some(merge_key) => keyed(old.get(key), value, merge_key),
            None => value.clone(),
        };
        patch.insert(key.clone(), value);
    }
    const OURS: [&str; 6] = ["reason", "message", "podIP", "podIPs", "hostIP", "ephemeralContainerStatuses"];
    for key in OURS.iter().filter(|key| old.contains_key(**key) && !new.contains_key(**key)) {
        patch.insert((*key).to_owned(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// A list whose items merge by a key: changed items whole, and a directive for each that is gone.
fn keyed(old: Option<&Value>, new: &Value, merge_key: &str) -> Value {
    let items = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let (old, new) = (items(old), items(Some(new)));
    let same = |a: &Value, b: &Value| a.get(merge_key) == b.get(merge_key);
    let mut list: Vec<Value> = Vec::new();
    for item in new.iter().filter(|item| !old.contains(item)) {
        let mut item = item.clone();
        // A field that the old item had and the new one has not must be named to go away.
        if let (Some(before), Some(fields)) = (old.iter().find(|o| same(o, &item)), item.as_object_mut()) {
            for key in before.as_object().into_iter().flatten().map(|(key, _)| key) {
                fields.entry(key.clone()).or_insert(Value::Null);
            }
        }
        list.push(item);
    }
    // Conditions of others are never taken away.
    let ours = |item: &Value| {
        let key = item.get(merge_key).and_then(Value::as_str).unwrap_or_default();
        merge_key != "type" || OWN_CONDITIONS.contains(&key)
    };
    for gone in old.iter().filter(|o| ours(o) && !new.iter().any(|n| same(o, n))) {
        list.push(json!({merge_key: gone.get(merge_key), "$patch": "delete"}));
    }
    Value::Array(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(old: Value, new: Value, expected: Option<Value>) {
        assert_eq!(patch(&old, &new), expected, "{old} to {new}");
    }

    #[test]
    fn patches() {
        check(json!({"phase": "Pending"}), json!({"phase": "Pending"}), None);
        check(json!({"phase": "Pending"}), json!({"phase": "Running"}), Some(json!({"phase": "Running"})));
        check(json!({"reason": "x"}), json!({}), Some(json!({"reason": null})));
        check(
            json!({"podIPs": [{"ip": "10.0.0.1"}]}),
            json!({"podIPs": [{"ip": "10.0.0.2"}]}),
            Some(json!({"podIPs": [{"ip": "10.0.0.2"}, {"ip": "10.0.0.1", "$patch": "delete"}]})),
        );
        check(
            json!({"conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "False", "reason": "r"}]}),
            json!({"conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "True"}]}),
            Some(json!({"conditions": [{"type": "B", "status": "True", "reason": null}]})),
        );
        check(
            json!({"conditions": [{"type": "Theirs", "status": "True"}, {"type": "PodResizeInProgress", "status": "True"}]}),
            json!({"conditions": []}),
            Some(json!({"conditions": [{"type": "PodResizeInProgress", "$patch": "delete"}]})),
        );
    }
}
