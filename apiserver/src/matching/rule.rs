//! One rule: operations, groups, versions, resources, scope and names (`rules.Matcher`).

use api::catalogue::Resource;
use serde_json::Value;

use crate::plug::admission::Attributes;

const ANY: &str = "*";

/// Whether a rule is about what is in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    Namespaced,
    Cluster,
    /// One that nobody knows is about nothing.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    /// Resource and subresource.
    resources: Vec<(String, String)>,
    scope: Scope,
    /// Any, if there are none.
    names: Vec<String>,
}

impl Rule {
    /// A rule as an object says it.
    pub(super) fn new(rule: &Value) -> Self {
        let texts = |name: &str| -> Vec<String> {
            let all = rule[name].as_array().into_iter().flatten();
            all.filter_map(Value::as_str).map(str::to_string).collect()
        };
        let scope = match rule["scope"].as_str() {
            None | Some(ANY) => Scope::All,
            Some("Namespaced") => Scope::Namespaced,
            Some("Cluster") => Scope::Cluster,
            Some(_) => Scope::Unknown,
        };
        let split = |whole: String| match whole.split_once('/') {
            Some((resource, subresource)) => (resource.to_string(), subresource.to_string()),
            None => (whole, String::new()),
        };
        Self {
            operations: texts("operations"),
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            resources: texts("resources").into_iter().map(split).collect(),
            scope,
            names: texts("resourceNames"),
        }
    }

    /// Whether it names a request, if that were made of this row.
    pub(super) fn matches(&self, attributes: &Attributes<'_>, row: &Resource) -> bool {
        let group_and_version = has(&self.groups, &row.group) && has(&self.versions, &row.version);
        group_and_version && self.names_resource(attributes)
    }

    /// Whether it names a request, whatever its group and version.
    pub(super) fn names_resource(&self, attributes: &Attributes<'_>) -> bool {
        let (resource, subresource) = (attributes.resource.plural.as_str(), attributes.subresource);
        let is_named =
            |(res, sub): &(String, String)| (res == ANY || res == resource) && (sub == ANY || sub == subresource);
        has(&self.operations, attributes.operation.as_str())
            && self.is_in_scope(attributes)
            && self.resources.iter().any(is_named)
            && (self.names.is_empty() || self.names.iter().any(|name| name == attributes.request_name()))
    }

    /// Namespaces themselves are in none.
    fn is_in_scope(&self, attributes: &Attributes<'_>) -> bool {
        let in_namespace = !attributes.namespace.is_empty();
        match self.scope {
            Scope::All => true,
            Scope::Namespaced => in_namespace,
            Scope::Cluster => !in_namespace,
            Scope::Unknown => false,
        }
    }
}

fn has(items: &[String], wanted: &str) -> bool {
    items.iter().any(|item| item == ANY || item == wanted)
}
