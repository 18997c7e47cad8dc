//! Kinds of which only the first status, or a little of it, is particular.

use std::collections::HashSet;

use api::Object;
use api::time;
use api::workloads::TEMPLATE_GENERATION;
use serde_json::{Value, json};

use super::Strategy;
use crate::Context;

/// A kind whose objects begin with a fixed status, given as JSON.
pub(super) struct Initial(pub &'static str);

impl Strategy for Initial {
    fn prepare_for_create(&self, _: &Context, new: &mut Object) {
        let status: Value = serde_json::from_str(self.0).expect("written as JSON");
        new.set(&["status"], status);
    }
}

/// A node may be created with a status; what the reference always writes of it is filled in.
pub(super) struct Node;

impl Strategy for Node {
    fn prepare_for_create(&self, _: &Context, new: &mut Object) {
        let fields = [
            "architecture",
            "bootID",
            "containerRuntimeVersion",
            "kernelVersion",
            "kubeProxyVersion",
            "kubeletVersion",
            "machineID",
            "operatingSystem",
            "osImage",
            "systemUUID",
        ];
        for field in fields {
            if new.at(&["status", "nodeInfo", field]).is_none() {
                new.set(&["status", "nodeInfo", field], "");
            }
        }
        if new.at(&["status", "daemonEndpoints", "kubeletEndpoint", "Port"]).is_none() {
            new.set(&["status", "daemonEndpoints", "kubeletEndpoint"], json!({"Port": 0}));
        }
    }
}

/// A volume remembers when its phase last changed.
pub(super) struct PersistentVolume;

impl Strategy for PersistentVolume {
    fn prepare_for_create(&self, ctx: &Context, new: &mut Object) {
        let now = time::format(ctx.now);
        new.set(&["status"], json!({"phase": "Pending", "lastPhaseTransitionTime": now}));
    }

    fn prepare_for_update(&self, ctx: &Context, new: &mut Object, old: &Object) {
        let time_path = ["status", "lastPhaseTransitionTime"];
        let phase = |volume: &Object| volume.str_at(&["status", "phase"]).to_string();
        let (given, before) = (new.at(&time_path), old.at(&time_path).cloned());
        let is_unset = given.is_none_or(Value::is_null);
        if phase(new) != phase(old) && (is_unset || given == before.as_ref()) {
            new.set(&time_path, time::format(ctx.now));
        } else if let Some(before) = before.filter(|_| is_unset) {
            new.set(&time_path, before);
        }
    }
}

/// A daemon set counts the changes of its template in an annotation, which old controllers read.
pub(super) struct DaemonSet;

fn template_generation(set: &Object) -> i64 {
    set.str_at(&["metadata", "annotations", TEMPLATE_GENERATION]).parse().unwrap_or(0)
}

impl Strategy for DaemonSet {
    fn prepare_for_create(&self, ctx: &Context, new: &mut Object) {
        let zero = r#"{"currentNumberScheduled":0,"desiredNumberScheduled":0,"numberMisscheduled":0,"numberReady":0}"#;
        Initial(zero).prepare_for_create(ctx, new);
        let generation = template_generation(new).max(1);
        new.set(&["metadata", "annotations", TEMPLATE_GENERATION], generation.to_string());
    }

    fn prepare_for_update(&self, _: &Context, new: &mut Object, old: &Object) {
        let changed = new.at(&["spec", "template"]) != old.at(&["spec", "template"]);
        let generation = template_generation(old) + i64::from(changed);
        new.set(&["metadata", "annotations", TEMPLATE_GENERATION], generation.to_string());
    }
}

/// The status of a deployment, a write of which leaves the labels alone.
pub(super) struct DeploymentStatus;

impl Strategy for DeploymentStatus {
    fn prepare_for_update(&self, _: &Context, new: &mut Object, old: &Object) {
        match old.at(&["metadata", "labels"]) {
            Some(labels) => new.set(&["metadata", "labels"], labels.clone()),
            None => {
                new.remove(&["metadata", "labels"]);
            }
        }
    }
}

/// An endpoint slice, whose endpoints have no topology any more but for what is stored (`dropTopologyOnV1`).
pub(super) struct EndpointSlice;

const TOPOLOGY: &str = "deprecatedTopology";

fn endpoints(slice: &mut Object) -> impl Iterator<Item = &mut serde_json::Map<String, Value>> {
    let list = slice.0.get_mut("endpoints").and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

impl Strategy for EndpointSlice {
    fn prepare_for_create(&self, _: &Context, new: &mut Object) {
        endpoints(new).for_each(|endpoint| {
            endpoint.remove(TOPOLOGY);
        });
    }

    fn prepare_for_update(&self, _: &Context, new: &mut Object, old: &Object) {
        let stored = old.at(&["endpoints"]).and_then(Value::as_array);
        let kept: HashSet<&Value> = stored.into_iter().flatten().filter_map(|e| e.get(TOPOLOGY)).collect();
        endpoints(new).for_each(|endpoint| {
            if endpoint.get(TOPOLOGY).is_some_and(|topology| !kept.contains(topology)) {
                endpoint.remove(TOPOLOGY);
            }
        });
    }
}
