//! Endpoints and endpoint slices, made for services and mirrored.

use serde_json::{Value, json};

use super::{pod, reached, service, slices_become};
use crate::case::{Conformance, test};
use crate::operations::{Kind, check};
use crate::plane::{Plane, has};

/// The tests.
pub(super) fn tests() -> Vec<Conformance> {
    vec![
        test("[sig-network] Endpoints should test the lifecycle of an Endpoint [Conformance]", |plane| async move {
            let object = json!({"subsets": [{"addresses": [{"ip": "10.0.0.24"}], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}]});
            let change = json!({"subsets": [{"addresses": [{"ip": "10.0.0.25"}], "ports": [{"name": "http", "port": 81, "protocol": "TCP"}]}]});
            check(
                plane,
                Kind {
                    version: "v1",
                    resource: "endpoints",
                    namespaced: true,
                    object,
                    change,
                    status: None,
                    status_takes_metadata: true,
                },
            )
            .await;
        }),
        test(
            "[sig-network] EndpointsController should create and delete Endpoints for a Service with a selector that matches no \
             pods [Conformance]",
            |plane| empty(plane, false),
        ),
        test(
            "[sig-network] EndpointSlice should create and delete EndpointSlices for a Service with a selector that matches no \
             pods [Conformance]",
            |plane| empty(plane, true),
        ),
        test(
            "[sig-network] EndpointsController should create Endpoints for Pods matching a Service [Conformance]",
            |plane| matched(plane, false),
        ),
        test(
            "[sig-network] EndpointSlice should create Endpoints and EndpointSlices for Pods matching a Service [Conformance]",
            |plane| matched(plane, true),
        ),
        test(
            "[sig-network] EndpointSliceMirroring should mirror a custom Endpoints resource through create update and delete \
             [Conformance]",
            mirrored,
        ),
    ]
}

async fn empty(plane: Plane, slices: bool) {
    let (services, endpoints) = (plane.of("v1", "services"), plane.of("v1", "endpoints"));
    let all = plane.of("discovery.k8s.io/v1", "endpointslices");
    let label = "labelSelector=kubernetes.io/service-name%3Done";
    services.create(service("one", "ClusterIP")).await;
    let found = endpoints.until("one", "its endpoints", |_| true).await;
    assert!(found["subsets"].as_array().is_none_or(Vec::is_empty));
    if slices {
        let found = all.until_all(label, "its slice", |all| all.len() == 1).await;
        assert_eq!(
            found[0]["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"],
            "endpointslice-controller.k8s.io"
        );
        assert_eq!(found[0]["metadata"]["ownerReferences"][0]["name"], "one");
    }
    services.delete("one").await;
    endpoints.until_gone("one").await;
    all.until_all(label, "no slice", <[Value]>::is_empty).await;
}

async fn matched(plane: Plane, slices: bool) {
    let (services, endpoints) = (plane.of("v1", "services"), plane.of("v1", "endpoints"));
    let all = plane.of("discovery.k8s.io/v1", "endpointslices");
    let mut one = service("one", "ClusterIP");
    one["spec"]["ports"] = json!([{"name": "example", "port": 80, "targetPort": 3000}]);
    services.create(one).await;
    let mut two = service("two", "ClusterIP");
    two["spec"]["selector"] = json!({"app": "one"});
    two["spec"]["publishNotReadyAddresses"] = json!(true);
    two["spec"]["ports"] = json!([{"name": "example", "port": 80, "targetPort": "named"}]);
    services.create(two).await;
    pod(&plane, "pod1", &[("named", 3001)]).await;
    pod(&plane, "pod2", &[("named", 3002)]).await;
    endpoints
        .until("one", "both pods", |e| {
            e["subsets"][0]["addresses"].as_array().is_some_and(|a| a.len() == 2)
                && e["subsets"][0]["ports"][0]["port"] == 3000
        })
        .await;
    endpoints.until("two", "a subset each", |e| e["subsets"].as_array().is_some_and(|s| s.len() == 2)).await;
    if slices {
        slices_become(&all, "both pods", &[("pod1", 3000), ("pod2", 3000)]).await;
        all.until_all("labelSelector=kubernetes.io/service-name%3Dtwo", "a slice a port", |all| {
            reached(all) == [("pod1".to_owned(), 3001), ("pod2".to_owned(), 3002)] && all.len() == 2
        })
        .await;
    }
}

async fn mirrored(plane: Plane) {
    let (services, endpoints) = (plane.of("v1", "services"), plane.of("v1", "endpoints"));
    let slices = plane.of("discovery.k8s.io/v1", "endpointslices");
    services.create(json!({"metadata": {"name": "one"}, "spec": {"ports": [{"port": 80, "targetPort": 80, "name": "example"}]}})).await;
    let subset = |ip: &str, port: u16| json!([{"addresses": [{"ip": ip}], "ports": [{"name": "example", "port": port, "protocol": "TCP"}]}]);
    endpoints.create(json!({"metadata": {"name": "one"}, "subsets": subset("10.1.2.3", 80)})).await;
    let label = "labelSelector=kubernetes.io/service-name%3Done";
    let mirrors = |all: &[Value], ip: &str, port: u16| {
        all.len() == 1
            && all[0]["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"]
                == "endpointslicemirroring-controller.k8s.io"
            && all[0]["endpoints"][0]["addresses"] == json!([ip])
            && has(&all[0]["ports"][0], &json!({"name": "example", "port": port}))
    };
    slices.until_all(label, "its mirror", |all| mirrors(all, "10.1.2.3", 80)).await;
    endpoints.change("one", |e| e["subsets"] = subset("10.2.3.4", 9090)).await;
    slices.until_all(label, "the new mirror", |all| mirrors(all, "10.2.3.4", 9090)).await;
    endpoints.delete("one").await;
    slices.until_all(label, "no mirror", <[Value]>::is_empty).await;
}
