//! Tests of the plan of a job.

use kube::ResourceExt;
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
    assert_eq!(of(&j, &[], true, &now()).expect("a plan").create.len(), 2);
    let pods = [pod("a", "Succeeded", None), pod("b", "Running", None)];
    let plan = of(&j, &pods, true, &now()).expect("a plan");
    assert_eq!((plan.create.len(), plan.counted.len()), (1, 1));
    assert_eq!(totals(&plan.status), (1, 0));
}

#[test]
fn an_end_is_counted_once_and_then_the_job_completes() {
    let mut j = job(json!({"parallelism": 1, "completions": 1}));
    let first = of(&j, &[pod("a", "Succeeded", None)], true, &now()).expect("a plan");
    assert!(has(&first.status, "SuccessCriteriaMet") && !has(&first.status, "Complete"));
    j.status = Some(first.status);
    let mut counted = (*pod("a", "Succeeded", None)).clone();
    counted.metadata.finalizers = None;
    let second = of(&j, &[Arc::new(counted)], true, &now()).expect("a plan");
    assert!(has(&second.status, "Complete"));
    assert_eq!(second.status.succeeded, Some(1));
}

#[test]
fn too_many_failures_end_it() {
    let j = job(json!({"parallelism": 1, "completions": 1, "backoffLimit": 1}));
    let one = of(&j, &[pod("a", "Failed", None)], true, &now()).expect("a plan");
    assert!(!has(&one.status, "FailureTarget"));
    let two = of(&j, &[pod("a", "Failed", None), pod("b", "Failed", None)], true, &now()).expect("a plan");
    assert!(has(&two.status, "FailureTarget"));
}

#[test]
fn an_indexed_job_fills_its_gaps() {
    let j = job(json!({"parallelism": 3, "completions": 4, "completionMode": "Indexed"}));
    let pods = [pod("a", "Succeeded", Some(0)), pod("b", "Running", Some(2))];
    let plan = of(&j, &pods, true, &now()).expect("a plan");
    assert_eq!(plan.create, [Some(1), Some(3)]);
    assert_eq!(plan.status.completed_indexes.as_deref(), Some("0"));
}

#[test]
fn a_suspended_job_has_no_pods() {
    let j = job(json!({"suspend": true, "parallelism": 1, "completions": 1}));
    let plan = of(&j, &[pod("a", "Running", None)], true, &now()).expect("a plan");
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
    let once = of(&j, &[failed("a", 0, 0), pod("b", "Running", Some(1))], true, &now()).expect("a plan");
    assert_eq!(once.create, [Some(0)]);
    assert!(once.counted.is_empty(), "the failed pod stays until the next one carries its number on");
    assert_eq!(once.failures.expect("counts")[&0].counted, 1);
    let twice = of(&j, &[failed("a", 0, 1), pod("b", "Succeeded", Some(1))], true, &now()).expect("a plan");
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
        let plan = of(&job(spec), &pods, true, &now()).expect("a plan");
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
    let ignored = of(&job(policy("Ignore")), &bad, true, &now()).expect("a plan");
    assert_eq!((ignored.create.len(), ignored.counted.len(), totals(&ignored.status)), (1, 1, (0, 0)));
    let fatal = of(&job(policy("FailJob")), &bad, true, &now()).expect("a plan");
    let why = fatal.status.conditions.iter().flatten().find(|c| c.type_ == "FailureTarget").expect("it fails");
    assert!(
        why.message.as_deref().is_some_and(|m| m.contains("failed with exit code 42 matching FailJob rule at index 0"))
    );
}

fn terminating(name: &str, index: Option<i32>) -> Arc<Pod> {
    let mut p = (*pod(name, "Running", index)).clone();
    p.metadata.deletion_timestamp = Some(now());
    Arc::new(p)
}

fn names(pods: &[Arc<Pod>]) -> Vec<String> {
    let mut names: Vec<_> = pods.iter().map(|p| p.name_any()).collect();
    names.sort();
    names
}

#[test]
fn pods_that_go_because_there_are_too_many_are_let_go_first() {
    for spec in [
        json!({"suspend": true, "parallelism": 2, "completions": 3, "backoffLimit": 0}),
        json!({"parallelism": 0, "completions": 3, "backoffLimit": 0}),
    ] {
        let pods = [pod("a", "Running", None), pod("b", "Running", None)];
        let plan = of(&job(spec.clone()), &pods, true, &now()).expect("a plan");
        assert_eq!((names(&plan.delete), plan.lets_go, plan.counted.len()), (vec!["a".into(), "b".into()], true, 0));
        assert!(!has(&plan.status, "FailureTarget"), "{spec}");
    }
}

#[test]
fn the_end_of_a_pod_that_was_let_go_is_no_failure() {
    let mut gone = (*terminating("a", None)).clone();
    gone.metadata.finalizers = None;
    let j = job(json!({"suspend": true, "parallelism": 1, "completions": 1, "backoffLimit": 0}));
    let plan = of(&j, &[Arc::new(gone)], true, &now()).expect("a plan");
    assert_eq!((totals(&plan.status), plan.failed_at.len()), ((0, 0), 0));
    assert_eq!(plan.status.terminating, Some(1));
    let other = of(&j, &[terminating("a", None)], true, &now()).expect("a plan");
    assert_eq!(totals(&other.status), (0, 1), "one that somebody else deletes has failed");
}

/// A job whose indexes become fewer: those beyond go, are no failures, and the job completes.
#[test]
fn an_indexed_job_shrinks() {
    let j = job(json!({"parallelism": 2, "completions": 2, "completionMode": "Indexed", "backoffLimit": 0}));
    let running = |n: i32| pod(&format!("p{n}"), "Running", Some(n));
    let pods = [running(3), running(1), running(2), running(0)];
    let plan = of(&j, &pods, true, &now()).expect("a plan");
    assert_eq!((names(&plan.delete), plan.lets_go), (vec!["p2".into(), "p3".into()], true));
    let mut j = j;
    let ended = [
        pod("p0", "Succeeded", Some(0)),
        pod("p1", "Succeeded", Some(1)),
        pod("p2", "Succeeded", Some(2)),
        terminating("p3", Some(3)),
        failed("p4", 4, 0),
    ];
    let plan = of(&j, &ended, true, &now()).expect("a plan");
    assert_eq!(plan.status.completed_indexes.as_deref(), Some("0,1"));
    assert_eq!((totals(&plan.status), plan.counted.len()), ((2, 0), 5), "no index of the job failed");
    assert!(has(&plan.status, "SuccessCriteriaMet"));
    j.status = Some(plan.status);
    let done = of(&j, &[], true, &now()).expect("a plan");
    assert!(has(&done.status, "Complete"));
}

#[test]
fn a_superfluous_index_goes_although_not_too_many_pods_run() {
    let j = job(json!({"parallelism": 3, "completions": 3, "completionMode": "Indexed"}));
    let pods = [pod("a", "Running", Some(0)), pod("b", "Pending", Some(0)), pod("c", "Running", Some(5))];
    let plan = of(&j, &pods, true, &now()).expect("a plan");
    assert_eq!((names(&plan.delete), plan.create.len()), (vec!["b".into(), "c".into()], 0));
}

#[test]
fn a_job_that_waits_for_its_pods_neither_makes_nor_deletes_any() {
    let j = job(json!({"parallelism": 2, "completions": 2}));
    let plan = of(&j, &[], false, &now()).expect("a plan");
    assert!(plan.create.is_empty() && plan.delete.is_empty());
    let suspended = job(json!({"suspend": true, "parallelism": 2, "completions": 2}));
    let plan = of(&suspended, &[], false, &now()).expect("a plan");
    assert!(!has(&plan.status, "Suspended") && plan.events.is_empty());
}

/// Pods that still run when a job fails have failed with it; those of one that succeeds by its policy count as nothing.
#[test]
fn pods_end_with_their_job() {
    let policy = json!({"parallelism": 2, "completions": 4, "completionMode": "Indexed",
        "successPolicy": {"rules": [{"succeededIndexes": "1"}]}});
    let pods = [pod("a", "Succeeded", Some(1)), pod("b", "Running", Some(2))];
    let plan = of(&job(policy), &pods, true, &now()).expect("a plan");
    assert_eq!((names(&plan.delete), plan.lets_go), (vec!["b".into()], false));
    assert_eq!((names(&plan.counted), totals(&plan.status)), (vec!["a".into(), "b".into()], (1, 0)));
    let limit = json!({"parallelism": 2, "completions": 4, "backoffLimit": 0});
    let pods = [pod("a", "Failed", None), pod("b", "Running", None)];
    let plan = of(&job(limit), &pods, true, &now()).expect("a plan");
    assert_eq!((names(&plan.counted), totals(&plan.status)), (vec!["a".into(), "b".into()], (0, 2)));
}

#[test]
fn a_resumed_job_starts_anew() {
    let mut j = job(json!({"suspend": true, "parallelism": 1, "completions": 1}));
    let suspended = of(&j, &[], true, &now()).expect("a plan");
    assert_eq!(suspended.events.iter().map(|e| e.1).collect::<Vec<_>>(), ["Suspended"]);
    j.status = Some(suspended.status);
    j.spec.as_mut().expect("a spec").suspend = Some(false);
    let resumed = of(&j, &[], true, &now()).expect("a plan");
    assert_eq!(resumed.events.iter().map(|e| e.1).collect::<Vec<_>>(), ["Resumed"]);
    assert_eq!((resumed.create.len(), resumed.status.start_time), (1, Some(now())));
}

#[test]
fn only_so_many_ends_are_named_at_a_time() {
    let j = job(json!({"parallelism": 600, "completions": 600, "backoffLimit": 1000}));
    let pods: Vec<_> = (0..600).map(|n| pod(&format!("p{n}"), "Succeeded", None)).collect();
    let plan = of(&j, &pods, true, &now()).expect("a plan");
    assert_eq!((plan.counted.len(), totals(&plan.status), plan.unnamed), (500, (500, 0), true));
}

#[test]
fn more_successes_than_asked_for_are_told() {
    let mut j = job(json!({"parallelism": 2, "completions": 1}));
    j.status = serde_json::from_value(json!({"succeeded": 2, "startTime": "2026-01-01T00:00:00Z",
        "conditions": [{"type": "SuccessCriteriaMet", "status": "True"}]}))
    .expect("a status");
    let plan = of(&j, &[], true, &now()).expect("a plan");
    assert_eq!(plan.events.iter().map(|e| e.1).collect::<Vec<_>>(), ["TooManySucceededPods", "Completed"]);
}
