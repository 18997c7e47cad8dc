//! Requests of nodes for certificates that they show as clients are approved, if whoever asks may ask for them.

use client::Action;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use kube::ResourceExt;
use kube::api::PostParams;

use super::{Authority, Requested, certificate, decided, follow_requests, rules};
use crate::context::Context;
use crate::error::{Error, Result, ignore_not_found};

/// Requests worked on at a time.
const WORKERS: usize = 5;
/// What somebody may ask for: the subresource that says it, and what is said once it is approved.
const SELF: (&str, &str) =
    ("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview.");
const ANY: (&str, &str) = ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.");

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let meant =
        |request: &CertificateSigningRequest| is_open(request) && request.spec.signer_name == rules::KUBELET_CLIENT;
    follow_requests(context, "csrapproving", WORKERS, meant, approve).await;
}

fn is_open(request: &CertificateSigningRequest) -> bool {
    certificate(request).is_empty() && !decided(request, "Approved") && !decided(request, "Denied")
}

async fn approve(context: Context, authority: Authority, mut request: CertificateSigningRequest) -> Result<Action> {
    if !is_open(&request) {
        return Ok(Action::Done);
    }
    let name = request.name_any();
    let unparsed = |error| Error::Invalid(format!("unable to parse csr {name:?}: {error}"));
    let asked = (authority.read)(&request.spec.request.0).map_err(unparsed)?;
    let mut tried = Vec::new();
    for (subresource, message) in recognized(&request, &asked) {
        tried.push(subresource);
        if !may_ask(&context, &request, subresource).await? {
            continue;
        }
        let status = request.status.get_or_insert_default();
        status.conditions.get_or_insert_default().push(CertificateSigningRequestCondition {
            type_: "Approved".into(),
            status: "True".into(),
            reason: Some("AutoApproved".into()),
            message: Some(message.into()),
            ..CertificateSigningRequestCondition::default()
        });
        let api = context.api_all::<CertificateSigningRequest>();
        ignore_not_found(api.replace_subresource("approval", &name, &PostParams::default(), &request).await)?;
        return Ok(Action::Done);
    }
    match tried.as_slice() {
        [] => Ok(Action::Done),
        // It comes again: permissions may be given later.
        tried => Err(Error::Invalid(format!(
            "recognized csr {name:?} as [{}] but subject access review was not approved",
            tried.join(" ")
        ))),
    }
}

/// What a request may be approved as, in this order.
pub(super) fn recognized(
    request: &CertificateSigningRequest,
    asked: &Requested,
) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
    let spec = &request.spec;
    let usages = spec.usages.as_deref().unwrap_or_default();
    let of_node = spec.signer_name == rules::KUBELET_CLIENT && rules::kubelet_client(asked, usages).is_ok();
    let own = of_node && spec.username.as_deref().unwrap_or_default() == asked.common_name;
    [(own, SELF), (of_node, ANY)].into_iter().filter(|(is, _)| *is).map(|(_, what)| what)
}

/// Whether whoever made the request may ask for that.
async fn may_ask(context: &Context, request: &CertificateSigningRequest, subresource: &str) -> Result<bool> {
    let spec = &request.spec;
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: spec.username.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            extra: spec.extra.clone(),
            resource_attributes: Some(ResourceAttributes {
                group: Some("certificates.k8s.io".into()),
                resource: Some("certificatesigningrequests".into()),
                verb: Some("create".into()),
                subresource: Some(subresource.into()),
                version: Some("*".into()),
                ..ResourceAttributes::default()
            }),
            non_resource_attributes: None,
        },
        ..SubjectAccessReview::default()
    };
    let answer = context.api_all::<SubjectAccessReview>().create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
