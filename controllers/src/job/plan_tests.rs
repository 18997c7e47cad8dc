//! Tests of the plan of a job.

use serde_json::{Value, json};

use super::*;

fn job(spec: Value) -> Job {
    let mut j = json!({"metadata": {"name": "j", "namespace": "ns"}, "spec": {"template": {}}});
    for (key, value) in spec.as_object().expect("fields") {
        j["spec"][key] = value.clone();
    }
    serde_json::from_value(j).expect("a job")
}

fn pod(name: &str, phase: &str, index: Option<i32>) -> Arc<Pod> {
    let mut p = json!({"metadata": {"name": name, "uid": name, "finalizers": ["batch.kubernetes.io/job-tracking"]},
        "status": {"phase": phase}});
    if let Some(index) = index {
        p["metadata"]["annotations"] = json!({"batch.kubernetes.io/job-completion-index": index.to_string()});
    }
    Arc::new(serde_json::from_value(p).expect("a pod"))
}

fn now() -> Time {
    Time("2026-01-01T00:00:00Z".parse().expect("a time"))
}

#[test]
fn pods_are_made_until_enough_succeed() {
    let j = job(json!({"parallelism": 2, "completions": 3}));
    assert_eq!(of(&j, &[], &now()).expect("a plan").create.len(), 2);
    let pods = [pod("a", "Succeeded", None), pod("b", "Running", None)];
    let plan = of(&j, &pods, &now()).expect("a plan");
    assert_eq!((plan.create.len(), plan.counted.len()), (1, 1));
    assert_eq!(totals(&plan.status), (1, 0));
}

#[test]
fn an_end_is_counted_once_and_then_the_job_completes() {
    let mut j = job(json!({"parallelism": 1, "completions": 1}));
    let first = of(&j, &[pod("a", "Succeeded", None)], &now()).expect("a plan");
    assert!(has(&first.status, "SuccessCriteriaMet") && !has(&first.status, "Complete"));
    j.status = Some(first.status);
    let mut counted = (*pod("a", "Succeeded", None)).clone();
    counted.metadata.finalizers = None;
    let second = of(&j, &[Arc::new(counted)], &now()).expect("a plan");
    assert!(has(&second.status, "Complete"));
    assert_eq!(second.status.succeeded, Some(1));
}

#[test]
fn too_many_failures_end_it() {
    let j = job(json!({"parallelism": 1, "completions": 1, "backoffLimit": 1}));
    let one = of(&j, &[pod("a", "Failed", None)], &now()).expect("a plan");
    assert!(!has(&one.status, "FailureTarget"));
    let two = of(&j, &[pod("a", "Failed", None), pod("b", "Failed", None)], &now()).expect("a plan");
    assert!(has(&two.status, "FailureTarget"));
}

#[test]
fn an_indexed_job_fills_its_gaps() {
    let j = job(json!({"parallelism": 3, "completions": 4, "completionMode": "Indexed"}));
    let pods = [pod("a", "Succeeded", Some(0)), pod("b", "Running", Some(2))];
    let plan = of(&j, &pods, &now()).expect("a plan");
    assert_eq!(plan.create, [Some(1), Some(3)]);
    assert_eq!(plan.status.completed_indexes.as_deref(), Some("0"));
}

#[test]
fn a_suspended_job_has_no_pods() {
    let j = job(json!({"suspend": true, "parallelism": 1, "completions": 1}));
    let plan = of(&j, &[pod("a", "Running", None)], &now()).expect("a plan");
    assert_eq!((plan.create.len(), plan.delete.len()), (0, 1));
    assert!(plan.status.start_time.is_none());
}

fn failed(name: &str, index: i32, failures: i32) -> Arc<Pod> {
    let mut p = (*pod(name, "Failed", Some(index))).clone();
    let annotations = p.metadata.annotations.get_or_insert_default();
    annotations.insert("batch.kubernetes.io/job-index-failure-count".into(), failures.to_string());
    Arc::new(p)
}

#[test]
fn an_index_fails_by_itself() {
    let spec = json!({"parallelism": 2, "completions": 2, "completionMode": "Indexed", "backoffLimit": i32::MAX,
        "backoffLimitPerIndex": 1});
    let j = job(spec);
    let once = of(&j, &[failed("a", 0, 0), pod("b", "Running", Some(1))], &now()).expect("a plan");
    assert_eq!(once.create, [Some(0)]);
    assert!(once.counted.is_empty(), "the failed pod stays until the next one carries its number on");
    assert_eq!(once.failures.expect("counts")[&0].counted, 1);
    let twice = of(&j, &[failed("a", 0, 1), pod("b", "Succeeded", Some(1))], &now()).expect("a plan");
    assert_eq!((twice.create.len(), twice.counted.len()), (0, 2));
    assert_eq!(twice.status.failed_indexes.as_deref(), Some("0"));
    assert!(has(&twice.status, "FailureTarget"));
}

#[test]
fn a_success_policy_is_met() {
    let indexed = json!({"parallelism": 2, "completions": 4, "completionMode": "Indexed"});
    let pods = [pod("a", "Succeeded", Some(1)), pod("b", "Running", Some(2))];
    for (rule, expect) in [
        (json!({"succeededIndexes": "1"}), true),
        (json!({"succeededIndexes": "1,2"}), false),
        (json!({"succeededIndexes": "1,2", "succeededCount": 1}), true),
        (json!({"succeededCount": 2}), false),
    ] {
        let mut spec = indexed.clone();
        spec["successPolicy"] = json!({"rules": [rule]});
        let plan = of(&job(spec), &pods, &now()).expect("a plan");
        assert_eq!(has(&plan.status, "SuccessCriteriaMet"), expect, "{rule}");
    }
}

#[test]
fn a_failure_policy_decides() {
    let policy = |action: &str| {
        json!({"parallelism": 1, "completions": 1, "backoffLimit": 0, "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": [{"action": action, "onExitCodes": {"operator": "In", "values": [42]}}]}})
    };
    let mut bad = (*pod("a", "Failed", None)).clone();
    let status = json!({"phase": "Failed", "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"terminated": {"exitCode": 42}}}]});
    bad.status = serde_json::from_value(status).expect("a status");
    let bad = [Arc::new(bad)];
    let ignored = of(&job(policy("Ignore")), &bad, &now()).expect("a plan");
    assert_eq!((ignored.create.len(), ignored.counted.len(), totals(&ignored.status)), (1, 1, (0, 0)));
    let fatal = of(&job(policy("FailJob")), &bad, &now()).expect("a plan");
    let why = fatal.status.conditions.iter().flatten().find(|c| c.type_ == "FailureTarget").expect("it fails");
    assert!(
        why.message.as_deref().is_some_and(|m| m.contains("failed with exit code 42 matching FailJob rule at index 0"))
    );
}
