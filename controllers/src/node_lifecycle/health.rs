//! Signs of life of nodes, and what is said of one that gives none.

use std::collections::HashMap;
use std::time::Duration;

use client::{Clock, Informer};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use parking_lot::Mutex;

use super::{LEASE_NAMESPACE, condition};

/// After this time without a sign a node is not known to live (`--node-monitor-grace-period` of the reference).
pub(super) const GRACE: Duration = Duration::from_secs(50);
/// The same for a node that has never reported (`--node-startup-grace-period`).
const STARTUP_GRACE: Duration = Duration::from_secs(60);
/// Conditions that are unknown once the node is.
const CONDITIONS: &[&str] = &["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// The last signs of a node, and when we saw them: its own clock does not count.
struct Signs {
    renewed: Option<jiff::Timestamp>,
    heartbeat: Option<jiff::Timestamp>,
    seen: Duration,
}

/// When nodes last gave a sign.
pub(super) struct Health {
    clock: Clock,
    leases: Informer<Lease>,
    signs: Mutex<HashMap<String, Signs>>,
}

impl Health {
    pub(super) fn new(clock: Clock, leases: Informer<Lease>) -> Self {
        Self { clock, leases, signs: Mutex::default() }
    }

    pub(super) fn forget(&self, name: &str) {
        self.signs.lock().remove(name);
    }

    /// Gives every node a whole grace period from now: it was not their fault that they were not heard.
    pub(super) fn begin_again(&self) {
        let now = self.clock.elapsed();
        self.signs.lock().values_mut().for_each(|signs| signs.seen = now);
    }

    /// How long until the node is given up, if it gives no further sign.
    pub(super) fn left(&self, node: &Node) -> Duration {
        let name = node.name_any();
        let lease = self.leases.get(LEASE_NAMESPACE, &name);
        let renewed = lease.and_then(|l| l.spec.as_ref()?.renew_time.as_ref().map(|t| t.0));
        let ready = condition(node, "Ready");
        let heartbeat = ready.and_then(|c| c.last_heartbeat_time.as_ref().map(|t| t.0));
        let grace = if ready.is_none() { STARTUP_GRACE } else { GRACE };
        let now = self.clock.elapsed();
        // How long ago a time of the API server's or the node's clock was, as far as the clocks agree; never before now.
        let ago = |time: jiff::Timestamp| Duration::try_from(self.clock.now().duration_since(time)).unwrap_or_default();
        let mut signs = self.signs.lock();
        let last = signs.entry(name).or_insert_with(|| {
            // One that has not reported had its time since it was made.
            let created = node.metadata.creation_timestamp.as_ref().filter(|_| ready.is_none() && renewed.is_none());
            let age = created.map_or(Duration::ZERO, |time| ago(time.0));
            Signs { renewed, heartbeat, seen: now.saturating_sub(age) }
        });
        if last.renewed != renewed || last.heartbeat != heartbeat {
            let newest = renewed.into_iter().chain(heartbeat).max();
            let age = newest.map(ago).filter(|age| *age < GRACE).unwrap_or_default();
            *last = Signs { renewed, heartbeat, seen: now.saturating_sub(age) };
        }
        grace.saturating_sub(now.saturating_sub(last.seen))
    }
}

/// The node with conditions that say that nobody knows how it is, unless they do (`tryUpdateNodeHealth`).
pub(super) fn unknown(node: &Node, now: &Time) -> Option<Node> {
    let mut changed = node.clone();
    let created = node.metadata.creation_timestamp.clone();
    let conditions = changed.status.get_or_insert_default().conditions.get_or_insert_default();
    for type_ in CONDITIONS {
        match conditions.iter_mut().find(|c| c.type_ == *type_) {
            Some(c) if c.status == "Unknown" => {}
            Some(c) => {
                c.status = "Unknown".into();
                c.reason = Some("NodeStatusUnknown".into());
                c.message = Some("Kubelet stopped posting node status.".into());
                c.last_transition_time = Some(now.clone());
            }
            None => conditions.push(NodeCondition {
                type_: (*type_).into(),
                status: "Unknown".into(),
                reason: Some("NodeStatusNeverUpdated".into()),
                message: Some("Kubelet never posted node status.".into()),
                last_heartbeat_time: created.clone(),
                last_transition_time: Some(now.clone()),
            }),
        }
    }
    (changed != *node).then_some(changed)
}

#[cfg(test)]
mod tests {
    use client::informer::drop_managed_fields;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_that_never_reports_has_its_time_from_its_birth() {
        let clock = Clock::manual("2026-01-01T00:01:00Z".parse().expect("a time"));
        let health = Health::new(clock.clone(), Informer::detached(drop_managed_fields));
        clock.advance(Duration::from_secs(300));
        let node = |name: &str, conditions: serde_json::Value| -> Node {
            let node = json!({"metadata": {"name": name, "creationTimestamp": "2026-01-01T00:05:20Z"},
                "status": {"conditions": conditions}});
            serde_json::from_value(node).expect("a node")
        };
        let silent = node("silent", json!(null));
        assert_eq!(health.left(&silent), Duration::from_secs(20));
        let ready = json!([{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]);
        let ready = node("ready", ready);
        assert_eq!(health.left(&ready), GRACE, "it is seen for the first time");
        clock.advance(Duration::from_secs(49));
        assert_eq!((health.left(&ready), health.left(&silent)), (Duration::from_secs(1), Duration::ZERO));
        health.begin_again();
        assert_eq!(health.left(&ready), GRACE);
    }

    #[test]
    fn what_is_unknown_is_said_once() {
        let node: Node = serde_json::from_value(json!({"metadata": {"name": "n"}})).expect("a node");
        let now = Time(jiff::Timestamp::UNIX_EPOCH);
        let once = unknown(&node, &now).expect("it is news");
        let reasons =
            once.status.iter().flat_map(|s| s.conditions.iter().flatten()).filter_map(|c| c.reason.as_deref());
        assert_eq!(reasons.collect::<Vec<_>>(), ["NodeStatusNeverUpdated"; 4]);
        assert!(unknown(&once, &now).is_none());
    }
}
