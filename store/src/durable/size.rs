//! How much of the disk a directory takes.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The kernel counts what is allocated in blocks of this size, whatever the file system's are.
const BLOCK_BYTES: u64 = 512;
/// How deep directories may lie in each other: ours lie in one.
const DEPTH_MAX: u32 = 4;

/// The bytes that are allocated for the files below a directory. One that goes meanwhile counts as nothing.
pub(super) fn allocated(directory: &Path) -> io::Result<u64> {
    below(directory, DEPTH_MAX)
}

fn below(directory: &Path, depth: u32) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(about) = entry.metadata() else { continue };
        bytes += match about.is_dir() {
            true if depth > 0 => below(&entry.path(), depth - 1).unwrap_or(0),
            true => 0,
            false => about.blocks() * BLOCK_BYTES,
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn files_in_directories_count_by_what_is_allocated() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(inner.join("a"), vec![1; 100_000]).unwrap();
        let sparse = std::fs::File::create(directory.path().join("b")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        sparse.sync_all().unwrap();
        std::fs::File::open(inner.join("a")).unwrap().sync_all().unwrap();
        let bytes = super::allocated(directory.path()).unwrap();
        assert!((100_000..1 << 29).contains(&bytes), "{bytes}");
    }
}
