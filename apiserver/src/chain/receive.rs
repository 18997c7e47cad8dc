//! The first stage: what is asked, and what bounds every request.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use api::Status;
use axum::body::Body;
use futures::FutureExt;
use http::{Request, Response};

use super::Asked;
use super::audit::Event;
use crate::content::Format;
use crate::metrics::Measured;
use crate::request::query::{decode, is_escaped};
use crate::request::{Query, RequestInfo};
use crate::{ApiServer, answer, options};

/// How long a request may take that is not long-running (`--request-timeout`).
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Marks the answer to a request that may run for long.
#[derive(Clone, Copy)]
pub(crate) struct Lasting;

/// Answers a request, whatever happens to it on its way.
pub(crate) async fn receive(server: &ApiServer, request: Request<Body>) -> Response<Body> {
    let registry = server.registry();
    let started = registry.clock().instant();
    let query = Query::parse(request.uri().query().unwrap_or(""));
    let path = decode(request.uri().path(), false).into_owned();
    let info = RequestInfo::new(request.method(), &path, &query).map(Arc::new);
    let is_escaped = is_escaped(request.uri().path());
    let long_running = info.as_ref().is_ok_and(|info| info.is_long_running());
    let measured = info.as_ref().ok().map(|info| Measured::new(registry, &request, &query, info, started));
    let work = async {
        match info {
            _ if !is_escaped => (answer::text(400, "400 Bad Request"), Event::default()),
            Ok(info) => {
                let (parts, body) = request.into_parts();
                super::answer(server, Asked { parts, body, query, info }).await
            }
            Err(error) => {
                let text = format!("Internal Server Error: {path:?}: failed to create RequestInfo: {error}\n");
                (answer::text(500, text), Event::default())
            }
        }
    };
    let caught = AssertUnwindSafe(work).catch_unwind();
    let done = if long_running { Ok(caught.await) } else { tokio::time::timeout(REQUEST_TIMEOUT, caught).await };
    let (response, event) = match done {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => {
            let status = Status::internal("the server panicked while it served this request");
            (answer::status(&status, Format::Json), Event::default())
        }
        Err(_) => {
            let message = "Timeout: request did not complete within the allotted timeout";
            let status = Status::failure(504, "Timeout", message);
            (answer::status(&status, Format::Json), Event { terminated: true, ..Event::default() })
        }
    };
    let mut response = match measured {
        Some(measured) => measured.finish(response, &event),
        None => response,
    };
    if long_running {
        response.extensions_mut().insert(Lasting);
    }
    response
}

/// Refuses a time for the request that is none (`withRequestDeadline` in apiserver's `endpoints/filters`).
///
/// # Errors
/// 400 if it is not.
pub(super) fn check_timeout(query: &Query) -> Result<(), Status> {
    match query.get("timeout").and_then(options::timeout_fault) {
        None => Ok(()),
        Some(error) => Err(Status::bad_request(format!("invalid timeout specified in the request URL - {error}"))),
    }
}
