//! What a webhook's answer is, or what is wrong with it (`transformResponse` and `Result.Into` in client-go's `rest`).

use std::time::Duration;

use api::decode::{self, DecodeError, FieldValidation, Format, Target};
use api::status::{StatusCause, StatusDetails};
use api::{Object, Status};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};

use crate::matching::GroupVersionKind;
use crate::outgoing::Reply;

/// How much of an answer that is no object is shown (`maxUnstructuredResponseTextBytes`).
const SHOWN_BYTES_MAX: usize = 2_048;

/// Why a call came to nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CallError {
    /// There is no answer.
    #[error("Post {url:?}: {why}")]
    Failed {
        /// The whole URL.
        url: String,
        /// Why.
        why: String,
    },
    /// The answer cannot be read to its end.
    #[error("unexpected error when reading response body. Please retry. Original error: {0}")]
    Unread(String),
    /// The answer is an error.
    #[error("{}", .0.message)]
    Answered(Box<Status>),
    /// The answer is not what was asked for.
    #[error("{0}")]
    Malformed(String),
}

/// The answer of a webhook.
#[derive(Debug)]
pub struct Answer {
    code: u16,
    content_type: String,
    retry_after: Option<u32>,
    body: Bytes,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        let header = |name: HeaderName| reply.headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            code: reply.status.as_u16(),
            content_type: header(CONTENT_TYPE).unwrap_or("").to_string(),
            retry_after: header(RETRY_AFTER).and_then(|value| value.parse().ok()),
            body: reply.body,
        }
    }
}

impl Answer {
    /// How long to wait until the webhook wants to be asked again, if it does.
    pub(super) fn come_back(&self) -> Option<Duration> {
        let wants = self.code == 429 || self.code >= 500;
        self.retry_after.filter(|_| wants).map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// The object that the answer is, of a built-in kind.
    ///
    /// # Errors
    /// [`CallError`] if it is an error, or no such object.
    pub fn object(&self, target: &Target) -> Result<Object, CallError> {
        if !(200..=206).contains(&self.code) {
            return Err(CallError::Answered(Box::new(self.error())));
        }
        if self.body.is_empty() {
            let (code, content_type) = (self.code, self.content_type.as_str());
            let content_type = if content_type.is_empty() { "application/json" } else { content_type };
            return Err(CallError::Malformed(format!(
                "0-length response with status code: {code} and content type: {content_type}"
            )));
        }
        if self.body.trim_ascii() == b"null" {
            return Ok(Object::default());
        }
        if let Some(why) = other_kind(&self.stated(), target) {
            return Err(CallError::Malformed(why));
        }
        let decoded = if self.body.len() > decode::BODY_BYTES_MAX {
            // Answers may be longer than requests.
            let value = decode::decode_untyped(&self.body, self.format()).map_err(CallError::Malformed)?;
            decode::decode_value(value, target, FieldValidation::Ignore)
        } else {
            decode::decode(&self.body, self.format(), target, FieldValidation::Ignore)
        };
        decoded.map(|decoded| decoded.object).map_err(|error| CallError::Malformed(told(error)))
    }

    /// The kind that the answer says it is; empty where it says nothing.
    pub fn stated(&self) -> GroupVersionKind {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Stated {
            #[serde(default)]
            api_version: String,
            #[serde(default)]
            kind: String,
        }
        let stated: Option<Stated> = serde_json::from_slice(&self.body).ok();
        let (api_version, kind) = stated.map_or_else(Default::default, |stated| (stated.api_version, stated.kind));
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        GroupVersionKind { group: group.into(), version: version.into(), kind }
    }

    /// What does not begin as a JSON object is taken for YAML, in which a text without quotes is no error.
    fn format(&self) -> Format {
        if self.body.trim_ascii_start().starts_with(b"{") { Format::Json } else { Format::Yaml }
    }

    /// The `Status` that the answer is.
    fn status(&self) -> Option<Status> {
        #[derive(serde::Deserialize)]
        struct Kind {
            #[serde(default)]
            kind: String,
        }
        let stated: Kind = serde_json::from_slice(&self.body).ok()?;
        if stated.kind != "Status" { None } else { serde_json::from_slice(&self.body).ok() }
    }

    /// What an answer says that is an error (`Result.Error`).
    pub(crate) fn error(&self) -> Status {
        let stated: Option<Status> = self.status().or_else(|| serde_json::from_slice(&self.body).ok());
        let is_failure =
            |status: &Status| status.status == "Failure" && (status.kind.is_empty() || status.kind == "Status");
        stated.filter(is_failure).unwrap_or_else(|| self.unstructured())
    }

    /// `newUnstructuredResponseError`
    fn unstructured(&self) -> Status {
        let is_text = self.content_type.is_empty() || self.content_type.starts_with("text/");
        let shown = &self.body[..self.body.len().min(SHOWN_BYTES_MAX)];
        let said = if is_text { String::from_utf8_lossy(shown).trim().to_string() } else { "unknown".into() };
        generic(self.code, said, self.retry_after.unwrap_or(0))
    }
}

/// What client-go says of an answer that says it is of another kind.
fn other_kind(stated: &GroupVersionKind, target: &Target) -> Option<String> {
    const SCHEME: &str = "k8s.io/apiserver/pkg/util/webhook/client.go:71";
    const VERSIONS: [&str; 2] = ["v1", "v1beta1"];
    let (version, kind) = (&stated.version, &stated.kind);
    if kind.is_empty() || version.is_empty() {
        return None;
    }
    let is_review = stated.group == target.group && *kind == target.kind && VERSIONS.contains(&version.as_str());
    if is_review && *version == target.version {
        return None;
    }
    let is_status = stated.group.is_empty() && version == "v1" && kind == "Status";
    if is_review || is_status {
        return Some(format!(
            "converting ({version}.{kind}) to ({}.{}): unknown conversion",
            target.version, target.kind
        ));
    }
    Some(format!("no kind {kind:?} is registered for version {:?} in scheme {SCHEME:?}", stated.api_version()))
}

/// What is wrong with an object.
fn told(error: DecodeError) -> String {
    match error {
        DecodeError::TooLarge | DecodeError::OtherVersion { .. } => error.to_string(),
        other => other.why(),
    }
}

/// `NewGenericServerResponse` for a POST that is about no resource.
fn generic(code: u16, said: String, retry_after_seconds: u32) -> Status {
    let (reason, message) = match code {
        409 => ("AlreadyExists", "the server reported a conflict".into()),
        404 => ("NotFound", "the server could not find the requested resource".into()),
        400 => ("BadRequest", "the server rejected our request for an unknown reason".into()),
        401 => ("Unauthorized", "the server has asked for the client to provide credentials".into()),
        403 => ("Forbidden", said.clone()),
        406 if said.is_empty() || said == "unknown" => {
            ("NotAcceptable", "the server was unable to respond with a content type that the client supports".into())
        }
        406 => ("NotAcceptable", said.clone()),
        415 => ("UnsupportedMediaType", said.clone()),
        405 => ("MethodNotAllowed", "the server does not allow this method on the requested resource".into()),
        422 => ("Invalid", "the server rejected our request due to an error in our request".into()),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request".into()),
        504 => (
            "Timeout",
            "the server was unable to return a response in the time allotted, but may still be processing the request"
                .into(),
        ),
        429 => {
            ("TooManyRequests", "the server has received too many requests and has asked us to try again later".into())
        }
        500.. => (
            "InternalError",
            format!(
                "an error on the server ({}) has prevented the request from succeeding",
                api::go::strconv::quote(&said)
            ),
        ),
        _ => ("", format!("the server responded with the status code {code} but did not return more information")),
    };
    let cause = StatusCause { reason: "UnexpectedServerResponse".into(), message: said, field: String::new() };
    let details = StatusDetails { causes: vec![cause], retry_after_seconds, ..StatusDetails::default() };
    Status::failure(code, reason, message).with_details(details)
}
