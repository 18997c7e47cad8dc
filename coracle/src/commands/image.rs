//! `coracle image`

use std::fs::File;
use std::path::Path;

use crate::commands::{block_on, say};
use crate::error::Error;
use crate::layout::Layout;

/// Imports an image archive into the node's container runtime.
///
/// # Errors
/// If no node runs, or the archive is none.
pub(crate) fn import(data_dir: &Path, file: &Path) -> Result<(), Error> {
    let record = Layout::new(data_dir).recorded().ok_or_else(|| {
        Error::usage(format!("no node was started in {}: start one with `coracle up`", data_dir.display()))
    })?;
    let archive = File::open(file).map_err(|error| Error::usage(format!("{}: {error}", file.display())))?;
    block_on(async {
        let clock = client::Clock::system();
        let imported = kubelet::images::import(&record.socket, archive, &clock);
        for name in imported.await.map_err(|error| Error::part("image", error))? {
            say(name);
        }
        Ok(())
    })
}
