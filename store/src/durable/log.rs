//! The write-ahead log: preallocated files, one frame a group.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::directory::{Directory, is_full};
use super::frame::{self, Base, COMMIT_OVERHEAD_BYTES, FILE_HEADER_BYTES, FRAME_OVERHEAD_BYTES, FileHeader, FileKind};
use crate::files::DataFile;
use crate::stage::Stage;

/// A frame buffer that grew over this is given back.
const BUFFER_BYTES_KEPT: usize = 1024 * 1024;

/// Why nothing was appended.
#[derive(Debug)]
pub(crate) enum LogError {
    /// There is no room on the disk; the log is as before.
    Full(io::Error),
    /// What is on the disk is unknown.
    Failed(io::Error),
}

impl From<io::Error> for LogError {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { Self::Full(error) } else { Self::Failed(error) }
    }
}

/// The file that the log goes on in once the current one is full, prepared in the background. As long as it is
/// there, deletes can be written even if the disk is full.
pub(crate) struct Spare {
    directory: Directory,
    bytes: u64,
    file: Mutex<Option<Arc<dyn DataFile>>>,
}

impl Spare {
    pub(crate) fn new(directory: Directory, bytes: u64) -> Self {
        Self { directory, bytes, file: Mutex::new(None) }
    }

    /// Its size, unless a group needs more.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reserves its room, if that is not done.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        let mut file = self.file.lock();
        if file.is_none() {
            *file = Some(self.allocate(self.bytes)?);
        }
        Ok(())
    }

    fn allocate(&self, bytes: u64) -> io::Result<Arc<dyn DataFile>> {
        let file = self.directory.files.open(&self.directory.spare_path(), true)?;
        file.allocate(bytes)?;
        Ok(file)
    }

    /// Makes it the file of the log with this header, durable but for commits. Locked until it has its new name,
    /// so that the next spare is another file.
    pub(crate) fn begin_log(&self, mut header: FileHeader, room: u64) -> Result<Position, LogError> {
        let mut file = self.file.lock();
        let allocated = self.bytes.max(room + FILE_HEADER_BYTES as u64);
        if allocated > self.bytes || file.is_none() {
            *file = Some(self.allocate(allocated)?);
        }
        let begun = file.clone().expect("allocated above");
        header.allocated = allocated;
        begun.write_at(&header.encode(), 0)?;
        begun.sync().map_err(LogError::Failed)?;
        let files = &self.directory.files;
        files
            .rename(&self.directory.spare_path(), &self.directory.log_path(header.sequence))
            .and_then(|()| files.sync_directory(&self.directory.path))
            .map_err(LogError::Failed)?;
        *file = None;
        Ok(Position { file: begun, sequence: header.sequence, offset: FILE_HEADER_BYTES as u64, allocated })
    }
}

/// Where the log goes on.
pub(crate) struct Position {
    pub(crate) file: Arc<dyn DataFile>,
    pub(crate) sequence: u64,
    pub(crate) offset: u64,
    pub(crate) allocated: u64,
}

/// The end of the log that the writer appends to.
pub(crate) struct Log {
    unsynced: bool,
    spare: Arc<Spare>,
    at: Position,
    /// So many bytes after the end may hold the remains of a write that failed.
    remains: usize,
    buffer: Vec<u8>,
}

impl Log {
    pub(crate) fn new(unsynced: bool, spare: Arc<Spare>, at: Position) -> Self {
        Self { unsynced, spare, at, remains: 0, buffer: Vec::new() }
    }

    /// What a group of so many commits with so many bytes takes, at most.
    pub(crate) fn group_bytes(commits: usize, bytes: usize) -> u64 {
        (FRAME_OVERHEAD_BYTES + commits * COMMIT_OVERHEAD_BYTES + bytes) as u64
    }

    /// How many bytes fit into the current file.
    pub(crate) fn room(&self) -> u64 {
        self.at.allocated.saturating_sub(self.at.offset)
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.at.sequence
    }

    pub(crate) fn file(&self) -> Arc<dyn DataFile> {
        self.at.file.clone()
    }

    /// Goes on in a new file that has room for `bytes`.
    pub(crate) fn roll(&mut self, base: Base, bytes: u64) -> Result<(), LogError> {
        if self.unsynced {
            self.at.file.sync().map_err(LogError::Failed)?;
        }
        let sequence = self.at.sequence + 1;
        let header = FileHeader { kind: FileKind::Log, sequence, base, unsynced: self.unsynced, allocated: 0 };
        self.at = self.spare.begin_log(header, bytes)?;
        self.remains = 0;
        Ok(())
    }

    /// Writes a stage as one frame, and waits for the disk unless told not to; returns how many bytes that took.
    pub(crate) fn append(&mut self, stage: &Stage) -> Result<u64, LogError> {
        self.clear_remains()?;
        frame::encode_commits(&mut self.buffer, self.at.sequence, &stage.events, Base::of(&stage.snapshot));
        let bytes = self.buffer.len();
        assert!(bytes as u64 <= self.room(), "the caller made room");
        if let Err(error) = self.at.file.write_at(&self.buffer, self.at.offset) {
            self.remains = bytes;
            return Err(error.into());
        }
        if !self.unsynced {
            // Even a full disk is a failure here: what of the frame arrived is unknown.
            self.at.file.sync().map_err(LogError::Failed)?;
        }
        self.at.offset += bytes as u64;
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        Ok(bytes as u64)
    }

    /// Overwrites what a failed write left, which a reader could take for corruption.
    fn clear_remains(&mut self) -> Result<(), LogError> {
        if self.remains > 0 {
            self.at.file.write_at(&vec![0; self.remains], self.at.offset)?;
            self.remains = 0;
        }
        Ok(())
    }

    /// Makes durable what was not yet.
    pub(crate) fn close(&self) -> io::Result<()> {
        if self.unsynced { self.at.file.sync() } else { Ok(()) }
    }
}
