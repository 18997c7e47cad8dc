//! `coracle backup` and `coracle restore`

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use apiserver::clock::{Clock, SystemClock};
use apiserver::encryption::Encryption;
use futures::AsyncReadExt;
use metrics::Metrics;
use store::Backup;
use store::files::{Disk, Files};

use crate::commands::{block_on, say};
use crate::config::ClusterConfig;
use crate::error::Error;
use crate::layout::Layout;
use crate::{connect, encryption, process};

/// The path that the server answers with a backup.
const PATH: &str = "/coracle/backup";
/// How much is written at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Writes everything that a running cluster stores, as of one moment, to a file that appears whole or not at all.
///
/// # Errors
/// If there is such a file, the cluster does not run, or what arrived is not whole.
pub(crate) fn backup(data_dir: &Path, file: &Path) -> Result<(), Error> {
    if file.exists() {
        return Err(Error::usage(format!("{} exists already", file.display())));
    }
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    let part = file.with_file_name(name);
    let written = block_on(fetch(data_dir, &part)).and_then(|()| Ok(Backup::read(&part, &Disk)?));
    let finished = written.and_then(|backup| {
        std::fs::hard_link(&part, file).map_err(|error| Error::file("write", file, error))?;
        sync_parent(file).map_err(|error| Error::file("sync", file, error))?;
        Ok(backup)
    });
    // A name that is given to what is whole, and takes nobody else's.
    let _ = std::fs::remove_file(&part);
    let backup = finished?;
    say(format!(
        "{}: {} objects at revision {}, {} of them encrypted with keys that are not in it",
        file.display(),
        backup.keys(),
        backup.revision(),
        backup.sealed()
    ));
    Ok(())
}

async fn fetch(data_dir: &Path, part: &Path) -> Result<(), Error> {
    let (client, _) = connect::admin(data_dir).await?;
    let request = http::Request::get(PATH).body(Vec::new()).map_err(|error| Error::part("backup", error))?;
    let answer = client.request_stream(request).await?;
    let mut answer = Box::pin(answer);
    let failed = |error: io::Error| Error::file("write", part, error);
    let options = File::options().write(true).create_new(true).mode(0o600).open(part);
    let mut file = options.map_err(failed)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let bytes = answer.read(&mut buffer).await.map_err(|error| Error::part("API server", error))?;
        if bytes == 0 {
            break;
        }
        file.write_all(&buffer[..bytes]).map_err(failed)?;
    }
    file.sync_all().map_err(failed)
}

fn sync_parent(file: &Path) -> io::Result<()> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Makes the store of a data directory out of a backup.
///
/// # Errors
/// If the file is damaged, its values cannot be read with the keys there are, a cluster runs, or there is a store and it is
/// not to be replaced.
pub(crate) fn restore(
    data_dir: &Path,
    file: &Path,
    replace: bool,
    provider_config: Option<PathBuf>,
) -> Result<(), Error> {
    if process::running(data_dir).is_some() {
        return Err(Error::usage(format!("a cluster runs in {}: end it with `coracle down`", data_dir.display())));
    }
    let layout = Layout::new(data_dir);
    let backup = Backup::read(file, &Disk)?;
    let config =
        ClusterConfig { encryption_provider_config: provider_config, ..ClusterConfig::new(Some(data_dir.to_owned())) };
    check_keys(&backup, file, &config)?;
    files::private::directory(data_dir).map_err(|error| Error::file("make", data_dir, error))?;
    let files: Arc<dyn Files> = Arc::new(Disk);
    let now = u64::try_from(SystemClock.now().as_second()).unwrap_or(0);
    let restored = backup.restore(&layout.store(), &files, now, replace).map_err(|error| match error {
        store::StoreError::Exists { path } => {
            Error::usage(format!("{path} holds a store already: to put it aside, say --replace"))
        }
        error => error.into(),
    })?;
    say(format!("{} objects of {}; the revision goes on at {}", backup.keys(), file.display(), restored.revision));
    if let Some(replaced) = restored.replaced {
        say(format!("The store that was there is {} now.", replaced.display()));
    }
    Ok(())
}

/// That every value can be read by the server that will be started.
fn check_keys(backup: &Backup, file: &Path, config: &ClusterConfig) -> Result<(), Error> {
    let sealed = backup.sealed();
    if sealed == 0 {
        return Ok(());
    }
    let keys = config.data_dir.as_deref().map(|directory| Layout::new(directory).encryption_keys());
    if let Some(keys) = keys.filter(|keys| config.encryption_provider_config.is_none() && !keys.exists()) {
        return Err(Error::usage(format!(
            "{} has {sealed} encrypted values, and {} is missing: put the file of the cluster that was backed up there, \
             or say with --encryption-provider-config what it had",
            file.display(),
            keys.display()
        )));
    }
    let Some(encryption): Option<Encryption> = encryption::open(config, &Metrics::default())? else { return Ok(()) };
    Ok(backup.check(&encryption)?)
}
