//! The server: a tower service in the process, and a TLS listener for everybody else.

mod activity;
mod arriving;
mod clock;
pub(crate) mod connections;
mod leaving;
pub mod limits;
pub(crate) mod loopback;
mod protocol;
mod refusal;
pub mod serve;
mod streams;
mod wire;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use api::catalogue::Catalogue;
use axum::body::Body;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use tower::Service;

use crate::{Config, Registry, chain};
use limits::Limits;

/// One API server. Cloning is cheap; it is a tower service of `http` requests, whose `UserInfo` extension, if there
/// is one, is who asks.
#[derive(Clone)]
pub struct ApiServer {
    registry: Registry,
    limits: Arc<Limits>,
}

impl ApiServer {
    /// A server with the built-in resources. It serves as soon as it is called, and is ready once
    /// [`ApiServer::started`] says so.
    pub fn new(config: Config) -> Self {
        Self { registry: Registry::new(config, Catalogue::builtin()), limits: Arc::default() }
    }

    /// The same with other limits on connections.
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits: Arc::new(limits), ..self }
    }

    /// What connections are allowed.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Objects, catalogue, clock.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Resolves when everything is done that has to be before requests should come, which `/readyz` then says.
    pub async fn started(&self) {
        self.registry.state().started().await;
    }

    /// The server as an axum router.
    pub fn router(&self) -> axum::Router {
        axum::Router::new().fallback_service(self.clone())
    }

    /// Answers one request.
    pub fn handle(&self, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send {
        chain::receive::receive(self, request)
    }
}

impl Service<Request<Body>> for ApiServer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.clone();
        async move { Ok(server.handle(request).await) }.boxed()
    }
}
