//! Bytes to objects and back, through the schema engine: decoding with field checks, defaults, and the formats other than
//! JSON.

use api::decode::{self, DecodeError, FieldValidation, Target};
use api::schema::Schema;
use api::{Object, Status, defaults, protobuf};
use bytes::Bytes;

use crate::Context;
use crate::content::Format;

/// Decodes a request's body, checks its fields as the request asks, and fills in defaults.
///
/// # Errors
/// 400 with the reference's wording.
pub fn decode(ctx: &Context, body: &[u8], format: Format, target: &Target) -> Result<Object, Status> {
    let decoded = decode::decode(body, format, target, ctx.options.field_validation)?;
    for warning in decoded.warnings {
        ctx.warn(warning);
    }
    let mut object = decoded.object;
    defaults::apply(&target.schema, &mut object);
    Ok(object)
}

/// Decodes a tree that was made here (a patched object), with the field checks that the request asks for, and fills in
/// defaults.
///
/// # Errors
/// 400 with the reference's wording.
pub fn decode_value(ctx: &Context, object: Object, target: &Target) -> Result<Object, Status> {
    let decoded = decode::decode_value(object.into_value(), target, ctx.options.field_validation)?;
    for warning in decoded.warnings {
        ctx.warn(warning);
    }
    let mut object = decoded.object;
    defaults::apply(&target.schema, &mut object);
    Ok(object)
}

/// A custom object that a configuration was applied to, with defaults. Nothing of it is dropped but by the merge, which
/// lets no field in that the schema has not: a null that may not be is for validation to tell.
pub fn applied(mut object: Object, target: &Target) -> Object {
    defaults::apply_and_keep_nulls(&target.schema, &mut object);
    decode::normalise_metadata(&target.schema, &mut object);
    object
}

/// What the reference calls its collection of kinds of options.
const OPTIONS_SCHEME: &str = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27";

/// Decodes a body of options (`DeleteOptions`), of whatever group and version the client says.
///
/// # Errors
/// 400 with the reference's wording.
pub fn decode_options(body: &[u8], format: Format, kind: &str) -> Result<Object, Status> {
    let target = Target::builtin("meta.k8s.io", "v1", kind).or_else(|| Target::builtin("", "v1", kind));
    let target = target.ok_or_else(|| Status::internal(format!("{kind} has no schema")))?;
    let fault = |error: DecodeError| match error {
        DecodeError::Malformed { kind: stated, version, .. } if stated != kind => Status::bad_request(format!(
            "no kind {stated:?} is registered for version {version:?} in scheme {OPTIONS_SCHEME:?}"
        )),
        other => Status::bad_request(other.why()),
    };
    Ok(decode::decode(body, format, &target, FieldValidation::Ignore).map_err(fault)?.object)
}

/// An object as protobuf, with the envelope. The kind must be a built-in one.
///
/// # Errors
/// 406 if it cannot be written so.
pub fn to_protobuf(object: &Object) -> Result<Bytes, Status> {
    let schema = protobuf_schema(object).ok_or_else(|| crate::content::not_negotiated(&[]))?;
    Ok(protobuf::encode(object, &schema).into())
}

/// One event of a watch as protobuf, with its length before it.
///
/// # Errors
/// 406 if it cannot be written so.
pub fn protobuf_frame(kind: &str, object: &Object) -> Result<Bytes, Status> {
    Ok(protobuf::watch_frame(kind, &to_protobuf(object)?).into())
}

fn protobuf_schema(object: &Object) -> Option<Schema> {
    let api_version = object.api_version();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    // Kinds of the meta group are defined once, and used under every group and version.
    Schema::of(group, version, object.kind())
        .or_else(|| Schema::of("meta.k8s.io", "v1", object.kind()))
        .or_else(|| Schema::definition(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{}", object.kind())))
}
