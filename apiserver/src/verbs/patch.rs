//! Patch: JSON patch, merge patch, strategic merge patch, and apply.

use api::decode::{Target, decode_untyped};
use api::{Object, Status, patch};
use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use super::Call;
use crate::content::Format;
use crate::registry::prepare;
use crate::registry::target::Target as Place;
use crate::registry::update as registry;
use crate::{codec, content, managed, options};

/// The kinds of patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Merge by the types' own merge keys.
    Strategic,
    /// Server-side apply.
    Apply,
}

const MEDIA_TYPES: [(&str, PatchType); 4] = [
    ("application/json-patch+json", PatchType::Json),
    ("application/merge-patch+json", PatchType::Merge),
    ("application/strategic-merge-patch+json", PatchType::Strategic),
    ("application/apply-patch+yaml", PatchType::Apply),
];

/// The patch type that a content type names.
pub fn patch_type(content_type: &str) -> Option<PatchType> {
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    MEDIA_TYPES.iter().find(|(name, _)| *name == media_type).map(|(_, patch)| *patch)
}

/// Patches an object; apply also creates it.
///
/// # Errors
/// For patches that do not apply, and whatever admission, validation or the store refuse the result with.
pub async fn patch(call: Call, body: Body) -> Result<Response<Body>, Status> {
    let content_type = call.parts.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let kind = patch_type(content_type).filter(|kind| !(call.resource.custom && *kind == PatchType::Strategic));
    let Some(kind) = kind else {
        let all = MEDIA_TYPES.iter().filter(|(_, k)| !(call.resource.custom && *k == PatchType::Strategic));
        return Err(content::unsupported(&all.map(|(name, _)| *name).collect::<Vec<_>>()));
    };
    let bytes = call.read_body(body).await?;
    let place = call.target(options::to_value(&call.ctx.options, "PatchOptions"));
    let patched = Patching::new(&call, &place, kind, &bytes)?;
    let mut change = |old: Option<&Object>| patched.apply(old);
    let updated = registry::update(&call.ctx, &place, kind == PatchType::Apply, &mut change).await?;
    call.respond_written(updated)
}

/// A decoded patch and what it is for.
pub struct Patching<'a> {
    call: &'a Call,
    place: &'a Place,
    kind: PatchType,
    patch: Value,
}

impl<'a> Patching<'a> {
    /// Decodes a patch.
    ///
    /// # Errors
    /// 400 if it does not decode.
    pub fn new(call: &'a Call, place: &'a Place, kind: PatchType, bytes: &Bytes) -> Result<Self, Status> {
        let format = if kind == PatchType::Apply { Format::Yaml } else { Format::Json };
        let patch = decode_untyped(bytes, format).map_err(|error| {
            let what = if kind == PatchType::Apply { "YAML: error converting YAML to JSON" } else { "patch" };
            Status::bad_request(format!("error decoding {what}: {error}"))
        })?;
        Ok(Self { call, place, kind, patch })
    }

    /// The patched object, with its managed fields.
    ///
    /// # Errors
    /// If the patch does not apply.
    pub fn apply(&self, old: Option<&Object>) -> Result<Object, Status> {
        let ctx = &self.call.ctx;
        let kind = Target::of(&self.call.resource);
        let new = if self.kind == PatchType::Apply {
            let configuration = Object::from_value(self.patch.clone())
                .ok_or_else(|| Status::bad_request("error decoding YAML: the configuration is no object"))?;
            let mut merged = codec::decode_value(ctx, managed::apply(ctx, self.place, old, configuration)?, &kind)?;
            prepare::namespace(self.place, &mut merged)?;
            merged
        } else {
            let old = old.ok_or_else(|| self.place.not_found())?;
            let patched = self.patched(old.clone())?;
            let mut new = codec::decode_value(ctx, patched, &kind)?;
            prepare::namespace(self.place, &mut new)?;
            managed::track_update(ctx, self.place, old, &mut new);
            new
        };
        if old.is_none() && !new.uid().is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {}, and no existing object was found",
                new.uid()
            );
            return Err(self.place.conflict(&why));
        }
        self.call.check_name(&new)?;
        Ok(new)
    }

    /// What the patch makes of an object, before that is decoded.
    pub fn patched(&self, mut object: Object) -> Result<Object, Status> {
        match self.kind {
            PatchType::Json => {
                let mut value = object.into_value();
                patch::json::apply(&mut value, &self.patch)?;
                Object::from_value(value).ok_or_else(|| Status::bad_request("the patched object is no JSON object"))
            }
            PatchType::Merge => {
                patch::merge::apply(&mut object.0, self.patch.clone())?;
                Ok(object)
            }
            PatchType::Strategic => {
                patch::strategic::apply(&mut object.0, self.patch.clone(), self.call.resource.schema.root())?;
                Ok(object)
            }
            PatchType::Apply => Ok(object),
        }
    }
}
