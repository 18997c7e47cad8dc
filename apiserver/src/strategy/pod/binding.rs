//! `pods/binding` and `bindings`: a pod gets its node, once.

use std::sync::Arc;

use api::{Object, Status, time};
use futures::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};
use store::{StoreError, Transaction};

use super::set_condition;
use crate::Context;
use crate::plug::{Creater, Endpoints};
use crate::registry::{key, read, store_status};

/// How often a binding is tried when the pod changes meanwhile.
const ATTEMPTS_MAX: usize = 100;

/// Plugs in both ways of binding.
pub fn endpoints(endpoints: &mut Endpoints) {
    endpoints.creater("", "pods", "binding", Arc::new(Binding));
    endpoints.creater("", "bindings", "", Arc::new(Binding));
}

struct Binding;

impl Creater for Binding {
    fn create<'a>(&'a self, ctx: &'a Context, name: &'a str, object: Object) -> BoxFuture<'a, Result<Object, Status>> {
        bind(ctx, name, object).boxed()
    }
}

async fn bind(ctx: &Context, name: &str, binding: Object) -> Result<Object, Status> {
    let name = if name.is_empty() { binding.name().to_string() } else { name.to_string() };
    if binding.name() != name {
        return Err(Status::bad_request("name in URL does not match name in Binding object"));
    }
    if name.is_empty() {
        return Err(Status::bad_request("Name parameter required."));
    }
    if name.contains('/') {
        return Err(Status::bad_request(format!("Name parameter invalid: {name:?}: may not contain '/'")));
    }
    let kind = binding.str_at(&["target", "kind"]);
    if !kind.is_empty() && kind != "Node" {
        let why = format!("target.kind: Unsupported value: {kind:?}: supported values: \"Node\", \"<empty>\"");
        return Err(Status::failure(500, "", why));
    }
    if binding.str_at(&["target", "name"]).is_empty() {
        return Err(Status::failure(500, "", "target.name: Required value"));
    }
    let key: Arc<str> = key("", "pods", &ctx.info.namespace, &name).into();
    for _ in 0..ATTEMPTS_MAX {
        let snapshot = ctx.registry.snapshot();
        let entry = snapshot.get(&key).ok_or_else(|| Status::not_found("", "pods", &name))?;
        let mut pod = read(entry).ok_or_else(|| Status::internal("the stored pod does not parse"))?;
        is_meant(ctx, &pod, &binding)?;
        assign(ctx, &mut pod, &binding).map_err(|why| Status::conflict("", "pods/binding", &name, &why))?;
        if ctx.options.dry_run {
            return Ok(success());
        }
        let transaction = Transaction::update(key.clone(), entry.mod_revision(), pod.encode());
        match ctx.registry.store().commit(transaction).await {
            Ok(_) => return Ok(success()),
            Err(StoreError::ConditionFailed { .. }) => {}
            Err(error) => return Err(store_status(&error)),
        }
    }
    Err(Status::stale("", "pods/binding", &name))
}

/// Whether the pod is the one that the binding is for (`storage.Preconditions`).
fn is_meant(ctx: &Context, pod: &Object, binding: &Object) -> Result<(), Status> {
    let pairs =
        [("UID", binding.uid(), pod.uid()), ("ResourceVersion", binding.resource_version(), pod.resource_version())];
    let Some((what, wanted, found)) =
        pairs.into_iter().find(|(_, wanted, found)| !wanted.is_empty() && wanted != found)
    else {
        return Ok(());
    };
    let (namespace, name) = (&ctx.info.namespace, pod.name());
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: /registry/pods/{namespace}/{name}, ResourceVersion: 0, \
         AdditionalErrorMsg: Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
    );
    Err(Status::conflict("", "pods", name, &why))
}

fn assign(ctx: &Context, pod: &mut Object, binding: &Object) -> Result<(), String> {
    let name = pod.name().to_string();
    if pod.at(&["metadata", "deletionTimestamp"]).is_some() {
        return Err(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let node = pod.str_at(&["spec", "nodeName"]);
    if !node.is_empty() {
        return Err(format!("pod {name} is already assigned to node {node:?}"));
    }
    if !super::array(pod, &["spec", "schedulingGates"]).is_empty() {
        return Err(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    pod.set(&["spec", "nodeName"], binding.str_at(&["target", "name"]));
    pod.remove(&["status", "nominatedNodeName"]);
    for map in ["annotations", "labels"] {
        let more = binding.at(&["metadata", map]).and_then(Value::as_object).into_iter().flatten();
        for (key, value) in more {
            pod.set(&["metadata", map, key], value.clone());
        }
    }
    set_condition(pod, "PodScheduled", &time::format(ctx.now), &[("status", "True")]);
    Ok(())
}

/// `metav1.Status` of a create that answers with nothing else.
pub(super) fn success() -> Object {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Object::from_value(status).expect("written as an object")
}
