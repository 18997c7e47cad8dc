//! Volumes that are paths of the host.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt},
    path::PathBuf,
};

use k8s_openapi::api::core::v1::HostPathVolumeSource;

/// Checks the path against its type and makes it where the type says so.
///
/// # Errors
/// When the path is not of its type.
pub(super) fn check(source: &HostPathVolumeSource) -> Result<PathBuf, String> {
    let path = PathBuf::from(&source.path);
    let kind = source.type_.as_deref().unwrap_or_default();
    let found = fs::metadata(&path).ok().map(|metadata| metadata.file_type());
    let fail = |what: &str| Err(format!("hostPath type check failed: {} is not {what}", source.path));
    let io = |error: std::io::Error| format!("cannot make {}: {error}", source.path);
    match (kind, found) {
        ("", _) => {}
        ("DirectoryOrCreate", None) => {
            fs::create_dir_all(&path).map_err(io)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(io)?;
        }
        ("FileOrCreate", None) => {
            fs::OpenOptions::new().create(true).append(true).mode(0o644).open(&path).map_err(io)?;
        }
        ("Directory" | "DirectoryOrCreate", found) if !found.is_some_and(|kind| kind.is_dir()) => {
            return fail("a directory");
        }
        ("File" | "FileOrCreate", found) if !found.is_some_and(|kind| kind.is_file()) => return fail("a file"),
        ("Socket", found) if !found.is_some_and(|kind| kind.is_socket()) => return fail("a socket file"),
        ("CharDevice", found) if !found.is_some_and(|kind| kind.is_char_device()) => {
            return fail("a character device");
        }
        ("BlockDevice", found) if !found.is_some_and(|kind| kind.is_block_device()) => {
            return fail("a block device");
        }
        _ => {}
    }
    Ok(path)
}
