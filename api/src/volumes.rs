//! Rules about claims and volumes that the API server and the components share (`k8s.io/component-helpers/storage/volume`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use serde_json::{Map, Value};

use crate::Object;

/// The annotation that named the class before there was a field for it; it goes before the field (`BetaStorageClassAnnotation`).
pub const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// A claim or a volume, as JSON or typed, as far as its class goes.
pub trait Classed {
    /// The class that the annotation names.
    fn annotated_class(&self) -> Option<&str>;

    /// The class that the specification names.
    fn specified_class(&self) -> Option<&str>;
}

/// The class that a claim or volume names, if it names one at all: an empty one is not the same as none, as the default class
/// takes the place of none only.
pub fn named_class(object: &impl Classed) -> Option<&str> {
    object.annotated_class().or_else(|| object.specified_class())
}

/// The class of a claim or volume; empty for none (`GetPersistentVolumeClaimClass`, `GetPersistentVolumeClass`).
pub fn class_of(object: &impl Classed) -> &str {
    named_class(object).unwrap_or_default()
}

fn of_annotations(annotations: Option<&BTreeMap<String, String>>) -> Option<&str> {
    annotations?.get(CLASS_ANNOTATION).map(String::as_str)
}

impl Classed for PersistentVolumeClaim {
    fn annotated_class(&self) -> Option<&str> {
        of_annotations(self.metadata.annotations.as_ref())
    }

    fn specified_class(&self) -> Option<&str> {
        self.spec.as_ref()?.storage_class_name.as_deref()
    }
}

impl Classed for PersistentVolume {
    fn annotated_class(&self) -> Option<&str> {
        of_annotations(self.metadata.annotations.as_ref())
    }

    fn specified_class(&self) -> Option<&str> {
        self.spec.as_ref()?.storage_class_name.as_deref()
    }
}

impl Classed for Map<String, Value> {
    fn annotated_class(&self) -> Option<&str> {
        self.get("metadata")?.get("annotations")?.get(CLASS_ANNOTATION)?.as_str()
    }

    fn specified_class(&self) -> Option<&str> {
        self.get("spec")?.get("storageClassName")?.as_str()
    }
}

impl Classed for Object {
    fn annotated_class(&self) -> Option<&str> {
        self.0.annotated_class()
    }

    fn specified_class(&self) -> Option<&str> {
        self.0.specified_class()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_class_of_a_claim() {
        let check = |annotation: Value, class: Value, expected: Option<&str>| {
            let claim = json!({"metadata": {"annotations": {CLASS_ANNOTATION: annotation}}, "spec": {"storageClassName": class}});
            let mut typed = claim.clone();
            if annotation.is_null() {
                typed["metadata"] = json!({});
            }
            let typed_claim: PersistentVolumeClaim = serde_json::from_value(typed.clone()).expect("a claim");
            let typed_volume: PersistentVolume = serde_json::from_value(typed).expect("a volume");
            let json = claim.as_object().expect("a map");
            assert_eq!(named_class(json), expected, "{claim}");
            assert_eq!([named_class(&typed_claim), named_class(&typed_volume)], [expected; 2], "{claim}");
            assert_eq!(class_of(json), expected.unwrap_or_default(), "{claim}");
        };
        check(Value::Null, Value::Null, None);
        check(Value::Null, json!(""), Some(""));
        check(Value::Null, json!("gold"), Some("gold"));
        check(json!("old"), json!("gold"), Some("old"));
        check(json!(""), json!("gold"), Some(""));
        check(json!("old"), Value::Null, Some("old"));
    }
}
