//! The content of images as file systems, for volumes. containerd keeps what is shown under a lease of the pod.

use super::import::{Error, containerd};
use crate::cri::{self, Cri};

/// The names of these leases begin with this; the pod's UID follows.
const LEASE: &str = "image-volumes-";

/// One file system to mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layered {
    /// `overlay`, or `bind` for a single layer.
    pub kind: String,
    /// The file system or directory that is mounted.
    pub source: String,
    /// Options as in fstab.
    pub options: Vec<String>,
}

/// The file system with the content of a local image, kept for a pod until [`release`].
///
/// # Errors
/// When there is no such image, or the runtime refuses.
pub async fn view(cri: &Cri, uid: &str, volume: &str, image: &str) -> Result<Layered, Error> {
    let missing = || Error::Malformed(format!("the image {image} is not here"));
    let snapshot = cri.image_snapshot(image).await?.ok_or_else(missing)?;
    let lease = format!("{LEASE}{uid}");
    let key = format!("{lease}-{volume}");
    let mounts = containerd::Store::open(cri, lease).await?.view(&key, &snapshot).await?;
    match <[_; 1]>::try_from(mounts) {
        Ok([mount]) => Ok(Layered { kind: mount.r#type, source: mount.source, options: mount.options }),
        Err(mounts) => Err(cri::Error::Missing(if mounts.is_empty() { "a mount" } else { "a single mount" }).into()),
    }
}

/// Lets containerd remove what was kept for a pod; nothing of it may be mounted any more.
///
/// # Errors
/// When the runtime refuses.
pub async fn release(cri: &Cri, uid: &str) -> Result<(), Error> {
    containerd::give_up(cri.channel(), &format!("{LEASE}{uid}")).await
}

/// The UIDs of the pods that something is kept for.
///
/// # Errors
/// When the runtime does not answer.
pub async fn holders(cri: &Cri) -> Result<Vec<String>, Error> {
    let leases = containerd::leases(cri.channel()).await?;
    Ok(leases.iter().filter_map(|lease| lease.strip_prefix(LEASE)).map(str::to_owned).collect())
}
