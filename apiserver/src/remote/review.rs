//! Reviews that webhooks answer: an object goes out, and the same comes back with a status.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::retry::{Waits, may_pass};
use crate::clock::Clock;
use crate::outgoing::{ClientError, Kubeconfig, Reply};
use crate::webhooks::Answer;

/// The largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 3 << 20;

/// A webhook that answers reviews of one kind.
#[derive(Debug, Clone)]
pub struct Reviewer {
    kubeconfig: Kubeconfig,
    url: String,
    api_version: String,
    kind: &'static str,
    timeout: Duration,
}

/// What became of one attempt, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Success,
    /// It took too long.
    Timeout,
    /// It was not answered, or by something else than a review.
    Error,
}

impl Outcome {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Timeout => "timeout",
            Self::Error => "error",
        }
    }
}

impl Reviewer {
    /// A webhook at the place that a kubeconfig says.
    pub fn new(kubeconfig: Kubeconfig, group: &str, version: &str, kind: &'static str, timeout: Duration) -> Self {
        let url = kubeconfig.url(timeout);
        Self { kubeconfig, url, api_version: format!("{group}/{version}"), kind, timeout }
    }

    /// Asks for the status of a review, again and again while it may help; `counted` is told of every attempt.
    ///
    /// # Errors
    /// What the last attempt came to, in words and as it is counted.
    pub async fn review(
        &self,
        spec: &Value,
        clock: &dyn Clock,
        counted: &(dyn Fn(Outcome, Duration) + Sync),
    ) -> Result<Value, (String, Outcome)> {
        let review = json!({
            "kind": self.kind, "apiVersion": self.api_version,
            "metadata": {"creationTimestamp": null}, "spec": spec, "status": {},
        });
        let body = Bytes::from(review.to_string());
        let mut waits = Waits::default();
        loop {
            let started = clock.instant();
            let outcome = self.kubeconfig.post(body.clone(), self.timeout, ANSWER_BYTES_MAX).await;
            let again = may_pass(&outcome);
            let found = self.read(outcome);
            let name = found.as_ref().map_or_else(|(_, outcome)| *outcome, |_| Outcome::Success);
            counted(name, clock.instant().saturating_duration_since(started));
            if !again || !waits.wait(clock).await {
                return found;
            }
        }
    }

    fn read(&self, outcome: Result<Reply, ClientError>) -> Result<Value, (String, Outcome)> {
        let reply = match outcome {
            Ok(reply) => reply,
            Err(error) => {
                let name = if error == ClientError::Timeout { Outcome::Timeout } else { Outcome::Error };
                return Err((format!("Post {:?}: {error}", self.url), name));
            }
        };
        if !reply.status.is_success() {
            let name = if reply.status.as_u16() == 504 { Outcome::Timeout } else { Outcome::Error };
            return Err((Answer::from(reply).error().message, name));
        }
        let failed = |why: String| (why, Outcome::Error);
        let mut review: Value = serde_json::from_slice(&reply.body)
            .map_err(|error| failed(format!("couldn't get version/kind; json parse error: {error}")))?;
        let stated = |field: &str| review.get(field).and_then(Value::as_str).unwrap_or_default();
        let (kind, version) = (stated("kind"), stated("apiVersion"));
        let fits = |stated: &str, ours: &str| stated.is_empty() || stated == ours;
        if !review.is_object() || !fits(kind, self.kind) || !fits(version, &self.api_version) {
            let (wanted, ours) = (&self.api_version, self.kind);
            return Err(failed(format!("the answer is a {kind:?} of {version:?} and not a {ours:?} of {wanted:?}")));
        }
        Ok(review.get_mut("status").map(Value::take).unwrap_or(Value::Null))
    }
}
