//! Get and list of what is not stored but found out when it is asked for.

use api::{Object, Status};
use axum::body::Body;
use http::Response;
use serde_json::{Map, Value, json};
use store::Entry;

use super::{Call, list::untyped};
use crate::options::ListOptions;
use crate::plug::endpoint::Lister;
use crate::selection::Selection;
use crate::{answer, content, transform};

/// Answers with one of them.
///
/// # Errors
/// 404 if there is none of the name.
pub fn get(call: &Call, lister: &dyn Lister) -> Result<Response<Body>, Status> {
    let name = &call.ctx.info.name;
    let found = lister.list(&call.ctx).into_iter().find(|object| object.name() == name);
    let missing = || Status::not_found(&call.resource.group, lister.kind_of_missing(), name);
    call.respond_as_is(200, found.ok_or_else(missing)?)
}

/// Answers with those that are selected; a limit counts for nothing.
///
/// # Errors
/// For options and selectors that make no sense.
pub fn list(call: &Call, lister: &dyn Lister) -> Result<Response<Body>, Status> {
    let options = ListOptions::new(&call.query, false)?;
    let selection = Selection::new(&call.resource, &call.resource, &options)?;
    let is_selected = |object: &Object| {
        let key = call.resource.key(object.namespace(), object.name());
        selection.matches(&Entry::new(key.into(), object.encode(), 0, 0))
    };
    let items: Vec<Object> = lister.list(&call.ctx).into_iter().filter(is_selected).collect();
    let object = if call.representation.transform == content::Transform::None {
        let items: Vec<Value> = items.into_iter().map(|item| untyped(call, item)).collect();
        let list = json!({"kind": call.resource.list_kind, "apiVersion": call.resource.api_version(), "metadata": {},
            "items": items});
        Object::from_value(list).expect("written as an object")
    } else {
        transform::many(&call.ctx, &call.resource, items, Map::new(), call.representation.transform, &call.query)?
    };
    answer::object(200, &object, &call.representation)
}

/// What a watch of them gets.
pub fn no_watch(call: &Call) -> Status {
    let plural = &call.resource.plural;
    let message = format!("watch is not supported on resources of kind {plural:?}");
    let details = api::status::StatusDetails { kind: plural.clone(), ..Default::default() };
    Status::failure(405, "MethodNotAllowed", message).with_details(details)
}
