//! Which running pods of a job go when there are too many of them, or when they run for nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::pods::index_of;
use crate::pod::Worth;

/// At least `least` of `active`, those that are worth least first (`activePodsForRemoval` in the reference).
///
/// Of an indexed job with so many `completions` all go that have no index, one that is out of range, or one that a worthier
/// pod has too, however few have to.
pub(super) fn choose(active: &[Arc<Pod>], completions: Option<i32>, least: usize) -> Vec<Arc<Pod>> {
    let mut sorted = active.to_vec();
    sorted.sort_by_cached_key(|pod| Worth::to_job(pod));
    let Some(completions) = completions else {
        sorted.truncate(least);
        return sorted;
    };
    let mut worthiest: BTreeMap<i32, usize> = BTreeMap::new();
    for (at, pod) in sorted.iter().enumerate() {
        if let Some(index) = index_of(pod).filter(|index| *index < completions) {
            worthiest.insert(index, at);
        }
    }
    let mut stays = vec![false; sorted.len()];
    worthiest.values().for_each(|at| stays[*at] = true);
    let (left, mut gone): (Vec<_>, Vec<_>) = sorted.into_iter().zip(stays).partition(|(_, stays)| *stays);
    let missing = least.saturating_sub(gone.len());
    gone.extend(left.into_iter().take(missing));
    gone.into_iter().map(|(pod, _)| pod).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kube::ResourceExt;
    use serde_json::json;

    use super::*;

    fn pod(name: &str, index: Option<&str>, phase: &str) -> Arc<Pod> {
        let mut pod = json!({"metadata": {"name": name, "uid": name}, "spec": {"nodeName": "n", "containers": []},
            "status": {"phase": phase}});
        if let Some(index) = index {
            pod["metadata"]["annotations"] = json!({"batch.kubernetes.io/job-completion-index": index});
        }
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    }

    /// `TestAppendDuplicatedIndexPodsForRemoval` and more.
    #[test]
    fn superfluous_indexes_go_first() {
        let pods = [
            pod("0", Some("0"), "Running"),
            pod("1", Some("1"), "Running"),
            pod("1-pending", Some("1"), "Pending"),
            pod("2", Some("2"), "Pending"),
            pod("none", None, "Running"),
            pod("garbage", Some("x"), "Running"),
            pod("negative", Some("-1"), "Running"),
            pod("beyond", Some("7"), "Running"),
        ];
        let check = |completions, least, expect: &[&str]| {
            let gone: BTreeSet<_> = choose(&pods, completions, least).iter().map(|p| p.name_any()).collect();
            assert_eq!(gone, expect.iter().map(ToString::to_string).collect(), "{completions:?} {least}");
        };
        let idle = ["1-pending", "none", "garbage", "negative", "beyond"];
        check(Some(3), 0, &idle);
        check(Some(3), 5, &idle);
        check(Some(3), 6, &[&idle[..], &["2"]].concat());
        check(Some(1), 0, &[&idle[..], &["1", "2"]].concat());
        check(Some(0), 8, &[&idle[..], &["0", "1", "2"]].concat());
        check(None, 0, &[]);
        check(None, 2, &["1-pending", "2"]);
    }
}
