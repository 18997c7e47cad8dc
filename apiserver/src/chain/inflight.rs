//! How many requests are served at once and how many may wait; long-running ones do not count.
//!
//! A place belongs to a user, so it is taken once the user is known, and to work, so it is taken once the body is there:
//! a client that sends slowly holds none. It is held until the answer is written, as a slot of the reference is.

use std::time::Duration;

use api::{Status, UserInfo};

use crate::request::RequestInfo;
use crate::shares::{Exhausted, Share, Shares, Sizes};

/// Requests that change something (`--max-mutating-requests-inflight`).
pub const MUTATING_MAX: usize = 200;
/// Requests that change nothing (`--max-requests-inflight`).
pub const READING_MAX: usize = 400;
/// Requests of either sort that may wait for a place.
pub const WAITING_MAX: usize = 5_000;
/// How long a request waits for a place (a quarter of the request timeout, as with priority and fairness).
pub const WAIT_MAX: Duration = Duration::from_secs(15);
/// The system has so many places of its own for every place of everybody else, in percent.
const SYSTEM_PERCENT: usize = 50;
/// One user can have so many of the places, in percent.
const SHARE_PERCENT: usize = 50;

/// A request's place; shared by those that need it to be held.
pub(crate) type Place = Share;

/// The limits of one server.
#[derive(Debug)]
pub struct Inflight {
    mutating: Lanes,
    reading: Lanes,
    wait_max: Duration,
}

/// One sort of requests: the system's and everybody else's.
#[derive(Debug)]
struct Lanes {
    everybody: Shares,
    system: Shares,
}

/// There is no place for a request, and no place to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

impl Default for Inflight {
    fn default() -> Self {
        Self::new(MUTATING_MAX, READING_MAX, WAITING_MAX)
    }
}

impl Inflight {
    /// So many places for requests that change something and for others, and so many of each that may wait.
    pub fn new(mutating: usize, reading: usize, waiting_max: usize) -> Self {
        let lanes = |places| Lanes::new(places, waiting_max);
        Self { mutating: lanes(mutating), reading: lanes(reading), wait_max: WAIT_MAX }
    }

    /// A place for a request of a user; none is needed for a long-running one, or to ask for the server's health.
    ///
    /// # Errors
    /// [`TooMany`], at once if too many wait already, else after [`WAIT_MAX`].
    pub(crate) async fn enter(&self, user: &UserInfo, info: &RequestInfo) -> Result<Option<Place>, TooMany> {
        if info.is_long_running() || is_probe(info) {
            return Ok(None);
        }
        let lanes = if changes(info) { &self.mutating } else { &self.reading };
        let lane = if is_system(user) || is_lease(info) { &lanes.system } else { &lanes.everybody };
        lane.take(user, 1, self.wait_max).await.map(Some).map_err(|Exhausted| TooMany)
    }
}

impl Lanes {
    fn new(places: usize, waiting: usize) -> Self {
        let lane = |total: usize| {
            let part = |of: usize| (of * SHARE_PERCENT).div_ceil(100);
            Shares::new(Sizes { total, share: part(total), waiting, waiting_share: part(waiting) })
        };
        Self { everybody: lane(places), system: lane((places * SYSTEM_PERCENT).div_ceil(100)) }
    }
}

impl TooMany {
    /// The status that stands for it where only a status can.
    pub fn status(self) -> Status {
        let mut status = Status::failure(429, "TooManyRequests", "Too many requests, please try again later.");
        status.details.get_or_insert_default().retry_after_seconds = RETRY_AFTER_SECONDS;
        status
    }
}

/// When a client that was refused may come back.
const RETRY_AFTER_SECONDS: u32 = 1;

/// Whether a request may change something.
pub fn changes(info: &RequestInfo) -> bool {
    !matches!(info.verb.as_str(), "get" | "list" | "watch" | "head" | "options")
}

/// What the flow schema `probes` exempts.
fn is_probe(info: &RequestInfo) -> bool {
    info.verb == "get" && matches!(info.path.as_str(), "/healthz" | "/livez" | "/readyz")
}

/// Those that a cluster needs to stay one: administrators, nodes, and the components and service accounts of the
/// system (the flow schemas `exempt`, `system-nodes`, `kube-controller-manager`, `kube-scheduler` and
/// `kube-system-service-accounts`).
pub fn is_system(user: &UserInfo) -> bool {
    const GROUPS: [&str; 2] = ["system:masters", "system:nodes"];
    const USERS: [&str; 4] =
        ["system:apiserver", "system:kube-controller-manager", "system:kube-proxy", "system:kube-scheduler"];
    const SERVICE_ACCOUNTS: &str = "system:serviceaccount:kube-system:";
    user.groups.iter().any(|group| GROUPS.contains(&group.as_str()))
        || USERS.contains(&user.username.as_str())
        || user.username.starts_with(SERVICE_ACCOUNTS)
}

/// Leaders and nodes live by renewing one in time.
fn is_lease(info: &RequestInfo) -> bool {
    info.resource == "leases"
        && info.group == "coordination.k8s.io"
        && matches!(info.verb.as_str(), "get" | "create" | "update" | "patch")
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use http::Method;

    use super::*;
    use crate::request::Query;

    fn info(method: Method, path: &str) -> RequestInfo {
        RequestInfo::new(&method, path, &Query::parse("")).unwrap()
    }

    fn post() -> RequestInfo {
        info(Method::POST, "/api/v1/namespaces/a/configmaps")
    }

    fn users() -> [UserInfo; 3] {
        [("alice", "dev"), ("bob", "dev"), ("system:node:n", "system:nodes")].map(|(u, g)| UserInfo::new(u, &[g]))
    }

    #[tokio::test]
    async fn one_user_cannot_keep_others_out() {
        let limits = Inflight { wait_max: Duration::from_millis(1), ..Inflight::new(4, 4, 4) };
        let [alice, bob, node] = users();
        let mut held = Vec::new();
        while let Some(Ok(place)) = limits.enter(&alice, &post()).now_or_never() {
            held.push(place.unwrap());
        }
        assert_eq!(held.len(), 2, "half of the places");
        assert!(limits.enter(&bob, &post()).await.is_ok());
        assert!(
            limits.enter(&alice, &info(Method::GET, "/api/v1/pods")).await.is_ok(),
            "reads have places of their own"
        );
        let [log, exec] = ["log", "exec"].map(|name| info(Method::GET, &format!("/api/v1/namespaces/a/pods/p/{name}")));
        for lasts in [log, exec, info(Method::GET, "/readyz")] {
            assert!(limits.enter(&alice, &lasts).await.unwrap().is_none(), "{lasts:?}");
        }
        assert_eq!(limits.enter(&alice, &post()).await.err(), Some(TooMany), "after the longest wait");
        let _more: Vec<_> = [limits.enter(&bob, &post()).await, limits.enter(&bob, &post()).await].into();
        assert!(limits.enter(&node, &post()).await.is_ok(), "nodes have places of their own");
        let lease = "/apis/coordination.k8s.io/v1/namespaces/a/leases/l";
        assert!(limits.enter(&alice, &info(Method::PUT, lease)).await.is_ok(), "and so have leases");
    }

    #[test]
    fn the_system_is_known_by_name() {
        let check = |name: &str, groups: &[&str], expected| {
            assert_eq!(is_system(&UserInfo::new(name, groups)), expected, "{name}");
        };
        check("admin", &["system:masters", "system:authenticated"], true);
        check("system:node:n", &["system:nodes"], true);
        check("system:kube-scheduler", &[], true);
        check("system:serviceaccount:kube-system:deployment-controller", &["system:serviceaccounts"], true);
        check("system:serviceaccount:kube-systems:x", &["system:serviceaccounts"], false);
        check("system:anonymous", &["system:unauthenticated"], false);
        check("alice", &["system:authenticated"], false);
    }
}
