//! Patch: JSON patch, merge patch, strategic merge patch, and apply.

use api::decode::{FieldValidation, Target};
use api::patch::{self, Patched};
use api::{Object, Status, defaults};
use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http::header::CONTENT_TYPE;

use super::Call;
use crate::conversion::Conversions;
use crate::registry::create::plain_failure;
use crate::registry::prepare;
use crate::registry::target::Target as Place;
use crate::registry::update::{self as registry, Rules};
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
    let kind = patch_type(content_type).ok_or_else(content::unsupported_patch)?;
    let bytes = call.read_body(body).await?;
    if let Some(trail) = call.ctx.trail() {
        trail.sent_patch(&bytes);
    }
    match call.workers_for(bytes.len() + call.stored_bytes()) {
        Some(workers) => workers.run(written(call, bytes, kind)).await,
        None => written(call, bytes, kind).await,
    }
}

async fn written(call: Call, bytes: Bytes, kind: PatchType) -> Result<Response<Body>, Status> {
    let place = call.target(options::to_value(&call.ctx.options, "UpdateOptions"));
    let patching = Patching { call: &call, place: &place, kind, bytes: &bytes };
    let mut change = |old: Option<&Object>, conversions: &Conversions| patching.apply(old, conversions);
    let rules = Rules { creates: kind == PatchType::Apply, checks_uid: false };
    let updated = registry::update(&call.ctx, &place, rules, &mut change).await?;
    call.respond_written(updated).await
}

/// A patch and what it is for. It is read when the object is there: what does not exist is told before what is wrong
/// with the patch.
pub struct Patching<'a> {
    /// The request.
    pub call: &'a Call,
    /// What is to be patched.
    pub place: &'a Place,
    /// The kind of patch.
    pub kind: PatchType,
    /// The patch.
    pub bytes: &'a Bytes,
}

impl Patching<'_> {
    /// The patched object, with its managed fields.
    ///
    /// # Errors
    /// If the patch does not apply.
    pub fn apply(&self, old: Option<&Object>, conversions: &Conversions) -> Result<Object, Status> {
        let ctx = &self.call.ctx;
        let kind = Target::of(&self.call.resource);
        let new = if self.kind == PatchType::Apply {
            let (configuration, findings) = self.configuration()?;
            let what = format!("{}/{}", configuration.namespace(), configuration.name());
            let merged = managed::apply(ctx, self.place, conversions, old, configuration)?;
            let mut merged = self.applied(merged, &kind, &what)?;
            self.report(findings)?;
            prepare::namespace(self.place, &mut merged)?;
            merged
        } else {
            let old = old.ok_or_else(|| self.place.not_found())?;
            let mut new = self.patched(old.clone(), &kind)?;
            prepare::namespace(self.place, &mut new)?;
            managed::track_update(ctx, self.place, conversions, old, &mut new);
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

    /// What was applied, decoded and with defaults.
    fn applied(&self, object: Object, kind: &Target, what: &str) -> Result<Object, Status> {
        if kind.custom {
            return Ok(codec::applied(object, kind));
        }
        let mut object = patch::applied(object, kind).map_err(|why| {
            let kind = format!("{}/{}, Kind={}", kind.group, kind.version, kind.kind);
            plain_failure(format!(
                "failed to convert new object ({what}; {kind}) to proper version: unable to convert unstructured object \
                 to {kind}: {why}"
            ))
        })?;
        defaults::apply(&kind.schema, &mut object);
        Ok(object)
    }

    /// The configuration to apply, and what strict decoding finds in it.
    ///
    /// # Errors
    /// 400 if it does not decode.
    pub fn configuration(&self) -> Result<(Object, Vec<String>), Status> {
        patch::configuration(self.bytes).map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))
    }

    /// Tells what strict decoding found in a configuration.
    ///
    /// # Errors
    /// 400 if the request wants that.
    pub fn report(&self, findings: Vec<String>) -> Result<(), Status> {
        let ctx = &self.call.ctx;
        match ctx.options.field_validation {
            FieldValidation::Strict if !findings.is_empty() => Err(Status::bad_request(format!(
                "error strict decoding YAML: error converting YAML to JSON: {}",
                findings.join(", ")
            ))),
            FieldValidation::Warn => {
                patch::configuration_warnings(findings).into_iter().for_each(|warning| ctx.warn(warning));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What the patch makes of an object of a kind, decoded and with defaults.
    ///
    /// # Errors
    /// If the patch does not decode or apply, or its result does not decode.
    pub fn patched(&self, object: Object, kind: &Target) -> Result<Object, Status> {
        let ctx = &self.call.ctx;
        let validation = ctx.options.field_validation;
        let patched = self.made_of(object, kind)?;
        let decoded = patch::patched(patched, kind, validation)?;
        for warning in decoded.warnings.into_iter().filter(|_| validation == FieldValidation::Warn) {
            ctx.warn(warning);
        }
        let mut object = decoded.object;
        defaults::apply(&kind.schema, &mut object);
        Ok(object)
    }

    fn made_of(&self, mut object: Object, kind: &Target) -> Result<Patched, Status> {
        let validation = self.call.ctx.options.field_validation;
        let root = kind.schema.root();
        let ordered = (!kind.custom).then_some(root);
        match self.kind {
            PatchType::Json => {
                let (patch, findings) = patch::json_patch(self.bytes, validation)?;
                let mut value = object.into_value();
                patch::json::apply(&mut value, &patch)?;
                let object = Object::from_value(value)
                    .ok_or_else(|| Status::bad_request("the patched object is no JSON object"))?;
                let shown = patch::shown(&object.0, ordered, &patch::json::opened(&patch));
                Ok(Patched { object, findings, shown, strategic: false })
            }
            PatchType::Merge | PatchType::Apply => {
                let (patch, findings) = patch::merge_patch(self.bytes, validation)
                    .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
                patch::merge::apply(&mut object.0, patch.clone())?;
                let shown = patch::shown(&object.0, ordered, &patch);
                Ok(Patched { object, findings, shown, strategic: false })
            }
            PatchType::Strategic => {
                let (patch, findings) = patch::merge_patch(self.bytes, validation).map_err(Status::bad_request)?;
                let shown = patch::strategic::shown(&object.0, &patch);
                patch::strategic::apply(&mut object.0, patch, root)?;
                Ok(Patched { object, findings, shown, strategic: true })
            }
        }
    }
}
