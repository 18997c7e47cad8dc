//! The agent against drivers that only pretend: they register, prepare, fail, go away and come back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use prost::Message;
use serde_json::{Value, json};
use tokio::net::UnixListener;

use super::calls::{Claims as Asked, Prepared, PreparedClaim, PreparedDevice, Unprepared, UnpreparedClaim};
use super::*;
use crate::plugins::{self, Handlers};

#[derive(Clone, PartialEq, prost::Message)]
struct Info {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    endpoint: String,
    #[prost(string, repeated, tag = "4")]
    versions: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Heard {
    #[prost(bool, tag = "1")]
    registered: bool,
    #[prost(string, tag = "2")]
    error: String,
}

/// A driver that serves both registration and devices on one socket.
#[derive(Default)]
struct Pretender {
    kind: &'static str,
    versions: Vec<String>,
    fails: AtomicBool,
    calls: Mutex<Vec<String>>,
    heard: Mutex<Vec<Heard>>,
}

impl Pretender {
    fn new(kind: &'static str, versions: &[&str]) -> Arc<Self> {
        let versions = versions.iter().map(|version| (*version).to_string()).collect();
        Arc::new(Self { kind, versions, ..Self::default() })
    }

    fn answer(&self, path: &str, body: &[u8]) -> Option<Vec<u8>> {
        let message = body.get(5..)?;
        let (service, method) = path.rsplit_once('/')?;
        let asked = || Asked::decode(message).ok();
        let name = |asked: &Asked| asked.claims.iter().map(|claim| claim.name.clone()).collect::<Vec<_>>().join(",");
        Some(match method {
            "GetInfo" => {
                let versions = self.versions.clone();
                Info { kind: self.kind.into(), name: "driver.example".into(), endpoint: String::new(), versions }
                    .encode_to_vec()
            }
            "NotifyRegistrationStatus" => {
                self.heard.lock().push(Heard::decode(message).ok()?);
                Vec::new()
            }
            "NodePrepareResources" => {
                let asked = asked()?;
                let version = service.rsplit('.').nth(1)?;
                self.calls.lock().push(format!("{version} prepare {}", name(&asked)));
                let error = if self.fails.load(Ordering::Relaxed) { "no power".to_owned() } else { String::new() };
                let device = |claim: &Claim| PreparedDevice {
                    request_names: vec!["r".into()],
                    pool_name: "pool".into(),
                    device_name: "one".into(),
                    cdi_device_ids: vec![format!("v.example/gpu={}", claim.name)],
                    share_id: None,
                };
                let of = |claim: &Claim| PreparedClaim { devices: vec![device(claim)], error: error.clone() };
                Prepared { claims: asked.claims.iter().map(|claim| (claim.uid.clone(), of(claim))).collect() }
                    .encode_to_vec()
            }
            "NodeUnprepareResources" => {
                let asked = asked()?;
                self.calls.lock().push(format!("unprepare {}", name(&asked)));
                let claims = asked.claims.iter().map(|claim| (claim.uid.clone(), UnpreparedClaim::default()));
                Unprepared { claims: claims.collect() }.encode_to_vec()
            }
            _ => return None,
        })
    }

    /// Serves on a socket until the handle is aborted, and its connections with it.
    fn serve(self: &Arc<Self>, socket: &Path) -> tokio::task::JoinHandle<()> {
        let listener = UnixListener::bind(socket).expect("a socket");
        let this = self.clone();
        tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let this = this.clone();
                connections.spawn(async move {
                    let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
                        let this = this.clone();
                        async move { this.respond(request).await }
                    });
                    let io = TokioIo::new(stream);
                    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(io, service)
                        .await;
                });
            }
        })
    }

    async fn respond(&self, request: http::Request<Incoming>) -> Result<http::Response<Answer>, hyper::Error> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await?.to_bytes();
        let (status, frame) = match self.answer(&path, &body) {
            Some(message) => {
                let mut frame = vec![0];
                frame.extend((message.len() as u32).to_be_bytes());
                frame.extend(message);
                ("0", Bytes::from(frame))
            }
            None => ("12", Bytes::new()),
        };
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static(status));
        let body: Answer = Full::new(frame).with_trailers(Box::pin(std::future::ready(Some(Ok(trailers)))));
        let response = http::Response::builder().header("content-type", "application/grpc").body(body);
        Ok(response.expect("a response"))
    }
}

type Trailers = std::pin::Pin<Box<std::future::Ready<Option<Result<http::HeaderMap, std::convert::Infallible>>>>>;
type Answer = http_body_util::combinators::WithTrailers<Full<Bytes>, Trailers>;

/// An API server that knows a few claims, and notes which slices are to be removed.
fn pretend_api(claims: HashMap<String, Value>, wiped: Arc<Mutex<Vec<String>>>) -> Client {
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
        let name = path.rsplit('/').next().unwrap_or_default();
        let (code, body) = if path.ends_with("/resourceslices") {
            wiped.lock().push(query);
            (200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
        } else if let Some(claim) = claims.get(name) {
            (200, claim.clone())
        } else {
            let message = format!("resourceclaims.resource.k8s.io {name:?} not found");
            (
                404,
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound", "message": message}),
            )
        };
        let body = kube::client::Body::from(serde_json::to_vec(&body).expect("JSON"));
        let response = http::Response::builder().status(code).header("content-type", "application/json").body(body);
        std::future::ready(Ok::<_, std::convert::Infallible>(response.expect("a response")))
    });
    Client::new(service, "default")
}

fn claim(name: &str, reserved: &[&str]) -> (String, Value) {
    let reserved: Vec<Value> =
        reserved.iter().map(|uid| json!({"resource": "pods", "name": uid, "uid": uid})).collect();
    let results = json!([{"request": "r", "driver": "driver.example", "pool": "pool", "device": "one"}]);
    let claim = json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
        "metadata": {"name": name, "namespace": "n", "uid": format!("uid-{name}")}, "spec": {},
        "status": {"allocation": {"devices": {"results": results}}, "reservedFor": reserved}});
    (name.to_owned(), claim)
}

fn pod_with(uid: &str, claims: &[&str]) -> Pod {
    let used: Vec<Value> = claims.iter().map(|name| json!({"name": name, "request": "r"})).collect();
    let listed: Vec<Value> = claims.iter().map(|name| json!({"name": name, "resourceClaimName": name})).collect();
    let pod = json!({"metadata": {"name": uid, "namespace": "n", "uid": uid}, "spec": {
        "containers": [{"name": "c", "resources": {"claims": used}}], "resourceClaims": listed}});
    serde_json::from_value(pod).expect("a pod")
}

struct Node {
    directory: tempfile::TempDir,
    devices: Devices,
    wiped: Arc<Mutex<Vec<String>>>,
    end: CancellationToken,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Node {
    fn start(claims: &[(String, Value)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (wiped, end) = (Arc::default(), CancellationToken::new());
        let client = pretend_api(claims.iter().cloned().collect(), Arc::clone(&wiped));
        let devices = load(directory.path(), client, &end);
        std::fs::create_dir(directory.path().join(plugins::DIRECTORY)).expect("a directory");
        let handlers: Handlers =
            HashMap::from([("DRAPlugin", Arc::new(devices.drivers.clone()) as Arc<dyn plugins::Handler>)]);
        let keep = plugins::keep(directory.path().join(plugins::DIRECTORY), handlers, Clock::system());
        let ends = end.clone();
        tokio::spawn(async move { ends.run_until_cancelled(keep).await });
        Self { directory, devices, wiped, end }
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.directory.path().join(plugins::DIRECTORY).join(name)
    }
}

fn load(directory: &Path, client: Client, end: &CancellationToken) -> Devices {
    let wake = Arc::new(|_: &str| {});
    let loaded = Devices::load(directory, client, "node", Clock::system(), &Metrics::default(), wake, end.clone());
    loaded.expect("nothing before")
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn claims_are_prepared_shared_and_given_back() {
    let node = Node::start(&[claim("a", &["one", "two"]), claim("b", &["one"])]);
    let driver = Pretender::new("DRAPlugin", &["v1.DRAPlugin", "v1beta1.DRAPlugin"]);
    let pod = pod_with("one", &["a", "b"]);
    let early = node.devices.prepare(&pod).await;
    assert_eq!(early, Err("prepare dynamic resources: DRA driver driver.example is not registered".into()));
    let _server = driver.serve(&node.socket("driver.sock"));
    eventually("the driver to hear of its registration", || {
        driver.heard.lock().iter().any(|heard| heard.registered && heard.error.is_empty())
    })
    .await;
    driver.fails.store(true, Ordering::Relaxed);
    let failed = node.devices.prepare(&pod).await.expect_err("it fails");
    assert!(
        failed.starts_with("prepare dynamic resources: NodePrepareResources failed for ResourceClaim "),
        "{failed}"
    );
    driver.fails.store(false, Ordering::Relaxed);
    driver.calls.lock().clear();
    node.devices.prepare(&pod).await.expect("both claims");
    node.devices.prepare(&pod).await.expect("nothing more to do");
    node.devices.prepare(&pod_with("two", &["a"])).await.expect("the other's claim");
    assert_eq!(*driver.calls.lock(), ["v1 prepare a,b"]);
    let container = &pod.spec.as_ref().expect("a spec").containers[0];
    assert_eq!(node.devices.cdi_ids(&pod, container), Ok(vec!["v.example/gpu=a".into(), "v.example/gpu=b".into()]));
    let mut status = serde_json::from_value(json!({"containerStatuses": [{"name": "c", "image": "", "imageID": "",
        "ready": true, "restartCount": 0}]}))
    .expect("a status");
    node.devices.report(&pod, &mut status);
    let shown = serde_json::to_value(&status).expect("JSON");
    let resource = &shown["containerStatuses"][0]["allocatedResourcesStatus"][0];
    assert_eq!(
        *resource,
        json!({"name": "claim:a/r", "resources": [{"resourceID": "v.example/gpu=a", "health": "Unknown"}]})
    );
    let again = load(node.directory.path(), node.devices.client.clone(), &node.end);
    assert_eq!(again.cdi_ids(&pod, container).map(|ids| ids.len()), Ok(2), "an agent that comes after knows as much");
    driver.calls.lock().clear();
    node.devices.unprepare(&pod).await.expect("it is given back");
    assert_eq!(*driver.calls.lock(), ["unprepare b"], "another pod has the other claim");
    node.devices.unprepare(&pod_with("two", &["a"])).await.expect("it is given back");
    node.devices.unprepare(&pod).await.expect("nothing is left");
    assert_eq!(*driver.calls.lock(), ["unprepare b", "unprepare a"]);
}

#[tokio::test]
async fn a_pod_gets_no_claim_that_is_not_reserved_for_it() {
    let node = Node::start(&[claim("a", &["one"])]);
    let why = node.devices.prepare(&pod_with("two", &["a"])).await;
    let text = "prepare dynamic resources: pod two (two) is not allowed to use ResourceClaim a (uid-a)";
    assert_eq!(why, Err(text.into()));
    let none = node.devices.prepare(&pod_with("two", &["none"])).await;
    let text = "prepare dynamic resources: fetch ResourceClaim none: resourceclaims.resource.k8s.io \"none\" not found";
    assert_eq!(none, Err(text.into()));
    assert!(node.devices.claims.read(BTreeMap::is_empty), "what failed leaves nothing to be given back");
}

#[tokio::test]
async fn plugins_of_other_types_and_versions_hear_why_they_are_refused() {
    let node = Node::start(&[]);
    let (other, old) = (Pretender::new("Other", &["v1"]), Pretender::new("DRAPlugin", &["v1alpha4.Node"]));
    let _servers = (other.serve(&node.socket("other.sock")), old.serve(&node.socket("old.sock")));
    let heard = |of: &Arc<Pretender>, part: &str| {
        of.heard.lock().iter().any(|heard| !heard.registered && heard.error.contains(part))
    };
    eventually("the refusals", || {
        heard(&other, "no handler registered for plugin type: Other") && heard(&old, "none of services supported")
    })
    .await;
}

#[tokio::test]
async fn a_driver_goes_with_its_socket_and_the_older_version_is_spoken_too() {
    let node = Node::start(&[claim("a", &["one"])]);
    let driver = Pretender::new("DRAPlugin", &["v1beta1.DRAPlugin"]);
    let server = driver.serve(&node.socket("driver.sock"));
    eventually("the driver", || node.devices.drivers.get("driver.example").is_ok()).await;
    node.devices.prepare(&pod_with("one", &["a"])).await.expect("it is prepared");
    assert_eq!(*driver.calls.lock(), ["v1beta1 prepare a"]);
    server.abort();
    std::fs::remove_file(node.socket("driver.sock")).expect("it is removed");
    eventually("the driver to go", || node.devices.drivers.get("driver.example").is_err()).await;
    let why = node.devices.unprepare(&pod_with("one", &["a"])).await;
    assert_eq!(why, Err("unprepare dynamic resources: DRA driver driver.example is not registered".into()));
    let _again = driver.serve(&node.socket("again.sock"));
    eventually("the driver to come back", || node.devices.drivers.get("driver.example").is_ok()).await;
    node.devices.unprepare(&pod_with("one", &["a"])).await.expect("it is given back");
    assert!(node.wiped.lock().is_empty(), "its slices stay, it came back in time");
}
