//! What servers of aggregated APIs say that they have, in the form of the aggregated discovery document (`discoveryManager` in
//! kube-aggregator).

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, ETAG};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Fetched;
use crate::content::clauses;
use crate::group_versions::ServiceReference;

/// How the whole of a server is asked for, the newer form first.
pub(crate) const ACCEPT: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                                 application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// What is known of each APIService of a service, by its name.
pub(crate) type Discovered = BTreeMap<String, Arc<Known>>;

/// What is known of one group and version.
#[derive(Debug)]
pub(crate) struct Known {
    /// Who said it.
    pub(crate) service: ServiceReference,
    /// What it has, and whether that is still so.
    pub(crate) version: Value,
}

/// The versions of the groups of one server.
pub(crate) type Versions = BTreeMap<(String, String), VersionDiscovery>;

/// `APIGroupDiscoveryList`
#[derive(Deserialize)]
struct GroupList {
    #[serde(default)]
    items: Option<Vec<GroupDiscovery>>,
}

#[derive(Deserialize)]
struct GroupDiscovery {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    versions: Option<Vec<VersionDiscovery>>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    name: String,
}

/// `APIVersionDiscovery`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct VersionDiscovery {
    pub(crate) version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Vec<ResourceDiscovery>>,
    pub(crate) freshness: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ResourceDiscovery {
    resource: String,
    response_kind: Option<GroupVersionKind>,
    scope: String,
    singular_resource: String,
    verbs: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    short_names: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    categories: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subresources: Option<Vec<SubresourceDiscovery>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SubresourceDiscovery {
    subresource: String,
    response_kind: Option<GroupVersionKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_types: Option<Vec<GroupVersionKind>>,
    verbs: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct GroupVersionKind {
    group: String,
    version: String,
    kind: String,
}

/// `APIResourceList`
#[derive(Deserialize)]
struct ResourceList {
    #[serde(default)]
    resources: Option<Vec<PlainResource>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct PlainResource {
    name: String,
    singular_name: String,
    namespaced: bool,
    group: String,
    version: String,
    kind: String,
    verbs: Option<Vec<String>>,
    short_names: Option<Vec<String>>,
    categories: Option<Vec<String>>,
}

impl VersionDiscovery {
    /// One of which nothing is known but that it is there.
    pub(crate) fn empty(version: &str) -> Self {
        Self { version: version.into(), ..Self::default() }
    }

    /// As it is told of, while the server answers or not.
    pub(crate) fn told(mut self, is_current: bool) -> Value {
        self.freshness = if is_current { "Current" } else { "Stale" }.into();
        serde_json::to_value(self).expect("it holds texts alone")
    }
}

/// What an answer to the question for the whole is.
pub(crate) enum Whole {
    /// It is as it was.
    Unchanged,
    /// It is this, under a tag.
    Changed(Versions, Option<String>),
    /// The server does not know the question.
    Unknown,
}

/// Reads the answer to the question for the whole.
///
/// # Errors
/// The server is not there, or talks nonsense.
pub(crate) fn read_whole(fetched: &Fetched) -> Result<Whole, String> {
    match fetched.code {
        StatusCode::NOT_MODIFIED => Ok(Whole::Unchanged),
        StatusCode::SERVICE_UNAVAILABLE => Err("it answers with 503".into()),
        StatusCode::OK if is_whole(&fetched.headers) => {
            let list: GroupList = serde_json::from_slice(&fetched.body).map_err(|error| error.to_string())?;
            let tag = fetched.headers.get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_string);
            Ok(Whole::Changed(versions(list), tag))
        }
        _ => Ok(Whole::Unknown),
    }
}

fn is_whole(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    clauses(media_type).iter().any(|clause| {
        clause.fits("application/json")
            && clause.param("g") == Some("apidiscovery.k8s.io")
            && clause.param("as") == Some("APIGroupDiscoveryList")
            && matches!(clause.param("v"), Some("v2" | "v2beta1"))
    })
}

fn versions(list: GroupList) -> Versions {
    let mut all = Versions::new();
    for group in list.items.into_iter().flatten() {
        for mut version in group.versions.into_iter().flatten() {
            for resource in version.resources.iter_mut().flatten() {
                // There are clients that fall over one that has no kind, or no list of verbs.
                resource.response_kind.get_or_insert_default();
                resource.verbs.get_or_insert_default();
                for subresource in resource.subresources.iter_mut().flatten() {
                    subresource.response_kind.get_or_insert_default();
                    subresource.verbs.get_or_insert_default();
                }
            }
            all.insert((group.metadata.name.clone(), version.version.clone()), version);
        }
    }
    all
}

/// Reads what a server says of one version in the plain form (`ConvertGroupVersionIntoToDiscovery` in apiserver).
///
/// # Errors
/// The server is not there, or talks nonsense.
pub(crate) fn read_plain(version: &str, fetched: &Fetched) -> Result<VersionDiscovery, String> {
    if fetched.code != StatusCode::OK {
        return Err(format!("it answers with {}", fetched.code.as_u16()));
    }
    let list: ResourceList = serde_json::from_slice(&fetched.body).map_err(|error| error.to_string())?;
    let mut resources: Vec<ResourceDiscovery> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let (subresources, whole): (Vec<_>, Vec<_>) =
        list.resources.into_iter().flatten().partition(|resource| resource.name.contains('/'));
    for resource in whole {
        places.insert(resource.name.clone(), resources.len());
        resources.push(ResourceDiscovery {
            scope: scope(&resource).into(),
            response_kind: Some(kind(&resource)),
            resource: resource.name,
            singular_resource: resource.singular_name,
            verbs: Some(resource.verbs.unwrap_or_default()),
            short_names: resource.short_names,
            categories: resource.categories,
            subresources: None,
        });
    }
    for resource in subresources {
        let (parent, name) = resource.name.split_once('/').unwrap_or_default();
        let scope = scope(&resource);
        // One without a parent gets one.
        let place = *places.entry(parent.to_string()).or_insert_with(|| {
            let kind = Some(GroupVersionKind::default());
            let made = ResourceDiscovery {
                resource: parent.into(),
                scope: scope.into(),
                response_kind: kind,
                verbs: Some(Vec::new()),
                ..Default::default()
            };
            resources.push(made);
            resources.len() - 1
        });
        let of = &mut resources[place];
        if of.scope != scope {
            let (parent_scope, wrong) = (&of.scope, scope);
            return Err(format!(
                "Error: Parent {parent} (scope: {parent_scope}) and subresource {name} (scope: {wrong}) scope do not match"
            ));
        }
        let response_kind = if resource.kind.is_empty() { GroupVersionKind::default() } else { kind(&resource) };
        of.subresources.get_or_insert_default().push(SubresourceDiscovery {
            subresource: name.into(),
            response_kind: Some(response_kind),
            accepted_types: None,
            verbs: Some(resource.verbs.unwrap_or_default()),
        });
    }
    Ok(VersionDiscovery { version: version.into(), resources: Some(resources), freshness: String::new() })
}

fn scope(resource: &PlainResource) -> &'static str {
    if resource.namespaced { "Namespaced" } else { "Cluster" }
}

fn kind(resource: &PlainResource) -> GroupVersionKind {
    let (group, version, kind) = (resource.group.clone(), resource.version.clone(), resource.kind.clone());
    GroupVersionKind { group, version, kind }
}

#[cfg(test)]
mod tests;
