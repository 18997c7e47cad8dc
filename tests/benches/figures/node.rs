//! What needs a node: containerd, nftables and kubectl, and root.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::real::{missing, run};

use crate::http::{Call, Connection, Lines};
use crate::load::each;
use crate::measure::{Bar, Figures, Round};
use crate::objects::{self, NAMESPACE, path};
use crate::server::{Server, binary, free_port};
use crate::start::SETTLED_AFTER;
use crate::{Failure, ROUNDS};

const SERVICES: usize = 10_000;
const CONNECTIONS: usize = 32;
/// How long a wait for something may last.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The image of the pods; `cargo xtask images` packs it.
const IMAGE: &str = "busybox";

pub(crate) async fn all(figures: &mut Figures) -> Result<(), Failure> {
    if let Some(missing) = missing() {
        figures.skipped("node Ready; kubectl run; memory with the agent; 10 000 services", &missing);
        return Ok(());
    }
    let flags = flags()?;
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut cluster = Started(Server::start(&flags).await?);
    let measured = with_node(figures, &mut cluster, &flags).await;
    cluster.end();
    measured
}

/// Addresses and names that no other cluster of this machine has.
fn flags() -> Result<Vec<String>, Failure> {
    let number = 60 + std::process::id() % 30;
    let words = format!(
        "--node-port {} --node-name bench-{number} --pod-cidr 10.{number}.0.0/16 --service-cidr 10.{}.0.0/16",
        free_port()?,
        number + 130
    );
    Ok(words.split(' ').map(String::from).collect())
}

/// A cluster with a node; its containerd outlives its server.
struct Started(Server);

impl Started {
    /// Stops the server and takes away everything that it made.
    fn end(&self) {
        let Ok(binary) = binary() else { return };
        if let Err(failure) = run(Command::new(binary).args(["down", "--purge", "--data-dir"]).arg(self.0.data())) {
            eprintln!("bench: {failure}");
        }
    }
}

async fn with_node(figures: &mut Figures, cluster: &mut Started, flags: &[&str]) -> Result<(), Failure> {
    let mut ready = Round::new("s");
    for round in 0..ROUNDS {
        if round > 0 {
            cluster.end();
            cluster.0 = Server::start(flags).await?;
        }
        ready.add(cluster.0.ready_ms() / 1e3 + node_ready(&cluster.0).await?);
    }
    figures.row("exec to node Ready, containerd started by it", Bar::AtMost(2.0), &ready);
    tokio::time::sleep(2 * SETTLED_AFTER).await;
    let mut memory = Round::new("MB");
    memory.add(cluster.0.resident_mb()?);
    figures.row("resident memory, whole process idle with the agent", Bar::AtMost(50.0), &memory);
    if let Err(failure) = kubectl_run(figures, &cluster.0).await {
        figures.skipped("kubectl run with a local image, until Running", &failure.to_string());
    }
    services(figures, &cluster.0).await
}

/// Seconds until the node says that it is Ready.
async fn node_ready(server: &Server) -> Result<f64, Failure> {
    let begin = Instant::now();
    let mut connection = Connection::open(server).await?;
    loop {
        let nodes: Value = serde_json::from_slice(&connection.call(Call::get("/api/v1/nodes")).await?)?;
        let conditions = nodes["items"][0]["status"]["conditions"].as_array().cloned().unwrap_or_default();
        if conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True") {
            return Ok(begin.elapsed().as_secs_f64());
        }
        if begin.elapsed() > WAIT_MAX {
            return Err("the node does not become Ready".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn kubectl_run(figures: &mut Figures, server: &Server) -> Result<(), Failure> {
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/images/busybox.tar");
    run(Command::new(binary()?).args(["image", "import", archive, "--data-dir"]).arg(server.data()))?;
    let kubeconfig = server.data().join("admin.kubeconfig");
    let mut times = Round::new("s");
    for round in 0..=ROUNDS {
        let mut connection = Connection::open(server).await?;
        let watch = format!("/api/v1/namespaces/default/pods?watch=1&fieldSelector=metadata.name%3Drun-{round}");
        let mut lines = Lines::of(connection.send(Call::get(watch)).await?);
        let begin = Instant::now();
        let (name, config) = (format!("run-{round}"), kubeconfig.clone());
        let kubectl = tokio::task::spawn_blocking(move || {
            let words =
                ["run", &name, "--image", IMAGE, "--image-pull-policy=Never", "--command", "--", "sleep", "600"];
            run(Command::new("kubectl").arg("--kubeconfig").arg(config).args(words))
        });
        let mut running = false;
        while !running {
            let line = lines.read(|line| running |= is_running(line));
            tokio::time::timeout(WAIT_MAX, line).await.map_err(|_| "the pod does not run")??;
        }
        kubectl.await??;
        // The first has to read everything from the disk.
        if round > 0 {
            times.add(begin.elapsed().as_secs_f64());
        }
    }
    figures.row("kubectl run with a local image, until Running", Bar::AtMost(0.4), &times);
    Ok(())
}

fn is_running(line: &[u8]) -> bool {
    serde_json::from_slice::<Value>(line).is_ok_and(|event| event["object"]["status"]["phase"] == "Running")
}

/// Rules are there when a connection to the service's address arrives.
async fn services(figures: &mut Figures, server: &Server) -> Result<(), Failure> {
    server.prepare().await?;
    let listener = TcpListener::bind("0.0.0.0:0")?;
    let (address, port) = (own_address()?, listener.local_addr()?.port());
    let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices");
    let (to, text) = (slices.clone(), address.to_string());
    let slice = move |n: usize| Call::post(to.clone(), objects::endpoints(&format!("s-{n}"), &text, port));
    let begin = Instant::now();
    each(server, CONNECTIONS, SERVICES, slice).await?;
    let service = |n: usize| Call::post(path("services"), objects::service(&format!("s-{n}")));
    each(server, CONNECTIONS, SERVICES, service).await?;
    let mut connection = Connection::open(server).await?;
    let created = begin.elapsed();
    for number in [0, SERVICES / 2, SERVICES - 1] {
        let text = connection.call(Call::get(path(&format!("services/s-{number}")))).await?;
        reached(cluster_ip(&text)?).await?;
    }
    let mut all = Round::new("s");
    all.add((begin.elapsed() - created).as_secs_f64());
    figures.row("10 000 services: from the last create until all are reached", Bar::AtMost(1.0), &all);
    let mut more = Round::new("ms");
    for round in 0..ROUNDS * 3 {
        let name = format!("more-{round}");
        let body = objects::endpoints(&name, &address.to_string(), port);
        connection.call(Call::post(slices.clone(), body)).await?;
        let begin = Instant::now();
        let text = connection.call(Call::post(path("services"), objects::service(&name))).await?;
        reached(cluster_ip(&text)?).await?;
        more.add(begin.elapsed().as_secs_f64() * 1e3);
    }
    figures.row("  one more, from its create until it is reached", Bar::AtMost(20.0), &more);
    Ok(())
}

fn cluster_ip(service: &[u8]) -> Result<SocketAddr, Failure> {
    let service: Value = serde_json::from_slice(service)?;
    let ip: IpAddr = service["spec"]["clusterIP"].as_str().ok_or("the service has no address")?.parse()?;
    Ok(SocketAddr::new(ip, 80))
}

async fn reached(address: SocketAddr) -> Result<(), Failure> {
    let begin = Instant::now();
    let attempt = Duration::from_millis(20);
    loop {
        let connect = move || TcpStream::connect_timeout(&address, attempt).is_ok();
        if tokio::task::spawn_blocking(connect).await? {
            return Ok(());
        }
        if begin.elapsed() > WAIT_MAX {
            return Err(format!("{address} is not reached").into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The address of this machine that packets to the outside would come from; nothing is sent.
fn own_address() -> Result<IpAddr, Failure> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect("192.0.2.1:9")?;
    Ok(socket.local_addr()?.ip())
}
