//! Kinds and their rules, through the whole server.

use api::UserInfo;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use store::Memory;

use crate::certificates::Pki;
use crate::{ApiServer, Config, assembly};

/// A server with everything plugged in, and what a test asks of it.
pub(crate) struct Server(pub ApiServer);

impl Server {
    /// With the namespace `a` and its service account.
    pub(crate) async fn new() -> Self {
        Self::with(&crate::admission::Settings::default()).await
    }

    /// With these admission plugins.
    pub(crate) async fn with(admission: &crate::admission::Settings) -> Self {
        let mut config = Config::new(Memory::new());
        config.service_cidrs = vec!["10.43.0.0/24".parse().unwrap()];
        let pki = Pki::in_memory(jiff::Timestamp::now()).unwrap();
        let assembled = assembly::assemble(&assembly::Settings {
            admission: admission.clone(),
            ..assembly::Settings::new(&pki, &config.issuer, &config.advertised)
        })
        .unwrap();
        config.plugins = assembled.plugins;
        let server = Self(ApiServer::new(config));
        let own = crate::bootstrap::Bootstrap {
            advertise_address: "127.0.0.1".parse().unwrap(),
            secure_port: 6443,
            client_ca_pem: String::new(),
        };
        crate::bootstrap::reconcile(server.0.registry(), &own).await.unwrap();
        let (code, _) = server.post("/api/v1/namespaces", json!({"metadata": {"name": "a"}})).await;
        assert_eq!(code, 201);
        let account = json!({"metadata": {"name": "default"}});
        server.post("/api/v1/namespaces/a/serviceaccounts", account).await;
        server
    }

    pub(crate) async fn ask(&self, user: UserInfo, method: &str, path: &str, body: Value) -> (u16, Value) {
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request =
            Request::builder().method(method).uri(path).header("content-type", content).extension(user).body(body);
        let response = self.0.handle(request.unwrap()).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// As an administrator, with the texts of the warnings.
    pub(crate) async fn tell(&self, method: &str, path: &str, body: Value) -> (u16, Value, Vec<String>) {
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = Request::builder().method(method).uri(path).header("content-type", content);
        let request = request.extension(UserInfo::new("admin", &["system:masters"])).body(Body::from(body.to_string()));
        let (parts, body) = self.0.handle(request.unwrap()).await.into_parts();
        let text = |value: &http::HeaderValue| value.to_str().unwrap().replace("\\\"", "\"");
        let warnings = parts.headers.get_all("warning").iter().map(text);
        let warnings = warnings.map(|text| text["299 - \"".len()..text.len() - 1].to_owned()).collect();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), serde_json::from_slice(&bytes).unwrap_or(Value::Null), warnings)
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.ask(UserInfo::new("admin", &["system:masters"]), method, path, body).await
    }

    pub(crate) async fn post(&self, path: &str, mut body: Value) -> (u16, Value) {
        let kind = match path.rsplit('/').next().unwrap() {
            "namespaces" => "Namespace",
            "serviceaccounts" => "ServiceAccount",
            "pods" => "Pod",
            "services" => "Service",
            "nodes" => "Node",
            "poddisruptionbudgets" => "PodDisruptionBudget",
            "eviction" => "Eviction",
            "binding" => "Binding",
            other => panic!("no kind for {other}"),
        };
        body["kind"] = kind.into();
        body["apiVersion"] = if kind.starts_with("PodD") || kind == "Eviction" { "policy/v1" } else { "v1" }.into();
        self.send("POST", path, body).await
    }
}

pub(crate) const PODS: &str = "/api/v1/namespaces/a/pods";

pub(crate) fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

#[tokio::test]
async fn a_pod_is_bound_once_and_goes_with_grace() {
    let server = Server::new().await;
    server.post(PODS, pod("p")).await;
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    assert_eq!(server.post(&format!("{PODS}/p/binding"), binding.clone()).await.0, 201);
    let (code, refused) = server.post(&format!("{PODS}/p/binding"), binding).await;
    assert_eq!((code, refused["reason"].as_str()), (409, Some("Conflict")));
    let (_, bound) = server.send("GET", &format!("{PODS}/p"), Value::Null).await;
    assert_eq!(bound["spec"]["nodeName"], "n");
    assert_eq!(bound["status"]["conditions"][0]["status"], "True");
    let (code, going) = server.send("DELETE", &format!("{PODS}/p"), Value::Null).await;
    assert_eq!((code, going["metadata"]["deletionGracePeriodSeconds"].as_i64()), (200, Some(30)));
    let now = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0});
    server.send("DELETE", &format!("{PODS}/p"), now).await;
    assert_eq!(server.send("GET", &format!("{PODS}/p"), Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_budget_refuses_an_eviction_until_it_has_room() {
    let server = Server::new().await;
    let budgets = "/apis/policy/v1/namespaces/a/poddisruptionbudgets";
    server.post(PODS, pod("p")).await;
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    server.post(&format!("{PODS}/p/binding"), binding).await;
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    server.send("PATCH", &format!("{PODS}/p/status"), ready).await;
    let budget =
        json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}});
    assert_eq!(server.post(budgets, budget).await.0, 201);
    let eviction = json!({"metadata": {"name": "p"}});
    let path = format!("{PODS}/p/eviction");
    let (code, refused) = server.post(&path, eviction.clone()).await;
    assert_eq!(code, 429, "{refused}");
    let room = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2,
        "desiredHealthy": 1, "expectedPods": 2}});
    assert_eq!(server.send("PATCH", &format!("{budgets}/b/status"), room).await.0, 200);
    let (code, done) = server.post(&path, eviction).await;
    assert_eq!(code, 201, "{done}");
    let (_, budget) = server.send("GET", &format!("{budgets}/b"), Value::Null).await;
    assert_eq!(budget["status"]["disruptionsAllowed"], 0);
    assert!(budget["status"]["disruptedPods"]["p"].is_string());
    let (_, pod) = server.send("GET", &format!("{PODS}/p"), Value::Null).await;
    assert!(pod["metadata"]["deletionTimestamp"].is_string());
}

#[tokio::test]
async fn a_namespace_goes_when_its_finalizers_are_gone() {
    let server = Server::new().await;
    let (code, going) = server.send("DELETE", "/api/v1/namespaces/a", Value::Null).await;
    assert_eq!((code, going["status"]["phase"].as_str()), (200, Some("Terminating")));
    let (code, refused) = server.post(PODS, pod("late")).await;
    assert_eq!(code, 403);
    assert_eq!(refused["details"]["causes"][0]["reason"], "NamespaceTerminating");
    let finalized = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}, "spec": {}});
    assert_eq!(server.send("PUT", "/api/v1/namespaces/a/finalize", finalized).await.0, 200);
    assert_eq!(server.send("GET", "/api/v1/namespaces/a", Value::Null).await.0, 404);
    let (code, refused) = server.send("DELETE", "/api/v1/namespaces/kube-system", Value::Null).await;
    assert_eq!((code, refused["message"].as_str().unwrap().contains("may not be deleted")), (403, true));
}

#[tokio::test]
async fn ephemeral_containers_come_by_their_own_way_only() {
    let server = Server::new().await;
    server.post(PODS, pod("p")).await;
    let more = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "i"}]}});
    server.send("PATCH", &format!("{PODS}/p"), more.clone()).await;
    let (_, found) = server.send("GET", &format!("{PODS}/p"), Value::Null).await;
    assert!(found["spec"]["ephemeralContainers"].is_null());
    let (code, found) = server.send("PATCH", &format!("{PODS}/p/ephemeralcontainers"), more).await;
    assert_eq!((code, found["spec"]["ephemeralContainers"][0]["name"].as_str()), (200, Some("debug")));
    let resized =
        json!({"spec": {"containers": [{"name": "c", "image": "other", "resources": {"requests": {"cpu": "1"}}}]}});
    let (code, refused) = server.send("PATCH", &format!("{PODS}/p/resize"), resized).await;
    assert_eq!((code, refused["message"].as_str().unwrap().contains("QOS")), (422, true));
}

#[tokio::test]
async fn what_would_never_run_or_never_stop_is_refused() {
    let server = Server::new().await;
    let check = async |kind: &str, path: &str, spec: Value, expected: &str| {
        let api_version = if kind == "Pod" { "v1" } else { "apps/v1" };
        let body = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "bad"}, "spec": spec});
        let (code, answer) = server.send("POST", path, body).await;
        let message = answer["message"].as_str().unwrap_or_default();
        assert_eq!((code, message.contains(expected)), (422, true), "{answer}");
    };
    check("Pod", PODS, json!({"containers": []}), "spec.containers: Required value").await;
    check("Pod", PODS, json!({"containers": [{"name": "c"}]}), "spec.containers[0].image: Required value").await;
    let twice = json!({"containers": [{"name": "c", "image": "i"}, {"name": "c", "image": "i"}]});
    check("Pod", PODS, twice, "spec.containers[1].name: Duplicate value: \"c\"").await;
    let sets = "/apis/apps/v1/namespaces/a/deployments";
    let template = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let other = json!({"selector": {"matchLabels": {"app": "y"}}, "template": template});
    check("Deployment", sets, other, "`selector` does not match template `labels`").await;
    check("Deployment", sets, json!({"template": template}), "spec.selector: Required value").await;
}
