//! What all kinds have in common: names, labels, annotations, owners, finalizers, and what may not change
//! (`ValidateObjectMeta` and `ValidateObjectMetaUpdate` in apimachinery's `api/validation`).

mod again;

use std::collections::HashSet;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::addresses;
use super::at::At;
use crate::Object;
use crate::apply::MANAGER_LENGTH_MAX;
use crate::field::{ErrorList, FieldError, Path, VALUE_BYTES_MAX};
use crate::go::json::in_html;
use crate::names;
pub use again::validate_kind_update;

/// How long all annotations together may be.
pub const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;
/// How long the name of a subresource in managed fields may be.
const SUBRESOURCE_LENGTH_MAX: usize = 256;
/// What of the metadata never changes.
const FIXED: [&str; 6] =
    ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];
/// Makes the garbage collector orphan dependents.
pub const ORPHAN_FINALIZER: &str = "orphan";
/// Makes the garbage collector delete dependents first.
pub const FOREGROUND_FINALIZER: &str = "foregroundDeletion";

/// What names of a kind must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameRule {
    /// Anything that may stand in a path.
    PathSegment,
    /// A DNS label.
    Label,
    /// A DNS label that begins with a letter.
    Label1035,
    /// A DNS subdomain.
    #[default]
    Subdomain,
    /// An address in its canonical form.
    Address,
}

/// A rule as the flags of kinds name it.
impl FromStr for NameRule {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "path-segment" => Self::PathSegment,
            "label" => Self::Label,
            "subdomain" => Self::Subdomain,
            "address" => Self::Address,
            _ => return Err(()),
        })
    }
}

impl NameRule {
    fn check(self, name: &str, prefix: bool) -> Vec<String> {
        let masked;
        let name = if prefix && self != Self::PathSegment && name.len() > 1 && name.ends_with('-') {
            // A dash at the end is fine where letters follow.
            masked = format!("{}a", &name[..name.len() - 2]);
            &masked
        } else {
            name
        };
        match self {
            Self::PathSegment => path_segment(name, prefix),
            Self::Label => names::dns1123_label(name),
            Self::Label1035 => names::dns1035_label(name),
            Self::Subdomain => names::dns1123_subdomain(name),
            Self::Address => addresses::address(name),
        }
    }
}

/// What is wrong with a name as part of a path.
pub fn path_segment(name: &str, prefix: bool) -> Vec<String> {
    if !prefix && matches!(name, "." | "..") {
        return vec![format!("may not be '{name}'")];
    }
    let bad = ["/", "%"].into_iter().filter(|c| name.contains(c));
    bad.map(|c| format!("may not contain '{c}'")).collect()
}

/// Checks the metadata of an object; names have been generated.
pub fn validate(object: &Object, namespaced: bool, rule: NameRule) -> ErrorList {
    let metadata = At::metadata(object);
    let mut errors = ErrorList::new();
    let prefix = metadata.field("generateName");
    if !prefix.is_empty() {
        let wrong = rule.check(prefix.text(), true).into_iter();
        errors.extend(wrong.map(|m| FieldError::invalid(&prefix.path, prefix.text(), m)));
    }
    let name = metadata.field("name");
    if name.text().is_empty() {
        errors.push(FieldError::required(&name.path, "name or generateName is required"));
    } else {
        let wrong = rule.check(name.text(), false).into_iter();
        errors.extend(wrong.map(|m| FieldError::invalid(&name.path, name.text(), m)));
    }
    errors.extend(validate_namespace(&metadata.field("namespace"), namespaced));
    let generation = metadata.field("generation");
    if let Some(number) = generation.number().filter(|number| *number < 0) {
        let why = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(&generation.path, number, why));
    }
    errors.extend(labels_and_annotations(&metadata));
    errors.extend(validate_owners(&metadata.field("ownerReferences")));
    errors.extend(validate_finalizers(&finalizers(object), &metadata.field("finalizers").path));
    errors.extend(validate_managed_fields(&metadata.field("managedFields")));
    errors
}

/// Checks the entries of managed fields that a client may have stated itself.
fn validate_managed_fields(entries: &At<'_>) -> ErrorList {
    let mut errors = ErrorList::new();
    for entry in entries.items() {
        let names = entry.known(["operation", "fieldsType", "manager", "subresource"]);
        let [operation, fields_type, manager, subresource] = names.map(|name| entry.read(name).as_str().unwrap_or(""));
        let usual = matches!(operation, "Apply" | "Update") && matches!(fields_type, "" | "FieldsV1");
        let fits = manager.len() <= MANAGER_LENGTH_MAX && subresource.len() <= SUBRESOURCE_LENGTH_MAX;
        if usual && fits && !manager.contains(char::is_control) {
            continue;
        }
        let [operation, fields_type, manager, subresource] = names.map(|name| entry.get(name));
        if !matches!(operation.text(), "Apply" | "Update") {
            let why = "must be `Apply` or `Update`";
            errors.push(FieldError::invalid(&operation.path, operation.text(), why));
        }
        if !matches!(fields_type.text(), "" | "FieldsV1") {
            errors.push(FieldError::invalid(&fields_type.path, fields_type.text(), "must be `FieldsV1`"));
        }
        errors.extend(validate_manager(manager.text(), &manager.path));
        if subresource.text().len() > SUBRESOURCE_LENGTH_MAX {
            errors.push(FieldError::too_long(&subresource.path, SUBRESOURCE_LENGTH_MAX));
        }
    }
    errors
}

/// Checks the name of a field manager.
pub fn validate_manager(manager: &str, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if manager.len() > MANAGER_LENGTH_MAX {
        errors.push(FieldError::too_long(path, MANAGER_LENGTH_MAX));
    }
    for (at, c) in manager.char_indices().filter(|(_, c)| c.is_control()) {
        let why = format!("invalid character U+{:04X} (at position {at})", u32::from(c));
        errors.push(FieldError::invalid(path, manager, why));
    }
    errors
}

/// Checks what may not change in the metadata of an object.
pub fn validate_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (metadata, former) = (At::metadata(new), At::metadata(old));
    if former.field("deletionTimestamp").is_set() {
        let before: HashSet<&str> = finalizers(old).into_iter().collect();
        let mut extra: Vec<&str> = finalizers(new).into_iter().filter(|f| !before.contains(f)).collect();
        extra.sort_unstable();
        extra.dedup();
        if !extra.is_empty() {
            let list: Vec<String> = extra.iter().map(|f| format!("{f:?}")).collect();
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                list.join(", ")
            );
            errors.push(FieldError::forbidden(&metadata.field("finalizers").path, why));
        }
    }
    let version = metadata.field("resourceVersion");
    if version.text().is_empty() {
        errors.push(FieldError::invalid(&version.path, "", "must be specified for an update"));
    }
    let generation = metadata.field("generation");
    let number = generation.number().unwrap_or(0);
    if number < former.field("generation").number().unwrap_or(0) {
        errors.push(FieldError::invalid(&generation.path, number, "must not be decremented"));
    }
    for name in metadata.known(FIXED) {
        if metadata.read(name) != former.read(name) {
            let after = metadata.get(name);
            let is_text = after.is_absent() && (name.ends_with("name") || &*name == "uid");
            let shown = if is_text { "".into() } else { after.value.clone() };
            errors.push(FieldError::invalid(&after.path, shown, "field is immutable"));
        }
    }
    errors.extend(labels_and_annotations(&metadata));
    errors.extend(validate_owners(&metadata.field("ownerReferences")));
    errors
}

fn labels_and_annotations(metadata: &At<'_>) -> ErrorList {
    let (labels, annotations) = (metadata.field("labels"), metadata.field("annotations"));
    let mut errors = validate_labels(labels.value.as_object(), &labels.path);
    errors.extend(validate_annotations(annotations.value.as_object(), &annotations.path));
    errors
}

fn validate_namespace(at: &At<'_>, namespaced: bool) -> ErrorList {
    let (namespace, path) = (at.text(), &at.path);
    match (namespaced, namespace.is_empty()) {
        (true, true) => FieldError::required(path, "").into(),
        (true, false) => {
            names::dns1123_label(namespace).into_iter().map(|m| FieldError::invalid(path, namespace, m)).collect()
        }
        (false, true) => ErrorList::new(),
        (false, false) => FieldError::forbidden(path, "not allowed on this type").into(),
    }
}

/// Checks the keys and values of labels.
pub fn validate_labels(labels: Option<&Map<String, Value>>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (key, value) in labels.into_iter().flatten() {
        errors.extend(names::label_key(key).into_iter().map(|m| FieldError::invalid(path, key.as_str(), m)));
        let value = value.as_str().unwrap_or("");
        errors.extend(names::label_value(value).into_iter().map(|m| FieldError::invalid(path, value, m)));
    }
    errors
}

/// Checks the keys of annotations and their size.
pub fn validate_annotations(annotations: Option<&Map<String, Value>>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut size = 0;
    for (key, value) in annotations.into_iter().flatten() {
        size += key.len() + value.as_str().map_or(0, str::len);
        let lower = key.to_lowercase();
        errors.extend(names::label_key(&lower).into_iter().map(|m| FieldError::invalid(path, key.as_str(), m)));
    }
    if size > ANNOTATIONS_BYTES_MAX {
        errors.push(FieldError::too_long(path, ANNOTATIONS_BYTES_MAX));
    }
    errors
}

fn validate_owners(owners: &At<'_>) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = &owners.path;
    let mut controller = String::new();
    for owner in owners.items() {
        let api_version = owner.field("apiVersion").text();
        let named = owner.fields(["kind", "name", "uid"]);
        // Errors are at the list, not at the item, as the reference has them.
        if api_version.is_empty() || api_version.ends_with('/') {
            errors.push(FieldError::invalid(&path.child("apiVersion"), api_version, "version must not be empty"));
        }
        for (at, name) in named.iter().zip(["kind", "name", "uid"]).filter(|(at, _)| at.text().is_empty()) {
            debug_assert!(at.path.as_str().ends_with(name), "the names are those of the fields");
            errors.push(FieldError::invalid(&path.child(name), "", "must not be empty"));
        }
        let [kind, name, _] = &named;
        if (api_version, kind.text()) == ("v1", "Event") {
            let why = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(FieldError::invalid_text(path, shown_owner(&owner), why));
        }
        if owner.field("controller").is_true() {
            let this = format!("{}/{}", kind.text(), name.text());
            if controller.is_empty() {
                controller = this;
            } else {
                errors.push_with(|| {
                    let why = format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {controller} and {this}"
                    );
                    FieldError::invalid_text(path, shown_owners(owners), why)
                });
            }
        }
    }
    errors
}

/// Owner references, as many as an error shows.
fn shown_owners(owners: &At<'_>) -> String {
    let mut text = String::from("[");
    for (place, owner) in owners.items().enumerate() {
        if text.len() > VALUE_BYTES_MAX {
            break;
        }
        text.push_str(if place > 0 { "," } else { "" });
        text.push_str(&shown_owner(&owner));
    }
    text.push(']');
    text
}

/// An owner reference with its fields in Go's order.
fn shown_owner(owner: &At<'_>) -> String {
    let fields = owner.known(["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"]);
    let given = fields.into_iter().map(|name| (name, owner.get(name))).filter(|(_, at)| at.is_set());
    let shown = given.map(|(name, at)| format!("\"{name}\":{}", in_html(at.value.to_string())));
    format!("{{{}}}", shown.collect::<Vec<_>>().join(","))
}

fn validate_finalizers(finalizers: &[&str], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for finalizer in finalizers {
        errors.extend(names::label_key(finalizer).into_iter().map(|m| FieldError::invalid(path, *finalizer, m)));
    }
    if finalizers.contains(&ORPHAN_FINALIZER) && finalizers.contains(&FOREGROUND_FINALIZER) {
        let why = format!("finalizer {ORPHAN_FINALIZER} and {FOREGROUND_FINALIZER} cannot be both set");
        errors.push(FieldError::invalid(path, finalizers.iter().map(|f| Value::from(*f)).collect::<Value>(), why));
    }
    errors
}

/// Finalizers of core objects must be qualified, or among those the system has always known
/// (`validateKubeFinalizerName` in `pkg/apis/core/validation`).
pub fn validate_core_finalizers(object: &Object) -> ErrorList {
    let path = Path::new("metadata.finalizers");
    let known = |f: &str| f.contains('/') || matches!(f, "kubernetes" | ORPHAN_FINALIZER | FOREGROUND_FINALIZER);
    let finalizers = finalizers(object);
    let bad = finalizers.iter().enumerate().filter(|(_, f)| !known(f));
    let why = "name is neither a standard finalizer name nor is it fully qualified";
    bad.map(|(index, f)| FieldError::invalid(&path.index(index), *f, why)).collect()
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Object) -> Vec<&str> {
    let items = At::metadata(object).field("finalizers").value.as_array();
    items.into_iter().flatten().filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(metadata: Value, rule: NameRule, expected: &[&str]) {
        let object = Object::from_value(json!({"metadata": metadata})).unwrap();
        let errors: Vec<String> = validate(&object, true, rule).iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), expected.len(), "{errors:?}");
        for (error, start) in errors.iter().zip(expected) {
            assert!(error.starts_with(start), "{error} does not start with {start}");
        }
    }

    #[test]
    fn metadata_of_all_kinds() {
        check(json!({"name": "a.b", "namespace": "n"}), NameRule::Subdomain, &[]);
        check(json!({"generateName": "a-", "name": "a-x", "namespace": "n"}), NameRule::Label, &[]);
        check(json!({"namespace": "n"}), NameRule::Label, &["metadata.name: Required value: name or generateName"]);
        check(json!({"name": "a", "namespace": ""}), NameRule::Label, &["metadata.namespace: Required value"]);
        check(
            json!({"name": "a%b", "namespace": "n"}),
            NameRule::PathSegment,
            &["metadata.name: Invalid value: \"a%b\": may not contain '%'"],
        );
        let labels = json!({"name": "a", "namespace": "n", "labels": {"a b": "c d"}});
        check(
            labels,
            NameRule::Label,
            &["metadata.labels: Invalid value: \"a b\"", "metadata.labels: Invalid value: \"c d\""],
        );
        let both = json!({"name": "a", "namespace": "n", "finalizers": ["orphan", "foregroundDeletion"]});
        check(both, NameRule::Label, &["metadata.finalizers: Invalid value"]);
    }
}
