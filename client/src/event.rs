//! Events: what a component did to an object, for people to read.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::event_correlator::{Correlator, Fingerprint, Verdict};
use crate::event_queue::{EventQueue, cut};

/// Whether an event tells of something expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// Expected.
    Normal,
    /// Something went wrong.
    Warning,
}

impl EventType {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

struct Said {
    object: ObjectReference,
    type_: EventType,
    reason: String,
    message: String,
}

/// Writes events in the background. Clones share one queue; recording never waits.
#[derive(Clone)]
pub struct EventRecorder(EventQueue<Said>);

impl EventRecorder {
    /// Events of `component` (on `host`, if it lives on a node), written through `client` until `token` is cancelled.
    pub fn start(
        client: Client,
        component: impl Into<String>,
        host: Option<String>,
        clock: Clock,
        token: CancellationToken,
    ) -> Self {
        let writer = Writer {
            client,
            component: component.into(),
            host,
            clock: clock.clone(),
            correlator: Correlator::default(),
        };
        Self(EventQueue::start(clock, token, |said| writer.run(said)))
    }

    /// Records an event about a typed object.
    pub fn event<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        type_: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let mut reference = object.object_ref(&());
        reference.resource_version = object.meta().resource_version.clone();
        self.event_about(reference, type_, reason, message);
    }

    /// Records an event about the object that `object` refers to.
    pub fn event_about(&self, object: ObjectReference, type_: EventType, reason: &str, message: impl Into<String>) {
        self.0.add(Said { object, type_, reason: reason.to_owned(), message: cut(message.into(), "") });
    }
}

struct Writer {
    client: Client,
    component: String,
    host: Option<String>,
    clock: Clock,
    correlator: Correlator,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<(Said, Timestamp)>) {
        while let Some((said, at)) = queue.recv().await {
            if let Err(error) = self.write(&said, at).await {
                tracing::debug!(component = self.component, reason = said.reason, %error, "an event was not written");
            }
        }
    }

    async fn write(&mut self, said: &Said, at: Timestamp) -> Result<(), kube::Error> {
        let namespace = said.object.namespace.clone().filter(|n| !n.is_empty()).unwrap_or_else(|| "default".into());
        let api = Api::<Event>::namespaced(self.client.clone(), &namespace);
        let (key, verdict) = self.correlator.observe(&fingerprint(said), self.clock.elapsed());
        let message = match verdict {
            Verdict::Drop => return Ok(()),
            Verdict::Create { message } => message,
            Verdict::Count { name, count, message } => {
                let patch = serde_json::json!({
                    "count": count, "message": message, "lastTimestamp": Time(at),
                });
                match api.patch(&name, &PatchParams::default(), &Patch::Strategic(patch)).await {
                    Err(kube::Error::Api(status)) if status.is_not_found() => self.correlator.forget(&key),
                    other => return other.map(|_| ()),
                }
                message
            }
        };
        let event = self.event(said, at, namespace, message);
        let name = event.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &event).await?;
        self.correlator.recorded(key, name, self.clock.elapsed());
        Ok(())
    }

    fn event(&self, said: &Said, at: Timestamp, namespace: String, message: String) -> Event {
        let name = event_name(said.object.name.as_deref().unwrap_or_default(), at, &self.clock);
        Event {
            metadata: ObjectMeta { name: Some(name), namespace: Some(namespace), ..ObjectMeta::default() },
            involved_object: said.object.clone(),
            type_: Some(said.type_.name().into()),
            reason: Some(said.reason.clone()),
            message: Some(message),
            count: Some(1),
            first_timestamp: Some(Time(at)),
            last_timestamp: Some(Time(at)),
            source: Some(EventSource { component: Some(self.component.clone()), host: self.host.clone() }),
            reporting_component: Some(self.component.clone()),
            reporting_instance: self.host.clone(),
            ..Event::default()
        }
    }
}

/// The name of a new event about an object (`GenerateEventName` in client-go).
pub(crate) fn event_name(object: &str, at: Timestamp, clock: &Clock) -> String {
    // A manual clock stands still, so the name needs more than the time to be unique.
    let stamp = (at.as_nanosecond() as u64) ^ (clock.random_bits() >> 44);
    format!("{object}.{stamp:x}")
}

fn fingerprint(said: &Said) -> Fingerprint {
    let o = &said.object;
    let parts = [&o.api_version, &o.kind, &o.namespace, &o.name, &o.uid, &o.field_path];
    let parts: Vec<&str> = parts.iter().map(|p| p.as_deref().unwrap_or_default()).collect();
    Fingerprint {
        object: parts.join("/"),
        type_: said.type_.name().into(),
        reason: said.reason.clone(),
        message: said.message.clone(),
    }
}
