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

/// A runtime with a ready sandbox (unless a word is `nosandbox`) and one instance for each `ID=STATE`, newest first. The
/// id is the name, with a dot and more for other instances; `after:ID:OTHER` tells that OTHER's end restarted all before
/// ID was made.
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
    let mut afters = words.split_whitespace().filter_map(|word| word.strip_prefix("after:")?.split_once(':'));
    let after: HashMap<&str, &str> = afters.by_ref().collect();
    for (id, state) in words.split_whitespace().filter_map(|word| word.split_once('=')) {
        let (state, exit_code) = match state {
            "running" => (ContainerState::ContainerRunning, 0),
            "created" => (ContainerState::ContainerCreated, 0),
            code => (ContainerState::ContainerExited, code.parse().expect("an exit code")),
        };
        let name = id.split('.').next().unwrap_or(id);
        let mut annotations = HashMap::from([(labels::RESTART_COUNT.to_owned(), "2".to_owned())]);
        if let Some(other) = after.get(id) {
            annotations.insert(labels::RESTARTED_BY.to_owned(), (*other).to_owned());
        }
        let status = v1::ContainerStatus {
            id: id.to_owned(),
            state: state as i32,
            exit_code,
            finished_at: (NOW - 1) * 1_000_000_000,
            labels: HashMap::from([(labels::CONTAINER_NAME.to_owned(), name.to_owned())]),
            annotations,
            ..Default::default()
        };
        observed.current.push(id.to_owned());
        observed.instances.push(Instance::for_test(status));
    }
    observed
}

/// The plan in one line.
fn plan(spec: &str, words: &str, starts: &mut StartsByName) -> String {
    let (pod, mut observed) = (pod(spec), observed(words));
    observed.restarted_by = restart::restarted_by(&pod, &observed);
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
            resized: &words().filter_map(|word| word.strip_prefix("resized:").map(str::to_owned)).collect(),
            now: Timestamp::from_second(NOW).expect("a valid time"),
        },
        starts,
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
    assert_eq!(plan(spec, words, &mut StartsByName::new()), expected, "{spec} {words}");
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
    check(init, "i=running resized:i", "kill:i");
    check(init, "i=0 resized:i", "start:i#3");
    check(init, "i=143 resized:i", "start:i#3");
    check(init, "i=running condemned:i", "");
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
fn one_end_restarts_all() {
    let rule =
        r#""restartPolicyRules":[{"action":"RestartAllContainers","exitCodes":{"operator":"In","values":[42]}}]"#;
    let spec = format!(
        r#"{{"restartPolicy":"Never","initContainers":[{{"name":"i"}},{{"name":"s","restartPolicy":"Always"}}],
        "containers":[{{"name":"a","restartPolicy":"Never",{rule}}},{{"name":"b"}}],
        "ephemeralContainers":[{{"name":"e"}}]}}"#
    );
    check(&spec, "i=0 s=running a=1 b=running e=running", "");
    check(&spec, "i=0 s=running a=42 b=running e=running", "kill:s kill:b");
    check(&spec, "i=0 s=running a=42 b=0 e=running", "kill:s");
    check(&spec, "i=0 s=137 a=42 b=0 e=running", "start:i#3");
    check(&spec, "i.2=0 i=0 s=137 a=42 b=137 e=running after:i.2:a", "start:s#3");
    let begun = "i.2=0 s.2=running after:i.2:a after:s.2:a";
    check(&spec, &format!("{begun} i=0 s=137 a=42 b=137 e=running"), "start:a#3 start:b#3");
    let begun = format!("{begun} after:a.2:a after:b.2:a");
    check(&spec, &format!("a.2=running b.2=running {begun} i=0 s=137 a=42 b=137 e=running"), "");
    check(&spec, &format!("a.2=0 b.2=0 {begun} i=0 s=137 a=42 b=137 e=running"), "ended");
    check(&spec, &format!("a.2=42 b.2=running {begun} i=0 s=137 a=42 b=137 e=running"), "kill:s.2 kill:b.2");
    check(&spec, "nosandbox i=0 s=137 a=42 b=137", "sandbox0 start:i#3");
}

#[test]
fn one_end_that_restarts_all_again_and_again_backs_off() {
    let spec = r#"{"containers":[{"name":"a","restartPolicy":"Never","restartPolicyRules":[
        {"action":"RestartAllContainers","exitCodes":{"operator":"NotIn","values":[0]}}]},{"name":"b"}]}"#;
    let mut starts = StartsByName::new();
    assert_eq!(plan(spec, "a=1 b=137", &mut starts), "start:a#3 start:b#3");
    assert_eq!(plan(spec, "a.2=1 b.2=137 a=1 b=137 after:a.2:a after:b.2:a", &mut starts), "start:b#3 wait:a");
}

#[test]
fn the_end_that_restarts_all_is_kept() {
    let observed = |by: Option<&str>| {
        let observed = observed("a.3=1 a.2=1 a=42");
        super::superfluous(&Observed { restarted_by: by.map(str::to_owned), ..observed })
    };
    assert_eq!(observed(None), ["a"]);
    assert!(observed(Some("a")).is_empty());
}

#[test]
fn crashes_back_off() {
    let mut starts = StartsByName::new();
    let one = r#"{"containers":[{"name":"a"}]}"#;
    assert_eq!(plan(one, "a=1", &mut starts), "start:a#3", "the first restart is immediate");
    assert_eq!(plan(one, "a=1", &mut starts), "wait:a");
}
