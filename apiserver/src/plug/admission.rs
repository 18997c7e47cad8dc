//! What may be changed or refused about a write after it is authorised and before it is stored.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::catalogue::Resource;
use api::{Object, Status};
use futures::future::{BoxFuture, FutureExt, ready};
use parking_lot::Mutex;
use serde_json::Value;

use crate::Context;
use crate::matching::GroupVersionKind;

/// What is done to the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is made.
    Create,
    /// It is changed, by update, patch or apply.
    Update,
    /// It is deleted.
    Delete,
    /// A connection to it is opened.
    Connect,
}

impl Operation {
    /// As admission reviews spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// The circumstances of a write; the user and the options are in `ctx`.
pub struct Attributes<'a> {
    /// The request.
    pub ctx: &'a Context,
    /// What is done.
    pub operation: Operation,
    /// The row of the catalogue.
    pub resource: &'a Arc<Resource>,
    /// The subresource, or empty.
    pub subresource: &'a str,
    /// The namespace, or empty.
    pub namespace: &'a str,
    /// The name; empty while it is to be generated.
    pub name: &'a str,
    /// What is stored now, for update and delete.
    pub old: Option<&'a Object>,
    /// `CreateOptions`, `UpdateOptions` or `DeleteOptions` as the client sent them; a patch has those of what it comes to.
    pub options: &'a Value,
    /// What the mutating plugins tell each other about being called once more.
    pub reinvocation: &'a Reinvocation,
}

impl Attributes<'_> {
    /// The kind of the object: that of the resource, or of the subresource. None if it has no such subresource.
    pub fn kind(&self) -> Option<GroupVersionKind> {
        GroupVersionKind::of(self.resource, self.subresource)
    }

    /// The name that the request is about: objects that are deleted together are not named
    /// (`AdmissionToValidateObjectDeleteFunc`).
    pub fn request_name(&self) -> &str {
        let is_one = self.ctx.info.verb != "deletecollection" || self.operation != Operation::Delete;
        if is_one { self.name } else { "" }
    }

    /// The namespace as the reference has it, where a namespace is in itself.
    pub fn request_namespace<'a>(&'a self, object: Option<&'a Object>) -> &'a str {
        let is_namespace = self.resource.plural == "namespaces" && self.resource.group.is_empty();
        match (is_namespace, self.name) {
            (false, _) => self.namespace,
            (true, "") => object.map_or("", Object::name),
            (true, name) => name,
        }
    }

    /// Whether everything but the commit happens.
    pub fn is_dry_run(&self) -> bool {
        let asked = self.options.get("dryRun").and_then(Value::as_array);
        self.ctx.options.dry_run || asked.is_some_and(|all| !all.is_empty())
    }
}

/// Whether the mutating plugins are to be called once more for a request, as one of them has changed what others had seen
/// (`ReinvocationContext`); and what a plugin remembers until then.
#[derive(Default)]
pub struct Reinvocation {
    wanted: AtomicBool,
    under_way: AtomicBool,
    remembered: Mutex<Vec<(&'static str, Box<dyn Any + Send>)>>,
}

impl Reinvocation {
    /// Asks that every mutating plugin be called once more.
    pub fn ask(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// Whether this is the second call.
    pub fn is_under_way(&self) -> bool {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Begins the second round, if somebody asked for it. There is no third.
    pub(crate) fn begin(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) && !self.under_way.swap(true, Ordering::Relaxed)
    }

    /// What the plugin of this name remembers, which is of one type.
    pub fn remembered<T: Default + Send + 'static, R>(
        &self,
        plugin: &'static str,
        work: impl FnOnce(&mut T) -> R,
    ) -> R {
        let mut all = self.remembered.lock();
        let place = all.iter().position(|(name, _)| *name == plugin).unwrap_or_else(|| {
            all.push((plugin, Box::<T>::default()));
            all.len() - 1
        });
        let found = &mut all[place].1;
        if !found.is::<T>() {
            *found = Box::<T>::default();
        }
        work(found.downcast_mut().expect("it was just made one"))
    }
}

/// One admission plugin. Both phases default to admitting.
pub trait Admission: Send + Sync {
    /// Its name, as the reference calls it.
    fn name(&self) -> &'static str;

    /// May change the object (none on delete and connect to what has no body).
    fn admit<'a>(
        &'a self,
        _attributes: &'a Attributes<'a>,
        _object: Option<&'a mut Object>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        ready(Ok(())).boxed()
    }

    /// May refuse the object, which is as it would be stored.
    fn validate<'a>(
        &'a self,
        _attributes: &'a Attributes<'a>,
        _object: Option<&'a Object>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        ready(Ok(())).boxed()
    }
}
