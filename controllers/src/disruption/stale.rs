//! Pods that were to be disrupted and were not: after some time their condition says so.

use std::time::Duration;

use client::{Action, Informer, ObjectKey};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, Result, ignore_not_found, is_conflict};
use crate::pod::{condition, is_terminal, is_terminating};

/// Keys worked on at a time.
const WORKERS: usize = 1;
/// How long a pod may say that it is to be disrupted before it is deleted (`stalePodDisruptionTimeout` in the reference).
const TIMEOUT: Duration = Duration::from_secs(120);

/// Follows the pods until the context is cancelled.
pub(super) async fn run(context: &Context, pods: Informer<Pod>) {
    let queue = context.queue();
    let (to, clock) = (queue.clone(), context.clock.clone());
    pods.on_change(move |change| {
        let pod = change.object();
        if let Some(left) = left(pod, clock.now()).filter(|_| !change.is_delete()) {
            to.add_after(ObjectKey::of(&**pod), left);
        }
    });
    let of = context.clone();
    context
        .run("stale-disruption", queue, WORKERS, move |key| {
            let (context, pod) = (of.clone(), pods.get_key(&key));
            async move {
                let Some(pod) = pod else { return Ok::<_, Error>(Action::Done) };
                match left(&pod, context.clock.now()) {
                    None => Ok(Action::Done),
                    Some(left) if !left.is_zero() => Ok(Action::RequeueAfter(left)),
                    Some(_) => reset(&context, &key, &pod).await,
                }
            }
        })
        .await;
}

/// How long the condition of a pod may still stand (`nonTerminatingPodHasStaleDisruptionCondition`). One that the node set
/// stands until the pod ends.
fn left(pod: &Pod, now: Timestamp) -> Option<Duration> {
    let set = condition(pod, "DisruptionTarget").filter(|c| c.status == "True")?;
    if is_terminating(pod) || is_terminal(pod) || set.reason.as_deref() == Some("TerminationByKubelet") {
        return None;
    }
    let since = set.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |t| t.0);
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    Some(TIMEOUT.saturating_sub(passed))
}

async fn reset(context: &Context, key: &ObjectKey, pod: &Pod) -> Result<Action> {
    let patch = json!({"metadata": {"uid": pod.uid(), "resourceVersion": pod.resource_version()}, "status": {"conditions": [{
        "type": "DisruptionTarget", "status": "False", "reason": null, "message": null, "lastProbeTime": null,
        "lastTransitionTime": Time(context.clock.now()), "observedGeneration": pod.metadata.generation,
    }]}});
    let api = context.api::<Pod>(&key.namespace);
    match api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
        Err(error) if is_conflict(&error) => Ok(Action::Retry),
        other => {
            ignore_not_found(other)?;
            Ok(Action::Done)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_stands_for_two_minutes() {
        let check = |condition: serde_json::Value, pod: serde_json::Value, expect: Option<u64>| {
            let mut set = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                "lastTransitionTime": "2026-01-01T00:00:00Z"});
            condition.as_object().into_iter().flatten().for_each(|(name, value)| set[name] = value.clone());
            let mut whole = json!({"metadata": {"name": "p"}, "status": {"phase": "Running", "conditions": [set]}});
            for (pointer, value) in pod.as_object().into_iter().flatten() {
                let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
                whole.pointer_mut(parent).expect("it is there")[name] = value.clone();
            }
            let typed: Pod = serde_json::from_value(whole.clone()).expect("a pod");
            let now = "2026-01-01T00:01:30Z".parse().expect("a time");
            assert_eq!(left(&typed, now), expect.map(Duration::from_secs), "{whole}");
        };
        check(json!({}), json!({}), Some(30));
        check(json!({"lastTransitionTime": "2025-12-31T23:00:00Z"}), json!({}), Some(0));
        check(json!({"status": "False"}), json!({}), None);
        check(json!({"reason": "TerminationByKubelet"}), json!({}), None);
        check(json!({}), json!({"/status/phase": "Failed"}), None);
        check(json!({}), json!({"/metadata/deletionTimestamp": "2026-01-01T00:00:00Z"}), None);
    }
}
