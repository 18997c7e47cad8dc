//! The fifth stage: which flow a request belongs to, and a place for it among those under way.

use std::sync::Arc;

use api::{Status, UserInfo};

use super::audit::Event;
use super::inflight::{self, Inflight, Place, TooMany};
use crate::flow_control::Flow;
use crate::request::RequestInfo;
use crate::{ApiServer, Registry};

/// What a request may take.
#[derive(Default)]
pub(crate) struct Limited {
    /// Where it gets its place once its body is there; none if it needs none or has it.
    pub(crate) later: Option<Arc<Inflight>>,
    /// The place.
    pub(crate) place: Option<Place>,
}

/// Classifies a request of a user who is known, and waits for a place for it. What has a body gets its place when that is
/// there.
///
/// # Errors
/// 429 if there is no place.
pub(super) async fn limit(
    server: &ApiServer,
    user: &UserInfo,
    info: &RequestInfo,
    event: &mut Event,
) -> Result<Limited, Status> {
    event.flow = classify(server.registry(), user, info);
    if takes_body(info) {
        return Ok(Limited { later: Some(server.inflight().clone()), place: None });
    }
    let place = server.inflight().enter(user, info).await.map_err(TooMany::status)?;
    Ok(Limited { later: None, place })
}

/// Which flow the request belongs to; connections that last belong to none, but for watches.
fn classify(registry: &Registry, user: &UserInfo, info: &RequestInfo) -> Option<Arc<Flow>> {
    (info.verb == "watch" || !info.is_long_running()).then(|| registry.flows().classify(user, info))
}

/// Whether a request is answered by one of the verbs that read a body.
fn takes_body(info: &RequestInfo) -> bool {
    info.is_resource_request && inflight::changes(info) && !info.is_long_running()
}
