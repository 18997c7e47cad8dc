//! What a cluster says of Pod Security: what holds where no label says anything, and what nothing is asked of
//! (`PodSecurityConfiguration`).

use std::collections::HashSet;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use api::pod_security::{Level, LevelVersion, Policy, Version};
use serde_json::Value;

/// The configuration; the default asks nothing of anybody.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Configuration {
    /// What holds where a namespace has no label.
    pub defaults: Policy,
    /// What nothing is asked of.
    pub exemptions: Exemptions,
}

/// Whom and what nothing is asked of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exemptions {
    /// Who writes.
    pub usernames: Vec<String>,
    /// Where.
    pub namespaces: Vec<String>,
    /// Classes of runtime that pods ask for.
    pub runtime_classes: Vec<String>,
}

impl Configuration {
    /// From a decoded `PodSecurityConfiguration` (`ValidatePodSecurityConfiguration`).
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn new(object: &Object) -> Result<Self, ErrorList> {
        let mut errors = ErrorList::new();
        let mut of = |mode: &str| LevelVersion {
            level: text(object, mode, "privileged", Level::parse, &mut errors).unwrap_or(Level::Restricted),
            version: text(object, &format!("{mode}-version"), "latest", Version::parse, &mut errors)
                .unwrap_or(Version::Latest),
        };
        let (enforce, warn, audit) = (of("enforce"), of("warn"), of("audit"));
        let exemptions = Exemptions {
            namespaces: list(object, "namespaces", |name| joined(names::dns1123_label(name)), &mut errors),
            runtime_classes: list(object, "runtimeClasses", |name| joined(names::dns1123_subdomain(name)), &mut errors),
            usernames: list(object, "usernames", not_empty, &mut errors),
        };
        let configuration = Self { defaults: Policy { enforce, audit, warn }, exemptions };
        if errors.is_empty() { Ok(configuration) } else { Err(errors) }
    }
}

fn text<T>(
    object: &Object,
    field: &str,
    default: &str,
    parse: fn(&str) -> Result<T, &'static str>,
    errors: &mut ErrorList,
) -> Option<T> {
    let given = object.str_at(&["defaults", field]);
    let value = if given.is_empty() { default } else { given };
    let path = Path::new("defaults").child(field);
    parse(value).map_err(|why| errors.push(FieldError::invalid(&path, value, why))).ok()
}

fn list(object: &Object, field: &str, fault: fn(&str) -> Option<String>, errors: &mut ErrorList) -> Vec<String> {
    let items = object.at(&["exemptions", field]).and_then(Value::as_array);
    let mut seen = HashSet::new();
    for (at, item) in items.into_iter().flatten().filter_map(Value::as_str).enumerate() {
        let path = Path::new("exemptions").child(field).index(at);
        if let Some(why) = fault(item) {
            errors.push(FieldError::invalid(&path, item, why));
        } else if !seen.insert(item) {
            errors.push(FieldError::duplicate(&path, item));
        }
    }
    items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn joined(faults: Vec<String>) -> Option<String> {
    (!faults.is_empty()).then(|| faults.join(", "))
}

fn not_empty(name: &str) -> Option<String> {
    name.is_empty().then(|| "username must not be empty".into())
}
