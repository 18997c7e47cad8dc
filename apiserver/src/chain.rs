//! What happens to every request, in this order:
//!
//! 1. [`receive`]: what is asked. How long it may take, a panic, and what is counted of it are bounded here.
//! 2. [`audit`]: what is noted of it on its way, and told in the headers of its answer.
//! 3. [`authenticate`]: who asks. Credentials end here.
//! 4. [`impersonate`]: as whom.
//! 5. [`limit`]: which flow it belongs to, and a place among the requests under way.
//! 6. [`authorize`]: whether they may.
//! 7. [`dispatch`]: what the path leads to, and what is done there.

pub mod audit;
pub mod authenticate;
pub mod authorize;
pub mod dispatch;
pub mod inflight;
pub mod limit;
pub mod receive;

use std::sync::Arc;

use api::{Status, UserInfo};
use axum::body::Body;
use http::Response;
use http::request::Parts;

use crate::authentication::impersonation;
use crate::request::{Query, RequestInfo};
use crate::{ApiServer, Registry};

/// A request on its way through the stages.
pub(crate) struct Asked {
    /// Method, headers and extensions.
    pub(crate) parts: Parts,
    /// The body, not yet read.
    pub(crate) body: Body,
    /// The query.
    pub(crate) query: Query,
    /// What is asked.
    pub(crate) info: Arc<RequestInfo>,
}

/// The stages between [`receive`] and the answer: the refusal of the first that refuses, or what is done.
async fn answer(server: &ApiServer, mut asked: Asked) -> (Response<Body>, audit::Event) {
    let registry = server.registry();
    let mut audit = audit::Audit::begin(&asked);
    let event = &mut audit.event;
    let answered = async {
        receive::check_timeout(&asked.query)?;
        let asker = authenticate::authenticate(registry, &mut asked.parts, event).await?;
        let user = impersonate(registry, &mut asked, asker).await?;
        let limited = limit::limit(registry, &user, &asked.info, &asked.query, event).await?;
        authorize::authorize(registry, authorize::attributes(&user, &asked.info, &asked.query)).await?;
        dispatch::dispatch(registry, user, asked, limited, event).await
    };
    let answered = answered.await;
    audit.end(answered)
}

/// Who the request counts as: the user that its headers name, if who asks may act as them.
async fn impersonate(registry: &Registry, asked: &mut Asked, asker: Arc<UserInfo>) -> Result<Arc<UserInfo>, Status> {
    let attributes = authorize::attributes(&asker, &asked.info, &asked.query);
    let user = impersonation::impersonate(&mut asked.parts.headers, attributes, &asker, registry).await?;
    Ok(user.unwrap_or(asker))
}
