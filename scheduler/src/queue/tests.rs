//! Pods that wait, as data.

use super::*;
use serde_json::json;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn pod(uid: &str, priority: i32, gated: bool) -> Arc<PodInfo> {
    let gates = if gated { json!([{"name": "g"}]) } else { json!(null) };
    let pod = json!({"metadata": {"uid": uid},
        "spec": {"priority": priority, "schedulingGates": gates, "containers": []}});
    Arc::new(PodInfo::new(&serde_json::from_value(pod).unwrap(), &mut crate::pod::Sharing::default()))
}

fn pop(queue: &mut Queue, now: u64) -> Option<String> {
    queue.pop(s(now)).map(|pod| pod.uid.clone())
}

#[test]
fn priority_first_then_age() {
    let mut queue = Queue::default();
    for (uid, priority) in [("a", 0), ("b", 10), ("c", 0)] {
        queue.set(pod(uid, priority, false), false, s(0));
    }
    let order: Vec<_> = std::iter::from_fn(|| pop(&mut queue, 0)).collect();
    assert_eq!(order, ["b", "a", "c"]);
}

#[test]
fn a_rejected_pod_waits_for_an_event_that_helps() {
    let mut queue = Queue::default();
    queue.set(pod("a", 0, false), false, s(0));
    assert_eq!(pop(&mut queue, 0).as_deref(), Some("a"));
    queue.failed("a", HashSet::from([Plugin::NodeResourcesFit]), s(0));
    assert_eq!(queue.next_deadline(), Some(s(300)));
    queue.on_event(ClusterEvent::Storage, "Storage", s(5));
    assert_eq!(pop(&mut queue, 5), None);
    queue.on_event(ClusterEvent::PodGone, "PodGone", s(5));
    assert_eq!(pop(&mut queue, 5).as_deref(), Some("a"));
}

#[test]
fn an_event_during_the_attempt_is_not_missed() {
    let mut queue = Queue::default();
    queue.set(pod("a", 0, false), false, s(0));
    pop(&mut queue, 0);
    queue.on_event(ClusterEvent::Node, "Node", s(0));
    queue.failed("a", HashSet::from([Plugin::NodeAffinity]), s(0));
    assert_eq!(queue.next_deadline(), Some(s(1)));
    assert_eq!(pop(&mut queue, 1).as_deref(), Some("a"));
}

#[test]
fn pauses_double_up_to_ten_seconds() {
    let pauses: Vec<u64> = (1..=6).map(|attempts| pause(attempts).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
}

#[test]
fn gates_hold_and_nothing_waits_for_ever() {
    let mut queue = Queue::default();
    queue.set(pod("a", 0, true), false, s(0));
    assert_eq!(pop(&mut queue, 0), None);
    queue.set(pod("a", 0, false), false, s(1));
    assert_eq!(pop(&mut queue, 1).as_deref(), Some("a"));
    queue.failed("a", HashSet::from([Plugin::NodeAffinity]), s(1));
    assert_eq!(pop(&mut queue, 300), None);
    assert_eq!(pop(&mut queue, 301).as_deref(), Some("a"));
    queue.remove("a");
    assert!(queue.waiting.is_empty());
}
