//! Who serves a group and version: this server, or the service that an APIService names (kube-aggregator). Dispatch, discovery
//! and the OpenAPI documents ask here.
//!
//! An APIService of a service goes before what is served here, as in the reference, where only APIServices tell. Local ones tell
//! but the order of groups and versions in discovery: what is served here is in the catalogue.

use std::collections::HashMap;
use std::sync::Arc;

use api::Object;
use api::catalogue::{Catalogue, version_order};
use serde_json::Value;
use store::Snapshot;

use crate::bootstrap;
use crate::memo::Memo;
use crate::registry::Derived;

/// The group of APIServices.
pub(crate) const GROUP: &str = "apiregistration.k8s.io";
/// Their resource.
pub(crate) const PLURAL: &str = "apiservices";
/// What their keys begin with.
pub(crate) const KEYS: &str = "/registry/apiregistration.k8s.io/apiservices/";
/// The label of those that this server makes and keeps (`AutoRegisterManagedLabel`).
pub(crate) const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// The priorities of groups and versions of custom resources (`handleVersionUpdate` of the crd-autoregister controller).
pub(crate) const CUSTOM_PRIORITIES: Priorities = Priorities { group: 1000, version: 100 };
/// The group of APIServices is before all others (`APIRegistrationGroupPriority`).
const OWN_PRIORITY: i64 = 20_001;

/// Where a group and version stand in discovery: the higher, the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Priorities {
    pub(crate) group: i64,
    pub(crate) version: i64,
}

/// Who keeps an APIService.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Managed {
    /// Nobody here.
    No,
    /// This server, when it starts.
    OnStart,
    /// This server, always.
    Always,
}

/// An APIService as far as it says who serves what.
#[derive(Debug, Clone)]
pub(crate) struct ApiService {
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) priorities: Priorities,
    pub(crate) managed: Managed,
    /// The service that serves it; this server if there is none.
    pub(crate) remote: Option<Arc<Remote>>,
}

/// A group and version that a service serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) api_service: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) service: ServiceReference,
    /// The authorities that its certificate must be of, PEM; the system's if it is empty.
    pub(crate) ca_bundle: Vec<u8>,
    /// Whether any certificate is good.
    pub(crate) insecure: bool,
    /// Whether it is said to be available.
    pub(crate) available: bool,
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ServiceReference {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) port: u16,
}

impl ServiceReference {
    /// The name that its certificate must be for.
    pub(crate) fn host(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }
}

impl std::fmt::Display for ServiceReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}:{}", self.namespace, self.name, self.port)
    }
}

impl Remote {
    /// The path below which it serves; the old group has one above its versions.
    pub(crate) fn path(&self) -> String {
        if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        }
    }
}

impl ApiService {
    /// What a stored one says.
    pub(crate) fn of(object: &Object) -> Self {
        let text = |field| object.str_at(&["spec", field]).to_string();
        let number = |field| object.at(&["spec", field]).and_then(Value::as_i64).unwrap_or(0);
        let (name, group, version) = (object.name().to_string(), text("group"), text("version"));
        let remote = object.at(&["spec", "service"]).filter(|service| service.is_object()).map(|service| {
            let text = |field: &str| service[field].as_str().unwrap_or("").to_string();
            let port = service["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(HTTPS_PORT);
            let bundle = api::go::base64::decode(object.str_at(&["spec", "caBundle"])).unwrap_or_default();
            let insecure = object.at(&["spec", "insecureSkipTLSVerify"]).and_then(Value::as_bool) == Some(true);
            Arc::new(Remote {
                api_service: name.clone(),
                group: group.clone(),
                version: version.clone(),
                service: ServiceReference { namespace: text("namespace"), name: text("name"), port },
                ca_bundle: bundle,
                insecure,
                available: is_available(object),
            })
        });
        let managed = match object.str_at(&["metadata", "labels", MANAGED]) {
            "onstart" => Managed::OnStart,
            "true" => Managed::Always,
            _ => Managed::No,
        };
        let priorities = Priorities { group: number("groupPriorityMinimum"), version: number("versionPriority") };
        Self { name, group, version, priorities, managed, remote }
    }
}

/// The port of a service that names none.
const HTTPS_PORT: u16 = 443;

/// Whether an APIService is said to be available (`IsAPIServiceConditionTrue`).
pub(crate) fn is_available(object: &Object) -> bool {
    let conditions = object.at(&["status", "conditions"]).and_then(Value::as_array).into_iter().flatten();
    let mut found = conditions.filter(|condition| condition["type"] == "Available");
    found.next().is_some_and(|condition| condition["status"] == "True")
}

/// The APIServices that are stored.
#[derive(Debug, Default)]
pub(crate) struct GroupVersions {
    /// By name.
    all: Vec<ApiService>,
    /// Those of services, by group and version.
    remote: Vec<Arc<Remote>>,
    /// Another one for each value, to tell it by.
    identity: Arc<()>,
}

/// The APIServices of a store.
pub(crate) fn table() -> Derived<GroupVersions> {
    Derived::new(&[KEYS], |snapshot: &Snapshot| {
        // Most are as they were: each is decoded once.
        let objects = snapshot.list(KEYS, None).filter_map(|entry| Memo::of(entry).object(entry));
        GroupVersions::new(objects.map(|object| ApiService::of(&object)).collect())
    })
}

impl GroupVersions {
    pub(crate) fn new(mut all: Vec<ApiService>) -> Self {
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let mut remote: Vec<_> = all.iter().filter_map(|api_service| api_service.remote.clone()).collect();
        remote.sort_by(|a, b| key(a).cmp(&key(b)));
        Self { all, remote, identity: Arc::default() }
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> &[ApiService] {
        &self.all
    }

    /// One by its name.
    pub(crate) fn named(&self, name: &str) -> Option<&ApiService> {
        self.all.binary_search_by(|api_service| api_service.name.as_str().cmp(name)).ok().map(|place| &self.all[place])
    }

    /// What services serve, by group and version.
    pub(crate) fn remotes(&self) -> &[Arc<Remote>] {
        &self.remote
    }

    /// What tells this value from any other.
    pub(crate) fn identity(&self) -> &Arc<()> {
        &self.identity
    }

    /// The service that serves a group and version.
    pub(crate) fn remote(&self, group: &str, version: &str) -> Option<&Arc<Remote>> {
        self.remote.binary_search_by(|remote| key(remote).cmp(&(group, version))).ok().map(|place| &self.remote[place])
    }

    /// The service that answers requests for a path: what is below a group and version, or below `/api`.
    pub(crate) fn remote_at(&self, path: &str) -> Option<&Arc<Remote>> {
        if self.remote.is_empty() {
            return None;
        }
        let mut segments = path.strip_prefix('/')?.splitn(4, '/');
        match segments.next()? {
            "api" => self.remote("", "v1"),
            "apis" => self.remote(segments.next()?, segments.next()?),
            _ => None,
        }
    }

    /// Every group but the core's with its versions, in the order of discovery (`SortedByGroupAndVersion`). What is in the catalogue
    /// and has no APIService yet is there too, and what is a custom resource's no longer is not.
    pub(crate) fn ordered(&self, catalogue: &Catalogue) -> Vec<(String, Vec<String>)> {
        let has = |group: &str, version: &str| !catalogue.of_version(group, version).is_empty();
        let stays = |found: &&ApiService| {
            found.remote.is_some() || found.managed != Managed::Always || has(&found.group, &found.version)
        };
        let mut entries: Vec<Entry> = self
            .all
            .iter()
            .filter(|found| !found.group.is_empty())
            .filter(stays)
            .map(|found| Entry::new(&found.name, &found.group, &found.version, found.priorities))
            .collect();
        for group in catalogue.groups().into_iter().filter(|group| !group.is_empty()) {
            for version in catalogue.versions(group) {
                let name = format!("{version}.{group}");
                if self.named(&name).is_none() {
                    entries.push(Entry::new(&name, group, version, served_priorities(group, version)));
                }
            }
        }
        entries.sort_by(|a, b| b.priorities.group.cmp(&a.priorities.group).then_with(|| a.name.cmp(&b.name)));
        let mut groups: Vec<(String, Vec<Entry>)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for entry in entries {
            let place = *places.entry(entry.group.clone()).or_insert(groups.len());
            match groups.get_mut(place) {
                Some((_, versions)) => versions.push(entry),
                None => groups.push((entry.group.clone(), vec![entry])),
            }
        }
        let versions = |mut entries: Vec<Entry>| {
            entries.sort_by(|a, b| {
                let by_priority = b.priorities.version.cmp(&a.priorities.version);
                by_priority.then_with(|| version_order(&a.version, &b.version))
            });
            entries.into_iter().map(|entry| entry.version).collect()
        };
        groups.into_iter().map(|(group, entries)| (group, versions(entries))).collect()
    }
}

fn key(remote: &Remote) -> (&str, &str) {
    (&remote.group, &remote.version)
}

/// A group and version on its way into an order.
struct Entry {
    name: String,
    group: String,
    version: String,
    priorities: Priorities,
}

impl Entry {
    fn new(name: &str, group: &str, version: &str, priorities: Priorities) -> Self {
        Self { name: name.into(), group: group.into(), version: version.into(), priorities }
    }
}

/// Where what is served here stands, whatever its APIService says (`SetGroupVersionPriority` of the sources of the built-in and of
/// the custom resources).
pub(crate) fn served_priorities(group: &str, version: &str) -> Priorities {
    if group == GROUP {
        return Priorities { group: OWN_PRIORITY, version: 0 };
    }
    bootstrap::priorities(group, version).unwrap_or(CUSTOM_PRIORITIES)
}

#[cfg(test)]
mod tests;
