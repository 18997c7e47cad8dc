//! The keys that Secrets are encrypted with in the store, unless a file of the user's says what is encrypted and how.
//!
//! They stand in a file of the form of `EncryptionConfiguration`, newest first: the first encrypts, the others read what
//! older backups hold. It is made at the first start, and never anew in silence: without it every Secret would be lost.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use apiserver::clock::{Clock, SystemClock};
use apiserver::encryption::config::{EncryptionConfiguration, Key};
use apiserver::encryption::{Encryption, Source};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use metrics::Metrics;
use rustix::process::{Signal, kill_process};

use crate::config::{ClusterConfig, StoreKind, host_name};
use crate::error::Error;
use crate::layout::Layout;
use crate::process;

/// AES-256.
const KEY_BYTES: usize = 32;
/// How many keys a file may have: more than anybody has backups for.
const KEYS_MAX: usize = 100;
/// How often a running server is asked whether it is done.
const DONE_INTERVAL: Duration = Duration::from_millis(100);
/// How long it may take before nobody waits any more; it goes on.
const DONE_MAX: Duration = Duration::from_secs(600);

const HEAD: &str = "\
# The keys that Secrets of this cluster are encrypted with in the store: the first writes, all read. Whoever has this file
# and a copy of the directory store, or a backup, can read them; without it nobody can. `coracle encryption rotate` adds a key.
kind: EncryptionConfiguration
apiVersion: apiserver.config.k8s.io/v1
resources:
- resources:
  - secrets
  providers:
  - aesgcm:
      keys:
";

/// Reads what is encrypted and how; none where nothing is on a disk.
///
/// # Errors
/// If the user's file is no good, or the cluster's own keys are gone.
pub fn open(config: &ClusterConfig, metrics: &Metrics) -> Result<Option<Encryption>, Error> {
    let Some(directory) = config.data_dir.as_ref().filter(|_| config.store == StoreKind::Sled) else { return Ok(None) };
    let layout = Layout::new(directory);
    let source = match &config.encryption_provider_config {
        Some(path) => Source {
            path: path.clone(),
            own: false,
            follow: config.encryption_provider_config_automatic_reload,
            before: Some(layout.encryption_keys()).filter(|path| path.exists()),
        },
        None => {
            make_keys(&layout)?;
            Source { path: layout.encryption_keys(), own: true, follow: true, before: None }
        }
    };
    let flag = if source.own { "encryption" } else { "--encryption-provider-config" };
    Encryption::new(source, &host_name(), SystemClock::shared(), metrics)
        .map(Some)
        .map_err(|error| Error::usage(format!("{flag}: {error}")))
}

/// Makes the first key, unless there was one.
fn make_keys(layout: &Layout) -> Result<(), Error> {
    let (path, made) = (layout.encryption_keys(), layout.encryption_made());
    if !path.exists() {
        if made.exists() {
            return Err(Error::usage(format!(
                "{} is missing, though Secrets of this cluster are encrypted with its keys: restore it. To go on without \
                 it, where nothing was encrypted yet, remove {} first",
                path.display(),
                made.display()
            )));
        }
        write_keys(&path, &[new_key(1)])?;
    }
    if !made.exists() {
        let text = b"The keys that Secrets are encrypted with are in the directory encryption.\n";
        files::private::write(&made, text).map_err(|error| Error::file("write", &made, error))?;
    }
    Ok(())
}

fn new_key(number: usize) -> Key {
    let mut secret = [0; KEY_BYTES];
    SystemClock.random(&mut secret);
    Key { name: format!("key-{number}"), secret: STANDARD.encode(secret) }
}

fn write_keys(path: &Path, keys: &[Key]) -> Result<(), Error> {
    let mut text = HEAD.to_owned();
    for key in keys {
        text += &format!("      - name: {}\n        secret: {}\n", key.name, key.secret);
    }
    text += "  - identity: {}\n";
    let directory = path.parent().unwrap_or(Path::new("."));
    files::private::directory(directory).map_err(|error| Error::file("make", directory, error))?;
    files::private::write(path, text.as_bytes()).map_err(|error| Error::file("write", path, error))?;
    // A key must not be lost that something was encrypted with.
    File::open(directory).and_then(|file| file.sync_all()).map_err(|error| Error::file("sync", directory, error))
}

fn read_keys(path: &Path) -> Result<Vec<Key>, Error> {
    let content = std::fs::read(path).map_err(|error| Error::file("read", path, error))?;
    let shown = path.display().to_string();
    let config = EncryptionConfiguration::parse(&content, &shown, true).map_err(Error::usage)?;
    let keys = match &config.resources[..] {
        [entry] if entry.resources == ["secrets"] => entry.providers.first().and_then(|first| first.aesgcm.clone()),
        _ => None,
    };
    keys.ok_or_else(|| Error::usage(format!("{shown} is not as this program wrote it: change its keys by hand")))
}

/// Adds a key that encrypts from now on, and has everything encrypted anew by the server that runs, or by the next.
/// Returns the name of the key, and whether everything is.
///
/// # Errors
/// If there are no keys, or the server uses a file of the user's.
pub fn rotate(data_dir: &Path) -> Result<(String, bool), Error> {
    let layout = Layout::new(data_dir);
    let path = layout.encryption_keys();
    if !path.exists() {
        return Err(Error::usage(format!("there are no keys in {}: a server makes them at its start", path.display())));
    }
    let running = process::running(data_dir);
    if let Some(pid) = running {
        let arguments = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        if String::from_utf8_lossy(&arguments).contains("--encryption-provider-config") {
            let text = "the server uses the file of --encryption-provider-config: put a key before the others there";
            return Err(Error::usage(text));
        }
    }
    let lock_path = path.with_file_name("lock");
    let lock = files::private::append(&lock_path).map_err(|error| Error::file("open", &lock_path, error))?;
    lock.lock().map_err(|error| Error::file("lock", &lock_path, error))?;
    let mut keys = read_keys(&path)?;
    if keys.len() >= KEYS_MAX {
        let text = format!("{} has {KEYS_MAX} keys: take those out that no backup needs any more", path.display());
        return Err(Error::usage(text));
    }
    let numbers = keys.iter().filter_map(|key| key.name.strip_prefix("key-")?.parse::<usize>().ok());
    let key = new_key(numbers.max().unwrap_or(0) + 1);
    let name = key.name.clone();
    keys.insert(0, key);
    write_keys(&path, &keys)?;
    let Some(pid) = running else { return Ok((name, false)) };
    kill_process(pid, Signal::USR1).map_err(|error| Error::Io(error.into()))?;
    let source = Source { path, own: true, follow: true, before: None };
    let mark = Encryption::new(source, &host_name(), SystemClock::shared(), &Metrics::default());
    let mark = mark.map_err(Error::usage)?.mark();
    let begin = SystemClock.instant();
    while SystemClock.instant().saturating_duration_since(begin) < DONE_MAX {
        if std::fs::read_to_string(layout.store().join("renewed")).ok() == mark {
            return Ok((name, true));
        }
        if !process::is_alive(pid) {
            break;
        }
        std::thread::sleep(DONE_INTERVAL);
    }
    Ok((name, false))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_are_made_once_and_never_in_silence() {
        let directory = tempfile::tempdir().unwrap();
        let config = ClusterConfig::new(Some(directory.path().to_path_buf()));
        let layout = Layout::new(directory.path());
        let metrics = Metrics::default();
        assert!(rotate(directory.path()).unwrap_err().to_string().contains("a server makes them at its start"));
        let first = open(&config, &metrics).unwrap().unwrap().mark();
        assert!(first.is_some());
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let path = layout.encryption_keys();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(open(&config, &metrics).unwrap().unwrap().mark(), first, "the next start has the same");
        assert_eq!(rotate(directory.path()).unwrap(), ("key-2".to_owned(), false));
        assert_eq!(rotate(directory.path()).unwrap(), ("key-3".to_owned(), false));
        let names: Vec<String> = read_keys(&path).unwrap().into_iter().map(|key| key.name).collect();
        assert_eq!(names, ["key-3", "key-2", "key-1"]);
        assert_ne!(open(&config, &metrics).unwrap().unwrap().mark(), first);
        let kept = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let error = open(&config, &metrics).map(drop).unwrap_err().to_string();
        assert!(error.contains("is missing, though Secrets of this cluster are encrypted"), "{error}");
        assert!(!path.exists());
        std::fs::write(&path, kept).unwrap();
        let own = ClusterConfig { encryption_provider_config: Some("/nonexistent".into()), ..config.clone() };
        let error = open(&own, &metrics).map(drop).unwrap_err().to_string();
        assert!(error.starts_with("--encryption-provider-config: error reading encryption provider"), "{error}");
        assert!(open(&ClusterConfig { data_dir: None, ..config }, &metrics).unwrap().is_none());
    }
}
