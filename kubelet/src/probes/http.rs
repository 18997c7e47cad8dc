//! HTTP checks of probes and hooks.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::HTTPGetAction;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use url::Url;

use super::{check::connect, tls};

/// Longest part of a body that is read (`maxRespBodyLength` in pkg/probe/http).
const BODY_BYTES_MAX: usize = 10 << 10;
/// How many redirects are followed, as by Go's client.
const REDIRECTS_MAX: usize = 10;
/// Bytes that a path may hold without being escaped, beside letters and digits.
const PATH_BYTES: &[u8] = b"-._~!$&'()*+,;=:@/?%[]";

/// The server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The beginning of the body.
    pub body: String,
}

/// Why there is no whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is none.
    NoAnswer(String),
    /// It broke off.
    Broken(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::NoAnswer(message) | Self::Broken(message)) = self;
        f.write_str(message)
    }
}

/// Who asks, for the header `User-Agent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A probe.
    Probe,
    /// A lifecycle hook.
    Lifecycle,
}

/// Where a request goes.
struct Hop {
    url: Url,
    /// As it is written in the request line: the first path is sent as the pod's author wrote it.
    path: String,
    /// The header `Host`, and what is before the path in messages.
    authority: String,
}

impl Hop {
    fn first(action: &HTTPGetAction, pod_ip: &str, port: u16) -> Result<Self, String> {
        let host = action.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(pod_ip);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let authority = if bare.contains(':') { format!("[{bare}]:{port}") } else { format!("{bare}:{port}") };
        let path = escape(action.path.as_deref().unwrap_or_default());
        let https = action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        let url = format!("{}://{authority}{path}", if https { "https" } else { "http" });
        let url = Url::parse(&url).map_err(|error| format!("parse {url:?}: {error}"))?;
        Ok(Self { url, path, authority })
    }

    /// Where the header `Location` leads from here.
    fn next(&self, location: &str) -> Result<Self, String> {
        let url = self.url.join(location);
        let url = url.map_err(|error| format!("failed to parse Location header {location:?}: {error}"))?;
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let host = url.host_str().unwrap_or_default();
        let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok(Self { path, authority, url })
    }

    fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    fn shown(&self) -> String {
        format!("{}://{}{}", self.url.scheme(), self.authority, self.path)
    }
}

/// A path for the request line: what may not stand there is escaped, and what follows `#` stays at home.
fn escape(path: &str) -> String {
    let path = path.split('#').next().unwrap_or_default();
    let mut escaped = String::from(if path.starts_with('/') { "" } else { "/" });
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || PATH_BYTES.contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// Sends the request of an action, to the pod's address unless the action names a host, and follows redirects on that
/// host; one that leads elsewhere is the answer (`RedirectChecker` in pkg/probe/http).
///
/// # Errors
/// When there is no answer in time; the text is that of the event.
pub async fn get(
    action: &HTTPGetAction,
    purpose: Purpose,
    pod_ip: &str,
    port: u16,
    timeout: Duration,
) -> Result<Answer, Failure> {
    let mut hop = Hop::first(action, pod_ip, port).map_err(Failure::NoAnswer)?;
    let host = hop.host().to_owned();
    let mut headers = headers(action, purpose).map_err(Failure::NoAnswer)?;
    let exchange = async {
        for followed in 1.. {
            let explain = |error: String| Failure::NoAnswer(format!("Get {:?}: {error}", hop.shown()));
            let response = send(&hop, &headers, timeout).await.map_err(explain)?;
            let Some(location) = redirect(&response) else { return read(response).await };
            let next = hop.next(&location).map_err(explain)?;
            if next.host() != host {
                return read(response).await;
            }
            if followed >= REDIRECTS_MAX {
                return Err(Failure::NoAnswer(format!("Get {location:?}: stopped after {REDIRECTS_MAX} redirects")));
            }
            // The name that the action gave is for its own address, and for places relative to it.
            if Url::parse(&location).is_ok() {
                headers.remove(header::HOST);
            }
            if let Ok(referer) = HeaderValue::from_str(&hop.shown())
                && (hop.url.scheme() == "http" || next.url.scheme() == "https")
            {
                headers.insert(header::REFERER, referer);
            }
            hop = next;
        }
        Err(Failure::NoAnswer("no answer".to_owned()))
    };
    match tokio::time::timeout(timeout, exchange).await {
        Ok(result) => result,
        Err(_) => {
            let late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
            Err(Failure::NoAnswer(format!(
                "Get {:?}: {late}",
                Hop::first(action, pod_ip, port).map_or_else(|e| e, |hop| hop.shown())
            )))
        }
    }
}

fn headers(action: &HTTPGetAction, purpose: Purpose) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for own in action.http_headers.iter().flatten() {
        let name: HeaderName = own.name.parse().map_err(|_| format!("invalid header name {:?}", own.name))?;
        let value = HeaderValue::from_str(&own.value).map_err(|_| format!("invalid header value {:?}", own.value))?;
        headers.append(name, value);
    }
    let agent = match purpose {
        Purpose::Probe => "kube-probe",
        Purpose::Lifecycle => "kube-lifecycle",
    };
    let agent = format!("{agent}/{}", api::major_and_minor());
    let agent = HeaderValue::try_from(agent).map_err(|error| error.to_string())?;
    let fixed = [(header::ACCEPT, "*/*"), (header::CONNECTION, "close")];
    let fixed = fixed.map(|(name, value)| (name, HeaderValue::from_static(value)));
    for (name, value) in fixed.into_iter().chain([(header::USER_AGENT, agent)]) {
        headers.entry(name).or_insert(value);
    }
    // A header that is named and empty is not sent.
    for name in [header::HOST, header::USER_AGENT, header::ACCEPT] {
        if headers.get(&name).is_some_and(HeaderValue::is_empty) {
            headers.remove(&name);
        }
    }
    Ok(headers)
}

async fn send(hop: &Hop, headers: &HeaderMap, timeout: Duration) -> Result<Response<Incoming>, String> {
    let port = match hop.url.scheme() {
        "http" | "https" => hop.url.port_or_known_default().unwrap_or(0),
        other => return Err(format!("unsupported protocol scheme {other:?}")),
    };
    let stream = connect(hop.host(), port, timeout).await?;
    let mut request = Request::get(&hop.path).body(Empty::new()).map_err(|error| error.to_string())?;
    *request.headers_mut() = headers.clone();
    if let (None, Ok(host)) = (headers.get(header::HOST), HeaderValue::from_str(&hop.authority)) {
        request.headers_mut().insert(header::HOST, host);
    }
    if hop.url.scheme() == "https" {
        let name = ServerName::try_from(hop.host().to_owned()).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(Arc::new(tls::any_certificate()?))
            .connect(name, stream)
            .await
            .map_err(|e| e.to_string())?;
        exchange(stream, request).await
    } else {
        exchange(stream, request).await
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, String> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // It ends with the answer's body, as nothing is kept alive.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(|error| error.to_string())
}

/// Where an answer leads, if it is a redirect that says so.
fn redirect(response: &Response<Incoming>) -> Option<String> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(header::LOCATION)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned()).filter(|location| !location.is_empty())
}

/// The answer with the beginning of its body.
async fn read(response: Response<Incoming>) -> Result<Answer, Failure> {
    let (head, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    while bytes.len() < BODY_BYTES_MAX
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|error| Failure::Broken(error.to_string()))?;
        bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
    bytes.truncate(BODY_BYTES_MAX);
    Ok(Answer { status: head.status.as_u16(), body: String::from_utf8_lossy(&bytes).into_owned() })
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
