//! Cells of volumes and claims.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{Cell, at, list, text};
use crate::Object;
use crate::quantity::Quantity;
use crate::volumes::class_of;

fn access_modes(object: &Object, path: &str) -> String {
    let modes = list(object, path);
    let short =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let has = |mode: &&(&str, &str)| modes.iter().any(|m| m.as_str() == Some(mode.0));
    short.iter().filter(has).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

fn storage(object: &Object, path: &str) -> String {
    let value = at(object, path).and_then(|map| map.get("storage"));
    value.and_then(|v| Quantity::from_json(v).ok()).unwrap_or_default().to_string()
}

fn class(object: &Object, _: Timestamp) -> Value {
    class_of(object).into()
}

fn phase(object: &Object, _: Timestamp) -> Value {
    let deleted = at(object, "metadata.deletionTimestamp").is_some();
    if deleted { "Terminating".into() } else { text(object, "status.phase").into() }
}

fn claim(volume: &Object, _: Timestamp) -> Value {
    match at(volume, "spec.claimRef") {
        Some(Value::Object(_)) => {
            format!("{}/{}", text(volume, "spec.claimRef.namespace"), text(volume, "spec.claimRef.name")).into()
        }
        _ => "".into(),
    }
}

/// A volume's cells.
pub(crate) const VOLUME: &[Cell] = &[
    Cell::Name,
    Cell::Call(|o, _| storage(o, "spec.capacity").into()),
    Cell::Call(|o, _| access_modes(o, "spec.accessModes").into()),
    Cell::Text("spec.persistentVolumeReclaimPolicy", ""),
    Cell::Call(phase),
    Cell::Call(claim),
    Cell::Call(class),
    Cell::Text("spec.volumeAttributesClassName", "<unset>"),
    Cell::Text("status.reason", ""),
    Cell::Age,
    Cell::Text("spec.volumeMode", "<unset>"),
];

/// A claim's cells.
pub(crate) const CLAIM: &[Cell] = &[
    Cell::Name,
    Cell::Call(phase),
    Cell::Text("spec.volumeName", ""),
    Cell::Call(
        |o, _| if text(o, "spec.volumeName").is_empty() { "".into() } else { storage(o, "status.capacity").into() },
    ),
    Cell::Call(|o, _| {
        if text(o, "spec.volumeName").is_empty() { "".into() } else { access_modes(o, "status.accessModes").into() }
    }),
    Cell::Call(class),
    Cell::Text("spec.volumeAttributesClassName", "<unset>"),
    Cell::Age,
    Cell::Text("spec.volumeMode", "<unset>"),
];
