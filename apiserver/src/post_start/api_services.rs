//! Tells each APIService whether what it is for can be had (`AvailableConditionController` in kube-aggregator's
//! `controllers/status/local` and `remote`).

use api::Object;
use http::Method;
use serde_json::{Value, json};

use super::condition;
use crate::group_versions::{GROUP, Service};
use crate::registry::{list, prefix};
use crate::{ApiServer, clock};

/// Follows APIServices until the store is closed.
pub(super) async fn follow(server: &ApiServer) {
    let mut followed = server.registry().follow(prefix(GROUP, "apiservices", ""));
    while let Some(state) = followed.changed(|_| true).await {
        for api_service in list(&state, GROUP, "apiservices", "") {
            tell(server, &api_service).await;
        }
    }
}

async fn tell(server: &ApiServer, api_service: &Object) {
    let now = clock::time(server.registry().clock().now());
    let Some(condition) = condition::due(api_service, available(api_service), &now) else { return };
    let body = json!({"status": {"conditions": [condition]}}).to_string();
    let url = format!("/apis/{GROUP}/v1/apiservices/{}/status", api_service.name());
    let written = server.ask_itself(&Method::PATCH, url, "application/strategic-merge-patch+json", body).await;
    // One that is gone meanwhile needs no condition; any other failure is tried again with the next change.
    if let Err(error) = written {
        tracing::debug!(name = api_service.name(), %error, "the condition was not written");
    }
}

/// The condition as it should be, without its time. Of a service the reference says so when nobody answers.
fn available(api_service: &Object) -> Value {
    let (status, reason, message) = match Service::of(api_service) {
        None => ("True", "Local", "Local APIServices are always available".to_string()),
        Some(service) => ("False", "FailedDiscoveryCheck", format!("this server sends no request to {service} yet")),
    };
    json!({"type": "Available", "status": status, "reason": reason, "message": message})
}
