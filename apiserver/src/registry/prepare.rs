//! What happens to every object before it is stored (`rest.BeforeCreate` and `rest.BeforeUpdate`).

use std::collections::HashSet;

use api::decode::without_empty_lists;
use api::field::ErrorList;
use api::validation::metadata;
use api::{Object, Status};
use serde_json::Value;

use super::target::Target;
use super::unenforced;
use crate::Context;
use crate::clock::{self, NAME_SUFFIX_LENGTH};

/// How long a name may be with the generated letters.
const GENERATED_NAME_LENGTH_MAX: usize = 63;
/// Metadata that only the server sets, and that a create therefore drops. A generation stays where the kind has none.
const SYSTEM_METADATA: [&str; 3] = ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"];

/// Puts the request's namespace into the object.
///
/// # Errors
/// 400 if the object names another.
pub fn namespace(target: &Target, object: &mut Object) -> Result<(), Status> {
    let wanted = if target.resource.namespaced { target.namespace.as_str() } else { "" };
    let found = object.namespace();
    if wanted.is_empty() && !found.is_empty() {
        object.metadata_mut().remove("namespace");
    } else if found.is_empty() && !wanted.is_empty() {
        object.set(&["metadata", "namespace"], wanted);
    } else if found != wanted {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Drops owner references that stand twice, and tells the client so (`dedupOwnerReferencesAndAddWarning`).
pub fn owners(ctx: &Context, object: &mut Object, when: &str) {
    let Some(all) = object.at(&["metadata", "ownerReferences"]).and_then(Value::as_array) else { return };
    if all.len() < 2 {
        return;
    }
    let mut seen = HashSet::with_capacity(all.len());
    let (kept, twice): (Vec<&Value>, Vec<&Value>) = all.iter().partition(|owner| seen.insert(*owner));
    if twice.is_empty() {
        return;
    }
    let twice: Vec<&str> = twice.iter().filter_map(|owner| owner.get("uid")?.as_str()).collect();
    let kept: Vec<Value> = kept.into_iter().cloned().collect();
    ctx.warn(format!(
        ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and \
         may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
        twice.join(", ")
    ));
    object.set(&["metadata", "ownerReferences"], kept);
}

/// What the warning about owners says of those that came with admission, or with a patch.
pub const AFTER_ADMISSION: &str = " after mutating admission happens";

/// Makes up a name from `generateName`.
pub fn generate_name(ctx: &Context, object: &mut Object) {
    let base = object.str_at(&["metadata", "generateName"]);
    let mut end = base.len().min(GENERATED_NAME_LENGTH_MAX - NAME_SUFFIX_LENGTH);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let suffix = clock::name_suffix(ctx.registry.clock(), NAME_SUFFIX_LENGTH);
    let name = format!("{}{suffix}", &base[..end]);
    object.set(&["metadata", "name"], name);
}

/// Prepares and checks a new object, in its storage version.
///
/// # Errors
/// 422 with all that is wrong.
pub fn before_create(ctx: &Context, target: &Target, object: &mut Object) -> Result<(), Status> {
    for field in SYSTEM_METADATA {
        object.metadata_mut().remove(field);
    }
    super::fill_metadata(ctx.registry.clock(), object);
    let flags = &target.storage.flags;
    if target.storage.separates_status() && !flags.status_on_create {
        object.0.remove("status");
    }
    if flags.begins_with_generation() {
        object.set(&["metadata", "generation"], 1);
    }
    for path in &flags.disabled {
        object.remove(path);
    }
    if let Some(status) = flags.initial_status.filter(|_| target.subresource.is_empty()) {
        let status: Value = serde_json::from_str(status).expect("the flags of kinds hold JSON");
        object.set(&["status"], status);
    }
    let strategy = target.strategy(ctx);
    strategy.prepare_for_create(ctx, object);
    let own = target.resource.functions.errors(&target.subresource, object, None);
    if target.resource.flags.metadata_last && !own.is_empty() {
        return Err(target.invalid(object.name(), &own));
    }
    let mut errors = metadata::validate(object, target.resource.namespaced, target.resource.flags.name);
    if !flags.any_finalizers {
        errors.extend(metadata::validate_core_finalizers(object));
    }
    if let Some(definition) = &target.resource.definition {
        errors.extend(definition.validate(object, None, &mut Vec::new(), &mut timed(ctx)));
    }
    errors.extend(own);
    errors.extend(strategy.validate(ctx, object, None));
    if !errors.is_empty() {
        let first = strategy.refuses_first(ctx, object, None);
        return Err(first.unwrap_or_else(|| target.invalid(object.name(), &errors)));
    }
    for text in strategy.warnings(ctx, object, None).into_iter().chain(kind_warnings(target, object, None)) {
        ctx.warn(text);
    }
    Ok(())
}

/// Prepares and checks a changed object, in its storage version.
///
/// # Errors
/// 422 with all that is wrong.
pub fn before_update(ctx: &Context, target: &Target, new: &mut Object, old: &Object) -> Result<(), Status> {
    copy_metadata(new, old, "generation");
    separate(target, new, old);
    for path in target.storage.flags.disabled.iter().filter(|path| old.at(path).is_none()) {
        new.remove(path);
    }
    let strategy = target.strategy(ctx);
    strategy.prepare_for_update(ctx, new, old);
    count_generation(target, new, old);
    if new.uid().is_empty() {
        copy_metadata(new, old, "uid");
    }
    copy_metadata(new, old, "creationTimestamp");
    if old.at(&["metadata", "deletionTimestamp"]).is_some() {
        copy_metadata(new, old, "deletionTimestamp");
    }
    if new.at(&["metadata", "deletionGracePeriodSeconds"]).is_none_or(Value::is_null) {
        copy_metadata(new, old, "deletionGracePeriodSeconds");
    }
    let errors = update_errors(ctx, target, new, old);
    if !errors.is_empty() {
        let first = strategy.refuses_first(ctx, new, Some(old));
        return Err(first.unwrap_or_else(|| target.invalid(new.name(), &errors)));
    }
    for text in strategy.warnings(ctx, new, Some(old)).into_iter().chain(kind_warnings(target, new, Some(old))) {
        ctx.warn(text);
    }
    Ok(())
}

/// Counts how long the rules of a definition take.
fn timed(ctx: &Context) -> impl FnMut(&mut dyn FnMut()) {
    move |evaluate| {
        let started = ctx.registry.clock().instant();
        evaluate();
        let took = ctx.registry.clock().instant().saturating_duration_since(started).as_secs_f64();
        ctx.registry.metrics().various.cel_evaluations.with([], |durations| durations.observe(took));
    }
}

fn update_errors(ctx: &Context, target: &Target, new: &Object, old: &Object) -> ErrorList {
    let (flags, subresource) = (&target.resource.flags, target.subresource.as_str());
    let mut errors = metadata::validate_kind_update(new, old, target.resource.namespaced, flags, subresource);
    let mut warnings = Vec::new();
    match (&target.resource.definition, target.subresource.as_str()) {
        (Some(definition), "status") => {
            errors.extend(definition.validate_status(new, old, &mut warnings, &mut timed(ctx)));
        }
        (Some(definition), _) => errors.extend(definition.validate(new, Some(old), &mut warnings, &mut timed(ctx))),
        (None, _) => {}
    }
    warnings.into_iter().for_each(|text| ctx.warn(text));
    errors.extend(target.resource.functions.errors(&target.subresource, new, Some(old)));
    errors.extend(target.strategy(ctx).validate(ctx, new, Some(old)));
    errors
}

/// What the client is told of an object that is good, but not as it should be.
fn kind_warnings(target: &Target, new: &Object, old: Option<&Object>) -> Vec<String> {
    let subresource = target.subresource.as_str();
    let mut all = target.resource.functions.warnings(subresource, new, old);
    if subresource.is_empty() {
        all.extend(unenforced::warning(&target.storage));
    }
    all
}

/// Keeps spec and status apart: an update of the one does not touch the other.
fn separate(target: &Target, new: &mut Object, old: &Object) {
    match target.subresource.as_str() {
        "" if target.storage.separates_status() => match old.0.get("status") {
            Some(status) => put(new, "status", status),
            None => {
                new.0.remove("status");
            }
        },
        "status" => {
            let status = new.0.remove("status");
            let metadata = new.0.remove("metadata");
            new.0.retain(|name, _| old.0.contains_key(name));
            if let Some(metadata) = metadata {
                new.0.insert("metadata".into(), metadata);
            }
            for (name, value) in old.0.iter().filter(|(name, _)| *name != "status") {
                if name != "metadata" || !new.0.contains_key(name) {
                    put(new, name, value);
                }
            }
            if let Some(status) = status {
                new.0.insert("status".into(), status);
            }
            if target.storage.flags.metadata_apart_from_status {
                keep_metadata(new, old);
            }
        }
        _ => {}
    }
}

/// Sets a field that is nearly always what it should be.
fn put(object: &mut Object, name: &str, value: &Value) {
    if object.0.get(name) != Some(value) {
        object.0.insert(name.to_string(), value.clone());
    }
}

/// Such a status update changes no metadata but the managed fields.
fn keep_metadata(new: &mut Object, old: &Object) {
    let version = new.resource_version().to_string();
    let managed = new.remove(&["metadata", "managedFields"]);
    if let Some(metadata) = old.0.get("metadata") {
        new.0.insert("metadata".into(), metadata.clone());
    }
    if let Some(managed) = managed {
        new.set(&["metadata", "managedFields"], managed);
    }
    new.set(&["metadata", "resourceVersion"], version);
}

/// A change of anything but metadata and status is a new generation.
fn count_generation(target: &Target, new: &mut Object, old: &Object) {
    if !target.storage.flags.counts_generation() || target.subresource == "status" {
        return;
    }
    let relabelled =
        target.storage.flags.counted_metadata().any(|f| new.at(&["metadata", f]) != old.at(&["metadata", f]));
    let is_same = desired(&without_empty_lists(&target.storage.schema, new)).eq(desired(old));
    if relabelled || !is_same {
        let before = old.at(&["metadata", "generation"]).and_then(Value::as_i64).unwrap_or(0);
        new.set(&["metadata", "generation"], before + 1);
    }
}

/// The fields that say what is wanted.
fn desired(object: &Object) -> impl Iterator<Item = (&String, &Value)> {
    object.0.iter().filter(|(name, _)| !matches!(name.as_str(), "metadata" | "status" | "apiVersion"))
}

fn copy_metadata(new: &mut Object, old: &Object, field: &str) {
    match old.at(&["metadata", field]) {
        Some(value) => new.set(&["metadata", field], value.clone()),
        None => {
            new.metadata_mut().remove(field);
        }
    }
}
