//! Tests of the computed status: runtime states in, phase and conditions out.

use std::collections::HashMap;

use k8s_cri::v1::{self, ContainerState, PodSandboxState};
use k8s_openapi::api::core::v1::Pod;

use super::*;
use crate::{labels, observe::Observed};

fn status_of(pod: &Pod, observed: &Observed, ended: bool) -> PodStatus {
    status_with(pod, observed, &HashMap::new(), ended)
}

/// The status of a pod whose containers do not wait and that no probe looks at.
fn status_with(pod: &Pod, observed: &Observed, actuated: &HashMap<String, Given>, ended: bool) -> PodStatus {
    compute(&Inputs {
        pod,
        observed,
        starts: &StartsByName::new(),
        messages: &HashMap::new(),
        health: &HashMap::new(),
        host_ips: &["192.0.2.1".to_owned()],
        verdict: None,
        resize: &[],
        actuated,
        whole: None,
        ended,
        now: Timestamp::UNIX_EPOCH,
    })
}

/// The states of all containers, init containers first, after a deletion: `NAME=STATE` in, what is told of them out.
fn check_end(init: &[&str], known: serde_json::Value, states: &[(&str, ContainerState)], expected: &str) {
    let list = |names: &[&str]| -> Vec<_> { names.iter().map(|name| serde_json::json!({"name": name})).collect() };
    let pod: Pod = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"initContainers": list(init), "containers": list(&["a"])},
        "status": known,
    }))
    .expect("a pod");
    let instances = states.iter().map(|(name, state)| instance(name, *state, 0)).collect();
    let observed = Observed { instances, ..Default::default() };
    let status = status_of(&pod, &observed, true);
    let all = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    let told: Vec<String> = all
        .map(|own| {
            let state = own.state.clone().unwrap_or_default();
            let end = state.terminated.map(|end| format!("{} {}", end.exit_code, end.reason.unwrap_or_default()));
            format!("{}={}", own.name, end.unwrap_or_else(|| "waiting".to_owned()))
        })
        .collect();
    assert_eq!(format!("{} {}", status.phase.unwrap_or_default(), told.join(", ")), expected);
}

#[test]
fn every_container_of_a_deleted_pod_has_an_end() {
    use ContainerState::{ContainerCreated as Created, ContainerExited as Exited};
    let none = || serde_json::json!({});
    check_end(&[], none(), &[("a", Exited)], "Succeeded a=0 Completed");
    // Its start was under way when the pod was deleted.
    check_end(&[], none(), &[("a", Created)], "Failed a=137 ContainerStatusUnknown");
    check_end(&[], none(), &[], "Failed a=137 ContainerStatusUnknown");
    // Its turn never came.
    check_end(&["i", "j"], none(), &[], "Failed i=137 ContainerStatusUnknown, j=waiting, a=waiting");
    check_end(&["i"], none(), &[("i", Exited)], "Failed i=0 Completed, a=137 ContainerStatusUnknown");
    // The runtime has forgotten it.
    let known = serde_json::json!({"containerStatuses": [{"name": "a", "ready": true, "image": "", "imageID": "",
        "restartCount": 3, "state": {"running": {}}}]});
    check_end(&[], known, &[], "Failed a=137 ContainerStatusUnknown");
}

/// The status of a container that the API shows like this and the runtime does not.
fn check_vanished(known: serde_json::Value, expected: serde_json::Value) {
    let mut shown = serde_json::json!({"name": "a", "ready": true, "image": "", "imageID": "", "restartCount": 3});
    for (name, value) in known.as_object().expect("fields") {
        shown[name] = value.clone();
    }
    let pod: Pod = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {"containers": [{"name": "a"}]},
        "status": {"phase": "Running", "containerStatuses": [shown]},
    }))
    .expect("a pod");
    let status = status_of(&pod, &Observed::default(), false);
    let own = serde_json::to_value(&status.container_statuses.expect("statuses")[0]).expect("JSON");
    let found = serde_json::json!({"phase": status.phase, "restarts": own["restartCount"],
        "last": own["lastState"]["terminated"]["reason"], "now": own["state"].as_object().and_then(|s| s.keys().next().cloned())});
    assert_eq!(found, expected, "{own:#}");
}

#[test]
fn a_container_that_the_runtime_has_forgotten_has_ended() {
    let lost = "ContainerStatusUnknown";
    check_vanished(
        serde_json::json!({"state": {"running": {}}}),
        serde_json::json!({"phase": "Running", "restarts": 4, "last": lost, "now": "waiting"}),
    );
    // The next look does not count it again.
    let waits =
        serde_json::json!({"state": {"waiting": {}}, "lastState": {"terminated": {"exitCode": 137, "reason": lost}}});
    check_vanished(waits, serde_json::json!({"phase": "Running", "restarts": 3, "last": lost, "now": "waiting"}));
    let ended = serde_json::json!({"state": {"terminated": {"exitCode": 1}}});
    check_vanished(ended, serde_json::json!({"phase": "Running", "restarts": 3, "last": null, "now": "terminated"}));
}

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
    let mut observed = Observed { instances: instances.collect(), sandbox: Some(sandbox), ..Default::default() };
    observed.restarted_by = crate::restart::restarted_by(&pod, &observed);
    let status = status_of(&pod, &observed, false);
    let ready = status.conditions.iter().flatten().find(|c| c.type_ == "Ready").expect("a condition");
    let text =
        format!("{} {} {}", status.phase.unwrap_or_default(), ready.status, status.qos_class.unwrap_or_default());
    assert_eq!(text, expected, "{spec} {states:?}");
}

#[test]
fn one_end_that_restarts_all_is_not_the_end_of_the_others() {
    let spec = r#"{"restartPolicy":"Never","containers":[{"name":"a","restartPolicy":"Never","restartPolicyRules":[
        {"action":"RestartAllContainers","exitCodes":{"operator":"In","values":[42]}}]},{"name":"b"}]}"#;
    check(spec, &[("a", "exit 42"), ("b", "running")], "Running False BestEffort");
    check(spec, &[("a", "exit 42"), ("b", "exit 137")], "Running False BestEffort");
    check(spec, &[("a", "exit 1"), ("b", "exit 137")], "Failed False BestEffort");
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

/// The resources in the status of a container with one instance, which was given `given`.
fn check_resources(given: Option<&str>, state: ContainerState, expected: &str) {
    let list = |amount: &str| serde_json::json!({"limits": {"memory": amount}});
    let pod = serde_json::json!({"spec": {"containers": [{"name": "a", "resources": list("2Gi")}]}});
    let pod: Pod = serde_json::from_value(pod).expect("a pod");
    let observed = Observed { instances: vec![instance("a", state, 0)], ..Default::default() };
    let given =
        given.map(|amount| Given { own: serde_json::from_value(list(amount)).expect("it"), ..Given::default() });
    let given = given.into_iter().map(|given| ("id-a".to_owned(), given)).collect();
    let status = status_with(&pod, &observed, &given, false);
    let own = &status.container_statuses.expect("statuses")[0];
    let limits = own.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    assert_eq!(limits.map(|limits| limits["memory"].0.as_str()), Some(expected), "{state:?}");
}

#[test]
fn a_container_that_runs_has_what_it_was_given_and_any_other_what_is_allocated() {
    check_resources(Some("1Gi"), ContainerState::ContainerRunning, "1Gi");
    check_resources(None, ContainerState::ContainerRunning, "2Gi");
    check_resources(Some("1Gi"), ContainerState::ContainerExited, "2Gi");
    check_resources(None, ContainerState::ContainerCreated, "2Gi");
}
