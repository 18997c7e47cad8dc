//! Resources and subresources that are not stored: reviews, bindings, evictions, tokens, and connections to pods.

use std::collections::HashMap;
use std::sync::Arc;

use api::{Object, Status};
use axum::body::Body;
use futures::future::BoxFuture;
use http::{Request, Response};

use crate::Context;

/// Answers POST on a resource or subresource that is not stored. The object is decoded and defaulted, its namespace
/// filled in; mutating admission has seen it.
pub trait Creater: Send + Sync {
    /// What is answered, with 201. `name` is the parent's (empty for a resource of its own).
    fn create<'a>(&'a self, ctx: &'a Context, name: &'a str, object: Object) -> BoxFuture<'a, Result<Object, Status>>;
}

/// Answers GET on a resource that is not stored, with objects that are found out when they are asked for.
pub trait Lister: Send + Sync {
    /// All of them, in the order in which they are listed.
    fn list(&self, ctx: &Context) -> Vec<Object>;

    /// What the error for a name that there is not calls its resource.
    fn kind_of_missing(&self) -> &'static str;
}

/// Takes over the whole request: logs, exec, attach, port-forward, proxies.
pub trait Connecter: Send + Sync {
    /// Answers the request; upgrades are taken from its extensions as usual with hyper.
    fn connect(&self, ctx: Arc<Context>, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, Status>>;
}

/// Group, resource and subresource (empty for a resource of its own).
pub type Place = (String, String, String);

/// What is plugged in where.
#[derive(Clone, Default)]
pub struct Endpoints {
    creaters: HashMap<Place, Arc<dyn Creater>>,
    listers: HashMap<Place, Arc<dyn Lister>>,
    connecters: HashMap<Place, Arc<dyn Connecter>>,
}

impl Endpoints {
    /// Plugs in what answers POST.
    pub fn creater(&mut self, group: &str, resource: &str, subresource: &str, creater: Arc<dyn Creater>) {
        self.creaters.insert(place(group, resource, subresource), creater);
    }

    /// Plugs in what answers GET on a resource of its own.
    pub fn lister(&mut self, group: &str, resource: &str, lister: Arc<dyn Lister>) {
        self.listers.insert(place(group, resource, ""), lister);
    }

    /// What answers GET there.
    pub fn find_lister(&self, group: &str, resource: &str) -> Option<Arc<dyn Lister>> {
        self.listers.get(&place(group, resource, "")).cloned()
    }

    /// Plugs in what takes over requests of every method.
    pub fn connecter(&mut self, group: &str, resource: &str, subresource: &str, connecter: Arc<dyn Connecter>) {
        self.connecters.insert(place(group, resource, subresource), connecter);
    }

    /// What answers POST there.
    pub fn find_creater(&self, group: &str, resource: &str, subresource: &str) -> Option<Arc<dyn Creater>> {
        self.creaters.get(&place(group, resource, subresource)).cloned()
    }

    /// What takes over requests there.
    pub fn find_connecter(&self, group: &str, resource: &str, subresource: &str) -> Option<Arc<dyn Connecter>> {
        self.connecters.get(&place(group, resource, subresource)).cloned()
    }
}

fn place(group: &str, resource: &str, subresource: &str) -> Place {
    (group.to_string(), resource.to_string(), subresource.to_string())
}
