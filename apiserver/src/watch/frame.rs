//! The bytes of one event, made once and shared by all watchers of the same kind.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use api::catalogue::Resource;
use api::object::splice_resource_version;
use api::{Object, Status};
use bytes::Bytes;
use metrics::Counter;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use store::{Entry, Revision};

use crate::content::{Format, Representation, Transform};
use crate::metrics::scope;
use crate::registry::with_revision;
use crate::request::Query;
use crate::verbs::goes_out_as_stored;
use crate::{Context, Registry, codec, conversion, pieces, transform};

/// How many frames are kept for other watchers.
const FRAMES_MAX: usize = 1_024;
/// Frames longer than this are not kept.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// What happened to an object, as a watcher sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// It appeared.
    Added,
    /// It changed.
    Modified,
    /// It disappeared.
    Deleted,
    /// Nothing, but everything up to a version has been told.
    Bookmark,
    /// The watch has failed.
    Error,
}

impl EventType {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
            Self::Bookmark => "BOOKMARK",
            Self::Error => "ERROR",
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
struct FrameKey {
    revision: Revision,
    key: Arc<str>,
    kind: EventType,
    form: u64,
}

/// The newest frames, by event and form. Of fixed size; a frame that is not there is made anew.
pub struct FrameCache(Box<[Mutex<Slot>]>);

/// A place for one frame.
type Slot = Option<Frame>;

struct Frame {
    key: FrameKey,
    bytes: Bytes,
    /// Since the last look.
    used: bool,
}

impl Default for FrameCache {
    fn default() -> Self {
        Self((0..FRAMES_MAX).map(|_| Mutex::new(None)).collect())
    }
}

impl FrameCache {
    fn get_or_make(&self, key: FrameKey, make: impl FnOnce() -> Bytes) -> Bytes {
        let mut hasher = DefaultHasher::new();
        (key.revision, &*key.key, key.kind, key.form).hash(&mut hasher);
        let slot = usize::try_from(hasher.finish() % FRAMES_MAX as u64).expect("the cache is small");
        // The lock is held while the frame is made, so that watchers that wake together make it once.
        let mut slot = self.0[slot].lock();
        if let Some(frame) = slot.as_mut().filter(|found| found.key == key) {
            frame.used = true;
            return frame.bytes.clone();
        }
        let bytes = make();
        if bytes.len() <= FRAME_BYTES_MAX {
            *slot = Some(Frame { key, bytes: bytes.clone(), used: true });
        }
        bytes
    }

    /// Drops the frames that nobody asked for since the last call: watchers ask for one when it is new.
    pub fn drop_unused(&self) {
        for slot in &self.0 {
            let mut slot = slot.lock();
            if slot.as_mut().is_some_and(|frame| !std::mem::take(&mut frame.used)) {
                *slot = None;
            }
        }
    }
}

/// Makes the frames of one watch.
pub struct Framer {
    ctx: Arc<Context>,
    resource: Arc<Resource>,
    representation: Representation,
    query: Query,
    form: u64,
    plain: bool,
    /// Only the first table of a watch names its columns.
    columns_told: bool,
    began: Instant,
}

impl Framer {
    /// A maker of frames for a resource in a representation.
    pub fn new(ctx: Arc<Context>, resource: Arc<Resource>, representation: Representation, query: Query) -> Self {
        let mut hasher = DefaultHasher::new();
        (&resource.group, &resource.version).hash(&mut hasher);
        format!("{representation:?}").hash(&mut hasher);
        query.text("includeObject").hash(&mut hasher);
        let plain = goes_out_as_stored(&resource, &representation);
        let began = ctx.registry.clock().instant();
        Self { began, ctx, resource, representation, query, form: hasher.finish(), plain, columns_told: false }
    }

    /// The resource as it is served now: a watch lives through changes of a definition.
    pub fn resource_now(&mut self) -> Arc<Resource> {
        if self.resource.custom {
            let (was, catalogue) = (&self.resource, self.ctx.registry.catalogue());
            if let Some(now) = catalogue.get(&was.group, &was.version, &was.plural) {
                self.resource = now.clone();
                self.plain = goes_out_as_stored(&self.resource, &self.representation);
            }
        }
        self.resource.clone()
    }

    /// What the watch reads from.
    pub fn registry(&self) -> &Registry {
        &self.ctx.registry
    }

    /// Whether objects go out as they are stored.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// The frame of an event about an entry, shared with other watchers.
    ///
    /// # Errors
    /// If the object cannot be put in the form that the client wants.
    pub fn shared(&mut self, kind: EventType, entry: &Entry, revision: Revision) -> Result<Bytes, Status> {
        let frame = self.made(kind, entry, revision)?;
        self.count(frame.len());
        Ok(frame)
    }

    /// An event goes out.
    fn count(&self, bytes: usize) {
        let metrics = self.ctx.registry.metrics();
        let labels = [&*self.resource.group, &self.resource.version, &self.resource.plural];
        metrics.watch_events.with(labels, Counter::add_one);
        metrics.watch_event_sizes.with(labels, |sizes| sizes.observe(bytes as f64));
    }

    /// All that there was at the beginning has gone out, at the wish of the client.
    pub fn sent_initial(&self) {
        let (registry, info) = (&self.ctx.registry, &self.ctx.info);
        let took = registry.clock().instant().saturating_duration_since(self.began);
        let labels = [&*self.resource.group, &self.resource.version, &self.resource.plural, scope(info)];
        registry.metrics().cache.watch_listed(labels, took);
    }

    /// The watch was so slow that it is closed.
    pub fn lagged(&self) {
        let labels = [&*self.resource.group, &self.resource.plural];
        self.ctx.registry.metrics().terminated_watchers.with(labels, Counter::add_one);
    }

    fn made(&mut self, kind: EventType, entry: &Entry, revision: Revision) -> Result<Bytes, Status> {
        if matches!(self.representation.transform, Transform::Table(_)) {
            return self.single(kind, entry, revision);
        }
        // The same object looks different under another definition.
        let definition = self.resource.definition.as_ref().map_or(0, |version| version.versions.id());
        let form = self.form.wrapping_add(definition);
        let key = FrameKey { revision, key: entry.key_shared(), kind, form };
        let mut failed = None;
        let registry = self.ctx.registry.clone();
        let frame = registry.frames().get_or_make(key, || match self.single(kind, entry, revision) {
            Ok(frame) => frame,
            Err(status) => {
                failed = Some(status);
                Bytes::new()
            }
        });
        failed.map_or(Ok(frame), Err)
    }

    /// The frame of an event about an entry, made anew.
    ///
    /// # Errors
    /// If the object cannot be put in the form that the client wants.
    pub fn single(&mut self, kind: EventType, entry: &Entry, revision: Revision) -> Result<Bytes, Status> {
        if self.plain {
            let mut out = Vec::with_capacity(entry.value().len() + 80);
            append_plain(&mut out, kind, entry, revision);
            return Ok(out.into());
        }
        let object = Object::parse(&entry.value()).map_err(|error| Status::internal(error.to_string()))?;
        let object = conversion::shown(&self.resource, with_revision(object, revision))?;
        self.frame(kind, object)
    }

    /// The frame of an event about an entry in pieces, if it is so long that it is not copied.
    pub fn pieces(&self, kind: EventType, entry: &Entry, revision: Revision) -> Option<[Bytes; 3]> {
        let value = Some(entry.value()).filter(|value| self.plain && value.len() > pieces::LARGE_BYTES)?;
        let before = format!("{{\"type\":\"{}\",\"object\":", kind.as_str());
        let [head, rest] = pieces::stored(before.as_bytes(), &value, revision);
        Some([head, rest, Bytes::from_static(b"}\n")])
    }

    /// Appends the frame of an event to others.
    ///
    /// # Errors
    /// If the object cannot be put in the form that the client wants.
    pub fn append(&mut self, out: &mut Vec<u8>, kind: EventType, entry: &Entry) -> Result<(), Status> {
        let before = out.len();
        if self.plain {
            append_plain(out, kind, entry, entry.mod_revision());
        } else {
            out.extend_from_slice(&self.single(kind, entry, entry.mod_revision())?);
        }
        self.count(out.len() - before);
        Ok(())
    }

    /// A bookmark at a revision; `ends_initial` marks the end of the initial events.
    ///
    /// # Errors
    /// If it cannot be put in the form that the client wants.
    pub fn bookmark(&mut self, revision: Revision, ends_initial: bool) -> Result<Bytes, Status> {
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".into(), revision.to_string().into());
        if ends_initial {
            metadata.insert("annotations".into(), json!({"k8s.io/initial-events-end": "true"}));
        }
        let mut object = Object::default();
        object.set(&["kind"], self.resource.kind.as_str());
        object.set(&["apiVersion"], self.resource.api_version());
        object.set(&["metadata"], Value::Object(metadata));
        self.frame(EventType::Bookmark, object)
    }

    /// The last frame of a watch that failed.
    pub fn error(&self, status: &Status) -> Bytes {
        let mut out = Vec::new();
        let head = write!(out, "{{\"type\":\"ERROR\",\"object\":");
        head.expect("a Vec takes every write");
        out.extend_from_slice(&status.to_json());
        out.extend_from_slice(b"}\n");
        match self.representation.format {
            Format::Protobuf => {
                let value = serde_json::to_value(status).expect("a Status is JSON");
                let object = Object::from_value(value).expect("a Status is an object");
                codec::protobuf_frame(EventType::Error.as_str(), &object).unwrap_or_default()
            }
            _ => out.into(),
        }
    }

    fn frame(&mut self, kind: EventType, object: Object) -> Result<Bytes, Status> {
        let mut object = transform::one(&self.ctx, &self.resource, object, self.representation.transform, &self.query)?;
        if matches!(self.representation.transform, Transform::Table(_)) {
            if self.columns_told {
                object.0.insert("columnDefinitions".into(), Value::Null);
            }
            self.columns_told = true;
        }
        if self.representation.format == Format::Protobuf {
            return codec::protobuf_frame(kind.as_str(), &object);
        }
        let mut out = Vec::with_capacity(1024);
        write!(out, "{{\"type\":\"{}\",\"object\":", kind.as_str()).expect("a Vec takes every write");
        api::json::write_object(&mut out, &object.0);
        out.extend_from_slice(b"}\n");
        Ok(out.into())
    }
}

fn append_plain(out: &mut Vec<u8>, kind: EventType, entry: &Entry, revision: Revision) {
    write!(out, "{{\"type\":\"{}\",\"object\":", kind.as_str()).expect("a Vec takes every write");
    splice_resource_version(&entry.value(), revision, out);
    out.extend_from_slice(b"}\n");
}
