//! The server with a real container: its image is made of the machine's own busybox, so the test skips where there is none.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use k8s_cri::v1;
use network::pod_network;
use rustls::ClientConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::*;
use crate::containerd::{self, Containerd};
use crate::directory::{ContainerRecord, PodRecord};
use crate::labels;

struct Certificates {
    ca: String,
    server: (String, String),
    admin: (String, String),
    nobody: (String, String),
}

impl Certificates {
    fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        let (certificate, key) = &self.server;
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = rustls::crypto::ring::default_provider();
        let shown = rustls::sign::CertifiedKey::from_der(chain, key, &provider).unwrap();
        Arc::new(rustls::sign::SingleCertAndKey::from(shown))
    }
}

fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split('|')).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Certificates as the cluster's CA issues them.
fn certificates(directory: &Path) -> Certificates {
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    let new = "req|-x509|-newkey|ec|-pkeyopt|ec_paramgen_curve:P-256|-nodes|-days|2";
    openssl(directory, &format!("{new}|-keyout|ca.key|-out|ca.crt|-subj|/CN=ca"));
    let issue = |name: &str, subject: &str, extension: &str| {
        let signed = format!("-CA|ca.crt|-CAkey|ca.key|-keyout|{name}.key|-out|{name}.crt|-subj|{subject}");
        openssl(directory, &format!("{new}|{signed}|-addext|{extension}|-addext|basicConstraints=critical,CA:FALSE"));
        (read(&format!("{name}.crt")), read(&format!("{name}.key")))
    };
    Certificates {
        server: issue("server", "/CN=node", "subjectAltName=IP:127.0.0.1"),
        admin: issue("admin", "/O=system:masters/CN=admin", "extendedKeyUsage=clientAuth"),
        nobody: issue("nobody", "/CN=nobody", "extendedKeyUsage=clientAuth"),
        ca: read("ca.crt"),
    }
}

async fn tls(address: SocketAddr, ca: &str, client: Option<&(String, String)>) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match client {
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    let stream = TcpStream::connect(address).await.unwrap();
    let name = "127.0.0.1".try_into().unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// The busybox of the machine as an image archive in Docker's format.
fn image(directory: &Path) -> PathBuf {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = busybox.expect("a busybox");
    let is_static = Command::new("ldd").arg(busybox).output().is_ok_and(|output| !output.status.success());
    assert!(is_static, "{busybox} needs libraries");
    let root = directory.join("image");
    std::fs::create_dir_all(root.join("layer/bin")).unwrap();
    std::fs::copy(busybox, root.join("layer/bin/busybox")).unwrap();
    for name in ["sh", "cat", "sleep", "echo", "nc", "stty"] {
        std::os::unix::fs::symlink("busybox", root.join("layer/bin").join(name)).unwrap();
    }
    let run = |arguments: &str| {
        assert!(Command::new("tar").args(arguments.split(' ')).current_dir(&root).status().unwrap().success());
    };
    run("-cf layer.tar -C layer .");
    let bytes = std::fs::read(root.join("layer.tar")).unwrap();
    let digest: String =
        <sha2::Sha256 as sha2::Digest>::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let config = serde_json::json!({
        "architecture": crate::machine::architecture(), "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": ["sleep", "1000"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]}
    });
    std::fs::write(root.join("config.json"), config.to_string()).unwrap();
    let names = serde_json::json!([
        {"Config": "config.json", "RepoTags": [crate::images::pause::NAME], "Layers": ["layer.tar"]}
    ]);
    std::fs::write(root.join("manifest.json"), names.to_string()).unwrap();
    run("-cf image.tar manifest.json config.json layer.tar");
    root.join("image.tar")
}

/// A node with one running container, without an API server.
struct Fixture {
    directory: tempfile::TempDir,
    containerd: containerd::Config,
    network: pod_network::Config,
    certificates: Certificates,
    server: Server,
    token: CancellationToken,
}

impl Fixture {
    async fn new(number: u8) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let image = image(directory.path());
        let network = pod_network::Config {
            id: format!("s{number}{}", std::process::id()),
            pod_cidr: format!("10.213.{number}.0/24").parse().unwrap(),
            service_cidr: format!("10.214.{number}.0/24").parse().unwrap(),
            directory: directory.path().join("network"),
        };
        pod_network::setup(&network).await.unwrap();
        let containerd = containerd::Config {
            root: directory.path().join("root"),
            state: directory.path().join("state"),
            cni_conf_dir: network.cni_conf_dir(),
            cni_bin_dir: pod_network::plugin_dir().unwrap(),
            registry_config_dir: None,
        };
        let runtime = Containerd::start(containerd.clone()).await.unwrap();
        let cri = Cri::connect(runtime.address()).await.unwrap();
        let archive = std::fs::File::open(&image).unwrap();
        crate::import_image(runtime.address(), archive, &client::Clock::system()).await.unwrap();
        let pods = Directory::default();
        pods.put("u1", run_pod(&cri, directory.path()).await);
        let certificates = certificates(directory.path());
        let config = Config {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            node_name: "node".into(),
            certificate: certificates.resolver(),
            client_ca_pem: certificates.ca.clone(),
            about: Default::default(),
        };
        let token = CancellationToken::new();
        // Reviews go to nobody, and are refused.
        let service = tower::service_fn(|_: Request<kube::client::Body>| async {
            Ok::<_, std::convert::Infallible>(http::Response::builder().status(503).body(Body::empty()).unwrap())
        });
        let client = kube::Client::new(service, "default");
        let server = Server::start(config, pods, cri, client, Clock::system(), token.clone()).await.unwrap();
        std::mem::forget(runtime);
        Self { directory, containerd, network, certificates, server, token }
    }

    async fn end(self) {
        self.token.cancel();
        containerd::teardown(&self.containerd).await.unwrap();
        pod_network::teardown(&self.network).await.unwrap();
        drop(self.directory);
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        tls(self.server.address(), &self.certificates.ca, Some(&self.certificates.admin)).await
    }

    async fn get(&self, path: &str, client: Option<&(String, String)>) -> (u16, String) {
        let stream = tls(self.server.address(), &self.certificates.ca, client).await;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder().uri(path).header("host", "node").body(Body::empty()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn websocket(&self, path: &str, protocol: &str) -> tokio_tungstenite::WebSocketStream<TlsStream<TcpStream>> {
        let mut request = format!("wss://node{path}").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        tokio_tungstenite::client_async(request, self.connect().await).await.unwrap().0
    }

    /// Runs a command and returns what came on each channel.
    async fn exec(&self, query: &str, protocol: &str, send: Vec<Message>) -> HashMap<u8, String> {
        let mut socket = self.websocket(&format!("/exec/d/p/c?{query}"), protocol).await;
        for message in send {
            socket.send(message).await.unwrap();
        }
        let mut channels: HashMap<u8, String> = HashMap::new();
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Binary(bytes) = message {
                channels.entry(bytes[0]).or_default().push_str(&String::from_utf8_lossy(&bytes[1..]));
            }
        }
        channels
    }
}

async fn run_pod(cri: &Cri, directory: &Path) -> PodRecord {
    let logs = directory.join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    let metadata = v1::PodSandboxMetadata { name: "p".into(), uid: "u1".into(), namespace: "d".into(), attempt: 0 };
    let sandbox = v1::PodSandboxConfig {
        metadata: Some(metadata),
        log_directory: logs.to_string_lossy().into_owned(),
        linux: Some(v1::LinuxPodSandboxConfig::default()),
        ..v1::PodSandboxConfig::default()
    };
    // The image stands for pause as well; what it runs by itself only waits.
    let sandbox_id = cri.run_sandbox(sandbox.clone(), "").await.unwrap();
    let script = "echo started; sleep 0.1; echo oops >&2; while true; do echo hello | nc -l -p 8080; done";
    // Figures come by the labels that the agent gives its containers.
    let labels =
        [(labels::POD_NAMESPACE, "d"), (labels::POD_NAME, "p"), (labels::POD_UID, "u1"), (labels::CONTAINER_NAME, "c")];
    let config = v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: "c".into(), attempt: 0 }),
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        image: Some(v1::ImageSpec { image: crate::images::pause::NAME.into(), ..Default::default() }),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        log_path: "c.log".into(),
        linux: Some(v1::LinuxContainerConfig::default()),
        ..v1::ContainerConfig::default()
    };
    let id = cri.create_container(&sandbox_id, config, sandbox).await.unwrap();
    cri.start_container(&id).await.unwrap();
    let pod = serde_json::json!({
        "metadata": {"name": "p", "namespace": "d", "uid": "u1"}, "spec": {"containers": [{"name": "c", "image": "busybox:1"}, {"name": "w"}]}
    });
    let log_path = logs.join("c.log");
    PodRecord {
        pod: Arc::new(serde_json::from_value(pod).unwrap()),
        sandbox_id: Some(sandbox_id),
        sandbox_ready: true,
        ips: Vec::new(),
        containers: vec![ContainerRecord { name: "c".into(), id, restart_count: 0, running: true, log_path }],
    }
}

#[tokio::test]
#[ignore = "needs root, containerd, the CNI plugins, openssl and a static busybox"]
async fn serves_a_container() {
    let node = Fixture::new(1).await;
    let checks = tokio::time::timeout(Duration::from_secs(30), check_all(&node));
    let result = AssertUnwindSafe(checks).catch_unwind().await;
    node.end().await;
    match result {
        Ok(ended) => ended.expect("each step ends"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

async fn check_all(node: &Fixture) {
    let admin = Some(&node.certificates.admin);
    tokio::time::sleep(Duration::from_millis(600)).await;

    assert_eq!(node.get("/healthz", admin).await, (200, "ok".into()));
    assert_eq!(node.get("/healthz", None).await.0, 401);
    assert_eq!(node.get("/healthz", Some(&node.certificates.nobody)).await.0, 403);
    assert_eq!(node.get("/containerLogs/d/p/c", admin).await, (200, "started\noops\n".into()));
    assert_eq!(node.get("/containerLogs/d/p/c?tailLines=1", admin).await.1, "oops\n");
    assert_eq!(node.get("/containerLogs/d/none/c", admin).await.0, 404);
    let (status, text) = node.get("/containerLogs/d/p/w", admin).await;
    assert_eq!((status, text.trim()), (400, "container \"w\" in pod \"p\" is waiting to start: ContainerCreating"));
    let (status, text) = node.get("/containerLogs/d/p/c?previous=true", admin).await;
    assert_eq!((status, text.trim()), (400, "previous terminated container \"c\" in pod \"p\" not found"));
    assert!(node.get("/pods", admin).await.1.contains("\"uid\":\"u1\""));
    let running: serde_json::Value = serde_json::from_str(&node.get("/runningpods/", admin).await.1).unwrap();
    let expected = serde_json::json!([{
        "metadata": {"name": "p", "namespace": "d", "uid": "u1"},
        "spec": {"containers": [{"name": "c", "image": "busybox:1", "resources": {}}]},
        "status": {},
    }]);
    assert_eq!((&running["kind"], &running["items"]), (&"PodList".into(), &expected));
    let summary: serde_json::Value = serde_json::from_str(&node.get("/stats/summary", admin).await.1).unwrap();
    let memory = |name: &str| summary["node"]["memory"][name].as_u64().unwrap_or(0);
    for name in ["workingSetBytes", "rssBytes", "pageFaults"] {
        assert!(memory(name) > 0, "{name} of {summary}");
    }
    assert!(memory("usageBytes") >= memory("rssBytes"), "{summary}");
    assert!(
        node.get("/metrics", admin).await.1.contains("kubelet_running_containers{container_state=\"running\"} 1\n")
    );
    assert_eq!(node.get("/logs/", admin).await.0, 200);
    check_figures(node).await;

    check_exec(node).await;
    check_port_channels(node).await;
}

/// Each endpoint with figures, what it tells of the container that runs, and to whom.
async fn check_figures(node: &Fixture) {
    let admin = Some(&node.certificates.admin);
    let get = async |path: &str| {
        let (status, text) = node.get(path, admin).await;
        assert_eq!(status, 200, "{path}: {text}");
        assert_eq!(node.get(path, Some(&node.certificates.nobody)).await.0, 403, "{path}");
        text
    };
    let text = get("/metrics/resource").await;
    for part in
        ["node_cpu_usage_seconds_total ", "resource_scrape_error 0\n", "container_start_time_seconds{container=\"c\""]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    let text = get("/metrics/cadvisor").await;
    for part in ["container_last_seen{container=\"\",id=\"/\"", "machine_cpu_cores{", "container_scrape_error 0\n"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(get("/metrics/probes").await.starts_with("# HELP process_start_time_seconds"));
    let text = get("/metrics").await;
    for part in [
        "kubelet_http_requests_total{long_running=\"false\",method=\"GET\",path=\"metrics/cadvisor\",server_type=\"readwrite\"} 2\n",
        "kubelet_http_inflight_requests{long_running=\"false\",method=\"GET\",path=\"metrics\",server_type=\"readwrite\"} 1\n",
        "apiserver_delegated_authz_request_total{code=\"503\"} ",
        "kubelet_runtime_operations_total{operation_type=\"list_containers\"} ",
        "kubelet_desired_pods{static=\"\"} 1\n",
        "kubelet_container_log_filesystem_used_bytes{container=\"c\",namespace=\"d\",pod=\"p\",uid=\"u1\"} ",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(get("/statusz").await.starts_with("\nkubelet statusz\n"));
    assert!(get("/flagz").await.starts_with("\nkubelet flagz\n"));
    get("/configz").await;
}

/// Port-forward over a WebSocket with two channels for each port that the query names.
async fn check_port_channels(node: &Fixture) {
    for protocol in ["v4.channel.k8s.io", "v4.base64.channel.k8s.io"] {
        let channels = loop {
            let channels = port_channels(node, protocol).await;
            if channels.contains_key(&0) && channels[&0].len() >= 8 {
                break channels;
            }
            // The container listens anew after each connection; it did not yet.
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert_eq!(channels.get(&0).map(Vec::as_slice), Some(&b"\x90\x1fhello\n"[..]), "{protocol}");
        assert_eq!(channels.get(&1).map(Vec::as_slice), Some(&b"\x90\x1f"[..]), "{protocol}");
    }
}

/// All that comes over one connection: the data channel says the port, little end first, and then what the container says.
async fn port_channels(node: &Fixture, protocol: &str) -> HashMap<u8, Vec<u8>> {
    let mut socket = node.websocket("/portForward/d/p?port=8080", protocol).await;
    let mut channels: HashMap<u8, Vec<u8>> = HashMap::new();
    while channels.get(&0).is_none_or(|data| data.len() < 8)
        && let Some(Ok(message)) = socket.next().await
    {
        let (channel, bytes) = match message {
            Message::Binary(bytes) => (bytes[0], bytes[1..].to_vec()),
            Message::Text(text) => (text.as_bytes()[0] - b'0', BASE64.decode(&text.as_str()[1..]).unwrap()),
            _ => continue,
        };
        channels.entry(channel).or_default().extend(bytes);
    }
    channels
}

async fn check_exec(node: &Fixture) {
    let success = r#"{"metadata":{},"status":"Success"}"#;
    for protocol in ["v5.channel.k8s.io", "v4.channel.k8s.io"] {
        let found = node.exec("command=echo&command=hi&output=1&error=1", protocol, vec![]).await;
        assert_eq!(found.get(&1).map(String::as_str), Some("hi\n"), "{protocol}");
        assert_eq!(found.get(&3).map(|text| text.trim()), Some(success), "{protocol}");
    }
    let found = node
        .exec("command=sh&command=-c&command=echo+e+%3E%262;exit+7&output=1&error=1", "v5.channel.k8s.io", vec![])
        .await;
    assert_eq!(found.get(&2).map(String::as_str), Some("e\n"));
    let status: serde_json::Value = serde_json::from_str(&found[&3]).unwrap();
    assert_eq!(status["reason"], "NonZeroExitCode");
    assert_eq!(status["details"]["causes"][0]["message"], "7");
    // `cat` ends only when its input does.
    let input = vec![Message::binary(b"\0some input".to_vec()), Message::binary(vec![255, 0])];
    let found = node.exec("command=cat&input=1&output=1", "v5.channel.k8s.io", input).await;
    assert_eq!(found.get(&1).map(String::as_str), Some("some input"));
    let resize = vec![Message::binary(b"\x04{\"Width\":101,\"Height\":31}".to_vec())];
    let found = node
        .exec("command=sh&command=-c&command=sleep+0.3;stty+size&output=1&input=1&tty=1", "v4.channel.k8s.io", resize)
        .await;
    assert_eq!(found.get(&1).map(|text| text.trim()), Some("31 101"));
    let old = node.exec("command=echo&command=hi&output=1&error=1", "channel.k8s.io", vec![]).await;
    assert_eq!((old.get(&1).map(String::as_str), old.get(&3)), (Some("hi\n"), None));
}
