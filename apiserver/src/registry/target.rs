//! What a write is about.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::catalogue::Resource;
use api::field::ErrorList;
use api::{Object, Status};
use serde_json::Value;

use crate::Context;
use crate::plug::admission::{Attributes, Reinvocation};
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
    /// How admission sees the object, if not as it is.
    pub view: Option<Arc<dyn View>>,
}

/// A subresource that is a view of an object, which admission sees in place of it.
pub trait View: Send + Sync + std::fmt::Debug {
    /// The subresource.
    fn subresource(&self) -> &str;

    /// What is seen of an object.
    ///
    /// # Errors
    /// If it cannot be seen so.
    fn show(&self, object: &Object) -> Result<Object, Status>;

    /// Makes of an object what was made of its view.
    ///
    /// # Errors
    /// If that may not be.
    fn write(&self, object: &mut Object, shown: &Object) -> Result<(), Status>;
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

    /// Runs every mutating admission plugin; once more, if one of them asks for it.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn admit(
        &self,
        ctx: &Context,
        operation: Operation,
        object: Option<&mut Object>,
        old: Option<&Object>,
    ) -> Result<(), Status> {
        let (view, object) = match (&self.view, object) {
            (Some(view), Some(object)) => (view, object),
            (_, object) => return self.admit_shown(ctx, operation, object, old).await,
        };
        let before = view.show(object)?;
        let (mut shown, old) = (before.clone(), old.map(|old| view.show(old)).transpose()?);
        self.admit_shown(ctx, operation, Some(&mut shown), old.as_ref()).await?;
        if shown == before { Ok(()) } else { view.write(object, &shown) }
    }

    async fn admit_shown(
        &self,
        ctx: &Context,
        operation: Operation,
        mut object: Option<&mut Object>,
        old: Option<&Object>,
    ) -> Result<(), Status> {
        // A name that a plugin gives is not yet the name of the request.
        let name = match object.as_deref() {
            Some(object) if self.name.is_empty() && operation == Operation::Create => object.name().to_string(),
            _ => String::new(),
        };
        let reinvocation = Reinvocation::default();
        let mut phase = Phase::new(ctx, "admit", operation);
        loop {
            for plugin in &ctx.registry.plugins().admission {
                let attributes = self.attributes(ctx, operation, &name, old, &reinvocation);
                phase.tell(plugin.name(), plugin.admit(&attributes, object.as_deref_mut()).await)?;
            }
            if !reinvocation.begin() {
                break;
            }
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
        let Some(view) = &self.view else { return self.validate_shown(ctx, operation, object, old).await };
        let shown = |object: Option<&Object>| object.map(|object| view.show(object)).transpose();
        let (object, old) = (shown(object)?, shown(old)?);
        self.validate_shown(ctx, operation, object.as_ref(), old.as_ref()).await
    }

    async fn validate_shown(
        &self,
        ctx: &Context,
        operation: Operation,
        object: Option<&Object>,
        old: Option<&Object>,
    ) -> Result<(), Status> {
        let reinvocation = Reinvocation::default();
        let mut phase = Phase::new(ctx, "validate", operation);
        for plugin in &ctx.registry.plugins().admission {
            let attributes = self.attributes(ctx, operation, "", old, &reinvocation);
            phase.tell(plugin.name(), plugin.validate(&attributes, object).await)?;
        }
        phase.end();
        Ok(())
    }

    fn attributes<'a>(
        &'a self,
        ctx: &'a Context,
        operation: Operation,
        name: &'a str,
        old: Option<&'a Object>,
        reinvocation: &'a Reinvocation,
    ) -> Attributes<'a> {
        Attributes {
            ctx,
            operation,
            resource: &self.resource,
            subresource: self.view.as_ref().map_or(self.subresource.as_str(), |view| view.subresource()),
            namespace: &self.namespace,
            name: if self.name.is_empty() { name } else { &self.name },
            old,
            options: &self.options,
            reinvocation,
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
