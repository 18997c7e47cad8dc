//! The second stage: what is noted of a request on its way.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use api::{Status, UserInfo};
use axum::body::Body;
use http::header::{AUTHORIZATION, HeaderName, USER_AGENT};
use http::{HeaderMap, HeaderValue, Response};
use jiff::Timestamp;

use super::Asked;
use super::inflight::TooMany;
use crate::audit::policy::{Level, Stage};
use crate::audit::{Audit as Policy, Received, Trail};
use crate::authorization::Attributes;
use crate::clock;
use crate::content::Representation;
use crate::flow_control::Flow;
use crate::plug::{Notes, PeerCertificate};
use crate::server::connections::Seat;
use crate::{Registry, answer, content};

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
const WARNING: HeaderName = HeaderName::from_static("warning");
/// How long an audit id from a client may be.
pub(crate) const AUDIT_ID_LENGTH_MAX: usize = 64;
/// How many addresses that a client names are kept.
const SOURCES_MAX: usize = 32;
/// How long all warnings of an answer together may be, in characters; more are cut short (`endpoints/filters/warning`).
const WARNINGS_CHARS_MAX: usize = 4 * 1024;
/// How long each is then.
const CUT_WARNING_CHARS: usize = 256;

/// What the stages note of a request beside its answer, also where that is an error: for the answer's headers and the metrics.
#[derive(Default)]
pub struct Event {
    /// What the client is warned of.
    pub warnings: Vec<String>,
    /// Warnings and annotations about the credentials.
    pub credentials: Option<Arc<Notes>>,
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
    /// What is written down of it; none if nothing is.
    pub(crate) trail: Option<Arc<Trail>>,
}

/// A request of which is noted what becomes of it.
pub(super) struct Audit {
    /// What was noted so far.
    pub(super) event: Event,
    /// The number that the client gave.
    given: Option<HeaderValue>,
    /// How an error is written.
    errors: Option<Representation>,
    /// When the request came, if that is written down.
    received: Option<Timestamp>,
}

impl Audit {
    /// Begins with a request that nobody looked into yet.
    pub(super) fn begin(registry: &Registry, asked: &Asked) -> Self {
        let headers = &asked.parts.headers;
        let is_audited = registry.config().audit.is_some();
        Self {
            event: Event::default(),
            given: headers.get(AUDIT_ID).filter(|id| id.len() <= AUDIT_ID_LENGTH_MAX).cloned(),
            errors: content::of_errors(headers, &asked.query),
            received: is_audited.then(|| registry.clock().now()),
        }
    }

    /// What is to be written down of a request of this user; of nobody, if it could not be let in.
    pub(super) fn trail(&self, registry: &Registry, asked: &Asked, user: Option<&Arc<UserInfo>>) -> Option<Arc<Trail>> {
        begin_trail(registry, asked, user.cloned(), self.given.as_ref(), self.received)
    }

    /// The request is let in: from now on it is written down.
    ///
    /// # Errors
    /// If it must be written down and cannot.
    pub(super) async fn known(&mut self, trail: Option<Arc<Trail>>) -> Result<(), Status> {
        let Some(trail) = trail else { return Ok(()) };
        for (name, text) in self.event.credentials.iter().flat_map(|notes| &notes.annotations) {
            trail.annotate(name.clone(), text.clone());
        }
        if !trail.reach(Stage::RequestReceived).await {
            return Err(Status::internal("failed to store audit event"));
        }
        self.event.trail = Some(trail);
        Ok(())
    }

    /// Ends with the answer, in whose headers it tells what was noted.
    pub(super) fn end(self, answered: Result<Response<Body>, Status>) -> (Response<Body>, Event) {
        let Self { mut event, given, errors, .. } = self;
        if let Some(trail) = &event.trail {
            let code = answered.as_ref().map_or_else(|status| status.code, |response| response.status().as_u16());
            trail.answered(code, answered.as_ref().err());
        }
        let refused = answered.as_ref().err().and_then(TooMany::of);
        event.terminated = refused.is_some();
        let mut response = match refused {
            Some(refused) => answer::too_many_requests(refused.retry_after_seconds),
            None => answered.unwrap_or_else(|status| answer::error(&status, errors.as_ref())),
        };
        let headers = response.headers_mut();
        let own = || event.audit_id.clone().or_else(|| event.trail.as_ref().map(|trail| trail.id()));
        if let Some(id) = given.or_else(|| HeaderValue::from_str(&own()?).ok()) {
            headers.insert(AUDIT_ID, id);
        }
        if let Some(flow) = &event.flow {
            flow.set_headers(headers);
        }
        add_warnings(headers, &event.warnings);
        (response, event)
    }
}

/// Nobody knows whose request it is, and that is written down (`WithFailedAuthenticationAudit`).
pub(super) async fn unknown(trail: Option<Arc<Trail>>, tried: String, code: u16) {
    if let Some(trail) = trail {
        trail.explained(tried, code);
        trail.reach(Stage::ResponseStarted).await;
    }
}

/// Begins to write down a request, if the policy says so; one of nobody is one that could not be let in.
fn begin_trail(
    registry: &Registry,
    asked: &Asked,
    user: Option<Arc<UserInfo>>,
    given: Option<&HeaderValue>,
    received: Option<Timestamp>,
) -> Option<Arc<Trail>> {
    let policy: &Arc<Policy> = registry.config().audit.as_ref()?;
    let nobody = UserInfo::default();
    let decision = policy.decide(&Attributes::of(user.as_deref().unwrap_or(&nobody), &asked.info));
    if decision.level == Level::None {
        return None;
    }
    let headers = &asked.parts.headers;
    let id = given.and_then(|id| id.to_str().ok()).map(str::to_owned);
    let agent = headers.get(USER_AGENT).and_then(|agent| std::str::from_utf8(agent.as_bytes()).ok()).unwrap_or("");
    let uri = asked.parts.uri.path_and_query().map_or("", |uri| uri.as_str()).to_owned();
    let received = Received {
        id: id.unwrap_or_else(|| clock::uuid(registry.clock())),
        uri,
        info: &asked.info,
        user,
        sources: sources(asked),
        agent,
        at: received.unwrap_or_else(|| registry.clock().now()),
    };
    Some(Trail::new(policy.clone(), decision, received))
}

/// From where a request came, from the client to here (`SourceIPs` in apimachinery's `util/net`). All but the last is what the client
/// says.
fn sources(asked: &Asked) -> Vec<String> {
    let headers = &asked.parts.headers;
    let texts = |name: &str| headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>();
    let parse = |text: &str| text.trim().parse::<IpAddr>().ok();
    let mut all: Vec<IpAddr> = texts("x-forwarded-for")
        .first()
        .into_iter()
        .flat_map(|text| text.split(','))
        .filter_map(parse)
        .take(SOURCES_MAX)
        .collect();
    if let Some(real) = texts("x-real-ip").first().and_then(|text| parse(text)).filter(|real| !all.contains(real)) {
        all.push(real);
    }
    // What asks in this process comes from this machine.
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let from = asked.parts.extensions.get::<Arc<Seat>>().map_or(here, |seat| seat.client());
    if all.last() != Some(&from) {
        all.push(from);
    }
    all.iter().map(ToString::to_string).collect()
}

/// What is told of a request that could not be let in (`getAuthMethods`).
pub(super) fn methods_tried(asked: &Asked) -> String {
    let authorization = asked.parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or("");
    let scheme = authorization.trim().split(' ').next().unwrap_or("").to_ascii_lowercase();
    let has_certificate = asked.parts.extensions.get::<PeerCertificate>().is_some();
    let tried = [
        ("basic", scheme == "basic"),
        ("bearer", scheme == "bearer"),
        ("access_token", !asked.query.text("access_token").trim().is_empty()),
        ("x509", has_certificate),
    ];
    let tried: Vec<&str> = tried.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect();
    match tried.as_slice() {
        [] => "Authentication failed, no credentials provided".into(),
        tried => format!("Authentication failed, attempted: {}", tried.join(", ")),
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
