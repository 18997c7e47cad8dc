//! Request bodies, read whole and within the limit.

use api::Status;
use api::decode::BODY_BYTES_MAX;
use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// Reads a body.
///
/// # Errors
/// 413 if it is too long, 400 if it breaks off.
pub async fn read(body: Body) -> Result<Bytes, Status> {
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Status::too_large(format!("Request entity too large: limit is {BODY_BYTES_MAX}")))
        }
        Err(error) => Err(Status::bad_request(format!("the request body cannot be read: {error}"))),
    }
}
