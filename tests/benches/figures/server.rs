//! The release binary as a child process, and what the system tells of it.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::http::{Call, Connection};
use crate::{Failure, http};

/// The administrator's token in the bench's token file.
pub(crate) const TOKEN: &str = "bench-token";
/// The token of a user who may do everything and is not exempt from fairness.
pub(crate) const READER: &str = "reader-token";
/// The token of another such user, who floods the server.
pub(crate) const FLOOD: &str = "flood-token";
/// How long a start may take.
const START_MAX: Duration = Duration::from_secs(30);

/// A running server.
pub(crate) struct Server {
    child: Child,
    directory: Option<TempDir>,
    /// Its port on the loopback address.
    pub port: u16,
    ready: Duration,
    ready_cpu: Duration,
}

impl Server {
    /// Starts a server in a new directory and waits until it is ready.
    pub(crate) async fn start(flags: &[&str]) -> Result<Self, Failure> {
        let directory = tempfile::Builder::new().prefix("coracle-bench").tempdir()?;
        Self::start_in(Self::with_tokens(directory)?, flags).await
    }

    /// Starts a server in a new directory with files that its flags name: `{}` in a flag is the directory.
    pub(crate) async fn start_with(flags: &[&str], files: &[(&str, String)]) -> Result<Self, Failure> {
        let directory = tempfile::Builder::new().prefix("coracle-bench").tempdir()?;
        for (name, content) in files {
            std::fs::write(directory.path().join(name), content)?;
        }
        let path = directory.path().to_string_lossy().into_owned();
        let flags: Vec<String> = flags.iter().map(|flag| flag.replace("{}", &path)).collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        Self::start_in(Self::with_tokens(directory)?, &flags).await
    }

    fn with_tokens(directory: TempDir) -> Result<TempDir, Failure> {
        let users = format!("{TOKEN},bench,1,\"system:masters\"\n{READER},reader,2\n{FLOOD},flood,3\n");
        std::fs::write(directory.path().join("tokens"), users)?;
        Ok(directory)
    }

    async fn start_in(directory: TempDir, flags: &[&str]) -> Result<Self, Failure> {
        let port = free_port()?;
        let log = std::fs::File::create(directory.path().join("log"))?;
        let mut command = Command::new(binary()?);
        command.args(["server", "--port", &port.to_string(), "--data-dir"]);
        command.arg(directory.path().join("data")).arg("--token-auth-file").arg(directory.path().join("tokens"));
        if flags.contains(&"--disable-agent") {
            command.args(["--bind", "127.0.0.1"]);
        }
        command.args(flags).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let begin = Instant::now();
        let child = command.spawn()?;
        let mut server =
            Self { child, directory: Some(directory), port, ready: Duration::ZERO, ready_cpu: Duration::ZERO };
        while !http::ready(&server).await {
            if begin.elapsed() > START_MAX || server.child.try_wait()?.is_some() {
                let directory = server.directory.as_ref().ok_or("the server has a directory")?;
                let log = std::fs::read_to_string(directory.path().join("log"))?;
                return Err(format!("the server does not start:\n{log}").into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.ready = begin.elapsed();
        server.ready_cpu = server.cpu()?;
        Ok(server)
    }

    /// Stops it and starts it again on the same data.
    pub(crate) async fn restart(mut self, flags: &[&str]) -> Result<Self, Failure> {
        self.end()?;
        let directory = self.directory.take().ok_or("the server has a directory")?;
        Self::start_in(directory, flags).await
    }

    /// Makes the namespace and the service account that pods need.
    pub(crate) async fn prepare(&self) -> Result<(), Failure> {
        let mut connection = Connection::open(self).await?;
        connection.call(Call::post("/api/v1/namespaces", &br#"{"metadata":{"name":"bench"}}"#[..])).await?;
        let account = &br#"{"metadata":{"name":"default"}}"#[..];
        // The controller may have made it already.
        connection.succeeds(Call::post("/api/v1/namespaces/bench/serviceaccounts", account)).await?;
        let binding = serde_json::json!({"metadata": {"name": "bench"}, "subjects": [
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "reader"},
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "flood"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}});
        let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
        connection.call(Call::post(bindings, binding.to_string())).await?;
        Ok(())
    }

    /// From exec to ready.
    pub(crate) fn ready_ms(&self) -> f64 {
        self.ready.as_secs_f64() * 1e3
    }

    /// What the server's processor time was by then, in steps of 10 ms.
    pub(crate) fn ready_cpu_ms(&self) -> f64 {
        self.ready_cpu.as_secs_f64() * 1e3
    }

    /// The directory with everything that it keeps.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.as_ref().map(|directory| directory.path().join("data")).unwrap_or_default()
    }

    /// Resident memory.
    pub(crate) fn resident_mb(&self) -> Result<f64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1000.0)
    }

    /// User and system time so far.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let after = stat.rsplit(')').next().ok_or("a stat line has a name in brackets")?;
        let fields: Vec<&str> = after.split_whitespace().collect();
        // Fields 14 and 15 of the line, in ticks of 10 ms.
        Ok(Duration::from_millis((fields[11].parse::<u64>()? + fields[12].parse::<u64>()?) * 10))
    }

    /// Bytes that went to the disk so far.
    pub(crate) fn written(&self) -> Result<u64, Failure> {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.child.id()))?;
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).ok_or("no write_bytes")?;
        Ok(line.trim().parse()?)
    }

    /// Ends the server.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Failure> {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status()?;
        let _ = self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The binary that is measured: the one beside the bench, or the one that `CORACLE_BINARY` names.
pub(crate) fn binary() -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os("CORACLE_BINARY") {
        return Ok(path.into());
    }
    let own = std::env::current_exe()?;
    let profile = own.parent().and_then(|deps| deps.parent()).ok_or("the bench is in no target directory")?;
    Ok(profile.join("coracle"))
}
