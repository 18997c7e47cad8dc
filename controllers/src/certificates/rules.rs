//! What each signer of the cluster signs (`pkg/apis/certificates/helpers.go`, and `signer.go` of the controller).

use std::collections::BTreeSet;

use super::Requested;

pub(super) const API_CLIENT: &str = "kubernetes.io/kube-apiserver-client";
pub(super) const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// Whether a signer is one of the cluster's, and what a request of it must not ask for.
pub(super) fn check(signer: &str, requested: &Requested, usages: &[String]) -> Option<Result<(), String>> {
    match signer {
        KUBELET_SERVING => Some(kubelet_serving(requested, usages)),
        KUBELET_CLIENT => Some(kubelet_client(requested, usages)),
        API_CLIENT => Some(api_client(usages)),
        // Anything, as ever.
        LEGACY => Some(Ok(())),
        _ => None,
    }
}

/// `ValidateKubeletServingCSR`
fn kubelet_serving(requested: &Requested, usages: &[String]) -> Result<(), String> {
    of_nodes(requested)?;
    if requested.dns_names == 0 && requested.addresses == 0 {
        return Err("DNS or IP subjectAltName is required".into());
    }
    none("Email", requested.emails)?;
    none("URI", requested.uris)?;
    exactly(usages, "server auth")?;
    of_a_node(requested)
}

/// `ValidateKubeletClientCSR`
pub(super) fn kubelet_client(requested: &Requested, usages: &[String]) -> Result<(), String> {
    of_nodes(requested)?;
    none("DNS", requested.dns_names)?;
    none("Email", requested.emails)?;
    none("IP", requested.addresses)?;
    none("URI", requested.uris)?;
    of_a_node(requested)?;
    exactly(usages, "client auth")
}

/// `validAPIServerClientUsages`
fn api_client(usages: &[String]) -> Result<(), String> {
    let allowed = ["digital signature", "key encipherment", "client auth"];
    if let Some(usage) = usages.iter().find(|usage| !allowed.contains(&usage.as_str())) {
        return Err(format!("invalid usage for client certificate: {usage}"));
    }
    if usages.iter().any(|usage| usage == "client auth") {
        return Ok(());
    }
    Err("missing required usage for client certificate: client auth".into())
}

fn of_nodes(requested: &Requested) -> Result<(), String> {
    if requested.organizations == ["system:nodes"] {
        Ok(())
    } else {
        Err("subject organization is not system:nodes".into())
    }
}

fn of_a_node(requested: &Requested) -> Result<(), String> {
    if requested.common_name.starts_with("system:node:") {
        return Ok(());
    }
    Err("subject common name does not begin with system:node:".into())
}

fn none(kind: &str, count: usize) -> Result<(), String> {
    if count == 0 { Ok(()) } else { Err(format!("{kind} subjectAltNames are not allowed")) }
}

/// The usages of a key of this purpose, with or without that of RSA.
fn exactly(usages: &[String], purpose: &str) -> Result<(), String> {
    let given: BTreeSet<&str> = usages.iter().map(String::as_str).collect();
    let wanted: BTreeSet<&str> = ["digital signature", purpose].into();
    let with_rsa: BTreeSet<&str> = wanted.iter().copied().chain(["key encipherment"]).collect();
    if given == wanted || given == with_rsa {
        return Ok(());
    }
    let listed: Vec<&str> = with_rsa.into_iter().collect();
    Err(format!("usages did not match [{}]", listed.join(" ")))
}
