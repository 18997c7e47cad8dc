//! The cluster's process as other commands see it: its id in a file, alive or not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::error::Error;

/// Where the id of the server's process is.
pub(crate) fn pid_path(data_dir: &Path) -> PathBuf {
    data_dir.join("coracle.pid")
}

/// The server's process of a data directory, if it is alive.
pub(crate) fn running(data_dir: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(pid_path(data_dir)).ok()?;
    let pid = Pid::from_raw(text.trim().parse().ok()?)?;
    // A process id is used again: make sure that it is a coracle, or whatever this program was renamed to.
    let name = |id: &str| std::fs::read_to_string(format!("/proc/{id}/comm")).ok();
    let found = name(&pid.to_string())?;
    ((found.trim() == "coracle" || name("self").is_some_and(|own| own == found)) && is_alive(pid)).then_some(pid)
}

/// Asks a process to end, waits, and ends it by force after `grace`.
///
/// # Errors
/// If it cannot be signalled.
pub(crate) async fn stop(pid: Pid, grace: Duration) -> Result<(), Error> {
    let signal = |signal| match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(Error::Io(error.into())),
    };
    signal(Signal::TERM)?;
    let gone = async {
        while is_alive(pid) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(grace, gone).await.is_err() {
        signal(Signal::KILL)?;
    }
    Ok(())
}

/// Whether a process exists and is no zombie.
pub(crate) fn is_alive(pid: Pid) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())) else { return false };
    let state = stat.rsplit(')').next().unwrap_or("").trim_start().chars().next();
    state != Some('Z')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_found_under_any_name_of_this_program_only() {
        let directory = tempfile::tempdir().unwrap();
        let found = |content: String| {
            std::fs::write(pid_path(directory.path()), content).unwrap();
            running(directory.path()).map(|pid| pid.as_raw_nonzero().get())
        };
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(found(own.to_string()), Some(own));
        assert_eq!(found("1".into()), None, "another program has the id now");
        assert_eq!(found("none".into()), None);
    }
}
