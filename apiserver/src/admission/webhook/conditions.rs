//! The conditions of a webhook: expressions that must hold of a request beside its rules (`matchconditions`).

use api::{Object, Status};
use serde_json::Value;

use super::hooks::Hook;
use crate::matching::Matched;
use crate::plug::admission::Attributes;

/// The conditions of one webhook.
pub(super) struct Conditions {
    names: Vec<String>,
}

impl Conditions {
    /// As a configuration has them.
    pub(super) fn new(conditions: &Value) -> Self {
        let all = conditions.as_array().into_iter().flatten();
        Self { names: all.filter_map(|condition| condition["name"].as_str()).map(str::to_string).collect() }
    }

    /// Whether all hold, so that the webhook is called.
    ///
    /// # Errors
    /// 403 if one of them cannot be told, unless the webhook is not needed.
    pub(super) async fn hold(
        &self,
        hook: &Hook,
        _phase: &str,
        attributes: &Attributes<'_>,
        _matched: &Matched,
        _object: Option<&Object>,
    ) -> Result<bool, Status> {
        let Some(first) = self.names.first() else { return Ok(true) };
        if hook.fails_open {
            return Ok(false);
        }
        let resource = attributes.resource;
        let why =
            format!("match condition {first:?} of webhook {:?} cannot be evaluated by this server yet", hook.name);
        Err(Status::forbidden(&resource.group, &resource.plural, attributes.name, &why))
    }
}
