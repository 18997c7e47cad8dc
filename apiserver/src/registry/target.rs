//! What a write is about.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::catalogue::Resource;
use api::field::ErrorList;
use api::{Object, Status};
use serde_json::Value;

use crate::Context;
use crate::plug::admission::Attributes;
use crate::plug::{Operation, Strategy};

/// One object, or the place of one to be, as a request names it.
#[derive(Debug, Clone)]
pub struct Target {
    /// The row of the version that the client speaks.
    pub resource: Arc<Resource>,
    /// The row of the version that is stored.
    pub storage: Arc<Resource>,
    /// The subresource whose strategy applies; empty for the resource itself.
    pub subresource: String,
    /// The namespace, or empty.
    pub namespace: String,
    /// The name; empty for a create that generates it.
    pub name: String,
    /// The options, as admission sees them.
    pub options: Value,
}

impl Target {
    /// The key of the object.
    pub fn key(&self) -> String {
        self.storage.key(&self.namespace, &self.name)
    }

    /// The key under which the reference stores the object, which some errors show.
    pub fn key_shown(&self) -> String {
        let flags = &self.storage.flags;
        if flags.group_in_key {
            return self.key();
        }
        let plural = flags.key.unwrap_or(&self.storage.plural);
        let parts = [plural, self.namespace.as_str(), self.name.as_str()];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        parts.fold("/registry".into(), |key, part| format!("{key}/{part}"))
    }

    /// The strategy that applies.
    pub fn strategy(&self, ctx: &Context) -> &'static dyn Strategy {
        (ctx.registry.plugins().strategy_of)(&self.storage, &self.subresource)
    }

    /// Runs every mutating admission plugin.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn admit(
        &self,
        ctx: &Context,
        operation: Operation,
        mut object: Option<&mut Object>,
        old: Option<&Object>,
    ) -> Result<(), Status> {
        let mut phase = Phase::new(ctx, "admit", operation);
        for plugin in &ctx.registry.plugins().admission {
            let attributes = self.attributes(ctx, operation, old);
            phase.tell(plugin.name(), plugin.admit(&attributes, object.as_deref_mut()).await)?;
        }
        phase.end();
        Ok(())
    }

    /// Runs every validating admission plugin.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn validate(
        &self,
        ctx: &Context,
        operation: Operation,
        object: Option<&Object>,
        old: Option<&Object>,
    ) -> Result<(), Status> {
        let mut phase = Phase::new(ctx, "validate", operation);
        for plugin in &ctx.registry.plugins().admission {
            let attributes = self.attributes(ctx, operation, old);
            phase.tell(plugin.name(), plugin.validate(&attributes, object).await)?;
        }
        phase.end();
        Ok(())
    }

    fn attributes<'a>(&'a self, ctx: &'a Context, operation: Operation, old: Option<&'a Object>) -> Attributes<'a> {
        Attributes {
            ctx,
            operation,
            resource: &self.resource,
            subresource: &self.subresource,
            namespace: &self.namespace,
            name: &self.name,
            old,
            options: &self.options,
        }
    }

    /// 404 for this object.
    pub fn not_found(&self) -> Status {
        Status::not_found(&self.resource.group, &self.resource.plural, &self.name)
    }

    /// 409 with a reason.
    pub fn conflict(&self, why: &str) -> Status {
        Status::conflict(&self.resource.group, &self.resource.plural, &self.name, why)
    }

    /// 409 because the object changed since it was read.
    pub fn stale(&self) -> Status {
        Status::stale(&self.resource.group, &self.resource.plural, &self.name)
    }

    /// 422 with all that is wrong.
    pub fn invalid(&self, name: &str, errors: &ErrorList) -> Status {
        // Events are called by the group that they are stored in.
        let group = if self.storage.stored() { &self.storage.storage_group } else { &self.resource.group };
        Status::invalid(group, &self.resource.kind, name, errors)
    }
}

/// One phase of admission, timed plugin by plugin.
struct Phase<'a> {
    ctx: &'a Context,
    name: &'static str,
    operation: Operation,
    started: Instant,
    last: Instant,
}

impl<'a> Phase<'a> {
    fn new(ctx: &'a Context, name: &'static str, operation: Operation) -> Self {
        let now = ctx.registry.clock().instant();
        Self { ctx, name, operation, started: now, last: now }
    }

    /// A plugin has answered; its refusal ends the phase.
    fn tell(&mut self, plugin: &str, answer: Result<(), Status>) -> Result<(), Status> {
        let now = self.ctx.registry.clock().instant();
        let took = now.saturating_duration_since(self.last);
        self.last = now;
        self.count(Some(plugin), answer.is_err(), took);
        if answer.is_err() {
            self.count(None, true, now.saturating_duration_since(self.started));
        }
        answer
    }

    /// Every plugin has agreed.
    fn end(self) {
        self.count(None, false, self.last.saturating_duration_since(self.started));
    }

    fn count(&self, plugin: Option<&str>, rejected: bool, took: Duration) {
        self.ctx.registry.metrics().admitted(plugin, self.name, self.operation.as_str(), rejected, took);
    }
}
