//! Stored custom objects as their definition has them now.
//!
//! A definition may have changed since an object was written: other defaults, other fields, another version that is
//! stored. The reference applies the definition of now whenever it decodes. Here that is done once for each entry, which
//! then remembers that its bytes are right as they are; bytes that are not are put right at each read, until the object is
//! written again.
//!
//! Whatever leaves the store for a version other than the one it was stored in is converted here, from its own version
//! to the one that is asked for.

use std::borrow::Cow;

use api::catalogue::Resource;
use api::crd::{ConversionError, Versions};
use api::{Object, Status};
use store::{Entry, Revision};

use crate::Registry;
use crate::memo::Memo;
use crate::registry::create::plain_failure;
use crate::registry::with_revision;

fn versions(resource: &Resource) -> Option<&Versions> {
    resource.definition.as_ref().map(|version| &*version.versions)
}

/// What a client is told of a conversion that failed.
pub fn not_converted(error: ConversionError) -> Status {
    plain_failure(error.to_string())
}

/// An entry with the object as it is now: in the version that is stored, or in the one that is asked for where that
/// cannot be left to whoever takes the object out.
///
/// # Errors
/// If the object cannot be had in the version that is asked for.
pub fn entry<'e>(resource: &Resource, entry: &'e Entry) -> Result<Cow<'e, Entry>, Status> {
    let Some(versions) = versions(resource) else { return Ok(Cow::Borrowed(entry)) };
    let memo = Memo::of(entry);
    let converts = versions.uses_webhook() && resource.version != versions.storage();
    if !converts && memo.fits(versions.id()) {
        return Ok(Cow::Borrowed(entry));
    }
    let object = versions.current(parse(entry)?);
    let is_stored_version = object.api_version() == resource.storage_api_version();
    let object = if converts || !is_stored_version {
        versions.convert(object, &resource.version).map_err(not_converted)?
    } else {
        object
    };
    let value = object.encode();
    if value == entry.value() {
        if is_stored_version {
            memo.set_fits(versions.id());
        }
        return Ok(Cow::Borrowed(entry));
    }
    Ok(Cow::Owned(Entry::new(entry.key_shared(), value, entry.create_revision(), entry.mod_revision())))
}

/// The object of an entry as it is now, with its resource version: a custom object in the version that is asked for,
/// any other in the one that is stored.
///
/// # Errors
/// If the object cannot be had in that version.
pub fn read(resource: &Resource, entry: &Entry) -> Result<Object, Status> {
    let object = stored(resource, entry)?;
    match versions(resource) {
        Some(versions) => versions.convert(object, &resource.version).map_err(not_converted),
        None => Ok(object),
    }
}

/// The object of an entry as it is now, with its resource version, in the version that it was stored in.
///
/// # Errors
/// If it does not decode.
pub fn stored(resource: &Resource, entry: &Entry) -> Result<Object, Status> {
    let object = parse(entry)?;
    let object = match versions(resource) {
        Some(versions) if !Memo::of(entry).fits(versions.id()) => versions.current(object),
        _ => object,
    };
    Ok(with_revision(object, entry.mod_revision()))
}

/// An object that was just encoded as it will be read, and whether its bytes are right as they are.
///
/// # Errors
/// If the object cannot be had in the version that is asked for.
pub fn settled(resource: &Resource, object: Object) -> Result<(Object, bool), Status> {
    let Some(versions) = versions(resource) else { return Ok((object, true)) };
    let (object, same) = if versions.adds_defaults() {
        let now = versions.current(object.clone());
        let same = now == object;
        (now, same)
    } else {
        (object, true)
    };
    let same = same && resource.version == versions.storage();
    Ok((versions.convert(object, &resource.version).map_err(not_converted)?, same))
}

/// Remembers of what was just written that it is as the definition has it.
pub fn written(registry: &Registry, resource: &Resource, key: &str, revision: Revision) {
    let Some(versions) = versions(resource) else { return };
    let snapshot = registry.snapshot();
    if let Some(entry) = snapshot.get(key).filter(|entry| entry.mod_revision() == revision) {
        Memo::of(entry).set_fits(versions.id());
    }
}

fn parse(entry: &Entry) -> Result<Object, Status> {
    Object::parse(&entry.value()).map_err(|error| {
        tracing::error!(key = entry.key(), %error, "a stored object does not parse");
        Status::internal(format!("{} does not decode", entry.key()))
    })
}
