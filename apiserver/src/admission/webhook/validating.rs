//! Validating webhooks: all that the request is for at once, on the object as it would be stored (`validating/dispatcher`).

use std::sync::Arc;

use api::{Object, Status};
use futures::stream::{FuturesUnordered, StreamExt};

use super::call::{self, Failure};
use super::hooks::Hook;
use super::shown::{self, Shown};
use crate::matching::Matched;
use crate::outgoing::Identities;
use crate::plug::admission::Attributes;
use crate::workers;

/// What the metrics call this phase.
const PHASE: &str = "validating";
/// And what those of conditions call it.
const CONDITIONS_PHASE: &str = "validate";

/// Asks every webhook that the request is for.
///
/// # Errors
/// The refusal that came first.
pub(super) async fn dispatch(
    hooks: Vec<Hook>,
    attributes: &Attributes<'_>,
    object: Option<&Object>,
    identities: Option<&Arc<Identities>>,
) -> Result<(), Status> {
    let mut asked: Vec<(Hook, Matched)> = Vec::new();
    // One for each version.
    let mut versions: Vec<(String, Shown)> = Vec::new();
    for hook in hooks {
        let Some(matched) = hook.criteria.matches(attributes, object)? else { continue };
        if !hook.conditions.hold(&hook, CONDITIONS_PHASE, attributes, &matched, object).await? {
            continue;
        }
        let version = matched.kind.api_version();
        if !versions.iter().any(|(known, _)| *known == version) {
            versions.push((version, shown::show(attributes, &matched, object).await?));
        }
        asked.push((hook, matched));
    }
    if asked.is_empty() {
        return Ok(());
    }
    if attributes.ctx.time_left().is_zero() {
        return Err(call::timed_out());
    }
    let shown = |matched: &Matched| {
        let version = matched.kind.api_version();
        versions.iter().find(|(known, _)| *known == version).map(|(_, shown)| shown)
    };
    let calls: FuturesUnordered<_> = asked
        .iter()
        .enumerate()
        .filter_map(|(index, (hook, matched))| Some(one(hook, index, attributes, matched, shown(matched)?, identities)))
        .collect();
    // All are heard, so that each has its say in warnings and annotations.
    let answers: Vec<Result<(), Status>> = workers::wait(calls.collect()).await;
    answers.into_iter().find(Result::is_err).unwrap_or(Ok(()))
}

async fn one(
    hook: &Hook,
    index: usize,
    attributes: &Attributes<'_>,
    matched: &Matched,
    shown: &Shown,
    identities: Option<&Arc<Identities>>,
) -> Result<(), Status> {
    let ctx = attributes.ctx;
    let started = ctx.registry.clock().instant();
    let called = call::call(hook, attributes, matched, shown, false, identities).await;
    let took = ctx.registry.clock().instant().saturating_duration_since(started);
    call::count(hook, PHASE, attributes, &called, took);
    let Err(failure) = called else { return Ok(()) };
    if matches!(failure, Failure::Calling { .. }) {
        if ctx.time_left().is_zero() {
            return Err(call::timed_out());
        }
        if hook.fails_open {
            tracing::warn!(webhook = hook.name, ?failure, "a webhook could not be called, and is not needed");
            ctx.registry.metrics().webhooks.failed_open(&hook.name, PHASE);
            let key = || format!("failed-open.validating.webhook.admission.k8s.io/round_0_index_{index}");
            ctx.annotate(key, || hook.name.clone());
            return Ok(());
        }
    }
    Err(failure.status(hook))
}
