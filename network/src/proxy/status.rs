//! The state of the service rules, on the ports where kube-proxy does: `/healthz` and `/livez` for load
//! balancers, and for the machine itself the mode.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use client::{Clock, Informer};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::figures::Figures;

/// Where load balancers ask (`ProxyHealthzPort`).
const HEALTH: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 10256);
/// Where the machine itself asks (`ProxyStatusPort`).
const STATUS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10249);
/// A change that waits longer is a fault: twice the time within which kube-proxy looks at everything anew.
const PENDING_MAX: Duration = Duration::from_secs(60);
/// The taint of a node that is about to be taken away (`ToBeDeletedTaint`).
const LEAVING_TAINT: &str = "ToBeDeletedByClusterAutoscaler";
/// Pause before a port that is taken is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// When the rules were brought up to date, and since when a change waits.
#[derive(Default)]
struct Times {
    updated: Option<Timestamp>,
    pending: Option<Timestamp>,
}

/// Whether the rules are current (`ProxyHealthServer`).
pub(super) struct Health {
    clock: Clock,
    figures: Arc<Figures>,
    times: Mutex<Times>,
}

impl Health {
    pub(super) fn new(clock: Clock, figures: Arc<Figures>) -> Self {
        Self { clock, figures, times: Mutex::default() }
    }

    /// Notes that something changed.
    pub(super) fn queued(&self) {
        let now = self.clock.now();
        self.times.lock().pending.get_or_insert(now);
    }

    /// Notes that the rules are current.
    pub(super) fn updated(&self) {
        let now = self.clock.now();
        *self.times.lock() = Times { updated: Some(now), pending: None };
    }

    fn answer(&self, eligible: Option<bool>) -> (bool, Value) {
        let (now, times) = (self.clock.now(), self.times.lock());
        let late = |since: Timestamp| now.duration_since(since).unsigned_abs() >= PENDING_MAX;
        let healthy = !times.pending.is_some_and(late);
        let ok = healthy && eligible != Some(false);
        self.figures.asked(eligible.is_some(), ok);
        // Of rules that are current the time is now, as it was when they were looked at in turns.
        let updated = if ok { Some(now) } else { times.updated };
        let family = times.updated.map(|updated| json!({"IPv4": {"lastUpdated": updated, "healthy": healthy}}));
        let mut body = json!({"lastUpdated": updated, "currentTime": now, "healthy": healthy,
            "status": family.unwrap_or_else(|| json!({}))});
        if let Some(eligible) = eligible {
            body["nodeEligible"] = eligible.into();
        }
        (ok, body)
    }
}

/// Whether a node may get traffic from outside: it is there and not about to go.
fn is_eligible(node: Option<&Node>) -> bool {
    node.is_some_and(|node| {
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
        let leaving = taints.into_iter().flatten().any(|taint| taint.key == LEAVING_TAINT);
        node.metadata.deletion_timestamp.is_none() && !leaving
    })
}

/// Serves both ports until `token` is cancelled. One that another cluster on the machine has is tried again and again, as
/// kube-proxy does without `--bind-address-hard-fail`; services work all the same.
pub(super) fn serve(health: Arc<Health>, node: Informer<Node>, token: &CancellationToken) {
    let live = health.clone();
    let healthz = move || async move { tell(health.answer(Some(is_eligible(node.list().first().map(AsRef::as_ref))))) };
    let livez = move || async move { tell(live.answer(None)) };
    let balancers = Router::new().route("/healthz", any(healthz)).route("/livez", any(livez));
    let plain = |text: &'static str| any(move || async move { text });
    let machine = Router::new().route("/proxyMode", plain("nftables")).route("/healthz", plain("ok"));
    for (address, router) in [(HEALTH, balancers), (STATUS, machine)] {
        let token = token.clone();
        tokio::spawn(async move { token.clone().run_until_cancelled(listen(address, router)).await });
    }
}

async fn listen(address: SocketAddr, router: Router) {
    let mut told = false;
    loop {
        let served = match TcpListener::bind(address).await {
            Ok(listener) => axum::serve(listener, router.clone()).await,
            Err(error) => Err(error),
        };
        if let Err(error) = served
            && !std::mem::replace(&mut told, true)
        {
            tracing::warn!(%address, %error, "the state of the service rules is not served");
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn tell((ok, body): (bool, Value)) -> Response {
    let code = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = [(CONTENT_TYPE, "application/json"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (code, headers, body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_waits_too_long_is_a_fault() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let health = Health::new(clock.clone(), Arc::default());
        let check = |eligible, ok: bool, updated: &str| {
            let (found, body) = health.answer(eligible);
            assert_eq!((found, body["lastUpdated"].as_str().unwrap_or("none")), (ok, updated), "{body}");
            assert_eq!(body["nodeEligible"].as_bool(), eligible);
        };
        health.queued();
        check(Some(true), true, "1970-01-01T00:00:00Z");
        health.updated();
        clock.advance(PENDING_MAX);
        check(Some(true), true, "1970-01-01T00:01:00Z");
        check(Some(false), false, "1970-01-01T00:00:00Z");
        health.queued();
        clock.advance(PENDING_MAX);
        health.queued();
        check(None, false, "1970-01-01T00:00:00Z");
        health.updated();
        check(None, true, "1970-01-01T00:02:00Z");
    }

    #[test]
    fn a_node_that_is_about_to_go_gets_no_traffic() {
        let check = |node: Value, expected: bool| {
            let node: Node = serde_json::from_value(node).expect("a node");
            assert_eq!(is_eligible(Some(&node)), expected);
        };
        check(json!({}), true);
        check(json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}), true);
        check(json!({"spec": {"taints": [{"key": LEAVING_TAINT, "effect": "NoSchedule"}]}}), false);
        check(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}), false);
        assert!(!is_eligible(None));
    }
}
