//! The head: how far the log had come, kept apart from it, so that a log that lost its end, or a file, shows it.
//!
//! A log that was cut, overwritten with zeros or replaced by an older copy may well be a whole log: nothing in it tells
//! that there was more. So after each group that is durable the head is told where the log ends. It is not waited for:
//! after a kill the system has the newest one, after a power failure there may be an older one, and each is a lower bound
//! of what was acknowledged. (With [`super::SyncPolicy::Never`] it is told only what was synced.) When a file of the log
//! begins and when the store is opened it is synced, and a store that is closed writes its exact end.
//!
//! Two slots are written by turns, each in a block of its own, so that a write cut off by a power failure leaves the
//! other.

use std::io;
use std::sync::Arc;

use super::directory::{Directory, corrupt};
use super::frame::{Base, END_MARK, u32_at, u64_at};
use crate::StoreError;
use crate::files::DataFile;

const MAGIC: &[u8; 8] = b"CORACHED";
const SLOT_BYTES: usize = 4096;
const FILE_BYTES: usize = 2 * SLOT_BYTES;
/// Of a slot, so much is used: the magic, six numbers, flags, checksum, end mark.
const USED_BYTES: usize = 68;
const CLOSED: u32 = 1;

/// Where the log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// Its newest file.
    pub(crate) sequence: u64,
    /// The state there.
    pub(crate) state: Base,
    /// Where the frames end in that file.
    pub(crate) offset: u64,
}

/// What the head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Counts what was told.
    number: u64,
    pub(crate) end: End,
    /// The store was closed there: the log ends neither before nor after.
    pub(crate) closed: bool,
}

impl Head {
    /// Whether the files of the log are there that it knows of.
    pub(crate) fn check_files(&self, directory: &Directory, newest: u64) -> Result<(), StoreError> {
        let expected = self.end.sequence;
        if newest < expected {
            return Err(corrupt(&directory.log_path(expected), "it is missing: the log had come as far as this file"));
        }
        if self.closed && newest > expected {
            let detail = format!("the store was closed in file {expected} of the log, before this one");
            return Err(corrupt(&directory.log_path(newest), detail));
        }
        Ok(())
    }

    /// Whether the log ends where it should, or later if the store was not closed.
    pub(crate) fn check_end(&self, directory: &Directory, found: &End, torn: bool) -> Result<(), StoreError> {
        let path = directory.log_path(found.sequence);
        let (there, told) = (found.state.revision, self.end.state.revision);
        if there < told {
            return Err(corrupt(&path, format!("it ends at revision {there}, and {told} was acknowledged")));
        }
        if self.closed && (*found != self.end || torn) {
            let detail = format!("the store was closed at revision {told}, offset {}", self.end.offset);
            return Err(corrupt(&path, format!("{detail}, and this is not its end")));
        }
        Ok(())
    }

    fn encode(&self) -> [u8; USED_BYTES] {
        let mut bytes = [0; USED_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        let End { sequence, state, offset } = self.end;
        let numbers = [self.number, sequence, state.revision, state.keys, state.digest, offset];
        for (at, number) in numbers.iter().enumerate() {
            bytes[8 + at * 8..16 + at * 8].copy_from_slice(&number.to_le_bytes());
        }
        bytes[56..60].copy_from_slice(&(if self.closed { CLOSED } else { 0 }).to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        bytes[64..].copy_from_slice(&END_MARK);
        bytes
    }

    fn decode(slot: &[u8]) -> Option<Self> {
        let bytes = slot.get(..USED_BYTES)?;
        let whole =
            bytes.starts_with(MAGIC) && bytes[64..] == END_MARK && u32_at(bytes, 60) == crc32fast::hash(&bytes[..60]);
        let number = |at: usize| u64_at(bytes, 8 + at * 8);
        let state = Base { revision: number(2), keys: number(3), digest: number(4) };
        let end = End { sequence: number(1), state, offset: number(5) };
        whole.then(|| Self { number: number(0), end, closed: u32_at(bytes, 56) & CLOSED != 0 })
    }
}

/// Reads the head; none if there is no such file.
pub(crate) fn read(directory: &Directory) -> Result<Option<Head>, StoreError> {
    let path = directory.head_path();
    let content = match directory.files.read(&path, FILE_BYTES as u64 + 1) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(directory.failed("read", &path, &error)),
    };
    if content.len() != FILE_BYTES {
        return Err(corrupt(&path, "it has another length than it was made with"));
    }
    let slots = content.chunks(SLOT_BYTES).filter_map(Head::decode);
    match slots.max_by_key(|head| head.number) {
        Some(head) => Ok(Some(head)),
        None => Err(corrupt(&path, "neither part of it passes its checksum")),
    }
}

/// The open head.
pub(crate) struct HeadFile {
    file: Arc<dyn DataFile>,
    number: u64,
}

impl HeadFile {
    /// Opens the head that was found, or makes one, and makes durable that the log goes on at `end`.
    pub(crate) fn open(directory: &Directory, found: Option<Head>, end: End) -> Result<Self, StoreError> {
        let path = directory.head_path();
        let Some(found) = found else {
            let mut content = vec![0; FILE_BYTES];
            content[..USED_BYTES].copy_from_slice(&Head { number: 0, end, closed: false }.encode());
            directory.write_whole(&directory.head_new_path(), &path, &content)?;
            let file = directory.files.open(&path, false).map_err(|error| directory.failed("open", &path, &error))?;
            return Ok(Self { file, number: 0 });
        };
        let open = || {
            let mut head = Self { file: directory.files.open(&path, false)?, number: found.number };
            head.tell(end, false)?;
            head.sync()?;
            Ok(head)
        };
        open().map_err(|error| directory.failed("write", &path, &error))
    }

    /// Writes where the log ends, without waiting for the disk.
    pub(crate) fn tell(&mut self, end: End, closed: bool) -> io::Result<()> {
        let number = self.number + 1;
        let slot = (number % 2) * SLOT_BYTES as u64;
        self.file.write_at(&Head { number, end, closed }.encode(), slot)?;
        self.number = number;
        Ok(())
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_back_and_a_changed_byte_is_not() {
        let state = Base { revision: 7, keys: 3, digest: u64::MAX };
        for closed in [false, true] {
            let head = Head { number: 9, end: End { sequence: 2, state, offset: 4096 }, closed };
            let encoded = head.encode();
            assert_eq!(Head::decode(&encoded), Some(head));
            for at in 0..encoded.len() {
                let mut changed = encoded;
                changed[at] ^= 0x10;
                assert_eq!(Head::decode(&changed), None, "byte {at}");
                assert_eq!(Head::decode(&encoded[..at]), None, "cut at {at}");
            }
        }
    }
}
