//! What makes a definition valid (`ValidateCustomResourceDefinition` and its update in apiextensions).
//!
//! The reference checks an internal form in which what all versions share (schema, subresources, columns,
//! selectable fields) stands once at the top: errors there have paths such as `spec.validation`.

pub(super) mod approval;
mod conversion;
mod formats;
mod history;
mod names;
mod version;

use std::collections::HashMap;

use serde_json::Value;

pub use formats::unrecognized_formats;

use super::{schema, selectable};
use crate::Object;
use crate::field::{ErrorList, FieldError, Path};
use crate::go::internal;
use crate::names::{dns1035_label, dns1123_subdomain};

pub(super) fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or("")
}

pub(super) fn items<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn given<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    value.get(name).filter(|v| !v.is_null())
}

/// Everything that is wrong with a definition but for its metadata.
pub fn validate(definition: &Object, old: Option<&Object>) -> ErrorList {
    let null = Value::Null;
    let spec = definition.0.get("spec").unwrap_or(&null);
    let path = Path::new("spec");
    let mut errors = ErrorList::new();
    let wanted = format!("{}.{}", text(&spec["names"], "plural"), text(spec, "group"));
    let name = definition.name();
    if old.is_none() && name != wanted && !name.is_empty() {
        let at = Path::new("metadata.name");
        errors.extend(dns1123_subdomain(name).into_iter().map(|why| FieldError::invalid(&at, name, why)));
        errors.push(FieldError::invalid(&at, name, "must be spec.names.plural+\".\"+spec.group"));
    }
    validate_spec(spec, old.and_then(|old| old.0.get("spec")), &path, &mut errors);
    if let Some(old) = old {
        history::immutable(definition, old, &mut errors);
    }
    errors.extend(validate_status(definition));
    history::stored_versions(definition, spec, &mut errors);
    approval::validate(definition, old, &mut errors);
    if spec.get("preserveUnknownFields").and_then(Value::as_bool) == Some(true) {
        let why =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(FieldError::invalid(&path.child("preserveUnknownFields"), true, why));
    }
    errors
}

/// What is wrong with the status of a definition.
pub fn validate_status(definition: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    if let Some(accepted) = definition.at(&["status", "acceptedNames"]) {
        names::validate(accepted, &Path::new("status.acceptedNames"), &mut errors);
    }
    errors
}

/// What all versions have in common under `name`, if they do.
pub(super) fn shared<'v>(spec: &'v Value, name: &str) -> Option<&'v Value> {
    let mut versions = items(spec, "versions").iter().map(|v| given(v, name));
    let first = versions.next()??;
    versions.all(|other| other == Some(first)).then_some(first)
}

/// The versions as the reference keeps them: what all share stands elsewhere.
fn versions_shown(spec: &Value) -> String {
    const SHARED: [&str; 4] = ["schema", "subresources", "additionalPrinterColumns", "selectableFields"];
    let mut versions = spec["versions"].clone();
    for name in SHARED.iter().filter(|name| shared(spec, name).is_some()) {
        for version in versions.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            version.remove(*name);
        }
    }
    internal::shown("[]apiextensions.CustomResourceDefinitionVersion", &versions)
}

fn validate_spec(spec: &Value, old: Option<&Value>, path: &Path, errors: &mut ErrorList) {
    let null = Value::Null;
    let old = old.unwrap_or(&null);
    group(text(spec, "group"), &path.child("group"), errors);
    one_of(text(spec, "scope"), &["Cluster", "Namespaced"], &path.child("scope"), errors);
    let versions = items(spec, "versions");
    let at = path.child("versions");
    for (i, version) in versions.iter().enumerate() {
        if given(version, "schema").and_then(|s| given(s, "openAPIV3Schema")).is_none() {
            errors.push(FieldError::required(&at.index(i).child("schema").child("openAPIV3Schema"), ""));
        }
    }
    // Asked once and not by each version, of which there may be thousands.
    let own = OWN.into_iter().filter(|name| shared(spec, name).is_none()).collect();
    let before = items(old, "versions").iter().map(|version| (text(version, "name"), &version["schema"])).collect();
    let each = Each { own, before };
    let mut seen: Vec<&str> = Vec::new();
    for (i, version) in versions.iter().enumerate() {
        let name = text(version, "name");
        let problems = dns1035_label(name);
        if !problems.is_empty() {
            errors.push(FieldError::invalid(&at.index(i).child("name"), name, problems.join(",")));
        }
        seen.push(name);
        each.validate(version, &at.index(i), errors);
    }
    seen.sort_unstable();
    if seen.windows(2).any(|pair| pair[0] == pair[1]) {
        errors.push(FieldError::invalid_text(&at, versions_shown(spec), "must contain unique version names"));
    }
    if versions.iter().filter(|v| v["storage"].as_bool() == Some(true)).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid_text(&at, versions_shown(spec), why));
    }
    // The reference keeps the first version's name once more, at the top.
    if let Some(name) = versions.first().map(|v| text(v, "name")).filter(|name| !name.is_empty()) {
        let problems = dns1035_label(name);
        if !problems.is_empty() {
            errors.push(FieldError::invalid(&path.child("version"), name, problems.join(",")));
        }
    }
    names::required(&spec["names"], &path.child("names"), errors);
    names::validate(&spec["names"], &path.child("names"), errors);
    let status = versions.iter().any(|v| given(v, "subresources").and_then(|s| given(s, "status")).is_some());
    if let Some(shared) = shared(spec, "schema") {
        let unchanged = versions.first().is_some_and(|version| each.is_unchanged(version));
        of_schema(shared, status, unchanged, &path.child("validation"), errors);
    }
    if let Some(shared) = shared(spec, "subresources") {
        version::subresources(shared, &path.child("subresources"), errors);
    }
    if let Some(shared) = shared(spec, "additionalPrinterColumns") {
        version::columns(shared, &path.child("additionalPrinterColumns"), errors);
    }
    if let (Some(shared), Some(schema)) = (shared(spec, "selectableFields"), versions.first()) {
        selectable::validate(shared, &schema["schema"]["openAPIV3Schema"], &path.child("selectableFields"), errors);
    }
    conversion::validate(spec, &path.child("conversion"), errors);
}

/// What versions may have in common, and is told once then.
const OWN: [&str; 4] = ["schema", "subresources", "additionalPrinterColumns", "selectableFields"];

/// What each version has for itself.
struct Each<'a> {
    /// Those of [`OWN`] that differ among the versions.
    own: Vec<&'static str>,
    /// The schemas that versions had before, by their name.
    before: HashMap<&'a str, &'a Value>,
}

impl Each<'_> {
    fn validate(&self, version: &Value, path: &Path, errors: &mut ErrorList) {
        version::deprecation(version, path, errors);
        let own = |name: &str| given(version, name).filter(|_| self.own.contains(&name));
        if let Some(schema) = own("schema") {
            let status = given(version, "subresources").and_then(|s| given(s, "status")).is_some();
            of_schema(schema, status, self.is_unchanged(version), &path.child("schema"), errors);
        }
        if let Some(own) = own("subresources") {
            version::subresources(own, &path.child("subresources"), errors);
        }
        if let Some(own) = own("additionalPrinterColumns") {
            version::columns(own, &path.child("additionalPrinterColumns"), errors);
        }
        if let Some(own) = own("selectableFields") {
            selectable::validate(own, &version["schema"]["openAPIV3Schema"], &path.child("selectableFields"), errors);
        }
    }

    /// Whether a version has the schema that it had before.
    fn is_unchanged(&self, version: &Value) -> bool {
        self.before.get(text(version, "name")).is_some_and(|before| **before == version["schema"])
    }
}

fn of_schema(schema: &Value, status: bool, unchanged: bool, path: &Path, errors: &mut ErrorList) {
    if let Some(open_api) = given(schema, "openAPIV3Schema") {
        schema::validate(open_api, status, unchanged, &path.child("openAPIV3Schema"), errors);
    }
}

fn group(group: &str, path: &Path, errors: &mut ErrorList) {
    let problems = dns1123_subdomain(group);
    if group.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !problems.is_empty() {
        errors.push(FieldError::invalid(path, group, problems.join(",")));
    } else if !group.contains('.') {
        errors.push(FieldError::invalid(path, group, "should be a domain with at least one dot"));
    }
}

fn one_of(value: &str, accepted: &[&str], path: &Path, errors: &mut ErrorList) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !accepted.contains(&value) {
        errors.push(FieldError::not_supported(path, value, accepted));
    }
}
