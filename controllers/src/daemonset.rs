//! DaemonSets: one pod on every node that suits.

mod plan;
mod pods;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Action, Change, EventType, Informer, ObjectKey, WorkQueue};
use futures::future::join_all;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetSpec};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::PostParams;
use parking_lot::Mutex;
use serde_json::Value;

use crate::context::Context;
use crate::error::{Error, Result, ignore_not_found, is_namespace_terminating};
use crate::expectations::Expectations;
use crate::owner::{self, controller_name, controller_of};
use crate::pod::{is_terminating, next_available};
use crate::pod_control::slow_start;
use crate::{hash, history, selector};

/// Keys worked on at a time.
const WORKERS: usize = 2;
/// Pods that one sync creates or deletes at most (`BurstReplicas` in the reference).
const BURST: usize = 250;
/// The label of the revision of pods and of revisions themselves.
const HASH_LABEL: &str = "controller-revision-hash";
/// The first pause before a failed pod is deleted again, and the longest.
const BACKOFF_SECONDS_MIN: u64 = 1;
const BACKOFF_SECONDS_MAX: u64 = 900;

struct DaemonSets {
    context: Context,
    sets: Informer<DaemonSet>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    revisions: Informer<ControllerRevision>,
    expectations: Arc<Expectations>,
    /// How often a set's pod on a node failed, and when that was last.
    failures: Mutex<HashMap<(ObjectKey, String), (u32, Duration)>>,
}

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let sets = context.informers.of::<DaemonSet>();
    let pods = context.informers.of::<Pod>();
    let nodes = context.informers.of::<Node>();
    let revisions = context.informers.of::<ControllerRevision>();
    owner::add_indexes(&pods);
    owner::add_indexes(&revisions);
    let expectations = Arc::new(Expectations::new(context.clock.clone()));
    let to = queue.clone();
    sets.on_change(move |change| to.add(ObjectKey::of(&**change.object())));
    watch_pods(&pods, &sets, &queue, &expectations);
    watch_nodes(&nodes, &sets, &queue);
    sets.wait_synced().await;
    pods.wait_synced().await;
    nodes.wait_synced().await;
    revisions.wait_synced().await;
    let failures = Mutex::default();
    let controller =
        Arc::new(DaemonSets { context: context.clone(), sets, pods, nodes, revisions, expectations, failures });
    context
        .run("daemonset", queue, WORKERS, move |key| {
            let controller = controller.clone();
            async move { controller.sync(key).await }
        })
        .await;
}

fn watch_pods(
    pods: &Informer<Pod>,
    sets: &Informer<DaemonSet>,
    queue: &WorkQueue<ObjectKey>,
    expectations: &Arc<Expectations>,
) {
    let (to, sets, expectations) = (queue.clone(), sets.clone(), expectations.clone());
    pods.on_change(move |change| {
        let pod = change.object();
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        if let Some(name) = controller_name::<DaemonSet, _>(&**pod) {
            let key = ObjectKey::new(namespace, name);
            match change {
                Change::Added(_) if !is_terminating(pod) => expectations.created(&key),
                Change::Updated { .. } if !is_terminating(pod) => {}
                _ => expectations.deleted(&key, pod.metadata.uid.as_deref().unwrap_or_default()),
            }
            to.add(key);
        } else if controller_of(&**pod).is_none() && !change.is_delete() {
            for set in sets.list_in(namespace) {
                if spec(&set).is_ok_and(|s| selector::matches(&s.selector, pod.labels())) {
                    to.add(ObjectKey::of(&*set));
                }
            }
        }
    });
}

/// A node matters when what decides about pods on it changes; its heartbeats do not.
fn watch_nodes(nodes: &Informer<Node>, sets: &Informer<DaemonSet>, queue: &WorkQueue<ObjectKey>) {
    let (to, sets) = (queue.clone(), sets.clone());
    nodes.on_change(move |change| {
        let taints = |n: &Node| n.spec.as_ref().and_then(|s| s.taints.clone());
        let same = |old: &Node, new: &Node| old.metadata.labels == new.metadata.labels && taints(old) == taints(new);
        if change.old().is_none_or(|old| !same(old, change.object())) {
            sets.list().iter().for_each(|s| to.add(ObjectKey::of(&**s)));
        }
    });
}

/// The spec; every stored set has one.
fn spec(set: &DaemonSet) -> Result<&DaemonSetSpec> {
    set.spec.as_ref().ok_or_else(|| Error::Invalid("a daemon set has no spec".into()))
}

impl DaemonSets {
    async fn sync(&self, key: ObjectKey) -> Result<Action> {
        let Some(set) = self.sets.get_key(&key) else {
            self.expectations.forget(&key);
            self.failures.lock().retain(|(k, _), _| *k != key);
            return Ok(Action::Done);
        };
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(Action::Done);
        }
        let spec = spec(&set)?;
        if selector::is_empty(&spec.selector) {
            let said = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.context.events.event(&*set, EventType::Warning, "SelectingAll", said);
            return Ok(Action::Done);
        }
        let client = &self.context.client;
        let owned = owner::claim(client, &*set, &self.revisions, |l| selector::matches(&spec.selector, l), |_| true);
        let owned = owned.await?;
        let mut collisions = set.status.as_ref().and_then(|s| s.collision_count).unwrap_or(0);
        let hash_of = |_: &Value, n| hash::of_template(&spec.template, Some(n).filter(|n| *n != 0));
        let current =
            history::current(&self.context, &*set, &spec.template, &owned, HASH_LABEL, &mut collisions, hash_of);
        let current = current.await?;
        let hash = current.labels().get(HASH_LABEL).cloned().unwrap_or_default();
        let pods = owner::claim(client, &*set, &self.pods, |l| selector::matches(&spec.selector, l), |_| true).await?;
        let nodes = self.nodes.list();
        let now = self.context.clock.now();
        let by_node = plan::by_node(&pods);
        let mut failure = None;
        let mut look_again = None;
        if self.expectations.satisfied(&key) {
            let mut work = plan::manage(&set, &nodes, &by_node, &hash, now);
            look_again = self.hold_back(&key, &mut work.failed);
            work.delete.extend(work.failed.iter().cloned());
            if work.is_empty() {
                work = plan::update(&set, &nodes, &by_node, &hash, now);
            }
            failure = self.carry_out(&key, &set, work, &hash).await.err();
        }
        let mut status = plan::status(&set, &nodes, &by_node, &hash, now);
        status.collision_count = Some(collisions).filter(|c| *c != 0);
        if set.status.as_ref() != Some(&status) {
            let written = DaemonSet { status: Some(status), ..(*set).clone() };
            let api = self.context.api::<DaemonSet>(&key.namespace);
            ignore_not_found(api.replace_status(&key.name, &PostParams::default(), &written).await)?;
        }
        let limit = spec.revision_history_limit.unwrap_or(10);
        let live = |r: &ControllerRevision| {
            let of = r.labels().get(HASH_LABEL);
            of == Some(&hash) || pods.iter().any(|p| p.labels().get(HASH_LABEL) == of)
        };
        history::truncate(&self.context, &owned, limit, live).await?;
        if let Some(error) = failure {
            return Err(error);
        }
        let min_ready = spec.min_ready_seconds.unwrap_or(0);
        let ready_in = next_available(pods.iter().map(|p| &**p), min_ready, now);
        Ok(Action::after(ready_in.into_iter().chain(look_again).min()))
    }

    /// Leaves those failed pods alone whose back-off is not over. Returns when the first one is.
    fn hold_back(&self, key: &ObjectKey, failed: &mut Vec<Arc<Pod>>) -> Option<Duration> {
        let now = self.context.clock.elapsed();
        let mut failures = self.failures.lock();
        let mut shortest: Option<Duration> = None;
        failed.retain(|pod| {
            let slot = (key.clone(), crate::pod::node_name(pod).to_owned());
            let (count, last) = failures.get(&slot).copied().unwrap_or((0, Duration::ZERO));
            let pause = match count {
                0 => 0,
                n => BACKOFF_SECONDS_MIN.saturating_mul(1 << (n - 1).min(16)).min(BACKOFF_SECONDS_MAX),
            };
            let left = (last + Duration::from_secs(pause)).saturating_sub(now);
            if count > 0 && !left.is_zero() {
                shortest = shortest.into_iter().chain([left]).min();
                return false;
            }
            failures.insert(slot, (count + 1, now));
            true
        });
        shortest
    }

    async fn carry_out(&self, key: &ObjectKey, set: &DaemonSet, mut work: plan::Work, hash: &str) -> Result<()> {
        work.create.truncate(BURST);
        work.delete.truncate(BURST);
        if work.is_empty() {
            return Ok(());
        }
        let _asking =
            self.expectations.expect(key, work.create.len(), work.delete.iter().filter_map(|p| p.metadata.uid.clone()));
        let tell = |pod: &Pod, type_, how: &str, what: &str, reason: &str| {
            let (key, node) = (ObjectKey::of(pod), crate::pod::node_name(pod));
            let said = format!("Found {how} daemon pod {key} on node {node}, will try to {what} it");
            self.context.events.event(set, type_, reason, said);
        };
        work.failed.iter().for_each(|p| tell(p, EventType::Warning, "failed", "kill", "FailedDaemonPod"));
        work.succeeded.iter().for_each(|p| tell(p, EventType::Normal, "succeeded", "delete", "SucceededDaemonPod"));
        let deletions = join_all(work.delete.iter().map(|pod| async {
            let outcome = self.context.delete_pod(set, &pod.name_any()).await;
            if !matches!(outcome, Ok(true)) {
                self.expectations.deleted(key, pod.metadata.uid.as_deref().unwrap_or_default());
            }
            outcome
        }))
        .await;
        let (created, failure) = slow_start(work.create.len(), |i| {
            let node = &work.create[i];
            async move {
                let pod = pods::new_pod(set, node, hash)?;
                self.context.create_pod(set, &pod).await.map(|_| ())
            }
        })
        .await;
        (created..work.create.len()).for_each(|_| self.expectations.created(key));
        match failure {
            Some(Error::Api(error)) if is_namespace_terminating(&error) => {}
            Some(error) => return Err(error),
            None => {}
        }
        deletions.into_iter().find_map(Result::err).map_or(Ok(()), Err)
    }
}
