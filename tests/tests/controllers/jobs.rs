//! Jobs whose pods go because the job wants fewer of them.

use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::plane::{Plane, eventually};
use super::{ended, job};

async fn change(plane: &Plane, name: &str, spec: Value) {
    let patch = Patch::Merge(json!({ "spec": spec }));
    plane.api::<Job>().patch(name, &PatchParams::default(), &patch).await.expect("a change");
}

async fn status(plane: &Plane, name: &str) -> JobStatus {
    plane.api::<Job>().get(name).await.expect("the job").status.unwrap_or_default()
}

/// How many pods run, how many are ending, and how many failed.
async fn counts(plane: &Plane, name: &str) -> (i32, i32, i32) {
    let s = status(plane, name).await;
    let named = s.uncounted_terminated_pods.as_ref().and_then(|u| u.failed.as_ref()).map_or(0, Vec::len) as i32;
    (s.active.unwrap_or(0), s.terminating.unwrap_or(0), s.failed.unwrap_or(0) + named)
}

#[tokio::test]
async fn a_suspended_job_has_not_failed() {
    let plane = Plane::start().await;
    plane.create::<Job>(job("j", "Running", json!({"completions": 3, "parallelism": 3, "backoffLimit": 0}))).await;
    eventually("three pods", async || counts(&plane, "j").await == (3, 0, 0)).await;
    change(&plane, "j", json!({"suspend": true})).await;
    eventually("no pod", async || counts(&plane, "j").await == (0, 0, 0) && ended(&plane, "j", "Suspended").await)
        .await;
    assert!(!ended(&plane, "j", "FailureTarget").await);
    change(&plane, "j", json!({"suspend": false})).await;
    eventually("three pods again", async || counts(&plane, "j").await == (3, 0, 0)).await;
    change(&plane, "j", json!({"parallelism": 1})).await;
    eventually("one pod", async || counts(&plane, "j").await == (1, 0, 0)).await;
    assert!(!ended(&plane, "j", "FailureTarget").await && plane.pods("app=j").await.len() == 1);
}

#[tokio::test]
async fn an_indexed_job_shrinks_to_its_first_indexes() {
    let plane = Plane::start().await;
    let spec = json!({"completions": 4, "parallelism": 4, "completionMode": "Indexed", "backoffLimit": 0});
    plane.create::<Job>(job("j", "Running", spec)).await;
    eventually("four pods", async || counts(&plane, "j").await == (4, 0, 0)).await;
    change(&plane, "j", json!({"completions": 2, "parallelism": 2})).await;
    eventually("two pods", async || counts(&plane, "j").await == (2, 0, 0)).await;
    let index = |pod: &Pod| pod.annotations().get("batch.kubernetes.io/job-completion-index").cloned();
    let mut left: Vec<_> = plane.pods("app=j").await.iter().filter_map(index).collect();
    left.sort();
    assert_eq!(left, ["0", "1"]);
    let over = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
    for pod in plane.pods("app=j").await {
        let pods = plane.api::<Pod>();
        pods.patch_status(&pod.name_any(), &PatchParams::default(), &over).await.expect("it has ended");
    }
    eventually("the end", async || ended(&plane, "j", "Complete").await).await;
    let status = status(&plane, "j").await;
    assert_eq!((status.completed_indexes.as_deref(), status.succeeded, status.failed), (Some("0,1"), Some(2), None));
}
