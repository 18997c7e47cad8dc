//! A control plane in this process, as one test sees it: raw requests, and a namespace.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use coracle::{Cluster, ClusterConfig};
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::agent;
use crate::resource::Resource;

/// The longest that a test waits for one thing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The cluster that the tests share, started by the first that needs it.
#[derive(Default)]
pub(crate) struct Shared {
    base: OnceCell<Plane>,
    count: AtomicU32,
}

impl Shared {
    /// The shared cluster with a new namespace.
    pub(crate) async fn plane(&self) -> Plane {
        let base = self.base.get_or_init(Plane::start).await;
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        base.clone().enter(format!("t{number}")).await
    }

    /// Stops the cluster's node agent; the cluster ends with the process.
    pub(crate) async fn stop(&self) {
        if let Some(plane) = self.base.get() {
            plane.0.agent.cancel();
        }
    }
}

/// A control plane and a namespace on it. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Plane(Arc<Inner>, Arc<str>);

struct Inner {
    cluster: Cluster,
    client: kube::Client,
    agent: CancellationToken,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.agent.cancel();
    }
}

/// What a request was answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub code: u16,
    /// The body; null if there is none, a text if it is no JSON.
    pub body: Value,
}

impl Answer {
    /// The body of a success; panics at anything else.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(self.code < 300, "refused with {}: {}", self.code, self.body["message"]);
        self.body
    }

    /// Asserts that it was refused with this code, and with a message that has this text in it.
    #[track_caller]
    pub(crate) fn refused(self, code: u16, text: &str) {
        let message = self.body["message"].as_str().unwrap_or_default();
        assert_eq!(self.code, code, "answered {}", self.body);
        assert!(message.contains(text), "{message:?} does not say {text:?}");
    }
}

impl Plane {
    /// A cluster of its own with the node `node-1` and a namespace.
    pub(crate) async fn alone() -> Self {
        Self::start().await.enter("t".to_owned()).await
    }

    async fn start() -> Self {
        let cluster = Cluster::start(ClusterConfig::in_memory()).await.expect("a control plane");
        let client = cluster.client();
        let agent = CancellationToken::new();
        let plane = Self(Arc::new(Inner { cluster, client, agent }), "default".into());
        agent::pretend(&plane.client(), &plane.0.agent);
        agent::node(&plane, "node-1", json!({"cpu": "640", "memory": "640Gi", "pods": "10000"})).await;
        plane
    }

    async fn enter(self, namespace: String) -> Self {
        let made = self.wide("v1", "namespaces").create(json!({"metadata": {"name": namespace}})).await;
        assert_eq!(made["status"]["phase"], "Active");
        let plane = Self(self.0, namespace.into());
        // Pods are refused until their service account is there.
        plane.of("v1", "serviceaccounts").until("default", "it", |_| true).await;
        plane
    }

    /// Deletes the namespace, and does not wait.
    pub(crate) async fn leave(&self) {
        self.wide("v1", "namespaces").delete(self.namespace()).await;
    }

    /// The test's namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.1
    }

    /// A name that no other test has.
    pub(crate) fn unique(&self, name: &str) -> String {
        format!("{name}-{}", self.1)
    }

    /// The same cluster with another, new namespace.
    pub(crate) async fn second_namespace(&self) -> Self {
        self.clone().enter(self.unique("second")).await
    }

    /// Makes the server forget every state but the newest.
    pub(crate) async fn forget_history(&self) {
        // The newest state must be another than those that were seen.
        self.of("v1", "configmaps").create(serde_json::json!({"metadata": {"name": "later"}})).await;
        let registry = self.0.cluster.api_server().registry();
        registry.forget_before(registry.snapshot().revision());
    }

    /// A client of the administrator.
    pub(crate) fn client(&self) -> kube::Client {
        self.0.client.clone()
    }

    /// A client of anybody.
    pub(crate) fn client_as(&self, user: api::UserInfo) -> kube::Client {
        self.0.cluster.client_as(user)
    }

    /// A resource in the test's namespace: `of("apps/v1", "deployments")`.
    pub(crate) fn of(&self, version: &str, resource: &str) -> Resource {
        Resource::new(self.clone(), version, Some(self.namespace()), resource)
    }

    /// A resource without namespaces, or one in all of them.
    pub(crate) fn wide(&self, version: &str, resource: &str) -> Resource {
        Resource::new(self.clone(), version, None, resource)
    }

    /// One request with a JSON body, as the administrator.
    pub(crate) async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.request_of(method, path, "application/json", body).await
    }

    /// The same with another media type.
    pub(crate) async fn request_of(&self, method: Method, path: &str, media: &str, body: Option<&Value>) -> Answer {
        let bytes = body.map(|body| serde_json::to_vec(body).expect("JSON")).unwrap_or_default();
        self.raw(method, path, media, bytes).await
    }

    /// The same with a body as it goes over the wire.
    pub(crate) async fn raw(&self, method: Method, path: &str, media: &str, body: Vec<u8>) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, media)
            .header(header::ACCEPT, "application/json")
            .body(Body::from(body))
            .expect("a request");
        self.send(request).await
    }

    /// What a GET of a path is answered in another representation than the usual one.
    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.send(Request::get(path).header(header::ACCEPT, accept).body(Body::empty()).expect("a request")).await
    }

    /// What a GET of a path is answered, which must be a success.
    pub(crate) async fn get(&self, path: &str) -> Value {
        self.request(Method::GET, path, None).await.ok()
    }

    /// The bytes of what a GET of a path is answered, for what is too large to be read as a tree.
    pub(crate) async fn bytes(&self, path: &str) -> Vec<u8> {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = self.0.client.send(request).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.into_body().collect().await.expect("a whole body").to_bytes().to_vec()
    }

    /// What a request of any form is answered.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.0.client.send(request).await.expect("an answer");
        let code: StatusCode = response.status();
        let bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        let body =
            if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap_or_else(|_| text()) };
        Answer { code: code.as_u16(), body }
    }
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether everything in `part` is in `whole`: objects field by field, anything else as it is.
pub(crate) fn has(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|found| has(found, value)))
        }
        // Others may have added their own, such as a controller its condition.
        (Value::Array(whole), Value::Array(part)) => part.iter().all(|item| whole.iter().any(|found| has(found, item))),
        _ => whole == part,
    }
}

/// The condition of a type that an object's status has, or null.
pub(crate) fn condition(object: &Value, kind: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|c| c["type"] == kind).unwrap_or_default()
}
