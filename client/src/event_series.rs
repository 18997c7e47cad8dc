//! Events of `events.k8s.io/v1`, as kube-scheduler writes them (`tools/events` in client-go): one object a kind of event,
//! with a series for those that happen again. The first repetition is written at once, later ones when the series ends
//! or has been silent here for long.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::event::{EventType, event_name};
use crate::event_queue::{EventQueue, cut};

/// What does not happen again for so long is over (`finishTime`).
const FINISH: Duration = Duration::from_secs(360);
/// A series that goes on is written as often, so that it is not forgotten by the API server (`refreshTime`).
const REFRESH: Duration = Duration::from_secs(1_800);
/// How much later it may be, so that many are looked at together.
const SLACK: Duration = Duration::from_secs(60);
/// How many kinds of events are remembered; the longest silent are forgotten for others.
const KINDS_MAX: usize = 4096;
/// What ends a text that was cut (`truncateMessage` in the scheduler).
const CUT: &str = " ...";

/// What happened to an object.
#[derive(Debug, Clone)]
pub struct Note {
    /// What the event is about.
    pub regarding: ObjectReference,
    /// What else has to do with it.
    pub related: Option<ObjectReference>,
    /// Whether it was expected.
    pub type_: EventType,
    /// Why, in one word.
    pub reason: &'static str,
    /// What was being done, in one word.
    pub action: &'static str,
    /// What happened, for people.
    pub note: String,
}

/// Writes events in the background. Clones share one queue; recording never waits.
#[derive(Clone)]
pub struct SeriesRecorder(EventQueue<Note>);

impl SeriesRecorder {
    /// Events of `controller` on `host`, written through `client` until `token` is cancelled.
    pub fn start(client: Client, controller: &str, host: &str, clock: Clock, token: CancellationToken) -> Self {
        let writer = Writer {
            client,
            controller: controller.into(),
            instance: format!("{controller}-{host}"),
            clock: clock.clone(),
            series: Series::default(),
        };
        Self(EventQueue::start(clock, token, |noted| writer.run(noted)))
    }

    /// Records an event; a text that is too long is cut.
    pub fn note(&self, note: Note) {
        self.0.add(Note { note: cut(note.note, CUT), ..note });
    }
}

/// What tells kinds of events apart (`eventKey`). The text does not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind(String);

impl Kind {
    fn of(note: &Note) -> Self {
        let reference = |object: &ObjectReference| {
            let parts = [
                &object.api_version,
                &object.kind,
                &object.namespace,
                &object.name,
                &object.uid,
                &object.resource_version,
                &object.field_path,
            ];
            parts.map(|part| part.as_deref().unwrap_or_default()).join("/")
        };
        let related = note.related.as_ref().map(reference).unwrap_or_default();
        Self([note.type_.name(), note.reason, note.action, &reference(&note.regarding), &related].join("|"))
    }
}

/// A kind of event that was written.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    event: Event,
    /// How often it happened.
    count: i32,
    /// When it happened last, by both clocks.
    last: (Duration, jiff::Timestamp),
    /// When it was written, and with which count.
    written: (Duration, i32),
}

/// What is to be written.
#[derive(Debug, PartialEq)]
enum Write {
    /// A new event.
    First(Event),
    /// The count of one that was written before.
    Again(Known),
}

/// The kinds of events that are not over.
#[derive(Default)]
struct Series {
    known: HashMap<Kind, Known>,
    /// Nothing is over, or has to be refreshed, before this.
    due: Option<Duration>,
}

impl Series {
    /// Takes note of an event; `made` makes the object of one that is new. What is to be written at once.
    fn observe(&mut self, kind: Kind, now: (Duration, jiff::Timestamp), made: impl FnOnce() -> Event) -> Option<Write> {
        if let Some(known) = self.known.get_mut(&kind) {
            known.count = known.count.saturating_add(1);
            known.last = now;
            if known.count > 2 {
                return None;
            }
            known.written = (now.0, known.count);
            return Some(Write::Again(known.clone()));
        }
        if self.known.len() >= KINDS_MAX {
            let mut times: Vec<Duration> = self.known.values().map(|known| known.last.0).collect();
            let (_, middle, _) = times.select_nth_unstable(KINDS_MAX / 2);
            let middle = *middle;
            self.known.retain(|_, known| known.last.0 > middle);
        }
        let event = made();
        let known = Known { event: event.clone(), count: 1, last: now, written: (now.0, 1) };
        self.due = Some(self.due.map_or(known.due(), |due| due.min(known.due())));
        self.known.insert(kind, known);
        Some(Write::First(event))
    }

    /// Ends what is over at a time, and refreshes what goes on. What is to be written.
    fn settle(&mut self, now: Duration) -> Vec<Write> {
        let mut writes = Vec::new();
        self.known.retain(|_, known| {
            if known.due() > now {
                return true;
            }
            if known.count > known.written.1 {
                known.written = (now, known.count);
                writes.push(Write::Again(known.clone()));
            }
            known.last.0 + FINISH > now
        });
        self.due = self.known.values().map(Known::due).min();
        writes
    }
}

impl Known {
    fn due(&self) -> Duration {
        let end = self.last.0 + FINISH;
        if self.count > self.written.1 { end.min(self.written.0 + REFRESH) } else { end }
    }

    fn series(&self) -> Option<EventSeries> {
        (self.count > 1).then_some(EventSeries { count: self.count, last_observed_time: MicroTime(self.last.1) })
    }
}

struct Writer {
    client: Client,
    controller: String,
    instance: String,
    clock: Clock,
    series: Series,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<(Note, jiff::Timestamp)>) {
        loop {
            let due = self.series.due.map(|due| due + SLACK);
            let clock = self.clock.clone();
            let over = async {
                match due {
                    Some(due) => clock.sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let writes = tokio::select! {
                noted = queue.recv() => match noted {
                    Some((note, at)) => Vec::from_iter(self.observe(note, at)),
                    None => return,
                },
                () = over => self.series.settle(self.clock.elapsed()),
            };
            for write in writes {
                if let Err(error) = self.write(write).await {
                    tracing::debug!(controller = self.controller, %error, "an event was not written");
                }
            }
        }
    }

    fn observe(&mut self, note: Note, at: jiff::Timestamp) -> Option<Write> {
        let now = (self.clock.elapsed(), at);
        let (controller, instance, clock) = (&self.controller, &self.instance, &self.clock);
        self.series.observe(Kind::of(&note), now, || event(note, at, controller, instance, clock))
    }

    async fn write(&self, write: Write) -> Result<(), kube::Error> {
        let (event, series) = match write {
            Write::First(event) => (event, None),
            Write::Again(known) => {
                let series = known.series();
                (known.event, series)
            }
        };
        let namespace = event.metadata.namespace.as_deref().unwrap_or("default");
        let api = Api::<Event>::namespaced(self.client.clone(), namespace);
        if let Some(series) = &series {
            let name = event.metadata.name.as_deref().unwrap_or_default();
            let patch = Patch::Strategic(json!({"series": series}));
            match api.patch(name, &PatchParams::default(), &patch).await {
                // It was deleted, or is too old: the whole is written anew.
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                other => return other.map(|_| ()),
            }
        }
        api.create(&PostParams::default(), &Event { series, ..event }).await.map(|_| ())
    }
}

/// The object of an event that is new (`makeEvent`).
fn event(note: Note, at: jiff::Timestamp, controller: &str, instance: &str, clock: &Clock) -> Event {
    let namespace = note.regarding.namespace.clone().filter(|namespace| !namespace.is_empty());
    Event {
        metadata: ObjectMeta {
            name: Some(event_name(note.regarding.name.as_deref().unwrap_or_default(), at, clock)),
            namespace: Some(namespace.unwrap_or_else(|| "default".into())),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(at)),
        reporting_controller: Some(controller.into()),
        reporting_instance: Some(instance.into()),
        action: Some(note.action.into()),
        reason: Some(note.reason.into()),
        regarding: Some(note.regarding),
        related: note.related,
        note: Some(note.note),
        type_: Some(note.type_.name().into()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u32) -> (Duration, jiff::Timestamp) {
        (seconds * SECOND, jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(seconds.into()))
    }

    fn kind(reason: &'static str) -> Kind {
        Kind::of(&Note {
            regarding: ObjectReference { name: Some("p".into()), ..ObjectReference::default() },
            related: None,
            type_: EventType::Normal,
            reason,
            action: "Scheduling",
            note: String::new(),
        })
    }

    fn observe(series: &mut Series, reason: &'static str, seconds: u32) -> Option<(bool, i32)> {
        series.observe(kind(reason), at(seconds), Event::default).map(|write| match write {
            Write::First(_) => (true, 1),
            Write::Again(known) => (false, known.series().unwrap().count),
        })
    }

    fn settled(series: &mut Series, seconds: u32) -> Vec<i32> {
        let writes = series.settle(seconds * SECOND);
        writes.iter().map(|write| if let Write::Again(known) = write { known.count } else { 0 }).collect()
    }

    #[test]
    fn what_happens_again_becomes_a_series_that_is_written_at_its_end() {
        let mut series = Series::default();
        assert_eq!(observe(&mut series, "a", 0), Some((true, 1)));
        assert_eq!(observe(&mut series, "a", 1), Some((false, 2)));
        assert_eq!(observe(&mut series, "b", 1), Some((true, 1)));
        assert_eq!(observe(&mut series, "a", 2), None);
        assert_eq!(observe(&mut series, "a", 100), None);
        assert!(settled(&mut series, 360).is_empty());
        assert_eq!(series.due, Some(361 * SECOND), "b is over");
        assert!(settled(&mut series, 361).is_empty());
        assert_eq!(series.known.len(), 1);
        assert_eq!(settled(&mut series, 460), [4], "the final count");
        assert_eq!(series.due, None);
        assert_eq!(observe(&mut series, "a", 461), Some((true, 1)));
    }

    #[test]
    fn a_series_that_goes_on_is_written_now_and_then() {
        let mut series = Series::default();
        let mut writes = Vec::new();
        for minute in 0..90 {
            observe(&mut series, "a", minute * 60);
            writes.extend(settled(&mut series, minute * 60));
        }
        assert_eq!(writes, [32, 62]);
        assert_eq!(settled(&mut series, 90 * 60 + 360), [90]);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_longest_silent_go() {
        let mut series = Series::default();
        for number in 0..u32::try_from(KINDS_MAX).unwrap() + 1 {
            let kind = Kind(number.to_string());
            series.observe(kind, at(number), Event::default);
        }
        assert!(series.known.len() <= KINDS_MAX / 2 + 1);
        assert!(
            series.known.contains_key(&Kind(KINDS_MAX.to_string())) && !series.known.contains_key(&Kind("0".into()))
        );
    }

    #[test]
    fn other_objects_and_reasons_are_other_kinds() {
        assert_ne!(kind("a"), kind("b"));
        assert_eq!(kind("a"), kind("a"));
    }
}
