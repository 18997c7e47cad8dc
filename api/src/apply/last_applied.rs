//! The way from client-side apply, whose annotation holds the last configuration, to server-side apply.

use serde_json::Value;

use super::compare::compare;
use super::fieldset::field_set;
use super::{Conflict, Request};
use crate::Object;

/// The annotation of client-side apply.
pub(crate) const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Most bytes of all annotations together.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// The conflicts that stay when fields that client-side apply set, and that still have that value, are given over.
pub(super) fn not_allowed(request: &Request<'_>, live: &Object, conflicts: Vec<Conflict>) -> Vec<Conflict> {
    let annotation = live.str_at(&["metadata", "annotations", ANNOTATION]);
    let last: Option<Value> = serde_json::from_str(annotation).ok();
    let Some(last) = last.filter(|last| last["apiVersion"].as_str() == Some(request.api_version)) else {
        return conflicts;
    };
    let ty = Some(request.schema.root());
    if !super::typed::validate(&last, ty, true).is_empty() {
        return conflicts;
    }
    let difference = compare(last.as_object(), Some(&live.0), ty);
    let allowed = field_set(&last, ty)
        .difference(&difference.modified)
        .difference(&difference.added)
        .difference(&difference.removed);
    conflicts.into_iter().filter(|conflict| !allowed.has(&conflict.path)).collect()
}

/// Keeps the annotation, where there is one, in step with what was applied.
pub(super) fn refresh(object: &mut Object, applied: Value) {
    let path = ["metadata", "annotations", ANNOTATION];
    if object.str_at(&path).is_empty() {
        return;
    }
    let Some(mut applied) = Object::from_value(applied) else { return };
    applied.remove(&path);
    let text = format!("{}\n", Value::Object(applied.0));
    object.set(&path, text);
    let annotations = object.at(&path[..2]).and_then(Value::as_object);
    let size: usize = annotations.into_iter().flatten().map(|(k, v)| k.len() + v.as_str().map_or(0, str::len)).sum();
    if size > ANNOTATIONS_BYTES_MAX {
        object.remove(&path);
    }
}
