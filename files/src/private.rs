//! Files and directories that are nobody's but their owner's, whatever the umask says.
//!
//! A umask can take rights away from a mode and cannot add any, but what was made by an earlier version, or by a
//! person, may have more: so the mode is set once more on what is open.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The mode of directories.
const DIRECTORY_MODE: u32 = 0o700;
/// The mode of files.
const FILE_MODE: u32 = 0o600;
/// The bit of directories that many share, such as `/tmp`.
const STICKY: u32 = 0o1000;

/// Makes a directory, and those above it, for the owner alone. One that is there already, is ours and is not shared
/// with others (sticky) loses what others may do.
///
/// # Errors
/// As the system says.
pub fn directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
    let found = std::fs::metadata(path)?;
    let ours = found.uid() == rustix::process::geteuid().as_raw() && found.mode() & STICKY == 0;
    if ours && found.mode() & 0o777 != DIRECTORY_MODE {
        std::fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE))?;
    }
    Ok(())
}

/// Writes a file that appears whole or not at all.
///
/// # Errors
/// As the system says; what was there before is still there then.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let written = (|| {
        let mut file = open(OpenOptions::new().write(true).create(true).truncate(true), &part)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    })();
    if written.is_err() {
        // On a full disk, half a file would take what little room there is.
        let _ = std::fs::remove_file(&part);
    }
    written
}

/// Opens a file to append to, and makes it if need be.
///
/// # Errors
/// As the system says.
pub fn append(path: &Path) -> io::Result<File> {
    open(OpenOptions::new().append(true).create(true), path)
}

fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.mode(FILE_MODE).open(path)?;
    if file.metadata()?.mode() & 0o777 != FILE_MODE {
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_open_to_others_is_closed() {
        let directory = tempfile::tempdir().expect("a directory");
        let (inner, file) = (directory.path().join("a/b"), directory.path().join("a/b/file"));
        let mode = |path: &Path| std::fs::metadata(path).expect("it is there").mode() & 0o7777;
        super::directory(&inner).expect("made");
        assert_eq!((mode(&inner), mode(inner.parent().expect("a parent"))), (0o700, 0o700));
        for loose in [0o777, 0o755, 0o100] {
            std::fs::set_permissions(&inner, Permissions::from_mode(loose)).expect("set");
            super::directory(&inner).expect("there");
            assert_eq!(mode(&inner), 0o700);
        }
        std::fs::set_permissions(&inner, Permissions::from_mode(0o1777)).expect("set");
        super::directory(&inner).expect("there");
        assert_eq!(mode(&inner), 0o1777, "a directory that others share is left as it is");
        for loose in [0o666, 0o644, 0o400] {
            std::fs::write(&file, "old").expect("written");
            std::fs::set_permissions(&file, Permissions::from_mode(loose)).expect("set");
            append(&file).expect("opened").write_all(b" and new").expect("written");
            assert_eq!((mode(&file), std::fs::read(&file).expect("read")), (0o600, b"old and new".to_vec()));
            std::fs::set_permissions(&file, Permissions::from_mode(loose)).expect("set");
            write(&file, b"whole").expect("written");
            assert_eq!((mode(&file), std::fs::read(&file).expect("read")), (0o600, b"whole".to_vec()));
            std::fs::remove_file(&file).expect("removed");
        }
        assert_eq!(std::fs::read_dir(&inner).expect("listed").count(), 0, "nothing in part is left");
    }
}
