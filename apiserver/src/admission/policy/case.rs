//! A request as policies see it, with its objects in one version.

use std::borrow::Cow;
use std::sync::Arc;

use api::admission::{Checks, Kind, Reading, Request, Resource, ResourceQuestion, Subject};
use api::catalogue;
use api::decode::Target;
use api::{Object, Status};

use crate::admission::webhook::shown::{printed, target, versioned};
use crate::matching::{GroupVersionKind, Matched};
use crate::plug::Operation;
use crate::plug::admission::Attributes;

/// What all evaluations of a request share, by the version in which it matched.
#[derive(Clone)]
pub(super) struct Case<'a> {
    pub(super) matched: Matched,
    pub(super) object: Option<Cow<'a, Object>>,
    old: Option<Cow<'a, Object>>,
    namespace: Option<Arc<Object>>,
    request: Request<'a>,
    about: ResourceQuestion,
}

impl<'a> Case<'a> {
    /// The request in a version in which it matched.
    ///
    /// # Errors
    /// If the objects cannot be had in that version.
    pub(super) async fn new(
        attributes: &'a Attributes<'a>,
        matched: &Matched,
        object: Option<&'a Object>,
    ) -> Result<Self, Status> {
        let (target, version) = (target(matched, attributes.subresource)?, matched.kind.api_version());
        let in_version = async |object: Option<&'a Object>| match object {
            None => Ok(None),
            Some(object) => {
                let object = versioned(attributes, &matched.resource, &version, object).await?;
                Ok::<_, Status>(Some(as_printed(&target, object)))
            }
        };
        let namespace = attributes.request_namespace(object);
        let asked = attributes.kind().map(|asked| kind(&asked)).unwrap_or_default();
        Ok(Self {
            object: in_version(object).await?,
            old: in_version(attributes.old).await?,
            namespace: None,
            request: Request {
                kind: kind(&matched.kind),
                resource: resource(&matched.resource),
                request_kind: asked,
                request_resource: resource(attributes.resource),
                subresource: attributes.subresource.into(),
                name: attributes.request_name().into(),
                namespace: namespace.into(),
                operation: attributes.operation.as_str(),
                user: Some(Cow::Borrowed(&attributes.ctx.user)),
                dry_run: attributes.is_dry_run(),
                options: options(attributes),
            },
            about: ResourceQuestion {
                group: attributes.resource.group.clone(),
                resource: attributes.resource.plural.clone(),
                subresource: attributes.subresource.into(),
                namespace: namespace.into(),
                name: attributes.request_name().into(),
                ..ResourceQuestion::default()
            },
            matched: matched.clone(),
        })
    }

    /// With the namespace that it is in.
    pub(super) fn set_namespace(&mut self, namespace: Option<Arc<Object>>) {
        self.namespace = namespace;
    }

    /// What expressions see.
    pub(super) fn subject<'s>(&'s self, reading: &'s Reading, checks: &Checks) -> Subject<'s> {
        Subject::new(&self.request, checks, self.about.clone())
            .with_objects(self.object.as_deref(), self.old.as_deref(), reading)
            .with_namespace(self.namespace.as_deref())
    }

    /// A copy that borrows nothing.
    pub(super) fn to_owned(&self) -> Case<'static> {
        let owned = |object: &Option<Cow<'_, Object>>| object.as_ref().map(|o| Cow::Owned((**o).clone()));
        Case {
            matched: self.matched.clone(),
            object: owned(&self.object),
            old: owned(&self.old),
            namespace: self.namespace.clone(),
            request: self.request.to_owned(),
            about: self.about.clone(),
        }
    }
}

/// The namespace that a request is in, as its expressions see it; none for what is in none, and for namespaces themselves.
///
/// # Errors
/// 404 if it is not there.
pub(super) fn namespace(attributes: &Attributes<'_>, object: Option<&Object>) -> Result<Option<Arc<Object>>, Status> {
    let asked = attributes.kind();
    let is_namespace = asked.is_some_and(|k| k.group.is_empty() && k.version == "v1" && k.kind == "Namespace");
    let name = attributes.request_namespace(object);
    if is_namespace || name.is_empty() {
        return Ok(None);
    }
    let found = attributes.ctx.registry.get_shared("", "namespaces", "", name);
    found.map(Some).ok_or_else(|| Status::not_found("", "namespaces", name))
}

fn kind(kind: &GroupVersionKind) -> Kind {
    Kind { group: kind.group.clone(), version: kind.version.clone(), kind: kind.kind.clone() }
}

fn resource(row: &catalogue::Resource) -> Resource {
    Resource { group: row.group.clone(), version: row.version.clone(), resource: row.plural.clone() }
}

/// The options as they are shown: with kind and version, or nothing where there are none.
fn options(attributes: &Attributes<'_>) -> serde_json::Value {
    let kind = match attributes.operation {
        Operation::Create => "CreateOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
        Operation::Connect => return serde_json::Value::Null,
    };
    let mut options = attributes.options.as_object().cloned().unwrap_or_default();
    options.insert("kind".into(), kind.into());
    options.insert("apiVersion".into(), "meta.k8s.io/v1".into());
    options.into()
}

/// An object as the reference prints it.
fn as_printed<'o>(target: &Target, object: Cow<'o, Object>) -> Cow<'o, Object> {
    match object {
        Cow::Borrowed(object) => printed(target, object),
        Cow::Owned(object) => Cow::Owned(printed(target, &object).into_owned()),
    }
}
