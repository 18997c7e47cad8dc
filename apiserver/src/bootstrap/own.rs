//! The objects that depend on how this server is configured.

use std::net::IpAddr;

use api::{Object, Status};
use futures::future::BoxFuture;
use ipnet::IpNet;
use serde_json::json;

use super::{Bootstrap, Desired, Update};
use crate::authorization::rbac::GROUP;
use crate::certificates::KUBELET_CLIENT;
use crate::post_start::cluster_authentication;
use crate::{Registry, clock};

/// The tenth address of the services' range is the cluster's DNS.
const DNS_INDEX: u32 = 10;

/// The address of the service `kubernetes`: the first of the range.
pub fn kubernetes_address(service_cidr: &IpNet) -> IpAddr {
    nth(service_cidr, 1)
}

/// The address of the service `kube-dns`: the tenth of the range.
pub fn dns_address(service_cidr: &IpNet) -> IpAddr {
    nth(service_cidr, DNS_INDEX)
}

fn nth(net: &IpNet, index: u32) -> IpAddr {
    match net.network() {
        IpAddr::V4(base) => IpAddr::V4((u32::from(base) + index).into()),
        IpAddr::V6(base) => IpAddr::V6((u128::from(base) + u128::from(index)).into()),
    }
}

fn desired(group: &str, resource: &str, object: serde_json::Value, update: Update) -> Desired {
    let object = Object::from_value(object).expect("written as an object");
    Desired { group: group.into(), resource: resource.into(), object, update }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// The object that holds an address for a service.
fn address_holder(address: IpAddr, namespace: &str, service: &str) -> Desired {
    desired(
        "networking.k8s.io",
        "ipaddresses",
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
            "metadata": {"name": address.to_string(), "labels": {
                "ipaddress.kubernetes.io/ip-family": family(address),
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            }},
            "spec": {"parentRef": {"resource": "services", "namespace": namespace, "name": service}},
        }),
        Update::Never,
    )
}

pub(super) fn objects(registry: &Registry, bootstrap: &Bootstrap) -> Vec<Desired> {
    let cidrs = &registry.config().service_cidrs;
    let mut all = Vec::new();
    all.push(desired(
        "networking.k8s.io",
        "servicecidrs",
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
            "spec": {"cidrs": cidrs.iter().map(ToString::to_string).collect::<Vec<_>>()},
            "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "",
                "message": "Kubernetes default Service CIDR is ready"}]},
        }),
        Update::Never,
    ));
    if let Some(cidr) = cidrs.first() {
        kubernetes_service(cidr, bootstrap, &mut all);
    }
    all.push(desired(
        "",
        "configmaps",
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": AUTHENTICATION.1, "namespace": AUTHENTICATION.0},
            "data": authentication_data(registry, bootstrap),
        }),
        // What is to be in it of one that is there, is seen to while the server runs.
        Update::Never,
    ));
    all.push(kubelet_admin());
    let since = clock::time(registry.clock().now());
    all.push(desired(
        "",
        "configmaps",
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "kube-apiserver-legacy-service-account-token-tracking", "namespace": "kube-system"},
            "data": {"since": since.split('T').next().unwrap_or("")},
        }),
        Update::Never,
    ));
    all
}

/// Namespace and name of the ConfigMap that tells servers of aggregated APIs whom to believe.
pub const AUTHENTICATION: (&str, &str) = ("kube-system", "extension-apiserver-authentication");

fn authentication_data(registry: &Registry, bootstrap: &Bootstrap) -> serde_json::Value {
    match &registry.plugins().front_proxy {
        Some(front_proxy) => cluster_authentication::required(front_proxy).into(),
        None => json!({"client-ca-file": bootstrap.client_ca_pem}),
    }
}

/// Lets whom this server shows to node servers do there what it is asked for, and nothing else.
fn kubelet_admin() -> Desired {
    desired(
        GROUP,
        "clusterrolebindings",
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "kube-apiserver-kubelet-admin",
                "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}},
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "system:kubelet-api-admin"},
            "subjects": [{"apiGroup": GROUP, "kind": "User", "name": KUBELET_CLIENT}],
        }),
        Update::Grants,
    )
}

fn kubernetes_service(cidr: &IpNet, bootstrap: &Bootstrap, all: &mut Vec<Desired>) {
    let address = kubernetes_address(cidr);
    all.push(address_holder(address, "default", "kubernetes"));
    all.push(desired(
        "",
        "services",
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "kubernetes", "namespace": "default",
                "labels": {"component": "apiserver", "provider": "kubernetes"}},
            "spec": {
                "type": "ClusterIP", "clusterIP": address.to_string(), "clusterIPs": [address.to_string()],
                "ipFamilies": [family(address)], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
                "sessionAffinity": "None",
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": bootstrap.secure_port}],
            },
            "status": {"loadBalancer": {}},
        }),
        Update::Fields(&[&["spec", "ports"]]),
    ));
    let behind = bootstrap.advertise_address;
    all.push(desired(
        "",
        "endpoints",
        json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {"name": "kubernetes", "namespace": "default",
                "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
            "subsets": [{"addresses": [{"ip": behind.to_string()}],
                "ports": [{"name": "https", "port": bootstrap.secure_port, "protocol": "TCP"}]}],
        }),
        Update::Fields(&[&["subsets"]]),
    ));
    all.push(desired(
        "discovery.k8s.io",
        "endpointslices",
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "kubernetes", "namespace": "default", "generation": 1,
                "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": family(behind),
            "endpoints": [{"addresses": [behind.to_string()], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "port": bootstrap.secure_port, "protocol": "TCP"}],
        }),
        Update::Fields(&[&["addressType"], &["endpoints"], &["ports"]]),
    ));
}

/// Makes the service `kube-dns` with the tenth address of the range. It selects no pods: DNS is answered in the process.
///
/// # Errors
/// What the store refuses.
pub fn ensure_dns_service(registry: &Registry) -> BoxFuture<'_, Result<IpAddr, Status>> {
    Box::pin(async move {
        let cidr = registry.config().service_cidrs.first();
        let cidr = cidr.ok_or_else(|| Status::internal("there is no range of service addresses"))?;
        let address = dns_address(cidr);
        let ports = json!([
            {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
        ]);
        let service = desired(
            "",
            "services",
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {
                    "k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}},
                "spec": {
                    "type": "ClusterIP", "clusterIP": address.to_string(), "clusterIPs": [address.to_string()],
                    "ipFamilies": [family(address)], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
                    "sessionAffinity": "None", "ports": ports,
                },
                "status": {"loadBalancer": {}},
            }),
            Update::Never,
        );
        super::write(registry, &[address_holder(address, "kube-system", "kube-dns"), service]).await?;
        Ok(address)
    })
}
