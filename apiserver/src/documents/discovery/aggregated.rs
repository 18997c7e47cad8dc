//! The aggregated form of discovery with what services serve (`resourceDiscoveryManager` in apiserver).

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use api::catalogue::{Catalogue, version_order};
use api::discovery;
use serde_json::{Value, json};

use crate::aggregator::discovery::{Discovered, VersionDiscovery};
use crate::group_versions::{GroupVersions, Priorities, served_priorities};

/// A version of a group, and where it stands.
struct Version {
    name: String,
    priorities: Priorities,
    document: Value,
}

/// All groups but the core with what they have. What a service serves is not looked for here.
pub(super) fn groups(catalogue: &Catalogue, table: &GroupVersions, discovered: &Discovered) -> Value {
    let mut all: BTreeMap<String, Vec<Version>> = BTreeMap::new();
    for group in catalogue.groups().into_iter().filter(|group| !group.is_empty()) {
        for name in catalogue.versions(group).into_iter().filter(|name| table.remote(group, name).is_none()) {
            let document = discovery::aggregated_version(catalogue, group, name);
            let priorities = served_priorities(group, name);
            all.entry(group.into()).or_default().push(Version { name: name.into(), priorities, document });
        }
    }
    for found in table.all().iter().filter(|found| !found.group.is_empty()) {
        let Some(remote) = &found.remote else { continue };
        let known = discovered.get(&found.name).filter(|known| known.service == remote.service);
        // One that was not asked yet is there all the same.
        let document =
            known.map_or_else(|| VersionDiscovery::empty(&found.version).told(false), |known| known.version.clone());
        let version = Version { name: found.version.clone(), priorities: found.priorities, document };
        all.entry(found.group.clone()).or_default().push(version);
    }
    let mut all: Vec<(String, Vec<Version>)> = all.into_iter().collect();
    let place = |versions: &[Version]| versions.iter().map(|version| version.priorities.group).max();
    // They are in the order of their names already.
    all.sort_by_key(|(_, versions)| std::cmp::Reverse(place(versions)));
    let items: Vec<Value> = all.into_iter().map(|(group, versions)| item(&group, versions)).collect();
    discovery::aggregated_list(items, "v2")
}

fn item(group: &str, mut versions: Vec<Version>) -> Value {
    versions.sort_by(order);
    let versions: Vec<Value> = versions.into_iter().map(|version| version.document).collect();
    json!({"metadata": {"name": group}, "versions": versions})
}

fn order(a: &Version, b: &Version) -> Ordering {
    b.priorities.version.cmp(&a.priorities.version).then_with(|| version_order(&a.name, &b.name))
}

/// The document as it was made last, and of what.
pub(super) struct Made {
    catalogue: Arc<Catalogue>,
    table: Arc<()>,
    discovered: Arc<Discovered>,
    pub(super) document: Arc<Value>,
    pub(super) tag: Arc<str>,
}

impl Made {
    pub(super) fn new(
        catalogue: Arc<Catalogue>,
        table: &GroupVersions,
        discovered: Arc<Discovered>,
        (document, tag): (Value, String),
    ) -> Self {
        let table = table.identity().clone();
        Self { catalogue, table, discovered, document: Arc::new(document), tag: tag.into() }
    }

    /// Whether it would be the same if it were made now.
    pub(super) fn is_current(
        &self,
        catalogue: &Arc<Catalogue>,
        table: &GroupVersions,
        discovered: &Arc<Discovered>,
    ) -> bool {
        Arc::ptr_eq(&self.catalogue, catalogue)
            && Arc::ptr_eq(&self.table, table.identity())
            && Arc::ptr_eq(&self.discovered, discovered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator::discovery::Known;
    use crate::group_versions::ApiService;

    fn api_service(group: &str, version: &str, priorities: (i64, i64), service: Option<&str>) -> ApiService {
        let mut spec = json!({"group": group, "version": version,
            "groupPriorityMinimum": priorities.0, "versionPriority": priorities.1});
        if let Some(name) = service {
            spec["service"] = json!({"namespace": "n", "name": name, "port": 443});
        }
        let name = format!("{version}.{group}");
        ApiService::of(&api::Object::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap())
    }

    #[test]
    fn without_services_it_is_what_the_catalogue_has_in_its_order() {
        let catalogue = Catalogue::builtin();
        let found = groups(&catalogue, &GroupVersions::default(), &Discovered::default());
        assert_eq!(found, discovery::aggregated(&catalogue, false, "v2"));
    }

    #[test]
    fn what_services_have_stands_where_its_priority_says() {
        let catalogue = Catalogue::builtin();
        let own = |name: &str, priorities, service| api_service("ex.com", name, priorities, service);
        let table = GroupVersions::new(vec![
            own("v1", (2000, 10), Some("s")),
            own("v2", (100, 20), Some("s")),
            own("v3beta1", (100, 20), Some("other")),
            api_service("first.com", "v1", (20_000, 1), Some("s")),
            api_service("apps", "v1", (17_800, 15), Some("s")),
        ]);
        let known = |version: &str, service: &str| {
            let service = table.remotes().iter().find(|remote| remote.service.name == service).unwrap().service.clone();
            Arc::new(Known { service, version: json!({"version": version, "freshness": "Current"}) })
        };
        let discovered = Discovered::from([
            ("v1.ex.com".to_string(), known("v1", "s")),
            ("v2.ex.com".to_string(), known("v2", "other")),
        ]);
        let found = groups(&catalogue, &table, &discovered);
        let items = found["items"].as_array().unwrap();
        let names: Vec<&str> = items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!((names[0], names[1], *names.last().unwrap()), ("apiregistration.k8s.io", "first.com", "ex.com"));
        let versions = items.last().unwrap()["versions"].clone();
        let stale = |version: &str| json!({"version": version, "freshness": "Stale"});
        // What another service said does not count.
        assert_eq!(versions, json!([stale("v2"), stale("v3beta1"), {"version": "v1", "freshness": "Current"}]));
        let apps = items.iter().find(|item| item["metadata"]["name"] == "apps").unwrap();
        assert_eq!(apps["versions"], json!([stale("v1")]), "a service goes before what is served here");
    }
}
