//! Counts of the node server's own requests (`pkg/kubelet/server/metrics`), and of those by which it finds out
//! who asks.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use http::{Method, Response};
use metrics::{Counter, Gauge, Histogram, families};

use super::Node;
use crate::streaming;

/// Room for what requests may be.
const REQUESTS_MAX: usize = 512;
/// Room for codes of answers.
const CODES_MAX: usize = 64;
/// The server that there is; a stock node may have another for reading alone.
const SERVER: &str = "readwrite";

families! {
    /// Requests, and what is asked of the API server because of them.
    pub(crate) struct Figures {
        requests: Counter = "kubelet_http_requests_total" ["method", "path", "server_type", "long_running"] REQUESTS_MAX;
        durations: Histogram =
            "kubelet_http_requests_duration_seconds" ["method", "path", "server_type", "long_running"] REQUESTS_MAX;
        in_flight: Gauge = "kubelet_http_inflight_requests" ["method", "path", "server_type", "long_running"] REQUESTS_MAX;
        websockets: Counter = "kubelet_websocket_streaming_requests_total" ["subresource"] CODES_MAX;
        token_reviews: Counter = "apiserver_delegated_authn_request_total" ["code"] CODES_MAX;
        token_review_durations: Histogram = "apiserver_delegated_authn_request_duration_seconds" ["code"] CODES_MAX;
        access_reviews: Counter = "apiserver_delegated_authz_request_total" ["code"] CODES_MAX;
        access_review_durations: Histogram = "apiserver_delegated_authz_request_duration_seconds" ["code"] CODES_MAX;
    }
}

impl Figures {
    /// A token was shown to the API server.
    pub(super) fn token_reviewed(&self, error: Option<&kube::Error>, took: Duration) {
        self.token_reviews.with([&code(error)], Counter::add_one);
        self.token_review_durations.with([&code(error)], |durations| durations.observe(took.as_secs_f64()));
    }

    /// The API server was asked whether somebody may do something.
    pub(super) fn access_reviewed(&self, error: Option<&kube::Error>, took: Duration) {
        self.access_reviews.with([&code(error)], Counter::add_one);
        self.access_review_durations.with([&code(error)], |durations| durations.observe(took.as_secs_f64()));
    }
}

/// The code of an answer; `<error>` where there was none.
fn code(error: Option<&kube::Error>) -> String {
    match error {
        None => "201".into(),
        Some(kube::Error::Api(status)) => status.code.to_string(),
        Some(_) => "<error>".into(),
    }
}

/// Counts a request. A stream is counted when it has begun.
pub(super) async fn count(State(node): State<Arc<Node>>, request: Request<Body>, next: Next) -> Response<Body> {
    let path = path(request.uri().path());
    let labels = [method(request.method()), path, SERVER, if is_long_running(path) { "true" } else { "false" }];
    if streaming::is_websocket(request.headers())
        && let Some(subresource) = ["exec", "attach", "portForward"].into_iter().find(|known| *known == path)
    {
        node.figures.websockets.with([&subresource.to_lowercase()], Counter::add_one);
    }
    let _under_way = UnderWay::begin(&node, labels);
    let started = node.clock.elapsed();
    node.figures.requests.with(labels, Counter::add_one);
    let answer = next.run(request).await;
    let took = node.clock.elapsed().saturating_sub(started).as_secs_f64();
    node.figures.durations.with(labels, |durations| durations.observe(took));
    answer
}

/// A request that is under way until this goes, also if it is broken off.
struct UnderWay<'a> {
    node: &'a Node,
    labels: [&'static str; 4],
}

impl<'a> UnderWay<'a> {
    fn begin(node: &'a Node, labels: [&'static str; 4]) -> Self {
        node.figures.in_flight.with(labels, |gauge| gauge.add(1.0));
        Self { node, labels }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.node.figures.in_flight.with(self.labels, |gauge| gauge.add(-1.0));
    }
}

/// The paths that are told apart, by their beginnings (`getMetricBucket`).
const PATHS: [&str; 18] = [
    "metrics/cadvisor",
    "metrics/probes",
    "metrics/resource",
    "metrics",
    "attach",
    "configz",
    "containerLogs",
    "exec",
    "flagz",
    "healthz",
    "logs",
    "pods",
    "portForward",
    "run",
    "runningpods",
    "stats",
    "statusz",
    "debug",
];

fn path(path: &str) -> &'static str {
    let path = path.trim_start_matches('/');
    if path.is_empty() {
        return "/";
    }
    let is = |known: &str| path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    PATHS.into_iter().find(|known| is(known)).unwrap_or("other")
}

fn is_long_running(path: &str) -> bool {
    matches!(path, "attach" | "containerLogs" | "exec" | "portForward" | "run" | "debug")
}

fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_few() {
        let check = |given: &str, expected: &str| assert_eq!(path(given), expected, "{given}");
        check("/", "/");
        check("/metrics", "metrics");
        check("/metrics/cadvisor", "metrics/cadvisor");
        check("/exec/ns/pod/c", "exec");
        check("/execute", "other");
        check("/whatever/anybody/thinks/up", "other");
    }
}
