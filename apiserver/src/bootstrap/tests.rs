//! A first start writes everything, a second nothing, and what is lost comes back.

use serde_json::json;
use store::{Memory, Store as _};

use super::*;
use crate::Config;

fn registry() -> Registry {
    let mut config = Config::new(Memory::new());
    config.service_cidrs = vec!["10.43.0.0/16".parse().unwrap()];
    Registry::new(config, api::catalogue::Catalogue::default())
}

fn bootstrap() -> Bootstrap {
    Bootstrap { advertise_address: "192.168.0.7".parse().unwrap(), secure_port: 6443, client_ca_pem: "PEM".into() }
}

#[tokio::test]
async fn the_second_start_writes_nothing() {
    let registry = registry();
    assert!(reconcile(&registry, &bootstrap()).await.unwrap() > 150);
    let revision = registry.snapshot().revision();
    assert!(revision - Memory::new().snapshot().revision() <= 2, "{revision} transactions");
    assert_eq!(reconcile(&registry, &bootstrap()).await.unwrap(), 0);
    assert_eq!(registry.snapshot().revision(), revision);
    let service = registry.get("", "services", "default", "kubernetes").unwrap();
    assert_eq!(service.str_at(&["spec", "clusterIP"]), "10.43.0.1");
    assert!(!service.uid().is_empty());
    let admin = registry.get("rbac.authorization.k8s.io", "clusterroles", "", "admin").unwrap();
    assert!(admin.at(&["rules"]).unwrap().as_array().unwrap().len() > 10);
    node_servers_may_be_asked(&registry).await;
    for entry in registry.store().snapshot().list("/registry/", None) {
        assert!(memchr::memmem::find(&entry.value(), b"openshift").is_none(), "{}", entry.key());
    }
}

/// The one that node servers are shown may do there what is needed, and nothing else anywhere.
async fn node_servers_may_be_asked(registry: &Registry) {
    use crate::authorization::{Attributes, Decision, Rbac, authorizers};
    let user = api::UserInfo::new(crate::certificates::KUBELET_CLIENT, &[]);
    let mut config = registry.config().clone();
    config.plugins.authorizers = authorizers(&Arc::new(Rbac::default()));
    let registry = Registry::new(config, api::catalogue::Catalogue::default());
    for (verb, resource, subresource, allowed) in [
        ("get", "nodes", "proxy", true),
        ("create", "nodes", "proxy", true),
        ("get", "nodes", "log", true),
        ("get", "nodes", "stats", true),
        ("get", "nodes", "metrics", true),
        ("get", "nodes", "pods", true),
        ("get", "secrets", "", false),
        ("update", "nodes", "", false),
        ("create", "pods", "exec", false),
    ] {
        let asked = Attributes {
            user: &user,
            verb,
            namespace: "",
            group: "",
            version: "v1",
            resource,
            subresource,
            name: "n",
            field_selector: "",
            label_selector: "",
            is_resource_request: true,
            path: "",
        };
        let decision = crate::authorization::decide(asked, &registry).await;
        assert_eq!(decision == Decision::Allow, allowed, "{verb} {resource}/{subresource}");
    }
}

#[tokio::test]
async fn lost_rules_and_subjects_come_back_and_a_new_port_is_taken_over() {
    let registry = registry();
    reconcile(&registry, &bootstrap()).await.unwrap();
    let group = crate::authorization::rbac::GROUP;
    let mut role = registry.get(group, "clusterroles", "", "system:node").unwrap();
    let own = json!({"apiGroups": ["ex.com"], "resources": ["x"], "verbs": ["get"]});
    role.set(&["rules"], json!([own]));
    let place: Arc<str> = key(group, "clusterroles", "", "system:node").into();
    let operations = vec![Operation::Put(place, role.encode())];
    registry.store().commit(Transaction { operations, ..Transaction::default() }).await.unwrap();
    let changed = Bootstrap { secure_port: 7443, ..bootstrap() };
    assert_eq!(reconcile(&registry, &changed).await.unwrap(), 4);
    let role = registry.get(group, "clusterroles", "", "system:node").unwrap();
    assert!(role.at(&["rules"]).unwrap().as_array().unwrap().contains(&own));
    assert_eq!(reconcile(&registry, &changed).await.unwrap(), 0);
}

#[tokio::test]
async fn dns_gets_the_tenth_address_once() {
    let registry = registry();
    for _ in 0..2 {
        assert_eq!(ensure_dns_service(&registry).await.unwrap().to_string(), "10.43.0.10");
    }
    assert_eq!(registry.snapshot().revision(), Memory::new().snapshot().revision() + 1);
    assert!(registry.get("networking.k8s.io", "ipaddresses", "", "10.43.0.10").is_some());
}
