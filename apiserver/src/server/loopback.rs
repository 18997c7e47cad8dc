//! What the server writes as a client of itself (`LoopbackClientConfig` in apiserver): through the whole chain, so that
//! admission, validation and managed fields hold for it too. Everything that goes on beside the requests writes like this;
//! only what is there before the first request ([`crate::bootstrap`]), and the ends of objects that a store would see to
//! by itself, go to the store.

use std::sync::Arc;

use api::{Object, Status, UserInfo};
use axum::body::{Body, to_bytes};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Method, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::ApiServer;
use crate::Registry;
use crate::outgoing::{ClientError, Reply};

/// The user agent of what the server asks of itself.
const USER_AGENT_NAME: &str = "kube-apiserver";
/// How long an answer may be: an object is at most as long as the store takes it, and some longer as it is written.
const ANSWER_BYTES_MAX: usize = 2 * store::limits::VALUE_BYTES_MAX;

impl ApiServer {
    /// Asks the server itself as `system:apiserver`; what it answers.
    ///
    /// # Errors
    /// What any client would be told.
    pub(crate) async fn ask_itself(
        &self,
        method: &Method,
        url: String,
        content_type: &str,
        body: String,
    ) -> Result<Object, Status> {
        let request = Request::builder().method(method).uri(url).extension(itself());
        let request = request.header(CONTENT_TYPE, content_type).header(USER_AGENT, USER_AGENT_NAME);
        let request = request.body(Body::from(body)).map_err(|error| Status::bad_request(error.to_string()))?;
        let (head, body) = Box::pin(self.handle(request)).await.into_parts();
        let unreadable = |error: String| Status::internal(format!("the server's answer to itself: {error}"));
        let body = to_bytes(body, ANSWER_BYTES_MAX).await.map_err(|error| unreadable(error.to_string()))?;
        if head.status.is_success() {
            return Object::parse(&body).map_err(|error| unreadable(error.to_string()));
        }
        // What stands before the verbs answers in plain text.
        let plain = || Status::failure(head.status.as_u16(), "", String::from_utf8_lossy(&body));
        Err(serde_json::from_slice(&body).unwrap_or_else(|_| plain()))
    }
}

fn itself() -> UserInfo {
    UserInfo::new("system:apiserver", &["system:masters"])
}

/// Sends the server a request of itself, as one of its clients elsewhere would, and waits for the whole answer.
pub(crate) fn exchange(
    registry: Registry,
    mut request: Request<Body>,
    bytes_max: usize,
) -> BoxFuture<'static, Result<Reply, ClientError>> {
    request.extensions_mut().insert(itself());
    let server = ApiServer { registry, limits: Arc::default() };
    async move {
        let (head, body) = server.handle(request).await.into_parts();
        let read = Limited::new(body, bytes_max).collect().await;
        let body = read.map_err(|error| match error.is::<LengthLimitError>() {
            true => ClientError::TooLarge(bytes_max),
            false => ClientError::Unread(error.to_string()),
        })?;
        Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
    .boxed()
}
