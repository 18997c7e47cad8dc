//! Requests go some time after they were decided, or were not; and when their certificate has ended.
//!
//! The reference looks at all of them once an hour; here each is looked at when its time has come.

use std::time::Duration;

use client::Action;
use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::ResourceExt;
use kube::api::{DeleteParams, Preconditions};

use super::{Authority, certificate, decided, follow_requests};
use crate::context::Context;
use crate::error::{Result, ignore_not_found, is_conflict};

/// Requests worked on at a time.
const WORKERS: usize = 1;
/// How long decided requests are kept,
const DECIDED: Duration = Duration::from_secs(3600);
/// and those that are not, or are approved without a certificate.
const PENDING: Duration = Duration::from_secs(24 * 3600);

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    follow_requests(context, "csrcleaner", WORKERS, |_| true, clean).await;
}

async fn clean(context: Context, authority: Authority, request: CertificateSigningRequest) -> Result<Action> {
    let Some(at) = due(&request, &authority) else { return Ok(Action::Done) };
    let left = Duration::try_from(at.duration_since(context.clock.now())).unwrap_or_default();
    if !left.is_zero() {
        return Ok(Action::RequeueAfter(left));
    }
    let preconditions = Preconditions { uid: request.uid(), resource_version: request.resource_version() };
    let only = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match context.api_all::<CertificateSigningRequest>().delete(&request.name_any(), &only).await {
        // It has changed: its newest state comes.
        Err(error) if is_conflict(&error) => {}
        outcome => drop(ignore_not_found(outcome)?),
    }
    Ok(Action::Done)
}

/// When a request goes; none for as long as nothing changes.
pub(super) fn due(request: &CertificateSigningRequest, authority: &Authority) -> Option<Timestamp> {
    let is_issued = !certificate(request).is_empty();
    let conditions = request.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let decided_at = conditions.filter_map(|condition| {
        let kept = match condition.type_.as_str() {
            "Denied" | "Failed" => DECIDED,
            "Approved" if is_issued => DECIDED,
            "Approved" => PENDING,
            _ => return None,
        };
        Some(condition.last_update_time.as_ref()?.0 + kept)
    });
    let is_pending = request.status.as_ref().is_none_or(|s| s.conditions.as_ref().is_none_or(Vec::is_empty));
    let created = request.metadata.creation_timestamp.as_ref().filter(|_| is_pending).map(|time| time.0 + PENDING);
    let ended = (is_issued && decided(request, "Approved")).then(|| (authority.end)(certificate(request))).flatten();
    decided_at.chain(created).chain(ended).min()
}
