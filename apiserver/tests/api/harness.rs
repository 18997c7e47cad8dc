//! A server, and what a test asks of it.

use std::sync::Arc;

use api::UserInfo;
use apiserver::clock::{Clock, SystemClock};
use apiserver::{ApiServer, Config};
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use serde_json::Value;

/// A server with a store in memory.
pub(crate) struct Server(pub ApiServer);

/// What came back.
pub(crate) struct Answer {
    pub code: u16,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.bytes)))
    }

    /// The value at a dotted path; null if absent.
    pub(crate) fn at(&self, path: &str) -> Value {
        let pointer = format!("/{}", path.replace('.', "/"));
        self.json().pointer(&pointer).cloned().unwrap_or(Value::Null)
    }
}

impl Server {
    pub(crate) fn new() -> Self {
        Self::with_clock(SystemClock::shared())
    }

    pub(crate) fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let mut config = Config::new(store::Memory::new());
        config.clock = clock;
        config.plugins.strategy_of = apiserver::strategy::of;
        Self(ApiServer::new(config))
    }

    /// Sends a request as an administrator; `content` is the body's media type, empty for JSON.
    pub(crate) async fn send(&self, method: &str, url: &str, content: &str, body: impl ToString) -> Answer {
        let content = if content.is_empty() { "application/json" } else { content };
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header("content-type", content)
            .header("user-agent", "test/1")
            .extension(UserInfo::new("admin", &["system:masters"]))
            .body(Body::from(body.to_string()))
            .unwrap();
        self.request(request).await
    }

    pub(crate) async fn request(&self, request: Request<Body>) -> Answer {
        let response = self.0.handle(request).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { code: parts.status.as_u16(), headers: parts.headers, bytes }
    }

    pub(crate) async fn get(&self, url: &str) -> Answer {
        self.send("GET", url, "", "").await
    }

    pub(crate) async fn post(&self, url: &str, body: Value) -> Answer {
        self.send("POST", url, "", body).await
    }

    pub(crate) async fn put(&self, url: &str, body: Value) -> Answer {
        self.send("PUT", url, "", body).await
    }

    pub(crate) async fn merge(&self, url: &str, body: Value) -> Answer {
        self.send("PATCH", url, "application/merge-patch+json", body).await
    }

    pub(crate) async fn delete(&self, url: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send("DELETE", url, "", body).await
    }
}
