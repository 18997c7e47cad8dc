//! What the server itself asks of the service of an aggregated API: whether it is there, what it has, and how that looks.

use std::sync::Arc;
use std::time::Duration;

use api::UserInfo;
use axum::body::{Body, Bytes};
use http::header::{ACCEPT, IF_NONE_MATCH, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::transport::Transport;
use super::{handler, request};
use crate::group_versions::Remote;
use crate::request::Query;
use crate::{Registry, service_endpoint};

/// The user agent of what is asked.
const USER_AGENT_NAME: &str = "kube-aggregator";

/// A document that is asked for.
pub(crate) struct Asked<'a> {
    /// The path, and what the query says.
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    /// What forms of it are understood.
    pub(crate) accept: &'static str,
    /// The tag of the one that is known.
    pub(crate) known: Option<&'a str>,
    /// In whose name.
    pub(crate) user: UserInfo,
    /// For how long.
    pub(crate) time: Duration,
    /// How long it may be; none for whom the head is enough.
    pub(crate) bytes_max: Option<usize>,
}

/// What came.
pub(crate) struct Fetched {
    /// The code.
    pub(crate) code: StatusCode,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body, if it was asked for.
    pub(crate) body: Bytes,
}

/// Why nothing came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// What the APIService says makes no connection.
    #[error("{0}")]
    Configuration(String),
    /// The service leads nowhere.
    #[error("{0}")]
    Unresolved(String),
    /// The service does not answer, or not in time, or too much.
    #[error("Get {url:?}: {why}")]
    Failed {
        /// What was asked for.
        url: String,
        /// Why.
        why: String,
    },
}

impl FetchError {
    /// What was asked for, if it came so far.
    pub(crate) fn url(&self) -> Option<&str> {
        match self {
            Self::Failed { url, .. } => Some(url),
            Self::Configuration(_) | Self::Unresolved(_) => None,
        }
    }
}

/// Asks one of the endpoints of a service; what came with the address that was asked.
///
/// # Errors
/// [`FetchError`]
pub(crate) async fn fetch(
    registry: &Registry,
    remote: &Remote,
    asked: Asked<'_>,
) -> Result<(Fetched, String), FetchError> {
    let transports = registry.aggregator().transports();
    let transport = transports.of(registry, remote).map_err(FetchError::Configuration)?;
    let service = &remote.service;
    let endpoint = service_endpoint::resolve(registry, &service.namespace, &service.name, service.port);
    let endpoint = endpoint.map_err(|error| FetchError::Unresolved(error.to_string()))?;
    let uri = request::address(&endpoint, asked.path, &Query::parse(asked.query)).map_err(FetchError::Configuration)?;
    let url = uri.to_string();
    let failed = |why: String| FetchError::Failed { url: url.clone(), why };
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_NAME));
    headers.insert(ACCEPT, HeaderValue::from_static(asked.accept));
    if let Some(tag) = asked.known.and_then(|tag| HeaderValue::from_str(tag).ok()) {
        headers.insert(IF_NONE_MATCH, tag);
    }
    request::set_user(headers, &asked.user).map_err(failed)?;
    let work = exchange(&transport, request, asked.bytes_max);
    let answer = match tokio::time::timeout(asked.time, work).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("{} (Client.Timeout exceeded while awaiting headers)", handler::DEADLINE)),
    };
    match answer {
        Ok(fetched) => Ok((fetched, url)),
        Err(why) => {
            // Whatever is wrong with the connections that are kept, the next request makes others.
            transports.forget(&transport);
            Err(failed(why))
        }
    }
}

async fn exchange(
    transport: &Arc<Transport>,
    request: Request<Body>,
    bytes_max: Option<usize>,
) -> Result<Fetched, String> {
    let (head, body) = transport.send(request).await?.into_parts();
    let body = match bytes_max {
        None => Bytes::new(),
        Some(bytes_max) => {
            let body = Limited::new(body, bytes_max).collect().await;
            let told = body.map_err(|error| match error.is::<LengthLimitError>() {
                true => format!("the answer is longer than {bytes_max} bytes"),
                false => error.to_string(),
            });
            told?.to_bytes()
        }
    };
    Ok(Fetched { code: head.status, headers: head.headers, body })
}
