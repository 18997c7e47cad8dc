//! An OCI image layout in a tar archive, with docker's `manifest.json` beside it.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Writes the files under `root` as an image of one layer under `tags`. The same files give the same bytes.
pub(super) fn write(root: &Path, config: &Value, tags: &[&str], target: &Path) -> Result<(), Box<dyn Error>> {
    let layer = layer(root)?;
    let layer_digest = digest(&layer);
    let image = json!({
        "architecture": architecture(),
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
        "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "packed from Debian packages"}],
    })
    .to_string()
    .into_bytes();
    let image_digest = digest(&image);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &image),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    })
    .to_string()
    .into_bytes();
    let manifests: Vec<Value> = tags.iter().map(|tag| entry(tag, &manifest)).collect();
    let index = json!({"schemaVersion": 2, "manifests": manifests}).to_string();
    let docker = json!([{
        "Config": format!("blobs/sha256/{image_digest}"),
        "RepoTags": tags,
        "Layers": [format!("blobs/sha256/{layer_digest}")],
    }])
    .to_string();
    let part = target.with_extension("part");
    let mut tar = tar::Builder::new(File::create(&part)?);
    append(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    append(&mut tar, "index.json", index.as_bytes())?;
    append(&mut tar, "manifest.json", docker.as_bytes())?;
    for blob in [&manifest, &image, &layer] {
        append(&mut tar, &format!("blobs/sha256/{}", digest(blob)), blob)?;
    }
    tar.into_inner()?.flush()?;
    fs::rename(part, target)?;
    Ok(())
}

fn entry(tag: &str, manifest: &[u8]) -> Value {
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", manifest);
    let short = tag.rsplit(':').next().unwrap_or("latest");
    entry["annotations"] = json!({"io.containerd.image.name": tag, "org.opencontainers.image.ref.name": short});
    entry["platform"] = json!({"architecture": architecture(), "os": "linux"});
    entry
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{}", digest(blob)), "size": blob.len()})
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The tree as a tar, sorted, owned by root, without times.
fn layer(root: &Path) -> io::Result<Vec<u8>> {
    let mut paths = Vec::new();
    walk(root, &mut paths)?;
    paths.sort();
    let mut tar = tar::Builder::new(Vec::new());
    for path in paths {
        let name = path.strip_prefix(root).expect("walked from the root");
        let metadata = fs::symlink_metadata(&path)?;
        let mut header = tar::Header::new_gnu();
        header.set_mode(if name == Path::new("tmp") { 0o1777 } else { metadata.permissions().mode() & 0o7777 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        if metadata.is_symlink() {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            tar.append_link(&mut header, name, fs::read_link(&path)?)?;
        } else if metadata.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            tar.append_data(&mut header, name, io::empty())?;
        } else if metadata.is_file() {
            header.set_size(metadata.len());
            tar.append_data(&mut header, name, File::open(&path)?)?;
        }
    }
    tar.into_inner()
}

fn walk(directory: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        paths.push(entry.path());
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), paths)?;
        }
    }
    Ok(())
}

fn append(tar: &mut tar::Builder<File>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, name, bytes)
}
