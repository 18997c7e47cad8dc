//! What every step of a request knows about it.

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use api::decode::FieldValidation;
use api::{Object, UserInfo};
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::audit::policy::Level;
use crate::audit::{Layer, Trail};
use crate::chain::inflight::{Place, TooMany};
use crate::chain::limit::{Later, Limited};
use crate::request::Query;
use crate::{Registry, RequestInfo};

/// How long the work on a request may take that changes something (`requestTimeoutUpperBound`).
const WORK_TIME_MAX: Duration = Duration::from_secs(34);
/// How many warnings there may be; an answer has room for fewer.
const WARNINGS_MAX: usize = 1_024;

/// Options that all writes share.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// Everything but the commit happens.
    pub dry_run: bool,
    /// The manager of the fields written: `fieldManager`, or the start of the user agent.
    pub field_manager: String,
    /// The manager as the client named it; empty if it named none.
    pub given_manager: String,
    /// The treatment of unknown fields as the client named it.
    pub given_validation: String,
    /// How unknown and duplicate fields are treated.
    pub field_validation: FieldValidation,
    /// Takes fields over from other managers (apply only).
    pub force: bool,
}

/// One request on its way through the server.
pub struct Context {
    /// Who asks, after impersonation.
    pub user: Arc<UserInfo>,
    /// What is asked.
    pub info: Arc<RequestInfo>,
    /// Options of a write.
    pub options: WriteOptions,
    /// When the request came in.
    pub now: Timestamp,
    /// Objects, the catalogue, the clock, and what is plugged in.
    pub registry: Registry,
    /// A number of its own for each request, which the answer names.
    pub audit_id: String,
    /// When the work on it must be done.
    until: Instant,
    warnings: Mutex<Vec<String>>,
    trail: Option<Arc<Trail>>,
    later: Option<Later>,
    place: Mutex<Option<Place>>,
}

impl Context {
    /// A request by `user`.
    pub fn new(user: Arc<UserInfo>, info: Arc<RequestInfo>, options: WriteOptions, registry: Registry) -> Self {
        let now = registry.clock().now();
        let audit_id = crate::clock::uuid(registry.clock());
        let until = registry.clock().instant() + WORK_TIME_MAX;
        let (warnings, place) = (Mutex::default(), Mutex::default());
        Self { user, info, options, now, registry, audit_id, until, warnings, trail: None, later: None, place }
    }

    /// The same for a client that gives its request less time.
    pub(crate) fn within(self, time: Option<Duration>) -> Self {
        let less = time.filter(|time| *time < WORK_TIME_MAX);
        let until = less.map_or(self.until, |less| self.until - (WORK_TIME_MAX - less));
        Self { until, ..self }
    }

    /// How long what is asked of others for this request may still take.
    pub fn time_left(&self) -> Duration {
        self.until.saturating_duration_since(self.registry.clock().instant())
    }

    /// The same for a request that counts among those under way: with its place, or with where it gets one later.
    pub(crate) fn limited(self, limited: Limited) -> Self {
        Self { later: limited.later, place: Mutex::new(limited.place), ..self }
    }

    /// The same for a request of which something is written down; the two have one number.
    pub(crate) fn audited(self, trail: Option<Arc<Trail>>) -> Self {
        let audit_id = trail.as_ref().map_or(self.audit_id, |trail| trail.id());
        Self { audit_id, trail, ..self }
    }

    /// What is written down of the request; none if nothing is.
    pub fn trail(&self) -> Option<&Arc<Trail>> {
        self.trail.as_ref()
    }

    /// Notes something for the audit log; it is only made if there is one.
    pub fn annotate(&self, name: impl FnOnce() -> String, text: impl FnOnce() -> String) {
        if let Some(trail) = &self.trail {
            trail.annotate(name(), text());
        }
    }

    /// The same, only where what was sent is written down, too.
    pub(crate) fn annotate_request(&self, name: impl FnOnce() -> String, text: impl FnOnce() -> String) {
        if self.trail.as_ref().is_some_and(|trail| trail.level() >= Level::Request) {
            self.annotate(name, text);
        }
    }

    /// Does some work and notes for the audit log how long it took.
    pub(crate) async fn timed<T>(&self, layer: Layer, work: impl Future<Output = T>) -> T {
        let Some(trail) = &self.trail else { return work.await };
        let started = self.registry.clock().instant();
        let done = work.await;
        trail.took(layer, self.registry.clock().instant().saturating_duration_since(started));
        done
    }

    /// Notes for the audit log what was sent.
    pub fn sent(&self, object: &Object) {
        if let Some(trail) = &self.trail {
            trail.sent(object);
        }
    }

    /// Waits for a place among the requests under way, if this one needs one and has none.
    ///
    /// # Errors
    /// [`TooMany`] if there is none.
    pub(crate) async fn enter(&self) -> Result<(), TooMany> {
        let Some(later) = self.later.as_ref().filter(|_| self.place.lock().is_none()) else { return Ok(()) };
        // What has a body is as wide whatever its query says.
        let query = Query::default();
        let entering = later.enter(&self.registry, &self.user, &self.info, &query);
        let place = self.timed(Layer::Queue, entering).await?;
        *self.place.lock() = place;
        Ok(())
    }

    /// The place, which is taken out.
    pub(crate) fn take_place(&self) -> Option<Place> {
        self.place.lock().take()
    }

    /// A request that the server makes of itself, without a user's request behind it.
    pub fn internal(registry: &Registry) -> Self {
        let user = Arc::new(UserInfo::new("system:apiserver", &["system:masters"]));
        let options = WriteOptions { field_manager: "kube-apiserver".into(), ..Default::default() };
        Self::new(user, Arc::default(), options, registry.clone())
    }

    /// Adds a warning to the answer; the same text only once.
    pub fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        let mut warnings = self.warnings.lock();
        if !text.is_empty() && warnings.len() < WARNINGS_MAX && !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// The warnings so far, which are taken.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock())
    }
}
