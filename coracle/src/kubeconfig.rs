//! The administrator's kubeconfig: made, written privately, and merged into another.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::{Context, Kubeconfig};
use serde_json::json;

use crate::error::Error;

/// The name of cluster, user and context.
pub const NAME: &str = "coracle";

/// A kubeconfig with a client certificate. The three PEMs are the CA's certificate, the client's, and its key.
pub fn render(server: &str, ca: &str, certificate: &str, key: &str) -> Kubeconfig {
    let encoded = |pem: &str| STANDARD.encode(pem);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": {"server": server, "certificate-authority-data": encoded(ca)}}],
        "users": [{
            "name": NAME,
            "user": {"client-certificate-data": encoded(certificate), "client-key-data": encoded(key)},
        }],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
        "current-context": NAME,
    });
    serde_json::from_value(config).expect("a kubeconfig of constant shape")
}

/// Writes a kubeconfig that only its owner may read. The file appears whole or not at all.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, config: &Kubeconfig) -> Result<(), Error> {
    let text = serde_saphyr::to_string(config).map_err(|error| Error::part("kubeconfig", error))?;
    files::private::write(path, text.as_bytes()).map_err(|error| Error::file("write", path, error))
}

/// Where the administrator's kubeconfig of a data directory is.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("admin.kubeconfig")
}

/// Reads the administrator's kubeconfig of a data directory.
///
/// # Errors
/// If there is none, or it is damaged.
pub fn read(data_dir: &Path) -> Result<Kubeconfig, Error> {
    let path = path(data_dir);
    if !path.exists() {
        let hint = "start the cluster with `coracle up` or `coracle server`";
        return Err(Error::usage(format!("there is no {}: {hint}", path.display())));
    }
    Kubeconfig::read_from(&path).map_err(|error| Error::part("kubeconfig", error))
}

/// Writes the administrator's kubeconfig of a data directory. What the user set in an earlier one stays: other contexts, and
/// the namespace of this cluster's. A damaged one is replaced; one that says all this already is not written again.
///
/// # Errors
/// If the file cannot be written.
pub fn refresh(data_dir: &Path, mut ours: Kubeconfig) -> Result<(), Error> {
    let found = read(data_dir).ok();
    let before = found.as_ref().and_then(|found| serde_json::to_value(found).ok());
    let mut kept = found.unwrap_or_default();
    let namespace = context(&mut kept).and_then(|context| context.namespace.take());
    if let Some(context) = context(&mut ours) {
        context.namespace = namespace;
    }
    merge(&mut kept, ours);
    if before.is_some() && serde_json::to_value(&kept).ok() == before {
        return Ok(());
    }
    write(&path(data_dir), &kept)
}

fn context(config: &mut Kubeconfig) -> Option<&mut Context> {
    config.contexts.iter_mut().find(|context| context.name == NAME)?.context.as_mut()
}

/// Puts the cluster, user and context of `ours` into `theirs` in place of those of the same name, and makes the
/// context current.
pub fn merge(theirs: &mut Kubeconfig, ours: Kubeconfig) {
    theirs.clusters.retain(|other| ours.clusters.iter().all(|mine| mine.name != other.name));
    theirs.auth_infos.retain(|other| ours.auth_infos.iter().all(|mine| mine.name != other.name));
    theirs.contexts.retain(|other| ours.contexts.iter().all(|mine| mine.name != other.name));
    theirs.clusters.extend(ours.clusters);
    theirs.auth_infos.extend(ours.auth_infos);
    theirs.contexts.extend(ours.contexts);
    theirs.current_context = ours.current_context;
    theirs.api_version = theirs.api_version.take().or(ours.api_version);
    theirs.kind = theirs.kind.take().or(ours.kind);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn merging_keeps_the_others_and_replaces_our_own() {
        let mut theirs = render("https://old", "a", "b", "c");
        theirs.clusters[0].name = "work".into();
        theirs.contexts[0].name = "work".into();
        merge(&mut theirs, render("https://one", "a", "b", "c"));
        merge(&mut theirs, render("https://two", "a", "b", "c"));
        let names: Vec<&str> = theirs.clusters.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["work", NAME]);
        let server = theirs.clusters[1].cluster.as_ref().unwrap().server.as_deref();
        assert_eq!(server, Some("https://two"));
        assert_eq!(theirs.current_context.as_deref(), Some(NAME));
        assert_eq!(theirs.auth_infos.len(), 1);
    }

    #[test]
    fn a_new_start_keeps_the_namespace_and_replaces_the_rest() {
        let directory = tempfile::tempdir().unwrap();
        refresh(directory.path(), render("https://127.0.0.1:1", "ca", "old", "key")).unwrap();
        let mut set = read(directory.path()).unwrap();
        context(&mut set).unwrap().namespace = Some("mine".into());
        write(&path(directory.path()), &set).unwrap();
        refresh(directory.path(), render("https://127.0.0.1:2", "ca", "new", "key")).unwrap();
        let mut expected = render("https://127.0.0.1:2", "ca", "new", "key");
        context(&mut expected).unwrap().namespace = Some("mine".into());
        let back = read(directory.path()).unwrap();
        assert_eq!(serde_json::to_value(back).unwrap(), serde_json::to_value(expected).unwrap());
        // One that would say the same is left as it is: a full disk has no room for another.
        let inode = || std::fs::metadata(path(directory.path())).unwrap().ino();
        let before = inode();
        refresh(directory.path(), render("https://127.0.0.1:2", "ca", "new", "key")).unwrap();
        assert_eq!(inode(), before);
    }

    #[test]
    fn the_file_is_private_and_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let config = render("https://127.0.0.1:6443", "ca", "certificate", "key");
        write(&path(directory.path()), &config).unwrap();
        let mode = std::fs::metadata(path(directory.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let back = serde_json::to_value(read(directory.path()).unwrap()).unwrap();
        assert_eq!(back, serde_json::to_value(config).unwrap());
    }
}
