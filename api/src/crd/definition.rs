//! What makes a definition valid (`ValidateCustomResourceDefinition` and its update in apiextensions).
//!
//! The reference checks an internal form in which what all versions share (schema, subresources, columns,
//! selectable fields) stands once at the top: errors there have paths such as `spec.validation`.

use serde_json::Value;

use super::{formats, schema, selectable};
use crate::Object;
use crate::field::{ErrorList, FieldError, Path};
use crate::internal;
use crate::names::{dns1035_label, dns1123_subdomain};

const APPROVAL: &str = "api-approved.kubernetes.io";
const APPROVAL_LINK: &str = "see https://github.com/kubernetes/enhancements/pull/1111";

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
        immutable(definition, old, &mut errors);
    }
    stored_versions(definition, spec, &mut errors);
    approval(definition, old, &mut errors);
    if spec.get("preserveUnknownFields").and_then(Value::as_bool) == Some(true) {
        let why =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(FieldError::invalid(&path.child("preserveUnknownFields"), true, why));
    }
    errors
}

/// The formats in the schemas of a definition that mean nothing, each as often as it is there.
pub fn unrecognized_formats(definition: &Object) -> Vec<String> {
    fn visit(schema: &Value, found: &mut Vec<String>) {
        let format = text(schema, "format");
        if !format.is_empty() && !formats::is_known(text(schema, "type"), format) {
            found.push(format.to_string());
        }
        for name in ["properties", "patternProperties", "definitions"] {
            schema[name].as_object().into_iter().flatten().for_each(|(_, below)| visit(below, found));
        }
        for name in ["items", "additionalProperties", "not"] {
            given(schema, name).filter(|below| below.is_object()).into_iter().for_each(|below| visit(below, found));
        }
        for name in ["allOf", "anyOf", "oneOf"] {
            items(schema, name).iter().for_each(|below| visit(below, found));
        }
    }
    let mut found = Vec::new();
    let spec = definition.0.get("spec").unwrap_or(&Value::Null);
    let versions = items(spec, "versions");
    // What all versions share counts once.
    let distinct = if shared(spec, "schema").is_some() { &versions[..1] } else { versions };
    distinct.iter().for_each(|version| visit(&version["schema"]["openAPIV3Schema"], &mut found));
    found
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
    let mut seen: Vec<&str> = Vec::new();
    for (i, version) in versions.iter().enumerate() {
        let name = text(version, "name");
        let problems = dns1035_label(name);
        if !problems.is_empty() {
            errors.push(FieldError::invalid(&at.index(i).child("name"), name, problems.join(",")));
        }
        seen.push(name);
        validate_version(spec, old, version, &at.index(i), errors);
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
    required_names(&spec["names"], &path.child("names"), errors);
    validate_names(&spec["names"], &path.child("names"), errors);
    let status = versions.iter().any(|v| given(v, "subresources").and_then(|s| given(s, "status")).is_some());
    if let Some(shared) = shared(spec, "schema") {
        let unchanged = versions.first().is_some_and(|version| is_unchanged(old, version));
        of_schema(shared, status, unchanged, &path.child("validation"), errors);
    }
    if let Some(shared) = shared(spec, "subresources") {
        subresources(shared, &path.child("subresources"), errors);
    }
    if let Some(shared) = shared(spec, "additionalPrinterColumns") {
        columns(shared, &path.child("additionalPrinterColumns"), errors);
    }
    if let (Some(shared), Some(schema)) = (shared(spec, "selectableFields"), versions.first()) {
        selectable::validate(shared, &schema["schema"]["openAPIV3Schema"], &path.child("selectableFields"), errors);
    }
    conversion(spec, &path.child("conversion"), errors);
}

/// What one version has for itself.
fn validate_version(spec: &Value, old: &Value, version: &Value, path: &Path, errors: &mut ErrorList) {
    deprecation(version, path, errors);
    let own = |name: &str| given(version, name).filter(|_| shared(spec, name).is_none());
    if let Some(schema) = own("schema") {
        let status = given(version, "subresources").and_then(|s| given(s, "status")).is_some();
        of_schema(schema, status, is_unchanged(old, version), &path.child("schema"), errors);
    }
    if let Some(own) = own("subresources") {
        subresources(own, &path.child("subresources"), errors);
    }
    if let Some(own) = own("additionalPrinterColumns") {
        columns(own, &path.child("additionalPrinterColumns"), errors);
    }
    if let Some(own) = own("selectableFields") {
        selectable::validate(own, &version["schema"]["openAPIV3Schema"], &path.child("selectableFields"), errors);
    }
}

/// Whether a version has the schema that it had before.
fn is_unchanged(old: &Value, version: &Value) -> bool {
    items(old, "versions")
        .iter()
        .any(|before| before["name"] == version["name"] && before["schema"] == version["schema"])
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

fn deprecation(version: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(warning) = given(version, "deprecationWarning").and_then(Value::as_str) else { return };
    let at = path.child("deprecationWarning");
    if version["deprecated"].as_bool() != Some(true) {
        errors.push(FieldError::invalid(&at, warning, "can only be set for deprecated versions"));
        return;
    }
    if warning.len() > 256 {
        errors.push(FieldError::invalid(&at, warning, "must be <= 256 characters long"));
    }
    if warning.is_empty() {
        errors.push(FieldError::invalid(&at, warning, "must not be an empty string"));
    }
    if let Some((i, _)) = warning.char_indices().find(|(_, c)| c.is_control()) {
        let why = format!("must only contain printable UTF-8 characters; non-printable character found at index {i}");
        errors.push(FieldError::invalid(&at, warning, why));
    }
}

fn required_names(names: &Value, path: &Path, errors: &mut ErrorList) {
    for name in ["plural", "singular", "kind", "listKind"] {
        if text(names, name).is_empty() {
            errors.push(FieldError::required(&path.child(name), ""));
        }
    }
}

fn validate_names(names: &Value, path: &Path, errors: &mut ErrorList) {
    for name in ["plural", "singular"] {
        let value = text(names, name);
        let problems = dns1035_label(value);
        if !value.is_empty() && !problems.is_empty() {
            errors.push(FieldError::invalid(&path.child(name), value, problems.join(",")));
        }
    }
    for name in ["kind", "listKind"] {
        let value = text(names, name);
        let problems = dns1035_label(&value.to_lowercase());
        if !value.is_empty() && !problems.is_empty() {
            let why = format!("may have mixed case, but should otherwise match: {}", problems.join(","));
            errors.push(FieldError::invalid(&path.child(name), value, why));
        }
    }
    let labels = |name: &str, errors: &mut ErrorList| {
        for (i, value) in items(names, name).iter().enumerate() {
            let value = value.as_str().unwrap_or("");
            let problems = dns1035_label(value);
            if !problems.is_empty() {
                errors.push(FieldError::invalid(&path.child(name).index(i), value, problems.join(",")));
            }
        }
    };
    labels("shortNames", errors);
    let kind = text(names, "kind");
    if !kind.is_empty() && kind == text(names, "listKind") {
        let why = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(&path.child("listKind"), kind, why));
    }
    labels("categories", errors);
}

fn simple_path(value: &str, path: &Path, errors: &mut ErrorList) -> bool {
    let good = value.starts_with('.');
    if !good {
        errors.push(FieldError::invalid(path, value, "must be a simple json path starting with ."));
    }
    good
}

fn subresources(value: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(scale) = given(value, "scale") else { return };
    for (name, prefix, whole) in [
        ("specReplicasPath", ".spec.", "should be a json path under .spec"),
        ("statusReplicasPath", ".status.", "should be a json path under .status"),
    ] {
        let (value, at) = (text(scale, name), path.child(&format!("scale.{name}")));
        if value.is_empty() {
            errors.push(FieldError::required(&at, ""));
        } else if simple_path(value, &at, errors) && !value.starts_with(prefix) {
            errors.push(FieldError::invalid(&at, value, whole));
        }
    }
    let (value, at) = (text(scale, "labelSelectorPath"), path.child("scale.labelSelectorPath"));
    if !value.is_empty()
        && simple_path(value, &at, errors)
        && !value.starts_with(".spec.")
        && !value.starts_with(".status.")
    {
        errors.push(FieldError::invalid(&at, value, "should be a json path under either .spec or .status"));
    }
}

fn columns(value: &Value, path: &Path, errors: &mut ErrorList) {
    const KINDS: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    const FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
    for (i, column) in value.as_array().into_iter().flatten().enumerate() {
        let path = path.index(i);
        if text(column, "name").is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        }
        let (kind, format, json_path) = (text(column, "type"), text(column, "format"), text(column, "jsonPath"));
        let kinds = format!("must be one of {}", KINDS.join(","));
        if kind.is_empty() {
            errors.push(FieldError::required(&path.child("type"), kinds));
        } else if !KINDS.contains(&kind) {
            errors.push(FieldError::invalid(&path.child("type"), kind, kinds));
        }
        if !format.is_empty() && !FORMATS.contains(&format) {
            let why = format!("must be one of {}", FORMATS.join(","));
            errors.push(FieldError::invalid(&path.child("format"), format, why));
        }
        let at = path.child("JSONPath");
        if json_path.is_empty() {
            errors.push(FieldError::required(&at, ""));
        } else {
            simple_path(json_path, &at, errors);
        }
    }
}

fn conversion(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(conversion) = given(spec, "conversion") else { return };
    let strategy = text(conversion, "strategy");
    one_of(strategy, &["None", "Webhook"], &path.child("strategy"), errors);
    let webhook = given(conversion, "webhook");
    let client = webhook.and_then(|w| given(w, "clientConfig"));
    let reviews = webhook.map_or(&[][..], |w| items(w, "conversionReviewVersions"));
    let (at, versions_at) = (path.child("webhookClientConfig"), path.child("conversionReviewVersions"));
    if strategy != "Webhook" {
        if client.is_some() {
            errors.push(FieldError::forbidden(&at, "should not be set when strategy is not set to Webhook"));
        }
        if !reviews.is_empty() {
            errors.push(FieldError::forbidden(&versions_at, "should not be set when strategy is not set to Webhook"));
        }
        return;
    }
    match client {
        None => errors.push(FieldError::required(&at, "required when strategy is set to Webhook")),
        Some(client) if given(client, "url").is_some() == given(client, "service").is_some() => {
            errors.push(FieldError::required(&at, "exactly one of url or service is required"));
        }
        Some(client) => crate::validation::webhooks::client_config(client, &at, errors),
    }
    if reviews.is_empty() {
        errors.push(FieldError::required(&versions_at, ""));
        return;
    }
    for (i, version) in reviews.iter().enumerate() {
        let (at, name) = (versions_at.index(i), version.as_str().unwrap_or(""));
        if reviews[..i].contains(version) {
            errors.push(FieldError::invalid(&at, name, "duplicate version"));
            continue;
        }
        errors.extend(dns1035_label(name).into_iter().map(|why| FieldError::invalid(&at, name, why)));
    }
    if !reviews.iter().any(|v| matches!(v.as_str(), Some("v1" | "v1beta1"))) {
        let why = "must include at least one of v1, v1beta1";
        errors.push(FieldError::invalid(&versions_at, reviews.to_vec(), why));
    }
}

fn immutable(definition: &Object, old: &Object, errors: &mut ErrorList) {
    let established = super::is_established(old);
    let fields: [(&str, bool); 4] =
        [("scope", established), ("names.kind", established), ("group", true), ("names.plural", true)];
    for (field, fixed) in fields {
        let names: Vec<&str> = std::iter::once("spec").chain(field.split('.')).collect();
        if fixed && definition.at(&names) != old.at(&names) {
            let value = definition.at(&names).cloned().unwrap_or(Value::Null);
            errors.push(FieldError::invalid(&Path::new("spec").child(field), value, "field is immutable"));
        }
    }
}

fn stored_versions(definition: &Object, spec: &Value, errors: &mut ErrorList) {
    let path = Path::new("status.storedVersions");
    let stored: Vec<Value> =
        definition.at(&["status", "storedVersions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    if stored.is_empty() {
        let shown = given(&definition.0["status"], "storedVersions").cloned().unwrap_or(Value::Null);
        errors.push(FieldError::invalid(&path, shown, "must have at least one stored version"));
        return;
    }
    let versions = items(spec, "versions");
    for version in versions.iter().filter(|v| v["storage"].as_bool() == Some(true)) {
        if !stored.contains(&version["name"]) {
            let why = format!("must have the storage version {}", text(version, "name"));
            errors.push(FieldError::invalid(&path, stored.clone(), why));
        }
    }
    for (i, name) in stored.iter().enumerate().filter(|(_, s)| !versions.iter().any(|v| v["name"] == **s)) {
        let shown = name.as_str().unwrap_or("");
        let why = format!(
            "missing from spec.versions; {shown} was previously a storage version, and must remain in spec.versions \
             until a storage migration ensures no data remains persisted in {shown} and removes {shown} from \
             status.storedVersions"
        );
        errors.push(FieldError::invalid(&path.index(i), name.clone(), why));
    }
}

/// Groups of the Kubernetes community need an approval.
fn approval(definition: &Object, old: Option<&Object>, errors: &mut ErrorList) {
    let group = definition.str_at(&["spec", "group"]);
    let of = |domain: &str| group == domain || group.ends_with(&format!(".{domain}"));
    let value = |o: &Object| o.str_at(&["metadata", "annotations", APPROVAL]).to_string();
    let new = value(definition);
    if !(of("k8s.io") || of("kubernetes.io")) || old.is_some_and(|old| value(old) == new) {
        return;
    }
    let path = Path::new("metadata.annotations").key(APPROVAL);
    let is_url = new.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
    if new.is_empty() {
        let why = format!("protected groups must have approval annotation {APPROVAL:?}, {APPROVAL_LINK}");
        errors.push(FieldError::required(&path, why));
    } else if !new.starts_with("unapproved") && !is_url {
        let why = format!(
            "protected groups must have approval annotation {APPROVAL:?} with either a URL or a reason starting with \
             \"unapproved\", {APPROVAL_LINK}"
        );
        errors.push(FieldError::invalid(&path, new, why));
    }
}
