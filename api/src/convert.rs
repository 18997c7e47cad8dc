//! Conversion of an object between the versions of a built-in kind that are served: events and autoscalers. All other
//! built-in kinds have one version, and custom resources are converted by their own strategy.

mod autoscaling;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::Object;
use crate::decode::normalise;
use crate::schema::Schema;

/// No conversion between these versions is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("converting {kind} from {from} to {to}: unknown conversion")]
pub struct ConvertError {
    /// The kind.
    pub kind: String,
    /// The object's `apiVersion`.
    pub from: String,
    /// The one that was asked for.
    pub to: String,
}

/// Converts an object to another `apiVersion`; does nothing if it has it.
///
/// # Errors
/// [`ConvertError`] if the kind has no such version.
pub fn convert(object: &mut Object, api_version: &str) -> Result<(), ConvertError> {
    if object.api_version() == api_version {
        return Ok(());
    }
    match (object.kind(), object.api_version(), api_version) {
        ("Event", "v1", "events.k8s.io/v1") => rename(&mut object.0, &EVENT_FIELDS, false),
        ("Event", "events.k8s.io/v1", "v1") => rename(&mut object.0, &EVENT_FIELDS, true),
        ("HorizontalPodAutoscaler", "autoscaling/v1", "autoscaling/v2") => autoscaling::upgrade(&mut object.0),
        ("HorizontalPodAutoscaler", "autoscaling/v2", "autoscaling/v1") => autoscaling::downgrade(&mut object.0),
        (kind, from, to) => {
            return Err(ConvertError { kind: kind.to_string(), from: from.to_string(), to: to.to_string() });
        }
    }
    object.0.insert("apiVersion".to_string(), api_version.into());
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if let Some(schema) = Schema::of(group, version, object.kind()) {
        normalise(&schema, object);
    }
    Ok(())
}

/// The fields of an event that have another name in the core group (first) than in `events.k8s.io`.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename(map: &mut Map<String, Value>, names: &[(&str, &str)], back: bool) {
    for (one, other) in names {
        let (from, to) = if back { (other, one) } else { (one, other) };
        if let Some(value) = map.remove(*from) {
            map.insert((*to).to_string(), value);
        }
    }
}
