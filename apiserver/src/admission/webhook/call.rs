//! One call of one webhook, and what its failure means.

use std::sync::Arc;
use std::time::Duration;

use api::Status;

use super::hooks::{DryRun, Hook};
use super::review::{self, Response};
use super::shown::Shown;
use crate::Context;
use crate::audit::Layer;
use crate::matching::Matched;
use crate::outgoing::Identities;
use crate::plug::admission::Attributes;
use crate::webhooks::{CALL_TIMEOUT, CallError};

/// How long an answer may be: a patch may replace a whole object, and is longer as it is encoded.
const ANSWER_BYTES_MAX: usize = 3 * api::decode::BODY_BYTES_MAX;
/// How many of a webhook's warnings are looked at; an answer has room for fewer.
const WARNINGS_MAX: usize = 1_024;

/// Why a request does not simply go on.
#[derive(Debug)]
pub(super) enum Failure {
    /// The webhook could not be called: what a failure policy is about.
    Calling {
        /// Why.
        why: String,
        /// The code that is counted.
        code: u16,
    },
    /// The webhook refuses the request.
    Rejected(Status),
    /// The request cannot go on, whatever the webhook's policy.
    Other(Status),
}

impl Failure {
    pub(super) fn calling(why: impl Into<String>, code: u16) -> Self {
        Self::Calling { why: why.into(), code }
    }

    /// The code of its answer that is counted.
    pub(super) fn code(&self) -> u16 {
        match self {
            Self::Calling { code, .. } => *code,
            Self::Rejected(status) => status.code,
            Self::Other(_) => 0,
        }
    }

    /// The type of error that is counted.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Calling { .. } => "calling_webhook_error",
            Self::Rejected(_) => "no_error",
            Self::Other(_) => "apiserver_internal_error",
        }
    }

    /// What the client is told.
    pub(super) fn status(self, hook: &Hook) -> Status {
        match self {
            Self::Calling { why, .. } => {
                Status::internal(format!("failed calling webhook {}: {why}", api::go::strconv::quote(&hook.name)))
            }
            Self::Rejected(status) | Self::Other(status) => status,
        }
    }
}

/// What a client is told whose request took all of its time.
pub(super) fn timed_out() -> Status {
    let message = "Timeout: request did not complete within the allotted timeout";
    Status::failure(504, "Timeout", message).with_details(Default::default())
}

/// Asks a webhook. Its warnings and annotations are noted, whatever it says.
///
/// # Errors
/// [`Failure`]; none of them means that the request was refused, but [`Failure::Rejected`].
pub(super) async fn call(
    hook: &Hook,
    attributes: &Attributes<'_>,
    matched: &Matched,
    shown: &Shown,
    mutating: bool,
    identities: Option<&Arc<Identities>>,
) -> Result<Response, Failure> {
    let ctx = attributes.ctx;
    if attributes.is_dry_run() {
        match hook.dry_run {
            DryRun::Called => {}
            DryRun::Unknown => return Err(Failure::calling("Webhook SideEffects is nil", 400)),
            DryRun::Refused => {
                let why = format!("admission webhook {:?} does not support dry run", hook.name);
                return Err(Failure::Other(Status::bad_request(why)));
            }
        }
    }
    let Some(version) = hook.review else {
        let why =
            "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)";
        return Err(Failure::calling(why, 400));
    };
    let uid = crate::clock::uuid(ctx.registry.clock());
    let body = review::request(version, &uid, attributes, matched, shown);
    let unusable = |why: &String| Failure::calling(format!("could not get REST client: {why}"), 500);
    let (place, bundle) = hook.place.as_ref().map_err(unusable)?;
    let webhook = ctx.registry.webhooks().at(&ctx.registry, place, bundle, identities).map_err(|why| unusable(&why))?;
    let (told, time) = times(ctx, hook.timeout);
    let layer = if mutating { Layer::MutatingWebhook } else { Layer::ValidatingWebhook };
    let answer = ctx.timed(layer, webhook.post(body, told, time, ANSWER_BYTES_MAX)).await;
    let failed = |error: CallError| {
        let code = if let CallError::Answered(status) = &error { status.code } else { 503 };
        Failure::calling(format!("failed to call webhook: {error}"), code)
    };
    let answer = answer.map_err(failed)?;
    let verified = review::response(version, &uid, mutating, &answer).map_err(failed)?;
    let invalid = |why: String| Failure::calling(format!("received invalid webhook response: {why}"), 503);
    let mut response = verified.map_err(invalid)?;
    for (name, value) in std::mem::take(&mut response.audit_annotations) {
        ctx.annotate(|| format!("{}/{name}", hook.name), || value);
    }
    for warning in std::mem::take(&mut response.warnings).into_iter().take(WARNINGS_MAX) {
        ctx.warn(warning);
    }
    if response.allowed {
        return Ok(response);
    }
    Err(Failure::Rejected(review::denied(&hook.name, response.status.take())))
}

/// Counts what became of a call.
pub(super) fn count<T>(
    hook: &Hook,
    phase: &str,
    attributes: &Attributes<'_>,
    called: &Result<T, Failure>,
    took: Duration,
) {
    let asked = [hook.name.as_str(), phase, attributes.operation.as_str()];
    let (code, refusal) = match called {
        Ok(_) => (200, None),
        Err(failure @ Failure::Calling { .. }) if hook.fails_open => (failure.code(), None),
        Err(failure) => (failure.code(), Some(failure.kind())),
    };
    attributes.ctx.registry.metrics().webhooks.asked(asked, code, refusal, took);
}

/// How long the webhook is told it has, in whole seconds, and how long it has.
fn times(ctx: &Context, timeout: Option<Duration>) -> (Duration, Duration) {
    let time = timeout.unwrap_or(CALL_TIMEOUT).min(CALL_TIMEOUT).min(ctx.time_left());
    let more = u64::from(time.subsec_nanos() > 0);
    (Duration::from_secs(time.as_secs() + more), time)
}
