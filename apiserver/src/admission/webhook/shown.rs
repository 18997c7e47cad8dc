//! The object and the one before it, in the version that a webhook or a policy wants to see.

use std::borrow::Cow;

use api::catalogue::Resource;
use api::decode::{self, Target};
use api::{Object, Status};
use bytes::Bytes;

use crate::matching::Matched;
use crate::plug::admission::Attributes;

/// What a webhook is shown, encoded.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    /// The object, if there is one.
    pub object: Option<Bytes>,
    /// The one before it.
    pub old: Option<Bytes>,
    /// The namespace; that of a namespace is itself.
    pub namespace: String,
}

/// An object as JSON, with its resource version.
pub(super) fn encoded(object: &Object) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    api::json::write_object(&mut out, &object.0);
    out.into()
}

/// The kind that objects of a request are of, where it matched as this.
///
/// # Errors
/// If there is no such subresource.
pub(in crate::admission) fn target(matched: &Matched, subresource: &str) -> Result<Target, Status> {
    let row = &matched.resource;
    if subresource.is_empty() {
        return Ok(Target::of(row));
    }
    let found = row.subresource(subresource).ok_or_else(|| Status::internal("there is no such subresource"))?;
    Ok(Target::of_subresource(row, found))
}

/// An object in the version in which the request matched.
///
/// # Errors
/// If it cannot be had in that version.
pub(in crate::admission) async fn versioned<'o>(
    attributes: &Attributes<'_>,
    row: &Resource,
    api_version: &str,
    object: &'o Object,
) -> Result<Cow<'o, Object>, Status> {
    if object.api_version() == api_version || object.kind() != row.kind {
        return Ok(Cow::Borrowed(object));
    }
    attributes.ctx.registry.convert_one(row, object.clone(), api_version).await.map(Cow::Owned)
}

/// `NewInternalError` of an error that may be one already.
pub(super) fn internal(status: Status) -> Status {
    Status::internal(status.message)
}

/// An object as the reference prints it.
pub(in crate::admission) fn printed<'o>(target: &Target, object: &'o Object) -> Cow<'o, Object> {
    if target.custom { Cow::Borrowed(object) } else { decode::without_empty_lists(&target.schema, object) }
}

/// What is shown to a webhook for which the request matched as this.
///
/// # Errors
/// 500 if they cannot be had in that version.
pub(super) async fn show(
    attributes: &Attributes<'_>,
    matched: &Matched,
    object: Option<&Object>,
) -> Result<Shown, Status> {
    let (target, version) = (target(matched, attributes.subresource)?, matched.kind.api_version());
    let mut shown = Shown { namespace: attributes.request_namespace(object).to_string(), ..Shown::default() };
    if let Some(old) = attributes.old {
        let old = versioned(attributes, &matched.resource, &version, old).await.map_err(internal)?;
        shown.old = Some(encoded(&printed(&target, &old)));
    }
    if let Some(object) = object {
        let object = versioned(attributes, &matched.resource, &version, object).await.map_err(internal)?;
        shown.object = Some(encoded(&printed(&target, &object)));
    }
    Ok(shown)
}
