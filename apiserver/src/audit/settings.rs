//! What is said of audit when a server is started (`AuditOptions` in apiserver's `server/options`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::log_file::Rotation;
use super::policy::Policy;
use super::sink::{AuditCounts, Sink};
use super::{Audit, log, webhook};
use crate::clock::Clock;

/// Whether requests wait for events to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// No; what there is no room for is lost.
    Batch,
    /// Yes, but a failure is none of theirs.
    Blocking,
    /// Yes, and what cannot be written down is not done.
    BlockingStrict,
}

impl Mode {
    const ALL: [(&str, Self); 3] =
        [("batch", Self::Batch), ("blocking", Self::Blocking), ("blocking-strict", Self::BlockingStrict)];

    /// The mode of this name, for a plugin.
    ///
    /// # Errors
    /// In the reference's words if there is none.
    pub fn parse(plugin: &str, text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|(name, _)| *name == text).map(|(_, mode)| mode);
        let all = Self::ALL.map(|(name, _)| name).join(",");
        found.ok_or_else(|| format!("invalid audit {plugin} mode {text}, allowed modes are {all:?}"))
    }
}

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An event as JSON in each line.
    Json,
    /// A line for people.
    Legacy,
}

impl Format {
    /// The format of this name.
    ///
    /// # Errors
    /// In the reference's words if there is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(Self::Json),
            "legacy" => Ok(Self::Legacy),
            _ => Err(format!("invalid audit log format {text}, allowed formats are \"legacy,json\"")),
        }
    }
}

/// How events are gathered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Batching {
    /// Whether requests wait.
    pub mode: Mode,
    /// So many events may wait to be written.
    pub buffer_size: usize,
    /// So many are written at once.
    pub size_max: usize,
    /// So long they wait for others.
    pub wait_max: Duration,
    /// So many batches a second, and at once.
    pub throttle: Option<(f64, usize)>,
}

/// What becomes of large events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncation {
    /// Events that are longer lose what was sent and answered, or are lost.
    pub event_bytes_max: usize,
    /// Batches are not longer.
    pub batch_bytes_max: usize,
}

impl Default for Truncation {
    fn default() -> Self {
        Self { event_bytes_max: 100 << 10, batch_bytes_max: 10 << 20 }
    }
}

/// `--audit-log-*`
#[derive(Debug, Clone, PartialEq)]
pub struct LogSettings {
    /// The file; `-` for standard output.
    pub path: PathBuf,
    /// What becomes of full files.
    pub rotation: Rotation,
    /// How it is written.
    pub format: Format,
    /// How events are gathered.
    pub batching: Batching,
    /// What becomes of large ones.
    pub truncation: Option<Truncation>,
}

impl LogSettings {
    /// The reference's defaults.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let rotation = Rotation { megabytes_max: 100, days_max: 366, files_max: 100, compress: false };
        let (mode, wait_max) = (Mode::Blocking, Duration::ZERO);
        let batching = Batching { mode, buffer_size: 10_000, size_max: 1, wait_max, throttle: None };
        Self { path: path.into(), rotation, format: Format::Json, batching, truncation: None }
    }
}

/// `--audit-webhook-*`
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookSettings {
    /// A kubeconfig that says where, and as whom.
    pub config_file: PathBuf,
    /// How long the first failure is waited after.
    pub initial_backoff: Duration,
    /// How events are gathered.
    pub batching: Batching,
    /// What becomes of large ones.
    pub truncation: Option<Truncation>,
}

impl WebhookSettings {
    /// The reference's defaults.
    pub fn new(config_file: impl Into<PathBuf>) -> Self {
        let (wait_max, throttle) = (Duration::from_secs(30), Some((10.0, 15)));
        let batching = Batching { mode: Mode::Batch, buffer_size: 10_000, size_max: 400, wait_max, throttle };
        let config_file = config_file.into();
        Self { config_file, initial_backoff: Duration::from_secs(10), batching, truncation: None }
    }
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// `--audit-policy-file`: without one nothing is written down.
    pub policy_file: Option<PathBuf>,
    /// The log.
    pub log: Option<LogSettings>,
    /// The webhook.
    pub webhook: Option<WebhookSettings>,
}

impl Settings {
    /// What is wrong with it (`AuditOptions.Validate`).
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(log) = &self.log {
            check("log", &log.batching, log.truncation, &mut faults);
        }
        if let Some(webhook) = &self.webhook {
            check("webhook", &webhook.batching, webhook.truncation, &mut faults);
        }
        faults
    }

    /// Opens what it names; none if nothing is to be written down. Writers work on the runtime that `runtime` belongs to.
    ///
    /// # Errors
    /// What cannot be read or opened.
    pub fn open(
        &self,
        counts: Arc<AuditCounts>,
        clock: Arc<dyn Clock>,
        runtime: &Handle,
    ) -> Result<Option<Arc<Audit>>, String> {
        let Some(path) = &self.policy_file else {
            if self.log.is_some() || self.webhook.is_some() {
                tracing::warn!("No audit policy file provided, no events will be recorded");
            }
            return Ok(None);
        };
        let policy = Policy::read(path).map_err(|error| format!("loading audit policy file: {error}"))?;
        let mut sinks = Vec::new();
        if let Some(log) = &self.log {
            let (format, truncation) = (log.format, log.truncation);
            let (sink, jobs) = Sink::new("log", &log.batching, format, truncation, counts.clone());
            log::start(log, jobs, counts.clone(), clock.clone(), runtime)
                .map_err(|error| format!("ensureLogFile: {}: {error}", log.path.display()))?;
            sinks.push(sink);
        }
        if let Some(webhook) = &self.webhook {
            let (format, truncation) = (Format::Json, webhook.truncation);
            let (sink, jobs) = Sink::new("webhook", &webhook.batching, format, truncation, counts.clone());
            webhook::start(webhook, jobs, counts.clone(), clock.clone(), runtime)
                .map_err(|error| format!("initializing audit webhook: {error}"))?;
            sinks.push(sink);
        }
        if sinks.is_empty() {
            return Ok(None);
        }
        Ok(Some(Arc::new(Audit::new(policy, sinks, counts, clock))))
    }
}

fn check(plugin: &str, batching: &Batching, truncation: Option<Truncation>, faults: &mut Vec<String>) {
    let positive = "must be a positive number";
    if batching.mode == Mode::Batch {
        if batching.buffer_size == 0 {
            faults.push(format!("invalid audit batch {plugin} buffer size 0, {positive}"));
        } else if batching.size_max == 0 {
            faults.push(format!("invalid audit batch {plugin} max batch size 0, {positive}"));
        } else if let Some((per_second, burst)) = batching.throttle {
            if per_second.is_nan() || per_second <= 0.0 {
                faults.push(format!("invalid audit batch {plugin} throttle QPS {per_second}, {positive}"));
            } else if burst == 0 {
                faults.push(format!("invalid audit batch {plugin} throttle burst 0, {positive}"));
            }
        }
    }
    if let Some(Truncation { event_bytes_max, batch_bytes_max }) = truncation {
        if event_bytes_max == 0 {
            faults.push(format!("invalid audit truncate {plugin} max event size 0, {positive}"));
        } else if batch_bytes_max < event_bytes_max {
            faults.push(format!(
                "invalid audit truncate {plugin} max batch size {batch_bytes_max}, must be greater than max event size \
                 ({event_bytes_max})"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_must_make_sense() {
        let mut settings = Settings { log: Some(LogSettings::new("-")), ..Settings::default() };
        settings.webhook = Some(WebhookSettings::new("file"));
        assert_eq!(settings.faults(), [""; 0]);
        let webhook = settings.webhook.as_mut().unwrap();
        webhook.batching.throttle = Some((0.0, 1));
        webhook.truncation = Some(Truncation { event_bytes_max: 2, batch_bytes_max: 1 });
        let log = settings.log.as_mut().unwrap();
        log.batching = Batching { mode: Mode::Batch, buffer_size: 0, ..log.batching };
        let expected = [
            "invalid audit batch log buffer size 0, must be a positive number",
            "invalid audit batch webhook throttle QPS 0, must be a positive number",
            "invalid audit truncate webhook max batch size 1, must be greater than max event size (2)",
        ];
        assert_eq!(settings.faults(), expected);
        assert_eq!(
            Mode::parse("log", "fast").unwrap_err(),
            "invalid audit log mode fast, allowed modes are \"batch,blocking,blocking-strict\""
        );
        assert_eq!(
            Format::parse("xml").unwrap_err(),
            "invalid audit log format xml, allowed formats are \"legacy,json\""
        );
    }
}
