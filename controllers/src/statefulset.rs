//! StatefulSets: pods with a number, a name and claims that stay.

mod claims;
mod identity;
mod plan;

use std::sync::Arc;

use client::{Action, EventType, Informer, ObjectKey};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetSpec, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams, Preconditions};
use serde_json::Value;

use crate::context::Context;
use crate::error::{Error, Result, ignore_not_found, is_already_exists, message};
use crate::figures::Various;
use crate::owner::{self, controller_name, controller_of};
use crate::pod::{is_terminating, next_available};
use crate::{hash, history, selector};
use identity::{ordinal, revision_of};
use plan::{Revisions, Step};

/// Keys worked on at a time.
const WORKERS: usize = 5;
/// The label of a revision's hash.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";

struct StatefulSets {
    context: Context,
    sets: Informer<StatefulSet>,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
    revisions: Informer<ControllerRevision>,
}

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let sets = context.informers.of::<StatefulSet>();
    let pods = context.informers.of::<Pod>();
    let claims = context.informers.of::<PersistentVolumeClaim>();
    let revisions = context.informers.of::<ControllerRevision>();
    owner::add_indexes(&pods);
    owner::add_indexes(&revisions);
    let to = queue.clone();
    sets.on_change(move |change| to.add(ObjectKey::of(&**change.object())));
    watch_pods(&pods, &sets, &queue);
    sets.wait_synced().await;
    pods.wait_synced().await;
    claims.wait_synced().await;
    revisions.wait_synced().await;
    let controller = Arc::new(StatefulSets { context: context.clone(), sets, pods, claims, revisions });
    context
        .run("statefulset", queue, WORKERS, move |key| {
            let controller = controller.clone();
            async move { controller.sync(key).await }
        })
        .await;
}

fn watch_pods(pods: &Informer<Pod>, sets: &Informer<StatefulSet>, queue: &client::WorkQueue<ObjectKey>) {
    let (to, sets) = (queue.clone(), sets.clone());
    pods.on_change(move |change| {
        let pod = change.object();
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        for pod in [Some(pod), change.old()].into_iter().flatten() {
            if let Some(name) = controller_name::<StatefulSet, _>(&**pod) {
                to.add(ObjectKey::new(namespace, name));
            }
        }
        if controller_of(&**pod).is_none() && !change.is_delete() {
            for set in sets.list_in(namespace) {
                if spec(&set).is_ok_and(|s| selector::matches(&s.selector, pod.labels())) {
                    to.add(ObjectKey::of(&*set));
                }
            }
        }
    });
}

/// The spec; every stored set has one.
fn spec(set: &StatefulSet) -> Result<&StatefulSetSpec> {
    set.spec.as_ref().ok_or_else(|| Error::Invalid("a stateful set has no spec".into()))
}

impl StatefulSets {
    async fn sync(&self, key: ObjectKey) -> Result<Action> {
        let Some(set) = self.sets.get_key(&key) else { return Ok(Action::Done) };
        let spec = spec(&set)?;
        let client = &self.context.client;
        let owned = owner::claim(client, &*set, &self.revisions, |l| selector::matches(&spec.selector, l), |_| true);
        let owned = owned.await?;
        let is_member = |p: &Pod| ordinal(&set, p).is_some();
        let pods = owner::claim(client, &*set, &self.pods, |l| selector::matches(&spec.selector, l), is_member).await?;
        let mut collisions = set.status.as_ref().and_then(|s| s.collision_count).unwrap_or(0);
        let hash_of = |data: &Value, collisions| Ok(hash::of_revision(data, collisions));
        let update =
            history::current(&self.context, &*set, &spec.template, &owned, HASH_LABEL, &mut collisions, hash_of);
        let update = update.await?;
        let named = set.status.as_ref().and_then(|s| s.current_revision.clone()).unwrap_or_default();
        let current = owned.iter().find(|r| r.name_any() == named).unwrap_or(&update).clone();
        let revisions = Revisions { current: current.name_any(), update: update.name_any() };
        let now = self.context.clock.now();

        let mut outcome = Ok(());
        if set.metadata.deletion_timestamp.is_none() {
            outcome = self.step(&set, &pods, &current, &update, &revisions).await;
        }
        let mut status = plan::status(&set, &pods, &revisions, now);
        status.collision_count = Some(collisions);
        self.count_unavailable(&set, &status);
        self.write_status(&set, status).await?;
        let limit = spec.revision_history_limit.unwrap_or(10);
        let used = |r: &ControllerRevision| {
            let name = r.name_any();
            name == revisions.current || name == revisions.update || pods.iter().any(|p| revision_of(p) == name)
        };
        history::truncate(&self.context, &owned, limit, used).await?;
        outcome?;
        let members = pods.iter().map(|p| &**p);
        Ok(Action::after(next_available(members, spec.min_ready_seconds.unwrap_or(0), now)))
    }

    /// How many of the pods that there should be are not available (`UnavailableReplicas`).
    fn count_unavailable(&self, set: &StatefulSet, status: &StatefulSetStatus) {
        let policy = set.spec.as_ref().and_then(|s| s.pod_management_policy.as_deref()).unwrap_or("OrderedReady");
        let labels = [&*set.namespace().unwrap_or_default(), &*set.name_any(), policy];
        let missing = (plan::replicas(set) - status.available_replicas.unwrap_or(0)).max(0);
        self.context.figures::<Various>().unavailable.with(labels, |gauge| gauge.set(f64::from(missing)));
    }

    async fn step(
        &self,
        set: &StatefulSet,
        pods: &[Arc<Pod>],
        current: &ControllerRevision,
        update: &ControllerRevision,
        revisions: &Revisions,
    ) -> Result<()> {
        let mut failure = None;
        for step in plan::steps(set, pods, revisions, self.context.clock.now()) {
            let outcome = match step {
                Step::Create { ordinal, current: of_current } => {
                    let revision = if of_current { current } else { update };
                    self.create(set, ordinal, revision).await
                }
                Step::Delete(pod) => self.delete(set, &pod).await,
                Step::Keep { pod, condemned } => self.keep(set, &pod, condemned).await,
            };
            if let Err(error) = outcome {
                failure.get_or_insert(error);
                if plan::is_ordered(set) {
                    break;
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn create(&self, set: &StatefulSet, ordinal: i32, revision: &ControllerRevision) -> Result<()> {
        let template = history::template_of(revision)?;
        let pod = identity::new_pod(set, &template, ordinal, &revision.name_any())?;
        self.ensure_claims(set, &pod).await?;
        let (set_name, name) = (set.name_any(), pod.name_any());
        let api = self.context.api::<Pod>(&set.namespace().unwrap_or_default());
        match api.create(&PostParams::default(), &pod).await {
            Ok(_) => {
                let said = format!("Create Pod {name} in StatefulSet {set_name} successful");
                self.context.events.event(set, EventType::Normal, "SuccessfulCreate", said);
                Ok(())
            }
            // The cache is behind, or another owner's pod has the name, of whose end nobody tells: the key comes again.
            Err(error) if is_already_exists(&error) => Err(error.into()),
            Err(error) => {
                let said = format!("Create Pod {name} in StatefulSet {set_name} failed error: {}", message(&error));
                self.context.events.event(set, EventType::Warning, "FailedCreate", said);
                Err(error.into())
            }
        }
    }

    async fn delete(&self, set: &StatefulSet, pod: &Pod) -> Result<()> {
        if is_terminating(pod) {
            return Ok(());
        }
        let (set_name, name) = (set.name_any(), pod.name_any());
        let api = self.context.api::<Pod>(&set.namespace().unwrap_or_default());
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: pod.uid(), resource_version: None }),
            ..DeleteParams::default()
        };
        match ignore_not_found(api.delete(&name, &params).await) {
            Ok(_) => {
                let said = format!("Delete Pod {name} in StatefulSet {set_name} successful");
                self.context.events.event(set, EventType::Normal, "SuccessfulDelete", said);
                Ok(())
            }
            Err(error) => {
                let said = format!("Delete Pod {name} in StatefulSet {set_name} failed error: {}", message(&error));
                self.context.events.event(set, EventType::Warning, "FailedDelete", said);
                Err(error.into())
            }
        }
    }

    /// Sees to it that a pod that stays (or will be condemned) has its labels, its claims and their owners.
    async fn keep(&self, set: &StatefulSet, pod: &Pod, condemned: bool) -> Result<()> {
        if !condemned {
            self.ensure_claims(set, pod).await?;
            if let Some(fixed) = identity::fix(set, pod) {
                let api = self.context.api::<Pod>(&set.namespace().unwrap_or_default());
                ignore_not_found(api.replace(&pod.name_any(), &PostParams::default(), &fixed).await)?;
            }
        }
        self.own_claims(set, pod, condemned).await
    }

    async fn write_status(&self, set: &StatefulSet, status: StatefulSetStatus) -> Result<()> {
        if set.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let written = StatefulSet { status: Some(status), ..set.clone() };
        let api = self.context.api::<StatefulSet>(&set.namespace().unwrap_or_default());
        ignore_not_found(api.replace_status(&set.name_any(), &PostParams::default(), &written).await)?;
        Ok(())
    }
}
