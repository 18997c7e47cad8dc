//! The write-ahead log: preallocated files, one frame a group.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::directory::{Directory, is_full};
use super::frame::{self, Base, COMMIT_OVERHEAD_BYTES, FILE_HEADER_BYTES, FRAME_OVERHEAD_BYTES, FileHeader, FileKind};
use super::head::{End, HeadFile};
use crate::StoreError;
use crate::files::DataFile;
use crate::stage::Stage;

/// A frame buffer that grew over this is given back.
const BUFFER_BYTES_KEPT: usize = 1024 * 1024;

/// The reserve is at least this part of a file of the log.
const RESERVE_SHARE: u64 = 4;
/// Parts of it are not worth keeping below this.
const RESERVE_PART_BYTES_MIN: u64 = 64 * 1024;
/// A spare is at least this part of the size that it should have.
const SPARE_SHARE_MIN: u64 = 16;

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
///
/// Beside it, some room is kept that is given up when the disk is full, so that there is room to write the export
/// that makes older files superfluous.
pub(crate) struct Spare {
    directory: Directory,
    bytes: u64,
    prepared: Mutex<Option<Prepared>>,
    reserve: Mutex<Reserve>,
}

struct Reserve {
    held: u64,
    wanted: u64,
}

struct Prepared {
    file: Arc<dyn DataFile>,
    bytes: u64,
}

impl Spare {
    pub(crate) fn new(directory: Directory, bytes: u64) -> Self {
        let reserve = Mutex::new(Reserve { held: 0, wanted: bytes / RESERVE_SHARE });
        Self { directory, bytes, prepared: Mutex::new(None), reserve }
    }

    /// Its size, unless a group needs more, or the disk has less.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reserves its room, if that is not done. Where the disk has no room for all of it, less will do.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        let mut prepared = self.prepared.lock();
        if prepared.is_none() {
            let mut bytes = self.bytes;
            *prepared = loop {
                match self.allocate(bytes) {
                    Ok(prepared) => break Some(prepared),
                    Err(error) if is_full(&error) && bytes / 2 >= self.bytes / SPARE_SHARE_MIN => bytes /= 2,
                    Err(error) => return Err(error),
                }
            };
        }
        drop(prepared);
        self.hold_reserve()
    }

    fn hold_reserve(&self) -> io::Result<()> {
        let mut reserve = self.reserve.lock();
        if (reserve.wanted..=reserve.wanted * 2).contains(&reserve.held) {
            return Ok(());
        }
        if reserve.held > reserve.wanted {
            self.directory.files.remove(&self.directory.reserve_path())?;
            reserve.held = 0;
        }
        let file = self.directory.files.open(&self.directory.reserve_path(), true)?;
        let Err(error) = file.allocate(reserve.wanted) else {
            reserve.held = reserve.wanted;
            return Ok(());
        };
        // What there is must not go to somebody else, or deletes would not help.
        let free = self.directory.files.room(&self.directory.path).map_or(0, |room| room.free);
        let mut more = free.min(reserve.wanted - reserve.held);
        while more > RESERVE_PART_BYTES_MIN && file.allocate(reserve.held + more).is_err() {
            more -= more / RESERVE_SHARE;
        }
        reserve.held += if more > RESERVE_PART_BYTES_MIN { more } else { 0 };
        Err(error)
    }

    /// Says how much the reserve is to be, a part of a file of the log at least.
    pub(crate) fn want_reserve(&self, bytes: u64) {
        self.reserve.lock().wanted = bytes.max(self.bytes / RESERVE_SHARE);
    }

    /// Gives the reserve's room back to the disk.
    pub(crate) fn release_reserve(&self) -> Result<(), StoreError> {
        let mut reserve = self.reserve.lock();
        reserve.held = 0;
        self.directory.remove_if_there(&self.directory.reserve_path())
    }

    fn allocate(&self, bytes: u64) -> io::Result<Prepared> {
        let path = self.directory.spare_path();
        let file = self.directory.files.open(&path, true)?;
        if let Err(error) = file.allocate(bytes) {
            // What was reserved of it would be missing for a smaller one.
            drop(file);
            self.directory.files.remove(&path)?;
            return Err(error);
        }
        Ok(Prepared { file, bytes })
    }

    /// Makes it the file of the log with this header, durable but for commits. Locked until it has its new name,
    /// so that the next spare is another file.
    pub(crate) fn begin_log(&self, mut header: FileHeader, room: u64) -> Result<Position, LogError> {
        let mut prepared = self.prepared.lock();
        let needed = room + FILE_HEADER_BYTES as u64;
        if prepared.as_ref().is_none_or(|prepared| prepared.bytes < needed) {
            *prepared = Some(self.allocate(self.bytes.max(needed)).or_else(|_| self.allocate(needed))?);
        }
        let (begun, allocated) = match prepared.as_ref() {
            Some(prepared) => (prepared.file.clone(), prepared.bytes),
            None => unreachable!("allocated above"),
        };
        header.allocated = allocated;
        begun.write_at(&header.encode(), 0)?;
        begun.sync().map_err(LogError::Failed)?;
        let files = &self.directory.files;
        files
            .rename(&self.directory.spare_path(), &self.directory.log_path(header.sequence))
            .and_then(|()| files.sync_directory(&self.directory.path))
            .map_err(LogError::Failed)?;
        *prepared = None;
        // What is written to it may have to be exported.
        self.reserve.lock().wanted += allocated;
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
    head: HeadFile,
    /// So many bytes after the end may hold the remains of a write that failed.
    remains: usize,
    buffer: Vec<u8>,
}

impl Log {
    pub(crate) fn new(unsynced: bool, spare: Arc<Spare>, at: Position, head: HeadFile) -> Self {
        Self { unsynced, spare, at, head, remains: 0, buffer: Vec::new() }
    }

    /// What a group of so many commits with so many bytes takes, at most.
    pub(crate) fn group_bytes(commits: usize, bytes: usize) -> u64 {
        (FRAME_OVERHEAD_BYTES + commits * COMMIT_OVERHEAD_BYTES + bytes) as u64
    }

    fn end(&self, state: Base) -> End {
        End { sequence: self.at.sequence, state, offset: self.at.offset }
    }

    /// The size of the current file.
    pub(crate) fn allocated(&self) -> u64 {
        self.at.allocated
    }

    /// How many bytes fit into the current file.
    pub(crate) fn room(&self) -> u64 {
        self.at.allocated.saturating_sub(self.at.offset)
    }

    /// Whether nothing was written to the current file yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.at.offset == FILE_HEADER_BYTES as u64 && self.remains == 0
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
        // A file that goes missing must show, after a power failure too.
        self.head.tell(self.end(base), false).and_then(|()| self.head.sync()).map_err(LogError::Failed)
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
        if !self.unsynced {
            self.head.tell(self.end(Base::of(&stage.snapshot)), false).map_err(LogError::Failed)?;
        }
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

    /// Makes durable what was not yet, and that nothing follows `state`.
    pub(crate) fn close(&mut self, state: Base) -> io::Result<()> {
        if self.unsynced {
            self.at.file.sync()?;
        }
        // The remains of a write that failed would be taken for damage where nothing is to follow.
        let had_remains = self.remains > 0;
        let is_clean = self.clear_remains().is_ok();
        if had_remains && is_clean {
            self.at.file.sync()?;
        }
        self.head.tell(self.end(state), is_clean)?;
        self.head.sync()
    }
}
