//! What is known of one request that is written down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::{Object, Status, UserInfo};
use bytes::Bytes;
use jiff::Timestamp;
use metrics::Counter;
use parking_lot::Mutex;

use super::event::{Event, ObjectRef, Response};
use super::latency::{Latencies, Layer};
use super::policy::{Decision, Level, Stage};
use super::{Audit, Texts, recorded};
use crate::RequestInfo;

/// How many bytes of names and values are kept of the annotations of one request; what comes beyond is left out.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;
/// How much is kept of what a client calls itself.
const AGENT_BYTES_MAX: usize = 1024;

/// A request as it came.
pub struct Received<'a> {
    /// Its number.
    pub id: String,
    /// Path and query.
    pub uri: String,
    /// What is asked.
    pub info: &'a RequestInfo,
    /// Who asks, if that is known.
    pub user: Option<Arc<UserInfo>>,
    /// Whence.
    pub sources: Vec<String>,
    /// With what.
    pub agent: &'a str,
    /// When it came.
    pub at: Timestamp,
}

/// One request, from when its user is known until its answer is sent.
pub struct Trail {
    audit: Arc<Audit>,
    decision: Decision,
    event: Mutex<Event>,
    annotations_bytes: Mutex<usize>,
    latencies: Latencies,
    is_finished: AtomicBool,
}

impl Trail {
    /// A request of which something is written down.
    pub fn new(audit: Arc<Audit>, decision: Decision, received: Received<'_>) -> Arc<Self> {
        let Received { id, uri, info, user, sources, agent, at } = received;
        let object = info.is_resource_request.then(|| ObjectRef {
            resource: info.resource.clone(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            api_group: info.group.clone(),
            api_version: info.version.clone(),
            subresource: info.subresource.clone(),
            ..ObjectRef::default()
        });
        let mut user_agent = agent.to_owned();
        if user_agent.len() > AGENT_BYTES_MAX {
            let end = (0..=AGENT_BYTES_MAX).rev().find(|at| user_agent.is_char_boundary(*at)).unwrap_or(0);
            user_agent.truncate(end);
            user_agent.push_str("...TRUNCATED");
        }
        let event = Event {
            level: decision.level,
            id,
            uri,
            verb: info.verb.clone(),
            user,
            impersonated: None,
            sources,
            user_agent,
            object,
            response: None,
            request_object: None,
            response_object: None,
            received: at,
            annotations: BTreeMap::new(),
        };
        let (event, annotations_bytes) = (Mutex::new(event), Mutex::new(0));
        let (latencies, is_finished) = (Latencies::default(), AtomicBool::new(false));
        Arc::new(Self { audit, decision, event, annotations_bytes, latencies, is_finished })
    }

    /// The number of the request.
    pub fn id(&self) -> String {
        self.event.lock().id.clone()
    }

    /// How much is written down.
    pub fn level(&self) -> Level {
        self.decision.level
    }

    /// Notes a text under a name such as `authorization.k8s.io/decision`. The first text of a name stays (`logAnnotation`).
    pub fn annotate(&self, name: String, text: String) {
        let mut event = self.event.lock();
        let mut bytes = self.annotations_bytes.lock();
        let more = *bytes + name.len() + text.len();
        match event.annotations.get(&name) {
            Some(known) if *known == text => {}
            Some(_) => tracing::warn!(name, "an audit annotation is left out: there is another text of its name"),
            None if more > ANNOTATIONS_BYTES_MAX => {
                tracing::warn!(name, "an audit annotation is left out: they are too many")
            }
            None => {
                *bytes = more;
                event.annotations.insert(name, text);
            }
        }
    }

    /// A layer of the server took so long.
    pub(crate) fn took(&self, layer: Layer, time: Duration) {
        self.latencies.took(layer, time);
    }

    /// Notes how long it took, if that was long.
    fn note_latencies(&self) {
        let (received, is_watch) = {
            let event = self.event.lock();
            (event.received, event.verb == "watch")
        };
        let total = self.audit.clock.now().duration_since(received);
        let total = Duration::try_from(total).unwrap_or_default();
        for (name, text) in self.latencies.annotations(total) {
            if !is_watch {
                self.annotate(name, text);
            }
        }
    }

    /// What was noted.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        self.event.lock().annotations.clone()
    }

    /// Who the request counts as.
    pub fn impersonated(&self, user: Arc<UserInfo>) {
        self.event.lock().impersonated = Some(user);
    }

    /// What was sent (`LogRequestObject`).
    pub fn sent(&self, object: &Object) {
        let recorded = self.records_requests().then(|| recorded::of_object(object, self.decision.omit_managed_fields));
        let mut event = self.event.lock();
        if let Some(about) = &mut event.object {
            let metadata = [
                (&mut about.namespace, object.namespace()),
                (&mut about.name, object.name()),
                (&mut about.uid, object.uid()),
                (&mut about.resource_version, object.resource_version()),
            ];
            for (known, of_object) in metadata {
                if known.is_empty() {
                    of_object.clone_into(known);
                }
            }
        }
        if let Some(recorded) = recorded {
            event.request_object = recorded;
        }
    }

    /// The patch that was sent, in JSON or YAML (`LogRequestPatch`).
    pub fn sent_patch(&self, patch: &Bytes) {
        if self.records_requests() {
            let recorded = recorded::of_text(patch);
            self.event.lock().request_object = recorded;
        }
    }

    fn records_requests(&self) -> bool {
        self.decision.level >= Level::Request
    }

    /// Whether the answer is written down as well.
    pub fn records_responses(&self) -> bool {
        self.decision.level >= Level::RequestResponse
    }

    /// The code of the answer, and the status that it is, if it is one.
    pub fn answered(&self, code: u16, status: Option<&Status>) {
        let mut event = self.event.lock();
        match (status, &mut event.response) {
            (Some(status), response) => {
                let mut answered = Response::of(status);
                answered.code = code;
                *response = Some(answered);
            }
            (None, Some(response)) => response.code = code,
            (None, response @ None) => *response = Some(Response::code(code)),
        }
    }

    /// Only a text is known of the answer.
    pub fn explained(&self, text: impl Into<String>, code: u16) {
        self.event.lock().response = Some(Response::message(text, code));
    }

    /// The answer itself, in this media type; none if it was too long to be kept.
    pub fn answered_with(&self, media_type: &str, body: Option<&[u8]>) {
        let Some(body) = body else {
            return self.annotate("audit.k8s.io/truncated".into(), "true".into());
        };
        let recorded = recorded::of_answer(media_type, body, self.decision.omit_managed_fields);
        self.event.lock().response_object = recorded;
    }

    /// A stage is reached. Whether the request may go on.
    pub async fn reach(&self, stage: Stage) -> bool {
        if stage != Stage::RequestReceived && stage != Stage::ResponseStarted {
            self.is_finished.store(true, Ordering::Relaxed);
        }
        if stage == Stage::ResponseComplete {
            self.note_latencies();
        }
        if self.decision.omit.has(stage) {
            return true;
        }
        let texts = self.texts(stage);
        let may_go_on = self.audit.put(texts, stage).await;
        if !may_go_on && stage == Stage::RequestReceived {
            self.audit.counts.rejected.with([], Counter::add_one);
            return false;
        }
        true
    }

    /// The last stage is reached where nobody can wait; nothing if it was already.
    pub fn end_now(&self, stage: Stage) {
        if self.is_finished.swap(true, Ordering::Relaxed) || self.decision.omit.has(stage) {
            return;
        }
        self.audit.offer(self.texts(stage));
    }

    /// The event as each sink writes it.
    fn texts(&self, stage: Stage) -> Texts {
        let event = self.event.lock();
        let at = if stage == Stage::RequestReceived { event.received } else { self.audit.clock.now() };
        self.audit.texts(&event, stage, at)
    }

    /// Whether the answer may be a status although nothing went wrong.
    pub fn is_delete(&self) -> bool {
        self.event.lock().verb.starts_with("delete")
    }
}

/// Ends the trail of a request that is given up on its way.
pub(crate) struct Abandoned(Option<Arc<Trail>>);

impl Abandoned {
    /// Of a request that begins.
    pub(crate) fn new(trail: &Arc<Trail>) -> Self {
        Self(Some(trail.clone()))
    }

    /// It is answered, and not given up.
    pub(crate) fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        let Some(trail) = self.0.take().filter(|trail| !trail.is_finished.load(Ordering::Relaxed)) else { return };
        let message = "Timeout: request did not complete within the allotted timeout";
        trail.answered(504, Some(&Status::failure(504, "Timeout", message)));
        trail.end_now(Stage::ResponseComplete);
    }
}
