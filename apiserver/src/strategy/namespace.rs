//! Namespaces end in two steps: first they are marked, and when their finalizers are gone they go.

use api::Object;
use serde_json::{Value, json};

use super::Strategy;
use crate::Context;

const FINALIZER: &str = "kubernetes";
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The namespace itself.
pub(super) struct Namespace;

/// Its `finalize` subresource, the only way to change `spec.finalizers`.
pub(super) struct Finalize;

fn finalizers(namespace: &Object) -> &[Value] {
    namespace.at(&["spec", "finalizers"]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn label(namespace: &mut Object) {
    let name = namespace.name().to_string();
    if !name.is_empty() {
        namespace.set(&["metadata", "labels", NAME_LABEL], name);
    }
}

impl Strategy for Namespace {
    fn prepare_for_create(&self, _: &Context, new: &mut Object) {
        new.set(&["status"], json!({"phase": "Active"}));
        let mut all = finalizers(new).to_vec();
        if !all.contains(&json!(FINALIZER)) {
            all.push(FINALIZER.into());
        }
        new.set(&["spec", "finalizers"], all);
        label(new);
    }

    fn prepare_for_update(&self, _: &Context, new: &mut Object, old: &Object) {
        keep(new, old, &["spec", "finalizers"]);
        label(new);
    }

    /// The first delete only marks; after it, the namespace stays as long as it has finalizers.
    fn holds_deletion(&self, _: &Context, object: &Object) -> bool {
        object.at(&["metadata", "deletionTimestamp"]).is_none_or(Value::is_null) || !finalizers(object).is_empty()
    }

    fn prepare_for_deletion(&self, _: &Context, object: &mut Object) {
        object.set(&["status", "phase"], "Terminating");
        object.metadata_mut().remove("deletionGracePeriodSeconds");
    }
}

impl Strategy for Finalize {
    fn prepare_for_update(&self, _: &Context, new: &mut Object, old: &Object) {
        keep(new, old, &["status"]);
        if finalizers(new).is_empty() {
            new.set(&["spec"], json!({}));
        }
        label(new);
    }

    fn holds_deletion(&self, ctx: &Context, object: &Object) -> bool {
        Namespace.holds_deletion(ctx, object)
    }
}

fn keep(new: &mut Object, old: &Object, path: &[&str]) {
    match old.at(path) {
        Some(value) => new.set(path, value.clone()),
        None => {
            new.remove(path);
        }
    }
}
