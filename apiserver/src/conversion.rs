//! Objects in the version that is asked for: the one place where they are converted.
//!
//! A definition may have changed since an object was written: other defaults, other fields, another version that is
//! stored. The reference applies the definition of now whenever it decodes. Here that is done once for each entry, which
//! then remembers that its bytes are right as they are; bytes that are not are put right at each read, until the object is
//! written again.
//!
//! Kinds that are built in, and definitions without a webhook, are converted here and now ([`here`]). What a definition leaves
//! to a conversion webhook takes asking: [`Registry::convert`] is where that is waited for, many objects at a time. Whoever
//! has an object that may have to be converted awaits one of the methods below, which costs nothing where nobody is asked.

mod metadata;
mod shared;
mod webhook;

use std::borrow::Cow;

use api::catalogue::Resource;
use api::crd::Versions;
use api::{Object, Status};
use bytes::Bytes;
use parking_lot::Mutex;
use store::{Entry, Revision};

use crate::Registry;
use crate::memo::Memo;
use crate::registry::create::plain_failure;
use crate::registry::with_revision;
pub use shared::Shared;

/// How often a write may turn out to need its object in one more version.
const ROUNDS_MAX: usize = 8;

fn versions(resource: &Resource) -> Option<&Versions> {
    resource.definition.as_ref().map(|version| &*version.versions)
}

/// Whether somebody has to be asked for an object of the resource in another version.
pub fn asks(resource: &Resource) -> bool {
    versions(resource).is_some_and(Versions::uses_webhook)
}

/// An object in another version of its resource (`group/version`), as far as nobody has to be asked.
///
/// # Errors
/// If it cannot be had in that version.
pub fn here(resource: &Resource, mut object: Object, api_version: &str) -> Result<Object, Status> {
    if object.api_version() == api_version {
        return Ok(object);
    }
    if let Some(versions) = versions(resource) {
        let version = api_version.rsplit('/').next().unwrap_or("");
        return versions.convert(object, version).map_err(|error| plain_failure(error.to_string()));
    }
    api::convert::convert(&mut object, api_version).map_err(|error| Status::internal(error.to_string()))?;
    Ok(object)
}

/// As [`Registry::entry`], for a resource that nobody has to be asked for.
///
/// # Errors
/// If the object cannot be had in the version that is asked for.
pub fn entry_here<'e>(resource: &Resource, entry: &'e Entry) -> Result<Cow<'e, Entry>, Status> {
    match Found::of(resource, entry)? {
        Found::Right(entry) => Ok(entry),
        Found::Other(object) => Ok(with_object(entry, &here(resource, object, &resource.api_version())?)),
    }
}

/// The object of an entry that came out of [`Registry::entry`] in the version of `resource`. Nobody has to be asked for it
/// any more.
///
/// # Errors
/// If it cannot be had in that version.
pub fn shown(resource: &Resource, object: Object) -> Result<Object, Status> {
    here(resource, object, &resource.api_version())
}

/// An object of `resource` in the version in which it is prepared and checked: the one that is stored, but for custom
/// objects, which are only converted when they are encoded.
///
/// # Errors
/// If the versions cannot be converted.
pub fn to_prepare(resource: &Resource, object: Object) -> Result<Object, Status> {
    if resource.custom { Ok(object) } else { here(resource, object, &resource.storage_api_version()) }
}

/// The object of an entry as the definition has it now, with its resource version, in the version that it was stored in.
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

impl Registry {
    /// Objects of a resource in one of its versions (`group/version`), in the same order.
    ///
    /// # Errors
    /// If one of them cannot be had in that version.
    pub async fn convert(
        &self,
        resource: &Resource,
        objects: Vec<Object>,
        api_version: &str,
    ) -> Result<Vec<Object>, Status> {
        if asks(resource) && objects.iter().any(|object| object.api_version() != api_version) {
            return Box::pin(self.ask(resource, objects, api_version)).await;
        }
        objects.into_iter().map(|object| here(resource, object, api_version)).collect()
    }

    /// Asks a definition's webhook for all objects that are in another version.
    async fn ask(&self, resource: &Resource, objects: Vec<Object>, api_version: &str) -> Result<Vec<Object>, Status> {
        let versions = versions(resource).ok_or_else(|| Status::internal("it has no definition"))?;
        webhook::convert(self, resource, versions, objects, api_version).await
    }

    /// One object in another version of its resource.
    ///
    /// # Errors
    /// As [`Registry::convert`].
    pub async fn convert_one(&self, resource: &Resource, object: Object, api_version: &str) -> Result<Object, Status> {
        if !asks(resource) || object.api_version() == api_version {
            return here(resource, object, api_version);
        }
        let converted = Box::pin(self.convert(resource, vec![object], api_version)).await?;
        converted.into_iter().next().ok_or_else(|| Status::internal("a conversion gave no object back"))
    }

    /// An entry with the object as it is now: in the version that is stored, or in the one that is asked for where that
    /// cannot be left to whoever takes the object out ([`shown`]).
    ///
    /// # Errors
    /// If the object cannot be had in the version that is asked for.
    pub async fn entry<'e>(&self, resource: &Resource, entry: &'e Entry) -> Result<Cow<'e, Entry>, Status> {
        if !asks(resource) {
            return entry_here(resource, entry);
        }
        // Each watch has the room for this: that of asking is made when somebody is asked.
        Box::pin(async move {
            let object = match Found::of(resource, entry)? {
                Found::Right(entry) => return Ok(entry),
                Found::Other(object) => object,
            };
            let object = self.convert_one(resource, object, &resource.api_version()).await?;
            Ok(with_object(entry, &object))
        })
        .await
    }

    /// The same for a watch: of many that come to the same entry one asks, and all have what it was told.
    ///
    /// # Errors
    /// If the object cannot be had in the version that is asked for.
    pub async fn entry_once<'e>(&self, resource: &Resource, entry: &'e Entry) -> Result<Cow<'e, Entry>, Status> {
        let Some(versions) = versions(resource).filter(|versions| versions.uses_webhook()) else {
            return entry_here(resource, entry);
        };
        Box::pin(async move {
            let object = match Found::of(resource, entry)? {
                Found::Right(entry) => return Ok(entry),
                Found::Other(object) => object,
            };
            let (definition, version) = (versions.id(), resource.version.clone());
            let key = shared::Key { key: entry.key_shared(), revision: entry.mod_revision(), definition, version };
            let make = async {
                let converted = self.convert_one(resource, object, &resource.api_version()).await?;
                Ok(converted.encode())
            };
            let value = self.converted().get(key, make).await?;
            Ok(with_value(entry, value))
        })
        .await
    }

    /// The same for many, converted together.
    ///
    /// # Errors
    /// If one of them cannot be had in the version that is asked for.
    pub async fn entries(&self, resource: &Resource, mut entries: Vec<Entry>) -> Result<Vec<Entry>, Status> {
        let (mut places, mut others) = (Vec::new(), Vec::new());
        for (place, entry) in entries.iter_mut().enumerate() {
            match Found::of(resource, entry)? {
                Found::Right(Cow::Owned(right)) => *entry = right,
                Found::Right(Cow::Borrowed(_)) => {}
                Found::Other(object) => {
                    places.push(place);
                    others.push(object);
                }
            }
        }
        let converted = self.convert(resource, others, &resource.api_version()).await?;
        for (place, object) in places.into_iter().zip(converted) {
            if let Cow::Owned(right) = with_object(&entries[place], &object) {
                entries[place] = right;
            }
        }
        Ok(entries)
    }

    /// The object of an entry as it is now, with its resource version: a custom object in the version that is asked for,
    /// any other in the one that is stored.
    ///
    /// # Errors
    /// If the object cannot be had in that version.
    pub async fn read(&self, resource: &Resource, entry: &Entry) -> Result<Object, Status> {
        let object = stored(resource, entry)?;
        if resource.definition.is_none() {
            return Ok(object);
        }
        self.convert_one(resource, object, &resource.api_version()).await
    }

    /// An object that was just encoded as it will be read, and whether its bytes are right as they are. A null that
    /// admission left where no type is stated is not read.
    ///
    /// # Errors
    /// If the object cannot be had in the version that is asked for.
    pub async fn settled(&self, resource: &Resource, object: Object, bytes: &[u8]) -> Result<(Object, bool), Status> {
        let Some(versions) = versions(resource) else { return Ok((object, true)) };
        let (object, same) = if versions.adds_defaults() || memchr::memmem::find(bytes, b":null").is_some() {
            let now = versions.current(object.clone());
            let same = now == object;
            (now, same)
        } else {
            (object, true)
        };
        let same = same && resource.version == versions.storage();
        Ok((self.convert_one(resource, object, &resource.api_version()).await?, same))
    }

    /// Remembers of what was just written that it is as the definition has it.
    pub fn remember_settled(&self, resource: &Resource, key: &str, revision: Revision) {
        let Some(versions) = versions(resource) else { return };
        let snapshot = self.snapshot();
        if let Some(entry) = snapshot.get(key).filter(|entry| entry.mod_revision() == revision) {
            Memo::of(entry).set_fits(versions.id());
        }
    }

    /// What `make` makes with objects in other versions of a resource, which it is given as soon as it has asked for them:
    /// it is called again until it has all. It stays a plain function.
    ///
    /// # Errors
    /// If one of them cannot be had in the version that is asked for.
    pub async fn with_conversions<T>(
        &self,
        resource: &Resource,
        mut make: impl FnMut(&Conversions) -> T,
    ) -> Result<T, Status> {
        let mut conversions = Conversions::default();
        if !asks(resource) {
            return Ok(make(&conversions));
        }
        Box::pin(async move {
            for _ in 0..ROUNDS_MAX {
                let made = make(&conversions);
                let missing = std::mem::take(conversions.missing.get_mut());
                if missing.is_empty() {
                    return Ok(made);
                }
                for (api_version, objects) in missing {
                    let converted = self.convert(resource, objects.clone(), &api_version).await?;
                    let known = |(from, to)| Known { from, api_version: api_version.clone(), to };
                    conversions.known.extend(objects.into_iter().zip(converted).map(known));
                }
            }
            Err(Status::internal("a write needs its object in too many versions"))
        })
        .await
    }
}

/// Objects in other versions, as far as they are known. Where nobody has to be asked that is all of them.
#[derive(Default)]
pub struct Conversions {
    known: Vec<Known>,
    /// By version.
    missing: Mutex<Vec<(String, Vec<Object>)>>,
}

struct Known {
    from: Object,
    api_version: String,
    to: Object,
}

impl Conversions {
    /// An object in another version of its resource; none if there is no such version, or if that is not known yet, which is
    /// noted.
    pub fn get(&self, resource: &Resource, object: &Object, api_version: &str) -> Option<Object> {
        if !asks(resource) || object.api_version() == api_version {
            return here(resource, object.clone(), api_version).ok();
        }
        if let Some(known) = self.known.iter().find(|known| known.api_version == api_version && known.from == *object) {
            return Some(known.to.clone());
        }
        let mut missing = self.missing.lock();
        match missing.iter_mut().find(|(version, _)| version == api_version) {
            Some((_, objects)) => objects.push(object.clone()),
            None => missing.push((api_version.to_string(), vec![object.clone()])),
        }
        None
    }
}

/// What there is of an entry.
enum Found<'e> {
    /// It is as it should be.
    Right(Cow<'e, Entry>),
    /// Its object as it is now, which is to be converted.
    Other(Object),
}

impl<'e> Found<'e> {
    fn of(resource: &Resource, entry: &'e Entry) -> Result<Self, Status> {
        let right = Self::Right(Cow::Borrowed(entry));
        let Some(versions) = versions(resource) else { return Ok(right) };
        let memo = Memo::of(entry);
        let converts = versions.uses_webhook() && resource.version != versions.storage();
        if !converts && memo.fits(versions.id()) {
            return Ok(right);
        }
        let object = versions.current(parse(entry)?);
        if converts || object.api_version() != resource.storage_api_version() {
            return Ok(Self::Other(object));
        }
        let entry = with_object(entry, &object);
        if matches!(entry, Cow::Borrowed(_)) {
            memo.set_fits(versions.id());
        }
        Ok(Self::Right(entry))
    }
}

/// An entry with another object.
fn with_object<'e>(entry: &'e Entry, object: &Object) -> Cow<'e, Entry> {
    with_value(entry, object.encode())
}

fn with_value(entry: &Entry, value: Bytes) -> Cow<'_, Entry> {
    if value == entry.value() {
        return Cow::Borrowed(entry);
    }
    Cow::Owned(Entry::new(entry.key_shared(), value, entry.create_revision(), entry.mod_revision()))
}

fn parse(entry: &Entry) -> Result<Object, Status> {
    Object::parse(&entry.value()).map_err(|error| {
        tracing::error!(key = entry.key(), %error, "a stored object does not parse");
        Status::internal(format!("{} does not decode", entry.key()))
    })
}

#[cfg(test)]
mod tests;
