//! Container logs do not grow for ever: a large one is moved aside, and of those moved the older are compressed and the
//! oldest removed.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::agent::Agent;

/// How often sizes are looked at (`containerLogMonitorInterval`).
const PERIOD: Duration = Duration::from_secs(10);
/// The size from which a log is moved aside (`containerLogMaxSize`).
const LOG_BYTES_MAX: u64 = 10 << 20;
/// How many files a container has, the one being written included (`containerLogMaxFiles`).
const FILES_MAX: usize = 5;
/// The end of the names of compressed logs.
const COMPRESSED: &str = ".gz";
/// The end of the names of files that are not complete.
const TEMPORARY: &str = ".tmp";

/// Looks after the logs of this node's containers, for ever.
pub fn keep(agent: Arc<Agent>) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        loop {
            agent.config.clock.sleep(PERIOD).await;
            for record in agent.directory.list() {
                for container in record.containers.iter().filter(|container| container.running) {
                    let size = tokio::fs::metadata(&container.log_path).await.map_or(0, |metadata| metadata.len());
                    if size < LOG_BYTES_MAX {
                        continue;
                    }
                    if let Err(error) = rotate(&agent, &container.id, &container.log_path).await {
                        tracing::warn!(container = container.name, %error, "a log is not rotated");
                    }
                }
            }
        }
    })
}

async fn rotate(agent: &Agent, id: &str, log: &Path) -> Result<(), String> {
    let (path, now) = (log.to_owned(), agent.config.clock.now());
    let aside = tokio::task::spawn_blocking(move || {
        tidy(&path)?;
        move_aside(&path, now)
    });
    let aside = aside.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    if let Err(error) = agent.cri.reopen_log(id).await {
        // The runtime still writes to the file that was moved.
        tokio::fs::rename(&aside, log).await.map_err(|error| error.to_string())?;
        return Err(error.to_string());
    }
    Ok(())
}

/// Makes room for one more: removes what is too old or incomplete and compresses the rest.
fn tidy(log: &Path) -> io::Result<()> {
    let (mut whole, mut broken) = (Vec::new(), Vec::new());
    let all = moved(log)?;
    for path in &all {
        let compressed = PathBuf::from(format!("{}{COMPRESSED}", path.display()));
        let useless = path.to_string_lossy().ends_with(TEMPORARY) || all.contains(&compressed);
        if useless { broken.push(path) } else { whole.push(path) }
    }
    // Beside these there is the one that is written and the one that is about to be moved.
    let surplus = whole.len().saturating_sub(FILES_MAX - 2);
    for path in broken.into_iter().chain(whole.drain(..surplus)) {
        fs::remove_file(path)?;
    }
    whole.into_iter().filter(|path| !path.to_string_lossy().ends_with(COMPRESSED)).try_for_each(|path| compress(path))
}

/// The files that a log was moved to, the oldest first.
fn moved(log: &Path) -> io::Result<Vec<PathBuf>> {
    let prefix = format!("{}.", log.file_name().unwrap_or_default().to_string_lossy());
    let mut found = Vec::new();
    for entry in fs::read_dir(log.parent().unwrap_or(Path::new("/")))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn compress(path: &Path) -> io::Result<()> {
    let temporary = PathBuf::from(format!("{}{TEMPORARY}", path.display()));
    let mut encoder = GzEncoder::new(File::create(&temporary)?, Compression::default());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    fs::rename(&temporary, format!("{}{COMPRESSED}", path.display()))?;
    fs::remove_file(path)
}

fn move_aside(log: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let aside = PathBuf::from(format!("{}.{}", log.display(), now.strftime("%Y%m%d-%H%M%S")));
    fs::rename(log, &aside)?;
    Ok(aside)
}

/// Removes the log of a container that is gone, with all that it was moved to.
///
/// # Errors
/// When a file cannot be removed.
pub fn remove(log: &Path) -> io::Result<()> {
    match fs::remove_file(log) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    moved(log)?.into_iter().try_for_each(fs::remove_file)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("a directory");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn logs_are_moved_compressed_and_removed_in_order() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("0.log");
        let other = directory.path().join("10.log");
        fs::write(&other, "other").expect("a file");
        fs::write(directory.path().join("0.log.20200101-000000.tmp"), "torn").expect("a file");
        for second in 0..7 {
            fs::write(&log, format!("content {second}")).expect("a file");
            tidy(&log).expect("tidied");
            move_aside(&log, Timestamp::from_second(second).expect("a time")).expect("moved");
        }
        let expected = [
            "0.log.19700101-000003.gz",
            "0.log.19700101-000004.gz",
            "0.log.19700101-000005.gz",
            "0.log.19700101-000006",
            "10.log",
        ];
        assert_eq!(names(directory.path()), expected, "with the one being written there are five");
        let mut text = String::new();
        let file = File::open(directory.path().join(expected[0])).expect("a file");
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("a whole file");
        assert_eq!(text, "content 3");
        remove(&log).expect("removed");
        assert_eq!(names(directory.path()), ["10.log"]);
    }
}
