//! What is got from an issuer: where its keys are, and the keys.

use std::time::Duration;

use http::HeaderMap;
use serde::Deserialize;

use crate::outgoing::Client;

/// How long one document may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How large it may be, in bytes.
const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// How much of an answer that is no good is told.
const SHOWN_CHARACTERS_MAX: usize = 512;

#[derive(Deserialize)]
struct Discovered {
    #[serde(default)]
    issuer: String,
    #[serde(default)]
    jwks_uri: String,
}

/// A document, and how it may be kept.
pub(super) struct Document {
    pub(super) headers: HeaderMap,
    pub(super) body: bytes::Bytes,
}

/// Gets a document.
///
/// # Errors
/// Why it cannot be had.
pub(super) async fn document(remote: &Client, url: &str, headers: &HeaderMap) -> Result<Document, String> {
    let reply = remote.get(url, headers, TIMEOUT, DOCUMENT_BYTES_MAX).await;
    let reply = reply.map_err(|error| format!("Get {url:?}: {error}"))?;
    if reply.status != http::StatusCode::OK {
        let shown: String = String::from_utf8_lossy(&reply.body).chars().take(SHOWN_CHARACTERS_MAX).collect();
        return Err(format!("{}: {shown}", reply.status));
    }
    Ok(Document { headers: reply.headers, body: reply.body })
}

/// Where the keys of an issuer are (`NewProvider` of go-oidc).
///
/// # Errors
/// Why that cannot be found out.
pub(super) async fn discover(remote: &Client, url: &str, issuer: &str) -> Result<String, String> {
    let document = document(remote, url, &HeaderMap::new()).await?;
    let discovered: Discovered = serde_json::from_slice(&document.body)
        .map_err(|error| format!("oidc: failed to decode provider discovery object: {error}"))?;
    if discovered.issuer != issuer {
        let found = discovered.issuer;
        return Err(format!(
            "oidc: issuer did not match the issuer returned by provider, expected {issuer:?} got {found:?}"
        ));
    }
    match discovered.jwks_uri {
        url if url.is_empty() => Err("provider did not return JWKS URL".into()),
        url if !url.starts_with("https://") => {
            Err(format!("the keys are at {url:?}, where anybody could exchange them"))
        }
        url => Ok(url),
    }
}
