//! Discovery, plain and aggregated, and the server's version.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::case::{Conformance, alone, test};
use crate::plane::{Plane, eventually};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Group, version and resource of what every cluster has.
const EXPECTED: &[(&str, &str, &str)] = &[
    ("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "v1", "apiservices"),
    ("apps", "v1", "deployments"),
    ("authentication.k8s.io", "v1", "tokenreviews"),
    ("authorization.k8s.io", "v1", "selfsubjectaccessreviews"),
    ("autoscaling", "v1", "horizontalpodautoscalers"),
    ("autoscaling", "v2", "horizontalpodautoscalers"),
    ("batch", "v1", "jobs"),
    ("certificates.k8s.io", "v1", "certificatesigningrequests"),
    ("coordination.k8s.io", "v1", "leases"),
    ("discovery.k8s.io", "v1", "endpointslices"),
    ("events.k8s.io", "v1", "events"),
    ("networking.k8s.io", "v1", "ingresses"),
    ("node.k8s.io", "v1", "runtimeclasses"),
    ("policy", "v1", "poddisruptionbudgets"),
    ("scheduling.k8s.io", "v1", "priorityclasses"),
    ("storage.k8s.io", "v1", "csinodes"),
];

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    vec![
        test("[sig-network] API Server should provide secure master service [Conformance]", |plane| async move {
            plane.get("/api/v1/namespaces/default/services/kubernetes").await;
        }),
        test(
            "[sig-network] API Server should have Endpoints and EndpointSlices pointing to API Server [Conformance]",
            pointing_to_server,
        ),
        test(
            "[sig-api-machinery] AggregatedDiscovery should support raw aggregated discovery endpoint Accept headers \
             [Conformance]",
            raw,
        ),
        test(
            "[sig-api-machinery] AggregatedDiscovery should support raw aggregated discovery request for CRDs \
             [Conformance]",
            |plane| defined(plane, AGGREGATED),
        ),
        alone(
            "[sig-api-machinery] AggregatedDiscovery should support aggregated discovery interface [Conformance]",
            interface,
        ),
        test(
            "[sig-api-machinery] AggregatedDiscovery should support aggregated discovery interface for CRDs \
             [Conformance]",
            |plane| async move {
                let accept = format!("{AGGREGATED},application/json;q=0.9");
                defined(plane, &accept).await;
            },
        ),
        alone(
            "[sig-api-machinery] Discovery should locate the groupVersion and a resource within each APIGroup \
             [Conformance]",
            locate,
        ),
        alone(
            "[sig-api-machinery] Discovery should validate PreferredVersion for each APIGroup [Conformance]",
            preferred,
        ),
        test("[sig-api-machinery] server version should find the server version [Conformance]", version),
    ]
}

/// Whether an aggregated document has a resource.
fn lists(document: &Value, group: &str, version: &str, resource: &str) -> bool {
    let of_group = |item: &&Value| item["metadata"]["name"].as_str().unwrap_or("") == group;
    let versions = document["items"].as_array().into_iter().flatten().filter(of_group);
    versions
        .flat_map(|item| item["versions"].as_array().into_iter().flatten())
        .filter(|found| found["version"] == version)
        .flat_map(|found| found["resources"].as_array().into_iter().flatten())
        .any(|found| found["resource"] == resource)
}

async fn raw(plane: Plane) {
    let document = plane.get_as("/apis", AGGREGATED).await.ok();
    for (group, version, resource) in EXPECTED {
        assert!(lists(&document, group, version, resource), "{group}/{version} {resource}");
    }
    let core = plane.get_as("/api", AGGREGATED).await.ok();
    assert!(lists(&core, "", "v1", "namespaces"), "{core}");
}

/// As a client does it: what each resource of the document says leads to the resource.
async fn interface(plane: Plane) {
    for root in ["/api", "/apis"] {
        let document = plane.get_as(root, AGGREGATED).await.ok();
        for group in document["items"].as_array().expect("groups") {
            let name = group["metadata"]["name"].as_str().unwrap_or("");
            for version in group["versions"].as_array().expect("versions") {
                assert_eq!(version["freshness"], "Current", "{name}");
                let path = format!("{root}/{name}/{}", version["version"].as_str().expect("a version"));
                let plain = plane.get(&path.replace("//", "/")).await;
                for resource in version["resources"].as_array().expect("resources") {
                    let found = |entry: &Value| entry["name"] == resource["resource"];
                    assert!(plain["resources"].as_array().is_some_and(|all| all.iter().any(found)), "{resource}");
                }
            }
        }
    }
}

async fn defined(plane: Plane, accept: &str) {
    let group = format!("{}.example.com", plane.unique("found"));
    let definitions = plane.wide("apiextensions.k8s.io/v1", "customresourcedefinitions");
    let name = format!("testcrds.{group}");
    definitions
        .create(json!({
            "metadata": {"name": name},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"plural": "testcrds", "singular": "testcrd", "kind": "Testcrd", "listKind": "TestcrdList"},
                "versions": [{
                    "name": "v1",
                    "served": true,
                    "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                }],
            },
        }))
        .await;
    eventually("the resource in the document", async || {
        lists(&plane.get_as("/apis", accept).await.ok(), &group, "v1", "testcrds")
    })
    .await;
    definitions.delete(&name).await;
}

async fn locate(plane: Plane) {
    let groups = plane.get("/apis").await;
    for group in groups["groups"].as_array().expect("groups") {
        let of_group = plane.get(&format!("/apis/{}", group["name"].as_str().expect("a name"))).await;
        assert_eq!(of_group["kind"], "APIGroup");
        for version in group["versions"].as_array().expect("versions") {
            let wanted = version["groupVersion"].as_str().expect("a group and version");
            let list = plane.get(&format!("/apis/{wanted}")).await;
            assert_eq!(list["groupVersion"], wanted);
            assert!(list["resources"].as_array().is_some_and(|all| !all.is_empty()), "{wanted} has resources");
        }
    }
}

async fn preferred(plane: Plane) {
    let groups = plane.get("/apis").await;
    for group in groups["groups"].as_array().expect("groups") {
        let of_group = plane.get(&format!("/apis/{}", group["name"].as_str().expect("a name"))).await;
        let preferred = &of_group["preferredVersion"];
        assert!(of_group["versions"].as_array().is_some_and(|all| all.contains(preferred)), "{of_group}");
    }
}

async fn version(plane: Plane) {
    let version = plane.get("/version").await;
    for field in ["major", "minor"] {
        let number = version[field].as_str().expect("a number").parse::<u32>();
        assert!(number.is_ok(), "{version}");
    }
}

/// Endpoints and slices of the server's own service tell of the same addresses and ports.
async fn pointing_to_server(plane: Plane) {
    let collect = |items: &[Value], path: &[&str]| -> BTreeSet<String> {
        let mut found: Vec<Value> = items.to_vec();
        for step in path {
            found = found
                .iter()
                .flat_map(|value| match &value[*step] {
                    Value::Array(items) => items.clone(),
                    one => vec![one.clone()],
                })
                .collect();
        }
        found.iter().map(Value::to_string).collect()
    };
    let endpoints = plane.get("/api/v1/namespaces/default/endpoints/kubernetes").await;
    let subsets = endpoints["subsets"].as_array().cloned().unwrap_or_default();
    assert!(!subsets.is_empty(), "{endpoints}");
    let query = "labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes";
    let slices = plane.get(&format!("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?{query}")).await;
    let slices = slices["items"].as_array().cloned().unwrap_or_default();
    assert!(!slices.is_empty() && slices.iter().all(|slice| slice["addressType"] == "IPv4"), "{slices:?}");
    assert_eq!(collect(&subsets, &["addresses", "ip"]), collect(&slices, &["endpoints", "addresses"]));
    assert_eq!(collect(&subsets, &["ports", "port"]), collect(&slices, &["ports", "port"]));
}
