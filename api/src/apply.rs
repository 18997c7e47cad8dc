//! Server-side apply and managed fields: who owns which field of an object.
//!
//! [`update`] is for create, update and patch: it compares the new object with the live one and writes
//! `metadata.managedFields`. [`apply()`] merges a configuration into the live object. Both see the object as the
//! client sent it with defaults, *before* mutating admission and the strategy's preparation: what those add is
//! owned by nobody (`FieldManager` in apimachinery's `util/managedfields`). Call [`keep_times`] with the object
//! that is about to be stored.

mod compare;
mod conflict;
mod fields_v1;
mod fieldset;
mod last_applied;
mod managers;
mod merge;
mod reset;
mod scale;
mod set;
mod typed;
mod unowned;
mod updater;

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

pub use conflict::Conflict;
pub use fields_v1::{decode as decode_fields, encode as encode_fields};
pub use managers::{Manager, Managers, Operation, decode as decode_managers};
pub use reset::Reset;
pub use scale::{scale_to_parent, scale_to_subresource};
pub use set::{PathElement, Set, path_text};
pub(crate) use unowned::merged_unowned;

use crate::schema::Schema;
use crate::{Object, Status};

/// Longest field manager name that is taken from a user agent or given by a client, in bytes.
pub const MANAGER_LENGTH_MAX: usize = 128;
/// Most managers of updates that an object keeps; older ones are merged into `ancient-changes`.
pub const UPDATE_MANAGERS_MAX: usize = 10;

/// An object in another version of its resource, with that version's schema.
pub type Converted = (Object, Schema);

/// Converts an object to another version (`group/version`); `None` if that version is no more.
pub type Convert<'a> = dyn Fn(&Object, &str) -> Option<Converted> + 'a;

/// What an operation on fields needs to know beside the objects.
pub struct Request<'a> {
    /// The type of the object.
    pub schema: &'a Schema,
    /// `group/version`, or the version alone in the core group.
    pub api_version: &'a str,
    /// The kind.
    pub kind: &'a str,
    /// The subresource; empty for the object itself.
    pub subresource: &'a str,
    /// The fields that this endpoint ignores (`GetResetFields` of the strategy): [`Reset::of`].
    pub reset: Reset,
    /// Who asks: [`manager_name`].
    pub manager: &'a str,
    /// The time that the manager's entry gets if something changes.
    pub now: Timestamp,
    /// Converts an object to another version (`group/version`): `None` if that version is no more. Without it,
    /// fields of all versions are taken to be the same.
    pub convert: Option<&'a Convert<'a>>,
}

/// Why an apply fails.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ApplyError {
    /// Fields of the configuration belong to others, with other values.
    #[error("{}", conflict::message(.0))]
    Conflicts(Vec<Conflict>),
    /// The configuration is not of the kind or version of the request, or sets managed fields itself.
    #[error("{0}")]
    BadRequest(String),
    /// The configuration does not have the shape of its type.
    #[error("{0}")]
    Type(String),
}

impl From<ApplyError> for Status {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Conflicts(conflicts) => conflict::status(&conflicts),
            ApplyError::BadRequest(message) => Status::bad_request(message),
            // The reference lets this error through as it is, without a reason.
            ApplyError::Type(message) => Status::failure(500, "", message),
        }
    }
}

/// The name under which a write is recorded: the `fieldManager` parameter, or the user agent up to its first
/// slash, cut to [`MANAGER_LENGTH_MAX`] bytes and freed from what cannot be printed.
pub fn manager_name(field_manager: &str, user_agent: &str) -> String {
    if !field_manager.is_empty() {
        return field_manager.to_string();
    }
    let prefix = user_agent.split('/').next().unwrap_or("");
    let mut name = String::new();
    for c in prefix.chars() {
        if name.len() + c.len_utf8() > MANAGER_LENGTH_MAX {
            break;
        }
        if !c.is_control() {
            name.push(c);
        }
    }
    name
}

/// Records a create (`live` is none), update or patch in `new`'s managed fields.
///
/// Managed fields that the client sends replace the live ones (an empty list, or a list of one empty entry, drops
/// them all), except through a subresource. An object that exists without managed fields stays without.
pub fn update(request: &Request<'_>, live: Option<&Object>, new: &mut Object) {
    let mut managers = managers::of_live_or_new(live, new, request.subresource);
    new.remove(&["metadata", "managedFields"]);
    let created = live.is_none_or(|live| live.uid().is_empty());
    if !managers.is_empty() || created {
        updater::update(request, live, new, &mut managers, request.manager);
        managers.cap();
    }
    managers.encode_into(new);
}

/// Merges `patch` into `live` (none: create) in the name of the request's manager.
///
/// The result is the whole object with its managed fields, not yet defaulted or validated. It is equal to the live
/// one but for managed fields if the patch changes nothing.
///
/// # Errors
/// Those of [`ApplyError`].
pub fn apply(request: &Request<'_>, live: Option<&Object>, patch: Object, force: bool) -> Result<Object, ApplyError> {
    if patch.api_version() != request.api_version || patch.kind() != request.kind {
        let kind = conflict::group_version_kind(patch.api_version(), patch.kind());
        return Err(ApplyError::BadRequest(format!("invalid object type: {kind}")));
    }
    if patch.at(&["metadata", "managedFields"]).is_some_and(|m| !m.is_null()) {
        return Err(ApplyError::BadRequest("metadata.managedFields must be nil".into()));
    }
    let mut managers = managers::of_live(live);
    let empty;
    let base = match live {
        Some(live) => live,
        None => {
            empty = managers::empty_object(request.api_version, request.kind);
            &empty
        }
    };
    if managers.is_empty() && live.is_some() {
        updater::update(request, None, base, &mut managers, "before-first-apply");
    }
    let patch = patch.into_value();
    let outcome = match updater::apply(request, base, &patch, managers.clone(), force) {
        Err(ApplyError::Conflicts(conflicts)) if request.manager == "kubectl" => {
            let conflicts = last_applied::not_allowed(request, base, conflicts);
            if !conflicts.is_empty() {
                return Err(ApplyError::Conflicts(conflicts));
            }
            updater::apply(request, base, &patch, managers, true)
        }
        other => other,
    };
    let (mut merged, managers) = outcome?;
    if request.manager == "kubectl" {
        last_applied::refresh(&mut merged, patch);
    }
    managers.encode_into(&mut merged);
    Ok(merged)
}

/// Takes the times of `live`'s managed fields into `new` if nothing else differs, so that a write without a change
/// stays one. Whether the objects are equal then, but for their resource version.
pub fn keep_times(live: &Object, new: &mut Object) -> bool {
    let same_entry = |a: &Value, b: &Value| fields(a.as_object(), &["time"]).eq(fields(b.as_object(), &["time"]));
    let (old, mine) = (managers::entries(live), managers::entries(new));
    // The entries may stand in another order, since they are sorted by time.
    let same = old.len() == mine.len() && {
        let of_manager = |entry: &'_ Value| entry.get("manager").and_then(Value::as_str).unwrap_or("").to_string();
        let mut known: HashMap<String, Vec<&Value>> = HashMap::new();
        old.iter().for_each(|entry| known.entry(of_manager(entry)).or_default().push(entry));
        mine.iter().all(|m| known.get(&of_manager(m)).is_some_and(|old| old.iter().any(|o| same_entry(o, m))))
    };
    if !same || !equal_but(live, new, &["managedFields", "resourceVersion"]) {
        return false;
    }
    if let Some(old) = live.at(&["metadata", "managedFields"]) {
        new.set(&["metadata", "managedFields"], old.clone());
    }
    true
}

/// Whether two objects are equal but for some metadata.
fn equal_but(left: &Object, right: &Object, ignored: &[&str]) -> bool {
    let metadata = |object| fields(Object::at(object, &["metadata"]).and_then(Value::as_object), ignored);
    fields(Some(&left.0), &["metadata"]).eq(fields(Some(&right.0), &["metadata"])) && metadata(left).eq(metadata(right))
}

/// The fields of a map in order of name, but for some.
fn fields<'a>(map: Option<&'a Map<String, Value>>, but: &[&str]) -> impl Iterator<Item = (&'a String, &'a Value)> {
    map.into_iter().flatten().filter(|(name, _)| !but.contains(&name.as_str()))
}

#[cfg(test)]
mod tests;
