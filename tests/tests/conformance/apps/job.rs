//! Jobs.

use serde_json::{Value, json};

use super::{name_of, owner_of};
use crate::agent;
use crate::case::{Conformance, test};
use crate::plane::{Plane, condition, eventually, has};
use crate::resource::Resource;

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    let mut tests = by_policy();
    tests.extend([
        test(
            "[sig-apps] Job should create pods for an Indexed job with completion indexes and specified hostname [Conformance]",
            indexed,
        ),
        test(
            "[sig-apps] Job should run a job to completion when tasks sometimes fail and are locally restarted [Conformance]",
            restarted,
        ),
        test("[sig-apps] Job should delete a job [Conformance]", |plane| async move {
            let (jobs, pods) = (plane.of("batch/v1", "jobs"), plane.of("v1", "pods"));
            jobs.create(job("one", "", json!({"parallelism": 2, "completions": 4}))).await;
            jobs.until("one", "two pods", |j| j["status"]["active"] == 2 && j["status"]["ready"] == 2).await;
            jobs.try_delete("one", &json!({"propagationPolicy": "Foreground"})).await.ok();
            jobs.until_gone("one").await;
            assert!(pods.list("").await.is_empty());
        }),
        test("[sig-apps] Job should adopt matching orphans and release non-matching pods [Conformance]", adopts),
        test("[sig-apps] Job should apply changes to a job status [Conformance]", status),
        test("[sig-apps] Job should manage the lifecycle of a job [Conformance]", lifecycle),
    ]);
    tests
}

fn by_policy() -> Vec<Conformance> {
    vec![
        test(
            "[sig-apps] Job should allow to use the pod failure policy on exit code to fail the job early [Conformance]",
            |plane| async move {
                let policy =
                    json!({"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}]});
                let jobs = plane.of("batch/v1", "jobs");
                let spec = json!({"parallelism": 2, "completions": 4, "backoffLimit": 0, "podFailurePolicy": policy});
                jobs.create(job("one", "exit 1", spec)).await;
                ended(&jobs, "Failed", "PodFailurePolicy").await;
            },
        ),
        test(
            "[sig-apps] Job should allow to use a pod failure policy to ignore failure matching on DisruptionTarget condition \
             [Conformance]",
            disrupted,
        ),
        test(
            "[sig-apps] Job with successPolicy should succeeded when all indexes succeeded [Conformance]",
            |plane| async move {
                let policy = json!({"rules": [{"succeededIndexes": "0-1"}]});
                let one = succeeds_by(&plane, policy, json!({"completions": 2, "parallelism": 2}), "Succeeded").await;
                assert_eq!(
                    (&one["status"]["succeeded"], &one["status"]["completedIndexes"]),
                    (&json!(2), &json!("0,1"))
                );
            },
        ),
        test(
            "[sig-apps] Job with successPolicy succeededIndexes rule should succeeded even when some indexes remain pending \
             [Conformance]",
            |plane| async move {
                let policy = json!({"rules": [{"succeededIndexes": "1"}]});
                let one = succeeds_by(&plane, policy, json!({"completions": 2, "parallelism": 2}), "hold").await;
                assert_eq!((&one["status"]["succeeded"], &one["status"]["completedIndexes"]), (&json!(1), &json!("1")));
            },
        ),
        test(
            "[sig-apps] Job with successPolicy succeededCount rule should succeeded even when some indexes remain pending \
             [Conformance]",
            |plane| async move {
                let policy = json!({"rules": [{"succeededCount": 1}]});
                let one = succeeds_by(&plane, policy, json!({"completions": 5, "parallelism": 2}), "hold").await;
                assert_eq!(one["status"]["succeeded"], 1);
            },
        ),
        test(
            "[sig-apps] Job should execute all indexes despite some failing when using backoffLimitPerIndex [Conformance]",
            |plane| async move {
                let jobs = plane.of("batch/v1", "jobs");
                let spec =
                    json!({"completionMode": "Indexed", "parallelism": 2, "completions": 4, "backoffLimitPerIndex": 1});
                jobs.create(job("one", "fail-indexes 0,2", spec)).await;
                let one = ended(&jobs, "Failed", "FailedIndexes").await;
                let expect = json!({"failedIndexes": "0,2", "completedIndexes": "1,3", "succeeded": 2, "failed": 4});
                assert!(has(&one["status"], &expect), "{}", one["status"]);
            },
        ),
        test(
            "[sig-apps] Job should terminate job execution when the number of failed indexes exceeds maxFailedIndexes \
             [Conformance]",
            |plane| async move {
                let jobs = plane.of("batch/v1", "jobs");
                let spec = json!({"completionMode": "Indexed", "parallelism": 1, "completions": 10,
                    "backoffLimitPerIndex": 0, "maxFailedIndexes": 4});
                jobs.create(job("one", "Failed", spec)).await;
                let one = ended(&jobs, "Failed", "MaxFailedIndexesExceeded").await;
                assert_eq!((&one["status"]["failed"], &one["status"]["failedIndexes"]), (&json!(5), &json!("0-4")));
            },
        ),
        test(
            "[sig-apps] Job should mark indexes as failed when the FailIndex action is matched in podFailurePolicy [Conformance]",
            |plane| async move {
                let jobs = plane.of("batch/v1", "jobs");
                let policy =
                    json!({"rules": [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}}]});
                let spec = json!({"completionMode": "Indexed", "parallelism": 2, "completions": 2,
                    "backoffLimitPerIndex": 1, "podFailurePolicy": policy});
                jobs.create(job("one", "fail-indexes 0", spec)).await;
                let one = ended(&jobs, "Failed", "FailedIndexes").await;
                let expect = json!({"failedIndexes": "0", "completedIndexes": "1", "succeeded": 1, "failed": 1});
                assert!(has(&one["status"], &expect), "{}", one["status"]);
            },
        ),
    ]
}

/// A job whose pods do what the node agent is told to pretend.
fn job(name: &str, pretend: &str, more: Value) -> Value {
    let mut job = json!({"metadata": {"name": name, "labels": {"of": name}}, "spec": {"template": {
        "metadata": {"annotations": {"pretend": pretend}},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "a:1"}]}}}});
    for (key, value) in more.as_object().expect("fields") {
        job["spec"][key] = value.clone();
    }
    job
}

/// Waits until the job `one` has ended like this, and its pods are let go.
async fn ended(jobs: &Resource, how: &str, reason: &str) -> Value {
    let one = jobs.until("one", how, |j| condition(j, how)["status"] == "True").await;
    assert_eq!(condition(&one, how)["reason"], reason);
    let before = if how == "Complete" { "SuccessCriteriaMet" } else { "FailureTarget" };
    assert_eq!(condition(&one, before)["reason"], reason);
    one
}

/// A job with a success policy; one index succeeds by itself, or all if `pretend` says so.
async fn succeeds_by(plane: &Plane, policy: Value, spec: Value, pretend: &str) -> Value {
    let (jobs, pods) = (plane.of("batch/v1", "jobs"), plane.of("v1", "pods"));
    let mut one = job("one", pretend, spec);
    one["spec"]["completionMode"] = json!("Indexed");
    one["spec"]["successPolicy"] = policy;
    jobs.create(one).await;
    if pretend == "hold" {
        let index = "metadata/annotations/batch.kubernetes.io~1job-completion-index";
        let all = pods.until_all("", "two pods", |all| all.len() == 2).await;
        let second = all.iter().find(|p| p.pointer(&format!("/{index}")).is_some_and(|i| i == "1")).expect("index 1");
        agent::end(plane, name_of(second), "Succeeded").await;
    }
    ended(&jobs, "Complete", "SuccessPolicy").await
}

async fn disrupted(plane: Plane) {
    let (jobs, pods) = (plane.of("batch/v1", "jobs"), plane.of("v1", "pods"));
    let policy = json!({"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}}]});
    jobs.create(job("one", "", json!({"backoffLimit": 0, "podFailurePolicy": policy}))).await;
    let first =
        pods.until_all("", "a pod that runs", |all| all.len() == 1 && all[0]["status"]["phase"] == "Running").await;
    let first = name_of(&first[0]).to_owned();
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": first}});
    pods.sub("eviction").try_post(&first, &eviction).await.ok();
    let second = pods
        .until_all("", "another in its place", |all| {
            all.len() == 1 && name_of(&all[0]) != first && all[0]["status"]["phase"] == "Running"
        })
        .await;
    agent::end(&plane, name_of(&second[0]), "Succeeded").await;
    let one = ended(&jobs, "Complete", "CompletionsReached").await;
    assert!(one["status"]["failed"].as_i64().unwrap_or(0) == 0, "{}", one["status"]);
}

async fn indexed(plane: Plane) {
    let (jobs, pods) = (plane.of("batch/v1", "jobs"), plane.of("v1", "pods"));
    jobs.create(job("one", "Succeeded", json!({"completionMode": "Indexed", "parallelism": 2, "completions": 4})))
        .await;
    let one = ended(&jobs, "Complete", "CompletionsReached").await;
    assert_eq!(one["status"]["completedIndexes"], "0-3");
    let mut seen: Vec<i64> = Vec::new();
    for pod in pods.list("labelSelector=batch.kubernetes.io/job-name%3Done").await {
        let index =
            pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"].as_str().expect("an index");
        assert_eq!(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"], index);
        assert_eq!(pod["spec"]["hostname"], format!("one-{index}"));
        assert!(name_of(&pod).starts_with(&format!("one-{index}-")));
        let env = &pod["spec"]["containers"][0]["env"][0];
        assert_eq!(env["name"], "JOB_COMPLETION_INDEX");
        seen.push(index.parse().expect("a number"));
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3]);
}

/// Containers that are restarted where they are do not end a job below its limit.
async fn restarted(plane: Plane) {
    let (jobs, pods) = (plane.of("batch/v1", "jobs"), plane.of("v1", "pods"));
    let mut one = job("one", "", json!({"parallelism": 1, "completions": 1, "backoffLimit": 6}));
    one["spec"]["template"]["spec"]["restartPolicy"] = json!("OnFailure");
    jobs.create(one).await;
    let pod =
        pods.until_all("", "a pod that runs", |all| all.len() == 1 && all[0]["status"]["phase"] == "Running").await;
    let name = name_of(&pod[0]);
    let mut statuses = pod[0]["status"]["containerStatuses"].clone();
    statuses[0]["restartCount"] = json!(5);
    pods.status().merge(name, json!({"status": {"containerStatuses": statuses}})).await;
    agent::end(&plane, name, "Succeeded").await;
    let one = ended(&jobs, "Complete", "CompletionsReached").await;
    assert_eq!(one["status"]["succeeded"], 1);
}

async fn adopts(plane: Plane) {
    let (jobs, pods) = (plane.of("batch/v1", "jobs"), plane.of("v1", "pods"));
    let one = jobs.create(job("one", "", json!({"parallelism": 2, "completions": 4}))).await;
    let all = pods.until_all("", "two pods", |all| all.len() == 2).await;
    jobs.until("one", "two active pods", |j| j["status"]["active"] == 2).await;
    let pod = name_of(&all[0]);
    let mine = |pod: &Value| owner_of(pod).is_some_and(|owner| owner["uid"] == one["metadata"]["uid"]);
    // A pod that nobody counts must not be held for it, or it could never be deleted.
    let held = |pod: &Value| pod["metadata"]["finalizers"] == json!(["batch.kubernetes.io/job-tracking"]);
    pods.merge(pod, json!({"metadata": {"ownerReferences": null, "finalizers": null}})).await;
    pods.until(pod, "its owner again", |pod| mine(pod) && held(pod)).await;
    let none = json!({"metadata": {"labels": {"batch.kubernetes.io/job-name": null, "batch.kubernetes.io/controller-uid": null,
        "job-name": null, "controller-uid": null}}});
    pods.merge(pod, none).await;
    let free = |pod: &Value| owner_of(pod).is_none() && pod["metadata"]["finalizers"].is_null();
    pods.until(pod, "no owner", free).await;
    jobs.try_delete("one", &json!({"propagationPolicy": "Orphan"})).await.ok();
    pods.until_all("", "pods without an owner", |all| all.iter().all(free)).await;
}

async fn status(plane: Plane) {
    let jobs = plane.of("batch/v1", "jobs");
    jobs.create(job("one", "", json!({"parallelism": 2, "completions": 4, "backoffLimit": 6}))).await;
    jobs.until("one", "two pods", |j| j["status"]["active"] == 2 && j["status"]["ready"] == 2).await;
    let added = |kind: &str| json!({"type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let patch = json!({"metadata": {"annotations": {"patched": "true"}}, "status": {"conditions": [added("CustomConditionType")]}});
    let patched = jobs.status().merge("one", patch).await;
    assert_eq!(patched["metadata"]["annotations"]["patched"], "true");
    assert_eq!(condition(&patched, "CustomConditionType")["status"], "True");
    let updated = jobs
        .status()
        .change("one", |j| j["status"]["conditions"] = json!([added("CustomConditionType"), added("Second")]))
        .await;
    assert_eq!(condition(&updated, "Second")["status"], "True");
    assert_eq!(condition(&jobs.status().get("one").await, "CustomConditionType")["status"], "True");
}

async fn lifecycle(plane: Plane) {
    let jobs = plane.of("batch/v1", "jobs");
    let mut watch = jobs.watch("labelSelector=of%3Done").await;
    let made = jobs.create(job("one", "", json!({"parallelism": 2, "completions": 2, "suspend": true}))).await;
    assert_eq!(made["spec"]["suspend"], true);
    watch.expect("ADDED", "one").await;
    jobs.until("one", "the condition", |j| condition(j, "Suspended")["status"] == "True").await;
    assert!(plane.of("v1", "pods").list("").await.is_empty());
    let label = json!({"metadata": {"labels": {"patched": "true"}}});
    jobs.strategic("one", label.clone()).await;
    watch.until("MODIFIED", "the label", |j| has(j, &label)).await;
    jobs.change("one", |j| {
        j["spec"]["suspend"] = json!(false);
        j["metadata"]["annotations"]["updated"] = json!("true");
    })
    .await;
    let pods = plane.of("v1", "pods");
    let pods =
        pods.until_all("", "two pods", |all| all.len() == 2 && all.iter().all(|p| p["status"]["phase"] == "Running"));
    for pod in pods.await {
        agent::end(&plane, name_of(&pod), "Succeeded").await;
    }
    ended(&jobs, "Complete", "CompletionsReached").await;
    assert_eq!(plane.wide("batch/v1", "jobs").list("labelSelector=of%3Done,patched%3Dtrue").await.len(), 1);
    jobs.delete_all("labelSelector=of%3Done&propagationPolicy=Background").await;
    watch.expect("DELETED", "one").await;
    eventually("its pods to go", async || plane.of("v1", "pods").list("").await.is_empty()).await;
}
