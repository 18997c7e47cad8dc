//! Pods leave nodes with `NoExecute` taints, once they no longer bear them.

use std::sync::Arc;
use std::time::Duration;

use client::{Action, EventType, Informer, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;

use super::{BY_NODE, by_node};
use crate::context::Context;
use crate::error::{Error, Result, ignore_not_found};
use crate::pod::{is_terminating, node_name};
use crate::tolerations::borne_for;

/// Pods worked on at a time.
const WORKERS: usize = 8;

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let nodes = context.informers.of::<Node>();
    let pods = context.informers.of::<Pod>();
    pods.add_index(BY_NODE, by_node);
    nodes.wait_synced().await;
    pods.wait_synced().await;
    watch(&nodes, &pods, &queue);
    let of = context.clone();
    context
        .run("taint-eviction", queue, WORKERS, move |key| {
            let (context, nodes, pod) = (of.clone(), nodes.clone(), pods.get_key(&key));
            async move {
                let Some(pod) = pod.filter(|p| !is_terminating(p)) else { return Ok::<_, Error>(Action::Done) };
                let Some(node) = nodes.get("", node_name(&pod)) else { return Ok(Action::Done) };
                match left(&node, &pod, context.clock.now()) {
                    None => Ok(Action::Done),
                    Some(left) if !left.is_zero() => Ok(Action::RequeueAfter(left)),
                    Some(_) => evict(&context, &pod).await,
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
        if !change.is_delete() && changed && !executing(node).is_empty() {
            of.indexed(BY_NODE, &node.name_any()).iter().for_each(|p| to.add(ObjectKey::of(&**p)));
        }
    });
    let (to, nodes) = (queue.clone(), nodes.clone());
    pods.on_change(move |change| {
        let pod = change.object();
        let node = nodes.get("", node_name(pod));
        if !change.is_delete() && node.is_some_and(|n| !executing(&n).is_empty()) {
            to.add(ObjectKey::of(&**pod));
        }
    });
}

fn executing(node: &Node) -> Vec<Taint> {
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_ref()).into_iter().flatten();
    taints.filter(|t| t.effect == "NoExecute").cloned().collect()
}

/// How long the pod may stay; `None` is for ever.
fn left(node: &Node, pod: &Pod, now: jiff::Timestamp) -> Option<Duration> {
    let taints = executing(node);
    let tolerations = pod.spec.as_ref().and_then(|s| s.tolerations.as_deref()).unwrap_or_default();
    let borne = Duration::from_secs(borne_for(&taints, tolerations)?);
    let since = taints.iter().filter_map(|t| t.time_added.as_ref().map(|t| t.0)).max();
    let passed = since.and_then(|t| Duration::try_from(now.duration_since(t)).ok()).unwrap_or_default();
    Some(borne.saturating_sub(passed))
}

async fn evict(context: &Context, pod: &Arc<Pod>) -> Result<Action> {
    let key = ObjectKey::of(&**pod);
    let api = context.api::<Pod>(&key.namespace);
    context.events.event(&**pod, EventType::Normal, "TaintManagerEviction", format!("Marking for deletion Pod {key}"));
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
