//! Writing a set of files so that readers see the old set or the new one, never a mixture: the files live in a directory
//! with a time in its name, `..data` is a link to it that is replaced by a rename, and each visible name links through it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, lchown, symlink},
    path::{Component, Path, PathBuf},
};

use super::ownership::Owner;

/// The link to the current directory.
const DATA: &str = "..data";
/// The link before it is renamed.
const DATA_NEW: &str = "..data_tmp";

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Content.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Its own user, if it has one.
    pub user: Option<u32>,
}

/// Writes the files below `target`; `stamp` names the new directory.
///
/// # Errors
/// When a path leads out of the volume, or the file system refuses.
pub(super) fn write(target: &Path, files: &BTreeMap<String, File>, stamp: &str, owner: &Owner) -> io::Result<()> {
    for path in files.keys() {
        check(path)?;
    }
    fs::create_dir_all(target)?;
    fs::set_permissions(target, fs::Permissions::from_mode(0o777))?;
    let old = fs::read_link(target.join(DATA)).ok();
    let directory = target.join(stamp);
    fs::create_dir(&directory)?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?;
    for (path, file) in files {
        make_parents(&directory, path)?;
        write_file(&directory.join(path), file)?;
    }
    // The whole volume, not only what is new: the group may enter from its root on.
    Owner { only_on_mismatch: false, ..*owner }.apply(target, true)?;
    let new_link = target.join(DATA_NEW);
    let _ = fs::remove_file(&new_link);
    symlink(stamp, &new_link)?;
    fs::rename(&new_link, target.join(DATA))?;
    let visible: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for (path, file) in files {
        let name = path.split('/').next().unwrap_or_default();
        let link = target.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
            if file.user.is_some() {
                lchown(&link, file.user, None)?;
            }
        }
    }
    for entry in fs::read_dir(target)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if !text.starts_with("..") && !visible.contains(text.as_ref()) {
            fs::remove_file(entry.path())?;
        }
    }
    match old {
        Some(old) => fs::remove_dir_all(target.join(old)),
        None => Ok(()),
    }
}

fn check(path: &str) -> io::Result<()> {
    let fine = !path.is_empty()
        && !path.starts_with("..")
        && Path::new(path).components().all(|component| matches!(component, Component::Normal(_)));
    if fine { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, format!("invalid path {path:?}"))) }
}

/// The directories above a file, which containers under any user look into, whatever the umask of this process.
fn make_parents(directory: &Path, path: &str) -> io::Result<()> {
    for (end, _) in path.match_indices('/') {
        let parent = directory.join(&path[..end]);
        fs::create_dir_all(&parent)?;
        fs::set_permissions(&parent, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn write_file(path: &PathBuf, file: &File) -> io::Result<()> {
    use std::io::Write;
    let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    out.write_all(&file.bytes)?;
    // The mode is set afterwards because the process's umask takes bits away at creation.
    fs::set_permissions(path, fs::Permissions::from_mode(file.mode))?;
    if file.user.is_some() {
        chown(path, file.user, None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> BTreeMap<String, File> {
        let file = |text: &str| File { bytes: text.into(), mode: 0o640, user: None };
        list.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect()
    }

    #[test]
    fn replaces_all_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let target = dir.path().join("volume");
        let none = Owner::default();
        write(&target, &files(&[("a", "1"), ("d/b", "2")]), "..one", &none).expect("written");
        assert_eq!(fs::read_to_string(target.join("d/b")).expect("a file"), "2");
        write(&target, &files(&[("a", "3")]), "..two", &none).expect("written");
        assert_eq!(fs::read_to_string(target.join("a")).expect("a file"), "3");
        let mode = fs::metadata(target.join("a")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let mut left: Vec<_> =
            fs::read_dir(&target).expect("a directory").map(|e| e.expect("an entry").file_name()).collect();
        left.sort();
        assert_eq!(left, ["..data", "..two", "a"]);
        for bad in ["../x", "/x", "..x", "a/../../b", ""] {
            assert!(write(&target, &files(&[(bad, "")]), "..three", &none).is_err(), "{bad}");
        }
    }

    #[test]
    #[ignore = "needs root"]
    fn files_and_their_links_belong_to_their_user_and_the_group() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().expect("a directory");
        let token = |user| File { bytes: b"t".to_vec(), mode: 0o600, user };
        let plain = File { bytes: b"p".to_vec(), mode: 0o644, user: None };
        let owned = |target: &Path, name: &str| {
            let (link, file) = (fs::symlink_metadata(target.join(name)), fs::metadata(target.join(name)));
            let (link, file) = (link.expect("a link"), file.expect("a file"));
            (link.uid(), file.uid(), file.gid(), file.mode() & 0o777)
        };
        let files = BTreeMap::from([("token".to_owned(), token(Some(1000))), ("ca".to_owned(), plain.clone())]);
        let target = dir.path().join("user");
        write(&target, &files, "..one", &Owner { user: Some(1000), ..Owner::default() }).expect("written");
        assert_eq!(owned(&target, "token"), (1000, 1000, 0, 0o600));
        assert_eq!(owned(&target, "ca"), (0, 0, 0, 0o644));
        let both = Owner { user: Some(1000), group: Some(2000), only_on_mismatch: true };
        let target = dir.path().join("both");
        write(&target, &files, "..one", &both).expect("written");
        write(&target, &files, "..two", &both).expect("written again");
        assert_eq!(owned(&target, "token"), (1000, 1000, 2000, 0o640));
        let root = fs::metadata(&target).expect("the volume");
        assert_eq!((root.gid(), root.mode() & 0o7777), (2000, 0o2777));
    }
}
