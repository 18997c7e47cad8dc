//! The third stage: who asks.

use std::sync::Arc;

use api::{Status, UserInfo};
use http::request::Parts;

use super::audit::Event;
use crate::Registry;
use crate::authentication::{anonymous, bearer, request_header};
use crate::plug::Known;
use crate::server::connections::Seat;

/// Who asks without credentials.
const ANONYMOUS: &str = "system:anonymous";

/// Finds out who asks: the identity that an in-process caller put in, or what the first authenticator finds. Credentials go
/// no further.
///
/// # Errors
/// 401 for credentials that are bad.
pub(super) async fn authenticate(
    registry: &Registry,
    parts: &mut Parts,
    event: &mut Event,
) -> Result<Arc<UserInfo>, Status> {
    if bearer::is_ignored(&parts.headers) {
        event.warnings.push(bearer::EXTRA_SPACE.into());
    }
    let Known { user, notes } = identify(registry, parts).await?;
    if let Some(notes) = notes {
        event.warnings.extend(notes.warnings.iter().cloned());
        event.credentials = Some(notes);
    }
    bearer::clear(&mut parts.headers);
    let front_proxy = registry.plugins().front_proxy.as_ref();
    request_header::clear(&mut parts.headers, front_proxy.map(|front_proxy| front_proxy.believed()));
    if let Some(seat) = parts.extensions.get::<Arc<Seat>>().filter(|_| user.username != ANONYMOUS) {
        seat.set_known();
    }
    Ok(user)
}

async fn identify(registry: &Registry, parts: &Parts) -> Result<Known, Status> {
    if let Some(user) = parts.extensions.get::<Arc<UserInfo>>() {
        return Ok(user.clone().into());
    }
    if let Some(user) = parts.extensions.get::<UserInfo>() {
        return Ok(Arc::new(user.clone()).into());
    }
    let started = registry.clock().instant();
    let found = recognise(registry, parts).await;
    let took = registry.clock().instant().saturating_duration_since(started);
    registry.metrics().authenticated(found.as_ref().ok().map(|known| known.user.username.as_str()), took);
    found
}

/// Asks the authenticators, in order.
async fn recognise(registry: &Registry, parts: &Parts) -> Result<Known, Status> {
    let mut failed = false;
    for authenticator in &registry.plugins().authenticators {
        match authenticator.authenticate(parts, registry).await {
            Ok(Some(known)) => return Ok(known),
            Ok(None) => {}
            Err(error) => {
                tracing::info!(%error, "a request could not be authenticated");
                failed = true;
            }
        }
    }
    let may = !failed && registry.plugins().anonymous.allows(parts.uri.path());
    if may { Ok(anonymous().into()) } else { Err(Status::unauthorized()) }
}
