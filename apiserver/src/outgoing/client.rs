//! A client for one server elsewhere, or a few: with connections that are kept, and with a limit on everything.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;

use super::{Connector, Fault};

/// How many requests may be under way to one server whose answers are read here; further ones wait for as long as they may take.
const CONCURRENT_MAX: usize = 512;
/// How many connections to one address are kept while they are not used, and for how long (`tlsTransportCache` in client-go).
const IDLE_MAX: usize = 25;
const IDLE_TIME: Duration = Duration::from_secs(90);
/// How often an HTTP/2 connection on which nothing happens is asked whether it lives, and how long the answer may take.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the head of an answer may be.
const HEAD_BYTES_MAX: u32 = 1 << 20;
/// How often an answer may say that it is to be had elsewhere (`http.Client` in Go).
const REDIRECTS_MAX: usize = 10;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// It took too long.
    #[error("context deadline exceeded")]
    Timeout,
    /// There is no connection, or it broke off before there was an answer.
    #[error("{0}")]
    Unanswered(Fault),
    /// The answer broke off.
    #[error("unable to read response body: {0}")]
    Unread(String),
    /// It is longer than anything that is expected.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    /// It leads nowhere.
    #[error("{0}")]
    Redirect(String),
    /// Nothing can be sent there.
    #[error("{0}")]
    Failed(String),
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
}

impl Reply {
    /// Whether it says when to come again, which asks to do so (`SuggestsClientDelay`).
    pub fn says_when_to_retry(&self) -> bool {
        self.headers.contains_key(RETRY_AFTER)
    }
}

/// The client. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: legacy::Client<Connector, Body>,
    places: Arc<Semaphore>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// A client that connects so.
    pub(crate) fn new(connector: Connector) -> Self {
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_MAX)
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_max_header_list_size(HEAD_BYTES_MAX)
            .build(connector);
        Self { inner, places: Arc::new(Semaphore::new(CONCURRENT_MAX)) }
    }

    /// Sends a request, whose address has a scheme and an authority; one on a kept connection that was just closed is sent again on
    /// another. Whoever asks so reads the answer, and bounds how many ask.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(crate) async fn request(&self, request: Request<Body>) -> Result<Response<Incoming>, Fault> {
        self.inner.request(request).await.map_err(Fault::from)
    }

    /// Sends a request and waits for the whole answer, to no more than `bytes_max` bytes.
    ///
    /// # Errors
    /// [`ClientError`]
    pub(crate) async fn exchange(&self, request: Request<Body>, bytes_max: usize) -> Result<Reply, ClientError> {
        let _place = self.places.acquire().await.map_err(|_| ClientError::Failed("it is closed".into()))?;
        let response = self.request(request).await.map_err(ClientError::Unanswered)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, bytes_max).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                ClientError::TooLarge(bytes_max)
            } else {
                ClientError::Unread(error.to_string())
            }
        })?;
        Ok(Reply { status: parts.status, headers: parts.headers, body: body.to_bytes() })
    }

    /// Does the same for no longer than `timeout`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub(crate) async fn send(
        &self,
        request: Request<Body>,
        timeout: Duration,
        bytes_max: usize,
    ) -> Result<Reply, ClientError> {
        let answered = self.exchange(request, bytes_max);
        tokio::time::timeout(timeout, answered).await.unwrap_or(Err(ClientError::Timeout))
    }

    /// Gets a document, also from where its server says that it is; never from where it could be changed on its way.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn get(
        &self,
        url: &str,
        headers: &HeaderMap,
        timeout: Duration,
        bytes_max: usize,
    ) -> Result<Reply, ClientError> {
        let found = async {
            let mut at: Uri = url.parse().map_err(|error| ClientError::Failed(format!("{url:?}: {error}")))?;
            let mut headers = headers.clone();
            for _ in 0..=REDIRECTS_MAX {
                let mut request = Request::builder().method(Method::GET).uri(&at);
                if let Some(all) = request.headers_mut() {
                    *all = headers.clone();
                }
                let request = request.body(Body::empty()).map_err(|error| ClientError::Failed(error.to_string()))?;
                let reply = self.send(request, timeout, bytes_max).await?;
                if !matches!(reply.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                    return Ok(reply);
                }
                let next = elsewhere(&at, &reply.headers)?;
                if next.authority() != at.authority() {
                    // Credentials are for whom they were given to.
                    headers.remove(http::header::AUTHORIZATION);
                }
                at = next;
            }
            Err(ClientError::Redirect(format!("stopped after {REDIRECTS_MAX} redirects")))
        };
        tokio::time::timeout(timeout, found).await.unwrap_or(Err(ClientError::Timeout))
    }
}

/// Where an answer says that something is.
fn elsewhere(from: &Uri, headers: &HeaderMap) -> Result<Uri, ClientError> {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| ClientError::Redirect("a redirect without a Location".into()))?;
    let absolute = match location.strip_prefix('/') {
        Some(rest) if !rest.starts_with('/') => {
            let authority = from.authority().map(ToString::to_string).unwrap_or_default();
            format!("{}://{authority}{location}", from.scheme_str().unwrap_or("https"))
        }
        _ => location.to_string(),
    };
    let to: Uri = absolute.parse().map_err(|_| ClientError::Redirect(format!("a redirect to {location:?}")))?;
    match to.scheme_str() {
        Some("https") => Ok(to),
        Some(scheme) if from.scheme_str() == Some(scheme) => Ok(to),
        _ => Err(ClientError::Redirect(format!("a redirect to {location:?}, which is not secured as {from} is"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_not_got_from_where_they_could_be_changed() {
        let check = |from: &str, location: &str, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(LOCATION, location.parse().unwrap());
            let found = elsewhere(&from.parse().unwrap(), &headers).ok().map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), expected, "{from} {location}");
        };
        check("https://a/x", "/y?z", Some("https://a/y?z"));
        check("https://a/x", "https://b/y", Some("https://b/y"));
        check("https://a/x", "http://a/x", None);
        check("https://a/x", "//b/y", None);
        check("https://a/x", "file:///etc/passwd", None);
        check("http://a/x", "http://b/x", Some("http://b/x"));
    }
}
