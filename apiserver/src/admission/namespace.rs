//! Nothing is made in a namespace that is not there or is going away.

use api::status::StatusCause;
use api::{Object, Status};
use memchr::memmem;

use futures::future::{BoxFuture, FutureExt};
use serde_json::json;

use super::{Admission, Attributes, Operation, forbidden, is};
use crate::context::WriteOptions;
use crate::registry::create::{GivenVersion, create};
use crate::registry::target::Target;
use crate::registry::{key, read};
use crate::{Context, codec, options};

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

/// The namespace of a write.
///
/// # Errors
/// 404 if it is not there.
pub(super) fn of(attributes: &Attributes<'_>) -> Result<Object, Status> {
    let found = attributes.ctx.registry.get("", "namespaces", "", attributes.namespace);
    found.ok_or_else(|| Status::not_found("", "namespaces", attributes.namespace))
}

fn is_in_namespace(attributes: &Attributes<'_>) -> bool {
    let is_namespace = attributes.resource.group.is_empty() && attributes.resource.plural == "namespaces";
    !attributes.namespace.is_empty() && !is_namespace
}

/// `NamespaceExists`: nothing is done in a namespace that is not there.
pub(super) fn exists(attributes: &Attributes<'_>, _: Option<&Object>) -> Result<(), Status> {
    let is_write = attributes.operation != Operation::Connect;
    if is_write && is_in_namespace(attributes) { of(attributes).map(drop) } else { Ok(()) }
}

/// `NamespaceAutoProvision`: a namespace is made with the first object in it.
pub(super) struct AutoProvision;

impl Admission for AutoProvision {
    fn name(&self) -> &'static str {
        "NamespaceAutoProvision"
    }

    fn admit<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: Option<&'a mut Object>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        async move {
            let is_meant = attributes.operation == Operation::Create && is_in_namespace(attributes);
            if !is_meant || attributes.ctx.options.dry_run || of(attributes).is_ok() {
                return Ok(());
            }
            match provide(attributes).await {
                Ok(()) => Ok(()),
                Err(status) if status.reason == "AlreadyExists" => Ok(()),
                Err(status) => Err(forbidden(attributes, object.as_deref(), &status.message)),
            }
        }
        .boxed()
    }
}

/// Makes the namespace, as the server itself.
async fn provide(attributes: &Attributes<'_>) -> Result<(), Status> {
    let ctx = Context::internal(&attributes.ctx.registry);
    let resource = ctx.registry.catalogue().get("", "v1", "namespaces").cloned();
    let resource = resource.ok_or_else(|| Status::internal("there are no namespaces"))?;
    let kind = api::decode::Target::of(&resource);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": attributes.namespace}});
    let object = codec::decode_value(&ctx, Object::from_value(namespace).unwrap_or_default(), &kind)?;
    let target = Target {
        resource: resource.clone(),
        storage: resource,
        subresource: String::new(),
        view: None,
        namespace: String::new(),
        name: attributes.namespace.to_owned(),
        options: options::to_value(&WriteOptions::default(), "CreateOptions"),
    };
    create(&ctx, &target, object, GivenVersion::Refused).await.map(drop)
}
