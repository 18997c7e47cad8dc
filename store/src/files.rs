//! How the durable backend reaches its files: a narrow layer, so that a test can lose what was not synced, fill the
//! disk, fail an fsync or tear a write.
//!
//! sled opens its own files and cannot be handed a layer; what it wrote is synced through this one.

#![expect(unsafe_code, reason = "calls of the system that the standard library does not have")]

use std::ffi::CString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

/// The mode of directories, whatever the umask.
const DIRECTORY_MODE: u32 = 0o700;
/// The mode of files, whatever the umask.
const FILE_MODE: u32 = 0o600;

/// The unit of `st_blocks`, whatever the file system's own is.
const STAT_BLOCK_BYTES: u64 = 512;

/// The operations on directories and names.
pub trait Files: Send + Sync + 'static {
    /// Creates a directory and its parents, readable by the owner alone.
    ///
    /// # Errors
    /// As the system says; an existing directory is none.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, in no order.
    ///
    /// # Errors
    /// As the system says.
    fn names(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// The first `bytes_max` bytes of a file, fewer if it is shorter.
    ///
    /// # Errors
    /// As the system says.
    fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>>;

    /// Opens a file for writing.
    ///
    /// # Errors
    /// As the system says; `NotFound` if it does not exist and `create` is not set.
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DataFile>>;

    /// Renames, replacing.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and what is in it.
    ///
    /// # Errors
    /// As the system says; an absent directory is none.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Leaves a file or directory, which another program may have made, to its owner alone.
    ///
    /// # Errors
    /// As the system says.
    fn make_private(&self, path: &Path) -> io::Result<()>;

    /// The room on the disk that a directory is on.
    ///
    /// # Errors
    /// As the system says.
    fn room(&self, directory: &Path) -> io::Result<Room>;

    /// How many bytes of its disk the files in a directory take.
    ///
    /// # Errors
    /// As the system says; an absent directory takes none.
    fn taken(&self, directory: &Path) -> io::Result<u64>;
}

/// The room on a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Used or not.
    pub total: u64,
    /// Not used.
    pub free: u64,
}

/// The operations on an open file.
pub trait DataFile: Send + Sync {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// As the system says; part may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the file so long and reserves its blocks, which read as zeros.
    ///
    /// # Errors
    /// As the system says; `StorageFull` if there is no room.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// Makes the content durable.
    ///
    /// # Errors
    /// As the system says. What is on the disk is unknown then, and another call would prove nothing.
    fn sync(&self) -> io::Result<()>;
}

/// The files of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Files for Disk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
        self.make_private(path)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len().min(bytes_max);
        let mut content = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
        let mut at = 0;
        while let Some((from, to)) = next_data(&file, at, bytes)? {
            file.read_exact_at(&mut content[from as usize..to as usize], from)?;
            at = to;
        }
        Ok(content)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DataFile>> {
        let file =
            OpenOptions::new().read(true).write(true).create(create).truncate(false).mode(FILE_MODE).open(path)?;
        if create && file.metadata()?.mode() & 0o777 != FILE_MODE {
            file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        }
        Ok(Arc::new(DiskFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn make_private(&self, path: &Path) -> io::Result<()> {
        let found = fs::symlink_metadata(path)?;
        let mode = if found.is_dir() { DIRECTORY_MODE } else { FILE_MODE };
        if found.mode() & 0o777 == mode {
            return Ok(());
        }
        fs::set_permissions(path, Permissions::from_mode(mode))
    }

    fn room(&self, directory: &Path) -> io::Result<Room> {
        let path = CString::new(directory.as_os_str().as_bytes())?;
        // SAFETY: all zeros is a value of this structure of numbers.
        let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: the path ends with a zero, and both live until the call returns.
        if unsafe { libc::statvfs(path.as_ptr(), &raw mut found) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let block = found.f_frsize;
        Ok(Room { total: found.f_blocks.saturating_mul(block), free: found.f_bavail.saturating_mul(block) })
    }

    fn taken(&self, directory: &Path) -> io::Result<u64> {
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            entries => entries?,
        };
        let mut taken = 0;
        for entry in entries {
            let entry = entry?;
            match entry.metadata() {
                Ok(found) if found.is_dir() => taken += self.taken(&entry.path())?,
                Ok(found) => taken += found.blocks() * STAT_BLOCK_BYTES,
                // One that another thread has just removed takes nothing.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }
}

/// The next part of a file from `at` on, below `end`, that was ever written. What was only reserved is skipped: it
/// reads as zeros, and reading it would fill the cache with them.
fn next_data(file: &File, at: u64, end: u64) -> io::Result<Option<(u64, u64)>> {
    let seek = |offset: u64, whence| {
        let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
        // SAFETY: the descriptor is open for as long as `file` lives, and the call touches no memory of ours.
        match unsafe { libc::lseek(file.as_raw_fd(), offset, whence) } {
            found if found >= 0 => Ok(Some(found as u64)),
            _ => match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
                error => Err(error),
            },
        }
    };
    if at >= end {
        return Ok(None);
    }
    let Some(from) = seek(at, libc::SEEK_DATA)?.filter(|from| *from < end) else { return Ok(None) };
    let to = seek(from, libc::SEEK_HOLE)?.unwrap_or(end).min(end);
    Ok(Some((from, to)))
}

struct DiskFile(File);

impl DataFile for DiskFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let length = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
        // SAFETY: the descriptor is open for as long as `self.0` lives, and the call touches no memory of ours.
        let status = unsafe { libc::fallocate(self.0.as_raw_fd(), 0, 0, length) };
        if status == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // A file system that cannot reserve blocks gets a file with holes: slower, and a full disk shows later.
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => self.0.set_len(bytes.max(self.0.metadata()?.len())),
            _ => Err(error),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
