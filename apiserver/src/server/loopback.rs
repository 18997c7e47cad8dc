//! What the server writes as a client of itself (`LoopbackClientConfig` in apiserver): through the whole chain, so that
//! admission, validation and managed fields hold for it too.

use api::UserInfo;
use axum::body::Body;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Method, Request, StatusCode};

use super::ApiServer;

/// The user agent of what the server asks of itself.
const USER_AGENT_NAME: &str = "kube-apiserver";

impl ApiServer {
    /// Asks the server itself as `system:apiserver`; how it was answered.
    pub(crate) async fn ask_itself(
        &self,
        method: &Method,
        url: String,
        content_type: &str,
        body: String,
    ) -> StatusCode {
        let user = UserInfo::new("system:apiserver", &["system:masters"]);
        let request = Request::builder().method(method).uri(url).extension(user);
        let request = request.header(CONTENT_TYPE, content_type).header(USER_AGENT, USER_AGENT_NAME);
        match request.body(Body::from(body)) {
            Ok(request) => self.handle(request).await.status(),
            Err(_) => StatusCode::BAD_REQUEST,
        }
    }
}
