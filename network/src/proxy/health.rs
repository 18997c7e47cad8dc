//! Health-check node ports: a load balancer asks there whether this node has endpoints of a service with
//! `externalTrafficPolicy: Local`.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use client::ObjectKey;
use k8s_openapi::api::core::v1::Service;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The servers of all such services.
#[derive(Default)]
pub(super) struct Servers(HashMap<ObjectKey, Server>);

struct Server {
    port: u16,
    local: Arc<AtomicUsize>,
    _running: DropGuard,
}

impl Servers {
    /// Starts, changes or stops the server of one service; `local` counts its endpoints on this node.
    pub(super) fn update(&mut self, key: &ObjectKey, service: Option<&Service>, local: impl FnOnce() -> usize) {
        let Some(port) = service.and_then(port) else {
            self.0.remove(key);
            return;
        };
        if self.0.get(key).is_none_or(|server| server.port != port) {
            self.0.insert(key.clone(), start(key.clone(), port));
        }
        self.0[key].local.store(local(), Ordering::Relaxed);
    }
}

fn port(service: &Service) -> Option<u16> {
    let spec = service.spec.as_ref()?;
    let wanted =
        spec.type_.as_deref() == Some("LoadBalancer") && spec.external_traffic_policy.as_deref() == Some("Local");
    spec.health_check_node_port.filter(|port| wanted && *port > 0).and_then(|port| u16::try_from(port).ok())
}

fn start(key: ObjectKey, port: u16) -> Server {
    let stop = CancellationToken::new();
    let local = Arc::new(AtomicUsize::new(0));
    let server = Server { port, local: local.clone(), _running: stop.clone().drop_guard() };
    let answer = move || async move {
        let count = local.load(Ordering::Relaxed);
        let body = json!({
            "service": {"namespace": key.namespace, "name": key.name},
            "localEndpoints": count,
            "serviceProxyHealthy": true,
        });
        let code = if count > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let headers = [
            (CONTENT_TYPE.as_str(), "application/json".to_owned()),
            ("x-load-balancing-endpoint-weight", count.to_string()),
        ];
        (code, headers, body.to_string()).into_response()
    };
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move {
        match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await {
            Ok(listener) => {
                let serve = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
                if let Err(error) = serve.await {
                    tracing::warn!(port, %error, "a health-check node port ended");
                }
            }
            Err(error) => tracing::warn!(port, %error, "a health-check node port cannot be opened"),
        }
    });
    server
}
