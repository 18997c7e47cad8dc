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

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use api::{Status, UserInfo};
use axum::body::Body;
use http::Response;
use http::request::Parts;

use crate::audit::{Abandoned, Layer, Trail, body as follow};
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
    let mut audit = audit::Audit::begin(registry, &asked);
    let lasts = asked.info.is_long_running();
    let let_in = let_in(registry, &mut asked, &mut audit).await;
    let trail = audit.event.trail.clone();
    // Whatever becomes of the request from now on, the trail has an end.
    let abandoned = trail.as_ref().map(Abandoned::new);
    let event = &mut audit.event;
    let answered = {
        // Pinned, so that it has one place in the future of a request, whether that is audited or not.
        let answered = pin!(async {
            let asker = let_in?;
            let user = impersonate(registry, &mut asked, asker, event).await?;
            let limited = limit::limit(registry, &user, &asked.info, &asked.query, event).await?;
            authorize::authorize(registry, authorize::attributes(&user, &asked.info, &asked.query), event).await?;
            dispatch::dispatch(registry, user, asked, limited, event).await
        });
        match &trail {
            None => answered.await,
            Some(trail) => Box::pin(follow::panics(trail, answered)).await,
        }
    };
    let (response, event) = audit.end(answered);
    let response = match trail {
        None => response,
        Some(trail) => Box::pin(follow::follow(trail, response, lasts)).await,
    };
    if let Some(abandoned) = abandoned {
        abandoned.answered();
    }
    (response, event)
}

/// Finds out who asks, and begins to write down what is asked.
async fn let_in(registry: &Registry, asked: &mut Asked, audit: &mut audit::Audit) -> Result<Arc<UserInfo>, Status> {
    let is_audited = registry.config().audit.is_some();
    if let Err(status) = receive::check_timeout(&asked.query) {
        let trail = audit.trail(registry, asked, None);
        Box::pin(audit::unknown(trail, status.message.clone(), status.code)).await;
        return Err(status);
    }
    // Credentials are gone afterwards.
    let tried = is_audited.then(|| audit::methods_tried(asked));
    let started = registry.clock().instant();
    match authenticate::authenticate(registry, &mut asked.parts, &mut audit.event).await {
        Ok(user) => {
            let trail = audit.trail(registry, asked, Some(&user));
            took(registry, &trail, Layer::Authentication, started);
            audit.known(trail).await?;
            Ok(user)
        }
        Err(status) => {
            if let Some(tried) = tried {
                let trail = audit.trail(registry, asked, None);
                Box::pin(audit::unknown(trail, tried, status.code)).await;
            }
            Err(status)
        }
    }
}

/// Notes how long a layer took, if that is written down.
fn took(registry: &Registry, trail: &Option<Arc<Trail>>, layer: Layer, started: Instant) {
    if let Some(trail) = trail {
        trail.took(layer, registry.clock().instant().saturating_duration_since(started));
    }
}

/// Who the request counts as: the user that its headers name, if who asks may act as them.
async fn impersonate(
    registry: &Registry,
    asked: &mut Asked,
    asker: Arc<UserInfo>,
    event: &audit::Event,
) -> Result<Arc<UserInfo>, Status> {
    let attributes = authorize::attributes(&asker, &asked.info, &asked.query);
    let started = registry.clock().instant();
    let user = impersonation::impersonate(&mut asked.parts.headers, attributes, &asker, registry).await?;
    if user.is_some() {
        took(registry, &event.trail, Layer::Impersonation, started);
    }
    if let (Some(user), Some(trail)) = (&user, &event.trail) {
        trail.impersonated(user.clone());
    }
    Ok(user.unwrap_or(asker))
}
