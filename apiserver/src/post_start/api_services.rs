//! Tells each APIService whether what it is for can be had (`AvailableConditionController` in kube-aggregator's
//! `controllers/status/local` and `remote`).

use std::time::Duration;

use api::{Object, UserInfo};
use futures::stream::{FuturesUnordered, StreamExt};
use http::Method;
use metrics::Counter;
use serde_json::{Value, json};
use store::{Entry, EventKind};

use super::condition;
use super::rounds::{self, Outcome, Pace};
use crate::aggregator::{Asked, FetchError, fetch};
use crate::group_versions::{ApiService, GROUP, KEYS, PLURAL, Remote, is_available};
use crate::registry::{News, prefix, read};
use crate::service_endpoint::{self, SERVICE_NAME_LABEL};
use crate::strategy::api_service::LOCAL;
use crate::{ApiServer, Registry, clock};

/// How many are looked at at once.
const WORKERS: usize = 5;
/// How often a service is asked each time, all at once: one answer is enough.
const ATTEMPTS: usize = 5;
/// How long an answer may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long after a failure a service is asked again, and at last.
const RETRY_DELAY: Duration = Duration::from_millis(5);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(30);
/// How often each is looked at, whatever is told of it.
const RESYNC: Duration = Duration::from_secs(30);

/// Whose request it is: one that may always look.
pub(super) fn prober() -> UserInfo {
    UserInfo { username: "system:kube-aggregator".into(), groups: vec!["system:masters".into()], ..UserInfo::default() }
}

/// Follows APIServices, and the services and endpoints that they name, until the store is closed.
pub(super) async fn follow(server: &ApiServer) {
    let registry = server.registry();
    let followed = vec![
        registry.follow(KEYS),
        registry.follow(prefix("", "services", "")),
        registry.follow(prefix("discovery.k8s.io", "endpointslices", "")),
    ];
    let pace = Pace { workers: WORKERS, delay: RETRY_DELAY, delay_max: RETRY_DELAY_MAX };
    let attends = || !registry.group_versions().remotes().is_empty();
    let names = |place, news| concerned(registry, place, news);
    rounds::run(registry, followed, pace, attends, names, |name| tell(server, name)).await;
}

/// The APIServices that news of APIServices, services or slices of endpoints (by their place) are about.
fn concerned(registry: &Registry, place: usize, news: News) -> Vec<String> {
    let table = registry.group_versions();
    match (place, news) {
        (0, News::State(_)) => table.all().iter().map(|api_service| api_service.name.clone()).collect(),
        (0, News::Events(happened)) => happened.iter().map(|event| last(event.key()).to_string()).collect(),
        (_, News::State(_)) => table.remotes().iter().map(|remote| remote.api_service.clone()).collect(),
        (_, News::Events(happened)) => {
            let services = happened.iter().filter_map(|event| {
                let (EventKind::Put { entry, .. } | EventKind::Delete { previous: entry }) = &event.kind;
                service_of(place, entry)
            });
            let services: Vec<(String, String)> = services.collect();
            let is_told = |remote: &&std::sync::Arc<Remote>| {
                let service = &remote.service;
                services.iter().any(|(namespace, name)| *namespace == service.namespace && *name == service.name)
            };
            table.remotes().iter().filter(is_told).map(|remote| remote.api_service.clone()).collect()
        }
    }
}

/// Namespace and name of a service, or of the one that a slice is of.
fn service_of(place: usize, entry: &Entry) -> Option<(String, String)> {
    if place == 1 {
        let (namespace, name) = entry.key().rsplit_once('/')?;
        return Some((last(namespace).to_string(), name.to_string()));
    }
    let slice = read(entry)?;
    let service = slice.str_at(&["metadata", "labels", SERVICE_NAME_LABEL]);
    (!service.is_empty()).then(|| (slice.namespace().to_string(), service.to_string()))
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or("")
}

/// Brings the condition of an APIService to what is.
async fn tell(server: &ApiServer, name: String) -> Outcome {
    let registry = server.registry();
    let Some(stored) = registry.get(GROUP, PLURAL, "", &name) else { return Outcome::Done(None) };
    let Some(remote) = ApiService::of(&stored).remote else {
        let (reason, message) = LOCAL;
        let local = json!({"type": "Available", "status": "True", "reason": reason, "message": message});
        return if write(server, &stored, local).await { Outcome::Done(None) } else { Outcome::Failed };
    };
    let (found, is_good) = match find(registry, &remote).await {
        Found::Good => (("True", "Passed", "all checks passed".to_string()), true),
        Found::Bad(reason, message) => (("False", reason, message), true),
        Found::Silent(message) => (("False", "FailedDiscoveryCheck", message), false),
        Found::Misconfigured(error) => {
            tracing::warn!(name, error, "the service of an APIService cannot be asked");
            return Outcome::Failed;
        }
    };
    let (status, reason, message) = found;
    let condition = json!({"type": "Available", "status": status, "reason": reason, "message": message});
    let is_written = write(server, &stored, condition).await;
    if is_good && is_written { Outcome::Done(Some(RESYNC)) } else { Outcome::Failed }
}

/// Whether it is as it should be then; somebody else's change is seen next.
async fn write(server: &ApiServer, stored: &Object, condition: Value) -> bool {
    let registry = server.registry();
    let now = clock::time(registry.clock().now());
    let Some(condition) = condition::due(stored, condition, &now) else { return true };
    let (before, after) = (is_available(stored), condition["status"] == "True");
    let reason = condition["reason"].as_str().unwrap_or_default().to_string();
    tracing::debug!(
        name = stored.name(),
        reason,
        message = condition["message"].as_str(),
        "an APIService's availability"
    );
    let version = stored.resource_version();
    let body = json!({"metadata": {"resourceVersion": version}, "status": {"conditions": [condition]}}).to_string();
    let url = format!("/apis/{GROUP}/v1/{PLURAL}/{}/status", stored.name());
    match server.ask_itself(&Method::PATCH, url, "application/strategic-merge-patch+json", body).await {
        Ok(_) => {
            if before && !after {
                registry.metrics().aggregation.unavailable.with([stored.name(), &reason], Counter::add_one);
            }
            true
        }
        Err(error) if matches!(error.code, 404 | 409) => true,
        Err(error) => {
            tracing::warn!(name = stored.name(), %error, "the condition was not written");
            false
        }
    }
}

/// What is found of a service.
#[derive(Debug, PartialEq)]
enum Found {
    /// It answers.
    Good,
    /// It cannot, for this reason.
    Bad(&'static str, String),
    /// It does not, which may change without anything telling it.
    Silent(String),
    /// Nobody can ask.
    Misconfigured(String),
}

/// Looks at a service, its endpoints, and whether one of them answers.
async fn find(registry: &Registry, remote: &Remote) -> Found {
    let (namespace, name, port) = (&remote.service.namespace, &remote.service.name, remote.service.port);
    let Some(service) = registry.get("", "services", namespace, name) else {
        return Found::Bad("ServiceNotFound", format!("service/{name} in {namespace:?} is not present"));
    };
    if service.str_at(&["spec", "type"]) == "ClusterIP" {
        let ports = service.at(&["spec", "ports"]).and_then(Value::as_array).into_iter().flatten();
        let mut ports = ports.filter(|found| found["port"].as_u64() == Some(u64::from(port)));
        let Some(found) = ports.next() else {
            let why = format!("service/{name} in {namespace:?} is not listening on port {port}");
            return Found::Bad("ServicePortError", why);
        };
        let port_name = found["name"].as_str().unwrap_or("");
        let slices = service_endpoint::slices(registry, namespace, name);
        if slices.is_empty() {
            let why = format!("cannot find endpointslices for service/{name} in {namespace:?}");
            return Found::Bad("EndpointsNotFound", why);
        }
        if !slices.iter().any(|slice| is_ready(slice, port_name)) {
            let why = format!(
                "endpointslices for service/{name} in {namespace:?} have no addresses with port name {port_name:?}"
            );
            return Found::Bad("MissingEndpoints", why);
        }
    }
    probe(registry, remote).await
}

/// Whether a slice has a ready endpoint and the port (`hasAvailableEndpoint`).
fn is_ready(slice: &Object, port_name: &str) -> bool {
    let list = |field: &str| slice.at(&[field]).and_then(Value::as_array).into_iter().flatten();
    let mut endpoints = list("endpoints");
    let has_ready = endpoints.any(|endpoint| endpoint["conditions"]["ready"].as_bool().unwrap_or(true));
    has_ready && list("ports").any(|port| port["name"].as_str() == Some(port_name) && port["port"].is_u64())
}

async fn probe(registry: &Registry, remote: &Remote) -> Found {
    let mut attempts: FuturesUnordered<_> = (0..ATTEMPTS).map(|_| ask(registry, remote)).collect();
    let mut last = Found::Good;
    while let Some(found) = attempts.next().await {
        last = found;
        if matches!(last, Found::Good | Found::Misconfigured(_)) {
            break;
        }
    }
    last
}

/// Asks for what every server of an aggregated API has to have.
async fn ask(registry: &Registry, remote: &Remote) -> Found {
    let path = remote.path();
    let (query, accept, known, user) = ("", "*/*", None, prober());
    let asked = Asked { path: &path, query, accept, known, user, time: PROBE_TIMEOUT, bytes_max: None };
    match fetch(registry, remote, asked).await {
        Ok((fetched, _)) if fetched.code.is_success() => Found::Good,
        Ok((fetched, url)) => {
            let code = fetched.code.as_u16();
            Found::Silent(format!("failing or missing response from {url}: bad status from {url}: {code}"))
        }
        Err(FetchError::Configuration(error)) => Found::Misconfigured(error),
        Err(error) => match error.url() {
            Some(url) => Found::Silent(format!("failing or missing response from {url}: {error}")),
            None => Found::Silent(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests;
