//! Stored custom objects as their definition has them now.
//!
//! A definition may have changed since an object was written: other defaults, other fields, another version that is
//! stored. The reference applies the definition of now whenever it decodes. Here that is done once for each entry, which
//! then remembers that its bytes are right as they are; bytes that are not are put right at each read, until the object is
//! written again.

use std::borrow::Cow;

use api::Object;
use api::catalogue::Resource;
use api::crd::Versions;
use store::{Entry, Revision};

use crate::Registry;
use crate::memo::Memo;
use crate::registry::with_revision;

fn versions(resource: &Resource) -> Option<&Versions> {
    resource.definition.as_ref().map(|version| &*version.versions)
}

/// An entry with the object as it is now, in the version that is stored.
pub fn entry<'e>(resource: &Resource, entry: &'e Entry) -> Cow<'e, Entry> {
    let Some(versions) = versions(resource) else { return Cow::Borrowed(entry) };
    let memo = Memo::of(entry);
    if memo.fits(versions.id()) {
        return Cow::Borrowed(entry);
    }
    let Some(object) = parse(entry) else { return Cow::Borrowed(entry) };
    let value = versions.current(object).encode();
    if value == entry.value() {
        memo.set_fits(versions.id());
        return Cow::Borrowed(entry);
    }
    let current = Entry::new(entry.key_shared(), value, entry.create_revision(), entry.mod_revision());
    Memo::of(&current).set_fits(versions.id());
    Cow::Owned(current)
}

/// The object of an entry as it is now, with its resource version.
pub fn read(resource: &Resource, entry: &Entry) -> Option<Object> {
    let object = parse(entry)?;
    let object = match versions(resource) {
        Some(versions) if !Memo::of(entry).fits(versions.id()) => versions.current(object),
        _ => object,
    };
    Some(with_revision(object, entry.mod_revision()))
}

/// An object that was just written, as it will be read; the version that is stored may have defaults of its own.
pub fn object(resource: &Resource, object: Object) -> Object {
    match versions(resource).filter(|_| resource.version != resource.storage_version) {
        Some(versions) => versions.current(object),
        None => object,
    }
}

/// Remembers of what was just written that it is as the definition has it.
pub fn written(registry: &Registry, resource: &Resource, key: &str, revision: Revision) {
    let is_stored_version = resource.version == resource.storage_version;
    let Some(versions) = versions(resource).filter(|_| is_stored_version) else { return };
    let snapshot = registry.snapshot();
    if let Some(entry) = snapshot.get(key).filter(|entry| entry.mod_revision() == revision) {
        Memo::of(entry).set_fits(versions.id());
    }
}

fn parse(entry: &Entry) -> Option<Object> {
    let parsed = Object::parse(&entry.value());
    parsed.inspect_err(|error| tracing::error!(key = entry.key(), %error, "a stored object does not parse")).ok()
}
