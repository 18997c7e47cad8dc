//! `coracle kubeconfig`

use std::path::{Path, PathBuf};

use kube::config::Kubeconfig;

use crate::commands::say;
use crate::error::Error;
use crate::kubeconfig;

/// Prints the administrator's kubeconfig, or merges it into the user's.
///
/// # Errors
/// If the cluster has none, or the user's cannot be read or written.
pub(crate) fn run(data_dir: &Path, merge: bool) -> Result<(), Error> {
    let ours = kubeconfig::read(data_dir)?;
    if !merge {
        say(serde_saphyr::to_string(&ours).map_err(|error| Error::part("kubeconfig", error))?.trim_end());
        return Ok(());
    }
    let target = target()?;
    let mut theirs = Kubeconfig::default();
    if target.exists() {
        theirs = Kubeconfig::read_from(&target).map_err(|error| Error::part("kubeconfig", error))?;
    } else if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent)?;
    }
    kubeconfig::merge(&mut theirs, ours);
    kubeconfig::write(&target, &theirs)?;
    say(format!("Merged into {}; the current context is {}.", target.display(), kubeconfig::NAME));
    Ok(())
}

/// The file that kubectl would write: the first of `$KUBECONFIG`, else `~/.kube/config`.
fn target() -> Result<PathBuf, Error> {
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    if let Some(first) = std::env::split_paths(&listed).find(|path| !path.as_os_str().is_empty()) {
        return Ok(first);
    }
    match std::env::var_os("HOME") {
        Some(home) => Ok(PathBuf::from(home).join(".kube/config")),
        None => Err(Error::usage("no $HOME and no $KUBECONFIG: there is nothing to merge into")),
    }
}
