//! Pages about the node: figures for programs that collect them, and pages for people.

use std::sync::Arc;

use axum::extract::State;
use http::{HeaderMap, StatusCode};

use super::routes::{Answer, Failure, typed, unavailable};
use super::{Node, cadvisor as containers, stats, zpages};

/// The media type of Prometheus' text format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn configz(State(node): State<Arc<Node>>) -> Answer {
    Ok(typed("application/json", node.about.config.to_string()))
}

pub(super) async fn flagz(State(node): State<Arc<Node>>, headers: HeaderMap) -> Answer {
    page(&headers, || zpages::flagz(&node))
}

pub(super) async fn statusz(State(node): State<Arc<Node>>, headers: HeaderMap) -> Answer {
    page(&headers, || zpages::statusz(&node))
}

/// A page for people, as text.
fn page(headers: &HeaderMap, write: impl FnOnce() -> String) -> Answer {
    if !zpages::takes_text(headers) {
        let message = "only the following media types are accepted: text/plain".to_owned();
        return Err(Failure(StatusCode::NOT_ACCEPTABLE, message));
    }
    Ok(typed("text/plain; charset=utf-8", write()))
}

pub(super) async fn metrics(State(node): State<Arc<Node>>) -> Answer {
    let answer = tokio::task::spawn_blocking(move || stats::own_metrics(&node)).await;
    let body = answer.map_err(|error| Failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(typed(EXPOSITION, body))
}

pub(super) async fn resource(State(node): State<Arc<Node>>) -> Answer {
    Ok(typed(EXPOSITION, stats::resource_metrics(&node).await))
}

pub(super) async fn cadvisor(State(node): State<Arc<Node>>) -> Answer {
    Ok(typed(EXPOSITION, containers::page(&node).await.map_err(unavailable)?))
}

pub(super) async fn probes(State(node): State<Arc<Node>>) -> Answer {
    Ok(typed(EXPOSITION, stats::probe_metrics(&node)))
}
