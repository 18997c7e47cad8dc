//! Opening: a base (checkpoint, export, or nothing), then the log's tail, then proof that the result is what was logged.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::checkpoint::Checkpoint;
use super::directory::{Directory, corrupt};
use super::export;
use super::frame::{self, Base, FILE_HEADER_BYTES, FileHeader, FileKind, Found};
use super::head::{self, End, Head};
use super::log::{LogError, Position, Spare};
use crate::limits::REVISION_JUMP;
use crate::{Revision, Snapshot, StoreError};

/// The revision of a store that was never written to.
pub(crate) const FIRST_REVISION: Revision = 1;

/// A checkpoint is due when opening had to read so many files of the log, however little is in them.
const TAIL_FILES_MAX: usize = 4;

/// One file of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) sequence: u64,
    /// Its commits come after this one.
    pub(crate) base: Revision,
}

/// What opening found.
pub(crate) struct Recovered {
    pub(crate) snapshot: Snapshot,
    pub(crate) position: Position,
    pub(crate) segments: Vec<Segment>,
    /// Keys that the checkpoint may not have as they are.
    pub(crate) dirty: HashSet<Arc<str>>,
    /// What the checkpoint covers; none if it has to be made anew.
    pub(crate) checkpoint: Option<Revision>,
    /// The checkpoint as it was loaded, still open: closing it takes a while, and nobody has to wait for that.
    pub(crate) loaded: Option<Checkpoint>,
    pub(crate) export: Option<(Revision, u64)>,
    /// Whether so much log was replayed that the checkpoint had better be brought up.
    pub(crate) checkpoint_due: bool,
    /// How much log was replayed.
    pub(crate) replayed_bytes: u64,
}

/// `format` is what the directory is in, none if it is new; `head` tells how far the log had come, where that is known.
pub(crate) fn recover(
    directory: &Directory,
    spare: &Spare,
    unsynced: bool,
    format: Option<u32>,
    head: Option<&Head>,
) -> Result<Recovered, StoreError> {
    let headers = read_headers(directory)?;
    if format.is_none() {
        check_new(directory, &headers)?;
        return fresh(directory, spare, unsynced);
    }
    if let Some(head) = head {
        head.check_files(directory, headers.last().map_or(0, |header| header.sequence))?;
    }
    let Some(last) = headers.last() else { return fresh(directory, spare, unsynced) };
    let last_unsynced = last.unsynced;
    let (base, mut replayed) = replay_newest_base(directory, &headers, head)?;
    let segments = headers.iter().map(|h| Segment { sequence: h.sequence, base: h.base.revision }).collect();
    let position = cut_tail(directory, last.sequence, &replayed)?;
    let mut recovered = Recovered {
        snapshot: std::mem::take(&mut replayed.snapshot),
        position,
        segments,
        dirty: replayed.touched,
        checkpoint: base.checkpoint,
        loaded: base.loaded,
        export: newest_export(directory, base.source)?,
        replayed_bytes: replayed.bytes,
        checkpoint_due: replayed.bytes >= spare.bytes() || replayed.files >= TAIL_FILES_MAX,
    };
    if replayed.torn || last_unsynced {
        jump(directory, spare, unsynced, &mut recovered)?;
    }
    Ok(recovered)
}

/// A directory without a format was never opened to the end, so nothing was ever committed in it.
fn check_new(directory: &Directory, headers: &[FileHeader]) -> Result<(), StoreError> {
    let missing = || corrupt(&directory.format_path(), "it is missing, though the directory holds data");
    let had_commits = head::read(directory)?.is_some_and(|head| head.end.state.revision > FIRST_REVISION);
    if had_commits || directory.has_checkpoint()? || !directory.exports()?.is_empty() || headers.len() > 1 {
        return Err(missing());
    }
    let Some(header) = headers.first() else { return Ok(()) };
    let path = directory.log_path(header.sequence);
    let file = directory.files.read(&path, u64::MAX).map_err(|error| directory.failed("read", &path, &error))?;
    let is_empty = header.base == Base::of(&Snapshot::empty(FIRST_REVISION))
        && matches!(frame::read_frame(&file, FILE_HEADER_BYTES, header.sequence), Found::End);
    if is_empty { Ok(()) } else { Err(missing()) }
}

fn fresh(directory: &Directory, spare: &Spare, unsynced: bool) -> Result<Recovered, StoreError> {
    if directory.has_checkpoint()? || !directory.exports()?.is_empty() {
        return Err(corrupt(&directory.log_path(1), "the log is missing, though there is a checkpoint or an export"));
    }
    let snapshot = Snapshot::empty(FIRST_REVISION);
    let position = create_log(spare, unsynced, 1, &snapshot).map_err(|error| match error {
        LogError::Full(error) | LogError::Failed(error) => directory.failed("create", &directory.log_path(1), &error),
    })?;
    Ok(Recovered {
        segments: vec![Segment { sequence: position.sequence, base: snapshot.revision }],
        snapshot,
        position,
        dirty: HashSet::new(),
        checkpoint: None,
        loaded: None,
        export: None,
        checkpoint_due: false,
        replayed_bytes: 0,
    })
}

pub(super) fn create_log(
    spare: &Spare,
    unsynced: bool,
    sequence: u64,
    snapshot: &Snapshot,
) -> Result<Position, LogError> {
    let header = FileHeader { kind: FileKind::Log, sequence, base: Base::of(snapshot), unsynced, allocated: 0 };
    spare.begin_log(header, 0)
}

fn read_headers(directory: &Directory) -> Result<Vec<FileHeader>, StoreError> {
    let mut headers: Vec<FileHeader> = Vec::new();
    for sequence in directory.logs()? {
        let path = directory.log_path(sequence);
        let bytes = directory
            .files
            .read(&path, FILE_HEADER_BYTES as u64)
            .map_err(|error| directory.failed("read", &path, &error))?;
        let header = FileHeader::decode(&bytes, FileKind::Log).map_err(|detail| corrupt(&path, detail))?;
        if header.sequence != sequence {
            return Err(corrupt(&path, format!("its header says it is file {}", header.sequence)));
        }
        if headers.last().is_some_and(|before| before.sequence.checked_add(1) != Some(sequence)) {
            // Superfluous files may have come back in part after a power failure. If one is missing that is not
            // superfluous, no base will reach the ones after it.
            headers.clear();
        }
        headers.push(header);
    }
    Ok(headers)
}

/// Where a replay may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Checkpoint,
    Export(Revision),
    Nothing,
}

impl Source {
    /// The file or directory that a person has to look at.
    fn path(self, directory: &Directory) -> PathBuf {
        match self {
            Self::Checkpoint => directory.checkpoint_path(),
            Self::Export(revision) => directory.export_path(revision),
            Self::Nothing => directory.log_path(1),
        }
    }
}

/// The base that was used.
struct Used {
    source: Source,
    checkpoint: Option<Revision>,
    loaded: Option<Checkpoint>,
}

/// Tries the newest base first; what fails is told in the log, and its error returned if nothing else works.
fn replay_newest_base(
    directory: &Directory,
    headers: &[FileHeader],
    head: Option<&Head>,
) -> Result<(Used, Replayed), StoreError> {
    let mut sources = Vec::new();
    if directory.has_checkpoint()? {
        sources.push(Source::Checkpoint);
    }
    sources.extend(directory.exports()?.into_iter().rev().map(Source::Export));
    let first = headers.first().expect("the caller has one").base;
    if first.revision == FIRST_REVISION && first.keys == 0 {
        sources.push(Source::Nothing);
    }
    let mut failure = None;
    for source in sources {
        match load(directory, source).and_then(|(base, loaded)| {
            let checkpoint = loaded.is_some().then_some(base.revision);
            Ok((Used { source, checkpoint, loaded }, replay(directory, headers, base, source, head)?))
        }) {
            Ok(found) => return Ok(found),
            Err(error) => {
                tracing::warn!(%error, ?source, "a base of the store cannot be used; trying the next");
                failure.get_or_insert(error);
            }
        }
    }
    let missing = "it is missing, and so is the log's beginning";
    Err(failure.unwrap_or_else(|| corrupt(&directory.checkpoint_path(), missing)))
}

fn load(directory: &Directory, source: Source) -> Result<(Snapshot, Option<Checkpoint>), StoreError> {
    match source {
        Source::Nothing => Ok((Snapshot::empty(FIRST_REVISION), None)),
        Source::Export(revision) => Ok((export::read(directory, revision)?.0, None)),
        Source::Checkpoint => {
            let path = directory.checkpoint_path();
            let checkpoint = Checkpoint::open(&path).map_err(|detail| corrupt(&path, detail))?;
            let snapshot = checkpoint.load().map_err(|detail| corrupt(&path, detail))?;
            Ok((snapshot, Some(checkpoint)))
        }
    }
}

fn newest_export(directory: &Directory, used: Source) -> Result<Option<(Revision, u64)>, StoreError> {
    let Some(&revision) = directory.exports()?.last() else { return Ok(None) };
    // An export is only as good as its header until it is needed; one that was just needed and failed is no good.
    let path = directory.export_path(revision);
    let header = directory
        .files
        .read(&path, FILE_HEADER_BYTES as u64)
        .map_err(|error| directory.failed("read", &path, &error))?;
    let whole = FileHeader::decode(&header, FileKind::Export).is_ok_and(|h| h.base.revision == revision);
    Ok((whole && used != Source::Nothing).then_some((revision, 0)))
}

/// The state after the log's last whole frame.
struct Replayed {
    snapshot: Snapshot,
    touched: HashSet<Arc<str>>,
    bytes: u64,
    files: usize,
    /// Where the last file's frames end.
    end: usize,
    /// Whether something that is no frame follows there.
    torn: bool,
    /// The last file's length.
    length: u64,
}

fn replay(
    directory: &Directory,
    headers: &[FileHeader],
    base: Snapshot,
    source: Source,
    head: Option<&Head>,
) -> Result<Replayed, StoreError> {
    let from = headers.partition_point(|header| header.base.revision <= base.revision);
    let Some(from) = from.checked_sub(1) else {
        let first = headers.first().expect("the caller has one");
        let missing = directory.log_path(first.sequence.saturating_sub(1));
        let base = format!("{} ends at revision {}", source.path(directory).display(), base.revision);
        let detail = format!("it is missing: {base}, and the log goes on after {}", first.base.revision);
        return Err(corrupt(&missing, detail));
    };
    let mut logged = headers[from].base;
    let base_revision = base.revision;
    let mut replayed =
        Replayed { snapshot: base, touched: HashSet::new(), bytes: 0, files: 0, end: 0, torn: false, length: 0 };
    for header in &headers[from..] {
        let path = directory.log_path(header.sequence);
        if (header.base.keys, header.base.digest) != (logged.keys, logged.digest)
            || header.base.revision < logged.revision
        {
            return Err(corrupt(&path, "it does not go on where the file before it ends"));
        }
        logged = header.base;
        let last = header.sequence == headers.last().map_or(0, |h| h.sequence);
        replay_file(directory, header, &mut logged, base_revision, head, &mut replayed)?;
        if replayed.torn && !last {
            return Err(corrupt(&path, format!("it is torn at offset {}, and more follows", replayed.end)));
        }
    }
    if let Some(head) = head {
        let sequence = headers.last().map_or(0, |header| header.sequence);
        head.check_end(directory, &End { sequence, state: logged, offset: replayed.end as u64 }, replayed.torn)?;
    }
    replayed.snapshot.revision = logged.revision;
    if logged.revision < base_revision || Base::of(&replayed.snapshot) != logged {
        let found = Base::of(&replayed.snapshot);
        let detail = format!("from here, the log ends in {found:?} where it should end in {logged:?}");
        return Err(corrupt(&source.path(directory), detail));
    }
    Ok(replayed)
}

fn replay_file(
    directory: &Directory,
    header: &FileHeader,
    logged: &mut Base,
    base: Revision,
    head: Option<&Head>,
    replayed: &mut Replayed,
) -> Result<(), StoreError> {
    let path = &directory.log_path(header.sequence);
    let file = directory.files.read(path, u64::MAX).map_err(|error| directory.failed("read", path, &error))?;
    // Its length was durable before its name was.
    if (file.len() as u64) < header.allocated {
        let detail =
            format!("it is {} bytes long where {} were reserved: it was cut short", file.len(), header.allocated);
        return Err(corrupt(path, detail));
    }
    let mut at = FILE_HEADER_BYTES;
    replayed.torn = loop {
        match frame::read_frame(&file, at, header.sequence) {
            Found::Frame(found) => {
                if found.first != logged.revision.saturating_add(1) || (found.first <= base && found.last() > base) {
                    let detail = format!("the frame at offset {at} begins at revision {}", found.first);
                    return Err(corrupt(path, format!("{detail}, after {}", logged.revision)));
                }
                if found.first > base {
                    found
                        .apply_commits(&mut replayed.snapshot, &mut replayed.touched)
                        .map_err(|detail| corrupt(path, format!("{detail}, at offset {at}")))?;
                    replayed.bytes += (found.end - at) as u64;
                }
                *logged = Base { revision: found.last(), keys: found.keys, digest: found.digest };
                at = found.end;
                if head.is_some_and(|head| head.end.state.revision == logged.revision && head.end.state != *logged) {
                    return Err(corrupt(path, format!("it tells another history, up to offset {at}, than the head")));
                }
            }
            Found::End => break false,
            Found::Torn => {
                let later = frame::later_frame(&file, at, header.sequence, logged.revision.saturating_add(1));
                if let (Some(later), false) = (later, header.unsynced) {
                    let detail = format!("the frame at offset {at} is damaged, and a whole one follows at {later}");
                    return Err(corrupt(path, detail));
                }
                break true;
            }
            Found::Corrupt(detail) => return Err(corrupt(path, detail)),
        }
    };
    replayed.files += 1;
    replayed.end = at;
    replayed.length = file.len() as u64;
    Ok(())
}

/// Makes what was replayed durable, and overwrites what follows with zeros.
fn cut_tail(directory: &Directory, sequence: u64, replayed: &Replayed) -> Result<Position, StoreError> {
    let path = directory.log_path(sequence);
    let cut = || {
        let file = directory.files.open(&path, false)?;
        if replayed.torn {
            tracing::warn!(file = %path.display(), offset = replayed.end, "cutting a torn tail off the log");
            let zeros = replayed.length.saturating_sub(replayed.end as u64);
            file.write_at(&vec![0; usize::try_from(zeros).map_err(std::io::Error::other)?], replayed.end as u64)?;
        }
        // After a kill, frames may be in the system's cache alone; they are shown, so they must last.
        file.sync()?;
        let allocated = replayed.length.max(replayed.end as u64);
        Ok(Position { file, sequence, offset: replayed.end as u64, allocated })
    };
    cut().map_err(|error| directory.failed("repair", &path, &error))
}

/// Goes on in a new file after a jump of the revision: what was cut may have been seen by someone.
fn jump(directory: &Directory, spare: &Spare, unsynced: bool, recovered: &mut Recovered) -> Result<(), StoreError> {
    let mut snapshot = recovered.snapshot.clone();
    snapshot.revision += REVISION_JUMP;
    let sequence = recovered.position.sequence + 1;
    match create_log(spare, unsynced, sequence, &snapshot) {
        Ok(position) => {
            recovered.segments.push(Segment { sequence, base: snapshot.revision });
            recovered.position = position;
            recovered.snapshot = snapshot;
            Ok(())
        }
        // A cut frame was never acknowledged where the writer waits for the disk; going on is better than not opening.
        Err(LogError::Full(error)) => {
            tracing::warn!(%error, "no room for a new file of the log; going on in the old one");
            Ok(())
        }
        Err(LogError::Failed(error)) => Err(directory.failed("create", &directory.log_path(sequence), &error)),
    }
}
