//! One try of a probe.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use tokio::net::TcpStream;

use super::{
    grpc,
    http::{self, Failure, Purpose},
};
use crate::{agent::Agent, expansion, pod};

/// Longest output of a check that goes into an event.
const OUTPUT_BYTES_MAX: usize = 1024;

/// How often a probe is tried when the try itself goes wrong (`maxProbeRetries` in pkg/kubelet/prober).
const TRIES_MAX: usize = 3;

/// The finding of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Success,
    /// Well, with something to be told.
    Warning(String),
    /// Not well, and why.
    Failure(String),
    /// The try itself went wrong: it tells nothing of the container.
    Error(String),
}

/// The container that is probed, and where.
pub struct Target<'a> {
    /// Shared parts.
    pub agent: &'a Agent,
    /// The container.
    pub container: &'a Container,
    /// Its CRI id.
    pub id: &'a str,
    /// The pod's address.
    pub pod_ip: &'a str,
    /// How long a try may take.
    pub timeout: Duration,
}

/// Tries a probe, and again when the try itself goes wrong.
pub async fn run(target: &Target<'_>, probe: &Probe) -> Outcome {
    let mut outcome = Outcome::Error("not tried".to_owned());
    for _ in 0..TRIES_MAX {
        outcome = try_once(target, probe).await.unwrap_or_else(Outcome::Error);
        if !matches!(outcome, Outcome::Error(_)) {
            break;
        }
    }
    outcome
}

async fn try_once(target: &Target<'_>, probe: &Probe) -> Result<Outcome, String> {
    if let Some(action) = &probe.exec {
        let command = action.command.iter().flatten().map(|word| expansion::expand(word, |name| fixed(target, name)));
        return Ok(exec(target, command.collect()).await);
    }
    if let Some(action) = &probe.http_get {
        let port = pod::port(target.container, &action.port)?;
        return Ok(match http::get(action, Purpose::Probe, target.pod_ip, port, target.timeout).await {
            Ok(answer) if (200..300).contains(&answer.status) => Outcome::Success,
            Ok(answer) if (300..400).contains(&answer.status) => {
                Outcome::Warning(format!("Probe terminated redirects, Response body: {}", answer.body))
            }
            Ok(answer) => Outcome::Failure(format!("HTTP probe failed with statuscode: {}", answer.status)),
            Err(Failure::NoAnswer(message)) => Outcome::Failure(message),
            Err(Failure::Broken(message)) => Outcome::Error(message),
        });
    }
    if let Some(action) = &probe.tcp_socket {
        let port = pod::port(target.container, &action.port)?;
        let host = action.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(target.pod_ip);
        return Ok(match connect(host, port, target.timeout).await {
            Ok(_) => Outcome::Success,
            Err(message) => Outcome::Failure(message),
        });
    }
    if let Some(action) = &probe.grpc {
        let port = u16::try_from(action.port).map_err(|_| format!("invalid port number: {}", action.port))?;
        let service = action.service.clone().unwrap_or_default();
        return Ok(grpc::check(target.pod_ip, port, service, target.timeout).await);
    }
    Err("missing probe handler".to_owned())
}

/// The value of a variable that the container's specification spells out (`ExpandContainerCommandOnlyStatic`).
fn fixed(target: &Target<'_>, name: &str) -> Option<String> {
    let mut own = target.container.env.iter().flatten().filter(|variable| variable.name == name);
    own.next_back()?.value.clone()
}

async fn exec(target: &Target<'_>, command: Vec<String>) -> Outcome {
    match target.agent.cri.exec(target.id, command, target.timeout).await {
        Ok(output) if output.code == 0 => Outcome::Success,
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            let shown = &text[..text.len().min(OUTPUT_BYTES_MAX)];
            Outcome::Failure(String::from_utf8_lossy(shown).into_owned())
        }
        Err(error) if error.is_timeout() => {
            let limit = target.timeout.as_secs();
            Outcome::Failure(format!("command timed out: {} timed out after {limit}s", error.message()))
        }
        Err(error) => Outcome::Error(error.message()),
    }
}

/// Opens a TCP connection.
///
/// # Errors
/// With the reason, in the words that people know from stock nodes.
pub async fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let shown = if bare.contains(':') { format!("[{bare}]:{port}") } else { format!("{bare}:{port}") };
    match tokio::time::timeout(timeout, TcpStream::connect((bare, port))).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err(format!("dial tcp {shown}: connect: connection refused"))
        }
        Ok(Err(error)) => Err(format!("dial tcp {shown}: connect: {error}")),
        Err(_) => Err(format!("dial tcp {shown}: i/o timeout")),
    }
}
