//! `coracle up`

use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use kubelet::private;

use crate::commands::{block_on, say};
use crate::config::ClusterConfig;
use crate::error::Error;
use crate::{connect, dns_probe, kubeconfig, network, process};

/// How long a step may take before the start is given up.
const STEP_MAX: Duration = Duration::from_secs(60);

/// Starts `coracle server` in the background, waits until the node is Ready and DNS answers, and tells what to do next.
///
/// # Errors
/// If it does not become ready; with the end of its log.
pub fn run(config: &ClusterConfig, arguments: &[String]) -> Result<(), Error> {
    let data_dir = config.data_dir.clone().expect("the command line gives one");
    if let Some(pid) = process::running(&data_dir) {
        say(format!("A cluster runs already in {} (process {}).", data_dir.display(), pid.as_raw_nonzero()));
        print_next(&data_dir);
        return Ok(());
    }
    private::directory(&data_dir).map_err(|error| Error::file("make", &data_dir, error))?;
    let log = data_dir.join("coracle.log");
    let mut server = Server { child: spawn(&log, arguments)?, log };
    block_on(async {
        let mut progress = Progress::new();
        let client = server.wait(api_server(&data_dir)).await?;
        progress.step("API server answers");
        if config.agent {
            server.wait(node_ready(client, &config.node_name)).await?;
            progress.step(&format!("node {} is Ready", config.node_name));
            server.wait(dns_answers(network::dns_address(&config.service_cidr)?)).await?;
            progress.step("DNS answers");
        }
        Ok(())
    })?;
    print_next(&data_dir);
    Ok(())
}

fn print_next(data_dir: &Path) {
    say("\nThe cluster is up. Next:\n");
    say(format!("  export KUBECONFIG={}", kubeconfig::path(data_dir).display()));
    say("  kubectl get nodes");
}

struct Progress {
    last: Instant,
}

impl Progress {
    fn new() -> Self {
        Self { last: crate::clock::now() }
    }

    fn step(&mut self, done: &str) {
        let now = crate::clock::now();
        say(format!("{:6.2} s  {done}", (now - self.last).as_secs_f64()));
        self.last = now;
    }
}

struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Waits for a step, unless the server ends or the step takes too long.
    async fn wait<T>(&mut self, step: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let ended = async {
            loop {
                match self.child.try_wait() {
                    Ok(None) => tokio::time::sleep(Duration::from_millis(20)).await,
                    _ => return,
                }
            }
        };
        let why = tokio::select! {
            result = step => return result,
            () = ended => "the server ended".to_string(),
            () = tokio::time::sleep(STEP_MAX) => format!("not ready after {} s", STEP_MAX.as_secs()),
        };
        Err(Error::usage(format!("{why}; the end of {}:\n{}", self.log.display(), tail(&self.log))))
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

fn spawn(log: &Path, arguments: &[String]) -> Result<Child, Error> {
    let log = private::append(log).map_err(|error| Error::file("write", log, error))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("server").args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
    Ok(command.spawn()?)
}

/// Waits for the server's answer. The kubeconfig of an earlier start may still lie there: it is of the same authority, so a
/// server that answers to it is this one, and until then it is read again.
async fn api_server(data_dir: &Path) -> Result<Client, Error> {
    loop {
        if kubeconfig::path(data_dir).exists() {
            let (client, _) = connect::admin(data_dir).await?;
            let request = http::Request::get("/readyz").body(Vec::new()).expect("a constant request");
            if client.request_text(request).await.is_ok() {
                return Ok(client);
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn node_ready(client: Client, name: &str) -> Result<(), Error> {
    let nodes: Api<Node> = Api::all(client);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut states = std::pin::pin!(watcher(nodes, config).default_backoff().applied_objects());
    loop {
        match states.try_next().await {
            Ok(Some(node)) if connect::is_ready(&node) => return Ok(()),
            Ok(None) => return Err(Error::usage("the watch of the node ended")),
            Ok(Some(_)) | Err(_) => {}
        }
    }
}

async fn dns_answers(server: IpAddr) -> Result<(), Error> {
    while !dns_probe::resolves(server, "kubernetes.default.svc.cluster.local.").await? {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
