//! Jobs run pods until enough of them succeed.
//!
//! Each pod holds a finalizer until its end is in the job's status, so that no end is missed or counted twice: the uid
//! goes to `uncountedTerminatedPods`, then the finalizer goes, then the uid becomes a number.

mod ends;
mod failure_policy;
mod figures;
mod indexes;
mod per_index;
mod plan;
mod pods;
mod removal;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Action, Change, EventType, Informer, ObjectKey, WorkQueue};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, PostParams};
use parking_lot::Mutex;

use crate::context::Context;
use crate::error::{Error, Result, ignore_not_found, is_namespace_terminating, is_not_found, status};
use crate::expectations::Expectations;
use crate::figures::Jobs;
use crate::owner::{self, controller_name, controller_of};
use crate::pod::{is_ready, is_terminating};
use crate::pod_control::slow_start;
use crate::selector;
use crate::writes::{self, Writes};
use ends::Row;
use plan::Plan;

/// Jobs worked on at a time.
const WORKERS: usize = 5;
/// Pods that one sync creates or deletes at most (`MaxPodCreateDeletePerSync` in the reference).
const PODS_PER_SYNC_MAX: usize = 500;
/// What keeps a pod until its end is counted.
const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// The name of this controller in `managedBy`.
const MANAGER: &str = "kubernetes.io/job-controller";
/// The first pause before a failed pod is replaced, and the longest.
const BACKOFF_SECONDS_MIN: u64 = 10;
const BACKOFF_SECONDS_MAX: u64 = 600;

struct JobController {
    context: Context,
    jobs: Informer<Job>,
    pods: Informer<Pod>,
    expectations: Arc<Expectations>,
    writes: Writes,
    /// Pods that were let go, which the cache does not show yet.
    let_go: Writes,
    figures: Arc<Jobs>,
    /// Failures since the last success.
    failures: Mutex<HashMap<ObjectKey, Row>>,
}

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let jobs = context.informers.of::<Job>();
    let pods = context.informers.of::<Pod>();
    owner::add_indexes(&pods);
    let expectations = Arc::new(Expectations::new(context.clock.clone()));
    let to = queue.clone();
    jobs.on_change(move |change| to.add(ObjectKey::of(&**change.object())));
    let strays = context.queue();
    let figures = context.figures::<Jobs>();
    watch_pods(&pods, &jobs, &queue, &expectations);
    figures::count_ends(&pods, &figures);
    watch_strays(&pods, &jobs, &strays);
    jobs.wait_synced().await;
    pods.wait_synced().await;
    let controller = Arc::new(JobController {
        figures,
        writes: Writes::new(context.clock.clone()),
        let_go: Writes::new(context.clock.clone()),
        context: context.clone(),
        jobs,
        pods,
        expectations,
        failures: Mutex::default(),
    });
    let untracks = controller.clone();
    let strays = context.run("job-strays", strays, WORKERS, move |key| {
        let controller = untracks.clone();
        async move { controller.untrack_stray(key).await }
    });
    let jobs = context.run("job", queue, WORKERS, move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    });
    tokio::join!(jobs, strays);
}

fn watch_pods(
    pods: &Informer<Pod>,
    jobs: &Informer<Job>,
    queue: &WorkQueue<ObjectKey>,
    expectations: &Arc<Expectations>,
) {
    let (to, jobs, expectations) = (queue.clone(), jobs.clone(), expectations.clone());
    pods.on_change(move |change| {
        let pod = change.object();
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        if let Some(name) = controller_name::<Job, _>(&**pod) {
            let key = ObjectKey::new(namespace, name);
            match change {
                Change::Added(_) if !is_terminating(pod) => expectations.created(&key),
                Change::Updated { .. } if !is_terminating(pod) => {}
                _ => expectations.deleted(&key, pod.metadata.uid.as_deref().unwrap_or_default()),
            }
            to.add(key);
        } else if controller_of(&**pod).is_none() && !change.is_delete() {
            for job in jobs.list_in(namespace) {
                if selects(&job, pod.labels()) {
                    to.add(ObjectKey::of(&*job));
                }
            }
        }
    });
}

/// Follows the pods that no job counts, although they wait for it.
fn watch_strays(pods: &Informer<Pod>, jobs: &Informer<Job>, strays: &WorkQueue<ObjectKey>) {
    let (to, jobs) = (strays.clone(), jobs.clone());
    pods.on_change(move |change| {
        let pod = change.object();
        if !change.is_delete() && is_stray(pod, &jobs) {
            to.add(ObjectKey::of(&**pod));
        }
    });
}

/// Whether a pod waits to be counted by a job that is gone, or that was taken from it. One that a job is about to adopt
/// does not.
fn is_stray(pod: &Pod, jobs: &Informer<Job>) -> bool {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    pods::is_tracked(pod)
        && match controller_of(pod) {
            Some(reference) if !owner::refers_to::<Job>(reference) => false,
            Some(reference) => jobs
                .get_key(&ObjectKey::new(namespace, &reference.name))
                .is_none_or(|job| job.metadata.uid.as_ref() != Some(&reference.uid)),
            None => !jobs.list_in(namespace).iter().any(|job| {
                job.metadata.deletion_timestamp.is_none() && !plan::is_finished(job) && selects(job, pod.labels())
            }),
        }
}

fn selects(job: &Job, labels: &selector::Labels) -> bool {
    let wanted = job.spec.as_ref().and_then(|s| s.selector.as_ref());
    wanted.is_some_and(|s| !selector::is_empty(s) && selector::matches(s, labels))
}

/// The spec; every stored job has one.
fn spec(job: &Job) -> Result<&JobSpec> {
    job.spec.as_ref().ok_or_else(|| Error::Invalid("a job has no spec".into()))
}

impl JobController {
    async fn sync(&self, key: ObjectKey) -> Result<Action> {
        let Some(cached) = self.jobs.get_key(&key) else {
            self.expectations.forget(&key);
            self.failures.lock().remove(&key);
            self.writes.forget_all(&key);
            self.let_go.forget_all(&key);
            self.release_orphans(&key).await?;
            return Ok(Action::Done);
        };
        let current = |_: &str| Some(writes::revision(&*cached));
        // A pod that is not there any more has been let go for sure.
        let seen = |name: &str| Some(self.pods.get(&key.namespace, name).map_or(u64::MAX, |p| writes::revision(&*p)));
        if !self.writes.settled(&key, current) || !self.let_go.settled(&key, seen) {
            return Ok(Action::RequeueAfter(writes::TIMEOUT));
        }
        if spec(&cached)?.managed_by.as_deref().is_some_and(|m| m != MANAGER) {
            return Ok(Action::Done);
        }
        let job = &*cached;
        let (client, selects) = (&self.context.client, |labels: &_| selects(job, labels));
        let pods = owner::claim_held(client, job, &self.pods, selects, |_| true, Some(TRACKING)).await?;
        if plan::is_finished(job) {
            self.untrack(job, pods.iter().filter(|p| pods::is_tracked(p))).await?;
            return Ok(Action::Done);
        }
        let (started, mut did) = (self.context.clock.elapsed(), "reconciling");
        let synced = self.go_on(&key, job, &pods, &mut did).await;
        let took = self.context.clock.elapsed().saturating_sub(started);
        self.figures.synced(job, did, synced.is_ok(), took);
        synced
    }

    /// Works on a job that has not ended; says what it did.
    async fn go_on(&self, key: &ObjectKey, job: &Job, pods: &[Arc<Pod>], did: &mut &'static str) -> Result<Action> {
        let now = Time(self.context.clock.now());
        let settled = self.expectations.satisfied(key);
        let plan = plan::of(job, pods, settled, &now)?;
        let replaced_in = self.note_failures(key, &plan);
        if !plan.delete.is_empty() {
            *did = "pods_deleted";
        } else if settled {
            *did = if plan.create.is_empty() || replaced_in.is_some() { "tracking" } else { "pods_created" };
        }
        let reached = self.reach(key, job, &plan, replaced_in.is_none()).await;
        let status = reached.status(job, &plan);
        if job.status.as_ref() != Some(&status) {
            let written = Job { status: Some(status), ..job.clone() };
            let api = self.context.api::<Job>(&key.namespace);
            let written = api.replace_status(&key.name, &PostParams::default(), &written).await;
            let Some(written) = ignore_not_found(written)? else { return Ok(Action::Done) };
            self.writes.note(key, &written);
            self.figures.written(job, &written, &plan);
            plan.events.iter().for_each(|(type_, reason, said)| self.context.events.event(job, *type_, reason, said));
        }
        // Only now is every end in the status.
        self.untrack(job, plan.counted.iter()).await?;
        if let Some(error) = reached.failure {
            return Err(error);
        }
        Ok(Action::after(plan.look_again.into_iter().chain(replaced_in).min()))
    }

    /// Counts failures in a row. Returns how long the next pod has to wait for them.
    fn note_failures(&self, key: &ObjectKey, plan: &Plan) -> Option<Duration> {
        let mut failures = self.failures.lock();
        let row = ends::row(failures.remove(key), &plan.succeeded_at, &plan.failed_at)?;
        failures.insert(key.clone(), row);
        // Each index waits for itself where failures are counted by index.
        pause(row.count, row.last, self.context.clock.now()).filter(|_| plan.failures.is_none())
    }

    /// Creates and deletes pods.
    async fn reach(&self, key: &ObjectKey, job: &Job, plan: &Plan, may_create: bool) -> Reached {
        if !plan.delete.is_empty() {
            return self.delete(key, job, plan).await;
        }
        if plan.create.is_empty() || !may_create {
            return Reached::default();
        }
        let wanted: Vec<Option<i32>> = plan.create.iter().copied().take(PODS_PER_SYNC_MAX).collect();
        let _asking = self.expectations.expect(key, wanted.len(), []);
        let (created, failure) = slow_start(wanted.len(), |i| {
            let index = wanted[i];
            let failures = plan.failures.as_ref().zip(index).and_then(|(of, index)| of.get(&index)).copied();
            async move {
                let pod = pods::new_pod(job, index, failures)?;
                let created = self.context.create_pod(job, &pod).await.map(|_| ());
                self.figures.created(job, plan, created.is_ok());
                created
            }
        })
        .await;
        (created..wanted.len()).for_each(|_| self.expectations.created(key));
        let failure = failure.filter(|error| !matches!(error, Error::Api(error) if is_namespace_terminating(error)));
        Reached { created, failure, ..Reached::default() }
    }

    /// Deletes pods. Those that run for nothing are let go first, so that nobody takes their end for a failure
    /// (`deleteJobPods` in the reference); the pods of a job that ends are not (`deleteActivePods`).
    async fn delete(&self, key: &ObjectKey, job: &Job, plan: &Plan) -> Reached {
        let victims: Vec<_> = plan.delete.iter().take(PODS_PER_SYNC_MAX).collect();
        let uids = || victims.iter().filter_map(|p| p.metadata.uid.clone());
        let _asking = plan.lets_go.then(|| self.expectations.expect(key, 0, uids()));
        let outcomes = join_all(victims.iter().map(|pod| async {
            let let_go = if plan.lets_go { self.let_go(key, pod).await } else { Ok(()) };
            let outcome = match let_go {
                Ok(()) => self.context.delete_pod(job, &pod.name_any()).await,
                Err(error) => Err(error),
            };
            if !matches!(outcome, Ok(true)) {
                self.expectations.deleted(key, pod.metadata.uid.as_deref().unwrap_or_default());
            }
            outcome
        }))
        .await;
        let mut reached = Reached::default();
        for (pod, outcome) in victims.iter().zip(outcomes) {
            match outcome {
                Ok(_) => {
                    reached.deleted += 1;
                    reached.deleted_ready += i32::from(is_ready(pod));
                }
                Err(error) => reached.failure = Some(error),
            }
        }
        reached
    }

    /// Takes the finalizer off pods.
    async fn untrack<'a>(&self, job: &Job, pods: impl Iterator<Item = &'a Arc<Pod>>) -> Result<()> {
        let key = ObjectKey::of(job);
        let outcomes = join_all(pods.map(|pod| self.let_go(&key, pod))).await;
        outcomes.into_iter().find_map(Result::err).map_or(Ok(()), Err)
    }

    /// Takes the finalizer off a pod of the job with this key, which waits until the cache shows it.
    async fn let_go(&self, key: &ObjectKey, pod: &Pod) -> Result<()> {
        if let Some(free) = self.untrack_one(&key.namespace, pod).await? {
            self.let_go.note(key, &free);
        }
        Ok(())
    }

    /// Takes the finalizer off a pod, if it is there and has it.
    async fn untrack_one(&self, namespace: &str, pod: &Pod) -> Result<Option<Pod>> {
        if !pods::is_tracked(pod) {
            return Ok(None);
        }
        let patch = serde_json::json!({
            "metadata": { "uid": pod.uid(), "$deleteFromPrimitiveList/finalizers": [TRACKING] },
        });
        let api = self.context.api::<Pod>(namespace);
        match api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(patch)).await {
            Err(error) if is_not_found(&error) || status(&error).is_some_and(|s| s.code == 422) => Ok(None),
            other => Ok(Some(other?)),
        }
    }

    /// A job that is gone counts nothing any more.
    async fn release_orphans(&self, key: &ObjectKey) -> Result<()> {
        for pod in self.pods.list_in(&key.namespace) {
            if is_stray(&pod, &self.jobs) {
                self.untrack_one(&key.namespace, &pod).await?;
            }
        }
        Ok(())
    }

    async fn untrack_stray(&self, key: ObjectKey) -> Result<Action> {
        if let Some(pod) = self.pods.get_key(&key).filter(|pod| is_stray(pod, &self.jobs)) {
            self.untrack_one(&key.namespace, &pod).await?;
        }
        Ok(Action::Done)
    }
}

/// What became of a plan.
#[derive(Default)]
struct Reached {
    created: usize,
    deleted: i32,
    deleted_ready: i32,
    failure: Option<Error>,
}

impl Reached {
    /// The planned status with the pods that there are now.
    fn status(&self, job: &Job, plan: &Plan) -> JobStatus {
        let mut status = plan.status.clone();
        let active = status.active.unwrap_or(0) + i32::try_from(self.created).unwrap_or(0) - self.deleted;
        status.active = Some(active).filter(|n| *n != 0);
        status.ready = status.ready.map(|ready| ready - self.deleted_ready);
        status.terminating = status.terminating.map(|terminating| terminating + self.deleted);
        let known = job.status.as_ref().is_some_and(|s| plan::has(s, "SuccessCriteriaMet"));
        if plan.lets_go && active > 0 && !known {
            // It was to be complete without the pods that are still there.
            status.conditions.iter_mut().for_each(|all| all.retain(|c| c.type_ != "SuccessCriteriaMet"));
        }
        status
    }
}

/// How long it still is until a pod is made in place of the last that failed.
fn pause(failures: u32, last: Timestamp, now: Timestamp) -> Option<Duration> {
    let seconds = BACKOFF_SECONDS_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(BACKOFF_SECONDS_MAX);
    let passed = Duration::try_from(now.duration_since(last)).unwrap_or_default();
    Duration::from_secs(seconds).checked_sub(passed).filter(|left| !left.is_zero())
}

/// An event that a plan asks for.
type Said = (EventType, &'static str, String);
