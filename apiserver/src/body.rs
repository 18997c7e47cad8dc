//! Request bodies, read whole and within the limit.

use std::sync::Arc;

use api::Status;
use api::decode::BODY_BYTES_MAX;
use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bodies longer than this wait for room.
const LARGE_BYTES: usize = 256 * 1024;
/// How many bytes of large bodies are worked on at once. What decoding makes of a body can be thirty times as large,
/// so this bounds the memory that many clients with large bodies can take.
const LARGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The room for large bodies of one server.
#[derive(Debug, Clone)]
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_BYTES_MAX)))
    }
}

/// A large body and its part of the room.
struct Held {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Room {
    /// Reads a body. A large one keeps its part of the room until it is dropped.
    ///
    /// # Errors
    /// 413 if it is too long, 400 if it breaks off.
    pub async fn read(&self, body: Body) -> Result<Bytes, Status> {
        let bytes = match Limited::new(body, BODY_BYTES_MAX).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(Status::too_large(format!("Request entity too large: limit is {BODY_BYTES_MAX}")));
            }
            Err(error) => return Err(Status::bad_request(format!("the request body cannot be read: {error}"))),
        };
        if bytes.len() <= LARGE_BYTES {
            return Ok(bytes);
        }
        let size = u32::try_from(bytes.len()).expect("bodies are far shorter");
        let room = self.0.clone().acquire_many_owned(size).await;
        let room = room.map_err(|_| Status::internal("there is no more room for bodies"))?;
        Ok(Bytes::from_owner(Held { bytes, _room: room }))
    }
}
