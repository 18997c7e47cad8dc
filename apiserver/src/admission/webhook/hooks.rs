//! The webhooks of all configurations, as they are called.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use store::Snapshot;

use super::conditions::Conditions;
use crate::matching::Criteria;
use crate::plug::admission::Attributes;
use crate::registry;
use crate::webhooks::Place;

/// Where the configurations are.
pub(super) const MUTATING: &str = "/registry/admissionregistration.k8s.io/mutatingwebhookconfigurations/";
pub(super) const VALIDATING: &str = "/registry/admissionregistration.k8s.io/validatingwebhookconfigurations/";

/// A version of AdmissionReview.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReviewVersion {
    V1,
    V1beta1,
}

/// One webhook. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Hook(Arc<Inner>);

pub(super) struct Inner {
    /// Its name, which is one of its own within the configuration.
    pub name: String,
    /// The configuration that it is in.
    pub configuration: String,
    /// Which requests it is about.
    pub criteria: Criteria,
    /// What else must hold of them.
    pub conditions: Conditions,
    /// Whether a request goes on when the webhook cannot be called.
    pub fails_open: bool,
    /// How long a call may take.
    pub timeout: Option<Duration>,
    /// Whether it may be called for a dry run.
    pub dry_run: DryRun,
    /// The first version that it understands of those that are spoken here.
    pub review: Option<ReviewVersion>,
    /// Whether it is called once more when another changes the object after it.
    pub reinvocable: bool,
    /// Where it is, and whom its certificate must be from.
    pub place: Result<(Place, Vec<u8>), String>,
}

/// Whether a webhook may be called where nothing may come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DryRun {
    /// It has no effects then.
    Called,
    /// It may have effects.
    Refused,
    /// It does not say.
    Unknown,
}

impl std::ops::Deref for Hook {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Hook {
    fn new(configuration: &str, hook: &Value) -> Self {
        let text = |name: &str| hook[name].as_str().unwrap_or("");
        let versions = hook["admissionReviewVersions"].as_array().into_iter().flatten();
        let review = versions.filter_map(Value::as_str).find_map(|version| match version {
            "v1" => Some(ReviewVersion::V1),
            "v1beta1" => Some(ReviewVersion::V1beta1),
            _ => None,
        });
        let fails_open = text("failurePolicy") == "Ignore";
        Self(Arc::new(Inner {
            name: text("name").to_string(),
            configuration: configuration.to_string(),
            criteria: Criteria::of_webhook(hook),
            conditions: Conditions::new(&hook["matchConditions"], !fails_open),
            fails_open,
            timeout: hook["timeoutSeconds"].as_u64().map(Duration::from_secs),
            dry_run: match text("sideEffects") {
                "None" | "NoneOnDryRun" => DryRun::Called,
                "" => DryRun::Unknown,
                _ => DryRun::Refused,
            },
            review,
            reinvocable: text("reinvocationPolicy") == "IfNeeded",
            place: Place::of(&hook["clientConfig"]),
        }))
    }

    /// What tells it from all others.
    pub(super) fn id(&self) -> (String, String) {
        (self.configuration.clone(), self.name.clone())
    }

    /// Whether a rule might name the request: without a look at what selectors say.
    pub(super) fn may_match(&self, attributes: &Attributes<'_>) -> bool {
        self.criteria.may_match(attributes)
    }
}

/// The mutating webhooks, in the order of the names of their configurations and within these as they stand.
pub(super) fn mutating(snapshot: &Snapshot) -> Vec<Hook> {
    all(snapshot, "mutatingwebhookconfigurations")
}

/// The validating webhooks, in the same order.
pub(super) fn validating(snapshot: &Snapshot) -> Vec<Hook> {
    all(snapshot, "validatingwebhookconfigurations")
}

fn all(snapshot: &Snapshot, plural: &str) -> Vec<Hook> {
    let mut hooks = Vec::new();
    // Keys are in order of name.
    for configuration in registry::list(snapshot, "admissionregistration.k8s.io", plural, "") {
        let of_it = configuration.at(&["webhooks"]).and_then(Value::as_array).into_iter().flatten();
        hooks.extend(of_it.map(|hook| Hook::new(configuration.name(), hook)));
    }
    hooks
}
