//! AdmissionReview, to a webhook and back (`webhook/request`).

use api::decode::Target;
use api::{Object, Status};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::hooks::ReviewVersion;
use super::shown::{self, Shown};
use crate::matching::{GroupVersionKind, Matched};
use crate::plug::admission::Attributes;
use crate::webhooks::{Answer, CallError};

const GROUP: &str = "admission.k8s.io";
const KIND: &str = "AdmissionReview";

/// What a webhook says.
#[derive(Debug, Default)]
pub(super) struct Response {
    /// Whether the request may go on.
    pub allowed: bool,
    /// Why not.
    pub status: Option<Status>,
    /// The patch, JSON as it came; empty if there is none.
    pub patch: Vec<u8>,
    /// The type of the patch.
    pub patch_type: String,
    /// What is noted of the request, by name.
    pub audit_annotations: Vec<(String, String)>,
    /// What the client is warned of.
    pub warnings: Vec<String>,
}

impl ReviewVersion {
    fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1beta1 => "v1beta1",
        }
    }
}

#[derive(Serialize)]
struct Kind<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

#[derive(Serialize)]
struct ResourceName<'a> {
    group: &'a str,
    version: &'a str,
    resource: &'a str,
}

fn kind(kind: &GroupVersionKind) -> Kind<'_> {
    Kind { group: &kind.group, version: &kind.version, kind: &kind.kind }
}

fn resource(row: &api::catalogue::Resource) -> ResourceName<'_> {
    ResourceName { group: &row.group, version: &row.version, resource: &row.plural }
}

/// Writes fields one after the other, in the reference's order.
struct Fields(Vec<u8>);

impl Fields {
    fn json(&mut self, name: &str, value: &impl Serialize) {
        let encoded = serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec());
        self.raw(name, &encoded);
    }

    fn text(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.json(name, &value);
        }
    }

    fn raw(&mut self, name: &str, encoded: &[u8]) {
        if !self.0.ends_with(b"{") {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        self.0.extend_from_slice(encoded);
    }
}

/// The review that is sent.
pub(super) fn request(
    version: ReviewVersion,
    uid: &str,
    attributes: &Attributes<'_>,
    matched: &Matched,
    shown: &Shown,
) -> Bytes {
    const MORE_BYTES: usize = 2_048;
    let room = shown.object.as_ref().map_or(0, Bytes::len) + shown.old.as_ref().map_or(0, Bytes::len) + MORE_BYTES;
    let mut out = Fields(Vec::with_capacity(room));
    out.0.extend_from_slice(
        format!("{{\"kind\":{KIND:?},\"apiVersion\":\"{GROUP}/{}\",\"request\":{{", version.name()).as_bytes(),
    );
    let subresource = attributes.subresource;
    out.text("uid", uid);
    out.json("kind", &kind(&matched.kind));
    out.json("resource", &resource(&matched.resource));
    out.text("subResource", subresource);
    if let Some(asked) = attributes.kind() {
        out.json("requestKind", &kind(&asked));
    }
    out.json("requestResource", &resource(attributes.resource));
    out.text("requestSubResource", subresource);
    out.text("name", attributes.request_name());
    out.text("namespace", &shown.namespace);
    out.text("operation", attributes.operation.as_str());
    out.json("userInfo", &*attributes.ctx.user);
    out.raw("object", shown.object.as_deref().unwrap_or(b"null"));
    out.raw("oldObject", shown.old.as_deref().unwrap_or(b"null"));
    out.json("dryRun", &attributes.is_dry_run());
    match Object::from_value(attributes.options.clone()).filter(|options| !options.0.is_empty()) {
        Some(options) => out.raw("options", &shown::encoded(&options)),
        None => out.raw("options", b"null"),
    }
    out.0.extend_from_slice(b"}}");
    out.0.into()
}

/// The answer, once it is clear that it is one (`VerifyAdmissionResponse`).
///
/// # Errors
/// What is wrong with it: whether there is none, or one that says nothing.
pub(super) fn response(
    version: ReviewVersion,
    uid: &str,
    mutating: bool,
    answer: &Answer,
) -> Result<Result<Response, String>, CallError> {
    let target = Target::builtin(GROUP, version.name(), KIND);
    let target = target.ok_or_else(|| CallError::Malformed("AdmissionReview has no schema".into()))?;
    let review = answer.object(&target)?;
    Ok(match version {
        ReviewVersion::V1 => verified(&review, answer, uid, mutating),
        ReviewVersion::V1beta1 => read(&review).map(|mut response| {
            // Neither the number nor the type of a patch was ever looked at.
            let patched = mutating && !response.patch.is_empty();
            response.patch_type = if patched { "JSONPatch".into() } else { String::new() };
            if !patched {
                response.patch.clear();
            }
            response
        }),
    })
}

fn verified(review: &Object, answer: &Answer, uid: &str, mutating: bool) -> Result<Response, String> {
    let response = read(review)?;
    let quoted = api::go::strconv::quote;
    let found = review.str_at(&["response", "uid"]);
    if found != uid {
        return Err(format!("expected response.uid={}, got {}", quoted(uid), quoted(found)));
    }
    let stated = answer.stated();
    if (stated.group.as_str(), stated.version.as_str(), stated.kind.as_str()) != (GROUP, "v1", KIND) {
        return Err(format!("expected webhook response of {GROUP}/v1, Kind={KIND}, got {stated}"));
    }
    let has_type = review.at(&["response", "patchType"]).is_some_and(|found| !found.is_null());
    match (mutating, response.patch.is_empty(), has_type) {
        (true, false, false) => Err("webhook returned response.patch but not response.patchType".into()),
        (true, true, true) => Err("webhook returned response.patchType but not response.patch".into()),
        (true, _, true) if response.patch_type.is_empty() => {
            Err("webhook returned invalid response.patchType of \"\"".into())
        }
        (false, false, _) => Err("validating webhook may not return response.patch".into()),
        (false, _, true) => Err("validating webhook may not return response.patchType".into()),
        _ => Ok(response),
    }
}

fn read(review: &Object) -> Result<Response, String> {
    let response = review.at(&["response"]).filter(|response| response.is_object());
    let response = response.ok_or_else(|| "webhook response was absent".to_string())?;
    let patch = response["patch"].as_str().unwrap_or("");
    let annotations = response["auditAnnotations"].as_object().into_iter().flatten();
    let warnings = response["warnings"].as_array().into_iter().flatten();
    Ok(Response {
        allowed: response["allowed"].as_bool().unwrap_or(false),
        status: response.get("status").filter(|status| status.is_object()).map(status),
        patch: api::go::base64::decode(patch).map_err(|error| error.to_string())?,
        patch_type: response["patchType"].as_str().unwrap_or("").to_string(),
        audit_annotations: annotations
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_string())))
            .collect(),
        warnings: warnings.filter_map(Value::as_str).map(str::to_string).collect(),
    })
}

/// The status that a webhook gives, with a code that can be answered with.
fn status(status: &Value) -> Status {
    const CODE_MAX: i64 = 999;
    let mut status = status.clone();
    if let Some(code) = status.get("code").and_then(Value::as_i64).filter(|code| !(0..=CODE_MAX).contains(code)) {
        status["code"] = if code < 0 { 0.into() } else { 500.into() };
    }
    serde_json::from_value(status).unwrap_or_else(|_| Status::failure(0, "", ""))
}

/// What a client is told that a webhook refuses (`ToStatusErr`).
pub(super) fn denied(webhook: &str, status: Option<Status>) -> Status {
    let by = format!("admission webhook {webhook:?} denied the request");
    let mut status = status.unwrap_or_else(|| Status::failure(0, "", ""));
    status.kind = "Status".into();
    status.api_version = "v1".into();
    status.code = status.code.max(400);
    if status.status.is_empty() || status.status == "Success" {
        status.status = "Failure".into();
    }
    status.message = match (status.message.as_str(), status.reason.as_str()) {
        ("", "") => format!("{by} without explanation"),
        ("", reason) => format!("{by}: {reason}"),
        (message, _) => format!("{by}: {message}"),
    };
    status
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_is_told_as_one() {
        for (given, code, reason, message) in [
            (Value::Null, 400, "", "admission webhook \"w\" denied the request without explanation"),
            (json!({"reason": "because"}), 400, "because", "admission webhook \"w\" denied the request: because"),
            (
                json!({"message": "no", "reason": "r", "code": 418, "status": "Success"}),
                418,
                "r",
                "admission webhook \"w\" denied the request: no",
            ),
            (json!({"code": 200}), 400, "", "admission webhook \"w\" denied the request without explanation"),
            (json!({"code": -1}), 400, "", "admission webhook \"w\" denied the request without explanation"),
            (json!({"code": 70_000}), 500, "", "admission webhook \"w\" denied the request without explanation"),
        ] {
            let given = if given.is_null() { None } else { Some(status(&given)) };
            let told = denied("w", given);
            assert_eq!((told.code, told.reason.as_str(), told.message.as_str()), (code, reason, message));
            assert_eq!((told.status.as_str(), told.kind.as_str()), ("Failure", "Status"));
        }
    }
}
