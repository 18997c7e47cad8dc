//! The flags of admission.

use std::path::PathBuf;

use apiserver::admission::{PluginFiles, Settings};

use crate::error::Error;

/// Which admission plugins are at work, and what they are told. The names are kube-apiserver's.
#[derive(clap::Args, Debug, Clone)]
pub(super) struct AdmissionFlags {
    /// Admission plugins that are at work beside those that are anyway.
    #[arg(long, value_name = "PLUGINS", value_delimiter = ',')]
    enable_admission_plugins: Vec<String>,
    /// Admission plugins that are not at work.
    #[arg(long, value_name = "PLUGINS", value_delimiter = ',')]
    disable_admission_plugins: Vec<String>,
    /// What admission plugins are told: an AdmissionConfiguration.
    #[arg(long, value_name = "FILE")]
    admission_control_config_file: Option<PathBuf>,
    /// For how many seconds pods that say nothing else stay on a node that is not ready.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    default_not_ready_toleration_seconds: i64,
    /// For how many seconds pods that say nothing else stay on a node that is not reachable.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    default_unreachable_toleration_seconds: i64,
}

impl AdmissionFlags {
    /// What they ask for.
    ///
    /// # Errors
    /// Names that are unknown, and files that cannot be read.
    pub(super) fn settings(&self) -> Result<Settings, Error> {
        let files = self.admission_control_config_file.as_deref().map(PluginFiles::read).transpose();
        let files = files.map_err(|why| Error::usage(format!("failed to read plugin config: {why}")))?;
        let settings = Settings {
            enable: self.enable_admission_plugins.clone(),
            disable: self.disable_admission_plugins.clone(),
            files: files.unwrap_or_default(),
            not_ready_seconds: self.default_not_ready_toleration_seconds,
            unreachable_seconds: self.default_unreachable_toleration_seconds,
        };
        match settings.faults().as_slice() {
            [] => Ok(settings),
            faults => Err(Error::usage(faults.join("\n"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        flags: AdmissionFlags,
    }

    fn settings(words: &str) -> Result<Settings, String> {
        let matches = Command::command().try_get_matches_from(words.split(' ')).unwrap();
        let command = Command::from_arg_matches(&matches).unwrap();
        command.flags.settings().map_err(|error| error.to_string())
    }

    #[test]
    fn plugins_are_named_and_told() {
        let default = settings("x").unwrap();
        assert!(default.is_enabled("PodSecurity") && !default.is_enabled("AlwaysPullImages"));
        let chosen = settings(
            "x --enable-admission-plugins=AlwaysPullImages,AlwaysDeny --disable-admission-plugins PodSecurity \
             --default-not-ready-toleration-seconds=7",
        );
        let chosen = chosen.unwrap();
        assert!(!chosen.is_enabled("PodSecurity") && chosen.is_enabled("AlwaysDeny") && chosen.not_ready_seconds == 7);
        let error = settings("x --enable-admission-plugins=Nothing").unwrap_err();
        assert!(error.contains("enable-admission-plugins plugin \"Nothing\" is unknown"), "{error}");
        let error = settings("x --admission-control-config-file=/nowhere").unwrap_err();
        assert!(error.contains("unable to read admission control configuration from \"/nowhere\""), "{error}");
    }
}
