//! Nodes and a node agent that only pretend.
//!
//! A pod that is bound runs and is ready at once, and goes when it is deleted. Its annotation `pretend` can say otherwise:
//! `Succeeded`; `Failed`, or `exit N` with the exit code of its containers; `unready` (it runs but is not ready);
//! `hold` (the agent leaves it alone until it is deleted); `keep` (it is ready, and stays when deleted until it is
//! deleted with a grace period of zero); `fail-indexes 1,3` (a pod of an indexed Job fails if its index is one of these).

use std::sync::Arc;
use std::time::Duration;

use client::{Clock, Informers};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::plane::Plane;

/// Makes a node that is ready, with so much room.
pub(crate) async fn node(plane: &Plane, name: &str, room: Value) {
    let nodes = plane.wide("v1", "nodes");
    nodes.create(json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})).await;
    let ready = json!({"type": "Ready", "status": "True", "reason": "Pretended", "message": "",
        "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let addresses = json!([{"type": "InternalIP", "address": "10.1.0.1"}]);
    let status = json!({"capacity": room, "allocatable": room, "conditions": [ready], "addresses": addresses});
    nodes.status().merge(name, json!({"status": status})).await;
    nodes.until(name, "no taint", |node| node["spec"]["taints"].as_array().is_none_or(Vec::is_empty)).await;
}

/// How often nodes say that they live; they are given up after some forty seconds.
const HEARTBEAT_SECONDS: u64 = 10;

/// Runs the pods of every node until `token` is cancelled.
pub(crate) fn pretend(client: &kube::Client, token: &CancellationToken) {
    let informers = Informers::new(client.clone(), Clock::system(), token.clone());
    let (seen, mut pods) = tokio::sync::mpsc::unbounded_channel::<Arc<Pod>>();
    informers.of::<Pod>().on_change(move |change| {
        if !change.is_delete() {
            // The agent may have ended with the test.
            let _ = seen.send(change.object().clone());
        }
    });
    tokio::spawn(beat(client.clone(), token.clone()));
    let client = client.clone();
    tokio::spawn(async move {
        let mut number = 0;
        while let Some(pod) = pods.recv().await {
            number += 1;
            drive(&client, &pod, number).await;
        }
    });
}

async fn beat(client: kube::Client, token: CancellationToken) {
    let nodes: Api<Node> = Api::all(client);
    let mut every = tokio::time::interval(Duration::from_secs(HEARTBEAT_SECONDS));
    while token.run_until_cancelled(every.tick()).await.is_some() {
        let Ok(all) = nodes.list(&ListParams::default()).await else { continue };
        for node in all.items.iter().filter(|node| !node.name_any().starts_with("fake")) {
            let now = Clock::system().now();
            let ready = json!({"type": "Ready", "status": "True", "lastHeartbeatTime": now.to_string()});
            let status = Patch::Strategic(json!({"status": {"conditions": [ready]}}));
            let _ = nodes.patch_status(&node.name_any(), &PatchParams::default(), &status).await;
        }
    }
}

async fn drive(client: &kube::Client, pod: &Pod, number: u32) {
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let script = pod.annotations().get("pretend").map_or("", String::as_str);
    let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
    // What another did meanwhile is told of in a later event, so that a refusal is no loss.
    if pod.metadata.deletion_timestamp.is_some() {
        if script != "keep" {
            if !pod.finalizers().is_empty() && matches!(phase.as_str(), "Pending" | "Running") {
                // Its containers are stopped before it goes, as somebody who holds it will see.
                let ended = Patch::Merge(json!({"status": {"phase": "Failed"}}));
                let _ = api.patch_status(&pod.name_any(), &PatchParams::default(), &ended).await;
            }
            let same = Preconditions { uid: pod.uid(), resource_version: None };
            let at_once = DeleteParams { grace_period_seconds: Some(0), preconditions: Some(same), ..<_>::default() };
            let _ = api.delete(&pod.name_any(), &at_once).await;
        }
    } else if bound && phase == "Pending" && script != "hold" {
        let status = json!({"status": status(pod, script, number)});
        let _ = api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await;
    }
}

/// The status that the script makes of a pod.
fn status(pod: &Pod, script: &str, number: u32) -> Value {
    let index = pod.annotations().get("batch.kubernetes.io/job-completion-index");
    let (phase, ready, code) = match script.split_once(' ') {
        Some(("exit", code)) => ("Failed", false, code.parse().expect("an exit code")),
        Some(("fail-indexes", list)) if index.is_some_and(|i| list.split(',').any(|l| l == i)) => ("Failed", false, 1),
        Some(("fail-indexes", _)) => ("Succeeded", false, 0),
        _ => match script {
            "Succeeded" => ("Succeeded", false, 0),
            "Failed" => ("Failed", false, 1),
            "unready" => ("Running", false, 0),
            _ => ("Running", true, 0),
        },
    };
    let state = match phase {
        "Running" => json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}),
        _ => json!({"terminated": {"exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" },
            "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"}}),
    };
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let statuses: Vec<Value> = containers
        .map(|c| {
            json!({"name": c.name, "image": c.image, "imageID": "", "restartCount": 0, "ready": ready,
            "started": phase == "Running", "state": state})
        })
        .collect();
    let ip = format!("10.42.{}.{}", number / 250 % 250, number % 250 + 1);
    let is_ready = if ready { "True" } else { "False" };
    let condition =
        |kind: &str| json!({"type": kind, "status": is_ready, "lastTransitionTime": "2026-01-01T00:00:00Z"});
    json!({"phase": phase, "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "10.1.0.1", "hostIPs": [{"ip": "10.1.0.1"}], "startTime": "2026-01-01T00:00:00Z",
        "containerStatuses": statuses, "conditions": [condition("Ready"), condition("ContainersReady")]})
}

/// Says of a running pod whether it is ready.
pub(crate) async fn set_ready(plane: &Plane, pod: &str, ready: bool) {
    let status = if ready { "True" } else { "False" };
    let conditions = ["Ready", "ContainersReady"]
        .map(|kind| json!({"type": kind, "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"}));
    plane.of("v1", "pods").status().strategic(pod, json!({"status": {"conditions": conditions}})).await;
}

/// Ends a pod: `Succeeded` or `Failed`.
pub(crate) async fn end(plane: &Plane, pod: &str, phase: &str) {
    let ready = json!({"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    plane.of("v1", "pods").status().strategic(pod, json!({"status": {"phase": phase, "conditions": [ready]}})).await;
}
