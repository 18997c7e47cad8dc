//! The server: a tower service in the process, and a TLS listener for everybody else.

mod activity;
mod arriving;
mod clock;
pub(crate) mod connections;
mod leaving;
pub mod limits;
mod loopback;
mod protocol;
mod refusal;
pub mod serve;
mod streams;
mod wire;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use api::Status;
use api::catalogue::Catalogue;
use axum::body::Body;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use tower::Service;

use crate::chain::inflight::Inflight;
use crate::content::Format;
use crate::metrics::Measured;
use crate::request::query::{decode, is_escaped};
use crate::request::{Query, RequestInfo};
use crate::{Config, Registry, answer, chain};
use limits::Limits;

/// How long a request may take that is not long-running (`--request-timeout`).
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// One API server. Cloning is cheap; it is a tower service of `http` requests, whose `UserInfo` extension, if there
/// is one, is who asks.
#[derive(Clone)]
pub struct ApiServer {
    registry: Registry,
    inflight: Arc<Inflight>,
    limits: Arc<Limits>,
}

/// Marks the answer to a request that may run for long.
#[derive(Clone, Copy)]
struct Lasting;

impl ApiServer {
    /// A server with the built-in resources. It serves as soon as it is called, and is ready once
    /// [`ApiServer::started`] says so.
    pub fn new(config: Config) -> Self {
        Self { registry: Registry::new(config, Catalogue::builtin()), inflight: Arc::default(), limits: Arc::default() }
    }

    /// The same with other limits on how many requests are served at once.
    pub fn with_inflight(self, inflight: Inflight) -> Self {
        Self { inflight: Arc::new(inflight), ..self }
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
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let started = self.registry.clock().instant();
        let query = Query::parse(request.uri().query().unwrap_or(""));
        let path = decode(request.uri().path(), false).into_owned();
        let info = RequestInfo::new(request.method(), &path, &query).map(Arc::new);
        let is_escaped = is_escaped(request.uri().path());
        let long_running = info.as_ref().is_ok_and(|info| info.is_long_running());
        let measured = info.as_ref().ok().map(|info| Measured::new(&self.registry, &request, &query, info, started));
        let work = async {
            match info {
                _ if !is_escaped => (answer::text(400, "400 Bad Request"), chain::Outcome::default()),
                Ok(info) => chain::handle(&self.registry, &self.inflight, request, query, info).await,
                Err(error) => {
                    let text = format!("Internal Server Error: {path:?}: failed to create RequestInfo: {error}\n");
                    (answer::text(500, text), chain::Outcome::default())
                }
            }
        };
        let caught = std::panic::AssertUnwindSafe(work).catch_unwind();
        let done = if long_running { Ok(caught.await) } else { tokio::time::timeout(REQUEST_TIMEOUT, caught).await };
        let (response, outcome) = match done {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => {
                let status = Status::internal("the server panicked while it served this request");
                (answer::status(&status, Format::Json), chain::Outcome::default())
            }
            Err(_) => {
                let message = "Timeout: request did not complete within the allotted timeout";
                let status = Status::failure(504, "Timeout", message);
                (answer::status(&status, Format::Json), chain::Outcome::terminated())
            }
        };
        let mut response = match measured {
            Some(measured) => measured.finish(response, outcome),
            None => response,
        };
        if long_running {
            response.extensions_mut().insert(Lasting);
        }
        response
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
