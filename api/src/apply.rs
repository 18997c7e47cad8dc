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
mod updater;

use jiff::Timestamp;
use serde_json::Value;

pub use conflict::Conflict;
pub use fields_v1::{decode as decode_fields, encode as encode_fields};
pub use managers::{Manager, Managers, Operation, decode as decode_managers};
pub use reset::Reset;
pub use scale::{scale_to_parent, scale_to_subresource};
pub use set::{PathElement, Set, path_text};

use crate::schema::Schema;
use crate::{Object, Status};

/// Longest field manager name that is taken from a user agent or given by a client, in bytes.
pub const MANAGER_LENGTH_MAX: usize = 128;
/// Most managers of updates that an object keeps; older ones are merged into `ancient-changes`.
pub const UPDATE_MANAGERS_MAX: usize = 10;

/// An object in another version of its resource, with that version's schema.
pub type Converted = (Value, Schema);

/// Converts an object to another version (`group/version`); `None` if that version is no more.
pub type Convert<'a> = dyn Fn(&Value, &str) -> Option<Converted> + 'a;

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
        let mut live_value = live.cloned();
        if let Some(live) = &mut live_value {
            live.remove(&["metadata", "managedFields"]);
        }
        let live_value = live_value.map(Object::into_value);
        let new_value = std::mem::take(new).into_value();
        updater::update(request, live_value.as_ref(), &new_value, &mut managers, request.manager);
        managers.cap();
        *new = Object::from_value(new_value).unwrap_or_default();
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
    let (mut base, exists) = match live {
        Some(live) => (live.clone(), true),
        None => (managers::empty_object(request.api_version, request.kind), false),
    };
    base.remove(&["metadata", "managedFields"]);
    let base = base.into_value();
    if managers.is_empty() && exists {
        updater::update(request, None, &base, &mut managers, "before-first-apply");
    }
    let patch = patch.into_value();
    let outcome = match updater::apply(request, &base, &patch, managers.clone(), force) {
        Err(ApplyError::Conflicts(conflicts)) if request.manager == "kubectl" => {
            let conflicts = last_applied::not_allowed(request, &base, conflicts);
            if !conflicts.is_empty() {
                return Err(ApplyError::Conflicts(conflicts));
            }
            updater::apply(request, &base, &patch, managers, true)
        }
        other => other,
    };
    let (merged, managers) = outcome?;
    let mut merged = Object::from_value(merged.unwrap_or(base)).unwrap_or_default();
    if request.manager == "kubectl" {
        last_applied::refresh(&mut merged, patch);
    }
    managers.encode_into(&mut merged);
    Ok(merged)
}

/// Takes the times of `live`'s managed fields into `new` if nothing else differs, so that a write without a change
/// stays one. Whether the objects are equal then, but for their resource version.
pub fn keep_times(live: &Object, new: &mut Object) -> bool {
    let same_entry = |a: &Value, b: &Value| match (a.as_object(), b.as_object()) {
        (Some(a), Some(b)) => {
            let fields = |m: &'_ serde_json::Map<String, Value>| m.iter().filter(|(k, _)| *k != "time").count();
            fields(a) == fields(b) && a.iter().all(|(k, v)| k == "time" || b.get(k) == Some(v))
        }
        _ => false,
    };
    let entries = |o: &'_ Object| o.at(&["metadata", "managedFields"]).and_then(Value::as_array).cloned();
    let (old, mine) = (entries(live).unwrap_or_default(), entries(new).unwrap_or_default());
    // The entries may stand in another order, since they are sorted by time.
    let same = old.len() == mine.len() && mine.iter().all(|m| old.iter().any(|o| same_entry(o, m)));
    if !same || !equal_but_managed(live, new) {
        return false;
    }
    if let Some(old) = live.at(&["metadata", "managedFields"]) {
        new.set(&["metadata", "managedFields"], old.clone());
    }
    true
}

fn equal_but_managed(left: &Object, right: &Object) -> bool {
    let rest = |o: &Object| o.0.iter().filter(|(k, _)| *k != "metadata").count();
    if rest(left) != rest(right) || !left.0.iter().all(|(k, v)| k == "metadata" || right.0.get(k) == Some(v)) {
        return false;
    }
    let skipped = |k: &str| matches!(k, "managedFields" | "resourceVersion");
    let metadata = |o: &'_ Object| o.at(&["metadata"]).and_then(Value::as_object).cloned().unwrap_or_default();
    let (left, right) = (metadata(left), metadata(right));
    let count = |m: &serde_json::Map<String, Value>| m.keys().filter(|k| !skipped(k)).count();
    count(&left) == count(&right) && left.iter().all(|(k, v)| skipped(k) || right.get(k) == Some(v))
}

#[cfg(test)]
mod tests;
