//! The second stage: what is noted of a request on its way.

use std::sync::Arc;

use api::Status;
use axum::body::Body;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Response};

use super::Asked;
use super::inflight::TooMany;
use crate::content::Representation;
use crate::flow_control::Flow;
use crate::{answer, content};

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
const WARNING: HeaderName = HeaderName::from_static("warning");
/// How long an audit id from a client may be.
pub(crate) const AUDIT_ID_LENGTH_MAX: usize = 64;
/// How long all warnings of an answer together may be, in characters; more are cut short (`endpoints/filters/warning`).
const WARNINGS_CHARS_MAX: usize = 4 * 1024;
/// How long each is then.
const CUT_WARNING_CHARS: usize = 256;

/// What the stages note of a request beside its answer, also where that is an error: for the answer's headers and the metrics.
#[derive(Debug, Default)]
pub struct Event {
    /// What the client is warned of.
    pub warnings: Vec<String>,
    /// The number that the request got; none before it is dispatched.
    pub audit_id: Option<String>,
    /// The flow that it belongs to; none for connections that last.
    pub flow: Option<Arc<Flow>>,
    /// Whether it was allowed and came to something that there is: no other request is counted by what it asks for.
    pub counts: bool,
    /// Whether the server cut it short for its own sake.
    pub terminated: bool,
    /// Whether it was for a service, and this server did not even ask that.
    pub refused_by_proxy: bool,
}

/// A request of which is noted what becomes of it.
pub(super) struct Audit {
    /// What was noted so far.
    pub(super) event: Event,
    /// The number that the client gave.
    given: Option<HeaderValue>,
    /// How an error is written.
    errors: Option<Representation>,
}

impl Audit {
    /// Begins with a request that nobody looked into yet.
    pub(super) fn begin(asked: &Asked) -> Self {
        let headers = &asked.parts.headers;
        Self {
            event: Event::default(),
            given: headers.get(AUDIT_ID).filter(|id| id.len() <= AUDIT_ID_LENGTH_MAX).cloned(),
            errors: content::of_errors(headers, &asked.query),
        }
    }

    /// Ends with the answer, in whose headers it tells what was noted.
    pub(super) fn end(self, answered: Result<Response<Body>, Status>) -> (Response<Body>, Event) {
        let Self { mut event, given, errors } = self;
        let refused = answered.as_ref().err().and_then(TooMany::of);
        event.terminated = refused.is_some();
        let mut response = match refused {
            Some(refused) => answer::too_many_requests(refused.retry_after_seconds),
            None => answered.unwrap_or_else(|status| answer::error(&status, errors.as_ref())),
        };
        let headers = response.headers_mut();
        if let Some(id) = given.or_else(|| HeaderValue::from_str(event.audit_id.as_ref()?).ok()) {
            headers.insert(AUDIT_ID, id);
        }
        if let Some(flow) = &event.flow {
            flow.set_headers(headers);
        }
        add_warnings(headers, &event.warnings);
        (response, event)
    }
}

/// `299 - "text"`; if all together are too long, the beginning of each for as long as there is room (`recorder.AddWarning`).
fn add_warnings(headers: &mut HeaderMap, warnings: &[String]) {
    let all: usize = warnings.iter().map(|text| text.chars().count()).sum();
    let each = if all <= WARNINGS_CHARS_MAX { all } else { CUT_WARNING_CHARS };
    let mut written = 0;
    for text in warnings {
        if written >= WARNINGS_CHARS_MAX {
            return;
        }
        // A header has no control characters, and such a warning is none (`NewWarningHeader`).
        if text.chars().any(char::is_control) {
            continue;
        }
        let mut quoted = String::with_capacity(text.len().min(each) + 8);
        for c in text.chars().take(each) {
            written += 1;
            if matches!(c, '"' | '\\') {
                quoted.push('\\');
            }
            quoted.push(c);
        }
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            headers.append(WARNING, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_whole_or_all_cut() {
        let lengths = |warnings: &[String]| {
            let mut headers = HeaderMap::new();
            add_warnings(&mut headers, warnings);
            headers.get_all(WARNING).iter().map(|value| value.len() - "299 - \"\"".len()).collect::<Vec<_>>()
        };
        let long = |length: usize| "x".repeat(length);
        assert_eq!(lengths(&[long(4_000), long(96)]), [4_000, 96]);
        assert_eq!(lengths(&[long(4_000), long(97)]), [256, 97]);
        let many: Vec<String> = (0..100).map(|_| long(1_000)).collect();
        assert_eq!(lengths(&many), [256; 16]);
        let mut headers = HeaderMap::new();
        add_warnings(&mut headers, &["a\nb".to_string(), "a \"b\" \\".to_string()]);
        assert_eq!(headers[WARNING], "299 - \"a \\\"b\\\" \\\\\"");
    }
}
