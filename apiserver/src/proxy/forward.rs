//! `pods/proxy`, `services/proxy` and `nodes/proxy`: any request, to the path after `proxy`.

use std::net::SocketAddr;
use std::sync::Arc;

use api::Status;
use axum::body::Body;
use http::header::{HOST, HeaderName, LOCATION};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use rustls::pki_types::ServerName;

use super::backend::{self, Backend, Tls};
use super::links::Links;
use super::location::{self, Asked, NodeServer};
use super::{Destination, address, path};
use crate::Context;

const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

pub(super) async fn forward(
    ctx: &Context,
    mut request: Request<Body>,
    to: Destination,
    kubelet: Arc<rustls::ClientConfig>,
) -> Result<Response<Body>, Status> {
    let id = ctx.info.name.clone();
    let Some(path) = after_proxy(request.uri().path()).map(str::to_string) else {
        return Err(Status::bad_request(format!("no path after proxy in {}", request.uri().path())));
    };
    let what = match to {
        Destination::Pod => "pod",
        Destination::Service => "service",
        _ => "node",
    };
    let asked = Asked::parse(&id).ok_or_else(|| Status::bad_request(format!("invalid {what} request {id:?}")))?;
    let mut backend = match to {
        Destination::Node => node(ctx, &asked, kubelet).await?,
        Destination::Service => {
            let mut random = [0; 4];
            ctx.registry.clock().random(&mut random);
            plain(location::service(ctx, &id, &asked, u32::from_le_bytes(random))?, &asked)?
        }
        _ => plain(location::pod(ctx, &asked)?, &asked)?,
    };
    if path.is_empty() && matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(redirect(&request));
    }
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let links = Links {
        prefix: request.uri().path().strip_suffix(&path).unwrap_or_default().to_string(),
        hosts: [Some(backend.address.to_string()), asked_host(&request)].into_iter().flatten().collect(),
    };
    if let Ok(value) = HeaderValue::from_str(request.uri().path()) {
        request.headers_mut().insert(FORWARDED_URI, value);
    }
    backend.path = format!("{}{query}", path::clean(&path));
    let response = backend.send(request).await.map_err(|error| {
        Status::failure(503, "ServiceUnavailable", format!("error trying to reach service: {error}"))
    })?;
    let threads = ctx.registry.state().workers().of(ctx.user.clone());
    Ok(links.translate(response, &threads).await)
}

/// The host that the client thinks it speaks to.
fn asked_host(request: &Request<Body>) -> Option<String> {
    let header = request.headers().get(HOST).and_then(|value| value.to_str().ok());
    header.or_else(|| request.uri().authority().map(|authority| authority.as_str())).map(str::to_string)
}

/// The way to a pod, or to a port that a node's server does not have: with a certificate that nobody here can judge, if with any.
fn plain(address: SocketAddr, asked: &Asked<'_>) -> Result<Backend, Status> {
    let config = || backend::unverified().map_err(|error| Status::internal(error.to_string()));
    let tls = match asked.https {
        true => Some(Tls { config: config()?, name: ServerName::from(address.ip()), node: None }),
        false => None,
    };
    Ok(Backend { address, tls, path: String::new() })
}

async fn node(ctx: &Context, asked: &Asked<'_>, kubelet: Arc<rustls::ClientConfig>) -> Result<Backend, Status> {
    let server = NodeServer::find(ctx, asked.name).await?;
    let port = match asked.port {
        "" => server.address.port(),
        port => port.parse().map_err(|_| Status::bad_request(format!("invalid port {port:?}")))?,
    };
    if port == server.address.port() {
        return server.backend(kubelet, String::new());
    }
    // What else listens beside this process's own agent is not the agent.
    let ip = server.address.ip();
    if address::is_allowed(ip) { plain(SocketAddr::new(ip, port), asked) } else { Err(address::not_allowed()) }
}

/// What comes after `/proxy` in `/api/v1/namespaces/NS/RESOURCE/NAME/proxy…` or `/api/v1/nodes/NAME/proxy…`.
fn after_proxy(path: &str) -> Option<&str> {
    let mut rest = path;
    let mut segment = || -> Option<&str> {
        let inner = rest.strip_prefix('/')?;
        let end = inner.find('/').unwrap_or(inner.len());
        let segment = &inner[..end];
        rest = &inner[end..];
        Some(segment)
    };
    // api, the version, then pairs of a resource and a name up to the subresource.
    segment()?;
    segment()?;
    if segment()? == "namespaces" {
        segment()?;
        segment()?;
    }
    segment()?;
    let found = segment()? == "proxy";
    found.then_some(rest)
}

/// Relative links of what is proxied work only below a slash.
fn redirect(request: &Request<Body>) -> Response<Body> {
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::from_str(&format!("{}/{query}", request.uri().path())) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::after_proxy;

    #[test]
    fn the_path_after_proxy() {
        for (path, expected) in [
            ("/api/v1/nodes/n/proxy", Some("")),
            ("/api/v1/nodes/n/proxy/a/b", Some("/a/b")),
            ("/api/v1/namespaces/x/pods/p:80/proxy/", Some("/")),
            ("/api/v1/namespaces/x/services/proxy/proxy/a%2Fb", Some("/a%2Fb")),
            ("/api/v1/namespaces/x/pods/p/log", None),
        ] {
            assert_eq!(after_proxy(path), expected, "{path}");
        }
    }
}
