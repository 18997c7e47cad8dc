//! The bytes of a backup, and the directory that is made of one.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directory::{Directory, corrupt};
use super::frame::{self, Base, FILE_HEADER_BYTES, FORMAT, FileHeader, FileKind, Found};
use super::head::{self, End, HeadFile};
use super::log::{LogError, Spare};
use super::shelf::Shelf;
use super::{export, recovery, segment_bytes};
use crate::files::Files;
use crate::limits::SEGMENT_BYTES;
use crate::{Entry, Revision, Snapshot, StoreError};

/// What a backup says of itself beside its state.
pub(crate) struct BackupHeader {
    /// When it was made, in seconds since 1970.
    pub(crate) made_seconds: u64,
}

/// What a backup begins with.
pub(crate) fn backup_header(snapshot: &Snapshot, made_seconds: u64) -> Vec<u8> {
    let (kind, base) = (FileKind::Backup, Base::of(snapshot));
    FileHeader { kind, sequence: made_seconds, base, unsynced: false, allocated: 0 }.encode().to_vec()
}

/// Some of its entries.
pub(crate) fn backup_frame<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    snapshot: &Snapshot,
    made_seconds: u64,
) -> Vec<u8> {
    let mut buffer = Vec::new();
    frame::encode_entries(&mut buffer, made_seconds, entries, Base::of(snapshot));
    buffer
}

/// Reads the bytes of a backup; every entry must be there, and nothing else.
pub(crate) fn read_backup(path: &Path, content: &[u8]) -> Result<(BackupHeader, Snapshot), StoreError> {
    let header = FileHeader::decode(content, FileKind::Backup).map_err(|detail| {
        let newer = frame::newer_format(content, FileKind::Backup);
        let shown = path.display().to_string();
        let newer = newer.map(|found| StoreError::NewerFormat { path: shown, found, known: FORMAT });
        newer.unwrap_or_else(|| corrupt(path, format!("it is no backup, or a damaged one: {detail}")))
    })?;
    let (mut snapshot, mut shelf) = (Snapshot::empty(header.base.revision), Shelf::default());
    let (mut at, mut entries) = (FILE_HEADER_BYTES, 0);
    while at < content.len() {
        match frame::read_frame(content, at, header.sequence) {
            Found::Frame(found) => {
                found.insert_entries(&mut snapshot, &mut shelf).map_err(|detail| corrupt(path, detail))?;
                if !content.get(found.filler(at)).is_some_and(frame::is_blank) {
                    return Err(corrupt(path, format!("it is damaged before offset {}", found.end)));
                }
                entries += u64::from(found.count);
                at = found.end;
            }
            Found::Corrupt(detail) => return Err(corrupt(path, detail)),
            Found::End | Found::Torn => return Err(corrupt(path, format!("it is damaged at offset {at}"))),
        }
    }
    if Base::of(&snapshot) != header.base || entries != header.base.keys {
        let expected = header.base.keys;
        return Err(corrupt(path, format!("it has {entries} entries and should have {expected}")));
    }
    Ok((BackupHeader { made_seconds: header.sequence }, snapshot))
}

/// A store that is there already, and is nobody else's as long as this lives.
pub(crate) struct There {
    /// As far as its head says.
    pub(crate) revision: Revision,
    _lock: File,
}

/// Looks whether there is a store in a directory.
pub(crate) fn find_store(path: &Path, files: &Arc<dyn Files>) -> Result<Option<There>, StoreError> {
    let names = match files.names(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        names => names.map_err(|error| StoreError::Io(format!("cannot list {}: {error}", path.display())))?,
    };
    if names.is_empty() {
        return Ok(None);
    }
    let (directory, lock) = Directory::open(files.clone(), path)?;
    // A damaged one may be replaced too.
    let revision = head::read(&directory).ok().flatten().map_or(0, |head| head.end.state.revision);
    Ok(Some(There { revision, _lock: lock }))
}

/// Makes a store with this state, and puts it in its place; where the one went that was there.
pub(crate) fn write_store(
    path: &Path,
    files: &Arc<dyn Files>,
    snapshot: &Snapshot,
    there: Option<There>,
    now_seconds: u64,
) -> Result<Option<PathBuf>, StoreError> {
    let beside = |suffix: &str| {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(suffix);
        path.with_file_name(name)
    };
    let failed = |what: &str, path: &Path, error: io::Error| {
        StoreError::Io(format!("cannot {what} {}: {error}", path.display()))
    };
    let new = beside(".restoring");
    files.remove_directory(&new).map_err(|error| failed("remove", &new, error))?;
    write_directory(&new, files, snapshot)?;
    let replaced = there.as_ref().map(|_| beside(&format!(".replaced-{now_seconds}")));
    if let Some(replaced) = &replaced {
        files.rename(path, replaced).map_err(|error| failed("rename", path, error))?;
    } else if files.names(path).is_ok() {
        // It is empty.
        files.remove_directory(path).map_err(|error| failed("remove", path, error))?;
    }
    files.rename(&new, path).map_err(|error| failed("rename", &new, error))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    files.sync_directory(parent).map_err(|error| failed("sync", parent, error))?;
    drop(there);
    Ok(replaced)
}

/// An export of the state, and a log that goes on after it.
fn write_directory(path: &Path, files: &Arc<dyn Files>, snapshot: &Snapshot) -> Result<(), StoreError> {
    let (directory, _lock) = Directory::open(files.clone(), path)?;
    export::write(&directory, snapshot)?;
    let spare = Spare::new(directory.clone(), segment_bytes(&directory, SEGMENT_BYTES));
    let position = recovery::create_log(&spare, false, 1, snapshot).map_err(|error| match error {
        LogError::Full(error) | LogError::Failed(error) => directory.failed("create", &directory.log_path(1), &error),
    })?;
    let end = End { sequence: position.sequence, state: Base::of(snapshot), offset: position.offset };
    HeadFile::open(&directory, None, end)?;
    directory.put_format()
}
