//! Tests of the computed status: runtime states in, phase and conditions out.

use std::collections::HashMap;

use k8s_cri::v1::{self, ContainerState, PodSandboxState};
use k8s_openapi::api::core::v1::Pod;

use super::*;
use crate::{labels, observe::Observed};

fn instance(name: &str, state: ContainerState, exit_code: i32) -> crate::observe::Instance {
    let status = v1::ContainerStatus {
        id: format!("id-{name}"),
        state: state as i32,
        exit_code,
        started_at: 1,
        labels: HashMap::from([(labels::CONTAINER_NAME.to_owned(), name.to_owned())]),
        ..Default::default()
    };
    crate::observe::Instance::for_test(status)
}

fn check(spec: &str, states: &[(&str, &str)], expected: &str) {
    let pod: Pod = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u"},
        "spec": serde_json::from_str::<serde_json::Value>(spec).expect("JSON"),
    }))
    .expect("a pod");
    let instances = states.iter().map(|(name, state)| match state.split_once(' ') {
        Some((_, code)) => instance(name, ContainerState::ContainerExited, code.parse().expect("a number")),
        None => instance(name, ContainerState::ContainerRunning, 0),
    });
    let network = v1::PodSandboxNetworkStatus { ip: "10.0.0.9".into(), ..Default::default() };
    let sandbox = v1::PodSandboxStatus {
        state: PodSandboxState::SandboxReady as i32,
        network: Some(network),
        ..Default::default()
    };
    let observed = Observed { instances: instances.collect(), sandbox: Some(sandbox), ..Default::default() };
    let none = (HashMap::new(), HashMap::new(), HashMap::new());
    let status = compute(&Inputs {
        pod: &pod,
        observed: &observed,
        waiting: &none.0,
        messages: &none.1,
        health: &none.2,
        host_ips: &["192.0.2.1".to_owned()],
        verdict: None,
        resize: &[],
        actuated: &HashMap::new(),
        ended: false,
        now: Timestamp::UNIX_EPOCH,
    });
    let ready = status.conditions.iter().flatten().find(|c| c.type_ == "Ready").expect("a condition");
    let text =
        format!("{} {} {}", status.phase.unwrap_or_default(), ready.status, status.qos_class.unwrap_or_default());
    assert_eq!(text, expected, "{spec} {states:?}");
}

#[test]
fn phases() {
    let one = r#"{"containers":[{"name":"a"}]}"#;
    check(one, &[], "Pending False BestEffort");
    check(one, &[("a", "running")], "Running True BestEffort");
    check(one, &[("a", "exit 1")], "Running False BestEffort");
    let never = r#"{"restartPolicy":"Never","containers":[{"name":"a"},{"name":"b"}]}"#;
    check(never, &[("a", "exit 0")], "Running False BestEffort");
    check(never, &[("a", "exit 0"), ("b", "running")], "Running False BestEffort");
    check(never, &[("a", "exit 0"), ("b", "exit 0")], "Succeeded False BestEffort");
    check(never, &[("a", "exit 0"), ("b", "exit 3")], "Failed False BestEffort");
    let init = r#"{"restartPolicy":"Never","initContainers":[{"name":"i"}],"containers":[{"name":"a"}]}"#;
    check(init, &[("i", "running")], "Pending False BestEffort");
    check(init, &[("i", "exit 0")], "Pending False BestEffort");
    check(init, &[("i", "exit 1")], "Failed False BestEffort");
    check(init, &[("i", "exit 0"), ("a", "running")], "Running True BestEffort");
    let sidecar = r#"{"initContainers":[{"name":"s","restartPolicy":"Always"}],"restartPolicy":"Never",
        "containers":[{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"}}}]}"#;
    check(sidecar, &[("s", "running"), ("a", "running")], "Running True Burstable");
    check(sidecar, &[("s", "exit 137"), ("a", "exit 0")], "Succeeded False Burstable");
}
