//! Whether a flow schema matches a request (`matchesFlowSchema` in apiserver's `util/flowcontrol`).

use api::{Object, UserInfo};
use serde::Deserialize;

use crate::RequestInfo;

/// Stands for every name, verb, resource and so on.
const ALL: &str = "*";

/// What of a flow schema decides which requests are its.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    /// The schema with the lowest is tried first.
    #[serde(default)]
    pub(super) matching_precedence: i64,
    priority_level_configuration: Named,
    distinguisher_method: Option<Method>,
    #[serde(default)]
    rules: Vec<PolicyRules>,
}

/// What tells the flows of a schema apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Distinguisher {
    ByUser,
    ByNamespace,
}

#[derive(Debug, Deserialize)]
struct Method {
    r#type: Distinguisher,
}

impl Distinguisher {
    /// What a request has of it (`computeFlowDistinguisher`).
    pub(super) fn of<'r>(self, user: &'r UserInfo, info: &'r RequestInfo) -> &'r str {
        match self {
            Self::ByUser => &user.username,
            Self::ByNamespace => &info.namespace,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicyRules {
    #[serde(default)]
    subjects: Vec<Subject>,
    #[serde(default)]
    resource_rules: Vec<ResourceRule>,
    #[serde(default)]
    non_resource_rules: Vec<PathRule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subject {
    kind: String,
    user: Option<Named>,
    group: Option<Named>,
    service_account: Option<Account>,
}

#[derive(Debug, Deserialize)]
struct Account {
    namespace: String,
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceRule {
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    api_groups: Vec<String>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    cluster_scope: bool,
    #[serde(default)]
    namespaces: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct PathRule {
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    urls: Vec<String>,
}

impl Spec {
    /// Reads a stored schema; nothing of one that is none.
    pub(super) fn read(schema: &Object) -> Option<Self> {
        Self::deserialize(schema.at(&["spec"])?).ok()
    }

    /// Everything that members of a group ask for.
    pub(super) fn of_group(group: &str) -> Self {
        let all = || vec![ALL.to_string()];
        let group = Some(Named { name: group.into() });
        let rules = PolicyRules {
            subjects: vec![Subject { kind: "Group".into(), user: None, group, service_account: None }],
            resource_rules: vec![ResourceRule {
                verbs: all(),
                api_groups: all(),
                resources: all(),
                cluster_scope: true,
                namespaces: all(),
            }],
            non_resource_rules: vec![PathRule { verbs: all(), urls: all() }],
        };
        let priority_level_configuration = Named { name: String::new() };
        Self { matching_precedence: 0, priority_level_configuration, distinguisher_method: None, rules: vec![rules] }
    }

    /// The name of the priority level.
    pub(super) fn level(&self) -> &str {
        &self.priority_level_configuration.name
    }

    /// What tells its flows apart; all of its requests are one if nothing does.
    pub(super) fn distinguisher(&self) -> Option<Distinguisher> {
        self.distinguisher_method.as_ref().map(|method| method.r#type)
    }

    /// Whether a request of this user is the schema's.
    pub(super) fn matches(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        self.rules.iter().any(|rules| rules.matches(user, info))
    }
}

impl PolicyRules {
    fn matches(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        if !self.subjects.iter().any(|subject| subject.matches(user)) {
            return false;
        }
        match info.is_resource_request {
            true => self.resource_rules.iter().any(|rule| rule.matches(info)),
            false => self.non_resource_rules.iter().any(|rule| rule.matches(info)),
        }
    }
}

impl Subject {
    fn matches(&self, user: &UserInfo) -> bool {
        match (self.kind.as_str(), &self.user, &self.group, &self.service_account) {
            ("User", Some(named), ..) => named.name == ALL || named.name == user.username,
            ("Group", _, Some(named), _) => named.name == ALL || user.in_group(&named.name),
            ("ServiceAccount", _, _, Some(account)) => account.matches(&user.username),
            _ => false,
        }
    }
}

impl Account {
    /// Whether `system:serviceaccount:NAMESPACE:NAME` is this account, or one of its namespace.
    fn matches(&self, username: &str) -> bool {
        let rest = username.strip_prefix("system:serviceaccount:").and_then(|rest| rest.strip_prefix(&self.namespace));
        let name = rest.and_then(|rest| rest.strip_prefix(':'));
        name.is_some_and(|name| self.name == ALL || self.name == name)
    }
}

impl ResourceRule {
    fn matches(&self, info: &RequestInfo) -> bool {
        let in_scope = match info.namespace.as_str() {
            "" => self.cluster_scope,
            namespace => contains(&self.namespaces, namespace),
        };
        in_scope
            && contains(&self.verbs, &info.verb)
            && contains_resource(&self.resources, &info.resource, &info.subresource)
            && contains(&self.api_groups, &info.group)
    }
}

impl PathRule {
    fn matches(&self, info: &RequestInfo) -> bool {
        contains(&self.verbs, &info.verb) && self.urls.iter().any(|url| is_below(url, &info.path))
    }
}

/// Whether `path` is `url`, or below it; a `*` at its end changes nothing.
fn is_below(url: &str, path: &str) -> bool {
    if url == ALL || url == path {
        return true;
    }
    let prefix = url.strip_suffix('*').unwrap_or(url);
    let rest = path.strip_prefix(prefix);
    rest.is_some_and(|rest| prefix.ends_with('/') || rest.starts_with('/'))
}

/// Whether a list names `wanted`, or is `*` alone (validation allows it no company).
fn contains(list: &[String], wanted: &str) -> bool {
    matches!(list, [only] if only == ALL) || list.iter().any(|item| item == wanted)
}

fn contains_resource(list: &[String], resource: &str, subresource: &str) -> bool {
    let named = |item: &str| match (item.split_once('/'), subresource) {
        (None, "") => item == resource,
        (Some((of, sub)), wanted) => of == resource && sub == wanted && !wanted.is_empty(),
        (None, _) => false,
    };
    matches!(list, [only] if only == ALL) || list.iter().any(|item| named(item))
}
