//! The container runtime: a private containerd that lives as long as the cluster's pods, or one that runs already.
//!
//! The private containerd has its own root, state, socket and configuration, so it meets no other on the machine.
//! It is started in its own process group and deliberately survives its parent: pods outlive a restart of the agent,
//! which finds the process again through its pid file and socket. Only [`teardown`] ends it.

pub mod config;
mod process;
mod teardown;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use k8s_cri::v1::StatusRequest;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Uri};

pub use config::Config;
pub use teardown::teardown;

/// How long a containerd may take from exec to its first answered CRI call.
const READY_SECONDS_MAX: u64 = 30;
/// Pause between two probes of a starting containerd.
const PROBE_PAUSE_MS: u64 = 5;
/// Pause before a containerd that died is started again, doubled each time that it dies before it answers.
const RESTART_PAUSE_MS: u64 = 100;
/// The longest such pause.
const RESTART_PAUSE_MS_MAX: u64 = 10_000;
/// How many lines of containerd's log an error quotes.
const LOG_LINES_QUOTED: usize = 5;
/// gRPC messages from containerd may be this large (as its own limit).
pub const GRPC_MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Why there is no container runtime.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program is not installed.
    #[error("no containerd on the PATH: install the package containerd, or give --containerd ADDRESS")]
    NotInstalled,
    /// A file or directory of the private containerd cannot be made.
    #[error("containerd: {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The process cannot be started or ended.
    #[error("containerd: {action}: {source}")]
    Process {
        /// The step that failed.
        action: &'static str,
        /// The system's words.
        source: std::io::Error,
    },
    /// It ended while it was being waited for.
    #[error("containerd ended at start ({status}); its log {log} ends with:\n{tail}")]
    Ended {
        /// Exit status.
        status: String,
        /// The log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// It runs, but does not answer.
    #[error("containerd at {address} does not answer: {reason}")]
    NotReady {
        /// The socket.
        address: PathBuf,
        /// The last failure.
        reason: String,
    },
}

/// A running container runtime.
#[derive(Debug)]
pub struct Containerd {
    address: PathBuf,
    pid: Option<u32>,
    reattached: bool,
    stop: CancellationToken,
}

impl Containerd {
    /// Starts the private containerd described by `config`, or finds it again if it still runs, and waits until it
    /// answers CRI calls. While the returned value lives, a containerd that dies is started again.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] without the program, [`Error::Ended`] with the log's last lines if it does not come up.
    pub fn start(config: Config) -> BoxFuture<'static, Result<Self, Error>> {
        Box::pin(async move {
            config.write()?;
            let address = config.address();
            if let Some(pid) = process::running(&config)
                && wait_ready(&address, Duration::from_secs(2)).await.is_ok()
            {
                tracing::info!(pid, address = %address.display(), "found containerd running");
                let stop = CancellationToken::new();
                process::supervise(config, process::Running::Found(pid), stop.clone());
                return Ok(Self { address, pid: Some(pid), reattached: true, stop });
            }
            process::end_leftover(&config).await?;
            let mut child = process::spawn(&config)?;
            let pid = child.id();
            let ready = wait_ready(&address, Duration::from_secs(READY_SECONDS_MAX));
            tokio::select! {
                result = ready => result?,
                status = child.wait() => {
                    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    let log = config.log_file();
                    let tail = process::log_tail(&log, LOG_LINES_QUOTED);
                    return Err(Error::Ended { status, log, tail });
                }
            }
            let stop = CancellationToken::new();
            process::supervise(config, process::Running::Child(child), stop.clone());
            Ok(Self { address, pid, reattached: false, stop })
        })
    }

    /// Uses a containerd that somebody else runs; waits until it answers.
    ///
    /// # Errors
    /// [`Error::NotReady`] if it does not.
    pub async fn at(address: &Path) -> Result<Self, Error> {
        let text = address.to_string_lossy();
        let address = PathBuf::from(text.strip_prefix("unix://").unwrap_or(&text));
        wait_ready(&address, Duration::from_secs(2)).await?;
        Ok(Self { address, pid: None, reattached: true, stop: CancellationToken::new() })
    }

    /// The path of the socket that serves CRI and containerd's own API.
    #[must_use]
    pub fn address(&self) -> &Path {
        &self.address
    }

    /// The process, if it is the private one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Whether it ran already before this agent came.
    #[must_use]
    pub fn reattached(&self) -> bool {
        self.reattached
    }

    /// A new gRPC channel to it, connected at the first call and again whenever the connection was lost.
    #[must_use]
    pub fn channel(&self) -> Channel {
        channel(&self.address)
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Whether the private containerd of `config` runs.
#[must_use]
pub fn is_running(config: &Config) -> bool {
    process::running(config).is_some()
}

/// A lazily connected gRPC channel to the socket at `address`.
#[must_use]
pub fn channel(address: &Path) -> Channel {
    let address = address.to_path_buf();
    Endpoint::from_static("http://containerd").connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let address = address.clone();
        async move { UnixStream::connect(address).await.map(TokioIo::new) }
    }))
}

/// Waits until a CRI `Status` call is answered. A file watch would tell of the socket, but not of the CRI plugin behind
/// it, which refuses calls until it has recovered its state; so the call itself is repeated.
async fn wait_ready(address: &Path, limit: Duration) -> Result<(), Error> {
    let mut reason = String::from("no socket");
    let attempts = async {
        loop {
            if let Ok(stream) = UnixStream::connect(address).await {
                drop(stream);
                let mut client = RuntimeServiceClient::new(channel(address));
                match client.status(StatusRequest { verbose: false }).await {
                    Ok(_) => return,
                    Err(status) => reason = status.message().to_owned(),
                }
            }
            tokio::time::sleep(Duration::from_millis(PROBE_PAUSE_MS)).await;
        }
    };
    if tokio::time::timeout(limit, attempts).await.is_ok() {
        return Ok(());
    }
    Err(Error::NotReady { address: address.to_path_buf(), reason })
}

#[cfg(test)]
mod tests;
