//! The body of a request as it arrives.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

/// How much of a body that nobody wants is read: any that is taken at all, and some that are too long. Else whoever is
/// still sending when the answer comes loses the connection, or over HTTP/2 its stream, and with it the answer.
const UNREAD_BYTES_MAX: u64 = 8 << 20;
/// How long that may take.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A body that is read to its end even when it is dropped before, if it is small.
pub(super) struct Arriving {
    body: Option<Incoming>,
}

impl Arriving {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body: Some(body) }
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
        let is_small = |body: &Incoming| body.size_hint().lower() <= UNREAD_BYTES_MAX;
        let Some(body) = self.body.take().filter(|body| !body.is_end_stream() && is_small(body)) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(UNREAD_TIMEOUT, drain(body, UNREAD_BYTES_MAX)));
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
