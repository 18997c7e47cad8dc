//! Who may approve and sign certificate signing requests, and what nobody may ask for.

use api::{Object, Status};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::{BoxFuture, FutureExt};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use super::{Admission, Attributes, Operation, forbidden, is};
use crate::authorization::escalation::changes_collection_only;
use crate::authorization::{self, Decision, decide};

const GROUP: &str = "certificates.k8s.io";
const RESOURCE: &str = "certificatesigningrequests";

/// A plugin that asks for permission by the signer of a request.
pub(super) struct SignerPermission {
    name: &'static str,
    subresource: &'static str,
    verb: &'static str,
    /// Whether a write, of the old and the new request, does what needs it.
    needs: fn(Option<&Object>, Option<&Object>) -> bool,
}

/// The plugin `CertificateApproval`.
pub(super) const APPROVAL: SignerPermission =
    SignerPermission { name: "CertificateApproval", subresource: "approval", verb: "approve", needs: |_, _| true };

/// The plugin `CertificateSigning`: whoever makes a certificate of a request, or says that it failed, signs.
pub(super) const SIGNING: SignerPermission =
    SignerPermission { name: "CertificateSigning", subresource: "status", verb: "sign", needs: signs };

fn signs(old: Option<&Object>, new: Option<&Object>) -> bool {
    let certificate = |request: Option<&Object>| request.and_then(|r| r.at(&["status", "certificate"]).cloned());
    let failed = |request: Option<&Object>| {
        let conditions = request.and_then(|r| r.at(&["status", "conditions"])?.as_array().cloned());
        conditions.into_iter().flatten().any(|c| c.get("type").and_then(|t| t.as_str()) == Some("Failed"))
    };
    certificate(old) != certificate(new) || failed(old) != failed(new)
}

impl Admission for SignerPermission {
    fn name(&self) -> &'static str {
        self.name
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: Option<&'a Object>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        async move {
            let is_meant =
                attributes.operation == Operation::Update && is(attributes, GROUP, RESOURCE, self.subresource);
            if !is_meant || !(self.needs)(attributes.old, object) {
                return Ok(());
            }
            permit(attributes, object, self.verb).await
        }
        .boxed()
    }
}

/// Asks whether the user may do `verb` for the signer, by its name or by its domain (`IsAuthorizedForSignerName`).
async fn permit(attributes: &Attributes<'_>, object: Option<&Object>, verb: &str) -> Result<(), Status> {
    // The signer cannot be changed, so what is stored counts.
    let signer = attributes.old.or(object).map_or("", |request| request.str_at(&["spec", "signerName"]));
    if may(attributes, verb, signer).await {
        return Ok(());
    }
    let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
    Err(forbidden(attributes, object, &why))
}

async fn may(attributes: &Attributes<'_>, verb: &str, signer: &str) -> bool {
    let domain = format!("{}/*", signer.split('/').next().unwrap_or(""));
    for name in [signer, domain.as_str()] {
        let asked = authorization::Attributes {
            user: &attributes.ctx.user,
            verb,
            namespace: "",
            group: GROUP,
            version: "*",
            resource: "signers",
            subresource: "",
            name,
            field_selector: "",
            label_selector: "",
            is_resource_request: true,
            path: "",
        };
        if decide(asked, &attributes.ctx.registry).await == Decision::Allow {
            return true;
        }
    }
    false
}

/// `ClusterTrustBundleAttest`: who vouches for a signer's roots must be allowed to.
pub(super) struct TrustBundleAttest;

impl Admission for TrustBundleAttest {
    fn name(&self) -> &'static str {
        "ClusterTrustBundleAttest"
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: Option<&'a Object>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        async move {
            let is_write = matches!(attributes.operation, Operation::Create | Operation::Update);
            let is_bundle = attributes.resource.group == GROUP && attributes.resource.plural == "clustertrustbundles";
            let Some(bundle) = object.filter(|_| is_write && is_bundle) else { return Ok(()) };
            let signer = bundle.str_at(&["spec", "signerName"]);
            let is_same = attributes.old.is_some_and(|old| changes_collection_only(old, bundle));
            if signer.is_empty() || is_same || may(attributes, "attest", signer).await {
                return Ok(());
            }
            let why = format!("user not permitted to attest for signerName {signer:?}");
            Err(forbidden(attributes, object, &why))
        }
        .boxed()
    }
}

/// `CertificateSubjectRestriction`: nobody gets into `system:masters` by a request.
pub(super) fn subject_restriction(attributes: &Attributes<'_>, object: Option<&Object>) -> Result<(), Status> {
    let Some(request) = object.filter(|_| is(attributes, GROUP, RESOURCE, "")) else { return Ok(()) };
    let restricted = request.str_at(&["spec", "signerName"]) == "kubernetes.io/kube-apiserver-client";
    if attributes.operation != Operation::Create || !restricted {
        return Ok(());
    }
    let masters =
        |subject: &X509Name<'_>| subject.iter_organization().any(|group| group.as_str() == Ok("system:masters"));
    let masters = subject(request, masters);
    if masters.map_err(|why| forbidden(attributes, object, &format!("unable to parse CSR: {why}")))? {
        let why = "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed";
        return Err(forbidden(attributes, object, why));
    }
    Ok(())
}

/// What `read` finds in the subject of a signing request (`ParseCSR`).
///
/// # Errors
/// Why the request cannot be read.
pub(super) fn subject<T>(request: &Object, read: impl FnOnce(&X509Name<'_>) -> T) -> Result<T, String> {
    let pem = STANDARD.decode(request.str_at(&["spec", "request"])).unwrap_or_default();
    let der = CertificateSigningRequestDer::from_pem_slice(&pem)
        .map_err(|_| "PEM block type must be CERTIFICATE REQUEST".to_string())?;
    let (_, parsed) = X509CertificationRequest::from_der(&der).map_err(|error| error.to_string())?;
    Ok(read(&parsed.certification_request_info.subject))
}
