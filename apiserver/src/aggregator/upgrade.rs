//! A request that changes the protocol of its connection: exec and the like of an aggregated API (`UpgradeAwareHandler.tryUpgrade` in
//! apimachinery's `util/proxy`).

use axum::body::Body;
use http::header::HOST;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;

use super::transport::Transport;
use crate::proxy::backend;

/// Sends the request on a connection of its own, and joins that with the client's if the service changes the protocol too.
///
/// # Errors
/// Why it does not.
pub(super) async fn send(transport: &Transport, mut request: Request<Body>) -> Result<Response<Body>, String> {
    let client = hyper::upgrade::on(&mut request);
    let uri = request.uri().clone();
    let stream = transport.dial(&uri).await.map_err(|error| format!("error dialing backend: {error}"))?;
    let host = uri.authority().map_or("", |authority| authority.as_str());
    request.headers_mut().insert(HOST, HeaderValue::from_str(host).map_err(|error| error.to_string())?);
    *request.uri_mut() = origin(&uri)?;
    let response = backend::exchange(TokioIo::new(stream), request, Some(client)).await;
    let response = response.map_err(|error| format!("error sending request: {error}"))?;
    let code = response.status();
    if code != StatusCode::SWITCHING_PROTOCOLS && code.as_u16() < 400 {
        return Err(format!("invalid upgrade response: status code {}", code.as_u16()));
    }
    Ok(response)
}

/// What is asked of the host itself: path and query.
fn origin(uri: &Uri) -> Result<Uri, String> {
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = uri.path_and_query().cloned();
    Uri::from_parts(parts).map_err(|error| error.to_string())
}
