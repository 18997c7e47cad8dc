//! Pods that nobody else will delete: of nodes that are gone, ended ones beyond a limit, and unscheduled ones that end.

use std::time::Duration;

use api::conditions;
use client::{Action, Informer, WorkQueue};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use metrics::Counter;
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, Result, ignore_not_found};
use crate::figures::Various;
use crate::pod::{is_terminal, is_terminating, node_name};

/// Ended pods that are kept (`--terminated-pod-gc-threshold` of the reference).
const TERMINATED_MAX: usize = 12_500;
/// How long a node must be gone before its pods are deleted (`quarantineTime` in the reference).
const QUARANTINE: Duration = Duration::from_secs(40);

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Task {
    Terminated,
    Node(String),
    Unscheduled(String, String),
    OutOfService(String),
}

/// The taint by which somebody says that a node is off for good, so that nothing on it can still run.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Whether pods that end on the node have ended: it is not ready, and out of service.
fn is_out_of_service(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let mut taints = node.spec.iter().flat_map(|s| s.taints.iter().flatten());
    !conditions::is_true(conditions, "Ready") && taints.any(|t| t.key == OUT_OF_SERVICE)
}

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue: WorkQueue<Task> = WorkQueue::new(context.clock.clone());
    let pods = context.informers.of::<Pod>();
    let nodes = context.informers.of::<Node>();
    pods.add_index(crate::node_lifecycle::BY_NODE, crate::node_lifecycle::by_node);
    let (to, known) = (queue.clone(), nodes.clone());
    pods.on_change(move |change| {
        let pod = change.object();
        let node = node_name(pod);
        if change.is_delete() {
            return;
        }
        if node.is_empty() && is_terminating(pod) {
            to.add(Task::Unscheduled(pod.namespace().unwrap_or_default(), pod.name_any()));
        } else if !node.is_empty() {
            match known.get("", node) {
                None => to.add_after(Task::Node(node.to_owned()), QUARANTINE),
                Some(n) if is_terminating(pod) && is_out_of_service(&n) => to.add(Task::OutOfService(node.to_owned())),
                Some(_) => {}
            }
        }
        if is_terminal(pod) && change.old().is_none_or(|old| !is_terminal(old)) {
            to.add(Task::Terminated);
        }
    });
    let to = queue.clone();
    nodes.on_change(move |change| {
        if change.is_delete() {
            to.add_after(Task::Node(change.object().name_any()), QUARANTINE);
        } else if is_out_of_service(change.object()) && change.old().is_none_or(|old| !is_out_of_service(old)) {
            to.add(Task::OutOfService(change.object().name_any()));
        }
    });
    pods.wait_synced().await;
    nodes.wait_synced().await;
    let of = context.clone();
    context
        .controller("pod-gc", queue, 1)
        .run(context.token.clone(), move |task| {
            let (context, pods, nodes) = (of.clone(), pods.clone(), nodes.clone());
            async move { sync(&context, &pods, &nodes, task).await }
        })
        .await;
}

async fn sync(context: &Context, pods: &Informer<Pod>, nodes: &Informer<Node>, task: Task) -> Result<Action> {
    match task {
        Task::Terminated => {
            // Counted without a list: almost always there are few pods in all.
            if pods.len() <= TERMINATED_MAX {
                return Ok(Action::Done);
            }
            let mut ended: Vec<_> = pods.list().into_iter().filter(is_terminal).collect();
            let created = |p: &Pod| p.metadata.creation_timestamp.as_ref().map(|t| t.0);
            ended.sort_by_key(|p| (!is_evicted(p), created(p), p.name_any()));
            let surplus = ended.len().saturating_sub(TERMINATED_MAX);
            for pod in ended.iter().take(surplus) {
                counted(context, pod, "terminated", remove(context, pod).await)?;
            }
        }
        Task::Node(name) => {
            // The cache may lag behind a node that came back.
            if nodes.get("", &name).is_some() || context.api_all::<Node>().get_opt(&name).await?.is_some() {
                return Ok(Action::Done);
            }
            for pod in pods.indexed(crate::node_lifecycle::BY_NODE, &name) {
                let why = Some("PodGC: node no longer exists");
                counted(context, &pod, "orphaned", fail_and_remove(context, &pod, why).await)?;
            }
        }
        Task::OutOfService(name) => {
            if !nodes.get("", &name).is_some_and(|node| is_out_of_service(&node)) {
                return Ok(Action::Done);
            }
            for pod in pods.indexed(crate::node_lifecycle::BY_NODE, &name).iter().filter(is_terminating) {
                counted(context, pod, "out-of-service", fail_and_remove(context, pod, None).await)?;
            }
        }
        Task::Unscheduled(namespace, name) => {
            if let Some(pod) = pods.get(&namespace, &name).filter(|p| node_name(p).is_empty() && is_terminating(p)) {
                counted(context, &pod, "unscheduled", fail_and_remove(context, &pod, None).await)?;
            }
        }
    }
    Ok::<_, Error>(Action::Done)
}

/// Whether the node's agent evicted the pod.
fn is_evicted(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    status.is_some_and(|s| s.phase.as_deref() == Some("Failed") && s.reason.as_deref() == Some("Evicted"))
}

/// Says that the pod has ended, and why if there is a reason, for those who count its end
/// (`markFailedAndDeletePodWithCondition`).
async fn mark_failed(context: &Context, pod: &Pod, why: Option<&str>) -> Result<()> {
    if is_terminal(pod) {
        return Ok(());
    }
    let mut patch = json!({"metadata": {"uid": pod.uid()}, "status": {"phase": "Failed"}});
    if let Some(message) = why {
        patch["status"]["conditions"] = json!([{
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": message,
            "lastTransitionTime": k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(context.clock.now()),
        }]);
    }
    let api = context.api::<Pod>(&pod.namespace().unwrap_or_default());
    ignore_not_found(api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(patch)).await)?;
    Ok(())
}

async fn fail_and_remove(context: &Context, pod: &Pod, why: Option<&str>) -> Result<()> {
    mark_failed(context, pod, why).await?;
    remove(context, pod).await
}

/// Counts the end of a pod, and that it failed if it did.
fn counted(context: &Context, pod: &Pod, reason: &str, outcome: Result<()>) -> Result<()> {
    let (figures, labels) = (context.figures::<Various>(), [pod.metadata.namespace.as_deref().unwrap_or(""), reason]);
    figures.forced.with(labels, Counter::add_one);
    if outcome.is_err() {
        figures.force_errors.with(labels, Counter::add_one);
    }
    outcome
}

async fn remove(context: &Context, pod: &Pod) -> Result<()> {
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: pod.uid(), resource_version: None }),
        ..DeleteParams::default()
    };
    let api = context.api::<Pod>(&pod.namespace().unwrap_or_default());
    ignore_not_found(api.delete(&pod.name_any(), &params).await)?;
    Ok(())
}
