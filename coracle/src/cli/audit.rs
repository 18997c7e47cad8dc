//! The flags of audit.

use std::path::PathBuf;
use std::time::Duration;

use apiserver::audit::Rotation;
use apiserver::audit::settings::{Batching, Format, LogSettings, Mode, Settings, Truncation, WebhookSettings};

use crate::error::Error;

/// What is written down of requests, and where. The names are kube-apiserver's.
#[derive(clap::Args, Debug, Clone)]
pub(super) struct AuditFlags {
    /// Which requests are written down, and how much of them: an audit.k8s.io/v1 Policy. Without one nothing is.
    #[arg(long, value_name = "FILE")]
    audit_policy_file: Option<PathBuf>,
    /// The file that they are written to; - for standard output.
    #[arg(long, value_name = "FILE")]
    audit_log_path: Option<PathBuf>,
    /// After how many days old log files are removed; 0 for never.
    #[arg(long, value_name = "DAYS", default_value_t = 366)]
    audit_log_maxage: u64,
    /// How many old log files are kept; 0 for all.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    audit_log_maxbackup: usize,
    /// How many megabytes a log file has at most; 0 for any number.
    #[arg(long, value_name = "MEGABYTES", default_value_t = 100)]
    audit_log_maxsize: u64,
    /// Compresses old log files.
    #[arg(long)]
    audit_log_compress: bool,
    /// How the log is written: json or legacy.
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    audit_log_format: String,
    /// The version of events in the log.
    #[arg(long, value_name = "VERSION", default_value = VERSION)]
    audit_log_version: String,
    /// Whether requests wait until they are in the log: batch, blocking or blocking-strict.
    #[arg(long, value_name = "MODE", default_value = "blocking")]
    audit_log_mode: String,
    /// In batches: how many events wait to be written; others are lost.
    #[arg(long, value_name = "EVENTS", default_value_t = 10_000)]
    audit_log_batch_buffer_size: usize,
    /// In batches: how many events are written at once.
    #[arg(long, value_name = "EVENTS", default_value_t = 1)]
    audit_log_batch_max_size: usize,
    /// In batches: how long events wait for others.
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    audit_log_batch_max_wait: String,
    /// In batches: whether there are only so many a second.
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    audit_log_batch_throttle_enable: bool,
    /// How many batches a second.
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0)]
    audit_log_batch_throttle_qps: f64,
    /// How many batches at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    audit_log_batch_throttle_burst: usize,
    /// Shortens events that are too large.
    #[arg(long)]
    audit_log_truncate_enabled: bool,
    /// The size of batches in bytes, where events are shortened.
    #[arg(long, value_name = "BYTES", default_value_t = Truncation::default().batch_bytes_max)]
    audit_log_truncate_max_batch_size: usize,
    /// The size of events in bytes, where they are shortened.
    #[arg(long, value_name = "BYTES", default_value_t = Truncation::default().event_bytes_max)]
    audit_log_truncate_max_event_size: usize,
    /// A kubeconfig that says where events are posted to, and as whom.
    #[arg(long, value_name = "FILE")]
    audit_webhook_config_file: Option<PathBuf>,
    /// How long the first failure to post is waited after.
    #[arg(long, value_name = "DURATION", default_value = "10s", alias = "audit-webhook-batch-initial-backoff")]
    audit_webhook_initial_backoff: String,
    /// The version of events that are posted.
    #[arg(long, value_name = "VERSION", default_value = VERSION)]
    audit_webhook_version: String,
    /// Whether requests wait until they are posted: batch, blocking or blocking-strict.
    #[arg(long, value_name = "MODE", default_value = "batch")]
    audit_webhook_mode: String,
    /// In batches: how many events wait to be posted; others are lost.
    #[arg(long, value_name = "EVENTS", default_value_t = 10_000)]
    audit_webhook_batch_buffer_size: usize,
    /// In batches: how many events are posted at once.
    #[arg(long, value_name = "EVENTS", default_value_t = 400)]
    audit_webhook_batch_max_size: usize,
    /// In batches: how long events wait for others.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    audit_webhook_batch_max_wait: String,
    /// In batches: whether there are only so many a second.
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true")]
    audit_webhook_batch_throttle_enable: bool,
    /// How many batches a second.
    #[arg(long, value_name = "NUMBER", default_value_t = 10.0)]
    audit_webhook_batch_throttle_qps: f64,
    /// How many batches at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 15)]
    audit_webhook_batch_throttle_burst: usize,
    /// Shortens events that are too large.
    #[arg(long)]
    audit_webhook_truncate_enabled: bool,
    /// The size of batches in bytes, where events are shortened.
    #[arg(long, value_name = "BYTES", default_value_t = Truncation::default().batch_bytes_max)]
    audit_webhook_truncate_max_batch_size: usize,
    /// The size of events in bytes, where they are shortened.
    #[arg(long, value_name = "BYTES", default_value_t = Truncation::default().event_bytes_max)]
    audit_webhook_truncate_max_event_size: usize,
}

/// The only version of events.
const VERSION: &str = "audit.k8s.io/v1";

impl AuditFlags {
    /// What they ask for.
    ///
    /// # Errors
    /// What makes no sense.
    pub(super) fn settings(&self) -> Result<Settings, Error> {
        let settings = self.read().map_err(Error::usage)?;
        match settings.faults().as_slice() {
            [] => Ok(settings),
            faults => Err(Error::usage(faults.join("\n"))),
        }
    }

    fn read(&self) -> Result<Settings, String> {
        let log = self.audit_log_path.as_ref().map(|path| {
            check_version(&self.audit_log_version)?;
            Ok::<_, String>(LogSettings {
                path: path.clone(),
                rotation: Rotation {
                    megabytes_max: self.audit_log_maxsize,
                    days_max: self.audit_log_maxage,
                    files_max: self.audit_log_maxbackup,
                    compress: self.audit_log_compress,
                },
                format: Format::parse(&self.audit_log_format)?,
                batching: Batching {
                    mode: Mode::parse("log", &self.audit_log_mode)?,
                    buffer_size: self.audit_log_batch_buffer_size,
                    size_max: self.audit_log_batch_max_size,
                    wait_max: duration("audit-log-batch-max-wait", &self.audit_log_batch_max_wait)?,
                    throttle: self
                        .audit_log_batch_throttle_enable
                        .then_some((self.audit_log_batch_throttle_qps, self.audit_log_batch_throttle_burst)),
                },
                truncation: self.audit_log_truncate_enabled.then_some(Truncation {
                    event_bytes_max: self.audit_log_truncate_max_event_size,
                    batch_bytes_max: self.audit_log_truncate_max_batch_size,
                }),
            })
        });
        let webhook = self.audit_webhook_config_file.as_ref().map(|file| {
            check_version(&self.audit_webhook_version)?;
            Ok::<_, String>(WebhookSettings {
                config_file: file.clone(),
                initial_backoff: duration("audit-webhook-initial-backoff", &self.audit_webhook_initial_backoff)?,
                batching: Batching {
                    mode: Mode::parse("webhook", &self.audit_webhook_mode)?,
                    buffer_size: self.audit_webhook_batch_buffer_size,
                    size_max: self.audit_webhook_batch_max_size,
                    wait_max: duration("audit-webhook-batch-max-wait", &self.audit_webhook_batch_max_wait)?,
                    throttle: self
                        .audit_webhook_batch_throttle_enable
                        .then_some((self.audit_webhook_batch_throttle_qps, self.audit_webhook_batch_throttle_burst)),
                },
                truncation: self.audit_webhook_truncate_enabled.then_some(Truncation {
                    event_bytes_max: self.audit_webhook_truncate_max_event_size,
                    batch_bytes_max: self.audit_webhook_truncate_max_batch_size,
                }),
            })
        });
        let policy_file = self.audit_policy_file.clone();
        Ok(Settings { policy_file, log: log.transpose()?, webhook: webhook.transpose()? })
    }
}

fn check_version(version: &str) -> Result<(), String> {
    if version == VERSION {
        return Ok(());
    }
    Err(format!("invalid group version, allowed versions are [{VERSION:?}]"))
}

fn duration(flag: &str, text: &str) -> Result<Duration, String> {
    let nanoseconds = api::go::duration::parse(text).map_err(|error| format!("--{flag}: {error}"))?;
    u64::try_from(nanoseconds).map(Duration::from_nanos).map_err(|_| format!("--{flag}: {text} is before it begins"))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        flags: AuditFlags,
    }

    fn settings(words: &str) -> Result<Settings, String> {
        let matches = Command::command().try_get_matches_from(words.split(' ')).map_err(|error| error.to_string())?;
        let command = Command::from_arg_matches(&matches).unwrap();
        command.flags.settings().map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_the_reference_s() {
        assert_eq!(settings("x").unwrap(), Settings::default());
        let named = settings("x --audit-policy-file=p --audit-log-path=- --audit-webhook-config-file=w").unwrap();
        let expected = Settings {
            policy_file: Some("p".into()),
            log: Some(LogSettings::new("-")),
            webhook: Some(WebhookSettings::new("w")),
        };
        assert_eq!(named, expected);
    }

    #[test]
    fn flags_are_read_and_checked() {
        let chosen = settings(
            "x --audit-log-path=a --audit-log-mode=batch --audit-log-format=legacy --audit-log-maxsize=5 \
             --audit-log-compress --audit-log-truncate-enabled --audit-webhook-config-file=w \
             --audit-webhook-batch-throttle-enable=false --audit-webhook-initial-backoff=1m30s",
        );
        let chosen = chosen.unwrap();
        let (log, webhook) = (chosen.log.unwrap(), chosen.webhook.unwrap());
        assert_eq!((log.format, log.batching.mode, log.rotation.megabytes_max), (Format::Legacy, Mode::Batch, 5));
        assert_eq!((log.rotation.compress, log.truncation), (true, Some(Truncation::default())));
        assert_eq!((webhook.batching.throttle, webhook.initial_backoff), (None, Duration::from_secs(90)));
        for (flag, expected) in [
            ("--audit-log-mode=x", "invalid audit log mode x"),
            ("--audit-log-format=x", "invalid audit log format x"),
            ("--audit-log-version=audit.k8s.io/v1beta1", "invalid group version, allowed versions are"),
            ("--audit-log-mode=batch --audit-log-batch-buffer-size=0", "invalid audit batch log buffer size 0"),
        ] {
            let error = settings(&format!("x --audit-log-path=a {flag}")).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
