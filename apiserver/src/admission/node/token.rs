//! The tokens that a node may ask for: those of its own pods, for the audiences that they need.

use api::pods::claim_of;
use api::{Object, Status};
use serde_json::Value;

use super::{Attributes, Checked, Operation, Refusal, no};
use crate::authorization::{self, Decision, decide};

/// Volumes that are in the tree and the drivers that serve them now (`csi-translation-lib`).
const MIGRATED: [(&str, &str); 7] = [
    ("awsElasticBlockStore", "ebs.csi.aws.com"),
    ("azureDisk", "disk.csi.azure.com"),
    ("azureFile", "file.csi.azure.com"),
    ("cinder", "cinder.csi.openstack.org"),
    ("gcePersistentDisk", "pd.csi.storage.gke.io"),
    ("portworxVolume", "pxd.portworx.com"),
    ("vsphereVolume", "csi.vsphere.vmware.com"),
];

/// A request for a token must be bound to a pod of the node (`admitServiceAccount`).
pub(super) async fn check(node: &str, attributes: &Attributes<'_>, object: Option<&Object>) -> Checked {
    let Some(request) = object.filter(|_| attributes.operation == Operation::Create) else { return Ok(()) };
    let field = |name: &str| request.str_at(&["spec", "boundObjectRef", name]);
    if (field("apiVersion"), field("kind")) != ("v1", "Pod") || field("name").is_empty() {
        return no("node requested token not bound to a pod");
    }
    if field("uid").is_empty() {
        return no("node requested token with a pod binding without a uid");
    }
    let name = field("name");
    let pod = attributes.ctx.registry.get("", "pods", attributes.namespace, name);
    let pod = pod.ok_or_else(|| Refusal::Status(Status::not_found("", "pods", name)))?;
    if pod.uid() != field("uid") {
        return no(format!(
            "the UID in the bound object reference ({}) does not match the UID in record. \
             The object might have been deleted and then recreated",
            field("uid")
        ));
    }
    if pod.str_at(&["spec", "nodeName"]) != node {
        return no("node requested token bound to a pod scheduled on a different node");
    }
    audience(attributes, request, &pod).await
}

/// A node may ask for the audiences only that the pod's own volumes name, or that it has leave for
/// (`validateNodeServiceAccountAudience`).
async fn audience(attributes: &Attributes<'_>, request: &Object, pod: &Object) -> Checked {
    let audiences = request.at(&["spec", "audiences"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let wanted = match audiences {
        [] => "",
        [one] => one.as_str().unwrap_or(""),
        _ => return no("node may only request 0 or 1 audiences"),
    };
    if of_pod(attributes, pod, wanted).map_err(|why| format!("error validating audience {wanted:?}: {why}"))? {
        return Ok(());
    }
    let user = &attributes.ctx.user;
    let asked = authorization::Attributes {
        user,
        verb: "request-serviceaccounts-token-audience",
        namespace: attributes.namespace,
        group: "",
        version: "v1",
        resource: wanted,
        subresource: "",
        name: attributes.name,
        field_selector: "",
        label_selector: "",
        is_resource_request: true,
        path: "",
    };
    if decide(asked, &attributes.ctx.registry).await == Decision::Allow {
        return Ok(());
    }
    no(format!(
        "audience {wanted:?} not found in pod spec volume, {} is not authorized to request tokens for this audience",
        user.username
    ))
}

/// Whether a volume of the pod, or the driver that serves it, names the audience.
fn of_pod(attributes: &Attributes<'_>, pod: &Object, audience: &str) -> Result<bool, String> {
    let mut faults = Vec::new();
    for volume in pod.at(&["spec", "volumes"]).and_then(Value::as_array).into_iter().flatten() {
        if projects(volume, audience) {
            return Ok(true);
        }
        let driver = driver(attributes, pod, volume).and_then(|driver| match driver {
            Some(driver) => has_audience(attributes, &driver, audience),
            None => Ok(false),
        });
        match driver {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(fault) => faults.push(fault),
        }
    }
    match faults.len() {
        0 => Ok(false),
        1 => Err(faults.remove(0)),
        _ => Err(format!("[{}]", faults.join(", "))),
    }
}

fn projects(volume: &Value, audience: &str) -> bool {
    let sources = volume.get("projected").and_then(|projected| projected.get("sources")).and_then(Value::as_array);
    let tokens = sources.into_iter().flatten().filter_map(|source| source.get("serviceAccountToken"));
    tokens.filter(|token| !token.is_null()).any(|token| text(token, "audience") == audience)
}

/// The driver that serves a volume: its own, or that of the persistent volume behind it.
fn driver(attributes: &Attributes<'_>, pod: &Object, volume: &Value) -> Result<Option<String>, String> {
    if let Some(claim) = claim_of(pod.name(), volume) {
        return of_claim(attributes, &claim);
    }
    if volume.get("csi").is_some_and(|source| !source.is_null()) {
        return Ok(Some(text(&volume["csi"], "driver").to_string()));
    }
    Ok(migrated(volume))
}

fn of_claim(attributes: &Attributes<'_>, name: &str) -> Result<Option<String>, String> {
    let registry = &attributes.ctx.registry;
    let claim = registry.get("", "persistentvolumeclaims", attributes.namespace, name);
    let claim = claim.ok_or_else(|| format!("persistentvolumeclaim {name:?} not found"))?;
    let name = claim.str_at(&["spec", "volumeName"]);
    let volume = registry.get("", "persistentvolumes", "", name);
    let volume = volume.ok_or_else(|| format!("persistentvolume {name:?} not found"))?;
    let Some(spec) = volume.at(&["spec"]) else { return Ok(None) };
    match spec.get("csi") {
        Some(csi) if !csi.is_null() => Ok(Some(text(csi, "driver").to_string())),
        _ => Ok(migrated(spec)),
    }
}

fn migrated(volume: &Value) -> Option<String> {
    let found = MIGRATED.iter().find(|(sort, _)| volume.get(sort).is_some_and(|source| !source.is_null()));
    found.map(|(_, driver)| driver.to_string())
}

fn has_audience(attributes: &Attributes<'_>, driver: &str, audience: &str) -> Result<bool, String> {
    let found = attributes.ctx.registry.get("storage.k8s.io", "csidrivers", "", driver);
    let found = found.ok_or_else(|| format!("csidriver.storage.k8s.io {driver:?} not found"))?;
    let requests = found.at(&["spec", "tokenRequests"]).and_then(Value::as_array);
    Ok(requests.into_iter().flatten().any(|request| text(request, "audience") == audience))
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or("")
}
