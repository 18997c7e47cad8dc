//! ReplicaSets and ReplicationControllers keep their number of pods.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use client::{Action, Change, Informer, ObjectKey, WorkQueue};
use futures::future::join_all;
use k8s_openapi::api::apps::v1::{ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::PostParams;

use crate::context::Context;
use crate::error::{Error, Result, is_conflict, is_namespace_terminating, is_not_found};
use crate::expectations::{self, Expectations};
use crate::figures::Various;
use crate::owner::{self, BY_CONTROLLER, controller_name, controller_of};
use crate::pod::{Worth, is_active, is_available, is_ready, is_terminating, next_available, node_name};
use crate::pod_control::{pod_from_template, slow_start};
use crate::replicated::Replicated;
use crate::selector;

/// Pods that one sync creates or deletes at most (`BurstReplicas` in the reference).
const BURST: usize = 500;
/// Keys worked on at a time.
const WORKERS: usize = 5;

struct ReplicaSets<K> {
    context: Context,
    sets: Informer<K>,
    pods: Informer<Pod>,
    expectations: Arc<Expectations>,
    kind: PhantomData<K>,
}

/// Runs the controller of `K` until the context is cancelled.
pub(crate) async fn run<K: Replicated>(context: Context) {
    let queue = context.queue();
    let sets = context.informers.of::<K>();
    let pods = context.informers.of::<Pod>();
    owner::add_indexes(&pods);
    owner::add_indexes(&sets);
    let expectations = Arc::new(Expectations::new(context.clock.clone()));
    watch(&sets, &pods, &queue, &expectations);
    sets.wait_synced().await;
    pods.wait_synced().await;
    let controller = Arc::new(ReplicaSets { context: context.clone(), sets, pods, expectations, kind: PhantomData });
    context
        .run(K::NAME, queue, WORKERS, move |key| {
            let controller = controller.clone();
            async move { controller.sync(key).await }
        })
        .await;
}

fn watch<K: Replicated>(
    sets: &Informer<K>,
    pods: &Informer<Pod>,
    queue: &WorkQueue<ObjectKey>,
    expectations: &Arc<Expectations>,
) {
    let to = queue.clone();
    sets.on_change(move |change| to.add(ObjectKey::of(&**change.object())));
    let (to, sets, expectations) = (queue.clone(), sets.clone(), expectations.clone());
    pods.on_change(move |change| {
        let pod = change.object();
        if let Some(old) = change.old().filter(|old| controller_of(&***old) != controller_of(&**pod))
            && let Some(key) = owner_key::<K>(old)
        {
            to.add(key);
        }
        match owner_key::<K>(pod) {
            Some(key) => {
                match change {
                    Change::Added(_) if !is_terminating(pod) => expectations.created(&key),
                    Change::Updated { .. } if !is_terminating(pod) => {}
                    _ => expectations.deleted(&key, pod.metadata.uid.as_deref().unwrap_or_default()),
                }
                to.add(key);
            }
            None if controller_of(&**pod).is_none() && !change.is_delete() => {
                let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
                let adopters = sets.list_in(namespace).into_iter().filter(|s| s.selects(pod.labels()));
                adopters.for_each(|s| to.add(ObjectKey::of(&*s)));
            }
            None => {}
        }
    });
}

fn owner_key<K: Replicated>(pod: &Pod) -> Option<ObjectKey> {
    let name = controller_name::<K, _>(pod)?;
    Some(ObjectKey::new(pod.metadata.namespace.as_deref().unwrap_or_default(), name))
}

impl<K: Replicated> ReplicaSets<K> {
    async fn sync(&self, key: ObjectKey) -> Result<Action> {
        let Some(set) = self.sets.get_key(&key) else {
            self.expectations.forget(&key);
            return Ok(Action::Done);
        };
        let satisfied = self.expectations.satisfied(&key);
        let claimed =
            owner::claim(&self.context.client, &*set, &self.pods, |labels| set.selects(labels), is_active).await?;
        let (active, rest): (Vec<_>, Vec<_>) = claimed.into_iter().partition(is_active);
        let terminating = rest.iter().filter(|p| is_terminating(p) && !crate::pod::is_terminal(p)).count();
        let mut failure = None;
        if satisfied && set.meta().deletion_timestamp.is_none() {
            failure = self.reach(&key, &set, &active).await.err();
        }
        let now = self.context.clock.now();
        let status = status_of(&*set, &active, terminating, failure.as_ref(), Time(now));
        self.write_status(&set, status).await?;
        if let Some(error) = failure {
            return Err(error);
        }
        let next = next_available(active.iter().map(|p| &**p), set.min_ready_seconds(), now);
        let patience = (!satisfied).then_some(expectations::TIMEOUT + Duration::from_secs(1));
        Ok(Action::after(next.into_iter().chain(patience).min()))
    }

    async fn reach(&self, key: &ObjectKey, set: &K, active: &[Arc<Pod>]) -> Result<()> {
        let wanted = usize::try_from(set.replicas()).unwrap_or(0);
        if active.len() < wanted {
            self.create(key, set, (wanted - active.len()).min(BURST)).await
        } else if active.len() > wanted {
            self.delete(key, set, active, (active.len() - wanted).min(BURST)).await
        } else {
            Ok(())
        }
    }

    async fn create(&self, key: &ObjectKey, set: &K, count: usize) -> Result<()> {
        let template = set.template().ok_or_else(|| Error::Invalid(format!("{key} has no pod template")))?;
        let pod = pod_from_template(template, set);
        let _asking = self.expectations.expect(key, count, []);
        let (created, failure) =
            slow_start(count, |_| async { self.context.create_pod(set, &pod).await.map(|_| ()) }).await;
        (created..count).for_each(|_| self.expectations.created(key));
        match failure {
            Some(Error::Api(error)) if is_namespace_terminating(&error) => Ok(()),
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    async fn delete(&self, key: &ObjectKey, set: &K, active: &[Arc<Pod>], count: usize) -> Result<()> {
        let now = self.context.clock.now();
        let victims = choose_victims(active, &self.related(set), count, now);
        if victims.len() < active.len() {
            let figures = self.context.figures::<Various>();
            age_ratios(active, &victims, now).for_each(|ratio| figures.age_ratio.with([], |all| all.observe(ratio)));
        }
        let _asking = self.expectations.expect(key, 0, victims.iter().filter_map(|p| p.metadata.uid.clone()));
        let outcomes = join_all(victims.iter().map(|pod| async {
            let outcome = self.context.delete_pod(set, &pod.name_any()).await;
            if !matches!(outcome, Ok(true)) {
                self.expectations.deleted(key, pod.metadata.uid.as_deref().unwrap_or_default());
            }
            outcome
        }))
        .await;
        outcomes.into_iter().find_map(Result::err).map_or(Ok(()), Err)
    }

    /// The pods of every set that has the same controller as `set`, and of `set` itself.
    fn related(&self, set: &K) -> Vec<Arc<Pod>> {
        let siblings = match controller_of(set) {
            Some(parent) => self.sets.indexed(BY_CONTROLLER, &parent.uid),
            None => Vec::new(),
        };
        let uids = siblings.iter().filter_map(|s| s.uid()).chain(set.uid());
        let uids: std::collections::BTreeSet<String> = uids.collect();
        uids.iter().flat_map(|uid| self.pods.indexed(BY_CONTROLLER, uid)).collect()
    }

    async fn write_status(&self, set: &K, status: ReplicaSetStatus) -> Result<()> {
        let old = set.status();
        let mut status = status;
        status.observed_generation = set.meta().generation;
        if old == status {
            return Ok(());
        }
        let api = self.context.api::<K>(&set.namespace().unwrap_or_default());
        let write = set.with_status(status.clone());
        match api.replace_status(&set.name_any(), &PostParams::default(), &write).await {
            Err(error) if is_conflict(&error) => {
                let fresh = api.get(&set.name_any()).await?.with_status(status);
                api.replace_status(&set.name_any(), &PostParams::default(), &fresh).await?;
                Ok(())
            }
            Err(error) if is_not_found(&error) => Ok(()),
            other => Ok(other.map(|_| ())?),
        }
    }
}

fn choose_victims(active: &[Arc<Pod>], related: &[Arc<Pod>], count: usize, now: jiff::Timestamp) -> Vec<Arc<Pod>> {
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    for pod in related.iter().filter(is_active) {
        *on_node.entry(node_name(pod)).or_default() += 1;
    }
    let rank = |pod: &Pod| on_node.get(node_name(pod)).copied().unwrap_or(0);
    let mut victims = active.to_vec();
    if count < victims.len() {
        victims.sort_by_cached_key(|pod| Worth::to_set(pod, rank(pod), now));
    }
    victims.truncate(count);
    victims
}

/// How old each ready victim is by the age of the youngest ready pod, as a whole number
/// (`reportSortingDeletionAgeRatioMetric`).
fn age_ratios(active: &[Arc<Pod>], victims: &[Arc<Pod>], now: jiff::Timestamp) -> impl Iterator<Item = f64> {
    let age = move |pod: &Arc<Pod>| {
        let created = pod.metadata.creation_timestamp.as_ref().filter(|_| is_ready(pod))?;
        Some(now.duration_since(created.0).as_millis())
    };
    let youngest = active.iter().filter_map(age).min().unwrap_or(0);
    let ratios = victims.iter().filter_map(age).filter_map(move |age| age.checked_div(youngest));
    ratios.map(|ratio| ratio as f64).collect::<Vec<_>>().into_iter()
}

fn status_of<K: Replicated>(
    set: &K,
    active: &[Arc<Pod>],
    terminating: usize,
    failure: Option<&Error>,
    now: Time,
) -> ReplicaSetStatus {
    let old = set.status();
    let template_labels = set.template().and_then(|t| t.metadata.as_ref()?.labels.clone()).unwrap_or_default();
    let count =
        |wanted: &dyn Fn(&Pod) -> bool| Some(active.iter().filter(|p| wanted(p)).count() as i32).filter(|n| *n > 0);
    let mut conditions = old.conditions.unwrap_or_default();
    let failed = conditions.iter().any(|c| c.type_ == "ReplicaFailure");
    match failure {
        None => conditions.retain(|c| c.type_ != "ReplicaFailure"),
        Some(error) if !failed => {
            let short = active.len() < usize::try_from(set.replicas()).unwrap_or(0);
            conditions.push(ReplicaSetCondition {
                type_: "ReplicaFailure".into(),
                status: "True".into(),
                reason: Some(if short { "FailedCreate" } else { "FailedDelete" }.into()),
                message: Some(error.status().map_or_else(|| error.to_string(), |s| s.message.clone())),
                last_transition_time: Some(now.clone()),
            });
        }
        Some(_) => {}
    }
    // Only ReplicaSets count the pods that are still ending.
    let counts_terminating = K::NAME == "replicaset";
    ReplicaSetStatus {
        replicas: active.len() as i32,
        fully_labeled_replicas: count(&|p| selector::contains(p.labels(), &template_labels)),
        ready_replicas: count(&is_ready),
        available_replicas: count(&|p| is_available(p, set.min_ready_seconds(), now.0)),
        terminating_replicas: counts_terminating.then_some(terminating as i32),
        observed_generation: old.observed_generation,
        conditions: Some(conditions).filter(|c| !c.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, node: &str, phase: &str, ready: bool, cost: &str) -> Arc<Pod> {
        let ready = if ready { "True" } else { "False" };
        let pod = serde_json::json!({
            "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"controller.kubernetes.io/pod-deletion-cost": cost}},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": phase, "conditions": [
                {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:10Z"}]},
        });
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    }

    #[test]
    fn the_least_useful_pods_go_first() {
        let pods = [
            pod("ready", "n1", "Running", true, "0"),
            pod("cheap", "n1", "Running", true, "-5"),
            pod("unready", "n1", "Running", false, "0"),
            pod("pending", "n1", "Pending", false, "0"),
            pod("unassigned", "", "Pending", false, "0"),
        ];
        let now: jiff::Timestamp = "2026-01-01T01:00:00Z".parse().expect("a time");
        let names: Vec<_> = choose_victims(&pods, &pods, 4, now).iter().map(|p| p.name_any()).collect();
        assert_eq!(names, ["unassigned", "pending", "unready", "cheap"]);
    }

    #[test]
    fn crowded_nodes_lose_a_pod_first() {
        let pods = [
            pod("a", "n1", "Running", true, "0"),
            pod("b", "n2", "Running", true, "0"),
            pod("c", "n2", "Running", true, "0"),
        ];
        let now: jiff::Timestamp = "2026-01-01T01:00:00Z".parse().expect("a time");
        let names: Vec<_> = choose_victims(&pods, &pods, 1, now).iter().map(|p| node_name(p).to_owned()).collect();
        assert_eq!(names, ["n2"]);
    }
}
