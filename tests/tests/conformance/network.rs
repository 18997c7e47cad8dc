//! Services and their endpoints, as the API and the controllers see them.

mod endpoints;

use serde_json::{Value, json};

use crate::agent;
use crate::case::{Conformance, test};
use crate::plane::{Plane, condition, has};
use crate::resource::Resource;

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    let mut tests = services();
    tests.extend(endpoints::tests());
    tests.extend(addresses());
    tests
}

/// Services that all want the same pod.
const SERVICES: usize = 100;

fn services() -> Vec<Conformance> {
    vec![
        test("[sig-network] Services should complete a service status lifecycle [Conformance]", status_lifecycle),
        test("[sig-network] Services should delete a collection of services [Conformance]", |plane| async move {
            let services = plane.of("v1", "services");
            for (name, set) in [("one", "a"), ("two", "a"), ("three", "b")] {
                let mut one = service(name, "ClusterIP");
                one["metadata"]["labels"] = json!({"set": set});
                services.create(one).await;
            }
            services.delete_all("labelSelector=set%3Da").await;
            services.until_all("", "the other alone", |all| all.len() == 1).await;
            services.get("three").await;
        }),
        test(
            "[sig-network] Services should find a service from listing all namespaces [Conformance]",
            |plane| async move {
                let all = plane.wide("v1", "services").list("").await;
                let found =
                    |s: &&Value| s["metadata"]["name"] == "kubernetes" && s["metadata"]["namespace"] == "default";
                assert_eq!(all.iter().filter(found).count(), 1);
            },
        ),
        test(
            "[sig-network] Services should be able to change the type from ExternalName to ClusterIP [Conformance]",
            |plane| changes(plane, "ExternalName", "ClusterIP"),
        ),
        test(
            "[sig-network] Services should be able to change the type from ExternalName to NodePort [Conformance]",
            |plane| changes(plane, "ExternalName", "NodePort"),
        ),
        test(
            "[sig-network] Services should be able to change the type from ClusterIP to ExternalName [Conformance]",
            |plane| changes(plane, "ClusterIP", "ExternalName"),
        ),
        test(
            "[sig-network] Services should be able to change the type from NodePort to ExternalName [Conformance]",
            |plane| changes(plane, "NodePort", "ExternalName"),
        ),
        test("[sig-network] Services should serve a basic endpoint from pods [Conformance]", |plane| {
            serves(plane, &[("", 80)])
        }),
        test("[sig-network] Services should serve multiport endpoints from pods [Conformance]", |plane| {
            serves(plane, &[("portname1", 100), ("portname2", 101)])
        }),
        test(
            "[sig-network] Services should serve endpoints on same port and different protocols [Conformance]",
            protocols,
        ),
        test("[sig-network] Service endpoints latency should not be very high [Conformance]", |plane| async move {
            pod(&plane, "pod1", &[]).await;
            let (services, slices) = (plane.of("v1", "services"), plane.of("discovery.k8s.io/v1", "endpointslices"));
            for n in 0..SERVICES {
                let mut one = service(&format!("one-{n}"), "ClusterIP");
                one["spec"]["selector"] = json!({"app": "one"});
                services.create(one).await;
            }
            slices.until_all("", "every service to reach the pod", |all| reached(all).len() == SERVICES).await;
        }),
        affinity("service with type clusterIP", "ClusterIP", "have session affinity work for"),
        affinity("NodePort service", "NodePort", "have session affinity work for"),
        affinity("service with type clusterIP", "ClusterIP", "be able to switch session affinity for"),
        affinity("NodePort service", "NodePort", "be able to switch session affinity for"),
        test(
            "[sig-network] Services should be able to create a functioning NodePort service [Conformance]",
            |plane| async move {
                let made = plane.of("v1", "services").create(service("one", "NodePort")).await;
                let port = made["spec"]["ports"][0]["nodePort"].as_u64().expect("a port");
                assert!((30000..32768).contains(&port));
                let same = json!({"metadata": {"name": "two"}, "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}});
                plane.of("v1", "services").try_create(&same).await.refused(422, "provided port is already allocated");
            },
        ),
    ]
}

fn service(name: &str, kind: &str) -> Value {
    match kind {
        "ExternalName" => {
            json!({"metadata": {"name": name}, "spec": {"type": kind, "externalName": "foo.example.com"}})
        }
        _ => {
            json!({"metadata": {"name": name}, "spec": {"type": kind, "selector": {"app": name}, "ports": [{"port": 80}]}})
        }
    }
}

async fn status_lifecycle(plane: Plane) {
    let services = plane.of("v1", "services");
    let mut one = service("one", "LoadBalancer");
    one["metadata"]["labels"] = json!({"static": "true"});
    services.create(one).await;
    let mut watch = services.watch("labelSelector=static%3Dtrue").await;
    watch.expect("ADDED", "one").await;
    assert!(
        services.status().get("one").await["status"]["loadBalancer"].as_object().is_some_and(serde_json::Map::is_empty)
    );
    let patch = json!({"metadata": {"annotations": {"patched": "true"}}, "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}});
    let patched = services.status().merge("one", patch).await;
    assert_eq!(patched["status"]["loadBalancer"]["ingress"][0]["ip"], "203.0.113.1");
    watch.until("MODIFIED", "the patch", |s| s["metadata"]["annotations"]["patched"] == "true").await;
    let added = json!({"type": "StatusUpdate", "status": "True", "reason": "Test", "message": "it is a test",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    services.status().change("one", |s| s["status"]["conditions"] = json!([added])).await;
    watch.until("MODIFIED", "the condition", |s| condition(s, "StatusUpdate")["status"] == "True").await;
    services.strategic("one", json!({"metadata": {"labels": {"patched": "true"}}})).await;
    watch.until("MODIFIED", "the label", |s| s["metadata"]["labels"]["patched"] == "true").await;
    services.delete("one").await;
    watch.expect("DELETED", "one").await;
}

/// What a service of a type has is there after a change to it, and what another had is gone.
async fn changes(plane: Plane, from: &'static str, to: &'static str) {
    let services = plane.of("v1", "services");
    services.create(service("one", from)).await;
    let changed = services
        .change("one", |s| {
            s["spec"]["type"] = json!(to);
            if to == "ExternalName" {
                s["spec"]["externalName"] = json!("foo.example.com");
            } else {
                s["spec"].as_object_mut().expect("a spec").remove("externalName");
                s["spec"]["ports"] = json!([{"port": 80, "name": "http"}]);
            }
        })
        .await;
    let spec = &changed["spec"];
    assert_eq!(spec["type"], to);
    assert_eq!(spec["clusterIP"].as_str().is_some_and(|ip| !ip.is_empty()), to != "ExternalName", "{spec}");
    assert_eq!(spec["ports"][0]["nodePort"].is_u64(), to == "NodePort", "{spec}");
    assert_eq!(spec["externalName"].is_string(), to == "ExternalName", "{spec}");
}

async fn pod(plane: &Plane, name: &str, ports: &[(&str, u16)]) {
    let pods = plane.of("v1", "pods");
    let ports: Vec<Value> = ports
        .iter()
        .map(|(name, port)| match *name {
            "" => json!({"containerPort": port}),
            name => json!({"name": name, "containerPort": port}),
        })
        .collect();
    pods.create(
        json!({"metadata": {"name": name, "labels": {"app": "one"}}, "spec": {"terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": "a:1", "ports": ports}]}}),
    )
    .await;
    pods.until(name, "it is ready", |p| condition(p, "Ready")["status"] == "True").await;
}

/// The addresses and ports of all slices of the service `one`: pod names and port numbers.
fn reached(slices: &[Value]) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for slice in slices {
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            let name = endpoint["targetRef"]["name"].as_str().unwrap_or_default();
            let ports = slice["ports"].as_array().into_iter().flatten();
            all.extend(ports.filter_map(|p| p["port"].as_u64()).map(|port| (name.to_owned(), port)));
        }
    }
    all.sort();
    all
}

async fn slices_become(slices: &Resource, what: &str, expect: &[(&str, u64)]) {
    let expect: Vec<(String, u64)> = expect.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect();
    slices.until_all("labelSelector=kubernetes.io/service-name%3Done", what, |all| reached(all) == expect).await;
}

/// Pods come and go, and so do their endpoints.
async fn serves(plane: Plane, ports: &'static [(&'static str, u16)]) {
    let slices = plane.of("discovery.k8s.io/v1", "endpointslices");
    let mut one = service("one", "ClusterIP");
    let port = |(n, (name, port)): (usize, &(&str, u16))| match *name {
        "" => json!({"port": 80, "targetPort": port}),
        name => json!({"name": name, "port": 80 + n, "targetPort": name}),
    };
    one["spec"]["ports"] = ports.iter().enumerate().map(port).collect();
    plane.of("v1", "services").create(one).await;
    slices_become(&slices, "nothing", &[]).await;
    if let [first, second] = ports {
        pod(&plane, "pod1", &[*first]).await;
        slices_become(&slices, "the first pod", &[("pod1", first.1.into())]).await;
        pod(&plane, "pod2", &[*second]).await;
        slices_become(&slices, "both", &[("pod1", first.1.into()), ("pod2", second.1.into())]).await;
        plane.of("v1", "pods").delete("pod1").await;
        slices_become(&slices, "the second pod", &[("pod2", second.1.into())]).await;
    } else {
        pod(&plane, "pod1", ports).await;
        pod(&plane, "pod2", ports).await;
        slices_become(&slices, "both", &[("pod1", 80), ("pod2", 80)]).await;
        agent::set_ready(&plane, "pod2", false).await;
        slices
            .until_all("labelSelector=kubernetes.io/service-name%3Done", "one that is not ready", |all| {
                let endpoints = all.iter().flat_map(|s| s["endpoints"].as_array().into_iter().flatten());
                endpoints.filter(|e| e["conditions"]["ready"] == false).count() == 1
            })
            .await;
        plane.of("v1", "pods").delete("pod1").await;
        slices_become(&slices, "the second", &[("pod2", 80)]).await;
    }
    plane.of("v1", "pods").delete("pod2").await;
    slices_become(&slices, "nothing again", &[]).await;
}

async fn protocols(plane: Plane) {
    let services = plane.of("v1", "services");
    let ports = json!([{"name": "tcp", "port": 80, "protocol": "TCP"}, {"name": "udp", "port": 80, "protocol": "UDP"}]);
    services.create(json!({"metadata": {"name": "one"}, "spec": {"selector": {"app": "one"}, "ports": ports}})).await;
    pod(&plane, "pod1", &[]).await;
    let slices = plane.of("discovery.k8s.io/v1", "endpointslices");
    let has_protocols = |all: &[Value], expect: &[&str]| {
        let ports = all.iter().flat_map(|s| s["ports"].as_array().into_iter().flatten());
        let mut found: Vec<&str> = ports.filter_map(|p| p["protocol"].as_str()).collect();
        found.sort_unstable();
        found == expect && !reached(all).is_empty()
    };
    let label = "labelSelector=kubernetes.io/service-name%3Done";
    slices.until_all(label, "both protocols", |all| has_protocols(all, &["TCP", "UDP"])).await;
    services.change("one", |s| s["spec"]["ports"] = json!([{"name": "tcp", "port": 80, "protocol": "TCP"}])).await;
    slices.until_all(label, "TCP alone", |all| has_protocols(all, &["TCP"])).await;
    services.change("one", |s| s["spec"]["ports"] = json!([{"name": "udp", "port": 80, "protocol": "UDP"}])).await;
    slices.until_all(label, "UDP alone", |all| has_protocols(all, &["UDP"])).await;
}

/// The fields of session affinity; that clients stick to a pod is seen on a node.
fn affinity(of: &str, kind: &'static str, verb: &str) -> Conformance {
    let name: &'static str = format!("[sig-network] Services should {verb} {of} [LinuxOnly] [Conformance]").leak();
    test(name, move |plane| async move {
        let services = plane.of("v1", "services");
        let mut one = service("one", kind);
        one["spec"]["sessionAffinity"] = json!("ClientIP");
        let made = services.create(one).await;
        assert_eq!(made["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10800);
        let none = services.change("one", |s| {
            s["spec"]["sessionAffinity"] = json!("None");
            s["spec"].as_object_mut().expect("a spec").remove("sessionAffinityConfig");
        });
        let none = none.await;
        assert!(none["spec"]["sessionAffinity"] == "None" && none["spec"]["sessionAffinityConfig"].is_null(), "{none}");
        let again = services.merge("one", json!({"spec": {"sessionAffinity": "ClientIP"}})).await;
        assert_eq!(again["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10800);
    })
}

fn addresses() -> Vec<Conformance> {
    vec![
        test(
            "[sig-network] ServiceCIDR and IPAddress API should support ServiceCIDR API operations [Conformance]",
            |plane| async move {
                let ranges = plane.wide("networking.k8s.io/v1", "servicecidrs");
                let default =
                    ranges.until("kubernetes", "it is ready", |c| condition(c, "Ready")["status"] == "True").await;
                assert!(default["spec"]["cidrs"].as_array().is_some_and(|c| !c.is_empty()));
                let name = plane.unique("range");
                let made =
                    ranges.create(json!({"metadata": {"name": name}, "spec": {"cidrs": ["10.199.0.0/24"]}})).await;
                assert_eq!(made["spec"]["cidrs"], json!(["10.199.0.0/24"]));
                let added = json!({"type": "Tried", "status": "True", "reason": "Test", "message": "it is a test",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"});
                let patched = ranges.status().merge(&name, json!({"status": {"conditions": [added]}})).await;
                assert_eq!(condition(&patched, "Tried")["status"], "True");
                ranges.merge(&name, json!({"metadata": {"labels": {"patched": "true"}}})).await;
                ranges
                    .try_patch(&name, "application/merge-patch+json", &json!({"spec": {"cidrs": ["10.198.0.0/24"]}}))
                    .await
                    .refused(422, "immutable");
                ranges.delete(&name).await;
                ranges.until_gone(&name).await;
            },
        ),
        test(
            "[sig-network] ServiceCIDR and IPAddress API should support IPAddress API operations [Conformance]",
            |plane| async move {
                let addresses = plane.wide("networking.k8s.io/v1", "ipaddresses");
                let of = json!({"group": "", "resource": "services", "name": "some", "namespace": plane.namespace()});
                let object = json!({"metadata": {"name": "192.168.77.9", "labels": {"of": plane.namespace()}}, "spec": {"parentRef": of}});
                addresses.create(object).await;
                assert!(has(
                    &addresses.get("192.168.77.9").await["spec"]["parentRef"],
                    &json!({"resource": "services", "name": "some"})
                ));
                let mut moved = of.clone();
                moved["name"] = json!("other");
                let moved = json!({"spec": {"parentRef": moved}});
                let refused = addresses.try_patch("192.168.77.9", "application/merge-patch+json", &moved);
                refused.await.refused(422, "immutable");
                addresses.change("192.168.77.9", |a| a["metadata"]["labels"]["updated"] = json!("true")).await;
                let label = format!("labelSelector=of%3D{}", plane.namespace());
                assert_eq!(addresses.list(&label).await.len(), 1);
                addresses.delete_all(&label).await;
                addresses.until_all(&label, "none", <[Value]>::is_empty).await;
            },
        ),
    ]
}
