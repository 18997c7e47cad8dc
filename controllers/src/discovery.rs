//! Every resource that the API server serves, custom ones too.

use std::time::Duration;

use client::{Change, Informer, Informers, Selection, WorkQueue};
use kube::api::DynamicObject;
use kube::core::PartialObjectMeta;
use kube::core::discovery::Scope;
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

/// Asks the API server for all its resources.
pub(crate) async fn all(client: &Client) -> Result<Vec<Served>> {
    let discovery = match Discovery::new(client.clone()).run_aggregated().await {
        Ok(discovery) => discovery,
        // An API server without aggregated discovery answers in the older form.
        Err(_) => Discovery::new(client.clone()).run().await?,
    };
    let resources = discovery.groups().flat_map(|group| group.recommended_resources());
    Ok(resources
        .map(|(resource, capabilities)| Served {
            resource,
            scales: capabilities.subresources.iter().any(|(sub, _)| sub.plural == "scale"),
            scope: capabilities.scope,
            verbs: capabilities.operations,
        })
        .collect())
}

/// Enqueues `()` soon after resources may have come or gone.
pub(crate) fn watch_definitions(informers: &Informers, queue: &WorkQueue<()>) -> Informer<Meta> {
    let definitions = ApiResource {
        group: "apiextensions.k8s.io".into(),
        version: "v1".into(),
        api_version: "apiextensions.k8s.io/v1".into(),
        kind: "CustomResourceDefinition".into(),
        plural: "customresourcedefinitions".into(),
    };
    let informer = informers.dynamic::<Meta>(&definitions, Selection::default());
    let to = queue.clone();
    informer.on_change(move |_: &Change<Meta>| to.add_after((), GATHER));
    informer
}
