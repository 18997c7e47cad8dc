//! Writes a pod's status: only what differs from what the API shows, the newest state only, in the background.
//!
//! The agent owns its pods' status. What another writer made of it is put right when it is seen (`needsReconcile` in
//! pkg/kubelet/status): the difference is always taken from what the API shows, never from what was written once.

use std::{sync::Arc, time::Duration};

use client::Clock;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::status_patch::patch;
use crate::{agent::Agent, figures, pod};

/// The first pause after a failed write.
const RETRY_MIN: Duration = Duration::from_millis(50);
/// The longest pause after failed writes.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// The shortest time between two writes that undo what others wrote: who writes all the time does not keep the agent busy.
const RECONCILE_PAUSE: Duration = Duration::from_secs(1);

/// The writer of one pod's status. Dropping it ends it.
pub(super) struct StatusWriter {
    wanted: watch::Sender<(u64, Option<PodStatus>)>,
    written: watch::Receiver<u64>,
    sent: u64,
    api: Api<Pod>,
    name: String,
    uid: String,
}

/// Tells the writer of a pod what the API shows of it.
pub(super) type Shown = watch::Sender<Arc<Pod>>;

impl StatusWriter {
    /// Starts the writer of a pod that the API shows like this.
    pub(super) fn start(agent: &Agent, of: &Arc<Pod>) -> (Self, Shown) {
        let api = Api::namespaced(agent.client.clone(), pod::namespace(of));
        Self::over(api, agent.config.clock.clone(), agent.figures.clone(), of)
    }

    fn over(api: Api<Pod>, clock: Clock, figures: Arc<figures::Agent>, of: &Arc<Pod>) -> (Self, Shown) {
        let (wanted, receiver) = watch::channel((0, None));
        let (done, written) = watch::channel(0);
        let (shown, seen) = watch::channel(of.clone());
        let (name, uid) = (pod::name(of).to_owned(), pod::uid(of).to_owned());
        let writing = Writing {
            api: api.clone(),
            name: name.clone(),
            uid: uid.clone(),
            known: Known::of(of),
            wanted: receiver,
            shown: seen,
            done,
            reconciled: None,
            since: clock.elapsed(),
            clock,
            figures,
        };
        tokio::spawn(writing.run());
        (Self { wanted, written, sent: 0, api, name, uid }, shown)
    }

    /// Wants this status; what was wanted before and not written yet is forgotten.
    pub(super) fn set(&mut self, status: PodStatus) {
        self.sent += 1;
        self.wanted.send_replace((self.sent, Some(status)));
    }

    /// Waits until the newest status is written, or cannot be because the pod is gone.
    pub(super) async fn flush(&mut self) {
        let sent = self.sent;
        // The sender goes away when the pod is gone from the API; then there is nothing to wait for.
        let _ = self.written.wait_for(|written| *written >= sent).await;
    }

    /// Deletes the pod from the API for good.
    ///
    /// # Errors
    /// When the API server refuses; a pod that is gone or replaced is no error.
    pub(super) async fn delete(&self) -> Result<(), kube::Error> {
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: Some(self.uid.clone()), resource_version: None }),
            ..Default::default()
        };
        match self.api.delete(&self.name, &params).await {
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
            other => other.map(drop),
        }
    }
}

/// The newest state of the status in the API that the writer has seen.
struct Known {
    revision: u64,
    status: Value,
}

impl Known {
    fn of(shown: &Pod) -> Self {
        let revision = shown.metadata.resource_version.as_deref().and_then(|version| version.parse().ok());
        // Both sides of a comparison go through the same types, so that times and empty fields look alike.
        let status = serde_json::to_value(shown.status.clone().unwrap_or_default()).unwrap_or_default();
        Self { revision: revision.unwrap_or(0), status }
    }
}

/// Whether there is more to write.
enum Next {
    Wait,
    Again,
    Gone,
}

struct Writing {
    api: Api<Pod>,
    name: String,
    uid: String,
    known: Known,
    wanted: watch::Receiver<(u64, Option<PodStatus>)>,
    shown: watch::Receiver<Arc<Pod>>,
    done: watch::Sender<u64>,
    /// When something was last put right that another wrote.
    reconciled: Option<Duration>,
    /// When there was something to write last.
    since: Duration,
    clock: Clock,
    figures: Arc<figures::Agent>,
}

impl Writing {
    async fn run(mut self) {
        loop {
            tokio::select! {
                changed = self.wanted.changed() => if changed.is_err() { return },
                // Who tells of the pod may go before the last status is written.
                Ok(()) = self.shown.changed() => {}
            }
            self.since = self.clock.elapsed();
            let mut retry = RETRY_MIN;
            loop {
                match self.write().await {
                    Ok(Next::Wait) => break,
                    Ok(Next::Again) => {}
                    Ok(Next::Gone) => return,
                    Err(error) => {
                        tracing::debug!(name = self.name, %error, "the pod's status was not written");
                        if self.wanted.has_changed().is_err() {
                            return;
                        }
                        tokio::time::sleep(retry).await;
                        retry = (retry * 2).min(RETRY_MAX);
                    }
                }
            }
        }
    }

    /// Writes the difference between what the API shows and what is wanted, if there is one.
    async fn write(&mut self) -> Result<Next, kube::Error> {
        self.look();
        let (number, status) = self.wanted.borrow_and_update().clone();
        let Some(status) = status else { return Ok(Next::Wait) };
        let Ok(new) = serde_json::to_value(&status) else { return Ok(Next::Wait) };
        let Some(patch) = patch(&self.known.status, &new) else {
            self.done.send_replace(number);
            return Ok(Next::Wait);
        };
        if *self.done.borrow() >= number && !self.may_reconcile().await {
            return Ok(Next::Again);
        }
        let body = json!({"metadata": {"uid": self.uid}, "status": patch});
        match self.api.patch_status(&self.name, &PatchParams::default(), &Patch::Strategic(body)).await {
            Ok(answer) => {
                self.figures.wrote_status(self.clock.elapsed().saturating_sub(self.since));
                self.done.send_replace(number);
                let (before, answered) = (self.known.revision, Known::of(&answer));
                let same = before == answered.revision;
                if answered.revision >= before {
                    self.known = answered;
                }
                // What the server does not take is not offered twice.
                Ok(if same { Next::Wait } else { Next::Again })
            }
            Err(kube::Error::Api(status)) if is_gone(&status) => Ok(Next::Gone),
            Err(error) => Err(error),
        }
    }

    /// Looks at what the API shows; that may be older than the answer to the last write.
    fn look(&mut self) {
        let shown = Known::of(&self.shown.borrow_and_update());
        if shown.revision > self.known.revision {
            self.known = shown;
        }
    }

    /// Waits until something may be put right that another wrote; false if there is news first.
    async fn may_reconcile(&mut self) -> bool {
        let now = self.clock.elapsed();
        let due = self.reconciled.map_or(now, |last| last + RECONCILE_PAUSE);
        if due > now {
            let clock = self.clock.clone();
            tokio::select! {
                () = clock.sleep_until(due) => {}
                Ok(()) = self.wanted.changed() => {
                    self.wanted.mark_changed();
                    return false;
                }
            }
        }
        self.look();
        self.reconciled = Some(self.clock.elapsed());
        true
    }
}

/// Whether the pod is gone, or another has its name.
fn is_gone(status: &kube::core::Status) -> bool {
    status.code == 404 || matches!(status.code, 409 | 422) && status.message.contains("uid")
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
