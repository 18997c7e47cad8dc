//! The conditions of a webhook: expressions that must hold of a request beside its rules (`matchconditions`).

use std::sync::{Arc, OnceLock};

use api::admission::{MatchConditions, Matched as Outcome};
use api::{Object, Status};
use serde_json::Value;

use super::hooks::Hook;
use crate::admission::{forbidden, policy};
use crate::matching::Matched;
use crate::plug::admission::Attributes;

/// The conditions of one webhook.
pub(super) struct Conditions {
    stored: Value,
    /// Whether a request is refused where they cannot be told.
    fails: bool,
    /// Compiled when they are first evaluated.
    compiled: OnceLock<Arc<MatchConditions>>,
}

impl Conditions {
    /// As a configuration has them; `fails` is whether a request is refused where they cannot be told.
    pub(super) fn new(conditions: &Value, fails: bool) -> Self {
        Self { stored: conditions.clone(), fails, compiled: OnceLock::new() }
    }

    /// Whether all hold, so that the webhook is called.
    ///
    /// # Errors
    /// 403 if one of them cannot be told, unless the webhook is not needed.
    pub(super) async fn hold(
        &self,
        hook: &Hook,
        phase: &str,
        attributes: &Attributes<'_>,
        matched: &Matched,
        object: Option<&Object>,
    ) -> Result<bool, Status> {
        if self.stored.as_array().is_none_or(Vec::is_empty) {
            return Ok(true);
        }
        let compile = || Arc::new(MatchConditions::of_webhook(&self.stored, self.fails));
        let conditions = self.compiled.get_or_init(compile);
        let registry = &attributes.ctx.registry;
        let started = registry.clock().instant();
        let found = policy::conditions(conditions, attributes, matched, object).await;
        let found = found.map_err(|status| Status::internal(status.message))?;
        let took = registry.clock().instant().saturating_duration_since(started);
        let of = [hook.name.as_str(), "webhook", phase, attributes.operation.as_str()];
        registry.metrics().webhooks.conditions(of, found.errors, took);
        match found.outcome {
            Outcome::Yes => Ok(true),
            Outcome::No(_) => {
                registry.metrics().webhooks.excluded(of);
                Ok(false)
            }
            Outcome::Failed(why) => {
                tracing::warn!(webhook = hook.name, why, "the match conditions of a webhook cannot be evaluated");
                Err(forbidden(attributes, object, &why))
            }
        }
    }
}
