//! What may be changed or refused about a write after it is authorised and before it is stored.

use std::sync::Arc;

use api::catalogue::Resource;
use api::{Object, Status};
use futures::future::{BoxFuture, FutureExt, ready};
use serde_json::Value;

use crate::Context;

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
    /// `CreateOptions`, `UpdateOptions`, `PatchOptions` or `DeleteOptions` as the client sent them.
    pub options: &'a Value,
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
