//! Every resource that the API server serves, custom ones too.

use std::collections::HashSet;
use std::time::Duration;

use client::{Change, Informer, Informers, Selection, WorkQueue};
use kube::api::DynamicObject;
use kube::core::PartialObjectMeta;
use kube::core::discovery::Scope;
use kube::core::discovery::v2::{APIGroupDiscovery, APISubresourceDiscovery};
use kube::discovery::{ApiResource, Discovery};
use kube::{Api, Client};

use crate::error::Result;

/// Definitions often come many at once, and each means that all resources are asked for: so long changes gather.
const GATHER: Duration = Duration::from_secs(1);

/// An object of which only the metadata is of interest.
pub(crate) type Meta = PartialObjectMeta<DynamicObject>;

/// A resource in the version that its group prefers.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) resource: ApiResource,
    pub(crate) scope: Scope,
    pub(crate) verbs: Vec<String>,
    /// Whether its objects have a `scale`.
    pub(crate) scales: bool,
}

impl Served {
    pub(crate) fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }

    pub(crate) fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// The metadata of the objects of this resource, in `namespace` if it has namespaces.
    pub(crate) fn api(&self, client: &Client, namespace: &str) -> Api<Meta> {
        Api::dynamic(client.clone(), &self.resource, &self.scope).constrain(namespace)
    }
}

/// What the API server serves, as far as it knows.
pub(crate) struct Found {
    pub(crate) resources: Vec<Served>,
    /// Groups and versions of which nobody knows now what they have: the server of an aggregated API does not answer.
    pub(crate) stale: Vec<(String, String)>,
}

impl Found {
    /// What is said of those of which nothing is known (`ErrGroupDiscoveryFailed` and `StaleGroupVersionError` in client-go).
    pub(crate) fn failure(&self) -> Option<String> {
        let mut failed: Vec<String> = self.stale.iter().map(|(group, version)| format!("{group}/{version}")).collect();
        failed.sort();
        let said = failed.iter().map(|version| format!("{version}: stale GroupVersion discovery: {version}"));
        let said = said.collect::<Vec<_>>().join(", ");
        (!failed.is_empty()).then(|| {
            let what = "unable to retrieve the complete list of server APIs";
            format!("Discovery failed for some groups, {} failing: {what}: {said}", failed.len())
        })
    }

    /// Whether nobody knows now what a group and version have.
    pub(crate) fn is_stale(&self, group: &str, version: &str) -> bool {
        self.stale.iter().any(|(of, at)| of == group && at == version)
    }

    fn add(&mut self, group: APIGroupDiscovery) {
        let name = group.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
        let mut known: HashSet<String> = HashSet::new();
        // The preferred version is the first; what only another has is in that.
        for found in group.versions {
            let version = found.version.unwrap_or_default();
            if found.freshness.as_deref() == Some("Stale") {
                self.stale.push((name.clone(), version.clone()));
            }
            let api_version = if name.is_empty() { version.clone() } else { format!("{name}/{version}") };
            for resource in found.resources {
                let plural = resource.resource.unwrap_or_default();
                if !known.insert(plural.clone()) {
                    continue;
                }
                let kind = resource.response_kind.and_then(|kind| kind.kind).unwrap_or_default();
                let is_scale = |sub: &APISubresourceDiscovery| sub.subresource.as_deref() == Some("scale");
                self.resources.push(Served {
                    resource: ApiResource {
                        group: name.clone(),
                        version: version.clone(),
                        api_version: api_version.clone(),
                        kind,
                        plural,
                    },
                    scales: resource.subresources.iter().any(is_scale),
                    scope: match resource.scope.as_deref() {
                        Some("Namespaced") => Scope::Namespaced,
                        _ => Scope::Cluster,
                    },
                    verbs: resource.verbs,
                });
            }
        }
    }
}

/// Asks the API server for all its resources.
pub(crate) async fn find(client: &Client) -> Result<Found> {
    let mut found = Found { resources: Vec::new(), stale: Vec::new() };
    let whole =
        async { tokio::try_join!(client.list_core_api_versions_aggregated(), client.list_api_groups_aggregated()) };
    if let Ok((core, groups)) = whole.await {
        core.items.into_iter().chain(groups.items).for_each(|group| found.add(group));
        return Ok(found);
    }
    // An API server without aggregated discovery answers in the older form.
    let discovery = Discovery::new(client.clone()).run().await?;
    let resources = discovery.groups().flat_map(|group| group.recommended_resources());
    found.resources.extend(resources.map(|(resource, capabilities)| Served {
        resource,
        scales: capabilities.subresources.iter().any(|(sub, _)| sub.plural == "scale"),
        scope: capabilities.scope,
        verbs: capabilities.operations,
    }));
    Ok(found)
}

/// The resources that are known of all that the API server serves.
pub(crate) async fn all(client: &Client) -> Result<Vec<Served>> {
    Ok(find(client).await?.resources)
}

/// Enqueues `()` soon after resources may have come or gone: definitions of custom ones, and servers of aggregated APIs.
pub(crate) fn watch_definitions(informers: &Informers, queue: &WorkQueue<()>) -> [Informer<Meta>; 2] {
    let definitions = ("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions");
    let api_services = ("apiregistration.k8s.io", "APIService", "apiservices");
    [definitions, api_services].map(|(group, kind, plural)| {
        let resource = ApiResource {
            group: group.into(),
            version: "v1".into(),
            api_version: format!("{group}/v1"),
            kind: kind.into(),
            plural: plural.into(),
        };
        let informer = informers.dynamic::<Meta>(&resource, Selection::default());
        let to = queue.clone();
        informer.on_change(move |_: &Change<Meta>| to.add_after((), GATHER));
        informer
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knows_is_told_and_each_resource_is_in_the_first_version_that_has_it() {
        let resource = |name: &str| {
            serde_json::json!({"resource": name, "scope": "Namespaced", "verbs": ["list"],
            "responseKind": {"kind": name}, "subresources": [{"subresource": "scale"}]})
        };
        let group = serde_json::json!({"metadata": {"name": "a.com"}, "versions": [
            {"version": "v3", "freshness": "Stale"},
            {"version": "v2", "resources": [resource("x")], "freshness": "Current"},
            {"version": "v1", "resources": [resource("x"), resource("y")], "freshness": "Current"}]});
        let mut found = Found { resources: Vec::new(), stale: Vec::new() };
        assert_eq!(found.failure(), None);
        found.add(serde_json::from_value(group).unwrap());
        let shown: Vec<String> =
            found.resources.iter().map(|s| format!("{} {}", s.resource.api_version, s.resource.plural)).collect();
        assert_eq!(shown, ["a.com/v2 x", "a.com/v1 y"]);
        assert!(found.resources.iter().all(|s| s.scales && s.is_namespaced() && s.can("list")));
        assert!(found.is_stale("a.com", "v3") && !found.is_stale("a.com", "v2"));
        let said = "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: \
                    a.com/v3: stale GroupVersion discovery: a.com/v3";
        assert_eq!(found.failure().as_deref(), Some(said));
    }
}
