//! `coracle up`

use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use files::private;
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use network::dns;

use rustix::process::Pid;

use crate::commands::{block_on, down, say};
use crate::config::ClusterConfig;
use crate::error::Error;
use crate::layout::{DOMAIN, Layout};
use crate::{connect, kubeconfig, process, service_addresses};

/// How long a step may take before the start is given up.
const STEP_MAX: Duration = Duration::from_secs(60);

/// Starts `coracle server` in the background, waits until the node is Ready and DNS answers, and tells what to do next.
///
/// # Errors
/// If it does not become ready; with the end of its log.
pub(crate) fn run(config: &ClusterConfig, arguments: &[String]) -> Result<(), Error> {
    let data_dir = config.data_dir.clone().expect("the command line gives one");
    if let Some(pid) = process::running(&data_dir) {
        say(format!("A cluster runs already in {} (process {}).", data_dir.display(), pid.as_raw_nonzero()));
        print_next(&data_dir);
        return Ok(());
    }
    private::directory(&data_dir).map_err(|error| Error::file("make", &data_dir, error))?;
    let log = data_dir.join("coracle.log");
    let was_there = is_there(config)?;
    let before = std::fs::metadata(&log).map_or(0, |file| file.len());
    let mut server = Server { child: spawn(&log, arguments)?, log, before };
    let started = start(config, &data_dir, &mut server);
    if started.is_err() {
        // A server that ended by itself has taken away what it had made; for one that has to be ended that is done here,
        // unless the node was there before: then its pods go on running.
        let cleaned = server.stop().and_then(|ended| match ended && !was_there {
            true => down::take_away(&data_dir).map(drop),
            false => Ok(()),
        });
        if let Err(error) = cleaned {
            say(format!("Not all that this start has made could be taken away: {error}"));
        }
    }
    started?;
    print_next(&data_dir);
    Ok(())
}

/// Whether this machine is a node of the cluster already.
fn is_there(config: &ClusterConfig) -> Result<bool, Error> {
    let Some(data_dir) = config.data_dir.as_deref().filter(|_| config.agent) else { return Ok(true) };
    let layout = Layout::new(data_dir);
    let network = layout.network(&config.pod_cidr, &config.service_cidr)?;
    Ok(layout.node_is_there(&network))
}

fn start(config: &ClusterConfig, data_dir: &Path, server: &mut Server) -> Result<(), Error> {
    block_on(async {
        let mut progress = Progress::new();
        let client = server.wait(api_server(data_dir)).await?;
        progress.step("API server answers");
        if config.agent {
            server.wait(node_ready(client, &config.node_name)).await?;
            progress.step(&format!("node {} is Ready", config.node_name));
            server.wait(dns_answers(service_addresses::dns_address(&config.service_cidr)?)).await?;
            progress.step("DNS answers");
        }
        Ok(())
    })
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
    /// How much of the log is of earlier starts.
    before: u64,
}

impl Server {
    /// Ends the server; false if it had ended by itself.
    fn stop(&mut self) -> Result<bool, Error> {
        if self.child.try_wait()?.is_some() {
            return Ok(false);
        }
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            block_on(process::stop(pid, down::GRACE))?;
        }
        self.child.wait()?;
        Ok(true)
    }

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
        Err(Error::usage(format!("{why}; the end of {}:\n{}", self.log.display(), tail(&self.log, self.before))))
    }
}

/// The last lines of a log, of those after its first bytes.
fn tail(log: &Path, before: u64) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let own = usize::try_from(before).ok().and_then(|before| bytes.get(before..)).unwrap_or(&bytes);
    let text = String::from_utf8_lossy(own);
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
    let name = format!("kubernetes.default.svc.{DOMAIN}.");
    while !dns::resolves(server, &name).await? {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
