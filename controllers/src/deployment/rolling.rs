//! How many pods each ReplicaSet should have: plain functions on what is known.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::ResourceExt;

use super::{Sets, recreates, revision, spec};
use crate::error::Result;
use crate::percent::{Round, resolve};

/// A ReplicaSet that should have `to` pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scale {
    pub(super) name: String,
    pub(super) to: i32,
    /// Whether to write even if only the annotations differ.
    pub(super) annotate: bool,
}

/// The size a deployment asks for.
pub(super) fn wanted(d: &Deployment) -> i32 {
    d.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
}

/// The size a ReplicaSet asks for.
pub(super) fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
}

/// The available pods of a ReplicaSet.
pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0)
}

fn total(sets: &[Arc<ReplicaSet>]) -> i32 {
    sets.iter().map(|s| replicas(s)).sum()
}

/// How many pods there may be above, and how many may be missing from, the wanted number. Not both are zero.
fn fenceposts(d: &Deployment) -> (i32, i32) {
    let rolling = d.spec.as_ref().filter(|s| !recreates(s)).and_then(|s| s.strategy.as_ref()?.rolling_update.as_ref());
    let Some(rolling) = rolling else { return (0, 0) };
    let surge = resolve(rolling.max_surge.as_ref(), wanted(d), Round::Up);
    let unavailable = resolve(rolling.max_unavailable.as_ref(), wanted(d), Round::Down);
    // Rounding may make both zero, and the rollout would be stuck.
    (surge, if surge == 0 && unavailable == 0 { 1 } else { unavailable })
}

/// How many pods there may be above the wanted number.
pub(super) fn surge(d: &Deployment) -> i32 {
    fenceposts(d).0
}

/// How many pods may be unavailable.
pub(super) fn max_unavailable(d: &Deployment) -> i32 {
    if wanted(d) == 0 { 0 } else { fenceposts(d).1.min(wanted(d)) }
}

/// Whether the size of the deployment changed since it last scaled its ReplicaSets.
pub(super) fn is_scaling(d: &Deployment, all: &[Arc<ReplicaSet>]) -> bool {
    let desired = |s: &ReplicaSet| s.annotations().get(revision::DESIRED).and_then(|v| v.parse::<i32>().ok());
    all.iter().filter(|s| replicas(s) > 0).any(|s| desired(s).is_some_and(|n| n != wanted(d)))
}

/// The size that a new ReplicaSet, now at `current`, may have.
pub(super) fn size_of_new(d: &Deployment, all: &[Arc<ReplicaSet>], current: i32) -> Result<i32> {
    if recreates(spec(d)?) {
        return Ok(wanted(d));
    }
    let room = wanted(d) + surge(d) - total(all);
    if room <= 0 {
        return Ok(current);
    }
    Ok(current + room.min(wanted(d) - current))
}

/// The next step of the new ReplicaSet in a rollout.
pub(super) fn grow_new(d: &Deployment, sets: &Sets) -> Result<Vec<Scale>> {
    let Some(new) = &sets.new else { return Ok(Vec::new()) };
    let current = replicas(new);
    let to = if current >= wanted(d) { wanted(d) } else { size_of_new(d, &sets.all(), current)? };
    let step = Scale { name: new.name_any(), to, annotate: false };
    Ok(if to == current { Vec::new() } else { vec![step] })
}

/// The next step of the old ReplicaSets in a rollout: unhealthy pods go first, then as many as availability allows.
pub(super) fn shrink_old(d: &Deployment, sets: &Sets) -> Result<Vec<Scale>> {
    let Some(new) = &sets.new else { return Ok(Vec::new()) };
    if total(&sets.old) == 0 {
        return Ok(Vec::new());
    }
    let min_available = wanted(d) - max_unavailable(d);
    let new_unavailable = replicas(new) - available(new);
    let may_go = total(&sets.all()) - min_available - new_unavailable;
    if may_go <= 0 {
        return Ok(Vec::new());
    }
    let mut sizes: Vec<i32> = sets.old.iter().map(|s| replicas(s)).collect();
    let mut unhealthy = may_go;
    for (size, set) in sizes.iter_mut().zip(&sets.old) {
        let sick = (*size - available(set)).max(0).min(unhealthy);
        *size -= sick;
        unhealthy -= sick;
    }
    let mut healthy = sets.all().iter().map(|s| available(s)).sum::<i32>() - min_available;
    for size in &mut sizes {
        let go = (*size).min(healthy.max(0));
        *size -= go;
        healthy -= go;
    }
    let changed = sets.old.iter().zip(sizes).filter(|(set, size)| replicas(set) != *size);
    Ok(changed.map(|(set, to)| Scale { name: set.name_any(), to, annotate: false }).collect())
}

/// The sizes after the deployment was scaled outside of a rollout step: one active ReplicaSet takes all, several
/// share in proportion, so that a broken rollout does not get more of the pods than it had.
pub(super) fn scale(d: &Deployment, sets: &Sets) -> Result<Vec<Scale>> {
    let active: Vec<_> = sets.all().into_iter().filter(|s| replicas(s) > 0).collect();
    let only = match active.as_slice() {
        [] => sets.new.clone().or_else(|| sets.old.last().cloned()),
        [one] => Some(one.clone()),
        _ => None,
    };
    if let Some(only) = only {
        let annotate = is_scaling(d, std::slice::from_ref(&only));
        return Ok(vec![Scale { name: only.name_any(), to: wanted(d), annotate }]);
    }
    if active.is_empty() {
        return Ok(Vec::new());
    }
    if sets.new.as_ref().is_some_and(|new| is_saturated(d, new)) {
        let old = sets.old.iter().filter(|s| replicas(s) > 0);
        return Ok(old.map(|s| Scale { name: s.name_any(), to: 0, annotate: false }).collect());
    }
    if recreates(spec(d)?) {
        return Ok(Vec::new());
    }
    Ok(proportional(d, active))
}

fn is_saturated(d: &Deployment, new: &ReplicaSet) -> bool {
    let desired = new.annotations().get(revision::DESIRED).and_then(|v| v.parse::<i32>().ok());
    replicas(new) == wanted(d) && desired == Some(wanted(d)) && available(new) == wanted(d)
}

fn proportional(d: &Deployment, mut active: Vec<Arc<ReplicaSet>>) -> Vec<Scale> {
    let allowed = if wanted(d) > 0 { wanted(d) + surge(d) } else { 0 };
    let change = allowed - total(&active);
    let created = |s: &ReplicaSet| s.metadata.creation_timestamp.as_ref().map(|t| t.0);
    active.sort_by(|a, b| {
        let by_age = created(a).cmp(&created(b));
        replicas(b).cmp(&replicas(a)).then(if change > 0 { by_age.reverse() } else { by_age })
    });
    let mut done = 0;
    let mut sizes: Vec<i32> = Vec::with_capacity(active.len());
    for set in &active {
        let left = change - done;
        let share = fraction(d, set);
        let share = if left == 0 {
            0
        } else if change > 0 {
            share.min(left)
        } else {
            share.max(left)
        };
        done += share;
        sizes.push(replicas(set) + share);
    }
    if let Some(largest) = sizes.first_mut() {
        *largest = (*largest + change - done).max(0);
    }
    active.iter().zip(sizes).map(|(s, to)| Scale { name: s.name_any(), to, annotate: true }).collect()
}

fn fraction(d: &Deployment, set: &ReplicaSet) -> i32 {
    if wanted(d) == 0 {
        return -replicas(set);
    }
    let max = wanted(d) + surge(d);
    let noted = set.annotations().get(revision::MAX).and_then(|v| v.parse::<i32>().ok()).filter(|n| *n > 0);
    let before = noted.or_else(|| d.status.as_ref().and_then(|s| s.replicas)).unwrap_or(0);
    if before == 0 {
        return 0;
    }
    let size = f64::from(replicas(set)) * f64::from(max) / f64::from(before);
    size.round() as i32 - replicas(set)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(replicas: i32, surge: &str, unavailable: &str) -> Deployment {
        let number = |text: &str| text.parse::<i32>().map_or_else(|_| json!(text), |n| json!(n));
        let d = json!({"metadata": {"name": "d"}, "spec": {"replicas": replicas, "selector": {}, "template": {},
            "strategy": {"type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": number(surge), "maxUnavailable": number(unavailable)}}}});
        serde_json::from_value(d).expect("a deployment")
    }

    fn set(name: &str, replicas: i32, available: i32, max: i32) -> Arc<ReplicaSet> {
        let set = json!({
            "metadata": {"name": name, "annotations": {"deployment.kubernetes.io/max-replicas": max.to_string(),
                "deployment.kubernetes.io/desired-replicas": "10"}},
            "spec": {"replicas": replicas, "selector": {}},
            "status": {"replicas": replicas, "availableReplicas": available}});
        Arc::new(serde_json::from_value(set).expect("a set"))
    }

    fn check(d: &Deployment, steps: &[Scale], expected: &[(&str, i32)]) {
        let steps: Vec<_> = steps.iter().map(|s| (s.name.as_str(), s.to)).collect();
        assert_eq!(steps, expected, "of {} replicas", wanted(d));
    }

    #[test]
    fn a_rollout_grows_within_the_surge() {
        let d = deployment(10, "25%", "25%");
        let sets = Sets { new: Some(set("new", 0, 0, 13)), old: vec![set("old", 10, 10, 13)] };
        check(&d, &grow_new(&d, &sets).expect("a plan"), &[("new", 3)]);
        let full = Sets { new: Some(set("new", 3, 0, 13)), old: vec![set("old", 10, 10, 13)] };
        check(&d, &grow_new(&d, &full).expect("a plan"), &[]);
        check(&d, &shrink_old(&d, &full).expect("a plan"), &[("old", 8)]);
    }

    #[test]
    fn unhealthy_old_pods_go_first() {
        let d = deployment(10, "25%", "25%");
        let sets = Sets { new: Some(set("new", 3, 3, 13)), old: vec![set("older", 2, 0, 13), set("old", 8, 8, 13)] };
        check(&d, &shrink_old(&d, &sets).expect("a plan"), &[("older", 0), ("old", 5)]);
    }

    #[test]
    fn one_of_two_is_never_stuck() {
        let d = deployment(1, "0", "0%");
        assert_eq!(max_unavailable(&d), 1);
    }

    #[test]
    fn scaling_amid_a_rollout_is_proportional() {
        let d = deployment(20, "3", "2");
        let sets = Sets { new: Some(set("new", 5, 0, 13)), old: vec![set("old", 8, 8, 13)] };
        check(&d, &scale(&d, &sets).expect("a plan"), &[("old", 14), ("new", 9)]);
    }

    #[test]
    fn scaling_to_zero_takes_everything() {
        let d = deployment(0, "3", "2");
        let sets = Sets { new: Some(set("new", 5, 0, 13)), old: vec![set("old", 8, 8, 13)] };
        check(&d, &scale(&d, &sets).expect("a plan"), &[("old", 0), ("new", 0)]);
    }
}
