//! How much of a disk the files below a directory take.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The unit of `st_blocks`.
const BLOCK_BYTES: u64 = 512;
/// After so many files it is enough: nobody makes the node look at files without end.
const FILES_MAX: usize = 1_000_000;

/// The bytes that a directory takes with all below it. Links are not followed, files with several names count once, and
/// what cannot be read or has gone meanwhile counts nothing.
pub(super) fn used(directory: &Path) -> u64 {
    used_of(directory, FILES_MAX)
}

fn used_of(directory: &Path, files_max: usize) -> u64 {
    let (mut bytes, mut files) = (0, 0);
    let mut seen: HashSet<(u64, u64)> = HashSet::new();
    let mut rest: Vec<PathBuf> = vec![directory.to_owned()];
    while let Some(path) = rest.pop() {
        let Ok(entries) = fs::read_dir(&path) else { continue };
        for entry in entries.flatten() {
            files += 1;
            if files > files_max {
                return bytes;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.nlink() > 1 && !metadata.is_dir() && !seen.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            bytes += metadata.blocks() * BLOCK_BYTES;
            if metadata.is_dir() {
                rest.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_count_once_and_links_are_not_followed() {
        let (here, elsewhere) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let write = |path: PathBuf| fs::write(path, vec![1; 64 << 10]).expect("a file");
        write(here.path().join("a"));
        write(elsewhere.path().join("far"));
        fs::create_dir(here.path().join("d")).expect("a directory");
        write(here.path().join("d/b"));
        let small = used(here.path());
        assert!((128 << 10..192 << 10).contains(&small), "{small}");
        fs::hard_link(here.path().join("a"), here.path().join("d/again")).expect("a link");
        symlink(elsewhere.path(), here.path().join("out")).expect("a link");
        let linked = used(here.path());
        assert!(linked < small + (32 << 10), "{linked} {small}");
        assert_eq!(used(&here.path().join("missing")), 0);
        assert!(used_of(here.path(), 0) == 0, "the count of files is bounded");
    }
}
