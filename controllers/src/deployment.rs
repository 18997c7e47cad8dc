//! Deployments roll their pod template out through ReplicaSets.

mod revision;
mod rolling;
mod sets;
mod status;

use std::sync::Arc;

use client::{Action, EventType, Informer, ObjectKey};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};

use crate::context::Context;
use crate::error::{Error, Result, ignore_not_found};
use crate::owner::{self, BY_CONTROLLER, controller_name, controller_of};
use crate::{pod, selector};
use rolling::{Scale, replicas};

/// Keys worked on at a time.
const WORKERS: usize = 5;

struct Deployments {
    context: Context,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
}

/// The ReplicaSets of a deployment: the one of its template, if there is one, and the rest, oldest first.
struct Sets {
    new: Option<Arc<ReplicaSet>>,
    old: Vec<Arc<ReplicaSet>>,
}

impl Sets {
    fn all(&self) -> Vec<Arc<ReplicaSet>> {
        self.old.iter().chain(&self.new).cloned().collect()
    }
}

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let deployments = context.informers.of::<Deployment>();
    let sets = context.informers.of::<ReplicaSet>();
    let pods = context.informers.of::<Pod>();
    owner::add_indexes(&sets);
    owner::add_indexes(&pods);
    let to = queue.clone();
    deployments.on_change(move |change| to.add(ObjectKey::of(&**change.object())));
    watch_sets(&deployments, &sets, &queue);
    watch_pods(&deployments, &sets, &pods, &queue);
    deployments.wait_synced().await;
    sets.wait_synced().await;
    pods.wait_synced().await;
    let controller = Arc::new(Deployments { context: context.clone(), deployments, sets, pods });
    context
        .run("deployment", queue, WORKERS, move |key| {
            let controller = controller.clone();
            async move { controller.sync(key).await }
        })
        .await;
}

fn owner_key<K: kube::Resource>(object: &K) -> Option<ObjectKey> {
    let name = controller_name::<Deployment, K>(object)?;
    Some(ObjectKey::new(object.meta().namespace.as_deref().unwrap_or_default(), name))
}

fn watch_sets(deployments: &Informer<Deployment>, sets: &Informer<ReplicaSet>, queue: &client::WorkQueue<ObjectKey>) {
    let (to, deployments) = (queue.clone(), deployments.clone());
    sets.on_change(move |change| {
        let set = change.object();
        change.old().and_then(|old| owner_key(&**old)).into_iter().for_each(|key| to.add(key));
        match owner_key(&**set) {
            Some(key) => to.add(key),
            None if controller_of(&**set).is_none() && !change.is_delete() => {
                for d in deployments.list_in(set.metadata.namespace.as_deref().unwrap_or_default()) {
                    if spec(&d).is_ok_and(|s| selector::matches(&s.selector, set.labels())) {
                        to.add(ObjectKey::of(&*d));
                    }
                }
            }
            None => {}
        }
    });
}

/// A deployment that recreates waits for the last old pod to go; that is all it needs to hear of pods.
fn watch_pods(
    deployments: &Informer<Deployment>,
    sets: &Informer<ReplicaSet>,
    pods: &Informer<Pod>,
    queue: &client::WorkQueue<ObjectKey>,
) {
    let (to, deployments, sets) = (queue.clone(), deployments.clone(), sets.clone());
    pods.on_change(move |change| {
        let pod = change.object();
        if !change.is_delete() && !pod::is_terminal(pod) {
            return;
        }
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let set = controller_name::<ReplicaSet, _>(&**pod).and_then(|name| sets.get(namespace, name));
        let key = set.and_then(|s| owner_key(&*s));
        let deployment = key.as_ref().and_then(|key| deployments.get_key(key));
        if let (Some(key), Some(d)) = (key, deployment)
            && spec(&d).is_ok_and(recreates)
        {
            to.add(key);
        }
    });
}

/// The spec; every stored deployment has one.
fn spec(d: &Deployment) -> Result<&DeploymentSpec> {
    d.spec.as_ref().ok_or_else(|| Error::Invalid("a deployment has no spec".into()))
}

fn recreates(spec: &DeploymentSpec) -> bool {
    spec.strategy.as_ref().and_then(|s| s.type_.as_deref()) == Some("Recreate")
}

impl Deployments {
    async fn sync(&self, key: ObjectKey) -> Result<Action> {
        let Some(cached) = self.deployments.get_key(&key) else { return Ok(Action::Done) };
        let mut d = (*cached).clone();
        let now = Time(self.context.clock.now());
        if selector::is_empty(&spec(&d)?.selector) {
            let said = "This deployment is selecting all pods. A non-empty selector is required.";
            self.context.events.event(&d, EventType::Warning, "SelectingAll", said);
            return Ok(Action::Done);
        }
        let of = spec(&d)?.selector.clone();
        let owned =
            owner::claim(&self.context.client, &d, &self.sets, |labels| selector::matches(&of, labels), |_| true)
                .await?;
        let mut sets = sets::divide(&d, owned);
        let outcome = self.progress(&mut d, &mut sets, &now).await;
        // Conditions that tell why it failed are worth writing even then.
        let rolling_out = d.metadata.deletion_timestamp.is_none() && !spec(&d)?.paused.unwrap_or(false);
        let next = status::update(&mut d, &sets, rolling_out && matches!(outcome, Ok(true)), &now);
        if *cached != d {
            let api = self.context.api::<Deployment>(&key.namespace);
            ignore_not_found(api.replace_status(&key.name, &PostParams::default(), &d).await)?;
        }
        outcome?;
        Ok(Action::after(next))
    }

    /// Does one step. Says whether this is a rollout (and not a scaling or a pause), whose progress is reported.
    async fn progress(&self, d: &mut Deployment, sets: &mut Sets, now: &Time) -> Result<bool> {
        if d.metadata.deletion_timestamp.is_some() {
            return Ok(false);
        }
        status::note_pause(d, now);
        if self.sync_new_set(d, sets, now).await? {
            return Ok(true);
        }
        let paused = spec(d)?.paused.unwrap_or(false);
        if paused || rolling::is_scaling(d, &sets.all()) {
            self.apply(d, sets, rolling::scale(d, sets)?).await?;
            if paused {
                self.clean_up(d, sets).await?;
            }
            return Ok(false);
        }
        if recreates(spec(d)?) {
            self.recreate(d, sets, now).await?
        } else {
            self.roll(d, sets, now).await?
        }
        if status::is_complete(d, sets) {
            self.clean_up(d, sets).await?;
        }
        Ok(true)
    }

    async fn roll(&self, d: &mut Deployment, sets: &mut Sets, now: &Time) -> Result<()> {
        self.ensure_new_set(d, sets, now).await?;
        let up = rolling::grow_new(d, sets)?;
        if !up.is_empty() {
            return self.apply(d, sets, up).await;
        }
        let down = rolling::shrink_old(d, sets)?;
        self.apply(d, sets, down).await
    }

    async fn recreate(&self, d: &mut Deployment, sets: &mut Sets, now: &Time) -> Result<()> {
        let down: Vec<_> = sets
            .old
            .iter()
            .filter(|s| replicas(s) > 0)
            .map(|s| Scale { name: s.name_any(), to: 0, annotate: false })
            .collect();
        if !down.is_empty() {
            return self.apply(d, sets, down).await;
        }
        let running = |s: &Arc<ReplicaSet>| {
            let pods = self.pods.indexed(BY_CONTROLLER, s.metadata.uid.as_deref().unwrap_or_default());
            pods.iter().any(|p| !pod::is_terminal(p))
        };
        if sets.old.iter().any(running) {
            return Ok(());
        }
        self.ensure_new_set(d, sets, now).await?;
        self.apply(d, sets, rolling::grow_new(d, sets)?).await
    }

    async fn apply(&self, d: &Deployment, sets: &mut Sets, scales: Vec<Scale>) -> Result<()> {
        for scale in scales {
            let Some(slot) = sets.old.iter_mut().chain(&mut sets.new).find(|s| s.name_any() == scale.name) else {
                continue;
            };
            *slot = Arc::new(self.scale_set(d, slot, &scale).await?);
        }
        Ok(())
    }

    async fn scale_set(&self, d: &Deployment, set: &ReplicaSet, scale: &Scale) -> Result<ReplicaSet> {
        let (from, to) = (replicas(set), scale.to);
        let mut wanted = set.clone();
        let annotated = revision::set_replica_annotations(d, &mut wanted);
        if from == to && !(scale.annotate && annotated) {
            return Ok(set.clone());
        }
        if let Some(spec) = &mut wanted.spec {
            spec.replicas = Some(to);
        }
        let namespace = set.namespace().unwrap_or_default();
        let api = self.context.api::<ReplicaSet>(&namespace);
        let written = api.replace(&set.name_any(), &PostParams::default(), &wanted).await?;
        if from != to {
            let direction = if from < to { "up" } else { "down" };
            let said = format!("Scaled {direction} replica set {} from {from} to {to}", set.name_any());
            self.context.events.event(d, EventType::Normal, "ScalingReplicaSet", said);
        }
        Ok(written)
    }

    /// Deletes the oldest ReplicaSets beyond the history limit.
    async fn clean_up(&self, d: &Deployment, sets: &Sets) -> Result<()> {
        let limit = match spec(d)?.revision_history_limit {
            Some(limit) if limit < i32::MAX => usize::try_from(limit).unwrap_or(0),
            _ => return Ok(()),
        };
        let mut alive: Vec<_> = sets.old.iter().filter(|s| s.metadata.deletion_timestamp.is_none()).collect();
        alive.sort_by_key(|s| revision::of(&***s));
        let surplus = alive.len().saturating_sub(limit);
        for set in alive.into_iter().take(surplus) {
            let status = set.status.clone().unwrap_or_default();
            let behind = set.metadata.generation > status.observed_generation;
            if status.replicas != 0 || replicas(set) != 0 || behind {
                continue;
            }
            let api = self.context.api::<ReplicaSet>(&set.namespace().unwrap_or_default());
            ignore_not_found(api.delete(&set.name_any(), &DeleteParams::background()).await)?;
        }
        Ok(())
    }
}
