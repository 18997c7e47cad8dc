//! Tests of zones.

use serde_json::json;

use super::*;

fn node(name: &str, zone: &str, ready: Option<bool>) -> Node {
    let conditions = ready.map(|r| json!([{"type": "Ready", "status": if r { "True" } else { "False" }}]));
    let node = json!({"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}},
        "status": {"conditions": conditions}});
    serde_json::from_value(node).expect("a node")
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Notes so many nodes of a zone, the first of which are not ready, and judges.
fn set(zones: &mut Zones, zone: &str, all: usize, unready: usize) -> Turn {
    for n in 0..all {
        zones.note(&node(&format!("{zone}{n:03}"), zone, Some(n >= unready)));
    }
    zones.judge()
}

#[test]
fn nobody_is_evicted_while_no_node_is_ready() {
    let mut zones = Zones::default();
    assert_eq!(set(&mut zones, "a", 1, 0), Turn::None);
    assert_eq!(set(&mut zones, "a", 1, 1), Turn::Stopped, "one node is all nodes");
    zones.enqueue("a000", s(0));
    assert_eq!(zones.next("\0", s(5), s(1000)), None);
    let zone = zone_of(&node("", "a", None));
    assert_eq!(zones.next(&zone, s(5), s(1000)), None);
    assert_eq!(set(&mut zones, "a", 1, 1), Turn::None);
    zones.note(&node("b0", "b", Some(true)));
    assert_eq!(zones.judge(), Turn::Resumed, "another zone has a node that is ready");
    assert_eq!(zones.next(&zone, s(5), s(1000)), Some(Ok("a000".into())), "a zone alone goes on at the usual rate");
    zones.note(&node("b0", "b", Some(false)));
    assert_eq!(zones.judge(), Turn::Stopped);
    zones.forget("b0");
    assert_eq!(zones.judge(), Turn::None);
    assert!(zones.are_stopped());
}

#[test]
fn a_cluster_that_starts_without_a_ready_node_is_stopped() {
    let mut zones = Zones::default();
    zones.note(&node("a", "", None));
    assert_eq!(zones.judge(), Turn::Stopped);
    zones.note(&node("a", "", Some(true)));
    assert_eq!(zones.judge(), Turn::Resumed);
    zones.forget("a");
    assert_eq!(zones.judge(), Turn::None, "no node is no disruption");
}

/// `TestMonitorNodeHealthEvictPodsWithDisruption` and `ReducedQPSFunc`.
#[test]
fn a_disrupted_zone_evicts_slowly_or_not_at_all() {
    let pause = |all, unready| {
        let mut zones = Zones::default();
        set(&mut zones, "a", all, unready);
        set(&mut zones, "b", 1, 0);
        zones.zones[&zone_of(&node("", "a", None))].pause()
    };
    assert_eq!(pause(10, 5), Some(PAUSE), "half of them");
    assert_eq!(pause(10, 6), None, "a small zone stops");
    assert_eq!(pause(3, 2), Some(PAUSE), "two are too few to tell");
    assert_eq!(pause(60, 33), Some(SLOW_PAUSE));
    assert_eq!(pause(60, 32), Some(PAUSE));
    assert_eq!(pause(60, 60), Some(PAUSE), "a whole zone went, and others live");
}

#[test]
fn nodes_go_one_by_one_and_those_that_come_back_stay() {
    let mut zones = Zones::default();
    set(&mut zones, "a", 10, 3);
    let zone = zone_of(&node("", "a", None));
    for (name, at) in [("a000", 0), ("a001", 1), ("a002", 2)] {
        assert_eq!(zones.enqueue(name, s(at)).as_ref(), Some(&zone));
    }
    zones.enqueue("a000", s(9));
    assert_eq!(zones.next(&zone, s(5), s(1)), Some(Err(s(4))), "others may follow at once");
    assert_eq!(zones.next(&zone, s(5), s(5)), Some(Ok("a000".into())));
    zones.went("a000", s(5));
    assert_eq!(zones.next(&zone, s(5), s(6)), Some(Err(s(9))));
    zones.dequeue("a001");
    assert_eq!(zones.next(&zone, s(5), s(15)), Some(Ok("a002".into())));
    zones.forget("a002");
    assert_eq!(zones.next(&zone, s(5), s(99)), None);
    assert!(zones.waiting().is_empty());
}

#[test]
fn some_nodes_do_not_count() {
    let mut zones = Zones::default();
    zones.note(&node("a", "", Some(true)));
    let mut excluded = node("b", "", Some(true));
    excluded.labels_mut().insert(EXCLUDED.into(), String::new());
    zones.note(&excluded);
    zones.judge();
    zones.note(&node("a", "", Some(false)));
    assert_eq!(zones.judge(), Turn::Stopped, "the one that is ready does not count");
}
