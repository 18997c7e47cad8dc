//! The body of a request as it arrives.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

/// How much of a body that nobody wants is read, so that an answer given before it was read does not cost the
/// connection (as in Go's server).
const UNREAD_BYTES_MAX: u64 = 256 << 10;
/// The same for a stream of HTTP/2, whose end clients take for a failure of what they asked: any body that is taken at
/// all, and some that are too long.
const UNREAD_STREAM_BYTES_MAX: u64 = 8 << 20;
/// How long that may take.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A body that is read to its end even when it is dropped before, if it is small.
pub(super) struct Arriving {
    body: Option<Incoming>,
    unread_bytes_max: u64,
}

impl Arriving {
    pub(super) fn new(body: Incoming, is_http2: bool) -> Self {
        let unread_bytes_max = if is_http2 { UNREAD_STREAM_BYTES_MAX } else { UNREAD_BYTES_MAX };
        Self { body: Some(body), unread_bytes_max }
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let is_small = |body: &Incoming| body.size_hint().lower() <= self.unread_bytes_max;
        let Some(body) = self.body.take().filter(|body| !body.is_end_stream() && is_small(body)) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(UNREAD_TIMEOUT, drain(body, self.unread_bytes_max)));
        }
    }
}

/// Reads as much as may be read for nothing.
async fn drain(mut body: Incoming, mut left: u64) {
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        let Some(rest) = left.checked_sub(bytes) else { return };
        left = rest;
    }
}
