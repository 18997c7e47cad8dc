//! CronJobs make jobs at times.

use std::sync::Arc;
use std::time::Duration;

use api::conditions::job_end;
use api::cron::Schedule;
use client::{Action, EventType, Informer, ObjectKey};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{DeleteParams, PostParams};
use kube::{Resource, ResourceExt};

use crate::context::Context;
use crate::error::{Result, ignore_not_found, is_already_exists, is_namespace_terminating, message};
use crate::figures::Various;
use crate::owner::{self, BY_CONTROLLER, controller_name, controller_of, controller_reference};

/// Keys worked on at a time.
const WORKERS: usize = 5;
/// Missed times after which an event warns.
const MISSED_WARN: usize = 100;
/// How the reference's events write times.
const RFC1123Z: &str = "%a, %d %b %Y %H:%M:%S +0000";
/// When a job was due.
const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// The longest name that leaves room for the time.
const NAME_BYTES_MAX: usize = 52;

struct CronJobs {
    context: Context,
    cron_jobs: Informer<CronJob>,
    jobs: Informer<Job>,
}

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let cron_jobs = context.informers.of::<CronJob>();
    let jobs = context.informers.of::<Job>();
    owner::add_indexes(&jobs);
    let to = queue.clone();
    cron_jobs.on_change(move |change| to.add(ObjectKey::of(&**change.object())));
    let to = queue.clone();
    jobs.on_change(move |change| {
        let job = change.object();
        if let Some(name) = controller_name::<CronJob, _>(&**job) {
            to.add(ObjectKey::new(job.namespace().unwrap_or_default(), name));
        }
    });
    cron_jobs.wait_synced().await;
    jobs.wait_synced().await;
    let controller = Arc::new(CronJobs { context: context.clone(), cron_jobs, jobs });
    context
        .run("cronjob", queue, WORKERS, move |key| {
            let controller = controller.clone();
            async move { controller.sync(key).await }
        })
        .await;
}

/// How a job ended, and when.
fn end_of(job: &Job) -> Option<(&str, Option<Timestamp>)> {
    let end = job_end(job.status.as_ref()?.conditions.iter().flatten())?;
    let at = job.status.as_ref().and_then(|s| s.completion_time.as_ref()).or(end.last_transition_time.as_ref());
    Some((end.type_.as_str(), at.map(|t| t.0)))
}

impl CronJobs {
    async fn sync(&self, key: ObjectKey) -> Result<Action> {
        let Some(cached) = self.cron_jobs.get_key(&key) else { return Ok(Action::Done) };
        let mut cron = (*cached).clone();
        let spec = cron.spec.clone();
        let jobs = self.jobs.indexed(BY_CONTROLLER, &cron.uid().unwrap_or_default());
        self.take_stock(&mut cron, &jobs).await?;
        let mut outcome = Ok(None);
        if cron.metadata.deletion_timestamp.is_none() {
            self.clean_up(&cron, &spec, &jobs).await?;
            outcome = self.schedule(&mut cron, &spec, &jobs).await;
        }
        if cron.status != cached.status {
            let api = self.context.api::<CronJob>(&key.namespace);
            ignore_not_found(api.replace_status(&key.name, &PostParams::default(), &cron).await)?;
        }
        Ok(Action::after(outcome?))
    }

    /// Brings the list of active jobs up to date.
    async fn take_stock(&self, cron: &mut CronJob, jobs: &[Arc<Job>]) -> Result<()> {
        let namespace = cron.namespace().unwrap_or_default();
        let mut active = cron.status.as_mut().and_then(|s| s.active.take()).unwrap_or_default();
        for job in jobs {
            let listed = active.iter().position(|r| r.uid == job.metadata.uid);
            match (end_of(job), listed) {
                (None, Some(_)) => {}
                (None, None) => active.extend(self.look_up(cron, job).await?),
                (Some((how, at)), listed) => {
                    let status = cron.status.get_or_insert_default();
                    if how == "Complete" && at > status.last_successful_time.as_ref().map(|t| t.0) {
                        status.last_successful_time = at.map(Time);
                    }
                    if let Some(at) = listed {
                        active.remove(at);
                        let said = format!("Saw completed job: {}, condition: {how}", job.name_any());
                        self.context.events.event(&*cron, EventType::Normal, "SawCompletedJob", said);
                    }
                }
            }
        }
        let mut there = Vec::new();
        for listed in active {
            let name = listed.name.clone().unwrap_or_default();
            let known = jobs.iter().any(|j| j.metadata.uid == listed.uid);
            // The cache may be behind.
            if known || self.context.api::<Job>(&namespace).get_opt(&name).await?.is_some() {
                there.push(listed);
                continue;
            }
            let said = format!("Active job went missing: {name}");
            self.context.events.event(&*cron, EventType::Normal, "MissingJob", said);
        }
        cron.status.get_or_insert_default().active = Some(there).filter(|a| !a.is_empty());
        Ok(())
    }

    /// The reference to a job that runs and is not listed, if it is listed by now; one that is not was made by others.
    async fn look_up(&self, cron: &CronJob, job: &Job) -> Result<Option<ObjectReference>> {
        let api = self.context.api::<CronJob>(&cron.namespace().unwrap_or_default());
        let live = api.get_opt(&cron.name_any()).await?;
        let mut active = live.and_then(|c| c.status?.active).into_iter().flatten();
        let listed = active.find(|r| r.uid == job.metadata.uid);
        if listed.is_none() {
            let said = format!("Saw a job that the controller did not create or forgot: {}", job.name_any());
            self.context.events.event(cron, EventType::Warning, "UnexpectedJob", said);
        }
        Ok(listed)
    }

    /// Makes the job that is due. Returns when the next one is.
    async fn schedule(&self, cron: &mut CronJob, spec: &CronJobSpec, jobs: &[Arc<Job>]) -> Result<Option<Duration>> {
        let warn = |reason: &str, text: String| {
            self.context.events.event(&*cron, EventType::Warning, reason, text);
        };
        let zone = match spec.time_zone.as_deref() {
            None => TimeZone::UTC,
            Some(name) => match TimeZone::get(name) {
                Ok(zone) => zone,
                Err(_) => {
                    warn("UnknownTimeZone", format!("invalid timeZone: \"{name}\": unknown time zone {name}"));
                    return Ok(None);
                }
            },
        };
        if spec.suspend.unwrap_or(false) {
            return Ok(None);
        }
        if spec.schedule.contains("TZ") {
            let of = format!("CRON_TZ or TZ used in schedule {:?} is not officially supported", spec.schedule);
            let see = "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/";
            warn("UnsupportedSchedule", format!("{of}, see {see} for more details"));
        }
        let schedule = match Schedule::parse(&spec.schedule) {
            Ok(schedule) => schedule,
            Err(error) => {
                warn("UnparseableSchedule", format!("unparseable schedule: {:?} : {error}", spec.schedule));
                return Ok(None);
            }
        };
        let Ok(clocks) = schedule.zone().map_or_else(|| Ok(zone.clone()), clocks) else {
            warn("UnparseableSchedule", format!("unparseable schedule: {:?} : unknown time zone", spec.schedule));
            return Ok(None);
        };
        let now = self.context.clock.now();
        let Some(next) = schedule.next(now, &clocks).map(|t| wait_for(now, t)) else {
            let why = "time difference between two schedules is less than 1 second";
            warn("InvalidSchedule", format!("invalid schedule: {} : {why}", spec.schedule));
            return Ok(None);
        };
        let next = Some(next);
        let Some(due) = self.last_due(cron, spec, &schedule, &clocks, now) else { return Ok(next) };
        let deadline = spec.starting_deadline_seconds.filter(|s| now.duration_since(due).as_secs() > *s);
        if deadline.is_some() {
            warn("MissSchedule", format!("Missed scheduled time to start a job: {}", due.strftime(RFC1123Z)));
            return Ok(next);
        }
        let name = job_name(cron, due);
        let active = cron.status.as_ref().and_then(|s| s.active.clone()).unwrap_or_default();
        let done = cron.status.as_ref().and_then(|s| s.last_schedule_time.as_ref()).is_some_and(|t| t.0 == due);
        if done || active.iter().any(|r| r.name.as_ref() == Some(&name)) {
            return Ok(next);
        }
        match spec.concurrency_policy.as_deref() {
            Some("Forbid") if !active.is_empty() => {
                let text = "Not starting job because prior execution is running and concurrency policy is Forbid";
                self.context.events.event(&*cron, EventType::Normal, "JobAlreadyActive", text);
                return Ok(next);
            }
            Some("Replace") => {
                for job in jobs.iter().filter(|j| active.iter().any(|r| r.uid == j.metadata.uid)) {
                    self.delete(cron, job).await?;
                }
                cron.status.get_or_insert_default().active = None;
            }
            _ => {}
        }
        self.create(cron, spec, name, due, &zone).await?;
        Ok(next)
    }

    /// The last time at which a job was due and is not made yet.
    fn last_due(
        &self,
        cron: &CronJob,
        spec: &CronJobSpec,
        schedule: &Schedule,
        clocks: &TimeZone,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let status = cron.status.as_ref();
        let last = status.and_then(|s| s.last_schedule_time.as_ref()).or(cron.metadata.creation_timestamp.as_ref());
        let mut from = last.map_or(now, |t| t.0);
        if let Some(seconds) = spec.starting_deadline_seconds
            && let Ok(earliest) = now.checked_sub(Duration::from_secs(seconds.max(0) as u64))
        {
            from = from.max(earliest);
        }
        let (mut due, mut missed) = (None, 0);
        while let Some(time) = schedule.next(from, clocks).filter(|t| *t <= now) {
            due = Some(time);
            missed += 1;
            from = time;
            if missed > MISSED_WARN {
                let text =
                    "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
                self.context.events.event(cron, EventType::Warning, "TooManyMissedTimes", text);
                // Whatever was missed before, the newest counts; a day has enough times to find it in.
                let near = now.checked_sub(Duration::from_secs(86_400)).ok()?;
                return last_before(schedule, near.max(from), now, clocks).or(due);
            }
        }
        due
    }

    async fn create(
        &self,
        cron: &mut CronJob,
        spec: &CronJobSpec,
        name: String,
        due: Timestamp,
        zone: &TimeZone,
    ) -> Result<()> {
        let template = spec.job_template.metadata.clone().unwrap_or_default();
        let mut annotations = template.annotations.unwrap_or_default();
        annotations.insert(SCHEDULED_AT.into(), in_zone(due, zone));
        let job = Job {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: cron.namespace(),
                labels: template.labels,
                annotations: Some(annotations),
                owner_references: Some(vec![controller_reference(cron)]),
                ..ObjectMeta::default()
            },
            spec: spec.job_template.spec.clone(),
            status: None,
        };
        let api = self.context.api::<Job>(&cron.namespace().unwrap_or_default());
        match api.create(&PostParams::default(), &job).await {
            Ok(made) => {
                let said = format!("Created job {name}");
                self.context.events.event(&*cron, EventType::Normal, "SuccessfulCreate", said);
                let made_at = made.metadata.creation_timestamp.as_ref().map_or(due, |t| t.0);
                let late = made_at.duration_since(due).as_secs_f64();
                self.context.figures::<Various>().cron_skew.with([], |durations| durations.observe(late));
                let status = cron.status.get_or_insert_default();
                status.active.get_or_insert_default().push(reference(&made));
                status.last_schedule_time = Some(Time(due));
            }
            Err(error) if is_already_exists(&error) => {
                // It may be ours, of a time before the status said so.
                let there = api.get_opt(&name).await?;
                let ours =
                    there.filter(|j| controller_of(j).is_some_and(|r| Some(&r.uid) == cron.metadata.uid.as_ref()));
                if let Some(job) = ours {
                    let status = cron.status.get_or_insert_default();
                    let active = status.active.get_or_insert_default();
                    if !active.iter().any(|r| r.uid == job.metadata.uid) {
                        active.push(reference(&job));
                    }
                    status.last_schedule_time = Some(Time(due));
                }
            }
            Err(error) if is_namespace_terminating(&error) => {}
            Err(error) => {
                let said = format!("Error creating job: {}", message(&error));
                self.context.events.event(&*cron, EventType::Warning, "FailedCreate", said);
                return Err(error.into());
            }
        }
        Ok(())
    }

    async fn delete(&self, cron: &CronJob, job: &Job) -> Result<()> {
        let api = self.context.api::<Job>(&job.namespace().unwrap_or_default());
        let deleted = ignore_not_found(api.delete(&job.name_any(), &DeleteParams::background()).await);
        if let Err(error) = deleted {
            let said = format!("Deleted job: {}", message(&error));
            self.context.events.event(cron, EventType::Warning, "FailedDelete", said);
            return Err(error.into());
        }
        let said = format!("Deleted job {}", job.name_any());
        self.context.events.event(cron, EventType::Normal, "SuccessfulDelete", said);
        Ok(())
    }

    /// Deletes ended jobs beyond the two limits, the oldest first.
    async fn clean_up(&self, cron: &CronJob, spec: &CronJobSpec, jobs: &[Arc<Job>]) -> Result<()> {
        let limits = [("Complete", spec.successful_jobs_history_limit), ("Failed", spec.failed_jobs_history_limit)];
        for (how, limit) in limits {
            let Some(limit) = limit.and_then(|l| usize::try_from(l).ok()) else { continue };
            let mut ended: Vec<_> = jobs.iter().filter(|j| end_of(j).is_some_and(|(h, _)| h == how)).collect();
            let started = |j: &Job| j.status.as_ref().and_then(|s| s.start_time.as_ref().map(|t| t.0));
            ended.sort_by_key(|j| (started(j).is_none(), started(j), j.name_any()));
            let surplus = ended.len().saturating_sub(limit);
            for job in ended.into_iter().take(surplus).filter(|j| j.metadata.deletion_timestamp.is_none()) {
                self.delete(cron, job).await?;
            }
        }
        Ok(())
    }
}

fn reference(job: &Job) -> ObjectReference {
    ObjectReference { resource_version: job.resource_version(), ..job.object_ref(&()) }
}

/// A time as the reference writes it in a zone: to the second, with the offset.
fn in_zone(time: Timestamp, zone: &TimeZone) -> String {
    let there = time.to_zoned(zone.clone());
    match there.offset().seconds() {
        0 => there.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        _ => there.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
    }
}

/// The name tells the time, so that no time gets two jobs.
fn job_name(cron: &CronJob, due: Timestamp) -> String {
    let mut name = cron.name_any();
    name.truncate(NAME_BYTES_MAX);
    format!("{name}-{}", due.as_second() / 60)
}

/// The zone that a schedule names itself. The controllers' own is UTC.
fn clocks(name: &str) -> std::result::Result<TimeZone, jiff::Error> {
    if matches!(name, "" | "Local") { Ok(TimeZone::UTC) } else { TimeZone::get(name) }
}

/// The last time after `from` and not after `until`.
fn last_before(schedule: &Schedule, mut from: Timestamp, until: Timestamp, clocks: &TimeZone) -> Option<Timestamp> {
    let mut last = None;
    while let Some(time) = schedule.next(from, clocks).filter(|t| *t <= until) {
        last = Some(time);
        from = time;
    }
    last
}

fn wait_for(now: Timestamp, then: Timestamp) -> Duration {
    // A little later than due, so that the time has surely come.
    Duration::try_from(then.duration_since(now)).unwrap_or_default() + Duration::from_millis(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_their_zone() {
        let time: Timestamp = "2026-07-01T22:30:00Z".parse().expect("a time");
        assert_eq!(in_zone(time, &TimeZone::UTC), "2026-07-01T22:30:00Z");
        let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
        assert_eq!(in_zone(time, &berlin), "2026-07-02T00:30:00+02:00");
        assert_eq!(time.strftime(RFC1123Z).to_string(), "Wed, 01 Jul 2026 22:30:00 +0000");
    }
}
