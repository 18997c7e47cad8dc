//! What a node is let do and refused, through the whole server.

use api::UserInfo;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

use crate::strategy::tests::{PODS, Server, pod};

fn node(name: &str) -> UserInfo {
    UserInfo::new(format!("system:node:{name}"), &["system:nodes"])
}

/// `expected` is a part of the refusal, or empty for none.
async fn check(server: &Server, method: &str, path: &str, body: Value, expected: &str) {
    let (_, answer) = server.ask(node("n1"), method, path, body).await;
    let message = answer["message"].as_str().unwrap_or("");
    let fits = if expected.is_empty() { message.is_empty() } else { message.contains(expected) };
    assert!(fits, "{method} {path}: expected {expected:?}, found {answer}");
}

#[tokio::test]
async fn certificates_are_of_its_own_name() {
    let server = Server::new().await;
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests?dryRun=All";
    let request = |name: &str, signer: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "r"},
            "spec": {"request": STANDARD.encode(pem), "signerName": signer, "usages": ["digital signature", "client auth"]}})
    };
    let refused = "can only create a node CSR with CN=system:node:n1";
    for signer in ["kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"] {
        check(&server, "POST", path, request("system:node:n1", signer), "").await;
        check(&server, "POST", path, request("system:node:n2", signer), refused).await;
        check(&server, "POST", path, request("system:node:n11", signer), refused).await;
        check(&server, "POST", path, request("admin", signer), refused).await;
    }
    check(&server, "POST", path, request("system:node:n2", "example.com/other"), "").await;
}

#[tokio::test]
async fn a_mirror_pod_gives_a_node_nothing() {
    let server = Server::new().await;
    let named = |name: &str| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    let (_, made) = server.post("/api/v1/nodes", named("n1")).await;
    let mirror = |spec: Value| {
        let mut pod = pod("m");
        let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": made["metadata"]["uid"], "controller": true});
        pod["metadata"]["ownerReferences"] = json!([owner]);
        pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        pod["spec"]["nodeName"] = "n1".into();
        pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        pod
    };
    let path = format!("{PODS}?dryRun=All");
    let sources = |source: Value| json!({"volumes": [{"name": "v", "projected": {"sources": [source]}}]});
    let variables = json!([{"name": "secretName", "value": "x"}]);
    let container = json!({"name": "c", "image": "i", "env": variables});
    check(&server, "POST", &path, mirror(json!({"containers": [container]})), "").await;
    check(&server, "POST", &path, mirror(sources(json!({"downwardAPI": {}}))), "").await;
    let refers = |objects: &str| format!("can not create pods that reference {objects}");
    let (accounts, secrets) = ("may not reference service accounts", "may not reference secrets");
    for (spec, refused) in [
        (json!({"serviceAccountName": "default"}), accounts.to_string()),
        (json!({"serviceAccount": "default"}), accounts.to_string()),
        (json!({"imagePullSecrets": [{"name": "s"}]}), secrets.to_string()),
        (sources(json!({"secret": {"name": "s"}})), secrets.to_string()),
        (sources(json!({"serviceAccountToken": {"path": "t"}})), "ServiceAccountToken volume projections".to_string()),
        (sources(json!({"configMap": {"name": "s"}})), refers("configmaps")),
        (json!({"volumes": [{"name": "v", "csi": {"driver": "d.e"}}]}), refers("csidrivers (via CSI volumes)")),
    ] {
        check(&server, "POST", &path, mirror(spec), &refused).await;
    }
    // A source that this server does not serve leaves nothing, which is none that is known to need nothing.
    let refused = "error checking mirror pod for API references: unknown source for projected volume";
    let bundle = sources(json!({"clusterTrustBundle": {"name": "t", "path": "t"}}));
    check(&server, "POST", &path, mirror(bundle), refused).await;
}

#[tokio::test]
async fn a_node_names_no_source_of_configuration() {
    let server = Server::new().await;
    let source = json!({"configSource": {"configMap": {"namespace": "a", "name": "c", "kubeletConfigKey": "k"}}});
    let own = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": source});
    check(&server, "POST", "/api/v1/nodes", own, "not allowed to create pods with a non-nil configSource").await;
    server.post("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await;
    let refused = "not allowed to update configSource to a new non-nil configSource";
    check(&server, "PATCH", "/api/v1/nodes/n1", json!({"spec": source}), refused).await;
}

#[tokio::test]
async fn tokens_are_for_what_the_pods_volumes_need() {
    let server = Server::new().await;
    let driver = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": "d.example"}, "spec": {"tokenRequests": [{"audience": "vault"}]}});
    assert_eq!(server.send("POST", "/apis/storage.k8s.io/v1/csidrivers", driver).await.0, 201);
    let mut own = pod("p");
    own["spec"]["nodeName"] = "n1".into();
    own["spec"]["volumes"] = json!([
        {"name": "v", "csi": {"driver": "d.example"}},
        {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "web"}}]}},
    ]);
    let (code, made) = server.post(PODS, own).await;
    assert_eq!(code, 201, "{made}");
    let path = "/api/v1/namespaces/a/serviceaccounts/default/token";
    let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": made["metadata"]["uid"]});
    let request = |audiences: &[&str]| {
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"boundObjectRef": bound, "audiences": audiences}})
    };
    check(&server, "POST", path, request(&[]), "").await;
    check(&server, "POST", path, request(&["web"]), "").await;
    check(&server, "POST", path, request(&["vault"]), "").await;
    let refused = "audience \"evil\" not found in pod spec volume, system:node:n1 is not authorized";
    check(&server, "POST", path, request(&["evil"]), refused).await;
    check(&server, "POST", path, request(&["web", "vault"]), "node may only request 0 or 1 audiences").await;
}
