//! The data directory: who owns it, which format it has, and what its files are called.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::FORMAT;
use crate::StoreError;
use crate::files::Files;

const LOCK_NAME: &str = "lock";
const FORMAT_NAME: &str = "format";
const FORMAT_PREFIX: &str = "coracle store format ";
const LOG_PREFIX: &str = "log-";
const EXPORT_PREFIX: &str = "export-";
/// More than a format file holds.
const FORMAT_BYTES_MAX: u64 = 256;

/// The data directory and the layer that reaches it.
#[derive(Clone)]
pub(crate) struct Directory {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) path: PathBuf,
}

impl Directory {
    /// Creates the directory if need be and takes its lock, which goes with the file.
    pub(crate) fn open(files: Arc<dyn Files>, path: &Path) -> Result<(Self, File), StoreError> {
        let directory = Self { files, path: path.to_path_buf() };
        directory.create().map_err(|error| directory.failed("create", path, &error))?;
        let lock = directory.lock()?;
        Ok((directory, lock))
    }

    fn create(&self) -> io::Result<()> {
        if self.files.names(&self.path).is_ok() {
            return self.files.make_private(&self.path);
        }
        self.files.create_directory(&self.path)?;
        // Its name has to last as well. (Of several directories made at once, the others are the system's to keep.)
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        self.files.sync_directory(parent.unwrap_or(Path::new(".")))
    }

    fn lock(&self) -> Result<File, StoreError> {
        let path = self.path.join(LOCK_NAME);
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .and_then(|file| self.files.make_private(&path).map(|()| file))
            .map_err(|error| self.failed("open", &path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Locked { path: self.path.display().to_string() }),
            Err(std::fs::TryLockError::Error(error)) => Err(self.failed("lock", &path, &error)),
        }
    }

    /// The format that the directory is in; none if it was never opened to the end. It is written last.
    pub(crate) fn format(&self) -> Result<Option<u32>, StoreError> {
        let path = self.format_path();
        let content = match self.files.read(&path, FORMAT_BYTES_MAX) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("read", &path, &error)),
        };
        let text = String::from_utf8_lossy(&content);
        let found: Option<u32> = text.trim_end().strip_prefix(FORMAT_PREFIX).and_then(|number| number.parse().ok());
        match found {
            Some(found) if found > FORMAT => {
                Err(StoreError::NewerFormat { path: self.path.display().to_string(), found, known: FORMAT })
            }
            Some(found) => Ok(Some(found)),
            None => Err(corrupt(&path, "it does not name a format")),
        }
    }

    /// Notes that the directory is whole, in the format of this version: what is written from now on may be more than
    /// an older version reads.
    pub(crate) fn put_format(&self) -> Result<(), StoreError> {
        let new = self.path.join("format.new");
        let content = format!("{FORMAT_PREFIX}{FORMAT}\n");
        self.write_whole(&new, &self.format_path(), content.as_bytes())
    }

    /// Removes what an interrupted write left under a passing name; on a full disk it would take the room that is left.
    pub(crate) fn remove_remains(&self) -> Result<(), StoreError> {
        for path in [self.export_new_path(), self.head_new_path(), self.mark_new_path(), self.path.join("format.new")] {
            self.remove_if_there(&path)?;
        }
        Ok(())
    }

    pub(crate) fn remove_if_there(&self, path: &Path) -> Result<(), StoreError> {
        match self.files.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed("remove", path, &error)),
            _ => Ok(()),
        }
    }

    /// Writes a small file under a passing name, and gives it its name once it is durable.
    pub(crate) fn write_whole(&self, new: &Path, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        self.remove_if_there(new)?;
        let write = || {
            let file = self.files.open(new, true)?;
            file.write_at(content, 0)?;
            file.sync()?;
            self.files.rename(new, path)?;
            self.files.sync_directory(&self.path)
        };
        write().map_err(|error| self.failed("write", path, &error))
    }

    /// The sequence numbers of the log's files, in order.
    pub(crate) fn logs(&self) -> Result<Vec<u64>, StoreError> {
        self.numbered(LOG_PREFIX)
    }

    /// The revisions of the exports, in order.
    pub(crate) fn exports(&self) -> Result<Vec<u64>, StoreError> {
        self.numbered(EXPORT_PREFIX)
    }

    pub(crate) fn has_checkpoint(&self) -> Result<bool, StoreError> {
        Ok(self.names()?.iter().any(|name| name == "checkpoint"))
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        self.files.names(&self.path).map_err(|error| self.failed("list", &self.path, &error))
    }

    fn numbered(&self, prefix: &str) -> Result<Vec<u64>, StoreError> {
        let mut numbers: Vec<u64> =
            self.names()?.iter().filter_map(|name| u64::from_str_radix(name.strip_prefix(prefix)?, 16).ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(crate) fn log_path(&self, sequence: u64) -> PathBuf {
        self.path.join(format!("{LOG_PREFIX}{sequence:016x}"))
    }

    pub(crate) fn export_path(&self, revision: u64) -> PathBuf {
        self.path.join(format!("{EXPORT_PREFIX}{revision:016x}"))
    }

    pub(crate) fn export_new_path(&self) -> PathBuf {
        self.path.join("new.export")
    }

    pub(crate) fn format_path(&self) -> PathBuf {
        self.path.join(FORMAT_NAME)
    }

    pub(crate) fn head_path(&self) -> PathBuf {
        self.path.join("head")
    }

    pub(crate) fn head_new_path(&self) -> PathBuf {
        self.path.join("new.head")
    }

    /// What the newest renewal was marked with.
    pub(crate) fn mark_path(&self) -> PathBuf {
        self.path.join("renewed")
    }

    pub(crate) fn mark_new_path(&self) -> PathBuf {
        self.path.join("new.renewed")
    }

    pub(crate) fn reserve_path(&self) -> PathBuf {
        self.path.join("reserve")
    }

    pub(crate) fn spare_path(&self) -> PathBuf {
        self.path.join("spare")
    }

    pub(crate) fn checkpoint_path(&self) -> PathBuf {
        self.path.join("checkpoint")
    }

    pub(crate) fn failed(&self, what: &str, path: &Path, error: &io::Error) -> StoreError {
        if is_full(error) {
            return StoreError::Full(format!("cannot {what} {}: {error}", path.display()));
        }
        StoreError::Io(format!("cannot {what} {}: {error}", path.display()))
    }
}

pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

pub(crate) fn corrupt(path: &Path, detail: impl Into<String>) -> StoreError {
    StoreError::Corrupt { path: path.display().to_string(), detail: detail.into() }
}
