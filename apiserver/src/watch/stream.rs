//! One watch: waits on the store's history directly, filters, and hands out frames.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use api::Status;
use api::catalogue::Resource;
use bytes::{Bytes, BytesMut};
use store::{Entry, Event, EventBatch, EventKind, Revision, StoreError, Watch};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

use super::frame::{EventType, Framer};
use crate::chain::inflight::Place;
use crate::flow_control::Watcher;
use crate::selection::Selection;

/// How often a watch that welcomes bookmarks gets one.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// How much goes out at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// How many bytes of objects are converted until others get their turn.
const CONVERTED_BYTES: usize = 32 * 1024;

/// How long before its end a watch that welcomes bookmarks gets the last one, so that it can go on from there.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);

/// How long until the next bookmark of a watch that has this long to go; none if there is no time for one.
fn until_bookmark(left: Duration) -> Option<Duration> {
    let before_end = left.checked_sub(BOOKMARK_BEFORE_END).filter(|wait| !wait.is_zero())?;
    Some(before_end.min(BOOKMARK_INTERVAL))
}

/// What a watch is about and when it ends.
pub struct Plan {
    /// What the keys begin with.
    pub prefix: String,
    /// Which of them count.
    pub selection: Selection,
    /// What to begin with.
    pub initial: Vec<Entry>,
    /// Whether the end of the initial events is told.
    pub tells_initial_end: bool,
    /// Whether bookmarks are welcome.
    pub bookmarks: bool,
    /// How long it may go on.
    pub time_max: Duration,
    /// The request's place, until the state is sent that it begins with.
    pub(crate) place: Option<Place>,
    /// Counts it among those that watch.
    pub(crate) watcher: Option<Watcher>,
}

/// One watch under way.
pub struct Watching {
    events: Option<Watch>,
    framer: Framer,
    prefix: String,
    selection: Selection,
    initial: std::vec::IntoIter<Entry>,
    tells_initial_end: bool,
    bookmarks: bool,
    after: Revision,
    deadline: Pin<Box<Sleep>>,
    bookmark_due: Pin<Box<Sleep>>,
    /// How much of its time was left at the last bookmark.
    left: Duration,
    stopping: CancellationToken,
    batches: VecDeque<EventBatch>,
    at: usize,
    /// What is left of a frame in pieces.
    pieces: VecDeque<Bytes>,
    place: Option<Place>,
    _watcher: Option<Watcher>,
    ended: bool,
}

/// The frame of one event.
enum Frame {
    Whole(Bytes),
    Pieces([Bytes; 3]),
}

impl Watching {
    /// Begins a watch of what happens after the state of `events`.
    pub fn new(events: Watch, framer: Framer, plan: Plan, stopping: CancellationToken) -> Self {
        let first_bookmark = until_bookmark(plan.time_max);
        if let Some(place) = &plan.place {
            place.step();
        }
        Self {
            left: plan.time_max,
            after: events.revision(),
            events: Some(events),
            framer,
            prefix: plan.prefix,
            selection: plan.selection,
            initial: plan.initial.into_iter(),
            tells_initial_end: plan.tells_initial_end,
            bookmarks: plan.bookmarks && first_bookmark.is_some(),
            deadline: Box::pin(sleep(plan.time_max)),
            bookmark_due: Box::pin(sleep(first_bookmark.unwrap_or(BOOKMARK_INTERVAL))),
            stopping,
            batches: VecDeque::new(),
            at: 0,
            pieces: VecDeque::new(),
            place: plan.place,
            _watcher: plan.watcher,
            ended: false,
        }
    }

    /// The next bytes; none at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        match self.advance().await {
            Ok(Some(bytes)) => Some(bytes),
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(status) => {
                self.ended = true;
                Some(self.framer.error(&status))
            }
        }
    }

    async fn advance(&mut self) -> Result<Option<Bytes>, Status> {
        if let Some(place) = &self.place {
            place.step();
        }
        if let Some(piece) = self.pieces.pop_front() {
            return Ok(Some(piece));
        }
        if let Some(bytes) = self.initial_events()? {
            return Ok(Some(bytes));
        }
        // As far as flow control goes, the request is over.
        self.place = None;
        if std::mem::take(&mut self.tells_initial_end) {
            self.framer.sent_initial();
            return self.framer.bookmark(self.after, true).map(Some);
        }
        loop {
            if let Some(bytes) = self.pending_events().await? {
                return Ok(Some(bytes));
            }
            let Some(events) = self.events.as_mut() else { return Ok(None) };
            tokio::select! {
                biased;
                batches = events.next() => match batches {
                    Ok(batches) => self.batches = batches.into(),
                    // A reader that is too slow is closed; it comes back with the version that it has.
                    Err(StoreError::Lagged) => {
                        self.framer.lagged();
                        return Ok(None);
                    }
                    Err(error) => return Err(crate::registry::store_status(&error)),
                },
                () = self.deadline.as_mut() => return Ok(None),
                () = self.stopping.cancelled() => return Ok(None),
                () = self.bookmark_due.as_mut(), if self.bookmarks => {
                    let waited = until_bookmark(self.left).unwrap_or_default();
                    self.left = self.left.saturating_sub(waited);
                    match until_bookmark(self.left) {
                        Some(wait) => self.bookmark_due.set(sleep(wait)),
                        None => self.bookmarks = false,
                    }
                    self.after = self.after.max(events.revision());
                    return self.framer.bookmark(self.after, false).map(Some);
                }
            }
        }
    }

    fn initial_events(&mut self) -> Result<Option<Bytes>, Status> {
        if self.initial.len() == 0 {
            return Ok(None);
        }
        let (mut out, mut read) = (Vec::with_capacity(CHUNK_BYTES.min(self.initial.len() * 2048)), 0);
        let converted_max = if self.framer.is_plain() { usize::MAX } else { CONVERTED_BYTES };
        for entry in self.initial.by_ref() {
            if let Some(pieces) = self.framer.pieces(EventType::Added, &entry, entry.mod_revision()) {
                self.pieces.extend(pieces);
                break;
            }
            self.framer.append(&mut out, EventType::Added, &entry)?;
            read += entry.value().len();
            if out.len() >= CHUNK_BYTES - CHUNK_BYTES / 8 || read >= converted_max {
                break;
            }
        }
        Ok(if out.is_empty() { self.pieces.pop_front() } else { Some(out.into()) })
    }

    /// The frames of events already read, up to a chunk; one frame alone is shared, not copied.
    async fn pending_events(&mut self) -> Result<Option<Bytes>, Status> {
        let mut first: Option<Bytes> = None;
        let mut rest = BytesMut::new();
        let chunk_max = if self.framer.is_plain() { CHUNK_BYTES } else { CONVERTED_BYTES };
        while let Some(batch) = self.batches.front().cloned() {
            while let Some(event) = batch.get(self.at) {
                self.at += 1;
                if event.revision <= self.after && rest.is_empty() && first.is_none() && self.is_old(event) {
                    continue;
                }
                let frame = match self.frame(event).await? {
                    Some(Frame::Whole(frame)) => frame,
                    Some(Frame::Pieces(pieces)) => {
                        self.pieces.extend(pieces);
                        let before = if rest.is_empty() { first } else { Some(rest.freeze()) };
                        return Ok(before.or_else(|| self.pieces.pop_front()));
                    }
                    None => continue,
                };
                match (&first, rest.is_empty()) {
                    (None, _) => first = Some(frame),
                    (Some(one), true) => {
                        rest.extend_from_slice(one);
                        rest.extend_from_slice(&frame);
                    }
                    (Some(_), false) => rest.extend_from_slice(&frame),
                }
                if rest.len() >= chunk_max {
                    return Ok(Some(rest.freeze()));
                }
            }
            if let Some(last) = batch.last() {
                self.after = self.after.max(last.revision);
            }
            self.batches.pop_front();
            self.at = 0;
        }
        if let Some(events) = &self.events {
            self.after = self.after.max(events.revision());
        }
        Ok(if rest.is_empty() { first } else { Some(rest.freeze()) })
    }

    /// The first batch may begin before the watch does.
    fn is_old(&self, event: &Event) -> bool {
        event.revision <= self.after
    }

    /// The entry as it is now, if it is selected.
    async fn selected<'e>(&self, resource: &Resource, entry: &'e Entry) -> Result<Option<Cow<'e, Entry>>, Status> {
        let entry = self.framer.registry().entry_once(resource, entry).await?;
        Ok(Some(entry).filter(|entry| self.selection.matches(entry)))
    }

    async fn frame(&mut self, event: &Event) -> Result<Option<Frame>, Status> {
        if !event.key().starts_with(&self.prefix) {
            return Ok(None);
        }
        let resource = self.framer.resource_now();
        let (entry, previous) = match &event.kind {
            EventKind::Put { entry, previous } => {
                let entry = self.selected(&resource, entry).await?;
                match previous {
                    // Where everything is selected nobody needs to know what it was.
                    Some(previous) if self.selection.is_everything() => (entry, Some(Cow::Borrowed(previous))),
                    Some(previous) => (entry, self.selected(&resource, previous).await?),
                    None => (entry, None),
                }
            }
            EventKind::Delete { previous } => (None, self.selected(&resource, previous).await?),
        };
        let (kind, entry) = match (entry, previous) {
            (Some(entry), Some(_)) => (EventType::Modified, entry),
            (Some(entry), None) => (EventType::Added, entry),
            (None, Some(previous)) => (EventType::Deleted, previous),
            (None, None) => return Ok(None),
        };
        if let Some(pieces) = self.framer.pieces(kind, &entry, event.revision) {
            return Ok(Some(Frame::Pieces(pieces)));
        }
        self.framer.shared(kind, &entry, event.revision).map(|frame| Some(Frame::Whole(frame)))
    }
}
