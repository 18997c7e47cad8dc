//! Who serves a group and version: this server, or the service that an APIService names (kube-aggregator). Dispatch and
//! discovery ask here.
//!
//! What the catalogue has is served here, as every group and version of the reference's own, and of its custom resources, has a
//! local APIService from the start. No request is sent to a service yet: it is answered as while the service is unavailable.

use std::fmt;

use api::Object;
use axum::body::Body;
use http::Response;

use crate::{Registry, answer};

/// The group of APIServices.
pub(crate) const GROUP: &str = "apiregistration.k8s.io";

/// Who serves a group and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// This server.
    Local,
    /// A service.
    Remote(Service),
}

/// The service of an APIService.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    namespace: String,
    name: String,
}

/// Who serves a group and version; none if nobody does.
pub fn backend(registry: &Registry, group: &str, version: &str) -> Option<Backend> {
    if !registry.catalogue().of_version(group, version).is_empty() {
        return Some(Backend::Local);
    }
    // An APIService is named by what it is for (`ValidateAPIService`).
    let api_service = registry.get_shared(GROUP, "apiservices", "", &format!("{version}.{group}"))?;
    Service::of(&api_service).map(Backend::Remote)
}

impl Service {
    /// The service that an APIService names; none for a local one.
    pub(crate) fn of(api_service: &Object) -> Option<Self> {
        let text = |field| api_service.str_at(&["spec", "service", field]).to_string();
        api_service.at(&["spec", "service"]).filter(|service| service.is_object())?;
        Some(Self { namespace: text("namespace"), name: text("name") })
    }

    /// What a request gets while the service cannot be reached (`proxyHandler.ServeHTTP` in kube-aggregator).
    pub fn unavailable(&self) -> Response<Body> {
        tracing::debug!(service = %self, "no request is sent to the service of an APIService");
        answer::text(503, "service unavailable\n")
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service/{} in {:?}", self.name, self.namespace)
    }
}
