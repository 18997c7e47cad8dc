//! What each kind of write costs: sends it through the router in the process, from memory, without TLS, on one thread,
//! and prints the CPU time of one. `writes COUNT [KIND]` is there to be profiled.

use std::time::Instant;

use apiserver::bootstrap::{Bootstrap, reconcile};
use apiserver::certificates::Pki;
use apiserver::clock::SystemClock;
use apiserver::{ApiServer, Config, assembly};
use axum::body::Body;
use serde_json::{Value, json};
use tower::ServiceExt;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const PODS: &str = "/api/v1/namespaces/load/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/load/deployments";
const WIDGETS: &str = "/apis/load.example.com/v1/namespaces/load/widgets";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/load/leases";

const JSON: &str = "application/json";
const APPLY: &str = "application/apply-patch+yaml";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const MERGE: &str = "application/merge-patch+json";

/// A plain pod of one container: about 3.6 KB when it is served.
fn pod(name: &str) -> Value {
    let env: Vec<Value> = (0..4).map(|i| json!({"name": format!("VARIABLE_{i}"), "value": "some value"})).collect();
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "load", "tier": "front"}, "annotations": {"a/b": "c"}},
        "spec": {"containers": [{"name": "c", "image": "busybox:1.36", "command": ["sleep", "3600"], "env": env,
            "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 443, "name": "https"}],
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
            "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}}}]}})
}

fn deployment(round: usize) -> Value {
    let template = pod("x");
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": {"app": "load"}},
        "spec": {"replicas": round % 7, "selector": {"matchLabels": {"app": "load"}},
            "template": {"metadata": {"labels": {"app": "load"}}, "spec": template["spec"]}}})
}

/// A definition with 200 fields and five rules.
fn definition() -> Value {
    let mut groups = serde_json::Map::new();
    for group in 0..10 {
        let fields = (0..19).map(|field| match field % 4 {
            0 => (format!("f{field}"), json!({"type": "integer", "minimum": 0})),
            1 => (format!("f{field}"), json!({"type": "string", "maxLength": 100, "pattern": "^[a-z ]*$"})),
            2 => (format!("f{field}"), json!({"type": "boolean"})),
            _ => (format!("f{field}"), json!({"type": "string", "enum": ["one", "two", "three"]})),
        });
        let fields: serde_json::Map<String, Value> = fields.collect();
        groups.insert(format!("g{group}"), json!({"type": "object", "properties": fields}));
    }
    let rules = json!([
        {"rule": "self.g0.f0 <= self.g1.f0"},
        {"rule": "self.g0.f1.size() < 50", "message": "too long"},
        {"rule": "!self.g2.f2 || self.g3.f2"},
        {"rule": "self.g4.f3 in ['one', 'two']"},
        {"rule": "has(self.g5) && self.g5.f4 >= 0"},
    ]);
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.load.example.com"},
        "spec": {"group": "load.example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {
                    "spec": {"type": "object", "properties": groups, "x-kubernetes-validations": rules}}}}}]}})
}

fn widget(name: &str) -> Value {
    let mut spec = serde_json::Map::new();
    for group in 0..10 {
        let fields = (0..19).map(|field| match field % 4 {
            0 => (format!("f{field}"), json!(field)),
            1 => (format!("f{field}"), json!("some text")),
            2 => (format!("f{field}"), json!(true)),
            _ => (format!("f{field}"), json!("one")),
        });
        spec.insert(format!("g{group}"), Value::Object(fields.collect()));
    }
    json!({"apiVersion": "load.example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

fn status(name: &str, round: usize) -> Value {
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let conditions: Vec<Value> = ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map(condition).into();
    json!({"metadata": {"name": name}, "status": {"phase": "Running", "podIP": format!("10.42.0.{}", round % 250),
        "startTime": "2026-01-01T00:00:00Z", "conditions": conditions, "containerStatuses": [{"name": "c",
            "ready": true, "restartCount": 0, "image": "busybox:1.36", "imageID": "sha256:0", "started": true,
            "containerID": "containerd://0", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}})
}

struct Load {
    router: axum::Router,
    count: usize,
}

impl Load {
    async fn send(&self, method: &str, path: &str, media_type: &str, body: &Value) -> Result<Vec<u8>, Failure> {
        self.send_text(method, path, media_type, body.to_string()).await
    }

    async fn send_text(&self, method: &str, path: &str, media_type: &str, body: String) -> Result<Vec<u8>, Failure> {
        let user = api::UserInfo::new("admin", &["system:masters"]);
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media_type)
            .header("user-agent", "load/1")
            .extension(user)
            .body(Body::from(body))?;
        let answer = self.router.clone().oneshot(request).await?;
        let status = answer.status();
        let text = axum::body::to_bytes(answer.into_body(), usize::MAX).await?;
        let shown = || format!("{path}: {}", String::from_utf8_lossy(&text));
        if status.is_success() { Ok(text.into()) } else { Err(shown().into()) }
    }

    /// Sends one kind of write for every number.
    async fn each(
        &self,
        what: &str,
        method: &str,
        media_type: &str,
        make: impl Fn(usize) -> (String, Value),
    ) -> Result<(), Failure> {
        let bodies: Vec<(String, String)> =
            (0..self.count).map(make).map(|(path, body)| (path, body.to_string())).collect();
        let started = (Instant::now(), cpu_nanoseconds()?);
        let mut served = 0;
        for (path, body) in bodies {
            served = self.send_text(method, &path, media_type, body).await?.len();
        }
        let took = (started.0.elapsed(), cpu_nanoseconds()? - started.1);
        let count = self.count as f64;
        let (cpu, wall) = (took.1 as f64 / count / 1e3, took.0.as_secs_f64() / count * 1e6);
        println!("{what:32} {cpu:8.1} µs of CPU, {wall:8.1} µs, {served} bytes served");
        Ok(())
    }
}

/// The CPU time of this thread so far, which is the only one that works.
fn cpu_nanoseconds() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    Ok(text.split_whitespace().next().ok_or("a line of numbers")?.parse()?)
}

async fn server() -> Result<ApiServer, Failure> {
    let pki = Pki::in_memory(SystemClock::shared().now())?;
    let mut config = Config::new(store::Memory::new());
    config.service_cidrs = vec!["10.43.0.0/16".parse()?];
    config.advertised = "127.0.0.1:6443".into();
    let settings = assembly::Settings::new(&pki, &config.issuer, &config.advertised);
    config.plugins = assembly::assemble(&settings)?.plugins;
    let server = ApiServer::new(config);
    let bootstrap = Bootstrap {
        advertise_address: "127.0.0.1".parse()?,
        secure_port: 6443,
        client_ca_pem: pki.authority_pem().to_string(),
    };
    reconcile(server.registry(), &bootstrap).await?;
    let background = server.clone();
    tokio::spawn(async move { background.run(Default::default()).await });
    Ok(server)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let count: usize = std::env::args().nth(1).ok_or("a number of writes")?.parse()?;
    let only = std::env::args().nth(2).unwrap_or_default();
    let load = Load { router: server().await?.router(), count };
    let wants = |kind: &str| only.is_empty() || kind == only;
    load.send("POST", "/api/v1/namespaces", JSON, &json!({"metadata": {"name": "load"}})).await?;
    let account = json!({"metadata": {"name": "default"}});
    load.send("POST", "/api/v1/namespaces/load/serviceaccounts", JSON, &account).await?;
    let path = |number: usize| format!("{PODS}/p{number:06}");
    let name = |number: usize| format!("p{number:06}");
    if wants("pod") || wants("bind") || wants("status") || wants("update") || wants("patch") {
        load.each("create of a pod", "POST", JSON, |i| (PODS.into(), pod(&name(i)))).await?;
    }
    if wants("update") {
        let mut pods = Vec::new();
        for number in 0..count {
            let mut pod: Value = serde_json::from_slice(&load.send("GET", &path(number), JSON, &Value::Null).await?)?;
            pod["metadata"]["labels"]["updated"] = "x".into();
            pods.push(pod);
        }
        load.each("update of a pod's labels", "PUT", JSON, |i| (path(i), pods[i].clone())).await?;
    }
    if wants("patch") {
        let patch = |i| (path(i), json!({"metadata": {"labels": {"more": "x"}}}));
        load.each("merge patch of a pod's labels", "PATCH", MERGE, patch).await?;
    }
    if wants("bind") {
        let bind = |i| {
            let target = json!({"apiVersion": "v1", "kind": "Node", "name": "node-1"});
            (format!("{}/binding", path(i)), json!({"metadata": {"name": name(i)}, "target": target}))
        };
        load.each("binding of a pod", "POST", JSON, bind).await?;
    }
    if wants("status") {
        let patch = |i| (format!("{}/status", path(i)), status(&name(i), i));
        load.each("strategic patch of a pod's status", "PATCH", STRATEGIC, patch).await?;
    }
    if wants("apply") {
        let apply = |i| (format!("{DEPLOYMENTS}/d?fieldManager=load"), deployment(i));
        load.each("apply of a deployment", "PATCH", APPLY, apply).await?;
    }
    if wants("lease") {
        load.send("POST", LEASES, JSON, &json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}})).await?;
        let renew = |i: usize| {
            let time = format!("2026-01-01T00:00:00.{:06}Z", i % 1_000_000);
            (format!("{LEASES}/l"), json!({"spec": {"renewTime": time}}))
        };
        load.each("merge patch of a lease", "PATCH", MERGE, renew).await?;
    }
    if wants("widget") {
        let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        load.send("POST", definitions, JSON, &definition()).await?;
        while load.send("GET", WIDGETS, JSON, &Value::Null).await.is_err() {
            tokio::task::yield_now().await;
        }
        load.each("create of a custom resource", "POST", JSON, |i| (WIDGETS.into(), widget(&name(i)))).await?;
    }
    Ok(())
}
