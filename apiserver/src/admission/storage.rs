//! Claims and volumes on the way in.

use api::quantity::Quantity;
use api::volumes::{class_of, named_class};
use api::{Object, Status};
use serde_json::{Value, json};

use super::{Attributes, Operation, forbidden, is};
use crate::Registry;

const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
const BETA_DEFAULT: &str = "storageclass.beta.kubernetes.io/is-default-class";

/// `DefaultStorageClass`: a claim that names no class gets the default one.
pub(super) fn default_class(attributes: &Attributes<'_>, object: Option<&mut Object>) -> Result<(), Status> {
    let Some(claim) = object.filter(|_| is(attributes, "", "persistentvolumeclaims", "")) else { return Ok(()) };
    if attributes.operation == Operation::Create
        && named_class(claim).is_none()
        && let Some(class) = newest_default(&attributes.ctx.registry)
    {
        claim.set(&["spec", "storageClassName"], class);
    }
    Ok(())
}

/// The newest class marked as default; of two made at once, the first by name.
fn newest_default(registry: &Registry) -> Option<String> {
    let classes = registry.list_in(&registry.snapshot(), "storage.k8s.io", "storageclasses", "");
    let marked = |class: &Object| {
        let annotation = |name: &str| class.str_at(&["metadata", "annotations", name]) == "true";
        annotation(DEFAULT) || annotation(BETA_DEFAULT)
    };
    let mut defaults: Vec<Object> = classes.into_iter().filter(marked).collect();
    defaults.sort_by(|a, b| {
        let time = |class: &Object| class.str_at(&["metadata", "creationTimestamp"]).to_string();
        time(b).cmp(&time(a)).then_with(|| a.name().cmp(b.name()))
    });
    defaults.first().map(|class| class.name().to_string())
}

/// `StorageObjectInUseProtection`: a claim in use, a bound volume, and a class that either has, are not deleted at once.
pub(super) fn in_use_protection(attributes: &Attributes<'_>, object: Option<&mut Object>) -> Result<(), Status> {
    let Some(object) = object.filter(|_| attributes.operation == Operation::Create) else { return Ok(()) };
    let finalizer = if is(attributes, "", "persistentvolumeclaims", "") {
        "kubernetes.io/pvc-protection"
    } else if is(attributes, "", "persistentvolumes", "") {
        "kubernetes.io/pv-protection"
    } else if is(attributes, "storage.k8s.io", "volumeattributesclasses", "") {
        "kubernetes.io/vac-protection"
    } else {
        return Ok(());
    };
    let mut finalizers = object.at(&["metadata", "finalizers"]).and_then(Value::as_array).cloned().unwrap_or_default();
    if !finalizers.contains(&json!(finalizer)) {
        finalizers.push(finalizer.into());
        object.set(&["metadata", "finalizers"], finalizers);
    }
    Ok(())
}

/// `PersistentVolumeClaimResize`: a claim grows only where its class allows it.
pub(super) fn claim_resize(attributes: &Attributes<'_>, object: Option<&Object>) -> Result<(), Status> {
    let (Some(new), Some(old)) = (object, attributes.old) else { return Ok(()) };
    if attributes.operation != Operation::Update || !is(attributes, "", "persistentvolumeclaims", "") {
        return Ok(());
    }
    let size = |claim: &Object| {
        let asked = claim.at(&["spec", "resources", "requests", "storage"])?;
        Quantity::from_json(asked).ok()
    };
    let (Some(wanted), Some(held)) = (size(new), size(old)) else { return Ok(()) };
    if wanted <= held {
        return Ok(());
    }
    if old.str_at(&["status", "phase"]) != "Bound" {
        return Err(forbidden(attributes, object, "Only bound persistent volume claims can be expanded"));
    }
    let class = attributes.ctx.registry.get("storage.k8s.io", "storageclasses", "", class_of(new));
    if class.is_some_and(|class| class.at(&["allowVolumeExpansion"]) == Some(&Value::Bool(true))) {
        return Ok(());
    }
    let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
    Err(forbidden(attributes, object, why))
}
