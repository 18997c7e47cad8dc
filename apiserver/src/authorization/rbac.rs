//! Role-based access control over an index of the stored roles and bindings.
//!
//! The index is by subject, so a decision looks at the rules of the user and its groups only. It is
//! made anew when a key of the RBAC group was written, and never otherwise.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use api::selector::LabelSelector;
use api::{Object, UserInfo};
use store::Snapshot;

use super::rule::Rule;
use super::{Answer, Attributes, Authorizer, Decision, Rules};
use crate::Registry;
use crate::registry::{Derived, Held, list};

/// The API group of roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";
const KEYS: &[&str] = &["/registry/rbac.authorization.k8s.io/"];

/// The RBAC authoriser.
pub struct Rbac {
    index: Derived<Index>,
}

impl Default for Rbac {
    fn default() -> Self {
        Self { index: Derived::new(KEYS, Index::new) }
    }
}

/// Roles and bindings as of one revision.
pub struct Index {
    cluster: BySubject,
    namespaces: HashMap<String, BySubject>,
}

/// Grants by the name of a user, and by that of a group.
#[derive(Default)]
struct BySubject {
    users: HashMap<String, Vec<Arc<Grant>>>,
    groups: HashMap<String, Vec<Arc<Grant>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    User(String),
    Group(String),
}

/// What one binding gives to one subject.
struct Grant {
    rules: Result<Arc<Vec<Rule>>, String>,
    source: String,
}

impl Rbac {
    /// The roles and bindings as they are now.
    pub fn index(&self, registry: &Registry) -> Held<Index> {
        self.index.get(&**registry.store())
    }
}

impl Authorizer for Rbac {
    fn authorize<'a>(&'a self, attributes: Attributes<'a>, registry: &'a Registry) -> Answer<'a> {
        match self.index(registry).allows(&attributes) {
            Ok(_) => Decision::Allow.into(),
            Err(reason) => Decision::NoOpinion(reason).into(),
        }
    }

    fn reason(&self, attributes: &Attributes<'_>, registry: &Registry) -> String {
        self.index(registry).decide(attributes).unwrap_or_default()
    }

    fn rules(&self, user: &UserInfo, namespace: &str, registry: &Registry) -> Option<Rules> {
        let (rules, errors) = self.index(registry).rules_for(user, namespace);
        Some(Rules { rules, incomplete: false, errors })
    }
}

impl Index {
    /// Reads every role and binding of a snapshot.
    pub fn new(snapshot: &Snapshot) -> Self {
        let objects = |resource| list(snapshot, GROUP, resource, "").into_iter();
        let cluster_roles = aggregate(&list(snapshot, GROUP, "clusterroles", ""));
        let roles: HashMap<(String, String), Arc<Vec<Rule>>> = objects("roles")
            .map(|role| {
                let key = (role.namespace().to_string(), role.name().to_string());
                (key, Arc::new(Rule::list(role.at(&["rules"]))))
            })
            .collect();
        let mut index = Self { cluster: BySubject::default(), namespaces: HashMap::new() };
        let rules_of = |binding: &Object| {
            let name = binding.str_at(&["roleRef", "name"]).to_string();
            match binding.str_at(&["roleRef", "kind"]) {
                "ClusterRole" => {
                    cluster_roles.get(&name).cloned().ok_or_else(|| format!("clusterrole.{GROUP} {name:?} not found"))
                }
                "Role" => roles
                    .get(&(binding.namespace().to_string(), name.clone()))
                    .cloned()
                    .ok_or_else(|| format!("role.{GROUP} {name:?} not found")),
                other => Err(format!("unsupported role reference kind: {other:?}")),
            }
        };
        for binding in objects("clusterrolebindings") {
            add(&mut index.cluster, &binding, rules_of(&binding));
        }
        for binding in objects("rolebindings") {
            let of_namespace = index.namespaces.entry(binding.namespace().to_string()).or_default();
            add(of_namespace, &binding, rules_of(&binding));
        }
        index
    }

    /// Says what allows the request, or why nothing could.
    ///
    /// # Errors
    /// Which roles are missing; empty if none is.
    pub fn decide(&self, asked: &Attributes<'_>) -> Result<String, String> {
        self.allows(asked).map(|source| format!("RBAC: allowed by {source}"))
    }

    /// The binding that allows the request; nothing is written for it.
    fn allows<'s>(&'s self, asked: &Attributes<'_>) -> Result<&'s str, String> {
        let mut missing: Vec<&str> = Vec::new();
        for grant in self.grants(asked.user, asked.namespace) {
            match &grant.rules {
                Ok(rules) if rules.iter().any(|rule| rule.allows(asked)) => {
                    return Ok(&grant.source);
                }
                Ok(_) => {}
                Err(error) if missing.contains(&error.as_str()) => {}
                Err(error) => missing.push(error),
            }
        }
        match missing.as_slice() {
            [] => Err(String::new()),
            [one] => Err(format!("RBAC: {one}")),
            many => Err(format!("RBAC: [{}]", many.join(", "))),
        }
    }

    /// Every rule of a user in a namespace (cluster-wide ones only, if it is empty), and what could not be resolved.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        let (mut rules, mut errors) = (Vec::new(), Vec::new());
        for grant in self.grants(user, namespace) {
            match &grant.rules {
                Ok(granted) => rules.extend(granted.iter().cloned()),
                Err(error) => errors.push(error.clone()),
            }
        }
        (rules, errors)
    }

    fn grants<'s, 'u>(
        &'s self,
        user: &'u UserInfo,
        namespace: &str,
    ) -> impl Iterator<Item = &'s Arc<Grant>> + use<'s, 'u> {
        let scopes = [Some(&self.cluster), self.namespaces.get(namespace)];
        scopes.into_iter().flatten().flat_map(move |scope| {
            let of_user = scope.users.get(&user.username);
            let of_groups = user.groups.iter().filter_map(|group| scope.groups.get(group));
            of_user.into_iter().chain(of_groups).flatten()
        })
    }
}

/// The rules of every cluster role by name; those of a role with an aggregation rule are the sum of the roles that
/// it selects, which may be sums themselves.
pub fn aggregate(roles: &[Object]) -> HashMap<String, Arc<Vec<Rule>>> {
    let mut done = HashMap::with_capacity(roles.len());
    for role in roles {
        done.insert(role.name().to_string(), Arc::new(sum(role, roles)));
    }
    done
}

/// The rules of one of these cluster roles.
pub fn sum(role: &Object, roles: &[Object]) -> Vec<Rule> {
    let mut rules = Vec::new();
    gather(role, roles, &mut vec![role.name()], &mut rules);
    rules
}

fn gather<'a>(role: &'a Object, roles: &'a [Object], seen: &mut Vec<&'a str>, rules: &mut Vec<Rule>) {
    let Some(selectors) = role.at(&["aggregationRule", "clusterRoleSelectors"]).and_then(|s| s.as_array()) else {
        rules.extend(
            Rule::list(role.at(&["rules"])).into_iter().filter(|rule| !rules.contains(rule)).collect::<Vec<_>>(),
        );
        return;
    };
    let selectors: Vec<_> = selectors.iter().filter_map(|s| LabelSelector::from_object(Some(s)).ok()).collect();
    for other in roles {
        if !seen.contains(&other.name()) && selectors.iter().any(|selector| selector.matches_object(other)) {
            seen.push(other.name());
            gather(other, roles, seen, rules);
        }
    }
}

fn add(scope: &mut BySubject, binding: &Object, rules: Result<Arc<Vec<Rule>>, String>) {
    let namespace = binding.namespace();
    let empty = Vec::new();
    let subjects = binding.at(&["subjects"]).and_then(serde_json::Value::as_array).unwrap_or(&empty);
    let mut seen: HashSet<Subject> = HashSet::new();
    for subject in subjects {
        let field = |name: &str| subject.get(name).and_then(serde_json::Value::as_str).unwrap_or("");
        let name = field("name");
        let (key, shown) = match field("kind") {
            "User" => (Subject::User(name.into()), name.to_string()),
            "Group" => (Subject::Group(name.into()), name.to_string()),
            "ServiceAccount" => {
                let of = if field("namespace").is_empty() { namespace } else { field("namespace") };
                if of.is_empty() {
                    continue;
                }
                (Subject::User(format!("system:serviceaccount:{of}:{name}")), format!("{name}/{of}"))
            }
            _ => continue,
        };
        if !seen.insert(key.clone()) {
            continue;
        }
        let source = source_of(binding, &format!("{} {shown:?}", field("kind")));
        let grants = match &key {
            Subject::User(name) => scope.users.entry(name.clone()).or_default(),
            Subject::Group(name) => scope.groups.entry(name.clone()).or_default(),
        };
        grants.push(Arc::new(Grant { rules: rules.clone(), source }));
    }
}

fn source_of(binding: &Object, subject: &str) -> String {
    let (kind, role) = (binding.str_at(&["roleRef", "kind"]), binding.str_at(&["roleRef", "name"]));
    let (what, name) = match binding.namespace() {
        "" => ("ClusterRoleBinding", binding.name().to_string()),
        namespace => ("RoleBinding", format!("{}/{namespace}", binding.name())),
    };
    format!("{what} {name:?} of {kind} {role:?} to {subject}")
}
