//! A connection's bytes, with a note of what goes in and out.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connections::Seat;
use super::refusal;

/// A stream that tells its connection's [`Activity`](super::activity::Activity) what it does. It holds the connection's
/// place, also when it became something else than HTTP.
pub(super) struct Wire<S> {
    stream: S,
    seat: Arc<Seat>,
    /// How the head of the request that comes begins; nobody looks at it over HTTP/2.
    head: Option<Vec<u8>>,
    /// What is written in place of hyper's own answer, and how far it is.
    instead: Option<(Vec<u8>, usize)>,
}

impl<S> Wire<S> {
    pub(super) fn http1(stream: S, seat: Arc<Seat>) -> Self {
        Self { stream, seat, head: Some(Vec::new()), instead: None }
    }

    pub(super) fn http2(stream: S, seat: Arc<Seat>) -> Self {
        Self { stream, seat, head: None, instead: None }
    }

    fn told<T>(&self, polled: Poll<T>) -> Poll<T> {
        self.seat.activity().wrote(polled.is_pending());
        polled
    }

    /// Bytes came: of a head, as long as there is no request.
    fn came(&mut self, bytes: &[u8]) {
        let was_begun = self.seat.activity().is_head_begun();
        self.seat.activity().read(bytes.len());
        let Some(head) = self.head.as_mut().filter(|_| self.seat.activity().is_head_begun()) else { return };
        if !was_begun {
            head.clear();
        }
        let room = refusal::KEPT_BYTES_MAX.saturating_sub(head.len());
        head.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Whether another answer than `bytes` is to be written: they refuse a head of which no request was made.
    fn is_replaced(&mut self, bytes: &[u8]) -> bool {
        if self.instead.is_none() && self.seat.activity().is_head_begun() {
            let answer = self.head.as_deref().and_then(|head| refusal::instead_of(bytes, head));
            self.instead = answer.map(|answer| (answer, 0));
        }
        self.instead.is_some()
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Writes the other answer, and then says that the `length` bytes were written that it stands for.
    fn replace(&mut self, context: &mut Context<'_>, length: usize) -> Poll<io::Result<usize>> {
        while let Some((answer, written)) = &mut self.instead {
            if *written == answer.len() {
                self.instead = None;
                break;
            }
            match ready!(Pin::new(&mut self.stream).poll_write(context, &answer[*written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                more => *written += more,
            }
        }
        Poll::Ready(Ok(length))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.came(&buffer.filled()[before..]);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = match self.is_replaced(bytes) {
            true => self.replace(context, bytes.len()),
            false => Pin::new(&mut self.stream).poll_write(context, bytes),
        };
        self.told(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Hyper's refusals are one piece.
        let polled = match slices {
            [only] if self.is_replaced(only) => self.replace(context, only.len()),
            _ => Pin::new(&mut self.stream).poll_write_vectored(context, slices),
        };
        self.told(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.told(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
