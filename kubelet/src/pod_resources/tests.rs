//! Programs ask over the socket.

use std::collections::BTreeMap;
use std::path::PathBuf;

use metrics::Metrics;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::*;
use crate::devices::calls::PreparedDevice;
use crate::devices::claims::{ClaimInfo, Claims};
use crate::directory::PodRecord;
use crate::unix_grpc;

const LIST: &str = "/v1.PodResourcesLister/List";
const GET: &str = "/v1.PodResourcesLister/Get";
const ALLOCATABLE: &str = "/v1.PodResourcesLister/GetAllocatableResources";
const OLD_LIST: &str = "/v1alpha1.PodResourcesLister/List";
const PATIENCE: Duration = Duration::from_secs(30);

fn record(name: &str, phase: &str, spec: Value) -> PodRecord {
    let pod = json!({"metadata": {"name": name, "namespace": "n", "uid": name}, "spec": spec,
        "status": {"phase": phase, "extendedResourceClaimStatus": {"resourceClaimName": "made",
            "requestMappings": [{"containerName": "extended", "resourceName": "e.com/gpu", "requestName": "r"}]}}});
    let pod = serde_json::from_value(pod).unwrap();
    PodRecord { pod: Arc::new(pod), sandbox_id: None, sandbox_ready: false, ips: Vec::new(), containers: Vec::new() }
}

fn claim(name: &str, device: &str) -> ClaimInfo {
    let device = PreparedDevice {
        request_names: vec!["r".into()],
        pool_name: "pool".into(),
        device_name: device.into(),
        cdi_device_ids: vec![format!("v.example/gpu={device}")],
        share_id: Some("half".into()),
    };
    ClaimInfo {
        uid: name.into(),
        name: name.into(),
        namespace: "n".into(),
        drivers: BTreeMap::from([("driver.example".to_string(), vec![device])]),
        ..ClaimInfo::default()
    }
}

/// A node with two pods that run and one that has ended, which serves on a socket.
struct Node {
    folder: tempfile::TempDir,
    clock: Clock,
    metrics: Metrics,
    end: CancellationToken,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Node {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let claims = Claims::load(folder.path()).unwrap();
        for claim in [claim("own", "one"), claim("made", "two")] {
            claims.change(|all| Ok(all.insert(claim.key(), claim.clone()))).unwrap();
        }
        drop(claims);
        let (clock, metrics) = (Clock::manual(jiff::Timestamp::UNIX_EPOCH), Metrics::default());
        let nobody = tower::service_fn(|_: http::Request<kube::client::Body>| {
            std::future::pending::<Result<http::Response<kube::client::Body>, Infallible>>()
        });
        let end = CancellationToken::new();
        let client = kube::Client::new(nobody, "default");
        let wake = Arc::new(|_: &str| {});
        let devices = Devices::load(folder.path(), client, "n", clock.clone(), &metrics, wake, end.clone()).unwrap();
        let directory = Directory::default();
        let spec = json!({
            "initContainers": [{"name": "init"}, {"name": "sidecar", "restartPolicy": "Always"}],
            "containers": [
                {"name": "plain"},
                {"name": "claims", "resources": {"claims": [{"name": "c", "request": "r"}]}},
                {"name": "extended"},
            ],
            "resourceClaims": [{"name": "c", "resourceClaimName": "own"}],
        });
        let waits = json!({"containers": [{"name": "a", "resources": {"claims": [{"name": "c"}]}}],
            "resourceClaims": [{"name": "c", "resourceClaimName": "unknown"}]});
        directory.put("uses", record("uses", "Running", spec));
        directory.put("waits", record("waits", "Pending", waits));
        directory.put("ended", record("ended", "Succeeded", json!({"containers": [{"name": "a"}]})));
        // What an agent before left is no hindrance.
        drop(UnixListener::bind(folder.path().join(SOCKET)).unwrap());
        let lister = Lister::new(directory, devices, clock.clone(), metrics.families());
        let (token, place) = (end.clone(), folder.path().to_owned());
        let serving = async move { token.run_until_cancelled(lister.keep(&place)).await };
        tokio::spawn(serving);
        Self { folder, clock, metrics, end }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join(SOCKET)
    }

    async fn ask<Q, A>(&self, path: &'static str, request: Q) -> Result<A, Status>
    where
        Q: prost::Message + Send + Sync + 'static + Clone,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        loop {
            let answer = unix_grpc::unary(&unix_grpc::channel(&self.socket()), path, request.clone(), PATIENCE).await;
            match answer {
                // It does not listen yet.
                Err(status) if status.code() == Code::Unavailable => tokio::task::yield_now().await,
                answer => return answer,
            }
        }
    }

    fn counted(&self) -> String {
        let mut text = metrics::Text::default();
        metrics::Collect::collect(&self.metrics, &mut text);
        text.finish()
    }
}

fn resource(claim: &str, device: &str) -> DynamicResource {
    DynamicResource {
        claim_name: claim.into(),
        claim_namespace: "n".into(),
        resources: vec![ClaimResource {
            cdi_devices: vec![CdiDevice { name: format!("v.example/gpu={device}") }],
            driver_name: "driver.example".into(),
            pool_name: "pool".into(),
            device_name: device.into(),
            share_id: Some("half".into()),
        }],
    }
}

fn container(name: &str, dynamic: Vec<DynamicResource>) -> ContainerResources {
    ContainerResources { name: name.into(), devices: Vec::new(), dynamic }
}

fn uses() -> PodResources {
    PodResources {
        name: "uses".into(),
        namespace: "n".into(),
        containers: vec![
            container("sidecar", Vec::new()),
            container("plain", Vec::new()),
            container("claims", vec![resource("own", "one")]),
            container("extended", vec![resource("made", "two")]),
        ],
    }
}

#[tokio::test]
async fn who_has_which_devices() {
    let node = Node::start().await;
    let listed: Listed = node.ask(LIST, Everything {}).await.unwrap();
    let waits = PodResources { name: "waits".into(), namespace: "n".into(), containers: vec![container("a", vec![])] };
    assert_eq!(listed.pods, [uses(), waits]);

    let asked = |name: &str| Asked { name: name.into(), namespace: "n".into() };
    let found: Found = node.ask(GET, asked("uses")).await.unwrap();
    assert_eq!(found.pod, Some(uses()));
    for name in ["ended", "nobody"] {
        let refused = node.ask::<_, Found>(GET, asked(name)).await.unwrap_err();
        let why = format!("pod {name} in namespace n not found");
        assert_eq!((refused.code(), refused.message()), (Code::Unknown, why.as_str()));
    }
    let all: Allocatable = node.ask(ALLOCATABLE, Everything {}).await.unwrap();
    assert_eq!(all, Allocatable::default());

    let old: Listed = node.ask(OLD_LIST, Everything {}).await.unwrap();
    let names = |pod: &PodResources| pod.containers.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
    assert_eq!(old.pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["ended", "uses", "waits"]);
    assert_eq!(names(&old.pods[1]), ["plain", "claims", "extended"]);
    assert!(old.pods[1].containers.iter().all(|container| container.dynamic.is_empty()));

    for line in [
        "kubelet_pod_resources_endpoint_requests_total{server_api_version=\"v1\"} 5",
        "kubelet_pod_resources_endpoint_requests_total{server_api_version=\"v1alpha1\"} 1",
        "kubelet_pod_resources_endpoint_requests_list{server_api_version=\"v1\"} 1",
        "kubelet_pod_resources_endpoint_requests_get{server_api_version=\"v1\"} 3",
        "kubelet_pod_resources_endpoint_errors_get{server_api_version=\"v1\"} 2",
        "kubelet_pod_resources_endpoint_requests_get_allocatable{server_api_version=\"v1\"} 1",
    ] {
        let counted = node.counted();
        assert!(counted.lines().any(|counted| counted == line), "{line}: {counted}");
    }
}

#[tokio::test]
async fn what_there_is_not_is_refused() {
    let node = Node::start().await;
    for (path, why) in [
        ("/v2.PodResourcesLister/List", "unknown service v2.PodResourcesLister"),
        ("/v1.PodResourcesLister/Watch", "unknown method Watch for service v1.PodResourcesLister"),
        ("/v1alpha1.PodResourcesLister/Get", "unknown method Get for service v1alpha1.PodResourcesLister"),
    ] {
        let refused = node.ask::<_, Listed>(path, Everything {}).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::Unimplemented, why));
    }
    let long = Asked { name: "x".repeat(REQUEST_BYTES_MAX), namespace: String::new() };
    let refused = node.ask::<_, Found>(GET, long).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
}

#[tokio::test]
async fn only_so_much_is_answered() {
    let node = Node::start().await;
    let ask = async || node.ask::<_, Allocatable>(ALLOCATABLE, Everything {}).await.map_err(|status| status.code());
    for _ in 0..BURST as usize {
        ask().await.unwrap();
    }
    assert_eq!(ask().await, Err(Code::ResourceExhausted));
    node.clock.advance(Duration::from_millis(10));
    ask().await.unwrap();
    assert_eq!(ask().await, Err(Code::ResourceExhausted));
    // Whoever holds connections keeps them; others are closed at once.
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS_MAX + 1 {
        let mut stream = tokio::net::UnixStream::connect(node.socket()).await.unwrap();
        held.push(Box::pin(async move {
            let mut said = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut said).await.map(|_| said).unwrap_or_default()
        }));
    }
    let closed = tokio::time::timeout(PATIENCE, futures::future::select_all(held)).await;
    let (said, _, held) = closed.expect("one is closed");
    assert!(said.is_empty(), "it was never served");
    drop(held);
    node.clock.advance(Duration::from_secs(1));
    let again = async {
        while ask().await.is_err() {
            node.clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("there is room again");
}
