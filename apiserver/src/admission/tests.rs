//! What plugins add and refuse, through the whole server.

use std::time::Duration;

use api::UserInfo;
use serde_json::{Value, json};

use crate::strategy::tests::{PODS, Server, pod};

fn node(name: &str) -> UserInfo {
    UserInfo::new(format!("system:node:{name}"), &["system:nodes"])
}

#[tokio::test]
async fn a_pod_gets_an_account_a_priority_and_tolerations() {
    let server = Server::new().await;
    let (code, made) = server.post(PODS, pod("p")).await;
    assert_eq!(code, 201, "{made}");
    let spec = &made["spec"];
    assert_eq!(spec["serviceAccountName"], "default");
    let volume = &spec["volumes"][0];
    assert!(volume["name"].as_str().unwrap().starts_with("kube-api-access-"));
    assert_eq!(volume["projected"]["sources"].as_array().unwrap().len(), 3);
    assert_eq!(spec["containers"][0]["volumeMounts"][0]["name"], volume["name"]);
    assert_eq!(spec["priority"], 0);
    assert_eq!(spec["tolerations"].as_array().unwrap().len(), 2);
    let mut own = pod("q");
    own["spec"]["automountServiceAccountToken"] = false.into();
    own["spec"]["priorityClassName"] = "system-node-critical".into();
    let (_, made) = server.post(PODS, own).await;
    assert!(made["spec"]["volumes"].is_null());
    assert_eq!(made["spec"]["priority"], 2_000_001_000);
}

#[tokio::test]
async fn a_missing_account_is_refused_and_the_default_one_waited_for() {
    let server = std::sync::Arc::new(Server::new().await);
    let mut stranger = pod("p");
    stranger["spec"]["serviceAccountName"] = "gone".into();
    let (code, refused) = server.post(PODS, stranger).await;
    let expected = r#"pods "p" is forbidden: error looking up service account a/gone: serviceaccount "gone" not found"#;
    assert_eq!((code, refused["message"].as_str()), (403, Some(expected)));
    server.post("/api/v1/namespaces", json!({"metadata": {"name": "b"}})).await;
    let waiting = tokio::spawn({
        let server = server.clone();
        async move { server.post("/api/v1/namespaces/b/pods", pod("early")).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!waiting.is_finished());
    server.post("/api/v1/namespaces/b/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    assert_eq!(waiting.await.unwrap().0, 201);
}

#[tokio::test]
async fn a_node_writes_of_itself_only() {
    let server = Server::new().await;
    let check = async |method: &str, path: &str, body: Value, expected: &str| {
        let (_, answer) = server.ask(node("n1"), method, path, body).await;
        let message = answer["message"].as_str().unwrap_or("");
        let fits = if expected.is_empty() { message.is_empty() } else { message.contains(expected) };
        assert!(fits, "{method} {path}: {answer}");
    };
    let own = |name: &str, labels: Value| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
    let nodes = "/api/v1/nodes";
    check("POST", nodes, own("n2", json!({})), "not allowed to modify node \"n2\"").await;
    check("POST", nodes, own("n1", json!({"node-role.kubernetes.io/x": ""})), "not allowed to set the following").await;
    check("POST", nodes, own("n1", json!({"kubernetes.io/hostname": "n1", "team": "a"})), "").await;
    let (_, made) = server.send("GET", "/api/v1/nodes/n1", Value::Null).await;
    assert_eq!(made["spec"]["taints"][0]["key"], "node.kubernetes.io/not-ready");
    check("PATCH", "/api/v1/nodes/n1", json!({"spec": {"taints": []}}), "not allowed to modify taints").await;
    check("PATCH", "/api/v1/nodes/n1/status", json!({"status": {"phase": "Running"}}), "").await;
    server.post(PODS, pod("p")).await;
    let status = json!({"status": {"phase": "Running"}});
    check("PATCH", &format!("{PODS}/p/status"), status.clone(), "spec.nodeName set to itself").await;
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    server.post(&format!("{PODS}/p/binding"), binding).await;
    check("PATCH", &format!("{PODS}/p/status"), status, "").await;
    let token = "/api/v1/namespaces/a/serviceaccounts/default/token";
    let request = |bound: Value| json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"boundObjectRef": bound}});
    check("POST", token, request(Value::Null), "not bound to a pod").await;
    let (_, stored) = server.send("GET", &format!("{PODS}/p"), Value::Null).await;
    let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": stored["metadata"]["uid"]});
    check("POST", token, request(bound), "").await;
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_have() {
    let server = Server::new().await;
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/a";
    let binding = |role: &str, user: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": format!("{role}-{user}")}, "subjects": [{"kind": "User", "name": user,
            "apiGroup": "rbac.authorization.k8s.io"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}})
    };
    let url = format!("{roles}/rolebindings");
    assert_eq!(server.send("POST", &url, binding("admin", "jane")).await.0, 201);
    let jane = || UserInfo::new("jane", &[]);
    assert_eq!(server.ask(jane(), "POST", &url, binding("view", "bob")).await.0, 201);
    let (code, refused) = server.ask(jane(), "POST", &url, binding("cluster-admin", "bob")).await;
    let expected =
        r#"user "jane" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held"#;
    assert_eq!((code, refused["message"].as_str().unwrap().contains(expected)), (403, true), "{refused}");
    // Of a role that is the sum of others it is the sum that is granted, also before anything has written that down.
    let binder = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "binder"},
        "rules": [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings"], "verbs": ["create"]}]});
    let all = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    assert_eq!(server.send("POST", all, binder).await.0, 201);
    assert_eq!(server.send("POST", &url, binding("binder", "eve")).await.0, 201);
    let (code, refused) = server.ask(UserInfo::new("eve", &[]), "POST", &url, binding("admin", "eve")).await;
    assert_eq!((code, refused["message"].as_str().unwrap().contains("not currently held")), (403, true), "{refused}");
}

#[tokio::test]
async fn a_pod_learns_the_zone_of_its_node() {
    let server = Server::new().await;
    let zone = "topology.kubernetes.io/zone";
    server.post("/api/v1/nodes", json!({"metadata": {"name": "n", "labels": {zone: "z"}}})).await;
    server.post(PODS, pod("p")).await;
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    assert_eq!(server.post(&format!("{PODS}/p/binding"), binding).await.0, 201);
    let (_, found) = server.send("GET", &format!("{PODS}/p"), Value::Null).await;
    assert_eq!(found["metadata"]["labels"], json!({"app": "x", zone: "z"}));
}

#[tokio::test]
async fn secrets_that_an_account_does_not_list_are_not_for_its_pods() {
    let server = Server::new().await;
    let account = json!({"metadata": {"name": "limited", "annotations": {"kubernetes.io/enforce-mountable-secrets": "True"}},
        "secrets": [{"name": "listed"}]});
    server.post("/api/v1/namespaces/a/serviceaccounts", account).await;
    let with = |name: &str, secret: &str| {
        let mut pod = pod(name);
        pod["spec"]["serviceAccountName"] = "limited".into();
        pod["spec"]["containers"][0]["envFrom"] = json!([{"secretRef": {"name": secret}}]);
        pod
    };
    assert_eq!(server.post(PODS, with("p", "listed")).await.0, 201);
    let (code, refused) = server.post(PODS, with("q", "other")).await;
    assert_eq!((code, refused["message"].as_str().unwrap().contains("envFrom referencing")), (403, true), "{refused}");
    let late = |secret: &str| {
        let reference = json!({"name": "X", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}});
        json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "i", "env": [reference]}]}})
    };
    let path = format!("{PODS}/p/ephemeralcontainers");
    let (code, refused) = server.send("PATCH", &path, late("other")).await;
    let expected = "ephemeral container e with envVar X referencing secret.secretName=\"other\" is not allowed";
    assert_eq!((code, refused["message"].as_str().unwrap().contains(expected)), (403, true), "{refused}");
    assert_eq!(server.send("PATCH", &path, late("listed")).await.0, 200);
}

#[tokio::test]
async fn a_mirror_pod_refers_to_no_secret_whoever_makes_it() {
    let server = Server::new().await;
    let mut mirror = pod("m");
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    mirror["spec"]["nodeName"] = "n".into();
    mirror["spec"]["imagePullSecrets"] = json!([{"name": "s"}]);
    let (code, refused) = server.post(PODS, mirror).await;
    let expected = "pods \"m\" is forbidden: a mirror pod may not reference secrets";
    assert_eq!((code, refused["message"].as_str()), (403, Some(expected)));
}
