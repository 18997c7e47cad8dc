//! What definitions do about themselves when they are written.

use api::Object;
use api::field::ErrorList;
use serde_json::{Value, json};

use super::{CLEANUP_FINALIZER, status};
use crate::Context;
use crate::plug::Strategy;

/// The strategy of definitions.
pub struct Definition;

impl Strategy for Definition {
    fn prepare_for_create(&self, _: &Context, new: &mut Object) {
        let storage = new.at(&["spec", "versions"]).and_then(Value::as_array).into_iter().flatten();
        let storage: Vec<Value> = storage
            .filter(|version| version.get("storage").and_then(Value::as_bool) == Some(true))
            .filter_map(|version| version.get("name").cloned())
            .collect();
        let status = json!({
            "acceptedNames": {"kind": "", "plural": ""}, "conditions": null, "storedVersions": storage,
        });
        new.set(&["status"], status);
    }

    fn validate(&self, _: &Context, new: &Object, old: Option<&Object>) -> ErrorList {
        api::crd::validate(new, old)
    }

    /// The first delete only marks: the definition stays until its objects are gone.
    fn holds_deletion(&self, _: &Context, object: &Object) -> bool {
        object.at(&["metadata", "deletionTimestamp"]).is_none_or(Value::is_null)
    }

    fn prepare_for_deletion(&self, ctx: &Context, object: &mut Object) {
        let metadata = object.metadata_mut();
        metadata.remove("deletionGracePeriodSeconds");
        // The reference marks definitions without counting that as a change.
        if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
            metadata.insert("generation".into(), (generation - 1).into());
        }
        let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
        if let Some(list) = finalizers.as_array_mut()
            && !list.iter().any(|f| f == CLEANUP_FINALIZER)
        {
            list.push(CLEANUP_FINALIZER.into());
        }
        let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
        status::condition(ctx, object, "Terminating", "True", "InstanceDeletionPending", message);
    }
}
