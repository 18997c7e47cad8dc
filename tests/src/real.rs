//! A real cluster: the `coracle` binary with its own data directory, ports, addresses and containerd.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::kubectl::{Failure, Kubectl, until};

/// A cluster that `coracle up` started; [`RealCluster::down`] takes it away.
pub struct RealCluster {
    binary: PathBuf,
    directory: PathBuf,
    flags: Vec<String>,
    number: u8,
}

impl RealCluster {
    /// Starts a cluster and imports the test images. `number` (1 to 50) tells the clusters of one machine apart.
    ///
    /// # Errors
    /// What `coracle up` said.
    pub fn start(number: u8) -> Result<Self, Failure> {
        let binary = binary()?;
        let directory = std::env::temp_dir().join(format!("coracle-test-{}-{number}", std::process::id()));
        let (pods, services) = (100 + number, 150 + number);
        let mut flags = vec!["--data-dir".to_string(), directory.display().to_string()];
        flags.extend(["--bind".into(), "0.0.0.0".into(), "--port".into(), free_port()?]);
        flags.extend(["--node-port".into(), free_port()?, "--node-name".into(), format!("node-{number}")]);
        flags.extend(["--pod-cidr".into(), format!("10.{pods}.0.0/16")]);
        flags.extend(["--service-cidr".into(), format!("10.{services}.0.0/16")]);
        // What is missing shows before anything runs that nobody would take down.
        let images = images()?;
        let cluster = Self { binary, directory, flags, number };
        cluster.up()?;
        for image in images {
            cluster.coracle(&["image", "import", &image.display().to_string(), "--data-dir", &cluster.data()])?;
        }
        Ok(cluster)
    }

    /// `coracle up`, as at the start.
    ///
    /// # Errors
    /// What it said.
    pub fn up(&self) -> Result<String, Failure> {
        let mut words = vec!["up"];
        words.extend(self.flags.iter().map(String::as_str));
        self.coracle(&words)
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(&self.kubeconfig())
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.join("admin.kubeconfig")
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The name of the node.
    pub fn node(&self) -> String {
        format!("node-{}", self.number)
    }

    /// Kills the server as a crash would, and waits until it is gone.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&self) -> Result<(), Failure> {
        let pid = std::fs::read_to_string(self.directory.join("coracle.pid")).map_err(|error| error.to_string())?;
        run(Command::new("kill").args(["-9", pid.trim()]))?;
        until("the server is gone", || match Path::new(&format!("/proc/{}/fd/0", pid.trim())).exists() {
            true => Err("still there".into()),
            false => Ok(()),
        })
    }

    /// `coracle down --purge`, which must leave nothing behind.
    ///
    /// # Errors
    /// What it said, or what it left.
    pub fn down(&self) -> Result<(), Failure> {
        self.coracle(&["down", "--purge", "--data-dir", &self.data()])?;
        let directory = self.data();
        let left: Vec<String> = leftovers()?.into_iter().filter(|line| line.contains(&directory)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("`coracle down` left behind:\n{}", left.join("\n"))) }
    }

    /// Runs the binary and returns what it printed.
    ///
    /// # Errors
    /// If it fails, with what it said.
    pub fn coracle(&self, words: &[&str]) -> Result<String, Failure> {
        run(Command::new(&self.binary).args(words))
    }

    fn data(&self) -> String {
        self.directory.display().to_string()
    }
}

/// Processes and mounts of the machine, a line each.
fn leftovers() -> Result<Vec<String>, Failure> {
    let processes = run(Command::new("ps").args(["-eo", "pid,args"]))?;
    let mounts = std::fs::read_to_string("/proc/mounts").map_err(|error| error.to_string())?;
    Ok(processes.lines().chain(mounts.lines()).map(String::from).collect())
}

/// Runs a command and returns what it printed.
///
/// # Errors
/// If it fails, with what it said.
pub fn run(command: &mut Command) -> Result<String, Failure> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(printed) } else { Err(format!("{command:?}: {}\n{printed}", output.status)) }
}

/// The binary beside this test, or the one that `CORACLE_BINARY` names.
fn binary() -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os("CORACLE_BINARY") {
        return Ok(PathBuf::from(path));
    }
    let test = std::env::current_exe().map_err(|error| error.to_string())?;
    let profile = test.parent().and_then(Path::parent).ok_or("the test is in no target directory")?;
    let binary = profile.join("coracle");
    if binary.exists() { Ok(binary) } else { Err(format!("there is no {}: cargo build -p coracle", binary.display())) }
}

/// The archives that `cargo xtask images` packed.
fn images() -> Result<Vec<PathBuf>, Failure> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/images");
    let entries = std::fs::read_dir(&directory)
        .map_err(|error| format!("{}: {error}: run `cargo xtask images`", directory.display()))?;
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "tar"));
    found.sort();
    Ok(found)
}

fn free_port() -> Result<String, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    Ok(listener.local_addr().map_err(|error| error.to_string())?.port().to_string())
}

/// Why a real cluster cannot run here, if it cannot.
pub fn missing() -> Option<String> {
    let has = |command: &str| run(Command::new("sh").args(["-c", &format!("command -v {command}")])).is_ok();
    if run(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() != "0") {
        return Some("not root".into());
    }
    ["containerd", "runc", "nft", "ip", "kubectl"]
        .iter()
        .find(|command| !has(command))
        .map(|command| format!("no {command}"))
}
