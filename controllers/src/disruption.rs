//! Disruption budgets: how many of the pods they select may be evicted now.

mod stale;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use client::{Action, EventType, Informer, ObjectKey};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::api::PostParams;
use parking_lot::Mutex;

use crate::context::Context;
use crate::discovery::{self, Served};
use crate::error::{Error, Result, ignore_not_found};
use crate::owner::{controller_name, controller_of};
use crate::percent::{Round, resolve};
use crate::pod::{is_ready, is_terminating};
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
    /// The resources that were served when some was last looked for.
    kinds: Mutex<Vec<Served>>,
}

/// What a budget asks for.
#[derive(Default)]
struct Expected {
    pods: i32,
    healthy: i32,
    /// Whether a pod has no controller, so that it counts for nothing.
    unmanaged: bool,
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
        kinds: Mutex::default(),
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
    let stale = stale::run(&context, controller.pods.clone());
    let budgets = context.run("disruption", queue, WORKERS, move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    });
    tokio::join!(budgets, stale);
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
        let tell = |type_, reason: &str, said: String| self.context.events.event(&*budget, type_, reason, said);
        if pods.is_empty() {
            tell(EventType::Normal, "NoPods", "No matching pods found".into());
        }
        let now = Time(self.context.clock.now());
        let (disrupted, overdue, look_again) = still_disrupted(&budget, &pods, &now);
        for pod in overdue {
            let said = format!("Pod was expected by PDB {key} to be deleted but it wasn't");
            self.context.events.event(&*pod, EventType::Warning, "NotDeleted", said);
        }
        let away = |p: &Pod| disrupted.contains_key(&p.name_any());
        let healthy = pods.iter().filter(|p| !is_terminating(p) && is_ready(p) && !away(p)).count() as i32;
        let status = match self.expected(&budget, &pods).await {
            Ok(expected) => {
                if expected.unmanaged {
                    tell(EventType::Warning, "UnmanagedPods", unmanaged(&budget));
                }
                status(&budget, (expected.pods, healthy, expected.healthy), disrupted, &now)
            }
            Err(error @ Error::Invalid(_)) => {
                let said = format!("Failed to calculate the number of expected pods: {error}");
                tell(EventType::Warning, "CalculateExpectedPodCountFailed", said);
                failed(&budget, &error.to_string(), &now)
            }
            Err(error) => return Err(error),
        };
        if budget.status.as_ref() != Some(&status) {
            let written = PodDisruptionBudget { status: Some(status), ..(*budget).clone() };
            let api = self.context.api::<PodDisruptionBudget>(&key.namespace);
            ignore_not_found(api.replace_status(&key.name, &PostParams::default(), &written).await)?;
        }
        Ok(Action::after(look_again))
    }

    /// How many pods there should be, and how many of them healthy (`getExpectedPodCount`).
    async fn expected(&self, budget: &PodDisruptionBudget, pods: &[Arc<Pod>]) -> Result<Expected> {
        let Some(spec) = &budget.spec else { return Ok(Expected::default()) };
        if let Some(max_unavailable) = &spec.max_unavailable {
            let scale = self.scale(pods).await?;
            let healthy = (scale.pods - resolve(Some(max_unavailable), scale.pods, Round::Up)).max(0);
            return Ok(Expected { healthy, ..scale });
        }
        match &spec.min_available {
            Some(IntOrString::Int(healthy)) => {
                Ok(Expected { pods: pods.len() as i32, healthy: *healthy, unmanaged: false })
            }
            Some(share) => {
                let scale = self.scale(pods).await?;
                Ok(Expected { healthy: resolve(Some(share), scale.pods, Round::Up), ..scale })
            }
            None => Ok(Expected::default()),
        }
    }

    /// The sizes of everything that controls the pods, each counted once (`getExpectedScale`).
    async fn scale(&self, pods: &[Arc<Pod>]) -> Result<Expected> {
        let mut sizes: HashMap<String, i32> = HashMap::new();
        let mut unmanaged = false;
        let mut seen: HashSet<&str> = HashSet::new();
        for pod in pods {
            let Some(reference) = controller_of(&**pod) else {
                unmanaged = true;
                continue;
            };
            if !seen.insert(&reference.uid) {
                continue;
            }
            let found = match self.controller_of(pod) {
                Some(found) => Some(found),
                None => self.scale_of(reference, &pod.namespace().unwrap_or_default()).await?,
            };
            let (uid, size) =
                found.ok_or_else(|| Error::Invalid(format!("found no controllers for pod {:?}", pod.name_any())))?;
            sizes.insert(uid, size);
        }
        Ok(Expected { pods: sizes.values().sum(), healthy: 0, unmanaged })
    }

    /// What the `scale` of a controller of any kind says (`getScaleController`).
    async fn scale_of(&self, reference: &OwnerReference, namespace: &str) -> Result<Option<(String, i32)>> {
        let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
        let served = self.served(group, &reference.kind).await?;
        let Some(served) = served.filter(|s| s.is_namespaced()) else {
            let (kind, version) = (&reference.kind, &reference.api_version);
            return Err(Error::Invalid(format!("no matches for kind \"{kind}\" in version \"{version}\"")));
        };
        let scale = served.api(&self.context.client, namespace).get_scale(&reference.name).await;
        match ignore_not_found(scale)? {
            Some(scale) if scale.metadata.uid.as_ref() == Some(&reference.uid) => {
                Ok(Some((reference.uid.clone(), scale.spec.and_then(|s| s.replicas).unwrap_or(0))))
            }
            Some(_) => Ok(None),
            None if served.scales => Ok(None),
            None => {
                let resource = [&*served.resource.plural, group].join(".").trim_end_matches('.').to_owned();
                Err(Error::Invalid(format!("{resource} does not implement the scale subresource")))
            }
        }
    }

    /// The resource of a kind. All are asked for again only if it is not known.
    async fn served(&self, group: &str, kind: &str) -> Result<Option<Served>> {
        let is = |s: &&Served| s.resource.group == group && s.resource.kind == kind;
        if let Some(known) = self.kinds.lock().iter().find(is) {
            return Ok(Some(known.clone()));
        }
        let all = discovery::all(&self.context.client).await?;
        let found = all.iter().find(is).cloned();
        *self.kinds.lock() = all;
        Ok(found)
    }

    fn controller_of(&self, pod: &Pod) -> Option<(String, i32)> {
        let namespace = pod.namespace().unwrap_or_default();
        let uid = controller_of(pod)?.uid.clone();
        if let Some(name) = controller_name::<ReplicaSet, _>(pod) {
            let set = self.sets.get(&namespace, name).filter(|set| set.metadata.uid.as_ref() == Some(&uid))?;
            if let Some(name) = controller_name::<Deployment, _>(&*set) {
                let of = controller_of(&*set).map(|r| &r.uid);
                let deployment = self.deployments.get(&namespace, name).filter(|d| d.metadata.uid.as_ref() == of);
                if let Some(deployment) = deployment {
                    let size = deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
                    return Some((deployment.uid()?, size));
                }
            }
            return Some((uid, set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)));
        }
        if let Some(name) = controller_name::<StatefulSet, _>(pod) {
            let set = self.stateful.get(&namespace, name).filter(|set| set.metadata.uid.as_ref() == Some(&uid))?;
            return Some((uid, set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)));
        }
        let name = controller_name::<ReplicationController, _>(pod)?;
        let controller = self.controllers.get(&namespace, name);
        let controller = controller.filter(|c| c.metadata.uid.as_ref() == Some(&uid))?;
        Some((uid, controller.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)))
    }
}

/// The evicted pods that are not deleted yet, those that should be by now, and when the first of the others counts again.
fn still_disrupted(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    now: &Time,
) -> (BTreeMap<String, Time>, Vec<Arc<Pod>>, Option<Duration>) {
    let noted = budget.status.as_ref().and_then(|s| s.disrupted_pods.clone()).unwrap_or_default();
    let (mut left, mut overdue): (BTreeMap<String, Time>, _) = (BTreeMap::new(), Vec::new());
    let mut look_again: Option<Duration> = None;
    for pod in pods.iter().filter(|p| !is_terminating(p)) {
        let Some(at) = noted.get(&pod.name_any()) else { continue };
        let passed = Duration::try_from(now.0.duration_since(at.0)).unwrap_or_default();
        let wait = DELETION_TIMEOUT.saturating_sub(passed);
        if wait.is_zero() {
            overdue.push(pod.clone());
        } else {
            look_again = look_again.into_iter().chain([wait]).min();
            left.insert(pod.name_any(), at.clone());
        }
    }
    (left, overdue, look_again)
}

/// What is said of pods that nobody controls.
fn unmanaged(budget: &PodDisruptionBudget) -> String {
    let selector = budget.spec.as_ref().and_then(|s| s.selector.as_ref()).map(selector::shown).unwrap_or_default();
    format!(
        "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the status \
         of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please \
         set \".spec.minAvailable\" field of the PDB to an integer value."
    )
}

/// The status of a budget that could not be calculated: nothing may be disrupted (`failSafe`).
fn failed(budget: &PodDisruptionBudget, why: &str, now: &Time) -> PodDisruptionBudgetStatus {
    let mut status = budget.status.clone().unwrap_or_default();
    status.disruptions_allowed = Some(0);
    let generation = status.observed_generation;
    set_allowed(status.conditions.get_or_insert_default(), ("False", "SyncFailed", why), generation, now);
    status
}

/// Sets the condition that tells whether something may be disrupted.
fn set_allowed(
    conditions: &mut Vec<Condition>,
    (value, reason, message): (&str, &str, &str),
    generation: Option<i64>,
    now: &Time,
) {
    let condition = Condition {
        type_: "DisruptionAllowed".into(),
        status: value.into(),
        reason: reason.into(),
        message: message.into(),
        observed_generation: generation,
        last_transition_time: now.clone(),
    };
    match conditions.iter_mut().find(|c| c.type_ == condition.type_) {
        Some(c) => {
            let since = if c.status == value { c.last_transition_time.clone() } else { now.clone() };
            *c = Condition { last_transition_time: since, ..condition };
        }
        None => conditions.push(condition),
    }
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
    set_allowed(&mut conditions, (value, reason, ""), budget.metadata.generation, now);
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
