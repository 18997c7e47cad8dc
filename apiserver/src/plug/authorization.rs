//! What a user may do.

use api::UserInfo;
use futures::future::{BoxFuture, FutureExt, ready};

use crate::{Registry, RequestInfo};

/// What is asked for, as `authorizer.Attributes`.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// Who.
    pub user: &'a UserInfo,
    /// `get`, `list`, … for resources; the method in lower case for other paths.
    pub verb: &'a str,
    /// Empty for cluster-scoped requests and across namespaces.
    pub namespace: &'a str,
    /// The API group.
    pub group: &'a str,
    /// The API version.
    pub version: &'a str,
    /// The resource, plural.
    pub resource: &'a str,
    /// The subresource, or empty.
    pub subresource: &'a str,
    /// The object's name, or empty.
    pub name: &'a str,
    /// The field selector of a list, watch or deletecollection as the client wrote it, or empty.
    pub field_selector: &'a str,
    /// Whether this is about a resource; if not, `path` counts.
    pub is_resource_request: bool,
    /// The path.
    pub path: &'a str,
}

impl<'a> Attributes<'a> {
    /// What a request asks for, but for its field selector.
    pub fn of(user: &'a UserInfo, info: &'a RequestInfo) -> Self {
        Self {
            user,
            verb: &info.verb,
            namespace: &info.namespace,
            group: &info.group,
            version: &info.version,
            resource: &info.resource,
            subresource: &info.subresource,
            name: &info.name,
            field_selector: "",
            is_resource_request: info.is_resource_request,
            path: &info.path,
        }
    }
}

/// An authoriser's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow,
    /// No, whatever others say.
    Deny(String),
    /// Ask the next; the reason shows if nobody allows.
    NoOpinion(String),
}

/// Decides what users may do.
pub trait Authorizer: Send + Sync {
    /// What its decisions are counted as, if they are: the type of authoriser as the reference's configuration has it.
    fn kind(&self) -> Option<&'static str> {
        None
    }

    /// Decides on one request.
    fn authorize<'a>(&'a self, attributes: Attributes<'a>, registry: &'a Registry) -> BoxFuture<'a, Decision>;
}

/// Allows everything to `system:masters`, and nothing to anybody else.
#[derive(Debug)]
pub struct Masters;

impl Authorizer for Masters {
    fn authorize<'a>(&'a self, attributes: Attributes<'a>, _: &'a Registry) -> BoxFuture<'a, Decision> {
        let allowed = attributes.user.in_group("system:masters");
        ready(if allowed { Decision::Allow } else { Decision::NoOpinion(String::new()) }).boxed()
    }
}
