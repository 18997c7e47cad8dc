//! Nothing is made in a namespace that is not there or is going away.

use api::status::StatusCause;
use api::{Object, Status};
use memchr::memmem;

use super::{Attributes, Operation, forbidden, is};
use crate::registry::{key, read};

/// Namespaces that may not be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(super) fn lifecycle(attributes: &Attributes<'_>, object: Option<&mut Object>) -> Result<(), Status> {
    let is_namespace = attributes.resource.group.is_empty() && attributes.resource.plural == "namespaces";
    if is_namespace {
        if attributes.operation == Operation::Delete && IMMORTAL.contains(&attributes.name) {
            return Err(forbidden(attributes, None, "this namespace may not be deleted"));
        }
        return Ok(());
    }
    let namespace = attributes.namespace;
    let changes = matches!(attributes.operation, Operation::Create | Operation::Update);
    if namespace.is_empty() || !changes || is(attributes, "authorization.k8s.io", "localsubjectaccessreviews", "") {
        return Ok(());
    }
    let snapshot = attributes.ctx.registry.snapshot();
    let entry = snapshot.get(&key("", "namespaces", "", namespace));
    let entry = entry.ok_or_else(|| Status::not_found("", "namespaces", namespace))?;
    if attributes.operation != Operation::Create || memmem::find(&entry.value(), b"Terminating").is_none() {
        return Ok(());
    }
    if read(entry).is_none_or(|namespace| namespace.str_at(&["status", "phase"]) != "Terminating") {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut status = forbidden(attributes, object.as_deref(), &why);
    if let Some(details) = &mut status.details {
        details.causes.push(StatusCause {
            reason: "NamespaceTerminating".into(),
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".into(),
        });
    }
    Err(status)
}
