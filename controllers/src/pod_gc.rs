//! Pods that nobody else will delete: of nodes that are gone, ended ones beyond a limit, and unscheduled ones that end.

use std::time::Duration;

use client::{Action, Controller, Informer, WorkQueue};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, Result, ignore_not_found};
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
        } else if !node.is_empty() && known.get("", node).is_none() {
            to.add_after(Task::Node(node.to_owned()), QUARANTINE);
        }
        if is_terminal(pod) && change.old().is_none_or(|old| !is_terminal(old)) {
            to.add(Task::Terminated);
        }
    });
    let to = queue.clone();
    nodes.on_change(move |change| {
        if change.is_delete() {
            to.add_after(Task::Node(change.object().name_any()), QUARANTINE);
        }
    });
    pods.wait_synced().await;
    nodes.wait_synced().await;
    let of = context.clone();
    Controller::new("pod-gc", queue, 1)
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
            let mut ended: Vec<_> = pods.list().into_iter().filter(|p| is_terminal(p)).collect();
            ended.sort_by_key(|p| p.metadata.creation_timestamp.as_ref().map(|t| t.0));
            let surplus = ended.len().saturating_sub(TERMINATED_MAX);
            for pod in ended.iter().take(surplus) {
                remove(context, pod).await?;
            }
        }
        Task::Node(name) => {
            // The cache may lag behind a node that came back.
            if nodes.get("", &name).is_some() || context.api_all::<Node>().get_opt(&name).await?.is_some() {
                return Ok(Action::Done);
            }
            for pod in pods.indexed(crate::node_lifecycle::BY_NODE, &name) {
                mark_failed(context, &pod).await?;
                remove(context, &pod).await?;
            }
        }
        Task::Unscheduled(namespace, name) => {
            if let Some(pod) = pods.get(&namespace, &name).filter(|p| node_name(p).is_empty() && is_terminating(p)) {
                remove(context, &pod).await?;
            }
        }
    }
    Ok::<_, Error>(Action::Done)
}

/// Says why the pod ends, for those who count its end.
async fn mark_failed(context: &Context, pod: &Pod) -> Result<()> {
    if is_terminal(pod) {
        return Ok(());
    }
    let patch = json!({"status": {"phase": "Failed", "conditions": [{
        "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
        "message": "PodGC: node no longer exists",
        "lastTransitionTime": k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(context.clock.now()),
    }]}});
    let api = context.api::<Pod>(&pod.namespace().unwrap_or_default());
    ignore_not_found(api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(patch)).await)?;
    Ok(())
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
