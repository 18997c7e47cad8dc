//! The heart of structured merge: who owns what after an update or an apply.

use std::borrow::Cow;

use serde_json::Value;

use super::compare::{Difference, compare};
use super::fieldset::{field_set, remove_items, with_declared};
use super::managers::{Identity, Manager, Managers, Operation};
use super::merge::merge;
use super::set::Set;
use super::typed::{Maybe, joined, validate};
use super::{ApplyError, Request, conflict, equal_but, reset};
use crate::Object;
use crate::schema::Schema;
use crate::time;

/// The differences between two objects, by version.
struct Comparisons<'a> {
    request: &'a Request<'a>,
    old: Option<&'a Object>,
    new: &'a Object,
    by_version: Vec<(String, Option<Difference>)>,
}

impl<'a> Comparisons<'a> {
    fn new(request: &'a Request<'a>, old: Option<&'a Object>, new: &'a Object) -> Self {
        let difference = compare(old.map(|old| &old.0), Some(&new.0), Some(request.schema.root()));
        let difference = request.reset.filter_difference(difference);
        Self { request, old, new, by_version: vec![(request.api_version.to_string(), Some(difference))] }
    }

    /// The difference in a version; none if the version is no more.
    fn of(&mut self, version: &str) -> Option<&Difference> {
        let at = match self.by_version.iter().position(|(v, _)| v == version) {
            Some(at) => at,
            None => {
                let difference = self.compute(version);
                self.by_version.push((version.to_string(), difference));
                self.by_version.len() - 1
            }
        };
        self.by_version[at].1.as_ref()
    }

    /// The difference in the version of the request.
    fn into_own(mut self) -> Difference {
        self.by_version.swap_remove(0).1.unwrap_or_default()
    }

    fn compute(&self, version: &str) -> Option<Difference> {
        let Some(convert) = self.request.convert else { return self.by_version[0].1.clone() };
        // Both are asked for before either is missed: whoever has to find them out can do so together.
        let (new, old) = (convert(self.new, version), self.old.map(|old| convert(old, version)));
        let (new, schema) = new?;
        let old = match old {
            Some(old) => Some(old?.0),
            None => None,
        };
        let difference = compare(old.as_ref().map(|old| &old.0), Some(&new.0), Some(schema.root()));
        Some(self.request.reset.filter_difference(difference))
    }
}

/// Takes from the other managers what changed and what is gone. Fails on what changed unless forced.
fn disown(
    comparisons: &mut Comparisons<'_>,
    managers: &mut Managers,
    own: Option<&Identity>,
    force: bool,
) -> Result<(), ApplyError> {
    let mut conflicts = Managers::default();
    let mut gone = Vec::new();
    for (id, manager) in managers.0.iter().filter(|(id, _)| Some(*id) != own) {
        let Some(difference) = comparisons.of(&manager.api_version) else {
            gone.push(id.clone());
            continue;
        };
        let modified = manager.set.intersection(&difference.modified);
        let set = modified.union(&manager.set.intersection(&difference.added));
        if !set.is_empty() {
            conflicts.0.insert(id.clone(), Manager { set, ..manager.clone() });
        }
    }
    if !force && !conflicts.is_empty() {
        return Err(ApplyError::Conflicts(conflict::of(&conflicts)));
    }
    managers.0.retain(|id, _| !gone.contains(id));
    for (id, manager) in managers.0.iter_mut().filter(|(id, _)| Some(*id) != own) {
        if let Some(taken) = conflicts.0.get(id) {
            manager.set.subtract(&taken.set);
        }
        let removed = comparisons.of(&manager.api_version).map(|d| &d.removed).filter(|r| !r.is_empty());
        if let Some(removed) = removed {
            manager.set.subtract(removed);
        }
    }
    managers.0.retain(|_, manager| !manager.set.is_empty());
    Ok(())
}

/// Records an update by `manager`. The time is kept if it took nothing.
pub(super) fn update(
    request: &Request<'_>,
    live: Option<&Object>,
    new: &Object,
    managers: &mut Managers,
    manager: &str,
) {
    let mut comparisons = Comparisons::new(request, live, new);
    if comparisons.of(request.api_version).is_some_and(|difference| difference.untyped) {
        managers.0.clear();
        return;
    }
    let disowned = disown(&mut comparisons, managers, None, true);
    debug_assert!(disowned.is_ok(), "a forced update has no conflicts");
    let Difference { modified, added, .. } = comparisons.into_own();
    let mut set = request.reset.filter(if modified.is_empty() { added } else { modified.union(&added) });
    set.subtract(reset::never_owned());
    if set.is_empty() {
        return;
    }
    let id = Identity::new(manager, Operation::Update, request.api_version, request.subresource);
    let set = match managers.0.remove(&id) {
        Some(previous) => previous.set.union(&set),
        None => set,
    };
    let time = Some(time::format(request.now));
    managers.0.insert(id, Manager { api_version: request.api_version.to_string(), time, set });
}

/// Applies a configuration: the new object without managed fields, and the managers.
pub(super) fn apply(
    request: &Request<'_>,
    live: &Object,
    patch: &Value,
    mut managers: Managers,
    force: bool,
) -> Result<(Object, Managers), ApplyError> {
    let ty = Some(request.schema.root());
    let errors = validate(patch, ty, true);
    if !errors.is_empty() {
        let why = joined(&errors);
        let what = described(patch, request);
        return Err(ApplyError::Type(format!("failed to create typed patch object ({what}): {why}")));
    }
    let mut new = live.clone();
    new.remove(&["metadata", "managedFields"]);
    let mut new = new.into_value();
    merge(&mut new, patch, ty);
    let id = Identity::new(request.manager, Operation::Apply, "", request.subresource);
    let last = managers.0.remove(&id);
    let set = request.reset.filter(field_set(patch, ty));
    let time = last.as_ref().and_then(|last| last.time.clone());
    managers.0.insert(id.clone(), Manager { api_version: request.api_version.to_string(), time, set });
    if let Some(last) = last {
        prune(request, &mut new, &managers, &last);
    }
    let new = Object::from_value(new).unwrap_or_default();
    let mut comparisons = Comparisons::new(request, Some(live), &new);
    disown(&mut comparisons, &mut managers, Some(&id), force)?;
    if let Some(mut own) = managers.0.remove(&id) {
        own.set.subtract(reset::never_owned());
        if !equal_but(live, &new, &["managedFields"]) {
            own.time = Some(time::format(request.now));
        }
        if !own.set.is_empty() {
            managers.0.insert(id, own);
        }
    }
    Ok((new, managers))
}

fn described(object: &Value, request: &Request<'_>) -> String {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or("");
    let kind = conflict::group_version_kind(request.api_version, request.kind);
    format!("{}/{}; {kind}", text("namespace"), text("name"))
}

/// An object in a version, with its type.
fn in_version<'a>(
    request: &'a Request<'_>,
    object: &'a Value,
    version: &str,
) -> Option<(Cow<'a, Value>, Cow<'a, Schema>)> {
    // It may be in another version than the request: what was pruned is in that of the manager.
    let stated = object.get("apiVersion").and_then(Value::as_str).unwrap_or(request.api_version);
    let is_as_asked = version == request.api_version && version == stated;
    match request.convert.filter(|_| !is_as_asked) {
        None => Some((Cow::Borrowed(object), Cow::Borrowed(request.schema))),
        Some(convert) => {
            let (object, schema) = convert(&Object::from_value(object.clone())?, version)?;
            Some((Cow::Owned(object.into_value()), Cow::Owned(schema)))
        }
    }
}

/// Removes what the manager applied last time and not this time, unless somebody else owns it.
fn prune(request: &Request<'_>, merged: &mut Value, managers: &Managers, last: &Manager) {
    let own = Identity::new(request.manager, Operation::Apply, "", request.subresource);
    let kept = managers.0.get(&own).filter(|own| own.api_version == last.api_version);
    if last.set.is_empty() || kept.is_some_and(|own| last.set.difference(&own.set).is_empty()) {
        return;
    }
    let Some((object, schema)) = in_version(request, merged, &last.api_version) else { return };
    let ty = Some(schema.root());
    let object = object.into_owned();
    let last_set = with_declared(&last.set, ty);
    let mut pruned = object.clone();
    remove_items(&mut pruned, &last_set, ty);
    add_back_owned(request, &object, &mut pruned, managers, &last.api_version);
    // What the manager did not own before is not its to remove.
    let (pruned_set, merged_set) = (declared_set(&pruned, ty), declared_set(&object, ty));
    let removed = merged_set.difference(&pruned_set).intersection(&last_set);
    let mut pruned = object;
    remove_items(&mut pruned, &removed, ty);
    if last.api_version == request.api_version {
        *merged = pruned;
    } else if let Some(convert) = request.convert
        && let Some(pruned) = Object::from_value(pruned.clone())
        && let Some((back, _)) = convert(&pruned, request.api_version)
    {
        *merged = back.into_value();
    } else {
        *merged = pruned;
    }
}

fn declared_set(object: &Value, ty: Maybe<'_>) -> Set {
    with_declared(&field_set(object, ty), ty)
}

/// Puts back what was pruned and somebody owns, version by version, the pruned one first.
fn add_back_owned(request: &Request<'_>, merged: &Value, pruned: &mut Value, managers: &Managers, version: &str) {
    let mut versions: Vec<&str> = managers.0.values().map(|m| m.api_version.as_str()).collect();
    versions.sort_by_key(|v| (*v != version, *v));
    versions.dedup();
    for of_version in versions {
        let of_managers = managers.0.values().filter(|m| m.api_version == of_version);
        let owned = Set::union_of(of_managers.map(|manager| &manager.set));
        let (Some((whole, schema)), Some((rest, _))) =
            (in_version(request, merged, of_version), in_version(request, pruned, of_version))
        else {
            continue;
        };
        let ty = Some(schema.root());
        let kept = declared_set(&rest, ty).union(&with_declared(&owned, ty));
        let removed = declared_set(&whole, ty).difference(&kept);
        let mut result = whole.into_owned();
        remove_items(&mut result, &removed, ty);
        *pruned = if of_version == version {
            result
        } else {
            in_version(request, &result, version).map_or(result.clone(), |(back, _)| back.into_owned())
        };
    }
}
