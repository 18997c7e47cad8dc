//! What a user may do.

use std::sync::Arc;

use api::UserInfo;
use arc_swap::ArcSwap;
use futures::future::BoxFuture;

use crate::authorization::rule::Rule;
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
    /// Its label selector, likewise.
    pub label_selector: &'a str,
    /// Whether this is about a resource; if not, `path` counts.
    pub is_resource_request: bool,
    /// The path.
    pub path: &'a str,
}

impl<'a> Attributes<'a> {
    /// Something about a resource that is not said yet.
    pub fn of_resource(user: &'a UserInfo) -> Self {
        Self {
            user,
            verb: "",
            namespace: "",
            group: "",
            version: "",
            resource: "",
            subresource: "",
            name: "",
            field_selector: "",
            label_selector: "",
            is_resource_request: true,
            path: "",
        }
    }

    /// Something about a path that is not said yet.
    pub fn of_path(user: &'a UserInfo) -> Self {
        Self { is_resource_request: false, ..Self::of_resource(user) }
    }

    /// What a request asks for, but for its selectors.
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
            label_selector: "",
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
    /// It could not be found out, which is an error if nobody allows.
    Failed {
        /// What went wrong.
        why: String,
        /// Whether nobody else is asked.
        denies: bool,
    },
}

/// An answer: at once, or after somebody else was asked.
pub enum Answer<'a> {
    /// It is known.
    Now(Decision),
    /// It will be.
    Later(BoxFuture<'a, Decision>),
}

impl From<Decision> for Answer<'_> {
    fn from(decision: Decision) -> Self {
        Self::Now(decision)
    }
}

/// What a user may do in a namespace, as far as an authoriser can list it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// The rules.
    pub rules: Vec<Rule>,
    /// Whether there may be more.
    pub incomplete: bool,
    /// What could not be found out.
    pub errors: Vec<String>,
}

/// Decides what users may do.
pub trait Authorizer: Send + Sync {
    /// Decides on one request.
    fn authorize<'a>(&'a self, attributes: Attributes<'a>, registry: &'a Registry) -> Answer<'a>;

    /// Why a request is allowed that was just allowed; empty if there is nothing to say. Only reviews tell it.
    fn reason(&self, _attributes: &Attributes<'_>, _registry: &Registry) -> String {
        String::new()
    }

    /// What a user may do; none if that is not said by rules.
    fn rules(&self, _user: &UserInfo, _namespace: &str, _registry: &Registry) -> Option<Rules> {
        None
    }
}

/// One of those that are asked.
#[derive(Clone)]
pub struct Named {
    /// The type of authoriser that its decisions are counted as, as configurations have it; empty if they are not counted.
    pub kind: &'static str,
    /// Its name among those of its type.
    pub name: String,
    /// The authoriser.
    pub authorizer: Arc<dyn Authorizer>,
}

/// Those that are asked, in order. Clones share them: they may be exchanged while the server runs.
#[derive(Clone)]
pub struct Authorizers(Arc<ArcSwap<Vec<Named>>>);

impl Authorizers {
    /// These.
    pub fn new(all: Vec<Named>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(all)))
    }

    /// Asks others from now on.
    pub fn replace(&self, all: Vec<Named>) {
        self.0.store(Arc::new(all));
    }

    /// Those that are asked now.
    pub fn current(&self) -> Arc<Vec<Named>> {
        self.0.load_full()
    }
}

impl From<Vec<Arc<dyn Authorizer>>> for Authorizers {
    /// Authorisers whose decisions are not counted.
    fn from(all: Vec<Arc<dyn Authorizer>>) -> Self {
        Self::new(all.into_iter().map(|authorizer| Named { kind: "", name: String::new(), authorizer }).collect())
    }
}

/// Allows everything to `system:masters`, and nothing to anybody else.
#[derive(Debug)]
pub struct Masters;

impl Authorizer for Masters {
    fn authorize<'a>(&'a self, attributes: Attributes<'a>, _: &'a Registry) -> Answer<'a> {
        let allowed = attributes.user.in_group("system:masters");
        if allowed { Decision::Allow.into() } else { Decision::NoOpinion(String::new()).into() }
    }
}
