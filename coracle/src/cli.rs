//! The command line.

mod admission;
mod audit;
mod front_proxy;
mod identity;
mod inflight;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::commands;
use crate::config::{ClusterConfig, StoreKind, StoreSync};
use crate::error::Error;
use crate::log::LogFormat;
use admission::AdmissionFlags;
use audit::AuditFlags;
use front_proxy::FrontProxyFlags;
use identity::IdentityFlags;
use inflight::InflightFlags;

/// A Kubernetes 1.36 cluster in one binary.
#[derive(Parser, Debug)]
#[command(name = "coracle", version, about)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Starts a cluster in the background and waits until it is ready.
    Up(ServerFlags),
    /// Stops the cluster and takes away everything that it made outside its data directory.
    Down {
        #[command(flatten)]
        data: DataFlags,
        /// Removes the data directory too: every object, volume and image in it.
        #[arg(long)]
        purge: bool,
    },
    /// Tells whether the cluster runs, and how it is.
    Status(DataFlags),
    /// Prints the administrator's kubeconfig.
    Kubeconfig {
        #[command(flatten)]
        data: DataFlags,
        /// Merges it into ~/.kube/config (or the first file of $KUBECONFIG) and makes it the current context.
        #[arg(long)]
        merge: bool,
    },
    /// Runs a cluster in the foreground.
    Server(ServerFlags),
    /// Works on the images of the node.
    Image {
        #[command(subcommand)]
        action: ImageAction,
    },
    /// Writes everything that a running cluster stores, as of one moment, to a file.
    Backup {
        /// The file; there must be none yet.
        file: PathBuf,
        #[command(flatten)]
        data: DataFlags,
    },
    /// Makes the store of a data directory, where no cluster runs, out of a file of `coracle backup`.
    Restore {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        data: DataFlags,
        /// Puts the store aside that is there.
        #[arg(long)]
        replace: bool,
        /// What the cluster was started with that was backed up, if it was.
        #[arg(long, value_name = "FILE")]
        encryption_provider_config: Option<PathBuf>,
    },
    /// Works on the keys that Secrets are encrypted with in the store.
    Encryption {
        #[command(subcommand)]
        action: EncryptionAction,
    },
    /// Prints the version.
    Version,
    /// Prints a completion script for a shell.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Subcommand, Debug)]
enum ImageAction {
    /// Imports an image archive, as `docker save` or an OCI tool writes it, into the node's container runtime.
    Import {
        /// The archive.
        file: PathBuf,
        #[command(flatten)]
        data: DataFlags,
    },
}

#[derive(Subcommand, Debug)]
enum EncryptionAction {
    /// Makes a new key, and has all Secrets encrypted with it: by the server that runs, or by the next. Older keys stay in
    /// the file, as older backups need them.
    Rotate(DataFlags),
}

/// Which cluster is meant.
#[derive(clap::Args, Debug, Clone)]
pub struct DataFlags {
    /// Where everything is kept [default: /var/lib/coracle as root, else ~/.local/share/coracle].
    #[arg(long, value_name = "DIRECTORY")]
    pub data_dir: Option<PathBuf>,
}

/// The flags of `coracle server`.
#[derive(clap::Args, Debug, Clone)]
pub struct ServerFlags {
    #[command(flatten)]
    data: DataFlags,
    /// The address to listen on.
    #[arg(long, default_value = "0.0.0.0")]
    bind: IpAddr,
    /// The port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 6443)]
    port: u16,
    /// What keeps the objects.
    #[arg(long, value_enum, default_value_t = StoreFlag::Sled)]
    store: StoreFlag,
    /// Whether a write waits for the disk. `never` may lose the newest writes in a crash: for throw-away clusters.
    #[arg(long, value_enum, default_value_t = SyncFlag::Always)]
    store_sync: SyncFlag,
    /// Runs the control plane alone; needs no root.
    #[arg(long)]
    disable_agent: bool,
    /// Runs no controllers and no scheduler.
    #[arg(long)]
    disable_controllers: bool,
    /// The socket of a running containerd; without it the cluster starts its own.
    #[arg(long, value_name = "ADDRESS")]
    containerd: Option<PathBuf>,
    /// The addresses of pods.
    #[arg(long, default_value = "10.42.0.0/16")]
    pod_cidr: String,
    /// The addresses of services.
    #[arg(long, default_value = "10.43.0.0/16")]
    service_cidr: String,
    /// The name of this node [default: the host's name].
    #[arg(long)]
    node_name: Option<String>,
    /// The port of the node's own server (logs, exec, port-forward); 0 takes a free one.
    #[arg(long, default_value_t = 10250)]
    node_port: u16,
    /// Kernel parameters that pods may set beside the safe ones, with commas between them; a `*` may end each.
    #[arg(long, value_name = "SYSCTLS", value_delimiter = ',')]
    allowed_unsafe_sysctls: Vec<String>,
    #[command(flatten)]
    identity: IdentityFlags,
    #[command(flatten)]
    front_proxy: FrontProxyFlags,
    /// What is encrypted in the store and how, a file of EncryptionConfiguration [default: Secrets, with a key in the data
    /// directory].
    #[arg(long, value_name = "FILE")]
    encryption_provider_config: Option<PathBuf>,
    /// Reads the file of --encryption-provider-config again when it changes.
    #[arg(long)]
    encryption_provider_config_automatic_reload: bool,
    #[command(flatten)]
    inflight: InflightFlags,
    #[command(flatten)]
    admission: AdmissionFlags,
    #[command(flatten)]
    audit: AuditFlags,
    /// How the log is written; what is logged is up to $CORACLE_LOG.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum StoreFlag {
    Sled,
    Memory,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum SyncFlag {
    Always,
    Never,
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// What failed, for people.
    pub fn run(self) -> Result<(), Error> {
        match self.command {
            Command::Up(flags) => commands::up::run(&flags.config()?, &flags.arguments()),
            Command::Down { data, purge } => commands::down::run(&data.directory()?, purge),
            Command::Status(data) => commands::status::run(&data.directory()?),
            Command::Kubeconfig { data, merge } => commands::kubeconfig::run(&data.directory()?, merge),
            Command::Server(flags) => commands::server::run(flags.config()?, flags.log_format),
            Command::Image { action: ImageAction::Import { file, data } } => {
                commands::image::import(&data.directory()?, &file)
            }
            Command::Backup { file, data } => commands::backup::backup(&data.directory()?, &file),
            Command::Restore { file, data, replace, encryption_provider_config } => {
                commands::backup::restore(&data.directory()?, &file, replace, encryption_provider_config)
            }
            Command::Encryption { action: EncryptionAction::Rotate(data) } => {
                commands::encryption::rotate(&data.directory()?)
            }
            Command::Version => {
                let (own, kubernetes) = (env!("CARGO_PKG_VERSION"), api::VERSION);
                commands::say(format_args!("coracle {own} (Kubernetes {kubernetes})"));
                Ok(())
            }
            Command::Completion { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Arguments::command(), "coracle", &mut script);
                commands::say(String::from_utf8_lossy(&script).trim_end());
                Ok(())
            }
        }
    }
}

impl DataFlags {
    /// The data directory meant.
    ///
    /// # Errors
    /// If none is given and the user has no home.
    pub fn directory(&self) -> Result<PathBuf, Error> {
        if let Some(directory) = &self.data_dir {
            return Ok(std::path::absolute(directory)?);
        }
        if rustix::process::geteuid().is_root() {
            return Ok(PathBuf::from("/var/lib/coracle"));
        }
        match std::env::var_os("HOME") {
            Some(home) => Ok(PathBuf::from(home).join(".local/share/coracle")),
            None => Err(Error::usage("no $HOME: say --data-dir DIRECTORY")),
        }
    }
}

impl ServerFlags {
    fn config(&self) -> Result<ClusterConfig, Error> {
        let directory = self.data.directory()?;
        let mut config = ClusterConfig::new(Some(directory));
        config.bind = self.bind;
        config.port = self.port;
        config.store = match self.store {
            StoreFlag::Sled => StoreKind::Sled,
            StoreFlag::Memory => StoreKind::Memory,
        };
        config.store_sync = match self.store_sync {
            SyncFlag::Always => StoreSync::Always,
            SyncFlag::Never => StoreSync::Never,
        };
        config.agent = !self.disable_agent;
        config.controllers = !self.disable_controllers;
        config.containerd = self.containerd.clone();
        config.pod_cidr = parse_cidr("--pod-cidr", &self.pod_cidr)?;
        config.service_cidr = parse_cidr("--service-cidr", &self.service_cidr)?;
        config.node_name = match &self.node_name {
            Some(name) => name.clone(),
            None => crate::config::host_name(),
        };
        config.node_port = self.node_port;
        kubelet::admission::sysctls::Sysctls::new("", &self.allowed_unsafe_sysctls)
            .map_err(|error| Error::usage(format!("--allowed-unsafe-sysctls: {error}")))?;
        config.allowed_unsafe_sysctls = self.allowed_unsafe_sysctls.clone();
        (config.authentication, config.authorization) = self.identity.options()?;
        config.legacy_token_period = self.identity.legacy_token_period()?;
        config.front_proxy = self.front_proxy.options()?;
        config.encryption_provider_config.clone_from(&self.encryption_provider_config);
        config.encryption_provider_config_automatic_reload = self.encryption_provider_config_automatic_reload;
        if self.encryption_provider_config_automatic_reload && self.encryption_provider_config.is_none() {
            let (flag, other) = ("--encryption-provider-config-automatic-reload", "--encryption-provider-config");
            return Err(Error::usage(format!("{flag} must be set with {other}")));
        }
        config.inflight = self.inflight.limits()?;
        config.admission = self.admission.settings()?;
        config.audit = self.audit.settings()?;
        config.flags = flags(std::env::args_os());
        Ok(config)
    }

    /// The same flags as words, for starting `coracle server` with them.
    fn arguments(&self) -> Vec<String> {
        std::env::args().skip_while(|word| word != "up").skip(1).collect()
    }
}

/// The flags of `coracle server` by name, with their defaults. Each is a setting or a path: none is a secret.
fn flags(arguments: impl Iterator<Item = OsString>) -> Vec<(String, String)> {
    let mut command = Arguments::command();
    let Ok(matches) = command.try_get_matches_from_mut(arguments) else { return Vec::new() };
    let Some(("server", matches)) = matches.subcommand() else { return Vec::new() };
    let known = command.find_subcommand("server").into_iter().flat_map(clap::Command::get_arguments);
    let value = |argument: &clap::Arg| {
        let raw = matches.try_get_raw(argument.get_id().as_str()).ok().flatten()?;
        Some(raw.map(|value| value.to_string_lossy().into_owned()).collect::<Vec<_>>().join(","))
    };
    let flags = known.filter_map(|argument| Some((argument.get_long()?, argument)));
    let flags = flags.filter(|(name, _)| !matches!(*name, "help" | "version"));
    flags.map(|(name, argument)| (name.to_string(), value(argument).unwrap_or_default())).collect()
}

fn parse_cidr(flag: &str, text: &str) -> Result<ipnet::IpNet, Error> {
    text.parse().map_err(|_| Error::usage(format!("{flag}: {text:?} is not an address range such as 10.42.0.0/16")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_told_with_its_value() {
        let words = ["coracle", "server", "--port", "7", "--disable-agent", "--log-format", "json"];
        let flags = flags(words.into_iter().map(OsString::from));
        let value = |wanted: &str| flags.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        assert_eq!(
            (value("port"), value("log-format"), value("disable-agent")),
            (Some("7"), Some("json"), Some("true"))
        );
        assert_eq!(
            (value("disable-controllers"), value("containerd"), value("bind")),
            (Some("false"), Some(""), Some("0.0.0.0"))
        );
        assert_eq!(value("enable-priority-and-fairness"), Some("true"));
        assert_eq!(value("help"), None);
    }
}
