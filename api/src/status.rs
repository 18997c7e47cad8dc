//! The one error every client sees, `metav1.Status`; only this module knows reasons and codes.

use serde::{Deserialize, Serialize};

use crate::field::{ErrorList, aggregate, cut};

/// How long the message of a status may be in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// How long the causes of a status may be together, in bytes.
pub const CAUSES_BYTES_MAX: usize = 1 << 20;

/// `metav1.Status` as an error: constructors are those of `k8s.io/apimachinery/pkg/api/errors`, with its wording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Always `Status`.
    #[serde(default)]
    pub kind: String,
    /// Always `v1`.
    #[serde(default)]
    pub api_version: String,
    /// An empty `ListMeta`.
    #[serde(default)]
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// `Success` or `Failure`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// For programs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<StatusDetails>>,
    /// The HTTP code.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub code: u16,
}

/// `metav1.StatusDetails`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusDetails {
    /// The object's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The API group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The kind, or the resource.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The object's uid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// One a thing that is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<StatusCause>,
    /// When to try again.
    #[serde(default, skip_serializing_if = "is_zero_u32")]
    pub retry_after_seconds: u32,
}

/// `metav1.StatusCause`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusCause {
    /// For programs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Where.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

fn is_zero(code: &u16) -> bool {
    *code == 0
}

fn is_zero_u32(seconds: &u32) -> bool {
    *seconds == 0
}

/// `resource.group`, or `resource` in the core group.
pub fn group_resource(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_string() } else { format!("{resource}.{group}") }
}

impl Status {
    /// A failure.
    pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Self {
        let mut message = message.into();
        cut(&mut message, MESSAGE_BYTES_MAX);
        Self {
            kind: "Status".into(),
            api_version: "v1".into(),
            metadata: Default::default(),
            status: "Failure".into(),
            message,
            reason: reason.into(),
            details: None,
            code,
        }
    }

    /// Adds details, with as many causes as there is room for.
    pub fn with_details(mut self, mut details: StatusDetails) -> Self {
        let mut bytes = 0;
        let is_beyond = |cause: &StatusCause| {
            bytes += cause.reason.len() + cause.message.len() + cause.field.len();
            bytes > CAUSES_BYTES_MAX
        };
        if let Some(end) = details.causes.iter().position(is_beyond) {
            details.causes.truncate(end);
            details.causes.push(StatusCause { message: "there are more causes".into(), ..Default::default() });
        }
        self.details = Some(Box::new(details));
        self
    }

    fn about(self, group: &str, resource: &str, name: &str) -> Self {
        self.with_details(StatusDetails {
            name: name.into(),
            group: group.into(),
            kind: resource.into(),
            ..Default::default()
        })
    }

    /// `NewNotFound`
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {name:?} not found", group_resource(group, resource));
        Self::failure(404, "NotFound", message).about(group, resource, name)
    }

    /// `NewAlreadyExists`
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", group_resource(group, resource));
        Self::failure(409, "AlreadyExists", message).about(group, resource, name)
    }

    /// `NewConflict`
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let what = group_resource(group, resource);
        let message = format!("Operation cannot be fulfilled on {what} {name:?}: {why}");
        Self::failure(409, "Conflict", message).about(group, resource, name)
    }

    /// A conflict because the object changed since it was read.
    pub fn stale(group: &str, resource: &str, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(group, resource, name, why)
    }

    /// `NewForbidden`
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let what = group_resource(group, resource);
        let message = match (what.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (_, true) => format!("{what} is forbidden: {why}"),
            _ => format!("{what} {name:?} is forbidden: {why}"),
        };
        Self::failure(403, "Forbidden", message).about(group, resource, name)
    }

    /// `NewInvalid`: all errors at once.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &ErrorList) -> Self {
        let causes: Vec<StatusCause> = errors
            .iter()
            .map(|e| StatusCause {
                reason: e.error_type.reason().into(),
                message: e.body(),
                field: e.path.as_str().into(),
            })
            .collect();
        let what = group_resource(group, kind);
        let mut message = format!("{what} {name:?} is invalid");
        if !errors.is_empty() {
            message.push_str(&format!(": {}", aggregate(errors.iter().map(ToString::to_string))));
        }
        let details =
            StatusDetails { name: name.into(), group: group.into(), kind: kind.into(), causes, ..Default::default() };
        Self::failure(422, "Invalid", message).with_details(details)
    }

    /// `NewBadRequest`
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, "BadRequest", message)
    }

    /// `NewUnauthorized`
    pub fn unauthorized() -> Self {
        Self::failure(401, "Unauthorized", "Unauthorized")
    }

    /// `NewMethodNotSupported`
    pub fn method_not_supported(group: &str, resource: &str, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind {:?}", group_resource(group, resource));
        Self::failure(405, "MethodNotAllowed", message).about(group, resource, "")
    }

    /// `NewResourceExpired`
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(410, "Expired", message)
    }

    /// `NewRequestEntityTooLargeError`
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::failure(413, "RequestEntityTooLarge", message)
    }

    /// `NewInternalError`: the message names what failed, never a secret.
    pub fn internal(message: impl Into<String>) -> Self {
        let message = message.into();
        let cause = StatusCause { message: message.clone(), ..Default::default() };
        Self::failure(500, "InternalError", format!("Internal error occurred: {message}"))
            .with_details(StatusDetails { causes: vec![cause], ..Default::default() })
    }

    /// The bytes of the answer.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a Status always encodes")
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}
