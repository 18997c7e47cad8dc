//! The checkpoint: one sled tree that holds the whole map as of a revision.
//!
//! It is open only while it is loaded or filled, so that its page cache does not double the memory. What sled wrote is
//! synced by us: on Linux, sled's own `flush` does not wait for the disk's cache, nor for the file's metadata. A crash
//! while it is filled may leave any mix of before and after; the log still has every key that was being written,
//! and the digest of the whole map, kept in the log, proves that the replay put all of them right.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::directory::Directory;
use super::frame::{SAVED_PART_MIN, u32_at, u64_at};
use super::shelf::Shelf;
use crate::limits::{
    CHECKPOINT_BATCH_BYTES_MAX, CHECKPOINT_CACHE_BYTES, CHUNK_BYTES_MAX, SEALED_OVERHEAD_BYTES_MAX, VALUE_BYTES_MAX,
};
use crate::{Entry, Revision, Snapshot, StoreError};

/// Begins with a zero byte, as no key of an entry does.
const META_KEY: &[u8] = b"\0meta";
/// Length, create and mod revision, checksum; before the first chunk of a value.
const VALUE_HEADER_BYTES: usize = 24;
/// This bit of the length says that the value is compressed, and that the length of that follows the header.
const COMPRESSED: u32 = 1 << 31;
/// This one, that it is sealed.
const SEALED: u32 = 1 << 30;
/// A zero byte, which no key holds, and the number of the chunk.
const CHUNK_SUFFIX_BYTES: usize = 5;
/// sled's threads may hold its file after it was closed, longer on a busy machine.
const OPEN_ATTEMPTS: u32 = 1_000;
const OPEN_RETRY: Duration = Duration::from_millis(10);

/// An open checkpoint.
pub(crate) struct Checkpoint {
    db: sled::Db,
}

impl Checkpoint {
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(CHECKPOINT_CACHE_BYTES)
            .flush_every_ms(None)
            .mode(sled::Mode::LowSpace);
        let mut attempt = 0;
        loop {
            attempt += 1;
            match guarded(|| config.open()) {
                Ok(db) => return Ok(Self { db }),
                Err(error) if error.contains("lock") && attempt < OPEN_ATTEMPTS => std::thread::sleep(OPEN_RETRY),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads everything. Entries that are not whole are left out: the replay of the log must bring them, or the
    /// digest will not match.
    pub(crate) fn load(&self) -> Result<Snapshot, String> {
        let revision = self.revision()?.ok_or("it was never finished")?;
        let mut snapshot = Snapshot::empty(revision);
        let (mut shelf, mut scratch) = (Shelf::default(), Vec::new());
        let mut insert = |partial: Option<Partial>| {
            if let Some(entry) = partial.and_then(|partial| partial.whole(&mut shelf, &mut scratch)) {
                snapshot.insert(entry);
            }
        };
        let mut partial: Option<Partial> = None;
        let mut items = self.db.range::<&[u8], _>(&[1_u8][..]..);
        while let Some((key, value)) = guarded(|| items.next().transpose())? {
            let (key, chunk) = split_key(&key)?;
            if chunk == 0 {
                insert(partial.take());
                partial = Partial::begin(key, value);
            } else if let Some(partial) = partial.as_mut().filter(|partial| partial.key.as_bytes() == key) {
                partial.add(chunk, value);
            }
        }
        insert(partial);
        Ok(snapshot)
    }

    fn revision(&self) -> Result<Option<Revision>, String> {
        match guarded(|| self.db.get(META_KEY))? {
            None => Ok(None),
            Some(meta) if meta.len() == 12 && crc32fast::hash(&meta[..8]) == u32_at(&meta, 8) => {
                Ok(Some(u64_at(&meta, 0)))
            }
            Some(_) => Err("its revision fails its checksum".into()),
        }
    }

    /// Brings the named keys to their state in `snapshot`, and then its revision. False if told to stop before.
    pub(crate) fn fill<'a>(
        &self,
        snapshot: &Snapshot,
        keys: impl Iterator<Item = &'a Arc<str>>,
        stop: &AtomicBool,
    ) -> Result<bool, String> {
        let mut batch = sled::Batch::default();
        let mut batch_bytes = 0;
        for key in keys {
            let entry = snapshot.get(key);
            let chunks = entry.map_or(0, |entry| put_chunks(&mut batch, entry));
            self.remove_chunks(&mut batch, key, chunks)?;
            batch_bytes += key.len() + entry.map_or(0, |entry| entry.written().len()) + VALUE_HEADER_BYTES;
            if batch_bytes >= CHECKPOINT_BATCH_BYTES_MAX {
                if stop.load(Ordering::Relaxed) {
                    return Ok(false);
                }
                guarded(|| self.db.apply_batch(std::mem::take(&mut batch)))?;
                batch_bytes = 0;
            }
        }
        let mut meta = snapshot.revision.to_le_bytes().to_vec();
        meta.extend(crc32fast::hash(&meta).to_le_bytes());
        batch.insert(META_KEY, meta);
        guarded(|| self.db.apply_batch(batch))?;
        guarded(|| self.db.flush())?;
        Ok(true)
    }

    /// Removes the chunks of a value that was longer, or is gone.
    fn remove_chunks(&self, batch: &mut sled::Batch, key: &str, from: u32) -> Result<(), String> {
        let mut items = self.db.range(chunk_key(key, from)..=chunk_key(key, u32::MAX)).keys();
        while let Some(key) = guarded(|| items.next().transpose())? {
            batch.remove(key);
        }
        Ok(())
    }

    /// Closes it and makes all its files durable.
    pub(crate) fn close(self, directory: &Directory) -> Result<(), StoreError> {
        drop(self.db);
        let path = directory.checkpoint_path();
        let files = &directory.files;
        let sync = || {
            files.make_private(&path)?;
            for name in files.names(&path)? {
                let file = path.join(&name);
                files.make_private(&file)?;
                match files.open(&file, false) {
                    Ok(file) => file.sync()?,
                    Err(error) if error.kind() == std::io::ErrorKind::IsADirectory => files.sync_directory(&file)?,
                    Err(error) => return Err(error),
                }
            }
            files.sync_directory(&path)?;
            files.sync_directory(&directory.path)
        };
        sync().map_err(|error| StoreError::Io(format!("cannot sync {}: {error}", path.display())))
    }
}

/// A value whose chunks are being read.
struct Partial {
    key: String,
    header: ValueHeader,
    /// The chunks so far, as sled has them.
    chunks: Vec<sled::IVec>,
    /// How many bytes of the value they hold.
    read: usize,
}

struct ValueHeader {
    /// How long it is itself.
    length: usize,
    /// How long the value is.
    bytes: usize,
    /// How long the value is as it is stored.
    stored: usize,
    sealed: bool,
    created: Revision,
    modified: Revision,
    checksum: u32,
}

impl ValueHeader {
    fn decode(first: &[u8]) -> Option<Self> {
        let header = first.get(..VALUE_HEADER_BYTES)?;
        let flags = u32_at(header, 0);
        let bytes = (flags & !(COMPRESSED | SEALED)) as usize;
        let (length, stored) = if flags & COMPRESSED == 0 {
            (VALUE_HEADER_BYTES, bytes)
        } else {
            (VALUE_HEADER_BYTES + 4, u32_at(first.get(..VALUE_HEADER_BYTES + 4)?, VALUE_HEADER_BYTES) as usize)
        };
        let (created, modified) = (u64_at(header, 4), u64_at(header, 12));
        let fits = bytes <= VALUE_BYTES_MAX + SEALED_OVERHEAD_BYTES_MAX;
        let (sealed, checksum) = (flags & SEALED != 0, u32_at(header, 20));
        fits.then_some(Self { length, bytes, stored, sealed, created, modified, checksum })
    }
}

impl Partial {
    fn begin(key: &[u8], first: sled::IVec) -> Option<Self> {
        let header = ValueHeader::decode(&first)?;
        let read = first.len() - header.length;
        Some(Self { key: String::from_utf8(key.to_vec()).ok()?, header, chunks: vec![first], read })
    }

    fn add(&mut self, chunk: u32, data: sled::IVec) {
        // A chunk out of turn is left over from another value of the key; the checksum will tell if one is missing.
        if usize::try_from(chunk) == Ok(self.chunks.len()) && self.read < self.header.stored {
            self.read += data.len();
            self.chunks.push(data);
        }
    }

    /// The entry, its value on the shelf; `scratch` is room to work in.
    fn whole(self, shelf: &mut Shelf, scratch: &mut Vec<u8>) -> Option<Entry> {
        let ValueHeader { length, bytes, stored, sealed, created, modified, checksum } = self.header;
        if self.read != stored {
            return None;
        }
        let skipped = |(at, chunk)| {
            if at == 0 { &<sled::IVec as AsRef<[u8]>>::as_ref(chunk)[length..] } else { chunk }
        };
        let mut parts = self.chunks.iter().enumerate().map(skipped);
        let value = if length == VALUE_HEADER_BYTES {
            shelf.put(bytes, parts)
        } else {
            scratch.clear();
            parts.by_ref().for_each(|part| scratch.extend_from_slice(part));
            shelf
                .fill(bytes, |value| lz4_flex::block::decompress_into(scratch, value).is_ok_and(|read| read == bytes))?
        };
        let whole = checksum == entry_checksum(&self.key, created, modified, &value);
        let made = if sealed { Entry::unopened } else { Entry::new };
        whole.then(|| made(self.key.into(), value, created, modified))
    }
}

/// Puts a value, compressed if that is worth it: opening then reads a third of the pages. Returns how many chunks it has.
fn put_chunks(batch: &mut sled::Batch, entry: &Entry) -> u32 {
    let (value, is_sealed) = (entry.written(), entry.sealed().is_some());
    // What is encrypted does not compress.
    let compressed = if is_sealed { Vec::new() } else { lz4_flex::block::compress(&value) };
    let is_worth_it = !is_sealed && compressed.len() + value.len() / SAVED_PART_MIN < value.len();
    let stored: &[u8] = if is_worth_it { &compressed } else { &value };
    let (created, modified) = (entry.create_revision(), entry.mod_revision());
    let mut first = Vec::with_capacity(CHUNK_BYTES_MAX.min(VALUE_HEADER_BYTES + 4 + stored.len()));
    let flags = if is_worth_it { COMPRESSED } else { 0 } | if is_sealed { SEALED } else { 0 };
    first.extend((value.len() as u32 | flags).to_le_bytes());
    first.extend(created.to_le_bytes());
    first.extend(modified.to_le_bytes());
    first.extend(entry_checksum(entry.key(), created, modified, &value).to_le_bytes());
    if is_worth_it {
        first.extend((stored.len() as u32).to_le_bytes());
    }
    let (head, rest) = stored.split_at(stored.len().min(CHUNK_BYTES_MAX - first.len()));
    first.extend(head);
    batch.insert(chunk_key(entry.key(), 0), first);
    let mut chunks = 1;
    for chunk in rest.chunks(CHUNK_BYTES_MAX) {
        batch.insert(chunk_key(entry.key(), chunks), chunk);
        chunks += 1;
    }
    chunks
}

fn entry_checksum(key: &str, created: Revision, modified: Revision, value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key.as_bytes());
    hasher.update(&created.to_le_bytes());
    hasher.update(&modified.to_le_bytes());
    hasher.update(value);
    hasher.finalize()
}

fn chunk_key(key: &str, chunk: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.len() + CHUNK_SUFFIX_BYTES);
    bytes.extend(key.as_bytes());
    bytes.push(0);
    bytes.extend(chunk.to_be_bytes());
    bytes
}

fn split_key(stored: &[u8]) -> Result<(&[u8], u32), String> {
    match stored.split_last_chunk::<4>() {
        Some(([key @ .., 0], chunk)) => Ok((key, u32::from_be_bytes(*chunk))),
        _ => Err("a stored key makes no sense".into()),
    }
}

/// Runs a call into sled, which reports some damage by a panic.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("sled panicked".into()),
    }
}
