//! Disruption budgets: how many of the pods they select may be evicted now.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use client::{Action, Informer, ObjectKey};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::api::PostParams;

use crate::context::Context;
use crate::error::{Result, ignore_not_found};
use crate::owner::{controller_name, controller_of};
use crate::percent::{Round, resolve};
use crate::pod::{is_ready, is_terminal, is_terminating};
use crate::selector::{self, Labels};

/// Keys worked on at a time.
const WORKERS: usize = 2;
/// How long an evicted pod may take to be deleted before it counts again (`DeletionTimeout` in the reference).
const DELETION_TIMEOUT: Duration = Duration::from_secs(120);

struct Budgets {
    context: Context,
    budgets: Informer<PodDisruptionBudget>,
    pods: Informer<Pod>,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    controllers: Informer<ReplicationController>,
    stateful: Informer<StatefulSet>,
}

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let informers = &context.informers;
    let controller = Arc::new(Budgets {
        context: context.clone(),
        budgets: informers.of(),
        pods: informers.of(),
        deployments: informers.of(),
        sets: informers.of(),
        controllers: informers.of(),
        stateful: informers.of(),
    });
    let to = queue.clone();
    controller.budgets.on_change(move |change| to.add(ObjectKey::of(&**change.object())));
    let (to, budgets) = (queue.clone(), controller.budgets.clone());
    controller.pods.on_change(move |change| {
        let pod = change.object();
        for budget in budgets.list_in(pod.metadata.namespace.as_deref().unwrap_or_default()) {
            if selects(&budget, pod.labels()) || change.old().is_some_and(|old| selects(&budget, old.labels())) {
                to.add(ObjectKey::of(&*budget));
            }
        }
    });
    watch_sizes(&controller, &queue);
    controller.budgets.wait_synced().await;
    controller.pods.wait_synced().await;
    controller.deployments.wait_synced().await;
    controller.sets.wait_synced().await;
    controller.controllers.wait_synced().await;
    controller.stateful.wait_synced().await;
    context
        .run("disruption", queue, WORKERS, move |key| {
            let controller = controller.clone();
            async move { controller.sync(key).await }
        })
        .await;
}

/// A change of size changes what a share is of.
fn watch_sizes(controller: &Budgets, queue: &client::WorkQueue<ObjectKey>) {
    fn add(budgets: &Informer<PodDisruptionBudget>, queue: &client::WorkQueue<ObjectKey>, namespace: Option<String>) {
        let budgets = budgets.list_in(&namespace.unwrap_or_default());
        budgets.iter().for_each(|b| queue.add(ObjectKey::of(&**b)));
    }
    let (to, of) = (queue.clone(), controller.budgets.clone());
    controller.deployments.on_change(move |change| {
        let size = |d: &Deployment| d.spec.as_ref().and_then(|s| s.replicas);
        if change.old().is_none_or(|old| size(old) != size(change.object())) {
            add(&of, &to, change.object().namespace());
        }
    });
    let (to, of) = (queue.clone(), controller.budgets.clone());
    controller.stateful.on_change(move |change| {
        let size = |s: &StatefulSet| s.spec.as_ref().and_then(|s| s.replicas);
        if change.old().is_none_or(|old| size(old) != size(change.object())) {
            add(&of, &to, change.object().namespace());
        }
    });
}

/// An empty selector selects every pod of the namespace, none selects nothing.
fn selects(budget: &PodDisruptionBudget, labels: &Labels) -> bool {
    let wanted = budget.spec.as_ref().and_then(|s| s.selector.as_ref());
    wanted.is_some_and(|s| selector::matches(s, labels))
}

impl Budgets {
    async fn sync(&self, key: ObjectKey) -> Result<Action> {
        let Some(budget) = self.budgets.get_key(&key) else { return Ok(Action::Done) };
        let pods = self.pods.list_matching(&key.namespace, |labels| selects(&budget, labels));
        let pods: Vec<Arc<Pod>> = pods.into_iter().filter(|p| !is_terminal(p)).collect();
        let now = Time(self.context.clock.now());
        let (disrupted, look_again) = still_disrupted(&budget, &pods, &now);
        let away = |p: &Pod| disrupted.contains_key(&p.name_any());
        let healthy = pods.iter().filter(|p| !is_terminating(p) && is_ready(p) && !away(p)).count() as i32;
        let (expected, desired) = self.expected(&budget, &pods);
        let status = status(&budget, (expected, healthy, desired), disrupted, &now);
        if budget.status.as_ref() != Some(&status) {
            let written = PodDisruptionBudget { status: Some(status), ..(*budget).clone() };
            let api = self.context.api::<PodDisruptionBudget>(&key.namespace);
            ignore_not_found(api.replace_status(&key.name, &PostParams::default(), &written).await)?;
        }
        Ok(Action::after(look_again))
    }

    /// How many pods there should be, and how many of them healthy.
    fn expected(&self, budget: &PodDisruptionBudget, pods: &[Arc<Pod>]) -> (i32, i32) {
        let Some(spec) = &budget.spec else { return (0, 0) };
        if let Some(max_unavailable) = &spec.max_unavailable {
            let expected = self.scale(pods);
            return (expected, (expected - resolve(Some(max_unavailable), expected, Round::Up)).max(0));
        }
        match &spec.min_available {
            Some(IntOrString::Int(number)) => (pods.len() as i32, *number),
            Some(share) => {
                let expected = self.scale(pods);
                (expected, resolve(Some(share), expected, Round::Up))
            }
            None => (0, 0),
        }
    }

    /// The sizes of everything that controls the pods, each counted once.
    fn scale(&self, pods: &[Arc<Pod>]) -> i32 {
        let mut sizes: HashMap<String, i32> = HashMap::new();
        for pod in pods {
            if let Some((uid, size)) = self.controller_of(pod) {
                sizes.insert(uid, size);
            }
        }
        sizes.values().sum()
    }

    fn controller_of(&self, pod: &Pod) -> Option<(String, i32)> {
        let namespace = pod.namespace().unwrap_or_default();
        let uid = controller_of(pod)?.uid.clone();
        if let Some(name) = controller_name::<ReplicaSet, _>(pod) {
            let set = self.sets.get(&namespace, name)?;
            if let Some(name) = controller_name::<Deployment, _>(&*set) {
                let deployment = self.deployments.get(&namespace, name)?;
                let size = deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
                return Some((deployment.uid()?, size));
            }
            return Some((uid, set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)));
        }
        if let Some(name) = controller_name::<StatefulSet, _>(pod) {
            let set = self.stateful.get(&namespace, name)?;
            return Some((uid, set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)));
        }
        let name = controller_name::<ReplicationController, _>(pod)?;
        let controller = self.controllers.get(&namespace, name)?;
        Some((uid, controller.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)))
    }
}

/// The evicted pods that are not deleted yet, and when the first of them counts again.
fn still_disrupted(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    now: &Time,
) -> (BTreeMap<String, Time>, Option<Duration>) {
    let noted = budget.status.as_ref().and_then(|s| s.disrupted_pods.clone()).unwrap_or_default();
    let mut left: BTreeMap<String, Time> = BTreeMap::new();
    let mut look_again: Option<Duration> = None;
    for pod in pods.iter().filter(|p| !is_terminating(p)) {
        let Some(at) = noted.get(&pod.name_any()) else { continue };
        let passed = Duration::try_from(now.0.duration_since(at.0)).unwrap_or_default();
        let wait = DELETION_TIMEOUT.saturating_sub(passed);
        if !wait.is_zero() {
            look_again = look_again.into_iter().chain([wait]).min();
            left.insert(pod.name_any(), at.clone());
        }
    }
    (left, look_again)
}

fn status(
    budget: &PodDisruptionBudget,
    (expected, healthy, desired): (i32, i32, i32),
    disrupted: BTreeMap<String, Time>,
    now: &Time,
) -> PodDisruptionBudgetStatus {
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    let mut conditions = budget.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    let (value, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let condition = Condition {
        type_: "DisruptionAllowed".into(),
        status: value.into(),
        reason: reason.into(),
        message: String::new(),
        observed_generation: budget.metadata.generation,
        last_transition_time: now.clone(),
    };
    match conditions.iter_mut().find(|c| c.type_ == condition.type_) {
        Some(c) => {
            let since = if c.status == value { c.last_transition_time.clone() } else { now.clone() };
            *c = Condition { last_transition_time: since, ..condition };
        }
        None => conditions.push(condition),
    }
    PodDisruptionBudgetStatus {
        expected_pods: Some(expected),
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        disruptions_allowed: Some(allowed),
        disrupted_pods: Some(disrupted).filter(|d| !d.is_empty()),
        observed_generation: budget.metadata.generation,
        conditions: Some(conditions),
    }
}
