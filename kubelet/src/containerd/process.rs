//! The process: starting it, finding it again, starting it again when it died.

#![expect(unsafe_code, reason = "tokio cannot prove that a descriptor stays open")]

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::{Config, Error, READY_SECONDS_MAX, RESTART_PAUSE_MS, RESTART_PAUSE_MS_MAX, wait_ready};

/// How long a containerd may take to end after SIGTERM before it is killed.
const END_SECONDS_MAX: u64 = 5;
/// How much of the log's end is read for an error message.
const LOG_TAIL_BYTES: u64 = 8 << 10;
/// A log larger than this is begun anew at the next start.
const LOG_BYTES_MAX: u64 = 32 << 20;

/// A running containerd as the supervisor holds it.
pub(super) enum Running {
    /// Started by this process.
    Child(Child),
    /// Started by an earlier life of the agent.
    Found(u32),
}

/// Starts containerd in its own process group, so that a terminal's Ctrl-C does not reach it.
pub(super) fn spawn(config: &Config) -> Result<Child, Error> {
    let path = config.log_file();
    let too_large = fs::metadata(&path).is_ok_and(|meta| meta.len() > LOG_BYTES_MAX);
    let open = || {
        let log = files::private::append(&path)?;
        if too_large {
            log.set_len(0)?;
        }
        Ok(log)
    };
    let log = open().map_err(|source| Error::File { path: path.clone(), source })?;
    let errors = log.try_clone().map_err(|source| Error::File { path, source })?;
    let child = Command::new("containerd")
        .arg("--config")
        .arg(config.config_file())
        .args(["--log-level", "warn"])
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0)
        .kill_on_drop(false)
        .spawn()
        .map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::NotInstalled,
            _ => Error::Process { action: "starting", source },
        })?;
    let path = config.pid_file();
    let pid = child.id().unwrap_or_default().to_string();
    files::private::write(&path, pid.as_bytes()).map_err(|source| Error::File { path, source })?;
    Ok(child)
}

/// The private containerd's process id, if it runs. A pid may have been given to another program since, so the
/// command line must name our configuration file.
pub(super) fn running(config: &Config) -> Option<u32> {
    let pid: u32 = fs::read_to_string(config.pid_file()).ok()?.trim().parse().ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let wanted = config.config_file();
    let found = command.split(|byte| *byte == 0).any(|word| word == wanted.as_os_str().as_encoded_bytes());
    found.then_some(pid)
}

/// Ends a containerd of ours that runs but does not answer.
pub(super) async fn end_leftover(config: &Config) -> Result<(), Error> {
    match running(config) {
        Some(pid) => end(pid).await,
        None => Ok(()),
    }
}

/// Asks a process to end, waits, and kills it if it does not.
pub(super) async fn end(pid: u32) -> Result<(), Error> {
    let failed = |error: rustix::io::Errno| Error::Process { action: "ending", source: error.into() };
    let Some(pid) = Pid::from_raw(pid.cast_signed()) else { return Ok(()) };
    let handle = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for signal in [Signal::TERM, Signal::KILL] {
        match rustix::process::pidfd_send_signal(&handle, signal) {
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            other => other.map_err(failed)?,
        }
        let ended = wait_for(handle.try_clone().map_err(|source| Error::Process { action: "ending", source })?);
        if tokio::time::timeout(Duration::from_secs(END_SECONDS_MAX), ended).await.is_ok() {
            return Ok(());
        }
    }
    Ok(())
}

/// Returns once the process of the pidfd has ended.
async fn wait_for(handle: OwnedFd) {
    // SAFETY: the descriptor is owned by the registration, which neither replaces nor closes it while registered.
    let registered = unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) };
    if let Ok(handle) = registered {
        let _ = handle.readable().await;
    }
}

/// Watches the process in the background and starts it again whenever it dies, until `stop`. One that had answered is
/// started again at once; one that dies before that, later each time.
pub(super) fn supervise(config: Config, mut running: Running, stop: CancellationToken) {
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        let mut pause = Duration::from_millis(RESTART_PAUSE_MS);
        let address = config.address();
        let mut answered = true;
        loop {
            if !answered {
                tokio::select! {
                    () = ended(&mut running) => {}
                    ready = wait_ready(&address, Duration::from_secs(READY_SECONDS_MAX)) => {
                        answered = ready.is_ok();
                        ended(&mut running).await;
                    }
                }
            } else {
                ended(&mut running).await;
            }
            pause = if answered { Duration::from_millis(RESTART_PAUSE_MS) } else { pause * 2 };
            pause = pause.min(Duration::from_millis(RESTART_PAUSE_MS_MAX));
            tracing::error!(log = %config.log_file().display(), "containerd ended; starting it again");
            running = loop {
                tokio::time::sleep(pause).await;
                match spawn(&config) {
                    Ok(child) => break Running::Child(child),
                    Err(error) => tracing::error!(%error, "containerd cannot be started again"),
                }
                pause = (pause * 2).min(Duration::from_millis(RESTART_PAUSE_MS_MAX));
            };
            answered = false;
        }
    }));
}

async fn ended(running: &mut Running) {
    match running {
        Running::Child(child) => {
            let _ = child.wait().await;
        }
        Running::Found(pid) => {
            let Some(pid) = Pid::from_raw(pid.cast_signed()) else { return };
            if let Ok(handle) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
                wait_for(handle).await;
            }
        }
    }
}

/// The last lines of a log, for an error message.
pub(super) fn log_tail(path: &Path, lines: usize) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
