//! Encryption at rest: what the values of some resources are on the disk (`server/options/encryptionconfig`, `storage/value`).
//!
//! The store keeps values plain in memory and asks [`Encryption`], its [`store::Sealing`], what to write for each; so reads
//! and watches cost nothing, and a write of a resource that is not encrypted compares the beginning of its key. A file
//! says what is encrypted and how; without one, Secrets are, with a key in the data directory, whose file has the same
//! form. What was written with other keys than the first is written anew in the background ([`rotation`]).

mod cipher;
pub mod config;
mod generation;
mod kms;
mod metrics;
mod provider;
mod resources;
pub(crate) mod rotation;
mod waiting;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::metrics::Metrics;
use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use store::{Sealed, Sealing, Snapshot};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::config::{EncryptionConfiguration, FILE_BYTES_MAX};
use self::generation::{Generation, Surroundings};
use self::metrics::EncryptionMetrics;
use self::provider::{aggregate, hex};
use self::waiting::Waiting;
use crate::clock::Clock;

/// How often a file is looked at that is to be followed (`EncryptionConfigFileChangePollDuration`).
const FILE_INTERVAL: Duration = Duration::from_secs(60);

/// Where the file is, and what it is.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Whether it is the one that the server keeps itself: nobody has to know of it.
    pub own: bool,
    /// Whether changes count while the server runs.
    pub follow: bool,
    /// A file whose keys were used before, to read with.
    pub before: Option<PathBuf>,
}

/// What is encrypted and how, now. Clones share it.
#[derive(Clone)]
pub struct Encryption(Arc<Inner>);

struct Inner {
    source: Source,
    around: Surroundings,
    current: ArcSwap<Generation>,
    /// Cancelled once nothing is written any more as earlier versions of the file said.
    earlier: Mutex<Vec<CancellationToken>>,
    /// Somebody says that the file has changed.
    look: Notify,
    /// What is written with has changed.
    changed: Notify,
    /// Other services are to be followed.
    services: Notify,
    waiting: Waiting,
}

impl Encryption {
    /// Reads the file, and asks the services that it names once. Blocks.
    ///
    /// # Errors
    /// What is wrong with the file, in the words of the reference. A service that does not answer is no error.
    pub fn new(source: Source, host_name: &str, clock: Arc<dyn Clock>, metrics: &Metrics) -> Result<Self, String> {
        let server_id = crate::post_start::lease_name(host_name);
        let around = Surroundings { clock, metrics: metrics.families::<EncryptionMetrics>(), server_id };
        let current = load(&source, &around)?;
        current.services.iter().for_each(|kms| kms.prime());
        if !source.own {
            around.metrics.config_is(&around.server_id, &current.hash);
        }
        Ok(Self(Arc::new(Inner {
            source,
            around,
            current: ArcSwap::from_pointee(current),
            earlier: Mutex::default(),
            look: Notify::new(),
            changed: Notify::new(),
            services: Notify::new(),
            waiting: Waiting::default(),
        })))
    }

    /// Has the file looked at now, if it is followed.
    pub fn look(&self) {
        self.0.look.notify_one();
    }

    /// What the data directory is marked with once everything in it is written as the file says; none if that is not
    /// known yet.
    pub fn mark(&self) -> Option<String> {
        self.0.current.load().fingerprint()
    }

    /// What the health endpoints show of the services; none if there is nothing to show.
    pub(crate) fn health(&self) -> Option<Result<(), String>> {
        let current = self.0.current.load();
        if self.0.source.own || (current.services.is_empty() && !self.0.source.follow) {
            return None;
        }
        let failed = |(at, kms): (usize, &Arc<kms::Kms>)| Some(format!("kms-provider-{at}: {}", kms.health().err()?));
        let errors: Vec<String> = current.services.iter().enumerate().filter_map(failed).collect();
        Some(if errors.is_empty() { Ok(()) } else { Err(aggregate(&errors)) })
    }

    /// Reads the file again and goes on with what it says, if that reads everything that is stored. Blocks.
    fn reload(&self, stored: &Snapshot) -> Result<bool, String> {
        let Inner { source, around, .. } = &*self.0;
        let hash = content_hash(&read(&source.path)?);
        if hash == self.0.current.load().hash {
            return Ok(false);
        }
        let new = load(source, around)?;
        for kms in &new.services {
            kms.prime();
            kms.health().map_err(|error| format!("health check for new transformers failed: {error}"))?;
        }
        for entry in stored.list("", None) {
            let key = entry.key();
            let read = match entry.sealed() {
                None => new.accept_plain(key),
                Some(sealed) => new.open(key, sealed, around).map(drop),
            };
            read.map_err(|error| format!("what is stored under {key} could not be read any more: {error}"))?;
        }
        let earlier = self.0.current.swap(Arc::new(new));
        self.0.earlier.lock().push(earlier.ended.clone());
        drop(earlier);
        if !source.own {
            around.metrics.config_is(&around.server_id, &hash);
        }
        self.0.services.notify_one();
        self.0.changed.notify_one();
        Ok(true)
    }
}

impl Sealing for Encryption {
    fn seal(&self, key: &str, value: &Bytes) -> Result<Option<Sealed>, String> {
        self.0.current.load().seal(key, value, &self.0.around)
    }

    fn open(&self, key: &str, sealed: &Bytes) -> Result<Bytes, String> {
        self.0.current.load().open(key, sealed, &self.0.around)
    }

    fn waits(&self, key: &str, why: &str) -> bool {
        self.may_wait(key, why)
    }

    fn accept_plain(&self, key: &str) -> Result<(), String> {
        self.0.current.load().accept_plain(key)
    }
}

fn load(source: &Source, around: &Surroundings) -> Result<Generation, String> {
    let parse = |path: &Path, content: &[u8]| {
        EncryptionConfiguration::parse(content, &path.display().to_string(), source.follow)
            .map_err(|error| format!("error while parsing file: {error}"))
    };
    let content = read(&source.path)?;
    let config = parse(&source.path, &content)?;
    let before = match &source.before {
        Some(path) => Some(parse(path, &read(path)?)?),
        None => None,
    };
    Generation::new(&config, before.as_ref(), content_hash(&content), around)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)).map_err(
        |error| format!("error reading encryption provider configuration file {:?}: {error}", path.display()),
    )?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{} is longer than {FILE_BYTES_MAX} bytes", path.display()));
    }
    Ok(content)
}

/// `computeEncryptionConfigHash`
fn content_hash(content: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(content)))
}

#[cfg(test)]
mod tests;
