//! One request, answered by the service that serves its group and version (`proxyHandler.ServeHTTP` in kube-aggregator).

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use api::go::duration;
use axum::body::{Body, Bytes};
use http::header::LOCATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;

use super::{request, upgrade};
use crate::chain::audit::Event;
use crate::chain::receive::REQUEST_TIMEOUT;
use crate::group_versions::Remote;
use crate::plug::PeerCertificate;
use crate::proxy::backend::{BackendError, set_upgrade, strip_hop_by_hop, take_upgrade};
use crate::request::Query;
use crate::request::upgrade::is_wanted;
use crate::server::connections::Seat;
use crate::{Context, answer, service_endpoint};

/// How long a service may take to tell what it has (`aggregatedDiscoveryTimeout`): everybody asks for that, of every service.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(5);
/// What a request is told that took too long.
pub(super) const DEADLINE: &str = "context deadline exceeded";

/// Answers a request with what the service says, or why it says nothing.
pub(crate) async fn serve(
    ctx: &Context,
    remote: &Remote,
    parts: Parts,
    body: Body,
    query: &Query,
    event: &mut Event,
) -> Response<Body> {
    if !remote.available {
        return refuse(event, 503, "service unavailable");
    }
    if is_loop(ctx, &parts) {
        tracing::warn!(api_service = remote.api_service, "the service of an APIService is this server itself");
        return refuse(event, 503, "service unavailable");
    }
    let registry = &ctx.registry;
    let transport = match registry.aggregator().transports().of(registry, remote) {
        Ok(transport) => transport,
        Err(error) => return refuse(event, 500, &error),
    };
    let service = &remote.service;
    let endpoint = match service_endpoint::resolve(registry, &service.namespace, &service.name, service.port) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            tracing::info!(%service, %error, "a service cannot be resolved");
            return refuse(event, 503, "service unavailable");
        }
    };
    let wants_upgrade = is_wanted(&parts.headers);
    let request = match outgoing(ctx, parts, body, &endpoint, query) {
        Ok(request) => request,
        Err(error) => return refuse_reach(&error),
    };
    if wants_upgrade {
        return match upgrade::send(&transport, request).await {
            Ok(response) => response,
            Err(error) => answer::text(503, format!("{error}\n")),
        };
    }
    let until = deadline(ctx, query);
    // Pinned, so that it has one place in the future of a request.
    let sent = pin!(transport.send(request));
    let sent = match until {
        Some(until) => {
            let left = until.saturating_duration_since(registry.clock().instant());
            tokio::time::timeout(left, sent).await.unwrap_or_else(|_| Err(DEADLINE.into()))
        }
        None => sent.await,
    };
    match sent {
        Ok(response) => {
            let left = until.map(|until| until.saturating_duration_since(registry.clock().instant()));
            incoming(response.map(Body::new), left)
        }
        Err(error) => refuse_reach(&error),
    }
}

/// Whether this very server has sent the request, as only it has the certificate that it comes with.
fn is_loop(ctx: &Context, parts: &Parts) -> bool {
    let peer = parts.extensions.get::<PeerCertificate>().and_then(PeerCertificate::own);
    let front_proxy = ctx.registry.plugins().front_proxy.as_ref();
    peer.zip(front_proxy).is_some_and(|(peer, front_proxy)| front_proxy.is_own(peer))
}

fn outgoing(
    ctx: &Context,
    parts: Parts,
    body: Body,
    endpoint: &service_endpoint::Endpoint,
    query: &Query,
) -> Result<Request<Body>, String> {
    let uri = request::address(endpoint, &ctx.info.path, query)?;
    let client = parts.extensions.get::<Arc<Seat>>().map(|seat| seat.client());
    let mut headers = parts.headers.clone();
    // First of all: what the client names as its connection's own must not be what is said here of the user.
    let upgrade = take_upgrade(&mut headers).filter(|_| is_wanted(&parts.headers));
    request::headers(&mut headers, &parts, &ctx.user, &ctx.audit_id, &uri, client)?;
    let mut request = Request::new(body);
    *request.method_mut() = parts.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    if let Some(upgrade) = upgrade {
        set_upgrade(request.headers_mut(), upgrade);
        // The connection of the client is taken over.
        *request.extensions_mut() = parts.extensions;
    }
    Ok(request)
}

/// When a request is over; never for one that lasts.
fn deadline(ctx: &Context, query: &Query) -> Option<Instant> {
    let now = ctx.registry.clock().instant();
    let is_discovery = !ctx.info.is_resource_request && ctx.info.path.trim_matches('/').split('/').count() == 3;
    if is_discovery {
        return Some(now + DISCOVERY_TIMEOUT);
    }
    if ctx.info.is_long_running() {
        return None;
    }
    let asked = query.get("timeout").and_then(|text| duration::parse(text).ok());
    let asked = asked.and_then(|nanoseconds| u64::try_from(nanoseconds).ok()).filter(|nanoseconds| *nanoseconds > 0);
    Some(now + asked.map_or(REQUEST_TIMEOUT, Duration::from_nanos).min(REQUEST_TIMEOUT))
}

/// What a service answers, as it goes to the client.
fn incoming(response: Response<Body>, left: Option<Duration>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    // The client would take what comes next for another protocol, or wait for it.
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return refuse_reach(&BackendError::Unasked.to_string());
    }
    // Nobody is led past this server.
    if head.status.is_redirection() && head.headers.contains_key(LOCATION) {
        return answer::text(502, "the backend attempted to redirect this request, which is not permitted");
    }
    strip_hop_by_hop(&mut head.headers);
    strip_origins(&mut head.headers);
    let body = match left {
        Some(left) => Body::new(Limited { body, until: Box::pin(tokio::time::sleep(left)) }),
        None => body,
    };
    Response::from_parts(head, body)
}

/// Who may ask from which pages is for this server to say (`corsRemovingTransport`).
fn strip_origins(headers: &mut HeaderMap) {
    const ORIGINS: [HeaderName; 4] = [
        http::header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        http::header::ACCESS_CONTROL_ALLOW_HEADERS,
        http::header::ACCESS_CONTROL_ALLOW_METHODS,
        http::header::ACCESS_CONTROL_ALLOW_ORIGIN,
    ];
    for name in &ORIGINS {
        headers.remove(name);
    }
}

/// A body that must be there by some time.
struct Limited {
    body: Body,
    until: Pin<Box<Sleep>>,
}

impl HttpBody for Limited {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(axum::Error::new(std::io::Error::from(std::io::ErrorKind::TimedOut)))));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What is said when the service does not answer (`responder.Error`).
fn refuse_reach(error: &str) -> Response<Body> {
    answer::text(503, format!("error trying to reach service: {error}\n"))
}

/// What is said by the proxy itself (`proxyError`).
fn refuse(event: &mut Event, code: u16, text: &str) -> Response<Body> {
    event.refused_by_proxy = true;
    answer::text(code, format!("{text}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_changes_the_protocol_unasked() {
        let mut answer = Response::new(Body::empty());
        assert_eq!(incoming(std::mem::take(&mut answer), None).status(), 200);
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        assert_eq!(incoming(answer, None).status(), 503);
    }
}
