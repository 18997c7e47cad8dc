//! The scale subresource: a small view of the replicas of an object, read and written through the object itself.

use std::sync::Arc;

use api::catalogue::Resource;
use api::crd::Scale;
use api::decode::Target;
use api::schema::Schema;
use api::{Object, Status};
use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use super::Call;
use super::patch::{PatchType, Patching, patch_type};
use crate::content::Transform;
use crate::conversion::Conversions;
use crate::registry::target::{Target as Place, View};
use crate::registry::update::{self as registry, Rules};
use crate::{answer, codec, content, managed, options};

/// Get, update and patch of a scale.
///
/// # Errors
/// As those of the object itself.
pub async fn handle(call: Call, verb: &str, body: Body) -> Result<Response<Body>, Status> {
    if verb == "get" {
        let target = call.target(json!({}));
        let snapshot = call.ctx.registry.snapshot();
        let entry = snapshot.get(&target.key()).ok_or_else(|| target.not_found())?;
        let object = call.ctx.registry.read(&call.resource, entry).await?;
        return respond(&call, scale_of(&call.resource, &object)?);
    }
    let patch = if verb == "patch" {
        let content_type = call.parts.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        Some(patch_type(content_type).ok_or_else(content::unsupported_patch)?)
    } else {
        content::body_format(&call.parts.headers)?;
        None
    };
    let bytes = call.read_body(body).await?;
    match call.workers_for(bytes.len() + call.stored_bytes()) {
        Some(workers) => workers.run(written(call, bytes, patch)).await,
        None => written(call, bytes, patch).await,
    }
}

async fn written(call: Call, bytes: Bytes, patch: Option<PatchType>) -> Result<Response<Body>, Status> {
    // The object's own strategy applies: a scale is a change of its spec.
    let mut target = call.target(options::to_value(&call.ctx.options, "UpdateOptions"));
    target.subresource = String::new();
    target.view = Some(Arc::new(OfScale(call.resource.clone())));
    let subresource = call.subresource().ok_or_else(super::unknown_path)?.clone();
    let decode_as = Target::of_subresource(&call.resource, &subresource);
    let updated = if let Some(kind) = patch {
        if let Some(trail) = call.ctx.trail() {
            trail.sent_patch(&bytes);
        }
        let patching = Patching { call: &call, place: &target, kind, bytes: &bytes };
        let mut change = |old: Option<&Object>, conversions: &Conversions| {
            let old = old.ok_or_else(|| target.not_found())?;
            if kind == PatchType::Apply {
                return applied(&call, &patching, conversions, old, &decode_as);
            }
            let scale = patching.patched(scale_of(&call.resource, old)?, &decode_as)?;
            call.check_name(&scale)?;
            scaled(&call, conversions, old, &scale)
        };
        registry::update(&call.ctx, &target, Rules { creates: false, checks_uid: false }, &mut change).await?
    } else {
        let format = content::body_format(&call.parts.headers)?;
        let scale = codec::decode(&call.ctx, &bytes, format, &decode_as)?;
        call.ctx.sent(&scale);
        call.check_name(&scale)?;
        let mut change = |old: Option<&Object>, conversions: &Conversions| {
            let old = old.ok_or_else(|| target.not_found())?;
            scaled(&call, conversions, old, &scale)
        };
        registry::update(&call.ctx, &target, Rules { creates: false, checks_uid: true }, &mut change).await?
    };
    let scale = scale_of(&call.resource, &updated.object)?;
    respond(&call, scale)
}

/// Admission sees the scale, and not the object whose replicas it is.
#[derive(Debug)]
struct OfScale(Arc<Resource>);

impl View for OfScale {
    fn subresource(&self) -> &str {
        "scale"
    }

    fn show(&self, object: &Object) -> Result<Object, Status> {
        managed_scale(&self.0, object)
    }

    fn write(&self, object: &mut Object, shown: &Object) -> Result<(), Status> {
        let before = object.clone();
        *object = with_replicas(&self.0, &before, shown)?;
        set_entries(&self.0, &before, object, entries(shown));
        Ok(())
    }
}

fn respond(call: &Call, scale: Object) -> Result<Response<Body>, Status> {
    let Transform::Table(version) = call.representation.transform else { return call.respond_as_is(200, scale) };
    let column =
        |name: &str, kind: &str| json!({"name": name, "type": kind, "format": "", "description": "", "priority": 0});
    let table = json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": {"resourceVersion": scale.resource_version()},
        "columnDefinitions": [
            column("Name", "string"),
            column("Desired", "integer"),
            column("Available", "integer"),
            column("Age", "string"),
        ],
        "rows": [{
            "cells": [
                scale.name(),
                scale.at(&["spec", "replicas"]).and_then(Value::as_i64).unwrap_or(0),
                scale.at(&["status", "replicas"]).and_then(Value::as_i64).unwrap_or(0),
                api::time::age(Some(scale.str_at(&["metadata", "creationTimestamp"])), call.ctx.now),
            ],
            "object": api::table::partial(&scale),
        }],
    });
    answer::object(200, &Object::from_value(table).expect("a table is an object"), &call.representation)
}

/// The object after a configuration was applied to its scale.
fn applied(
    call: &Call,
    patching: &Patching<'_>,
    conversions: &Conversions,
    old: &Object,
    decode_as: &Target,
) -> Result<Object, Status> {
    let (configuration, findings) = patching.configuration()?;
    let before = managed_scale(&call.resource, old)?;
    let place = scale_place(call)?;
    let merged = managed::apply(&call.ctx, &place, conversions, Some(&before), configuration)?;
    patching.report(findings)?;
    let scale = codec::decode_value(&call.ctx, merged, decode_as)?;
    call.check_name(&scale)?;
    let mut new = with_replicas(&call.resource, old, &scale)?;
    set_entries(&call.resource, old, &mut new, entries(&scale));
    Ok(new)
}

/// The object with the replicas of a scale, and who wrote them.
fn scaled(call: &Call, conversions: &Conversions, old: &Object, scale: &Object) -> Result<Object, Status> {
    let mut new = with_replicas(&call.resource, old, scale)?;
    track(call, conversions, old, &mut new)?;
    Ok(new)
}

/// The object with the replicas of a scale.
fn with_replicas(resource: &Resource, old: &Object, scale: &Object) -> Result<Object, Status> {
    let replicas = scale.at(&["spec", "replicas"]).cloned().unwrap_or_else(|| 0.into());
    // A custom object's own validation tells of its counts.
    if !resource.custom && replicas.as_i64().is_some_and(|n| n < 0) {
        let path = api::field::Path::new("spec.replicas");
        let errors = api::field::FieldError::invalid(&path, replicas, "must be greater than or equal to 0").into();
        return Err(Status::invalid("autoscaling", "Scale", old.name(), &errors));
    }
    let mut new = old.clone();
    let paths = paths(resource);
    new.set(&Scale::names(&paths.spec_replicas_path), replicas);
    let version = scale.resource_version();
    if !version.is_empty() {
        new.set(&["metadata", "resourceVersion"], version);
    }
    if !scale.uid().is_empty() {
        new.set(&["metadata", "uid"], scale.uid());
    }
    Ok(new)
}

/// Records who wrote the scale among those who manage the object.
fn track(call: &Call, conversions: &Conversions, old: &Object, new: &mut Object) -> Result<(), Status> {
    let before = managed_scale(&call.resource, old)?;
    let mut after = scale_of(&call.resource, new)?;
    managed::track_update(&call.ctx, &scale_place(call)?, conversions, &before, &mut after);
    set_entries(&call.resource, old, new, entries(&after));
    Ok(())
}

/// The scale of an object with the managed fields that concern it.
fn managed_scale(resource: &Resource, object: &Object) -> Result<Object, Status> {
    let paths = paths(resource);
    let entries = api::apply::scale_to_subresource(entries(object), &Scale::names(&paths.spec_replicas_path));
    let mut scale = scale_of(resource, object)?;
    scale.set(&["metadata", "managedFields"], entries);
    Ok(scale)
}

/// The scale as a resource of its own.
fn scale_place(call: &Call) -> Result<Place, Status> {
    let mut target = call.target(json!({}));
    let row = Resource {
        group: "autoscaling".into(),
        version: "v1".into(),
        kind: "Scale".into(),
        schema: Schema::of("autoscaling", "v1", "Scale").ok_or_else(|| Status::internal("Scale has no schema"))?,
        subresources: Vec::new(),
        ..(*call.resource).clone()
    };
    target.resource = Arc::new(row);
    Ok(target)
}

/// Puts the managed fields of a scale among those of its object.
fn set_entries(resource: &Resource, old: &Object, new: &mut Object, of_scale: &[Value]) {
    let paths = paths(resource);
    let replicas = Scale::names(&paths.spec_replicas_path);
    let all = api::apply::scale_to_parent(entries(old), of_scale, &replicas, &resource.api_version());
    if all.is_empty() {
        new.metadata_mut().remove("managedFields");
    } else {
        new.set(&["metadata", "managedFields"], all);
    }
}

/// Where the fields of the scale are: in the same place for all built-in kinds.
fn paths(resource: &Resource) -> Scale {
    let defined = resource.definition.as_ref().and_then(|definition| definition.scale.clone());
    defined.unwrap_or_else(|| Scale {
        spec_replicas_path: ".spec.replicas".into(),
        status_replicas_path: ".status.replicas".into(),
        label_selector_path: String::new(),
    })
}

fn entries(object: &Object) -> &[Value] {
    object.at(&["metadata", "managedFields"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The scale of an object.
fn scale_of(resource: &Resource, object: &Object) -> Result<Object, Status> {
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.at(&["metadata", field]) {
            metadata.insert(field.into(), value.clone());
        }
    }
    let number = |path: &[&str]| object.at(path).and_then(Value::as_i64).unwrap_or(0);
    let mut spec = Map::new();
    let paths = paths(resource);
    let wanted = number(&Scale::names(&paths.spec_replicas_path));
    if wanted != 0 {
        spec.insert("replicas".into(), wanted.into());
    }
    let mut status = Map::new();
    status.insert("replicas".into(), number(&Scale::names(&paths.status_replicas_path)).into());
    let selector = match paths.label_selector_path.as_str() {
        "" if resource.custom => String::new(),
        "" => selector_text(object, &resource.plural)?,
        path => object.str_at(&Scale::names(path)).to_string(),
    };
    if !selector.is_empty() {
        status.insert("selector".into(), selector.into());
    }
    let mut scale = Object::default();
    scale.set(&["kind"], "Scale");
    scale.set(&["apiVersion"], "autoscaling/v1");
    scale.set(&["metadata"], Value::Object(metadata));
    scale.set(&["spec"], Value::Object(spec));
    scale.set(&["status"], Value::Object(status));
    Ok(scale)
}

/// The selector as text; that of a replication controller is a plain map.
fn selector_text(object: &Object, plural: &str) -> Result<String, Status> {
    let Some(selector) = object.at(&["spec", "selector"]) else { return Ok(String::new()) };
    if plural == "replicationcontrollers" {
        let labels = selector.as_object().into_iter().flatten();
        let pairs: Vec<String> = labels.map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or(""))).collect();
        return Ok(pairs.join(","));
    }
    let selector = api::selector::LabelSelector::from_object(Some(selector))
        .map_err(|error| Status::internal(error.to_string()))?;
    Ok(selector.to_string())
}
