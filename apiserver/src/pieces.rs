//! Bytes that are there already, handed on without a copy of their own.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use api::object::{begin_metadata, metadata_offset};
use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use store::Revision;

/// Stored objects longer than this go out as they lie in the store: however many clients do not read their answers,
/// there is one of it.
pub(crate) const LARGE_BYTES: usize = 16 << 10;

/// A stored object in two pieces: what is written for this answer, beginning with `before`, and the stored rest. The
/// resource version is put in between.
pub(crate) fn stored(before: &[u8], value: &Bytes, revision: Revision) -> [Bytes; 2] {
    /// What comes between, at most as a rule.
    const REVISION_BYTES: usize = 256;
    let start = metadata_offset(value);
    let mut head = Vec::with_capacity(before.len() + start + REVISION_BYTES);
    head.extend_from_slice(before);
    head.extend_from_slice(&value[..start]);
    let rest = begin_metadata(value, start, revision, &mut head);
    [head.into(), value.slice(rest..)]
}

/// A body of these pieces.
pub(crate) fn body(pieces: impl IntoIterator<Item = Bytes>) -> Body {
    Body::new(Pieces(pieces.into_iter().collect()))
}

struct Pieces(VecDeque<Bytes>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|bytes| bytes.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_stored_object_is_not_copied() {
        let value = Bytes::from_static(br#"{"kind":"A","metadata":{"name":"a"},"data":1}"#);
        let [head, rest] = stored(b"[", &value, 7);
        assert_eq!(&head[..], br#"[{"kind":"A","metadata":{"name":"a","resourceVersion":"7""#);
        assert_eq!(rest.as_ptr(), value[value.len() - rest.len()..].as_ptr());
        let body = body([head, rest]);
        let exact = body.size_hint().exact().unwrap();
        let whole = body.collect().await.unwrap().to_bytes();
        assert_eq!(whole.len() as u64, exact);
        assert!(whole.ends_with(br#""resourceVersion":"7"},"data":1}"#));
    }
}
