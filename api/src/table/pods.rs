//! The cells of a pod (`printPod` in pkg/printers/internalversion).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cells::{Cell, at, field, list, text};
use crate::{Object, time};

/// A pod's cells.
pub(crate) const CELLS: &[Cell] = &[
    Cell::Name,
    Cell::Call(|pod, _| {
        let seen = Seen::of(pod);
        format!("{}/{}", seen.ready, seen.total).into()
    }),
    Cell::Call(|pod, _| Seen::of(pod).reason.into()),
    Cell::Call(|pod, now| restarts(&Seen::of(pod), now).into()),
    Cell::Age,
    Cell::Call(|pod, _| {
        let ip = list(pod, "status.podIPs").first().map_or("", |ip| field(ip, "ip"));
        super::cells::or(ip, "<none>").into()
    }),
    Cell::Text("spec.nodeName", "<none>"),
    Cell::Text("status.nominatedNodeName", "<none>"),
    Cell::Call(|pod, _| readiness_gates(pod).into()),
];

/// What a pod's containers add up to.
struct Seen {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: String,
}

fn restarts(seen: &Seen, now: Timestamp) -> String {
    if seen.restarts == 0 || seen.last_restart.is_empty() {
        return seen.restarts.to_string();
    }
    format!("{} ({} ago)", seen.restarts, time::age(Some(&seen.last_restart), now))
}

fn readiness_gates(pod: &Object) -> String {
    let gates = list(pod, "spec.readinessGates");
    if gates.is_empty() {
        return "<none>".into();
    }
    let conditions = list(pod, "status.conditions");
    let is_true = |gate: &&Value| {
        let kind = field(gate, "conditionType");
        conditions.iter().find(|c| field(c, "type") == kind).is_some_and(|c| field(c, "status") == "True")
    };
    format!("{}/{}", gates.iter().filter(is_true).count(), gates.len())
}

/// Times of one form sort as their texts.
fn later(last: &mut String, status: &Value) {
    let finished = status["lastState"]["terminated"]["finishedAt"].as_str().unwrap_or("");
    if finished > last.as_str() {
        *last = finished.to_string();
    }
}

fn terminated(state: &Value, prefix: &str) -> String {
    let reason = field(state, "reason");
    if !reason.is_empty() {
        return format!("{prefix}{reason}");
    }
    match state["signal"].as_i64().unwrap_or(0) {
        0 => format!("{prefix}ExitCode:{}", state["exitCode"].as_i64().unwrap_or(0)),
        signal => format!("{prefix}Signal:{signal}"),
    }
}

impl Seen {
    fn of(pod: &Object) -> Self {
        let inits = list(pod, "spec.initContainers");
        let restartable =
            |name: &str| inits.iter().any(|c| field(c, "name") == name && field(c, "restartPolicy") == "Always");
        let sidecars = inits.iter().filter(|c| field(c, "restartPolicy") == "Always").count();
        let phase = text(pod, "status.phase");
        let of_status = text(pod, "status.reason");
        let mut seen = Self {
            reason: if of_status.is_empty() { phase } else { of_status }.to_string(),
            ready: 0,
            total: list(pod, "spec.containers").len() + sidecars,
            restarts: 0,
            last_restart: String::new(),
        };
        let conditions = list(pod, "status.conditions");
        let has = |kind: &str, name: &str, value: &str| {
            conditions.iter().any(|c| field(c, "type") == kind && field(c, name) == value)
        };
        if has("PodScheduled", "reason", "SchedulingGated") {
            seen.reason = "SchedulingGated".into();
        }
        let mut of_sidecars = (0, String::new());
        let initializing = seen.init_containers(pod, inits.len(), &restartable, &mut of_sidecars);
        if !initializing || has("Initialized", "status", "True") {
            (seen.restarts, seen.last_restart) = of_sidecars;
            seen.containers(pod, has("Ready", "status", "True"));
        }
        if at(pod, "metadata.deletionTimestamp").is_some() {
            if of_status == "NodeLost" {
                seen.reason = "Unknown".into();
            } else if phase != "Succeeded" && phase != "Failed" {
                seen.reason = "Terminating".into();
            }
        }
        seen
    }

    /// Looks at the init containers up to the first that is not done; whether there is one.
    fn init_containers(
        &mut self,
        pod: &Object,
        count: usize,
        restartable: &dyn Fn(&str) -> bool,
        of_sidecars: &mut (i64, String),
    ) -> bool {
        for (i, status) in list(pod, "status.initContainerStatuses").iter().enumerate() {
            let restarts = status["restartCount"].as_i64().unwrap_or(0);
            self.restarts += restarts;
            later(&mut self.last_restart, status);
            let sidecar = restartable(field(status, "name"));
            if sidecar {
                of_sidecars.0 += restarts;
                later(&mut of_sidecars.1, status);
            }
            let state = &status["state"];
            let waiting = field(&state["waiting"], "reason");
            let ended = state.get("terminated").filter(|t| !t.is_null());
            if ended.is_some_and(|t| t["exitCode"].as_i64().unwrap_or(0) == 0) {
                continue;
            }
            if sidecar && status["started"].as_bool() == Some(true) {
                self.ready += usize::from(status["ready"].as_bool() == Some(true));
                continue;
            }
            self.reason = match ended {
                Some(ended) => terminated(ended, "Init:"),
                None if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
                None => format!("Init:{i}/{count}"),
            };
            return true;
        }
        false
    }

    fn containers(&mut self, pod: &Object, pod_ready: bool) {
        let mut running = false;
        let mut error = String::new();
        for status in list(pod, "status.containerStatuses").iter().rev() {
            self.restarts += status["restartCount"].as_i64().unwrap_or(0);
            later(&mut self.last_restart, status);
            let state = &status["state"];
            let waiting = field(&state["waiting"], "reason");
            if !waiting.is_empty() {
                self.reason = waiting.to_string();
            } else if let Some(ended) = state.get("terminated").filter(|t| !t.is_null()) {
                self.reason = terminated(ended, "");
                if ended["exitCode"].as_i64().unwrap_or(0) != 0 {
                    error = self.reason.clone();
                }
            } else if status["ready"].as_bool() == Some(true) && state.get("running").is_some_and(|r| !r.is_null()) {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" {
            if running && pod_ready {
                self.reason = "Running".into();
            } else if !error.is_empty() {
                self.reason = error;
            } else if running {
                self.reason = "NotReady".into();
            }
        }
    }
}

/// The row's conditions: a pod that has ended is marked so.
pub(crate) fn row_conditions(object: &Object) -> Option<Value> {
    if object.kind() != "Pod" {
        return None;
    }
    let (reason, message) = match text(object, "status.phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}
