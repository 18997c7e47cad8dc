//! Tokens that Secrets hold: since when their use is noted, in a ConfigMap (`legacytokentracking` in kube-apiserver's
//! `pkg/controlplane/controller`), and the labels that note it ([`SecretUses`](crate::authentication::SecretUses)).

use std::time::{Duration, Instant};

use api::Status;
use api::legacy_tokens::{LAST_USED, TRACKING, day, parse};
use http::Method;
use serde_json::json;

use crate::ApiServer;
use crate::authentication::secret_use::Used;
use crate::registry::key;

const NAMESPACE: &str = TRACKING.0;
const NAME: &str = TRACKING.1;
const SINCE: &str = TRACKING.2;
/// How often it is made: whoever deletes it again and again is another server, of a version that notes nothing.
const MADE_INTERVAL: Duration = Duration::from_secs(30 * 60);

/// Keeps the ConfigMap, until the store is closed.
pub(super) async fn follow(server: &ApiServer) {
    let registry = server.registry();
    let own = key("", "configmaps", NAMESPACE, NAME);
    let mut followed = registry.follow(own[..=own.rfind('/').unwrap_or(0)].to_string());
    let mut made: Option<Instant> = None;
    let mut wait = None;
    loop {
        let changed = followed.changed(|event| event.key() == own);
        let changed = match wait {
            None => changed.await,
            Some(time) => tokio::time::timeout(time, changed).await.unwrap_or_else(|_| Some(registry.snapshot())),
        };
        if changed.is_none() {
            return;
        }
        let now = registry.clock().instant();
        let pause = made.and_then(|made| MADE_INTERVAL.checked_sub(now.saturating_duration_since(made)));
        wait = match synchronise(server, pause.is_some_and(|pause| !pause.is_zero())).await {
            Ok(Done::Nothing) => None,
            Ok(Done::Made) => {
                made = Some(now);
                None
            }
            Ok(Done::Later) => pause,
            Err(error) => {
                tracing::warn!(%error, name = NAME, "it is not told since when the use of tokens is noted");
                Some(MADE_INTERVAL)
            }
        };
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Done {
    Nothing,
    Made,
    Later,
}

/// Brings the ConfigMap to what it should be; one that is gone is only made if it was not a moment ago.
async fn synchronise(server: &ApiServer, was_made: bool) -> Result<Done, Status> {
    let registry = server.registry();
    let today = day(registry.clock().now()).to_string();
    let all = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let (written, done) = match registry.get("", "configmaps", NAMESPACE, NAME) {
        None if was_made => return Ok(Done::Later),
        None => {
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": NAME, "namespace": NAMESPACE}, "data": {SINCE: today}});
            (server.ask_itself(&Method::POST, all, "application/json", map.to_string()).await, Done::Made)
        }
        Some(map) if parse(map.str_at(&["data", SINCE])).is_some() => return Ok(Done::Nothing),
        Some(mut map) => {
            map.set(&["data", SINCE], today);
            let body = map.into_value().to_string();
            let written = server.ask_itself(&Method::PUT, format!("{all}/{NAME}"), "application/json", body).await;
            (written, Done::Nothing)
        }
    };
    match written {
        // Somebody was quicker, and is seen by us next.
        Err(error) if matches!(error.code, 404 | 409) => Ok(Done::Nothing),
        written => written.map(|_| done),
    }
}

/// Writes the labels of Secrets whose tokens were used, one after another.
pub(super) async fn label(server: &ApiServer) {
    let uses = &server.registry().plugins().secret_uses;
    loop {
        let used = uses.next().await;
        if let Err(error) = write(server, &used).await {
            let Used { namespace, name, .. } = &used;
            tracing::warn!(%error, namespace, name, "the day on which the token of a Secret was last used is not noted");
        }
        uses.tried(&used, server.registry().clock().instant());
    }
}

async fn write(server: &ApiServer, used: &Used) -> Result<(), Status> {
    let Used { namespace, name, uid } = used;
    let today = day(server.registry().clock().now()).to_string();
    let patch = json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "uid": uid, "labels": {LAST_USED: today}}});
    let url = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
    server.ask_itself(&Method::PATCH, url, "application/merge-patch+json", patch.to_string()).await.map(drop)
}
