//! The last words of containers: from the file that they write, or from the end of their log.

use std::{collections::HashMap, path::Path};

use k8s_openapi::api::core::v1::Pod;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::{
    config::Config,
    container_config, labels,
    observe::{Instance, Life, Observed},
    pod,
};

/// Longest message out of the file.
const MESSAGE_BYTES_MAX: u64 = 4096;
/// Longest message out of the log.
const LOG_BYTES_MAX: usize = 2048;
/// Most lines out of the log.
const LOG_LINES_MAX: usize = 80;

/// Reads the messages of the instances that have ended and are not known yet.
pub(super) async fn read_all(config: &Config, pod: &Pod, observed: &Observed, known: &mut HashMap<String, String>) {
    known.retain(|id, _| observed.instances.iter().any(|instance| instance.id == *id));
    for instance in observed.instances.iter().filter(|instance| instance.life == Life::Exited) {
        if !known.contains_key(&instance.id) {
            let message = read(config, pod, instance).await;
            known.insert(instance.id.clone(), message);
        }
    }
}

async fn read(config: &Config, pod: &Pod, instance: &Instance) -> String {
    let note = |key: &str| instance.status.annotations.get(key).map(String::as_str).unwrap_or_default();
    let path = note(labels::TERMINATION_MESSAGE_PATH);
    let mount = instance.status.mounts.iter().find(|mount| mount.container_path == path);
    let message = match mount {
        Some(mount) => head(Path::new(&mount.host_path)).await,
        None => String::new(),
    };
    let fall_back = note(labels::TERMINATION_MESSAGE_POLICY) == "FallbackToLogsOnError";
    if !message.is_empty() || !fall_back || instance.status.exit_code == 0 {
        return message;
    }
    let log = config
        .pod_log_dir(pod::namespace(pod), pod::name(pod), pod::uid(pod))
        .join(container_config::log_path(&instance.name, instance.restart_count));
    log_tail(&log).await
}

async fn head(path: &Path) -> String {
    let Ok(file) = tokio::fs::File::open(path).await else { return String::new() };
    let mut bytes = Vec::new();
    match file.take(MESSAGE_BYTES_MAX).read_to_end(&mut bytes).await {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

async fn log_tail(path: &Path) -> String {
    // Each line carries a time, a stream and a tag; four times the message is enough to read.
    const WINDOW: u64 = 4 * LOG_BYTES_MAX as u64 + LOG_LINES_MAX as u64 * 48;
    let Ok(mut file) = tokio::fs::File::open(path).await else { return String::new() };
    let length = file.metadata().await.map_or(0, |metadata| metadata.len());
    if file.seek(std::io::SeekFrom::Start(length.saturating_sub(WINDOW))).await.is_err() {
        return String::new();
    }
    let mut bytes = Vec::new();
    if file.read_to_end(&mut bytes).await.is_err() {
        return String::new();
    }
    tail(&String::from_utf8_lossy(&bytes), length > WINDOW)
}

fn tail(text: &str, cut: bool) -> String {
    let lines: Vec<&str> = text.lines().skip(usize::from(cut)).collect();
    let mut message = String::new();
    for line in &lines[lines.len().saturating_sub(LOG_LINES_MAX)..] {
        let mut parts = line.splitn(4, ' ');
        let (tag, content) = (parts.nth(2).unwrap_or_default(), parts.next().unwrap_or_default());
        message.push_str(content);
        if tag == "F" {
            message.push('\n');
        }
    }
    let start = message.len().saturating_sub(LOG_BYTES_MAX);
    let start = (start..=message.len()).find(|at| message.is_char_boundary(*at)).unwrap_or(0);
    message[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::tail;

    #[test]
    fn log_lines() {
        let log =
            "2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:00Z stderr P tw\n2026-01-01T00:00:01Z stderr F o\n";
        assert_eq!(tail(log, false), "one\ntwo\n");
        assert_eq!(tail(log, true), "two\n");
    }
}
