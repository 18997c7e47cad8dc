//! The bytes of the log: a file header, then frames, each a group of commits with one checksum.
//!
//! A file is preallocated and reads as zeros where nothing was written. Frames begin at multiples of
//! [`FRAME_ALIGN`], so a header never crosses a sector. A write that was cut off by a power failure leaves sectors of
//! zeros behind; a frame whose checksum fails though every sector of it is there was changed afterwards. That is how
//! [`read_frame`] tells a torn tail, which was never acknowledged, from corruption of what was. What it cannot tell: a
//! last frame of which a whole sector was overwritten with zeros (or all of it), and a changed byte in a last frame
//! that holds a whole sector of zeros, which no JSON does; both look torn. For these there is the [`super::head`], which
//! tells how far the log had come. Integers are little-endian.

mod reader;

use std::collections::HashSet;
use std::sync::Arc;

use self::reader::Reader;
use super::shelf::Shelf;
use crate::{Entry, Event, EventKind, Revision, Snapshot};

/// The newest format that this code reads, and the one that it writes. The second knows compressed values in the
/// checkpoint; the third has a head beside the log and compressed values in exports; the fourth
/// has sealed values.
pub(crate) const FORMAT: u32 = 4;
/// The first format that has a head.
pub(crate) const HEAD_SINCE: u32 = 3;
pub(crate) const FILE_HEADER_BYTES: usize = 64;
pub(crate) const FRAME_ALIGN: usize = 32;
const FRAME_HEADER_BYTES: usize = 32;
/// After the commits: digest, number of keys, end mark.
const TRAILER_BYTES: usize = 20;
const SECTOR_BYTES: usize = 512;
const FRAME_MAGIC: u32 = 0x4d52_4643;
/// Closes headers and frames. No byte of it is zero, so a zero there was never written.
pub(crate) const END_MARK: [u8; 4] = [0xc0, 0xac, 0x1e, 0xed];
const TAG_PUT: u8 = 1;
const TAG_DELETE: u8 = 2;
const TAG_STATE: u8 = 3;
/// Like a state, with a compressed value.
const TAG_STATE_PACKED: u8 = 4;
/// Like a put and a state, with a sealed value.
const TAG_PUT_SEALED: u8 = 5;
const TAG_STATE_SEALED: u8 = 6;
/// Values are stored as they are if compression saves less than this part of them.
pub(crate) const SAVED_PART_MIN: usize = 8;

/// What a frame takes besides its operations, at most.
/// What an entry of an export has beside key and value: a tag, the key's length, two revisions and two lengths.
const ENTRY_OVERHEAD_BYTES_MAX: usize = 1 + 2 + 8 + 8 + 4 + 4;
pub(crate) const FRAME_OVERHEAD_BYTES: usize = FRAME_HEADER_BYTES + TRAILER_BYTES + FRAME_ALIGN;
/// What each commit takes besides its operations.
pub(crate) const COMMIT_OVERHEAD_BYTES: usize = 4;

/// What a log or export file begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) kind: FileKind,
    /// Files of one kind count up.
    pub(crate) sequence: u64,
    /// The state before the first frame.
    pub(crate) base: Base,
    /// The writer did not wait for the disk, so frames may be missing anywhere after a power failure.
    pub(crate) unsynced: bool,
    /// The length that was reserved; a shorter file was cut.
    pub(crate) allocated: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    Log,
    Export,
    /// Its sequence is the time when it was made.
    Backup,
}

/// What identifies a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) revision: Revision,
    pub(crate) keys: u64,
    pub(crate) digest: u64,
}

impl Base {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        Self { revision: snapshot.revision, keys: snapshot.len() as u64, digest: snapshot.digest }
    }
}

impl FileKind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Log => b"CORACLOG",
            Self::Export => b"CORACEXP",
            Self::Backup => b"CORACBAK",
        }
    }
}

impl FileHeader {
    pub(crate) fn encode(&self) -> [u8; FILE_HEADER_BYTES] {
        let mut bytes = [0; FILE_HEADER_BYTES];
        bytes[..8].copy_from_slice(self.kind.magic());
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12..16].copy_from_slice(&u32::from(self.unsynced).to_le_bytes());
        let base = &self.base;
        let numbers = [self.sequence, base.revision, base.keys, base.digest, self.allocated];
        for (at, number) in numbers.iter().enumerate() {
            bytes[16 + at * 8..24 + at * 8].copy_from_slice(&number.to_le_bytes());
        }
        let checksum = crc32fast::hash(&bytes[..56]);
        bytes[56..60].copy_from_slice(&checksum.to_le_bytes());
        bytes[60..].copy_from_slice(&END_MARK);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8], kind: FileKind) -> Result<Self, String> {
        if bytes.len() < FILE_HEADER_BYTES {
            return Err("the file has no header".into());
        }
        let (stored, expected) = (u32_at(bytes, 56), crc32fast::hash(&bytes[..56]));
        if &bytes[..8] != kind.magic() || stored != expected || bytes[60..64] != END_MARK {
            return Err("the file header fails its checksum".into());
        }
        let format = u32_at(bytes, 8);
        if format > FORMAT {
            return Err(format!("the file has format {format}, newer than {FORMAT}"));
        }
        let base = Base { revision: u64_at(bytes, 24), keys: u64_at(bytes, 32), digest: u64_at(bytes, 40) };
        let (sequence, allocated) = (u64_at(bytes, 16), u64_at(bytes, 48));
        Ok(Self { kind, sequence, base, unsynced: u32_at(bytes, 12) != 0, allocated })
    }
}

/// The format of a file of this kind, if a newer version made it.
pub(crate) fn newer_format(bytes: &[u8], kind: FileKind) -> Option<u32> {
    let is_whole = bytes.len() >= FILE_HEADER_BYTES && u32_at(bytes, 56) == crc32fast::hash(&bytes[..56]);
    (is_whole && bytes.starts_with(kind.magic())).then(|| u32_at(bytes, 8)).filter(|format| *format > FORMAT)
}

/// Writes one frame into `buffer`, which is cleared first. The events are of one or more whole revisions.
pub(crate) fn encode_commits(buffer: &mut Vec<u8>, sequence: u64, events: &[Event], after: Base) {
    begin(buffer);
    let mut commits = 0_u32;
    for commit in events.chunk_by(|a, b| a.revision == b.revision) {
        commits += 1;
        buffer.extend((commit.len() as u32).to_le_bytes());
        for event in commit {
            match &event.kind {
                EventKind::Put { entry, .. } if entry.sealed().is_some() => put(buffer, TAG_PUT_SEALED, entry),
                EventKind::Put { entry, .. } => put(buffer, TAG_PUT, entry),
                EventKind::Delete { previous } => {
                    buffer.push(TAG_DELETE);
                    key(buffer, previous.key());
                }
            }
        }
    }
    let first = events.first().map_or(after.revision, |event| event.revision);
    finish(buffer, sequence, first, commits, after);
}

/// Writes one frame of whole entries into `buffer`, which is cleared first; for an export.
pub(crate) fn encode_entries<'a>(
    buffer: &mut Vec<u8>,
    sequence: u64,
    entries: impl Iterator<Item = &'a Entry>,
    after: Base,
) {
    begin(buffer);
    let mut count = 0_u32;
    for entry in entries {
        count += 1;
        if entry.sealed().is_some() {
            // What is encrypted does not compress.
            put(buffer, TAG_STATE_SEALED, entry);
            continue;
        }
        let value = entry.value();
        let compressed = lz4_flex::block::compress(&value);
        if compressed.len() + value.len() / SAVED_PART_MIN < value.len() {
            put_head(buffer, TAG_STATE_PACKED, entry);
            buffer.extend((value.len() as u32).to_le_bytes());
            buffer.extend((compressed.len() as u32).to_le_bytes());
            buffer.extend(compressed);
        } else {
            put(buffer, TAG_STATE, entry);
        }
    }
    finish(buffer, sequence, after.revision, count, after);
}

/// How many bytes of an export an entry takes at most.
pub(crate) fn entry_bytes_max(entry: &Entry) -> u64 {
    (ENTRY_OVERHEAD_BYTES_MAX + entry.key().len() + entry.written().len()) as u64
}

fn begin(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(FRAME_HEADER_BYTES, 0);
}

fn key(buffer: &mut Vec<u8>, key: &str) {
    buffer.extend((key.len() as u16).to_le_bytes());
    buffer.extend(key.as_bytes());
}

fn put_head(buffer: &mut Vec<u8>, tag: u8, entry: &Entry) {
    buffer.push(tag);
    key(buffer, entry.key());
    buffer.extend(entry.create_revision().to_le_bytes());
    if !matches!(tag, TAG_PUT | TAG_PUT_SEALED) {
        buffer.extend(entry.mod_revision().to_le_bytes());
    }
}

fn put(buffer: &mut Vec<u8>, tag: u8, entry: &Entry) {
    put_head(buffer, tag, entry);
    let written = entry.written();
    buffer.extend((written.len() as u32).to_le_bytes());
    buffer.extend(written);
}

fn finish(buffer: &mut Vec<u8>, sequence: u64, first: Revision, count: u32, after: Base) {
    buffer.extend(after.digest.to_le_bytes());
    buffer.extend(after.keys.to_le_bytes());
    buffer.extend(END_MARK);
    let payload = crc32fast::hash(&buffer[FRAME_HEADER_BYTES..]);
    let length = (buffer.len() - FRAME_HEADER_BYTES) as u32;
    buffer[..4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
    buffer[4..8].copy_from_slice(&length.to_le_bytes());
    buffer[8..16].copy_from_slice(&first.to_le_bytes());
    buffer[16..20].copy_from_slice(&count.to_le_bytes());
    buffer[20..24].copy_from_slice(&payload.to_le_bytes());
    let checksum = header_checksum(buffer, sequence);
    buffer[24..28].copy_from_slice(&checksum.to_le_bytes());
    buffer[28..32].copy_from_slice(&END_MARK);
    buffer.resize(buffer.len().next_multiple_of(FRAME_ALIGN), 0);
}

fn header_checksum(header: &[u8], sequence: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..24]);
    hasher.update(&sequence.to_le_bytes());
    hasher.finalize()
}

/// A frame whose checksums hold.
pub(crate) struct Frame<'a> {
    pub(crate) first: Revision,
    pub(crate) count: u32,
    content: &'a [u8],
    pub(crate) keys: u64,
    pub(crate) digest: u64,
    /// Where the next frame begins.
    pub(crate) end: usize,
}

/// What is at a place where a frame may begin.
pub(crate) enum Found<'a> {
    Frame(Frame<'a>),
    /// Zeros to the end of the file.
    End,
    /// The remains of a write that was cut off.
    Torn,
    /// A frame that was whole once.
    Corrupt(String),
}

/// Reads what is at `at`, a multiple of [`FRAME_ALIGN`].
pub(crate) fn read_frame(file: &[u8], at: usize, sequence: u64) -> Found<'_> {
    let rest = file.get(at..).unwrap_or_default();
    if is_blank(rest) {
        return Found::End;
    }
    let Some(header) = rest.get(..FRAME_HEADER_BYTES) else { return Found::Torn };
    let marks = u32_at(header, 0) == FRAME_MAGIC && header[28..] == END_MARK;
    if !marks || u32_at(header, 24) != header_checksum(header, sequence) {
        // It lies in one sector, so it was written as a whole or not at all.
        if is_blank(header) {
            return Found::Torn;
        }
        return Found::Corrupt(format!("the frame header at offset {at} fails its checksum"));
    }
    let length = u32_at(header, 4) as usize;
    let Some(payload) = rest.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + length) else { return Found::Torn };
    if crc32fast::hash(payload) != u32_at(header, 20) {
        if is_torn(payload, at + FRAME_HEADER_BYTES) {
            return Found::Torn;
        }
        return Found::Corrupt(format!("the frame at offset {at} fails its checksum"));
    }
    if length < TRAILER_BYTES {
        return Found::Corrupt(format!("the frame at offset {at} is too short"));
    }
    let (content, trailer) = payload.split_at(length - TRAILER_BYTES);
    Found::Frame(Frame {
        first: u64_at(header, 8),
        count: u32_at(header, 16),
        content,
        digest: u64_at(trailer, 0),
        keys: u64_at(trailer, 8),
        end: at + (FRAME_HEADER_BYTES + length).next_multiple_of(FRAME_ALIGN),
    })
}

/// Whether a whole frame with a revision from `first` on begins somewhere from `at` on.
pub(crate) fn later_frame(file: &[u8], at: usize, sequence: u64, first: Revision) -> Option<usize> {
    (at.next_multiple_of(FRAME_ALIGN)..file.len()).step_by(FRAME_ALIGN).find(|&at| {
        file[at..].starts_with(&FRAME_MAGIC.to_le_bytes())
            && matches!(read_frame(file, at, sequence), Found::Frame(frame) if frame.first >= first)
    })
}

/// Whether part of a payload that begins at `offset` of its file was never written.
fn is_torn(payload: &[u8], offset: usize) -> bool {
    // What shares a sector with the header was written with it.
    let head = (offset.next_multiple_of(SECTOR_BYTES) - offset).min(payload.len());
    payload[head..].chunks(SECTOR_BYTES).any(is_blank)
}

/// Word by word: a segment is mostly zeros when it is opened.
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    let (words, tail) = bytes.as_chunks::<32>();
    words.iter().all(|word| *word == [0; 32]) && tail.iter().all(|&byte| byte == 0)
}

impl Frame<'_> {
    /// What fills it up, in a file where it begins at `at`.
    pub(crate) fn filler(&self, at: usize) -> std::ops::Range<usize> {
        at + FRAME_HEADER_BYTES + self.content.len() + TRAILER_BYTES..self.end
    }

    /// The newest revision in it.
    pub(crate) fn last(&self) -> Revision {
        self.first.saturating_add(u64::from(self.count).saturating_sub(1))
    }

    /// Applies its commits to the state before it, and names the keys they wrote.
    pub(crate) fn apply_commits(&self, snapshot: &mut Snapshot, touched: &mut HashSet<Arc<str>>) -> Result<(), String> {
        let mut reader = Reader::new(self.content);
        for revision in self.first..=self.last() {
            for _ in 0..reader.u32()? {
                match reader.u8()? {
                    tag @ (TAG_PUT | TAG_PUT_SEALED) => {
                        let key: Arc<str> = reader.key()?.into();
                        let (created, value) = (reader.u64()?, reader.value()?);
                        let made = if tag == TAG_PUT { Entry::new } else { Entry::unopened };
                        snapshot.insert(made(key.clone(), value, created, revision));
                        touched.insert(key);
                    }
                    TAG_DELETE => {
                        let key = reader.key()?;
                        snapshot.remove(key);
                        touched.insert(key.into());
                    }
                    tag => return Err(format!("unknown operation {tag}")),
                }
            }
        }
        snapshot.revision = self.last();
        reader.end()
    }

    /// Inserts its whole entries.
    pub(crate) fn insert_entries(&self, snapshot: &mut Snapshot, shelf: &mut Shelf) -> Result<(), String> {
        let mut reader = Reader::new(self.content);
        for _ in 0..self.count {
            let tag = reader.u8()?;
            if !matches!(tag, TAG_STATE | TAG_STATE_PACKED | TAG_STATE_SEALED) {
                return Err(format!("unknown entry {tag}"));
            }
            let key = reader.key()?;
            let (created, modified) = (reader.u64()?, reader.u64()?);
            let value = if tag == TAG_STATE_PACKED {
                reader.packed(shelf)?
            } else {
                let value = reader.bytes()?;
                shelf.put(value.len(), std::iter::once(value))
            };
            let made = if tag == TAG_STATE_SEALED { Entry::unopened } else { Entry::new };
            snapshot.insert(made(key.into(), value, created, modified));
        }
        reader.end()
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests;
