//! What a node may ask to be signed: certificates of its own name.

use api::Object;

use super::super::certificates;
use super::{Attributes, Checked, Operation, no};

/// The signers whose certificates make a node.
const NODE_SIGNERS: [&str; 2] = ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];

/// `admitCSR`
pub(super) fn request(node: &str, attributes: &Attributes<'_>, object: Option<&Object>) -> Checked {
    let Some(request) = object.filter(|_| attributes.operation == Operation::Create) else { return Ok(()) };
    if !NODE_SIGNERS.contains(&request.str_at(&["spec", "signerName"])) {
        return Ok(());
    }
    let name = certificates::subject(request, |subject| {
        subject.iter_common_name().last().and_then(|name| name.as_str().ok()).map(String::from)
    });
    let name = name.map_err(|why| format!("unable to parse csr: {why}"))?;
    if name.as_deref() == Some(&format!("system:node:{node}")) {
        return Ok(());
    }
    no(format!("can only create a node CSR with CN=system:node:{node}"))
}
