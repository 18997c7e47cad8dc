//! Who may write which part of the status of a claim of devices: its devices and whom it is reserved for is the scheduler's,
//! what is said of a device is its driver's (`AuthorizedForBinding` and `AuthorizedForDeviceStatus` in
//! `pkg/registry/resource`). Both are asked of subresources that nothing serves.

use std::collections::{BTreeMap, BTreeSet};

use api::field::{ErrorList, FieldError, Path};
use api::{Object, Status, UserInfo};
use futures::future::{BoxFuture, FutureExt};
use serde_json::Value;

use super::{Admission, Attributes, Operation, is};
use crate::authorization::{self, Decision, decide};

const GROUP: &str = "resource.k8s.io";
const RESOURCE: &str = "resourceclaims";
/// What a service account's token says of the node of its pod.
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
/// What the verbs begin with of those who may write for drivers on their own node, and on any.
const ASSOCIATED: &str = "associated-node:";
const ARBITRARY: &str = "arbitrary-node:";

/// The check of what is written into the status of claims.
pub(super) struct ClaimStatus;

impl Admission for ClaimStatus {
    fn name(&self) -> &'static str {
        "ResourceClaimStatus"
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: Option<&'a Object>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        let is_meant = attributes.operation == Operation::Update && is(attributes, GROUP, RESOURCE, "status");
        match (object, attributes.old) {
            (Some(new), Some(old)) if is_meant => check(attributes, new, old).boxed(),
            _ => futures::future::ready(Ok(())).boxed(),
        }
    }
}

async fn check(attributes: &Attributes<'_>, new: &Object, old: &Object) -> Result<(), Status> {
    let mut errors = ErrorList::new();
    let verb = attributes.ctx.info.verb.as_str();
    let status = Path::new("status");
    let differs = |field: &str| set(new.at(&["status", field])) != set(old.at(&["status", field]));
    if (differs("allocation") || differs("reservedFor"))
        && let Err(why) = permit(attributes, verb, "binding", "", "").await
    {
        let needs = format!("requires resource=\"resourceclaims/binding\", verb=\"{verb}\" permission: {why}");
        let said = format!("changing status.allocation or status.reservedFor {needs}");
        errors.push(FieldError::forbidden(&status.child("allocation"), said));
    }
    // With the devices of a claim what is said of them goes.
    if set(new.at(&["status", "allocation"])).is_some() {
        let verbs = match is_on_node(&attributes.ctx.user, new) {
            true => vec![format!("{ASSOCIATED}{verb}"), format!("{ARBITRARY}{verb}")],
            false => vec![format!("{ARBITRARY}{verb}")],
        };
        for driver in changed_drivers(new, old) {
            let mut refused = None;
            for verb in &verbs {
                match permit(attributes, verb, "driver", attributes.namespace, &driver).await {
                    Ok(()) => {
                        refused = None;
                        break;
                    }
                    Err(why) => _ = refused.get_or_insert(why),
                }
            }
            if let Some(why) = refused {
                let shown = verbs.join(" ");
                let needs =
                    format!("requires resource=\"resourceclaims/driver\", verb=\"[{shown}]\" permission: {why}");
                errors
                    .push(FieldError::forbidden(&status.child("devices"), format!("changing status.devices {needs}")));
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid(GROUP, "ResourceClaim", attributes.name, &errors)) }
}

/// A value, unless it says nothing.
fn set(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()))
}

/// Asks whether the user may; what the authorizers say if not.
async fn permit(
    attributes: &Attributes<'_>,
    verb: &str,
    subresource: &str,
    namespace: &str,
    name: &str,
) -> Result<(), String> {
    let asked = || authorization::Attributes {
        user: &attributes.ctx.user,
        verb,
        namespace,
        group: GROUP,
        version: "v1",
        resource: RESOURCE,
        subresource,
        name,
        field_selector: "",
        label_selector: "",
        is_resource_request: true,
        path: "",
    };
    match decide(asked(), &attributes.ctx.registry).await {
        Decision::Allow => Ok(()),
        Decision::Deny(why) | Decision::NoOpinion(why) | Decision::Failed { why, .. } => {
            Err(authorization::forbidden(&asked(), &why).message)
        }
    }
}

type Key<'a> = [&'a str; 4];

/// The drivers of which something else is said than before.
fn changed_drivers(new: &Object, old: &Object) -> BTreeSet<String> {
    let (mut before, after) = (said(old), said(new));
    let mut changed = BTreeSet::new();
    for (key, device) in &after {
        if before.remove(key) != Some(*device) {
            changed.insert(key[0].to_owned());
        }
    }
    changed.extend(before.keys().map(|key| key[0].to_owned()));
    changed
}

/// What is said of devices.
fn said(claim: &Object) -> BTreeMap<Key<'_>, &Value> {
    let devices = claim.at(&["status", "devices"]).and_then(Value::as_array).into_iter().flatten();
    devices.map(|device| (key_of(device), device)).collect()
}

/// Driver, pool, device, and which part of it.
fn key_of(device: &Value) -> Key<'_> {
    ["driver", "pool", "device", "shareID"].map(|name| device.get(name).and_then(Value::as_str).unwrap_or_default())
}

/// Whether the user is a service account of a pod on the only node where the claim's devices can be used.
fn is_on_node(user: &UserInfo, claim: &Object) -> bool {
    let Some(node) = node_of(claim) else { return false };
    let is_account = user.username.starts_with("system:serviceaccount:");
    is_account && user.extra.get(NODE_NAME).is_some_and(|names| names.as_slice() == [node])
}

/// The only node where a claim's devices can be used, if there is only one.
fn node_of(claim: &Object) -> Option<&str> {
    let terms = claim.at(&["status", "allocation", "nodeSelector", "nodeSelectorTerms"])?.as_array()?;
    let [term] = terms.as_slice() else { return None };
    let list = |name: &str| term.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let ([], [field]) = (list("matchExpressions"), list("matchFields")) else { return None };
    let text = |name: &str| field.get(name).and_then(Value::as_str);
    let values = field.get("values")?.as_array()?.as_slice();
    match (text("key"), text("operator"), values) {
        (Some("metadata.name"), Some("In"), [value]) => value.as_str().filter(|name| !name.is_empty()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(status: Value) -> Object {
        Object::from_value(json!({"metadata": {"name": "c"}, "status": status})).expect("an object")
    }

    #[test]
    fn a_driver_is_asked_for_when_something_else_is_said_of_its_devices() {
        let device =
            |driver: &str, ready: bool| json!({"driver": driver, "pool": "p", "device": "d", "data": {"ready": ready}});
        let check = |old: Value, new: Value, expected: &[&str]| {
            let (old, new) = (claim(json!({"devices": old})), claim(json!({"devices": new})));
            let found = changed_drivers(&new, &old);
            assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        };
        check(json!([device("a", true)]), json!([device("a", true)]), &[]);
        check(json!([device("a", true)]), json!([device("a", false), device("b", true)]), &["a", "b"]);
        check(json!([device("a", true)]), json!([]), &["a"]);
    }

    #[test]
    fn an_account_is_on_the_node_of_devices_that_are_nowhere_else() {
        let on = |selector: Value, node: &str| {
            let mut user = UserInfo { username: "system:serviceaccount:n:driver".into(), ..UserInfo::default() };
            user.extra.insert(NODE_NAME.into(), vec![node.into()]);
            is_on_node(&user, &claim(json!({"allocation": {"nodeSelector": selector}})))
        };
        let field = json!({"key": "metadata.name", "operator": "In", "values": ["one"]});
        let only = json!({"nodeSelectorTerms": [{"matchFields": [field]}]});
        assert!(on(only.clone(), "one") && !on(only, "two") && !on(json!(null), "one"));
        assert!(!on(json!({"nodeSelectorTerms": [{"matchFields": [field, field]}]}), "one"));
    }
}
