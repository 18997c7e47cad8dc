//! Tests of the elements of services, as the text that goes to nft.

use super::*;

/// A service and its slices in YAML-like JSON lead to these elements, one a line, in order.
fn check(service: serde_json::Value, slices: &[serde_json::Value], expected: &[&str]) {
    let service: Service = serde_json::from_value(service).unwrap();
    let slices: Vec<Arc<EndpointSlice>> =
        slices.iter().map(|slice| Arc::new(serde_json::from_value(slice.clone()).unwrap())).collect();
    let found: Vec<String> = elements(&service, &slices, "n1")
        .into_iter()
        .map(|(key, value)| {
            let mut line = format!("{} ", key.set());
            key.write(value, &mut line);
            line
        })
        .collect();
    assert_eq!(found, expected);
}

fn service(spec: serde_json::Value) -> serde_json::Value {
    serde_json::json!({"metadata": {"name": "s", "namespace": "d"}, "spec": spec})
}

fn slice(endpoints: &[(&str, &str, serde_json::Value)]) -> serde_json::Value {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(address, node, conditions)| {
            serde_json::json!({"addresses": [address], "nodeName": node, "conditions": conditions})
        })
        .collect();
    serde_json::json!({
        "metadata": {"name": "s-1"}, "addressType": "IPv4", "ports": [{"name": "", "port": 8080}], "endpoints": endpoints
    })
}

fn ready() -> serde_json::Value {
    serde_json::json!({"ready": true})
}

#[test]
fn cluster_ip() {
    check(
        service(serde_json::json!({"clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9"], "ports": [{"port": 80}]})),
        &[slice(&[("10.42.0.2", "n1", ready()), ("10.42.0.3", "n2", serde_json::json!({}))])],
        &[
            "fronts 10.43.0.9 . tcp . 80 : goto pick-2",
            "endpoints 10.43.0.9 . tcp . 80 . 0 : 10.42.0.2 . 8080",
            "endpoints 10.43.0.9 . tcp . 80 . 1 : 10.42.0.3 . 8080",
            "hairpin 10.42.0.2 . 10.42.0.2",
            "hairpin 10.42.0.3 . 10.42.0.3",
        ],
    );
}

#[test]
fn headless_external_name_and_foreign_need_nothing() {
    let endpoints = [slice(&[("10.42.0.2", "n1", ready())])];
    check(service(serde_json::json!({"clusterIP": "None", "ports": [{"port": 80}]})), &endpoints, &[]);
    check(service(serde_json::json!({"type": "ExternalName", "externalName": "x.org"})), &endpoints, &[]);
    let mut foreign = service(serde_json::json!({"clusterIP": "10.43.0.9", "ports": [{"port": 80}]}));
    for label in ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"] {
        foreign["metadata"]["labels"] = serde_json::json!({label: ""});
        check(foreign.clone(), &endpoints, &[]);
    }
}

#[test]
fn without_endpoints_external_addresses_are_refused() {
    check(
        service(serde_json::json!({
            "clusterIP": "10.43.0.9", "type": "NodePort", "externalIPs": ["1.2.3.4"],
            "ports": [{"port": 53, "protocol": "UDP", "nodePort": 30053}]
        })),
        &[slice(&[("10.42.0.2", "n1", serde_json::json!({"ready": false}))])],
        &["node-refused udp . 30053 : goto refuse", "refused 1.2.3.4 . udp . 53 : goto refuse"],
    );
}

#[test]
fn terminating_endpoints_serve_when_no_other_does() {
    let spec = serde_json::json!({"clusterIP": "10.43.0.9", "ports": [{"port": 80}]});
    let leaving = serde_json::json!({"ready": false, "serving": true, "terminating": true});
    check(
        service(spec.clone()),
        &[slice(&[("10.42.0.2", "n1", leaving.clone())])],
        &[
            "fronts 10.43.0.9 . tcp . 80 : goto pick-1",
            "endpoints 10.43.0.9 . tcp . 80 . 0 : 10.42.0.2 . 8080",
            "hairpin 10.42.0.2 . 10.42.0.2",
        ],
    );
    check(
        service(spec),
        &[slice(&[("10.42.0.2", "n1", leaving), ("10.42.0.3", "n1", ready())])],
        &[
            "fronts 10.43.0.9 . tcp . 80 : goto pick-1",
            "endpoints 10.43.0.9 . tcp . 80 . 0 : 10.42.0.3 . 8080",
            "hairpin 10.42.0.3 . 10.42.0.3",
        ],
    );
}

#[test]
fn local_policies_choose_local_endpoints() {
    check(
        service(serde_json::json!({
            "clusterIP": "10.43.0.9", "type": "NodePort", "externalTrafficPolicy": "Local",
            "ports": [{"port": 80, "nodePort": 30080}]
        })),
        &[slice(&[("10.42.0.2", "n1", ready()), ("10.42.1.2", "n2", ready())])],
        &[
            "node-fronts tcp . 30080 : goto pick-1",
            "fronts 10.43.0.9 . tcp . 80 : goto pick-2",
            "node-inner tcp . 30080 : goto pick-inner-2",
            "node-endpoints tcp . 30080 . 0 : 10.42.0.2 . 8080",
            "node-endpoints tcp . 30080 . 65536 : 10.42.0.2 . 8080",
            "node-endpoints tcp . 30080 . 65537 : 10.42.1.2 . 8080",
            "endpoints 10.43.0.9 . tcp . 80 . 0 : 10.42.0.2 . 8080",
            "endpoints 10.43.0.9 . tcp . 80 . 1 : 10.42.1.2 . 8080",
            "hairpin 10.42.0.2 . 10.42.0.2",
            "hairpin 10.42.1.2 . 10.42.1.2",
        ],
    );
    check(
        service(
            serde_json::json!({"clusterIP": "10.43.0.9", "internalTrafficPolicy": "Local", "ports": [{"port": 80}]}),
        ),
        &[slice(&[("10.42.1.2", "n2", ready())])],
        &["refused 10.43.0.9 . tcp . 80 : drop", "hairpin 10.42.1.2 . 10.42.1.2"],
    );
}

#[test]
fn affinity_and_source_ranges() {
    let mut balanced = service(serde_json::json!({
        "clusterIP": "10.43.0.9", "type": "LoadBalancer", "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10}},
        "loadBalancerSourceRanges": ["192.168.0.0/16"], "ports": [{"port": 80}]
    }));
    balanced["status"] = serde_json::json!({"loadBalancer": {"ingress": [{"ip": "5.6.7.8"}]}});
    check(
        balanced,
        &[slice(&[("10.42.0.2", "n1", ready())])],
        &[
            "fronts 5.6.7.8 . tcp . 80 : goto affine-1",
            "fronts 10.43.0.9 . tcp . 80 : goto affine-1",
            "endpoints 5.6.7.8 . tcp . 80 . 0 : 10.42.0.2 . 8080",
            "endpoints 10.43.0.9 . tcp . 80 . 0 : 10.42.0.2 . 8080",
            "sticky 5.6.7.8 . tcp . 80 : goto remember-10",
            "sticky 10.43.0.9 . tcp . 80 : goto remember-10",
            "guarded 5.6.7.8 . tcp . 80",
            "admitted 5.6.7.8 . tcp . 80 . 192.168.0.0/16",
            "hairpin 10.42.0.2 . 10.42.0.2",
        ],
    );
}
