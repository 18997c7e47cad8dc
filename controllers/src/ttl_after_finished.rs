//! Jobs that say so are deleted some time after their end.

use std::time::Duration;

use api::conditions::job_end;
use client::{Action, ObjectKey};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use kube::api::{DeleteParams, Preconditions};

use crate::context::Context;
use crate::error::{Error, ignore_not_found, is_conflict};
use crate::figures::Various;

/// Keys worked on at a time.
const WORKERS: usize = 5;

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let jobs = context.informers.of::<Job>();
    let to = queue.clone();
    jobs.on_change(move |change| {
        if !change.is_delete() && ttl(change.object()).is_some() {
            to.add(ObjectKey::of(&**change.object()));
        }
    });
    jobs.wait_synced().await;
    let of = context.clone();
    context
        .run("ttl-after-finished", queue, WORKERS, move |key| {
            let (context, job) = (of.clone(), jobs.get_key(&key));
            async move {
                let Some(job) = job.filter(|j| j.metadata.deletion_timestamp.is_none()) else {
                    return Ok::<_, Error>(Action::Done);
                };
                let Some(left) = left(&job, context.clock.now()) else { return Ok(Action::Done) };
                if !left.is_zero() {
                    return Ok(Action::RequeueAfter(left));
                }
                // The time to live may have been raised since; the version makes sure that it was not.
                let preconditions = Preconditions { uid: job.uid(), resource_version: job.resource_version() };
                let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::foreground() };
                match context.api::<Job>(&key.namespace).delete(&key.name, &params).await {
                    Err(error) if is_conflict(&error) => Ok(Action::Done),
                    other => {
                        ignore_not_found(other)?;
                        let late = overdue(&job, context.clock.now()).unwrap_or_default();
                        context.figures::<Various>().ttl.with([], |durations| durations.observe(late.as_secs_f64()));
                        Ok(Action::Done)
                    }
                }
            }
        })
        .await;
}

fn ttl(job: &Job) -> Option<Duration> {
    let seconds = job.spec.as_ref()?.ttl_seconds_after_finished?;
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// How long a job that has ended may still live.
fn left(job: &Job, now: jiff::Timestamp) -> Option<Duration> {
    Some(ttl(job)?.saturating_sub(since_end(job, now)?))
}

/// How long a job has lived longer than it might.
fn overdue(job: &Job, now: jiff::Timestamp) -> Option<Duration> {
    Some(since_end(job, now)?.saturating_sub(ttl(job)?))
}

fn since_end(job: &Job, now: jiff::Timestamp) -> Option<Duration> {
    let since = job_end(job.status.as_ref()?.conditions.iter().flatten())?.last_transition_time.as_ref()?.0;
    Some(Duration::try_from(now.duration_since(since)).unwrap_or_default())
}
