//! The log file: appended to, and put aside when it is full (as `lumberjack`, which the reference writes with, names and
//! keeps the old ones).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::clock::Clock;

const MEGABYTE: u64 = 1024 * 1024;
/// How the time of an old file stands in its name.
const TIME: &str = "%Y-%m-%dT%H-%M-%S%.3f";
const COMPRESSED: &str = ".gz";

/// How long and how many old files are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// A file is put aside before it gets longer than so many megabytes; zero for never.
    pub megabytes_max: u64,
    /// Old files are removed after so many days; zero for never.
    pub days_max: u64,
    /// So many old files are kept; zero for all.
    pub files_max: usize,
    /// Old files are compressed.
    pub compress: bool,
}

/// The file that is written, and its directory of old ones.
pub(super) struct LogFile {
    path: PathBuf,
    rotation: Rotation,
    clock: Arc<dyn Clock>,
    open: Option<(File, u64)>,
}

impl LogFile {
    /// Opens it, so that who starts the server learns if that cannot be.
    pub(super) fn open(path: PathBuf, rotation: Rotation, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let mut file = Self { path, rotation, clock, open: None };
        if let Some(directory) = file.path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            let mut builder = std::fs::DirBuilder::new();
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.recursive(true).create(directory)?;
        }
        file.reopen(0o600)?;
        Ok(file)
    }

    /// Writes lines, whole ones into one file.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let (length, limit) = (lines.len() as u64, self.rotation.megabytes_max * MEGABYTE);
        if limit > 0 && length > limit {
            let text = format!("write length {length} exceeds maximum file size {limit}");
            return Err(io::Error::other(text));
        }
        if self.open.is_none() {
            self.reopen(0o600)?;
        }
        let is_full = self.open.as_ref().is_some_and(|(_, written)| limit > 0 && written + length > limit);
        if is_full {
            self.rotate()?;
        }
        let (file, written) = self.open.as_mut().ok_or_else(|| io::Error::other("the file is not open"))?;
        let done = file.write_all(lines);
        *written += length;
        if done.is_err() {
            // What is written may be half a line; whoever comes next opens it anew.
            self.open = None;
        }
        done
    }

    fn reopen(&mut self, mode: u32) -> io::Result<()> {
        let file = OpenOptions::new().create(true).append(true).mode(mode).open(&self.path)?;
        let length = file.metadata()?.len();
        self.open = Some((file, length));
        Ok(())
    }

    /// Puts the file aside and begins a new one.
    fn rotate(&mut self) -> io::Result<()> {
        let mode =
            self.open.take().and_then(|(file, _)| file.metadata().ok()).map(|data| data.permissions().mode() & 0o777);
        let mut time = self.clock.now();
        // Two files of one moment are two files.
        while self.aside(time).exists() || self.aside(time).with_added_extension("gz").exists() {
            time += SignedDuration::from_millis(1);
        }
        std::fs::rename(&self.path, self.aside(time))?;
        self.reopen(mode.unwrap_or(0o600))?;
        if let Err(error) = self.clean() {
            tracing::error!(%error, path = %self.path.display(), "old audit logs cannot be removed or compressed");
        }
        Ok(())
    }

    /// What stands in a name before and after the time.
    fn parts(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
        let stem = text(self.path.file_stem()).unwrap_or_default();
        let extension = text(self.path.extension()).map(|extension| format!(".{extension}"));
        (format!("{stem}-"), extension.unwrap_or_default())
    }

    fn aside(&self, now: Timestamp) -> PathBuf {
        let (before, after) = self.parts();
        self.path.with_file_name(format!("{before}{}{after}", now.strftime(TIME)))
    }

    /// Old files with their times, the newest first.
    fn old(&self) -> io::Result<Vec<(Timestamp, PathBuf)>> {
        let (before, after) = self.parts();
        let directory = self.path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut found = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let plain = name.strip_suffix(COMPRESSED).unwrap_or(&name);
            let time = plain.strip_prefix(&before).and_then(|rest| rest.strip_suffix(&after));
            let time = time.and_then(|time| DateTime::strptime(TIME, time).ok());
            if let Some(time) = time.and_then(|time| time.to_zoned(TimeZone::UTC).ok()) {
                found.push((time.timestamp(), path));
            }
        }
        found.sort_by(|a, b| b.cmp(a));
        Ok(found)
    }

    /// Removes those that are too many or too old, and compresses the others if they shall be.
    fn clean(&self) -> io::Result<()> {
        let days = i64::try_from(self.rotation.days_max).unwrap_or(i64::MAX).min(100_000);
        let oldest = (days > 0).then(|| self.clock.now() - SignedDuration::from_hours(24 * days));
        for (at, (time, path)) in self.old()?.into_iter().enumerate() {
            let is_over = self.rotation.files_max > 0 && at >= self.rotation.files_max;
            if is_over || oldest.is_some_and(|oldest| time < oldest) {
                std::fs::remove_file(path)?;
            } else if self.rotation.compress && !path.to_string_lossy().ends_with(COMPRESSED) {
                compress(&path)?;
            }
        }
        Ok(())
    }
}

fn compress(path: &Path) -> io::Result<()> {
    let mut source = File::open(path)?;
    let mode = source.metadata()?.permissions().mode() & 0o777;
    let mut name = path.as_os_str().to_owned();
    name.push(COMPRESSED);
    let target = OpenOptions::new().create(true).write(true).truncate(true).mode(mode).open(&name)?;
    let mut encoder = GzEncoder::new(target, Compression::default());
    let copied = io::copy(&mut source, &mut encoder).and_then(|_| encoder.finish()).and_then(|file| file.sync_all());
    match copied {
        Ok(()) => std::fs::remove_file(path),
        Err(error) => {
            let _ = std::fs::remove_file(&name);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use parking_lot::Mutex;

    use super::*;

    /// A clock that a test moves.
    struct Moved(Mutex<Timestamp>);

    impl Clock for Moved {
        fn now(&self) -> Timestamp {
            *self.0.lock()
        }

        fn instant(&self) -> Instant {
            unreachable!("files have no use for it")
        }

        fn random(&self, _: &mut [u8]) {}
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn full_files_are_put_aside_and_old_ones_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logs/audit.log");
        let clock = Arc::new(Moved(Mutex::new("2026-01-01T00:00:00.5Z".parse().unwrap())));
        let rotation = Rotation { megabytes_max: 1, days_max: 10, files_max: 2, compress: false };
        let mut file = LogFile::open(path.clone(), rotation, clock.clone()).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let half = vec![b'x'; 600 * 1024];
        file.write(&half).unwrap();
        file.write(b"y\n").unwrap();
        assert_eq!(names(path.parent().unwrap()), ["audit.log"]);
        let mut days = 0;
        let mut next = |more: i64| {
            days += more;
            *clock.0.lock() =
                "2026-01-01T00:00:00.5Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(24 * days);
        };
        next(1);
        file.write(&half).unwrap();
        let first = "audit-2026-01-02T00-00-00.500.log";
        assert_eq!(names(path.parent().unwrap()), [first, "audit.log"]);
        assert_eq!(std::fs::read(path.with_file_name(first)).unwrap().len(), half.len() + 2);
        assert_eq!((mode(&path.with_file_name(first)), mode(&path)), (0o600, 0o600));
        std::fs::write(path.with_file_name("audit-notes.log"), "mine").unwrap();
        for _ in 0..2 {
            next(1);
            file.write(&half).unwrap();
        }
        let kept = ["audit-2026-01-03T00-00-00.500.log", "audit-2026-01-04T00-00-00.500.log"];
        assert_eq!(names(path.parent().unwrap()), [kept[0], kept[1], "audit-notes.log", "audit.log"]);
        next(11);
        file.write(&half).unwrap();
        let kept = "audit-2026-01-15T00-00-00.500.log";
        assert_eq!(names(path.parent().unwrap()), [kept, "audit-notes.log", "audit.log"]);
        let error = file.write(&vec![b'x'; 2 << 20]).unwrap_err();
        assert_eq!(error.to_string(), "write length 2097152 exceeds maximum file size 1048576");
    }

    #[test]
    fn old_files_are_compressed_and_a_restart_appends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        let clock = Arc::new(Moved(Mutex::new("2026-01-01T00:00:00Z".parse().unwrap())));
        let rotation = Rotation { megabytes_max: 1, days_max: 0, files_max: 0, compress: true };
        let open = || LogFile::open(path.clone(), rotation, clock.clone()).unwrap();
        open().write(&vec![b'x'; 600 * 1024]).unwrap();
        let mut file = open();
        file.write(&vec![b'y'; 600 * 1024]).unwrap();
        let aside = "audit-2026-01-01T00-00-00.000.gz";
        assert_eq!(names(directory.path()), ["audit", aside]);
        let mut text = Vec::new();
        let packed = File::open(directory.path().join(aside)).unwrap();
        io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed), &mut text).unwrap();
        assert_eq!(text, vec![b'x'; 600 * 1024]);
        assert_eq!(mode(&directory.path().join(aside)), 0o600);
    }

    #[test]
    fn without_a_limit_one_file_grows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let clock = Arc::new(Moved(Mutex::new("2026-01-01T00:00:00Z".parse().unwrap())));
        let rotation = Rotation { megabytes_max: 0, days_max: 1, files_max: 1, compress: false };
        let mut file = LogFile::open(path.clone(), rotation, clock).unwrap();
        for _ in 0..3 {
            file.write(&vec![b'x'; 1 << 20]).unwrap();
        }
        assert_eq!(names(directory.path()), ["audit.log"]);
    }
}
