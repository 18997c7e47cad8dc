//! The kinds of `storage.k8s.io`.

use serde_json::Value;

use super::{Kind, Through};
use crate::table::Cell::{Age, Bool, Call, Count, Name, Text};
use crate::table::cells::{at, defaulted, joined, list, names, or};
use crate::table::shared::NAME_AND_CREATION;
use crate::validation::{csi, storage_classes, warnings};

pub(super) static KINDS: &[Kind] = &[
    Kind::named("csidrivers").validated(csi::driver).warned(warnings::driver).cells(&[
        Name,
        Bool("spec.attachRequired", true),
        Bool("spec.podInfoOnMount", false),
        Bool("spec.storageCapacity", false),
        Call(|o, _| match at(o, "spec.tokenRequests").and_then(Value::as_array) {
            Some(requests) => names(requests, "audience"),
            None => "<unset>".into(),
        }),
        Bool("spec.requiresRepublish", false),
        Call(|o, _| or(&joined(list(o, "spec.volumeLifecycleModes"), ","), "<none>").into()),
        Age,
    ]),
    Kind::named("csinodes").validated(csi::node).cells(&[Name, Count("spec.drivers"), Age]),
    Kind::named("csistoragecapacities").validated(csi::capacity).warned(warnings::capacity).cells(NAME_AND_CREATION),
    Kind::named("storageclasses").validated(storage_classes::storage_class).warned(warnings::storage_class).cells(&[
        Call(|o, _| defaulted(o, "storageclass.kubernetes.io/is-default-class")),
        Text("provisioner", ""),
        Text("reclaimPolicy", "Delete"),
        Text("volumeBindingMode", "Immediate"),
        Bool("allowVolumeExpansion", false),
        Age,
    ]),
    Kind::named("volumeattachments")
        .validated(csi::attachment)
        .through(&[Through::named("status").validated(csi::attachment)])
        .cells(&[
            Name,
            Text("spec.attacher", ""),
            Text("spec.source.persistentVolumeName", ""),
            Text("spec.nodeName", ""),
            Bool("status.attached", false),
            Age,
        ]),
    Kind::named("volumeattributesclasses").validated(storage_classes::attributes_class).cells(&[
        Name,
        Text("driverName", ""),
        Age,
    ]),
];
