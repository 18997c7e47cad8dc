//! `/coracle/backup`: everything that is stored, at one revision, as a file that `coracle restore` takes. The path is one of
//! no resource, so only whoever may `get` any such path gets it: by default `system:masters` and `cluster-admin`.
//!
//! What is encrypted in the store is encrypted in the answer. One backup is made at a time; it is made as fast as it is
//! read, off the runtime's workers, and holds no more than two pieces.

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Response};
use store::Pieces;
use tokio::sync::mpsc;

use crate::{Context, answer};
use api::Status;

/// So many pieces wait for the client.
const PIECES_MAX: usize = 1;

/// Answers with a backup of the newest state.
///
/// # Errors
/// 405 for anything but a GET, 429 while another one is made.
pub(super) fn answer(ctx: &Context, method: &Method) -> Result<Response<Body>, Status> {
    if method != Method::GET {
        return Err(crate::verbs::method_not_allowed());
    }
    let Ok(place) = ctx.registry.state().backup().try_lock_owned() else {
        return Err(Status::failure(429, "TooManyRequests", "another backup is being made, please try again later"));
    };
    let now = u64::try_from(ctx.registry.clock().now().as_second()).unwrap_or(0);
    let pieces = Pieces::new(ctx.registry.snapshot(), now);
    let (sender, receiver) = mpsc::channel::<Bytes>(PIECES_MAX);
    tokio::task::spawn_blocking(move || {
        for piece in pieces {
            // A client that went away wants no more.
            if sender.blocking_send(piece).is_err() {
                break;
            }
        }
        drop(place);
    });
    let pieces =
        futures::stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let mut response = answer::bytes(200, "application/octet-stream", Bytes::new());
    *response.body_mut() = Body::from_stream(pieces.map(Ok::<_, std::convert::Infallible>));
    Ok(response)
}
