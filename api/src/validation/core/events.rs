//! Events, which two groups serve and only the newer one is strict about.

use serde_json::Value;

use crate::field::{ErrorList, FieldError, Path};
use crate::go::internal;
use crate::names;
use crate::validation::at::At;
use crate::validation::rules;

const TEXT_LENGTH_MAX: usize = 128;
const NOTE_LENGTH_MAX: usize = 1024;
const SERIES_COUNT_MIN: i64 = 2;
const NEEDLESS: &str = "needs to be unset";

/// An event of the core group, as it is stored (`ValidateEventCreate`, `ValidateEventUpdate`).
pub(crate) fn lenient(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    legacy(new, false, errors);
}

/// An event that came by `events.k8s.io`, as it is stored.
pub(crate) fn strict(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    legacy(new, true, errors);
    match old {
        None => created(new, errors),
        Some(old) => fixed(new, old, errors),
    }
}

fn legacy(new: &At<'_>, strict: bool, errors: &mut ErrorList) {
    let namespace = new.at(&["metadata", "namespace"]).text();
    let of = new.at(&["involvedObject", "namespace"]);
    let timed = new.field("eventTime").is_set();
    let fits = match (of.text(), timed) {
        ("", false) => matches!(namespace, "" | "default"),
        ("", true) => matches!(namespace, "default" | "kube-system"),
        (of, false) => of == namespace,
        (_, true) => true,
    };
    if !fits {
        errors.push(FieldError::invalid(&of.path, of.text(), "does not match event.namespace"));
    }
    if timed {
        reporter(new, strict, errors);
    }
    for message in names::dns1123_subdomain(namespace) {
        errors.push(FieldError::invalid(&Path::new("namespace"), namespace, message));
    }
}

/// What an event with a time must say of who reports what.
fn reporter(new: &At<'_>, strict: bool, errors: &mut ErrorList) {
    let controller = new.field("reportingComponent");
    let path = Path::new(if strict { "reportingController" } else { "reportingComponent" });
    if controller.is_empty() {
        errors.push(FieldError::required(&path, ""));
    }
    rules::label_name(&path, controller.text(), errors);
    for at in new.fields(["reportingInstance", "action", "reason"]) {
        rules::required(&at, errors);
        if at.text().len() > TEXT_LENGTH_MAX {
            let detail = format!("can have at most {TEXT_LENGTH_MAX} characters");
            errors.push(FieldError::invalid(&at.path, "", detail));
        }
    }
    let message = new.field("message");
    if message.text().len() > NOTE_LENGTH_MAX {
        errors.push(FieldError::invalid(&message.path, "", format!("can have at most {NOTE_LENGTH_MAX} characters")));
    }
}

fn created(new: &At<'_>, errors: &mut ErrorList) {
    series(&new.field("series"), errors);
    let type_ = new.field("type");
    if new.field("eventTime").is_absent() {
        errors.push(FieldError::required(&Path::new("eventTime"), ""));
    }
    if !matches!(type_.text(), "Normal" | "Warning") {
        errors.push(FieldError::invalid(&type_.path, "", format!("has invalid value: {}", type_.text())));
    }
    let counted = new.field("count").number().unwrap_or(0) != 0;
    let sourced = new.field("source").fields(["component", "host"]).iter().any(|at| !at.is_empty());
    let set = [
        ("firstTimestamp", new.field("firstTimestamp").is_set()),
        ("lastTimestamp", new.field("lastTimestamp").is_set()),
        ("count", counted),
        ("source", sourced),
    ];
    for (name, _) in set.iter().filter(|(_, set)| *set) {
        errors.push(FieldError::invalid(&Path::new(name), "", NEEDLESS));
    }
}

/// `validateV1EventSeries`
fn series(at: &At<'_>, errors: &mut ErrorList) {
    if at.is_absent() {
        return;
    }
    if at.field("count").number().unwrap_or(0) < SERIES_COUNT_MIN {
        errors.push(FieldError::invalid(&at.path.child("count"), "", "should be at least 2"));
    }
    if at.field("lastObservedTime").is_absent() {
        errors.push(FieldError::required(&at.path.child("lastObservedTime"), ""));
    }
}

/// Nothing but the series changes.
fn fixed(new: &At<'_>, old: &At<'_>, errors: &mut ErrorList) {
    if new.field("series").value != old.field("series").value {
        series(&new.field("series"), errors);
    }
    const FIXED: [(&str, &str); 14] = [
        ("involvedObject", "core.ObjectReference"),
        ("reason", ""),
        ("message", ""),
        ("source", "core.EventSource"),
        ("firstTimestamp", "null"),
        ("lastTimestamp", "null"),
        ("count", ""),
        ("reason", ""),
        ("type", ""),
        ("eventTime", "null"),
        ("action", ""),
        ("related", "*core.ObjectReference"),
        ("reportingComponent", ""),
        ("reportingInstance", ""),
    ];
    for (stored, type_name) in new.known(FIXED.map(|(name, _)| name)).into_iter().zip(FIXED.map(|(_, form)| form)) {
        let name = if &*stored == "reportingComponent" { "reportingController" } else { &stored };
        let (now, before) = (new.get(stored), old.get(stored));
        if rules::same(now.value, before.value) {
            continue;
        }
        let shown = match type_name {
            "" if name == "count" => now.number().unwrap_or(0).to_string(),
            "" => Value::from(now.text()).to_string(),
            form => internal::shown(form, now.value),
        };
        errors.push(FieldError::invalid_text(&Path::new(name), shown, rules::IMMUTABLE));
    }
}
