//! `AlwaysPullImages`: whoever runs an image shows each time that they may have it.

use api::field::{FieldError, Path, aggregate};
use api::{Object, Status};
use serde_json::Value;

use super::{Attributes, Operation, forbidden, is};
use crate::registry::create::plain_failure;

const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];
const ALWAYS: &str = "Always";

/// Makes every container, and every volume of an image, pull.
pub(super) fn always_pull(attributes: &Attributes<'_>, object: Option<&mut Object>) -> Result<(), Status> {
    let Some(pod) = object else { return Ok(()) };
    if !is_meant(attributes, pod) {
        return Ok(());
    }
    let Some(spec) = pod.0.get_mut("spec") else { return Ok(()) };
    for list in LISTS {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            container["imagePullPolicy"] = ALWAYS.into();
        }
    }
    for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(image) = volume.get_mut("image").filter(|image| image.is_object()) {
            image["pullPolicy"] = ALWAYS.into();
        }
    }
    Ok(())
}

/// Refuses a pod in which another plugin has changed that.
pub(super) fn pulls(attributes: &Attributes<'_>, object: Option<&Object>) -> Result<(), Status> {
    let Some(pod) = object.filter(|pod| is_meant(attributes, pod)) else { return Ok(()) };
    let spec = Path::new("spec");
    let mut wrong = Vec::new();
    let mut check = |path: Path, policy: &Value| {
        if *policy != ALWAYS {
            let given = policy.as_str().unwrap_or("");
            let error = FieldError::not_supported(&path, given, &[ALWAYS]);
            wrong.push(forbidden(attributes, Some(pod), &error.to_string()).message);
        }
    };
    for list in LISTS {
        for (at, container) in items(pod, list).iter().enumerate() {
            check(spec.child(list).index(at).child("imagePullPolicy"), &container["imagePullPolicy"]);
        }
    }
    for (at, volume) in items(pod, "volumes").iter().enumerate().filter(|(_, volume)| !volume["image"].is_null()) {
        check(spec.child("volumes").index(at).child("image").child("pullPolicy"), &volume["image"]["pullPolicy"]);
    }
    if wrong.is_empty() { Ok(()) } else { Err(plain_failure(aggregate(wrong))) }
}

/// A pod that is new, or has an image that it had not.
fn is_meant(attributes: &Attributes<'_>, pod: &Object) -> bool {
    if !is(attributes, "", "pods", "") {
        return false;
    }
    match (attributes.operation, attributes.old) {
        (Operation::Create, _) => true,
        (Operation::Update, Some(old)) => {
            let had = |image: &Value| LISTS.iter().any(|list| items(old, list).iter().any(|c| c["image"] == *image));
            LISTS.iter().any(|list| items(pod, list).iter().any(|container| !had(&container["image"])))
        }
        _ => false,
    }
}

fn items<'a>(pod: &'a Object, list: &str) -> &'a [Value] {
    pod.at(&["spec", list]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
