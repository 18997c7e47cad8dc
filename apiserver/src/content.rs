//! What a client sends and what it wants back: media types, and the transformations asked for with them
//! (apiserver's `endpoints/handlers/negotiation`).

mod accept;

pub use accept::{Clause, clauses};
use api::Status;
pub use api::decode::Format;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};

use crate::request::Query;

/// The formats that can be written, the preferred first.
pub const FORMATS: [Format; 3] = [Format::Json, Format::Yaml, Format::Protobuf];

/// The formats of watches, as they are told.
pub const STREAMS: [&str; 2] = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];

/// The media type of a format.
pub fn media_type(format: Format) -> &'static str {
    match format {
        Format::Json => "application/json",
        Format::Yaml => "application/yaml",
        Format::Protobuf => "application/vnd.kubernetes.protobuf",
    }
}

/// What the client wants instead of the object itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transform {
    /// The object.
    #[default]
    None,
    /// A table of what people want to see, in `meta.k8s.io` of this version.
    Table(&'static str),
    /// Metadata only.
    PartialObjectMetadata(&'static str),
    /// Metadata only, of a list.
    PartialObjectMetadataList(&'static str),
}

/// The representation that was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Representation {
    /// The encoding.
    pub format: Format,
    /// The transformation.
    pub transform: Transform,
    /// Indented JSON.
    pub pretty: bool,
}

impl Default for Representation {
    fn default() -> Self {
        Self { format: Format::Json, transform: Transform::None, pretty: false }
    }
}

impl Representation {
    /// Whether stored JSON goes out as it is.
    pub fn is_plain_json(&self) -> bool {
        self.format == Format::Json && self.transform == Transform::None && !self.pretty
    }
}

/// Agrees on a representation with the `Accept` header.
///
/// # Errors
/// 406 if none of those accepted can be made.
pub fn negotiate(headers: &HeaderMap, query: &Query) -> Result<Representation, Status> {
    negotiate_among(headers, query, |_, _| true)
}

/// As [`negotiate`], where `allowed` may turn down what an endpoint cannot do.
///
/// # Errors
/// 406 if none of those accepted can be made.
pub fn negotiate_among(
    headers: &HeaderMap,
    query: &Query,
    allowed: impl Fn(Format, Transform) -> bool,
) -> Result<Representation, Status> {
    let pretty = is_pretty(headers, query);
    let Some(accept) = headers.get(ACCEPT).and_then(|v| v.to_str().ok()).filter(|v| !v.is_empty()) else {
        return Ok(Representation { pretty, ..Default::default() });
    };
    for clause in clauses(accept) {
        for format in FORMATS.into_iter().filter(|format| clause.fits(media_type(*format))) {
            if let Some(transform) = transform_of(&clause, format).filter(|t| allowed(format, *t)) {
                let pretty = pretty || clause.param("pretty") == Some("1");
                return Ok(Representation { format, transform, pretty });
            }
        }
    }
    Err(not_negotiated(&FORMATS.map(media_type)))
}

/// The format in which an error is told; none if the client takes only what an error cannot be put in.
pub fn of_errors(headers: &HeaderMap, query: &Query) -> Option<Representation> {
    negotiate_among(headers, query, |_, transform| transform == Transform::None).ok()
}

/// 406, since none of the clauses of the `Accept` header can be met.
pub fn not_negotiated(accepted: &[&str]) -> Status {
    let message = format!("only the following media types are accepted: {}", accepted.join(", "));
    Status::failure(406, "NotAcceptable", message)
}

/// Whether a path that answers in the usual formats, and in a stream if it is watched, takes a request with this
/// `Accept` header. Parameters are not looked at.
///
/// # Errors
/// 406 with what can be made.
pub fn accepts(headers: &HeaderMap, streams: bool) -> Result<(), Status> {
    accepts_one_of(headers, &FORMATS.map(media_type), if streams { &STREAMS } else { &[] })
}

/// As [`accepts`], for a path that answers in these media types.
///
/// # Errors
/// 406 with what can be made.
pub fn accepts_one_of(headers: &HeaderMap, types: &[&str], streams: &[&str]) -> Result<(), Status> {
    let accept = headers.get(ACCEPT).and_then(|v| v.to_str().ok()).filter(|accept| !accept.is_empty()).unwrap_or("*/*");
    let fits = accept.split(',').map(|clause| clause.split(';').next().unwrap_or("").trim());
    if fits.into_iter().any(|media_type| media_type == "*/*" || types.contains(&media_type)) {
        return Ok(());
    }
    let list = [types, streams].concat().join(", ");
    Err(Status::failure(406, "NotAcceptable", format!("406: Not Acceptable\n\nAvailable representations: {list}"))
        .with_details(Default::default()))
}

/// The format of a request's body.
///
/// # Errors
/// 415 if the content type is not known.
pub fn body_format(headers: &HeaderMap) -> Result<Format, Status> {
    let text = headers.get(CONTENT_TYPE).map_or("", |v| v.to_str().unwrap_or("?"));
    if text.is_empty() {
        return Ok(Format::Json);
    }
    let format = api::go::mime::media_type(text).ok().and_then(|media_type| Format::of_content_type(&media_type));
    format.ok_or_else(|| unsupported(&FORMATS.map(media_type)))
}

/// The error for a body in a media type that is none of `accepted`.
pub fn unsupported(accepted: &[&str]) -> Status {
    let list = accepted.join(", ");
    let message = format!("the body of the request was in an unknown format - accepted media types include: {list}");
    Status::failure(415, "UnsupportedMediaType", message)
}

/// The error for a patch in a media type that the path does not take.
pub fn unsupported_patch() -> Status {
    Status::failure(415, "UnsupportedMediaType", "415: Unsupported Media Type").with_details(Default::default())
}

/// As [`unsupported_patch`], for custom resources.
pub fn unsupported_custom_patch() -> Status {
    let message = "the body of the request was in an unknown format - accepted media types include: \
                   application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
    Status::failure(415, "UnsupportedMediaType", message)
}

/// Indented output for people: on request, and for the clients that only people use.
pub fn is_pretty(headers: &HeaderMap, query: &Query) -> bool {
    if let Some(text) = query.get("pretty").filter(|t| !t.is_empty()) {
        return api::go::strconv::parse_bool(text) == Some(true);
    }
    let agent = headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or("");
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|person| agent.starts_with(person))
}

/// The transformation that a clause asks for in a format; none if there is no such transformation.
fn transform_of(clause: &Clause<'_>, format: Format) -> Option<Transform> {
    let stream = clause.param("stream").unwrap_or("");
    if !stream.is_empty() && (stream != "watch" || format == Format::Yaml) {
        return None;
    }
    if clause.param("sv").is_some_and(|version| !version.is_empty() && version != "v1") {
        return None;
    }
    if ["as", "g", "v"].into_iter().all(|name| clause.param(name).is_none()) {
        return Some(Transform::None);
    }
    if clause.param("g") != Some("meta.k8s.io") {
        return None;
    }
    let version = match clause.param("v") {
        Some("v1") => "v1",
        Some("v1beta1") => "v1beta1",
        _ => return None,
    };
    match clause.param("as")? {
        "Table" => Some(Transform::Table(version)),
        "PartialObjectMetadata" => Some(Transform::PartialObjectMetadata(version)),
        "PartialObjectMetadataList" => Some(Transform::PartialObjectMetadataList(version)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &str, expected: Option<(Format, Transform)>) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        let found = negotiate(&headers, &Query::default()).ok().map(|r| (r.format, r.transform));
        assert_eq!(found, expected, "{accept}");
    }

    #[test]
    fn bodies_are_of_types_that_can_be_read() {
        for (text, expected) in [
            ("", Some(Format::Json)),
            ("application/json; charset=utf-8", Some(Format::Json)),
            ("application/yaml;", Some(Format::Yaml)),
            ("application/json; charset", None),
            ("application/json; a=b; a=c", None),
            (";", None),
            ("text/json", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, text.parse().unwrap());
            let found = body_format(&headers).map_err(|status| status.code);
            assert_eq!(found, expected.ok_or(415), "{text}");
        }
    }

    #[test]
    fn the_first_that_can_be_made_wins() {
        check("*/*", Some((Format::Json, Transform::None)));
        check("application/yaml", Some((Format::Yaml, Transform::None)));
        check("application/pdf", None);
        check("application/pdf, application/json;q=0.5", Some((Format::Json, Transform::None)));
        check(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            Some((Format::Json, Transform::Table("v1"))),
        );
        check("application/json;as=Nope;v=v1;g=meta.k8s.io, application/json", Some((Format::Json, Transform::None)));
        check("application/vnd.kubernetes.protobuf,application/json", Some((Format::Protobuf, Transform::None)));
        check("*/*, application/yaml;q=0.1", Some((Format::Yaml, Transform::None)));
        check("application/yaml;stream=watch", None);
        check("application/yaml;stream=watch, application/json;sv=v2, */*", Some((Format::Json, Transform::None)));
    }
}
