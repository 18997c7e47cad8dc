//! The fifth stage: which flow a request belongs to, and a place for it among those under way.

use std::sync::Arc;
use std::time::Duration;

use api::{Status, UserInfo};

use super::audit::Event;
use super::inflight::{self, Place, TooMany};
use super::receive::REQUEST_TIMEOUT;
use crate::Registry;
use crate::audit::Layer;
use crate::flow_control::{Asked, Flow};
use crate::request::{Query, RequestInfo};

/// Of the time that a request has it waits for its place so much at most, as a divisor (`getRequestWaitContext` in
/// apiserver's `server/filters`).
const WAIT_PART: u32 = 4;

/// What a request may take.
#[derive(Default)]
pub(crate) struct Limited {
    /// What it gets its place by once its body is there; none if it needs none or has it.
    pub(crate) later: Option<Later>,
    /// The place.
    pub(crate) place: Option<Place>,
}

/// What a request gets its place by.
pub(crate) struct Later {
    /// None without priority and fairness.
    flow: Option<Arc<Flow>>,
    wait_max: Duration,
}

/// Classifies a request of a user who is known, and waits for a place for it. What has a body gets its place when that is
/// there, and a watch has one until the state is sent that it begins with.
///
/// # Errors
/// 429 if there is no place.
pub(super) async fn limit(
    registry: &Registry,
    user: &Arc<UserInfo>,
    info: &Arc<RequestInfo>,
    query: &Query,
    event: &mut Event,
) -> Result<Limited, Status> {
    if info.is_long_running() && !(info.verb == "watch" && registry.flow_control().is_some()) {
        return Ok(Limited::default());
    }
    event.flow = registry.flow_control().map(|control| control.classify(&**registry.store(), user, info));
    let later = Later { flow: event.flow.clone(), wait_max: wait_max(info, query) };
    if takes_body(info) {
        return Ok(Limited { later: Some(later), place: None });
    }
    let started = registry.clock().instant();
    let place = later.enter(registry, user, info, query).await;
    super::took(registry, &event.trail, Layer::Queue, started);
    let place = place.map_err(TooMany::status)?;
    Ok(Limited { later: None, place })
}

impl Later {
    /// Waits for a place.
    ///
    /// # Errors
    /// [`TooMany`] if there is none.
    pub(crate) async fn enter(
        &self,
        registry: &Registry,
        user: &Arc<UserInfo>,
        info: &Arc<RequestInfo>,
        query: &Query,
    ) -> Result<Option<Place>, TooMany> {
        let (Some(flow), Some(control)) = (&self.flow, registry.flow_control()) else {
            return registry.inflight().enter(user, info);
        };
        let asked = Asked { user, info, query, registry };
        control.enter(flow, asked, self.wait_max).await.map(|seat| Some(Place::Seat(seat)))
    }
}

/// Whether a request is answered by one of the verbs that read a body.
fn takes_body(info: &RequestInfo) -> bool {
    info.is_resource_request && inflight::changes(info) && !info.is_long_running()
}

/// How long a request waits for its place: a quarter of the time that it has, which its query may shorten. A watch has as
/// long as others to begin.
fn wait_max(info: &RequestInfo, query: &Query) -> Duration {
    let own = query.get("timeout").filter(|_| info.verb != "watch");
    let own = own.and_then(|text| api::go::duration::parse(text).ok()).and_then(|nanos| u64::try_from(nanos).ok());
    let own = own.filter(|nanos| *nanos > 0).map(Duration::from_nanos);
    own.map_or(REQUEST_TIMEOUT, |own| own.min(REQUEST_TIMEOUT)) / WAIT_PART
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn a_quarter_of_its_time_is_spent_on_waiting() {
        let check = |query: &str, seconds: f64| {
            let query = Query::parse(query);
            let info = RequestInfo::new(&Method::GET, "/api/v1/pods", &query).unwrap();
            assert_eq!(wait_max(&info, &query).as_secs_f64(), seconds, "{query:?}");
        };
        check("", 15.0);
        check("timeout=10s", 2.5);
        check("timeout=0s", 15.0);
        check("timeout=-3s", 15.0);
        check("timeout=5m", 15.0);
        check("timeout=10s&watch=1", 15.0);
    }
}
