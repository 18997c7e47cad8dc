//! Pods leave nodes with `NoExecute` taints, once they no longer bear them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::tolerations::borne_for;
use client::{Action, EventType, Informer, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use metrics::Counter;
use parking_lot::Mutex;
use serde_json::json;

use super::{BY_NODE, by_node};
use crate::context::Context;
use crate::error::{Error, Result, ignore_not_found};
use crate::figures::Nodes;
use crate::pod::{is_terminating, node_name};

/// Pods worked on at a time.
const WORKERS: usize = 8;

/// Since when pods are on a node with taints that they bear for some time only. A taint need not say when it was added.
type Since = Mutex<HashMap<ObjectKey, jiff::Timestamp>>;

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let nodes = context.informers.of::<Node>();
    let pods = context.informers.of::<Pod>();
    pods.add_index(BY_NODE, by_node);
    watch(&nodes, &pods, &queue);
    nodes.wait_synced().await;
    pods.wait_synced().await;
    let of = context.clone();
    let since = Arc::new(Since::default());
    context
        .run("taint-eviction", queue, WORKERS, move |key| {
            let (context, since, pod) = (of.clone(), since.clone(), pods.get_key(&key).filter(|p| !is_terminating(p)));
            let figures = of.figures::<Nodes>();
            let node = pod.as_ref().and_then(|pod| nodes.get("", node_name(pod)));
            async move {
                let bears = pod.as_ref().zip(node).and_then(|(pod, node)| bears(&node, pod));
                let (Some(pod), Some((bears, added))) = (pod, bears) else {
                    let waited = since.lock().remove(&key);
                    if waited.is_some() {
                        record(&context, &key, format!("Cancelling deletion of Pod {key}"));
                    }
                    return Ok::<_, Error>(Action::Done);
                };
                let now = context.clock.now();
                let seen = *since.lock().entry(key.clone()).or_insert(now);
                let passed = Duration::try_from(now.duration_since(added.unwrap_or(seen))).unwrap_or_default();
                match bears.saturating_sub(passed) {
                    left if !left.is_zero() => Ok(Action::RequeueAfter(left)),
                    _ => {
                        let outcome = evict(&context, &pod).await;
                        if outcome.is_ok() {
                            let late = passed.saturating_sub(bears).as_secs_f64();
                            figures.pod_deletions.with([], Counter::add_one);
                            figures.pod_deletion_durations.with([], |durations| durations.observe(late));
                        }
                        since.lock().remove(&key);
                        outcome
                    }
                }
            }
        })
        .await;
}

fn watch(nodes: &Informer<Node>, pods: &Informer<Pod>, queue: &WorkQueue<ObjectKey>) {
    let (to, of) = (queue.clone(), pods.clone());
    nodes.on_change(move |change| {
        let node = change.object();
        let changed = change.old().is_none_or(|old| executing(old) != executing(node));
        // A taint that is gone ends the time of those who bore it.
        if !change.is_delete() && changed {
            of.indexed(BY_NODE, &node.name_any()).iter().for_each(|p| to.add(ObjectKey::of(&**p)));
        }
    });
    let (to, nodes) = (queue.clone(), nodes.clone());
    pods.on_change(move |change| {
        let pod = change.object();
        let node = nodes.get("", node_name(pod));
        if node.is_some_and(|n| !executing(&n).is_empty()) {
            to.add(ObjectKey::of(&**pod));
        }
    });
}

fn executing(node: &Node) -> Vec<Taint> {
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_ref()).into_iter().flatten();
    taints.filter(|t| t.effect == "NoExecute").cloned().collect()
}

/// How long the pod may stay from when the last taint was added, if that is known; `None` is for ever.
fn bears(node: &Node, pod: &Pod) -> Option<(Duration, Option<jiff::Timestamp>)> {
    let taints = executing(node);
    let tolerations = pod.spec.as_ref().and_then(|s| s.tolerations.as_deref()).unwrap_or_default();
    let seconds = borne_for(&taints, tolerations)?;
    let added = taints.iter().map(|t| t.time_added.as_ref().map(|t| t.0)).collect::<Option<Vec<_>>>();
    Some((Duration::from_secs(seconds), added.and_then(|all| all.into_iter().max())))
}

/// Records what becomes of a pod (`emitPodDeletionEvent` and `emitCancelPodDeletionEvent`).
fn record(context: &Context, key: &ObjectKey, said: String) {
    let about = ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: Some(key.namespace.clone()),
        name: Some(key.name.clone()),
        ..ObjectReference::default()
    };
    context.events.event_about(about, EventType::Normal, "TaintManagerEviction", said);
}

async fn evict(context: &Context, pod: &Arc<Pod>) -> Result<Action> {
    let key = ObjectKey::of(&**pod);
    let api = context.api::<Pod>(&key.namespace);
    record(context, &key, format!("Marking for deletion Pod {key}"));
    let patch = json!({"status": {"conditions": [{
        "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
        "message": "Taint manager: deleting due to NoExecute taint",
        "lastTransitionTime": Time(context.clock.now()),
    }]}});
    ignore_not_found(api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await)?;
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: pod.uid(), resource_version: None }),
        ..DeleteParams::default()
    };
    ignore_not_found(api.delete(&key.name, &params).await)?;
    Ok(Action::Done)
}
