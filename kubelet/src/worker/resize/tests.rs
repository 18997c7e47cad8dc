//! Tests of resizes: which have room, and how a container gets them.

use serde_json::{Value, json};

use super::*;

fn resources(cpu: &str, memory: &str) -> Value {
    json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}})
}

fn pod(resources: Value, status: Value) -> Arc<Pod> {
    let policy = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
    let container = json!({"name": "c", "resources": resources, "resizePolicy": policy});
    Arc::new(serde_json::from_value(json!({"spec": {"containers": [container]}, "status": status})).expect("a pod"))
}

fn cpu(pod: &Pod) -> String {
    let container = &pod.spec.as_ref().expect("a specification").containers[0];
    container.resources.as_ref().and_then(|r| r.requests.as_ref()).map(|r| r["cpu"].0.clone()).unwrap_or_default()
}

#[test]
fn what_has_no_room_is_not_allocated() {
    let mut resizing = Resizing::default();
    let (small, large) = (pod(resources("1", "1Gi"), json!({})), pod(resources("2", "1Gi"), json!({})));
    let asked = || panic!("nothing changed");
    assert_eq!(resizing.allocate(&small, asked).1, None);
    assert_eq!(resizing.allocate(&pod(resources("1000m", "1024Mi"), json!({})), asked).1, None);
    let full = || Some((DEFERRED, "full".to_owned()));
    let (given, news) = resizing.allocate(&large, full);
    assert_eq!((cpu(&given).as_str(), news), ("1000m", Some(Allocation::Refused)));
    assert_eq!(resizing.allocate(&large, full).1, None, "it is told once");
    assert_eq!(resizing.conditions()[0].reason, Some(DEFERRED));
    assert!(resizing.due(Timestamp::UNIX_EPOCH).is_some());
    let (given, news) = resizing.allocate(&large, || None);
    assert_eq!((cpu(&given).as_str(), news), ("2", Some(Allocation::Begun)));
    assert_eq!(resizing.conditions()[0].type_, "PodResizeInProgress");
}

#[test]
fn a_new_agent_finds_in_the_status_what_was_allocated() {
    let before = resources("1", "1Gi");
    let status = json!({"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0,
        "allocatedResources": before["requests"], "resources": before}]});
    let mut resizing = Resizing::default();
    let large = pod(resources("2", "1Gi"), status);
    let (given, news) = resizing.allocate(&large, || Some((INFEASIBLE, "too much".to_owned())));
    assert_eq!((cpu(&given).as_str(), news), ("1", Some(Allocation::Refused)));
    assert!(resizing.due(Timestamp::UNIX_EPOCH).is_none(), "it will never fit");
}

#[test]
fn a_container_is_updated_or_started_again_as_its_policy_says() {
    let own: ResourceRequirements = serde_json::from_value(resources("1", "1Gi")).expect("resources");
    let given = Given { own, whole: None };
    let check = |wanted: Value, expected: Option<Step>| {
        let pod = pod(wanted.clone(), json!({}));
        assert_eq!(step(&pod.spec.as_ref().expect("it").containers[0], None, &given), expected, "{wanted}");
    };
    check(resources("1000m", "1024Mi"), None);
    check(resources("2", "1Gi"), Some(Step::Update));
    check(resources("1", "2Gi"), Some(Step::Restart));
    check(json!({"requests": {"cpu": "1", "memory": "1Gi"}}), Some(Step::Restart));
}

#[test]
fn the_pod_has_room_for_both_while_it_changes() {
    let one = PodCgroup { cpu_shares: 2, cpu_quota: Some(5), cpu_period: 9, memory: None };
    let other = PodCgroup { cpu_shares: 4, cpu_quota: Some(3), cpu_period: 9, memory: Some(7) };
    let expected = PodCgroup { cpu_shares: 4, cpu_quota: Some(5), cpu_period: 9, memory: None };
    assert_eq!((wider(one, other), wider(other, one)), (expected, expected));
}

#[test]
fn a_container_without_limits_follows_those_of_its_pod() {
    let whole = |cpu: &str, memory: &str| serde_json::from_value::<ResourceRequirements>(resources(cpu, memory));
    let check = |own: Value, new: (&str, &str), expected: Option<Step>| {
        let pod = pod(own, json!({}));
        let container = &pod.spec.as_ref().expect("it").containers[0];
        let own = container.resources.clone().expect("resources");
        let given = Given { own, whole: whole("1", "1Gi").ok() };
        assert_eq!(step(container, whole(new.0, new.1).ok().as_ref(), &given), expected, "{new:?}");
    };
    check(json!({}), ("1", "1Gi"), None);
    check(json!({}), ("2", "1Gi"), Some(Step::Update));
    check(json!({}), ("1", "2Gi"), Some(Step::Restart));
    check(json!({"limits": {"memory": "1Gi"}}), ("1", "2Gi"), None);
    check(resources("1", "1Gi"), ("2", "2Gi"), None);
}

#[test]
fn what_a_pod_wants_as_a_whole_is_allocated_like_the_rest() {
    let whole = |cpu: &str, status: Value| {
        let pod =
            json!({"spec": {"containers": [{"name": "c"}], "resources": resources(cpu, "1Gi")}, "status": status});
        Arc::new(serde_json::from_value::<Pod>(pod).expect("a pod"))
    };
    let given = |pod: &Pod| resources::of_whole(pod).and_then(|r| r.requests.as_ref()).map(|r| r["cpu"].0.clone());
    let full = || Some((DEFERRED, "full".to_owned()));
    let mut resizing = Resizing::default();
    assert_eq!(resizing.allocate(&whole("1", json!({})), || panic!("nothing changed")).1, None);
    let (pod, news) = resizing.allocate(&whole("2", json!({})), full);
    assert_eq!((given(&pod).as_deref(), news), (Some("1"), Some(Allocation::Refused)));
    let (pod, news) = resizing.allocate(&whole("2", json!({})), || None);
    assert_eq!((given(&pod).as_deref(), news), (Some("2"), Some(Allocation::Begun)));
    let told = json!({"allocatedResources": {"cpu": "1", "memory": "1Gi"}, "resources": resources("1", "1Gi")});
    let (pod, news) = Resizing::default().allocate(&whole("2", told.clone()), full);
    assert_eq!((given(&pod).as_deref(), news), (Some("1"), Some(Allocation::Refused)), "a new agent finds it");
    let wanted = whole("2", told);
    let mut resizing = Resizing::default();
    let before = resizing.whole_given(wanted.status.as_ref(), &wanted);
    assert_ne!(
        amounts(None, before.as_ref()),
        amounts(None, resources::of_whole(&wanted)),
        "a new agent goes on with it"
    );
}

#[test]
fn init_containers_are_resized_while_they_run_and_the_pod_is_not_initialized() {
    let check = |role, life, [before, after]: [bool; 2]| {
        let found = [false, true].map(|initialized| gets_resources(role, life, initialized));
        assert_eq!(found, [before, after], "{role:?} {life:?}");
    };
    check(Role::Init, Life::Running, [true, false]);
    check(Role::Init, Life::Exited, [false, false]);
    check(Role::Sidecar, Life::Running, [true, true]);
    check(Role::Main, Life::Running, [true, true]);
    check(Role::Main, Life::Created, [false, false]);
}

#[test]
fn a_new_agent_believes_the_status_only_of_containers_that_ran() {
    let check = |state: Value, expected: &str| {
        let own = json!({"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "containerID": "containerd://1", "state": state, "resources": resources("2", "2Gi")});
        let pod = pod(resources("3", "3Gi"), json!({"containerStatuses": [own]}));
        let made = (labels::RESOURCES.to_owned(), resources("1", "1Gi").to_string());
        let status =
            k8s_cri::v1::ContainerStatus { id: "1".into(), annotations: HashMap::from([made]), ..Default::default() };
        let spec = &pod.spec.as_ref().expect("it").containers[0];
        let given = Resizing::default().given(&Instance::for_test(status), pod.status.as_ref(), &pod, spec);
        assert_eq!(given.own.requests.expect("requests")["cpu"].0, expected, "{state}");
    };
    check(json!({"running": {}}), "2");
    check(json!({"waiting": {}}), "1");
}
