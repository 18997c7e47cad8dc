//! The conditions of a webhook: expressions that must hold of a request beside its rules (`matchconditions`).

use std::sync::Arc;

use api::admission::{Checks, Subject, Unfinished};
use api::admission::{
    Effort, Evaluated, Kind, MatchConditions, Matched as Outcome, Request, Resource, ResourceQuestion,
};
use api::{Object, Status};
use serde_json::Value;

use super::hooks::Hook;
use super::shown;
use crate::admission::checks;
use crate::matching::{GroupVersionKind, Matched};
use crate::plug::admission::Attributes;

/// How often expressions are run again since they ask the authorisers something more.
const ROUNDS_MAX: usize = 128;
/// What the metrics call what has the conditions.
const OF_WEBHOOK: &str = "webhook";

/// The conditions of one webhook.
pub(super) struct Conditions(Arc<MatchConditions>);

/// What conditions are evaluated on, owned: it may have to go elsewhere.
struct Seen {
    attributes: Parts,
    object: Option<Object>,
    old: Option<Object>,
    checks: Checks,
}

/// What is seen of the request.
struct Parts {
    kind: Kind,
    resource: Resource,
    request_kind: Kind,
    request_resource: Resource,
    subresource: String,
    name: String,
    namespace: String,
    operation: &'static str,
    user: Arc<api::UserInfo>,
    dry_run: bool,
    options: Value,
}

impl Conditions {
    /// As a configuration has them; `fails` is whether a request is refused where they cannot be told.
    pub(super) fn new(conditions: &Value, fails: bool) -> Self {
        Self(Arc::new(MatchConditions::of_webhook(conditions, fails)))
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
        if self.0.is_empty() {
            return Ok(true);
        }
        let registry = &attributes.ctx.registry;
        let (metrics, started) = (&registry.metrics().webhooks, registry.clock().instant());
        let found = self.evaluate(attributes, matched, object).await?;
        let took = registry.clock().instant().saturating_duration_since(started);
        let labels = [hook.name.as_str(), OF_WEBHOOK, phase, attributes.operation.as_str()];
        metrics.conditions(labels, found.errors, took);
        match found.outcome {
            Outcome::Yes => Ok(true),
            Outcome::No(_) => {
                metrics.excluded(labels);
                Ok(false)
            }
            Outcome::Failed(why) => {
                let resource = attributes.resource;
                tracing::warn!(webhook = hook.name, why, "match conditions cannot be evaluated, and are needed");
                Err(Status::forbidden(&resource.group, &resource.plural, attributes.name, &why))
            }
        }
    }

    async fn evaluate(
        &self,
        attributes: &Attributes<'_>,
        matched: &Matched,
        object: Option<&Object>,
    ) -> Result<Evaluated, Status> {
        let seen = Arc::new(Seen::new(attributes, matched, object).await?);
        let mut effort = Effort::Light;
        for _ in 0..ROUNDS_MAX {
            let done = match effort {
                Effort::Light => seen.matches(&self.0, effort),
                Effort::Full => {
                    let (conditions, seen) = (self.0.clone(), seen.clone());
                    let workers = attributes.ctx.registry.state().workers().of(attributes.ctx.user.clone());
                    workers.run(async move { Ok(seen.matches(&conditions, Effort::Full)) }).await?
                }
            };
            match done {
                Ok(found) => return Ok(found),
                Err(Unfinished::Heavy) => effort = Effort::Full,
                Err(Unfinished::Asks) => checks::answer(attributes.ctx, &seen.checks).await,
                Err(Unfinished::Broken) => break,
            }
        }
        Err(Status::internal("match conditions could not be evaluated"))
    }
}

impl Seen {
    async fn new(attributes: &Attributes<'_>, matched: &Matched, object: Option<&Object>) -> Result<Self, Status> {
        let (target, version) = (shown::target(matched, attributes.subresource)?, matched.kind.api_version());
        let mut objects = [object, attributes.old].map(|object| object.map(|object| (object, None)));
        for (object, converted) in objects.iter_mut().flatten() {
            let found = shown::versioned(attributes, &matched.resource, &version, object).await?;
            *converted = Some(shown::printed(&target, &found).into_owned());
        }
        let [object, old] = objects.map(|object| object.and_then(|(_, converted)| converted));
        Ok(Self {
            attributes: Parts::new(attributes, matched, object.as_ref()),
            object,
            old,
            checks: Checks::default(),
        })
    }

    fn matches(&self, conditions: &MatchConditions, effort: Effort) -> Result<Evaluated, Unfinished> {
        let request = self.attributes.request();
        let asked = ResourceQuestion {
            group: request.request_resource.group.clone(),
            resource: request.request_resource.resource.clone(),
            subresource: request.subresource.into(),
            namespace: request.namespace.into(),
            name: request.name.into(),
            ..ResourceQuestion::default()
        };
        let subject = Subject::new(&request, &self.checks, asked);
        let subject = subject.with_objects(self.object.as_ref(), self.old.as_ref(), conditions.reading());
        conditions.matches(&subject, effort)
    }
}

impl Parts {
    fn new(attributes: &Attributes<'_>, matched: &Matched, object: Option<&Object>) -> Self {
        let kind = |kind: &GroupVersionKind| Kind {
            group: kind.group.clone(),
            version: kind.version.clone(),
            kind: kind.kind.clone(),
        };
        let resource = |row: &api::catalogue::Resource| Resource {
            group: row.group.clone(),
            version: row.version.clone(),
            resource: row.plural.clone(),
        };
        Self {
            kind: kind(&matched.kind),
            resource: resource(&matched.resource),
            request_kind: attributes.kind().as_ref().map(kind).unwrap_or_default(),
            request_resource: resource(attributes.resource),
            subresource: attributes.subresource.into(),
            name: attributes.name.into(),
            namespace: attributes.request_namespace(object).into(),
            operation: attributes.operation.as_str(),
            user: attributes.ctx.user.clone(),
            dry_run: attributes.is_dry_run(),
            options: attributes.options.clone(),
        }
    }

    fn request(&self) -> Request<'_> {
        Request {
            kind: self.kind.clone(),
            resource: self.resource.clone(),
            request_kind: self.request_kind.clone(),
            request_resource: self.request_resource.clone(),
            subresource: &self.subresource,
            name: &self.name,
            namespace: &self.namespace,
            operation: self.operation,
            user: Some(&self.user),
            dry_run: self.dry_run,
            options: self.options.clone(),
        }
    }
}
