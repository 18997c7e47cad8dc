//! The body of an answer as it leaves: no more of it is made than the client takes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use futures::task::AtomicWaker;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::connections::Seat;
use crate::chain::inflight::Place;

/// How long a piece of an answer is that goes out at once.
const PIECE_BYTES: usize = 64 << 10;
/// How much of one answer may be made and not yet written.
const UNSENT_BYTES_MAX: usize = PIECE_BYTES + PIECE_BYTES / 2;
/// Answers up to this length are not counted over HTTP/1.1, where there is one at a time.
const SMALL_BYTES: u64 = 16 << 10;

/// The body of an answer. The request is under way, and has its place, until its last byte is written.
pub(super) struct Leaving {
    body: Body,
    /// What is left of a piece that was too long.
    rest: Bytes,
    /// None for an answer that is so small that it goes out at once.
    unsent: Option<Arc<Unsent>>,
    _request: Request,
}

/// A request under way on a connection.
pub(super) struct Request {
    seat: Arc<Seat>,
    lasts: bool,
}

/// What of an answer was made and not yet written.
#[derive(Default)]
struct Unsent {
    bytes: AtomicUsize,
    waker: AtomicWaker,
    progress: Option<Arc<Progress>>,
    place: Option<Place>,
}

/// How far an answer over HTTP/2 is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// How often something of it went out; zero before it began.
    steps: AtomicU64,
}

impl Progress {
    /// Something of the answer went out.
    fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }
}

/// A piece on its way out.
struct Piece {
    bytes: Bytes,
    unsent: Arc<Unsent>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.unsent.bytes.fetch_sub(self.bytes.len(), Ordering::AcqRel);
        self.unsent.waker.wake();
        if let Some(progress) = &self.unsent.progress {
            progress.step();
        }
        self.unsent.step();
    }
}

impl Unsent {
    /// Something of the answer was made or written.
    fn step(&self) {
        if let Some(place) = &self.place {
            place.step();
        }
    }
}

impl Request {
    pub(super) fn begin(seat: Arc<Seat>) -> Self {
        seat.activity().begin();
        Self { seat, lasts: false }
    }

    /// The request is one that lasts: its client may take its time.
    pub(super) fn set_lasting(&mut self) {
        if !std::mem::replace(&mut self.lasts, true) {
            self.seat.activity().set_lasting(true);
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if self.lasts {
            self.seat.activity().set_lasting(false);
        }
        self.seat.activity().end();
    }
}

impl Leaving {
    /// `progress` is there for HTTP/2.
    pub(super) fn new(body: Body, request: Request, place: Option<Place>, progress: Option<Arc<Progress>>) -> Self {
        let is_small = body.size_hint().upper().is_some_and(|bytes| bytes <= SMALL_BYTES);
        let is_counted = progress.is_some() || !is_small;
        if let Some(progress) = progress.as_ref().filter(|_| !request.lasts) {
            progress.step();
        }
        let progress = progress.filter(|_| !request.lasts);
        let unsent = is_counted.then(|| Arc::new(Unsent { progress, place, ..Unsent::default() }));
        if let Some(unsent) = &unsent {
            unsent.step();
        }
        Self { body, rest: Bytes::new(), unsent, _request: request }
    }

    /// The next piece of what is there, counted.
    fn piece(&mut self) -> Bytes {
        let bytes = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        let Some(unsent) = &self.unsent else { return bytes };
        unsent.bytes.fetch_add(bytes.len(), Ordering::AcqRel);
        unsent.step();
        Bytes::from_owner(Piece { bytes, unsent: unsent.clone() })
    }

    fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let Some(unsent) = &self.unsent else { return Poll::Ready(()) };
        let has_room = || unsent.bytes.load(Ordering::Acquire) < UNSENT_BYTES_MAX;
        if has_room() {
            return Poll::Ready(());
        }
        unsent.waker.register(context.waker());
        if has_room() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl HttpBody for Leaving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        ready!(self.poll_room(context));
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                other => return Poll::Ready(other),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}
