//! The export: one flat file of the whole map, from which, with the log, a broken checkpoint is rebuilt.

use super::directory::{Directory, corrupt};
use super::frame::{self, Base, FILE_HEADER_BYTES, FRAME_OVERHEAD_BYTES, FileHeader, FileKind, Found};
use super::shelf::Shelf;
use crate::limits::GROUP_BYTES_MAX;
use crate::{Entry, Revision, Snapshot, StoreError};

/// Writes `snapshot` and removes older exports; returns the bytes it takes.
pub(crate) fn write(directory: &Directory, snapshot: &Snapshot) -> Result<u64, StoreError> {
    let new = directory.export_new_path();
    let path = directory.export_path(snapshot.revision);
    let bytes = write_file(directory, snapshot, &new).map_err(|error| {
        // Half of one would keep the room that is missing.
        drop(directory.files.remove(&new));
        directory.failed("write", &path, &error)
    })?;
    let rename = || {
        directory.files.rename(&new, &path)?;
        directory.files.sync_directory(&directory.path)
    };
    rename().map_err(|error| directory.failed("rename", &path, &error))?;
    for older in directory.exports()?.into_iter().filter(|&revision| revision != snapshot.revision) {
        let path = directory.export_path(older);
        directory.files.remove(&path).map_err(|error| directory.failed("remove", &path, &error))?;
    }
    Ok(bytes)
}

/// No export of `snapshot` takes more than this, whether its values can be compressed or not.
pub(crate) fn bytes_max(snapshot: &Snapshot) -> u64 {
    let entries: u64 = snapshot.entries().map(frame::entry_bytes_max).sum();
    // A frame is begun when the one before holds enough.
    let frames = entries / GROUP_BYTES_MAX as u64 + 1;
    FILE_HEADER_BYTES as u64 + entries + frames * FRAME_OVERHEAD_BYTES as u64
}

fn write_file(directory: &Directory, snapshot: &Snapshot, new: &std::path::Path) -> std::io::Result<u64> {
    match directory.files.remove(new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = directory.files.open(new, true)?;
    let base = Base::of(snapshot);
    let sequence = snapshot.revision;
    let header = FileHeader { kind: FileKind::Export, sequence, base, unsynced: false, allocated: 0 };
    file.write_at(&header.encode(), 0)?;
    let mut offset = FILE_HEADER_BYTES as u64;
    let mut buffer = Vec::new();
    let mut entries = snapshot.entries().peekable();
    while entries.peek().is_some() {
        let mut bytes = 0;
        let group = std::iter::from_fn(|| {
            let next: Option<&Entry> = entries.next_if(|_| bytes < GROUP_BYTES_MAX);
            bytes += next.map_or(0, |entry| entry.key().len() + entry.written().len());
            next
        });
        frame::encode_entries(&mut buffer, snapshot.revision, group, base);
        file.write_at(&buffer, offset)?;
        offset += buffer.len() as u64;
    }
    file.sync()?;
    Ok(offset)
}

/// Reads the export of `revision`. Every entry must be there.
pub(crate) fn read(directory: &Directory, revision: Revision) -> Result<(Snapshot, u64), StoreError> {
    let path = directory.export_path(revision);
    let file = directory.files.read(&path, u64::MAX).map_err(|error| directory.failed("read", &path, &error))?;
    let header = FileHeader::decode(&file, FileKind::Export).map_err(|detail| corrupt(&path, detail))?;
    let (mut snapshot, mut shelf) = (Snapshot::empty(revision), Shelf::default());
    let mut at = FILE_HEADER_BYTES;
    loop {
        match frame::read_frame(&file, at, header.sequence) {
            Found::Frame(found) => {
                found.insert_entries(&mut snapshot, &mut shelf).map_err(|detail| corrupt(&path, detail))?;
                at = found.end;
            }
            Found::End => break,
            Found::Torn => return Err(corrupt(&path, "a frame is not whole")),
            Found::Corrupt(detail) => return Err(corrupt(&path, detail)),
        }
    }
    if Base::of(&snapshot) != header.base || header.base.revision != revision {
        return Err(corrupt(&path, "it does not hold what its header says"));
    }
    Ok((snapshot, file.len() as u64))
}
