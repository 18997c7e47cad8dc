//! The body of an answer that is written down, or whose end is.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use api::Status;
use axum::body::Body;
use bytes::Bytes;
use futures::FutureExt;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

use super::policy::Stage;
use super::recorded::{ANSWER_BYTES_MAX, unpacked};
use super::trail::Trail;

/// Passes an answer on, and writes down that it was sent: at once if it is all there, else at its end.
pub(crate) async fn follow(trail: Arc<Trail>, response: Response<Body>, lasts: bool) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let records = trail.records_responses() && !lasts;
    if lasts {
        trail.reach(Stage::ResponseStarted).await;
    } else if http_body::Body::size_hint(&body).exact().is_some_and(|length| length <= ANSWER_BYTES_MAX as u64) {
        let body = if records || trail.is_delete() {
            match body.collect().await {
                Ok(whole) => {
                    let bytes = whole.to_bytes();
                    tell_status(&trail, parts.status.as_u16(), &bytes);
                    if records {
                        record(&trail, &parts.headers, Some(&bytes));
                    }
                    Body::from(bytes)
                }
                Err(error) => Body::new(Broken(Some(error))),
            }
        } else {
            body
        };
        trail.reach(Stage::ResponseComplete).await;
        return Response::from_parts(parts, body);
    }
    let kept = records.then(|| Kept { bytes: Vec::new(), headers: parts.headers.clone(), is_too_long: false });
    Response::from_parts(parts, Body::new(Followed { body, kept, end: End(trail) }))
}

/// What is told of an answer that is a status though nothing went wrong, as to a delete.
fn tell_status(trail: &Trail, code: u16, body: &[u8]) {
    if code < 400
        && body.starts_with(b"{\"kind\":\"Status\"")
        && let Ok(status) = serde_json::from_slice::<Status>(body)
    {
        trail.answered(code, Some(&status));
    }
}

fn record(trail: &Trail, headers: &HeaderMap, body: Option<&[u8]>) {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok()).unwrap_or("");
    let is_packed = text(CONTENT_ENCODING).eq_ignore_ascii_case("gzip");
    let unpacked = body.filter(|_| is_packed).map(unpacked);
    match unpacked {
        Some(unpacked) => trail.answered_with(text(CONTENT_TYPE), unpacked.as_deref()),
        None => trail.answered_with(text(CONTENT_TYPE), body),
    }
}

/// A body whose end is written down.
struct Followed {
    body: Body,
    kept: Option<Kept>,
    end: End,
}

/// What went by.
struct Kept {
    bytes: Vec<u8>,
    headers: HeaderMap,
    is_too_long: bool,
}

/// Writes down that the answer was sent, or that it was not sent to its end.
struct End(Arc<Trail>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end_now(Stage::ResponseComplete);
    }
}

impl http_body::Body for Followed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let (Some(Ok(frame)), Some(kept)) = (&frame, &mut self.kept)
            && let Some(data) = frame.data_ref()
        {
            kept.is_too_long |= kept.bytes.len() + data.len() > ANSWER_BYTES_MAX;
            if kept.is_too_long {
                kept.bytes = Vec::new();
            } else {
                kept.bytes.extend_from_slice(data);
            }
        }
        if frame.is_none() {
            if let Some(kept) = self.kept.take() {
                record(&self.end.0, &kept.headers, (!kept.is_too_long).then_some(&kept.bytes[..]));
            }
            self.end.0.end_now(Stage::ResponseComplete);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        // The end is to be seen by whoever asks for the next frame.
        self.kept.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that could not be read.
struct Broken(Option<axum::Error>);

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Poll::Ready(self.0.take().map(Err))
    }
}

/// Does what a request asks for. A panic is written down before it goes on (`WithAudit`).
pub(crate) async fn panics<T>(trail: &Arc<Trail>, work: impl Future<Output = T>) -> T {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => done,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            let status = Status::failure(500, "InternalError", format!("APIServer panic'd: {text}"));
            trail.answered(500, Some(&status));
            trail.end_now(Stage::Panic);
            std::panic::resume_unwind(panic)
        }
    }
}
