//! Importing image archives into containerd, so that CRI sees them: blobs go to the content store as they are read, the
//! layers are unpacked into snapshots, and the name is written last.

mod blobs;
pub(super) mod containerd;
mod manifest;

use std::{io::Read, path::Path, time::Duration};

use client::Clock;
use futures::future::BoxFuture;

use crate::cri::{self, Cri};

/// How long CRI may take to notice a new image.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two looks whether CRI has noticed it.
const NOTICE_PAUSE: Duration = Duration::from_millis(5);

/// Why an archive was not imported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The archive cannot be read.
    #[error("cannot read the archive: {0}")]
    Read(#[from] std::io::Error),
    /// The archive is no image archive, or its parts do not fit together.
    #[error("not an image archive: {0}")]
    Malformed(String),
    /// The runtime refused.
    #[error(transparent)]
    Runtime(#[from] cri::Error),
    /// A part of the import was cancelled.
    #[error("the import was interrupted")]
    Interrupted,
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        Error::Runtime(status.into())
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Error::Malformed(error.to_string())
    }
}

/// Imports all images of an archive (`docker save` or an OCI layout, also compressed with gzip) into the runtime that
/// listens on `socket`; answers with their names.
///
/// # Errors
/// When the archive is malformed or the runtime refuses a part of it.
pub fn import<'a>(
    socket: &'a Path,
    archive: impl Read + Send + 'static,
    clock: &'a Clock,
) -> BoxFuture<'a, Result<Vec<String>, Error>> {
    Box::pin(async move {
        let cri = Cri::connect(socket).await?;
        import_into(&cri, archive, clock).await
    })
}

pub(crate) async fn import_into(
    cri: &Cri,
    archive: impl Read + Send + 'static,
    clock: &Clock,
) -> Result<Vec<String>, Error> {
    let lease = format!("import-{:016x}", clock.random_bits());
    let store = containerd::Store::open(cri, lease).await?;
    let result = import_leased(&store, archive).await;
    store.close().await;
    let names = result?;
    for name in &names {
        wait_until_seen(cri, name).await?;
    }
    Ok(names)
}

async fn import_leased(store: &containerd::Store, archive: impl Read + Send + 'static) -> Result<Vec<String>, Error> {
    let blobs = blobs::store_all(store, archive).await?;
    let images = manifest::images(store, &blobs).await?;
    if images.is_empty() {
        return Err(Error::Malformed("it names no image".to_owned()));
    }
    let mut names = Vec::new();
    for image in images {
        store.unpack(&image).await?;
        for name in &image.names {
            store.name(name, &image.manifest).await?;
            names.push(name.clone());
        }
    }
    Ok(names)
}

async fn wait_until_seen(cri: &Cri, name: &str) -> Result<(), Error> {
    let seen = async {
        while cri.image_status(name).await?.is_none() {
            tokio::time::sleep(NOTICE_PAUSE).await;
        }
        Ok::<(), cri::Error>(())
    };
    match tokio::time::timeout(NOTICE_TIMEOUT, seen).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(Error::Malformed(format!("the runtime does not take {name} as an image for this machine"))),
    }
}
