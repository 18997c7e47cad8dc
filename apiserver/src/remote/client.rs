//! A client for one server elsewhere, or a few: over TLS, with connections that are kept, and with a limit on everything.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, LOCATION, RETRY_AFTER};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::sync::Semaphore;

/// How many requests may be under way to one server; further ones wait for as long as they may take.
const CONCURRENT_MAX: usize = 256;
/// How many connections nobody uses are kept to a server, and for how long.
const IDLE_MAX: usize = 16;
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// How long it may take until there is a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often an answer may say that it is to be had elsewhere (`http.Client` in Go).
const REDIRECTS_MAX: usize = 10;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// It took too long.
    #[error("context deadline exceeded")]
    Timeout,
    /// The connection broke off.
    #[error("{0}")]
    Reset(String),
    /// It is longer than anything that is expected.
    #[error("the answer has more than {0} bytes")]
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
pub struct Remote {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    places: Arc<Semaphore>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Remote")
    }
}

impl Remote {
    /// A client that speaks TLS so; `name` is what the other end's certificate must be for, if that is not its host.
    pub fn new(tls: rustls::ClientConfig, name: Option<ServerName<'static>>) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let builder = match name {
            Some(name) => builder.with_server_name_resolver(FixedServerNameResolver::new(name)),
            None => builder,
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
            .build(builder.enable_http1().wrap_connector(http));
        Self { client, places: Arc::new(Semaphore::new(CONCURRENT_MAX)) }
    }

    /// Sends a request and waits for the whole answer, for no longer than `timeout` and to no more than `bytes_max` bytes.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        timeout: Duration,
        bytes_max: usize,
    ) -> Result<Reply, RemoteError> {
        let answered = async {
            let _place = self.places.acquire().await.map_err(|_| RemoteError::Failed("it is closed".into()))?;
            self.exchange(request, bytes_max).await
        };
        tokio::time::timeout(timeout, answered).await.unwrap_or(Err(RemoteError::Timeout))
    }

    /// Gets a document, also from where its server says that it is; never from where it could be changed on its way.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn get(
        &self,
        url: &str,
        headers: &HeaderMap,
        timeout: Duration,
        bytes_max: usize,
    ) -> Result<Reply, RemoteError> {
        let found = async {
            let mut at: Uri = url.parse().map_err(|error| RemoteError::Failed(format!("{url:?}: {error}")))?;
            let mut headers = headers.clone();
            for _ in 0..=REDIRECTS_MAX {
                let mut request = Request::builder().method(Method::GET).uri(&at);
                if let Some(all) = request.headers_mut() {
                    *all = headers.clone();
                }
                let request = request.body(Full::default()).map_err(|error| RemoteError::Failed(error.to_string()))?;
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
            Err(RemoteError::Redirect(format!("stopped after {REDIRECTS_MAX} redirects")))
        };
        tokio::time::timeout(timeout, found).await.unwrap_or(Err(RemoteError::Timeout))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, bytes_max: usize) -> Result<Reply, RemoteError> {
        debug_assert!(!request.headers().contains_key(HOST));
        let response = self.client.request(request).await.map_err(|error| told(&error))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, bytes_max).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                RemoteError::TooLarge(bytes_max)
            } else {
                RemoteError::Reset(format!("unable to read response body: {error}"))
            }
        })?;
        Ok(Reply { status: parts.status, headers: parts.headers, body: body.to_bytes() })
    }
}

/// Where an answer says that something is.
fn elsewhere(from: &Uri, headers: &HeaderMap) -> Result<Uri, RemoteError> {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| RemoteError::Redirect("a redirect without a Location".into()))?;
    let absolute = match location.strip_prefix('/') {
        Some(rest) if !rest.starts_with('/') => {
            let authority = from.authority().map(ToString::to_string).unwrap_or_default();
            format!("{}://{authority}{location}", from.scheme_str().unwrap_or("https"))
        }
        _ => location.to_string(),
    };
    let to: Uri = absolute.parse().map_err(|_| RemoteError::Redirect(format!("a redirect to {location:?}")))?;
    match to.scheme_str() {
        Some("https") => Ok(to),
        Some(scheme) if from.scheme_str() == Some(scheme) => Ok(to),
        _ => Err(RemoteError::Redirect(format!("a redirect to {location:?}, which is not secured as {from} is"))),
    }
}

/// What happened to a connection, with all that is behind it.
fn told(error: &hyper_util::client::legacy::Error) -> RemoteError {
    let mut texts = Vec::new();
    let mut is_reset = false;
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = at {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            is_reset |= matches!(io.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe);
        }
        is_reset |= error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message);
        let text = error.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
        at = error.source();
    }
    let text = texts.join(": ");
    if is_reset { RemoteError::Reset(text) } else { RemoteError::Failed(text) }
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
