//! Tests of plans: a pod and runtime states in, the next steps out.

use std::collections::HashMap;

use k8s_cri::v1::{self, ContainerState, PodSandboxState};
use k8s_openapi::api::core::v1::Pod;

use super::*;
use crate::labels;

const NOW: i64 = 1_000_000;

fn pod(spec: &str) -> Pod {
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u"},
        "spec": serde_json::from_str::<serde_json::Value>(spec).expect("JSON"),
    }))
    .expect("a pod")
}

/// A runtime with a ready sandbox (unless a word is `nosandbox`) and one instance for each `NAME=STATE`.
fn observed(words: &str) -> Observed {
    let mut observed = Observed::default();
    if !words.contains("nosandbox") {
        let network = v1::PodSandboxNetworkStatus { ip: "10.0.0.9".into(), ..Default::default() };
        observed.sandbox = Some(v1::PodSandboxStatus {
            state: PodSandboxState::SandboxReady as i32,
            network: Some(network),
            ..Default::default()
        });
    }
    for (name, state) in words.split_whitespace().filter_map(|word| word.split_once('=')) {
        let (state, exit_code) = match state {
            "running" => (ContainerState::ContainerRunning, 0),
            "created" => (ContainerState::ContainerCreated, 0),
            code => (ContainerState::ContainerExited, code.parse().expect("an exit code")),
        };
        let status = v1::ContainerStatus {
            id: name.to_owned(),
            state: state as i32,
            exit_code,
            finished_at: (NOW - 1) * 1_000_000_000,
            labels: HashMap::from([(labels::CONTAINER_NAME.to_owned(), name.to_owned())]),
            annotations: HashMap::from([(labels::RESTART_COUNT.to_owned(), "2".to_owned())]),
            ..Default::default()
        };
        observed.current.push(name.to_owned());
        observed.instances.push(Instance::for_test(status));
    }
    observed
}

/// The plan in one line.
fn plan(spec: &str, words: &str, backoff: &mut Backoff) -> String {
    let (pod, observed) = (pod(spec), observed(words));
    let unstarted = |word: &str| word.strip_prefix("unstarted:").map(str::to_owned);
    let condemned = |word: &str| word.strip_prefix("condemned:").map(str::to_owned);
    let words = || words.split_whitespace();
    let plan = make(
        &Inputs {
            pod: &pod,
            terminal: false,
            observed: &observed,
            health: &words().filter_map(unstarted).map(|id| (id, Health { started: false, ready: false })).collect(),
            condemned: &words()
                .filter_map(condemned)
                .map(|id| (id, Condemned { message: "m".to_owned(), grace_seconds: None }))
                .collect(),
            logged: &HashMap::new(),
            held: &HashMap::new(),
            resized: &words().filter_map(|word| word.strip_prefix("resized:").map(str::to_owned)).collect(),
            now: Timestamp::from_second(NOW).expect("a valid time"),
        },
        backoff,
    );
    let mut parts = Vec::new();
    if plan.ended {
        parts.push("ended".to_owned());
    }
    if let Some(attempt) = plan.sandbox {
        parts.push(format!("sandbox{attempt}"));
    }
    parts.extend(plan.kill.iter().map(|kill| format!("kill:{}", kill.id)));
    parts.extend(plan.start.iter().map(|start| format!("start:{}#{}", start.container.name, start.restart_count)));
    let mut waiting: Vec<_> = plan.waiting.keys().map(|name| format!("wait:{name}")).collect();
    waiting.sort();
    parts.extend(waiting);
    parts.join(" ")
}

fn check(spec: &str, words: &str, expected: &str) {
    assert_eq!(plan(spec, words, &mut Backoff::default()), expected, "{spec} {words}");
}

#[test]
fn ordinary_containers() {
    let two = r#"{"containers":[{"name":"a"},{"name":"b"}]}"#;
    check(two, "nosandbox", "sandbox0 start:a#0 start:b#0");
    check(two, "", "start:a#0 start:b#0");
    check(two, "a=running b=running", "");
    check(two, "a=running b=1", "start:b#3");
    check(two, "a=running b=running condemned:b", "kill:b");
    check(two, "nosandbox a=137 b=137", "sandbox0 start:a#3 start:b#3");
    let never = r#"{"restartPolicy":"Never","containers":[{"name":"a"},{"name":"b"}]}"#;
    check(never, "a=0 b=running", "");
    check(never, "a=0 b=1", "ended");
    check(never, "nosandbox a=0 b=0", "ended");
    let on_failure = r#"{"restartPolicy":"OnFailure","containers":[{"name":"a"},{"name":"b"}]}"#;
    check(on_failure, "a=0 b=1", "start:b#3");
    check(on_failure, "a=0 b=0", "ended");
    check(on_failure, "a=running b=running resized:a", "kill:a");
    check(on_failure, "a=0 b=running resized:a", "start:a#3");
    check(on_failure, "a=0 b=0 resized:a", "start:a#3");
}

#[test]
fn init_containers_and_sidecars() {
    let init = r#"{"restartPolicy":"Never","initContainers":[{"name":"i"},{"name":"j"}],"containers":[{"name":"a"}]}"#;
    check(init, "nosandbox", "sandbox0 start:i#0");
    check(init, "i=running", "");
    check(init, "i=0", "start:j#0");
    check(init, "i=0 j=0", "start:a#0");
    check(init, "i=1", "ended");
    let sidecar = r#"{"restartPolicy":"Never","initContainers":[{"name":"s","restartPolicy":"Always"},{"name":"i"}],
        "containers":[{"name":"a"}]}"#;
    check(sidecar, "", "start:s#0");
    check(sidecar, "s=running unstarted:s", "");
    check(sidecar, "s=running", "start:i#0");
    check(sidecar, "s=running i=0", "start:a#0");
    check(sidecar, "s=1 i=0 a=running", "start:s#3");
    check(sidecar, "s=running i=0 a=0", "ended");
}

#[test]
fn crashes_back_off() {
    let mut backoff = Backoff::default();
    let one = r#"{"containers":[{"name":"a"}]}"#;
    assert_eq!(plan(one, "a=1", &mut backoff), "start:a#3", "the first restart is immediate");
    assert_eq!(plan(one, "a=1", &mut backoff), "wait:a");
}
