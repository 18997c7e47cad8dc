//! Who manages which field: every write records it, through [`api::apply`].

use std::borrow::Cow;

use api::apply::{self, Request, Reset};
use api::{Object, Status, decode};
use serde_json::Value;

use crate::Context;
use crate::conversion::Conversions;
use crate::registry::target::Target;

/// Records the fields of a new object.
pub fn track_create(ctx: &Context, target: &Target, conversions: &Conversions, object: &mut Object) {
    with_request(ctx, target, conversions, |request| track(request, None, object));
}

/// Nobody manages a list that is empty and so is not printed.
fn track(request: &Request<'_>, old: Option<&Object>, new: &mut Object) {
    match decode::without_empty_lists(request.schema, new) {
        Cow::Borrowed(_) => apply::update(request, old, new),
        Cow::Owned(mut printed) => {
            // No managers is what a client says that wants them all forgotten.
            if let Some(managers) = new.at(&["metadata", "managedFields"]) {
                printed.set(&["metadata", "managedFields"], managers.clone());
            }
            apply::update(request, old, &mut printed);
            match printed.metadata_mut().remove("managedFields") {
                Some(managers) => new.metadata_mut().insert("managedFields".into(), managers),
                None => new.metadata_mut().remove("managedFields"),
            };
        }
    }
}

/// Records the fields of an object that is not stored, of whatever kind.
pub fn track_unstored(ctx: &Context, kind: &decode::Target, subresource: &str, object: &mut Object) {
    let api_version = kind.api_version();
    let request = Request {
        schema: &kind.schema,
        api_version: &api_version,
        kind: &kind.kind,
        subresource,
        reset: Reset::of(&api::catalogue::Flags::default(), subresource, false),
        manager: &ctx.options.field_manager,
        now: ctx.now,
        convert: None,
    };
    // A field that is always written, if only as null, is in the empty object too, so nobody owns it.
    if let Cow::Owned(printed) = decode::without_empty_lists(&kind.schema, object) {
        *object = printed;
    }
    let nulls = object.0.get_mut("spec").and_then(Value::as_object_mut).map(take_nulls).unwrap_or_default();
    apply::update(&request, None, object);
    for name in nulls {
        object.set(&["spec", &name], Value::Null);
    }
}

fn take_nulls(map: &mut serde_json::Map<String, Value>) -> Vec<String> {
    let names: Vec<String> = map.iter().filter(|(_, value)| value.is_null()).map(|(name, _)| name.clone()).collect();
    map.retain(|_, value| !value.is_null());
    names
}

/// Records the fields that a write changed.
pub fn track_update(ctx: &Context, target: &Target, conversions: &Conversions, old: &Object, new: &mut Object) {
    with_request(ctx, target, conversions, |request| track(request, Some(old), new));
}

/// What apply makes of an object; of nothing, if there is none yet. The result is neither defaulted nor validated.
///
/// # Errors
/// Conflicts with other managers, and configurations that do not fit the type.
pub fn apply(
    ctx: &Context,
    target: &Target,
    conversions: &Conversions,
    old: Option<&Object>,
    configuration: Object,
) -> Result<Object, Status> {
    let force = ctx.options.force;
    Ok(with_request(ctx, target, conversions, |request| apply::apply(request, old, configuration, force))?)
}

fn with_request<T>(
    ctx: &Context,
    target: &Target,
    conversions: &Conversions,
    work: impl FnOnce(&Request<'_>) -> T,
) -> T {
    let resource = &target.resource;
    let convert = |object: &Object, api_version: &str| {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let catalogue = ctx.registry.catalogue();
        let row = catalogue.get(group, version, &resource.plural)?;
        Some((conversions.get(row, object, api_version)?, row.schema.clone()))
    };
    let api_version = resource.api_version();
    let subresource = target.subresource.as_str();
    let request = Request {
        schema: &resource.schema,
        api_version: &api_version,
        kind: &resource.kind,
        subresource,
        reset: Reset::of(&resource.flags, subresource, resource.separates_status()),
        manager: &ctx.options.field_manager,
        now: ctx.now,
        convert: Some(&convert),
    };
    work(&request)
}
