//! Names and ends of leases.

use super::*;

#[test]
fn a_lease_is_named_as_the_reference_names_it() {
    assert_eq!(base32(b"foobar"), "mzxw6ytboi");
    // Recorded from a kube-apiserver on a host of this name.
    assert_eq!(lease_name("vm"), "apiserver-wlv32tlttr4jl3gtroqexyxapa");
}

#[test]
fn a_lease_runs_out_after_its_time() {
    let now: Timestamp = "2026-01-01T02:00:00Z".parse().unwrap();
    let check = |spec: serde_json::Value, out: bool| {
        let lease = Object::from_value(json!({"spec": spec})).unwrap();
        assert_eq!(has_run_out(&lease, now), out, "{lease:?}");
    };
    check(json!({"renewTime": "2026-01-01T01:00:01.000000Z", "leaseDurationSeconds": 3600}), false);
    check(json!({"renewTime": "2026-01-01T00:59:59.000000Z", "leaseDurationSeconds": 3600}), true);
    check(json!({"renewTime": "2026-01-01T01:59:59.000000Z"}), true);
    check(json!({"leaseDurationSeconds": 3600}), true);
}

#[tokio::test]
async fn the_lease_is_there_while_the_server_is() {
    let mut config = crate::Config::new(store::Memory::new());
    config.host_name = "one".into();
    let server = ApiServer::new(config);
    let registry = server.registry().clone();
    let get = |name: &str| registry.get(GROUP, "leases", NAMESPACE, name);
    let stale = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "apiserver-gone", "namespace": NAMESPACE, "labels": {IDENTITY_LABEL: COMPONENT}},
        "spec": {"holderIdentity": "x", "leaseDurationSeconds": 1, "renewTime": "2020-01-01T00:00:00.000000Z"}});
    let lease = Lease::new(server.clone());
    lease.send(Method::POST, url(""), stale.to_string()).await;
    assert!(get("apiserver-gone").is_some());
    lease.renew().await;
    lease.clean_up().await;
    assert!(get("apiserver-gone").is_none());
    let first = get(&lease.name).unwrap();
    assert_eq!(first.str_at(&["spec", "holderIdentity"]), lease.holder);
    assert_eq!(first.str_at(&["metadata", "labels", "kubernetes.io/hostname"]), "one");
    assert_eq!(first.at(&["spec", "leaseDurationSeconds"]), Some(&json!(3600)));
    lease.renew().await;
    let second = get(&lease.name).unwrap();
    assert!(second.uid() == first.uid() && second.resource_version() != first.resource_version());
    lease.delete(&lease.name).await;
    assert!(get(&lease.name).is_none());
}
