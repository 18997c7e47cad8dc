//! Approved requests of the cluster's own signers are signed; what a signer does not sign is marked as failed.

use std::time::Duration;

use client::Action;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::PostParams;

use super::{Authority, certificate, follow_requests, has, rules};
use crate::context::Context;
use crate::error::{Error, Result, ignore_not_found};

/// Requests worked on at a time (`--concurrent-csr…` has no flag: five).
const WORKERS: usize = 5;
/// What `--cluster-signing-duration` is unless said otherwise.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// Nobody gets less.
const LIFETIME_MIN: Duration = Duration::from_secs(600);

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let meant = |request: &CertificateSigningRequest| has(request, "Approved") && certificate(request).is_empty();
    follow_requests(context, "csrsigning", WORKERS, meant, sign).await;
}

async fn sign(context: Context, authority: Authority, mut request: CertificateSigningRequest) -> Result<Action> {
    if !certificate(&request).is_empty() || !has(&request, "Approved") || has(&request, "Failed") {
        return Ok(Action::Done);
    }
    let (name, spec) = (request.name_any(), request.spec.clone());
    let usages = spec.usages.unwrap_or_default();
    let unparsed = |error| Error::Invalid(format!("unable to parse csr {name:?}: {error}"));
    let asked = (authority.read)(&spec.request.0).map_err(unparsed)?;
    let Some(checked) = rules::check(&spec.signer_name, &asked, &usages) else { return Ok(Action::Done) };
    let status = request.status.get_or_insert_default();
    match checked {
        Err(message) => status.conditions.get_or_insert_default().push(CertificateSigningRequestCondition {
            type_: "Failed".into(),
            status: "True".into(),
            reason: Some("SignerValidationFailure".into()),
            message: Some(message),
            last_update_time: Some(Time(context.clock.now())),
            last_transition_time: None,
        }),
        Ok(()) => {
            let signed = (authority.sign)(&spec.request.0, &usages, lifetime(spec.expiration_seconds));
            let signed = signed.map_err(|error| Error::Invalid(format!("error auto signing csr: {error}")))?;
            status.certificate = Some(ByteString(signed.into_bytes()));
        }
    }
    let api = context.api_all::<CertificateSigningRequest>();
    ignore_not_found(api.replace_status(&name, &PostParams::default(), &request).await)?;
    Ok(Action::Done)
}

/// For how long a certificate is signed that is wanted for so many seconds.
pub(super) fn lifetime(seconds: Option<i32>) -> Duration {
    let Some(seconds) = seconds else { return LIFETIME };
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).clamp(LIFETIME_MIN, LIFETIME)
}
