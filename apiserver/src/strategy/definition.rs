//! What definitions do about themselves when they are written.

use api::Object;
use api::field::ErrorList;
use serde_json::{Value, json};

use crate::plug::Strategy;
use crate::post_start::definitions::{CLEANUP_FINALIZER, status};
use crate::{Context, clock};

/// Notes that objects are stored in the storage version, the first if there are several.
fn store_version(definition: &mut Object) {
    let versions = definition.at(&["spec", "versions"]).and_then(Value::as_array).into_iter().flatten();
    let mut storage = versions.filter(|version| version.get("storage").and_then(Value::as_bool) == Some(true));
    let Some(name) = storage.next().and_then(|version| version.get("name")).cloned() else { return };
    let stored = definition.at(&["status", "storedVersions"]).and_then(Value::as_array);
    let mut stored = stored.cloned().unwrap_or_default();
    if !stored.contains(&name) {
        stored.push(name);
        definition.set(&["status", "storedVersions"], stored);
    }
}

/// The strategy of definitions.
pub(super) struct Definition;

impl Strategy for Definition {
    fn prepare_for_create(&self, _: &Context, new: &mut Object) {
        let status = json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": null, "storedVersions": null});
        new.set(&["status"], status);
        store_version(new);
    }

    fn prepare_for_update(&self, ctx: &Context, new: &mut Object, _: &Object) {
        if ctx.info.subresource.is_empty() {
            store_version(new);
        }
    }

    fn validate(&self, _: &Context, new: &Object, old: Option<&Object>) -> ErrorList {
        api::crd::validate(new, old)
    }

    fn warnings(&self, _: &Context, new: &Object, old: Option<&Object>) -> Vec<String> {
        let before = old.map(api::crd::unrecognized_formats).unwrap_or_default();
        let formats = api::crd::unrecognized_formats(new).into_iter().filter(|format| !before.contains(format));
        formats.map(|format| format!("unrecognized format {format:?}")).collect()
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
        let (state, reason, message) = status::PENDING;
        status::condition(&clock::time(ctx.now), object, "Terminating", state, reason, message);
    }
}

/// The strategy of their status.
pub(super) struct DefinitionStatus;

impl Strategy for DefinitionStatus {
    fn validate(&self, _: &Context, new: &Object, _: Option<&Object>) -> ErrorList {
        api::crd::validate_status(new)
    }
}
