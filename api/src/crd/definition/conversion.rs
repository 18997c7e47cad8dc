//! How a definition says that objects are converted between its versions.

use std::collections::HashSet;

use serde_json::Value;

use super::{given, items, one_of, text};
use crate::field::{ErrorList, FieldError, Path};
use crate::names::dns1035_label;

pub(super) fn validate(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(conversion) = given(spec, "conversion") else { return };
    let strategy = text(conversion, "strategy");
    one_of(strategy, &["None", "Webhook"], &path.child("strategy"), errors);
    let webhook = given(conversion, "webhook");
    let client = webhook.and_then(|w| given(w, "clientConfig"));
    let reviews = webhook.map_or(&[][..], |w| items(w, "conversionReviewVersions"));
    let (at, versions_at) = (path.child("webhookClientConfig"), path.child("conversionReviewVersions"));
    if strategy != "Webhook" {
        if client.is_some() {
            errors.push(FieldError::forbidden(&at, "should not be set when strategy is not set to Webhook"));
        }
        if !reviews.is_empty() {
            errors.push(FieldError::forbidden(&versions_at, "should not be set when strategy is not set to Webhook"));
        }
        return;
    }
    match client {
        None => errors.push(FieldError::required(&at, "required when strategy is set to Webhook")),
        Some(client) if given(client, "url").is_some() == given(client, "service").is_some() => {
            errors.push(FieldError::required(&at, "exactly one of url or service is required"));
        }
        Some(client) => crate::validation::webhooks::client_config(client, &at, errors),
    }
    if reviews.is_empty() {
        errors.push(FieldError::required(&versions_at, ""));
        return;
    }
    let mut seen = HashSet::with_capacity(reviews.len());
    for (i, version) in reviews.iter().enumerate() {
        let (at, name) = (versions_at.index(i), version.as_str().unwrap_or(""));
        if !seen.insert(version) {
            errors.push(FieldError::invalid(&at, name, "duplicate version"));
            continue;
        }
        errors.extend(dns1035_label(name).into_iter().map(|why| FieldError::invalid(&at, name, why)));
    }
    if !reviews.iter().any(|v| matches!(v.as_str(), Some("v1" | "v1beta1"))) {
        let why = "must include at least one of v1, v1beta1";
        errors.push(FieldError::invalid(&versions_at, reviews.to_vec(), why));
    }
}
