//! The first pass over an archive: every file goes into the content store as it is read, whatever it turns out to be.

use std::{collections::HashMap, io::Read};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{Error, containerd::Store};
use crate::images::archive::{Entry, Reader};

/// Bytes of one piece on its way to the content store; gRPC allows four times as much.
const PIECE_BYTES: usize = 1 << 20;
/// Pieces that wait between the reader and the store.
const PIECES_MAX: usize = 4;
/// Largest file that is also kept for reading as JSON.
const METADATA_BYTES_MAX: u64 = 4 << 20;
/// Most files in an archive.
const FILES_MAX: usize = 10_000;

/// A file of the archive in the content store.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    /// Its digest.
    pub digest: String,
    /// Its size in bytes.
    pub size: i64,
    /// Whether it is compressed with gzip.
    pub gzip: bool,
    /// Its content, if it is small enough to be metadata.
    pub content: Option<Vec<u8>>,
}

/// The files of an archive, by path and by digest.
#[derive(Debug, Default)]
pub(super) struct Blobs {
    by_path: HashMap<String, Blob>,
    links: HashMap<String, String>,
}

impl Blobs {
    /// The file at a path, through links.
    pub(super) fn at(&self, path: &str) -> Option<&Blob> {
        let path = path.trim_start_matches("./");
        self.by_path.get(path).or_else(|| self.by_path.get(self.links.get(path)?))
    }

    /// The file with a digest.
    pub(super) fn with_digest(&self, digest: &str) -> Option<&Blob> {
        self.at(&format!("blobs/{}", digest.replace(':', "/")))
    }
}

enum Piece {
    File(Entry),
    Bytes(Vec<u8>),
    Failed(std::io::Error),
}

/// Reads the archive to its end and stores every file of it.
pub(super) async fn store_all(store: &Store, archive: impl Read + Send + 'static) -> Result<Blobs, Error> {
    let (sender, mut pieces) = mpsc::channel(PIECES_MAX);
    let reading = tokio::task::spawn_blocking(move || {
        if let Err(error) = read(archive, &sender) {
            let _ = sender.blocking_send(Piece::Failed(error));
        }
    });
    let mut blobs = Blobs::default();
    let mut file: Option<Entry> = None;
    while let Some(piece) = pieces.recv().await {
        match piece {
            Piece::Failed(error) => return Err(error.into()),
            Piece::Bytes(_) => {}
            Piece::File(entry) => file = Some(entry),
        }
        let Some(entry) = file.take() else { continue };
        if blobs.by_path.len() + blobs.links.len() >= FILES_MAX {
            return Err(Error::Malformed("it has too many files".to_owned()));
        }
        if let Some(link) = &entry.link {
            blobs.links.insert(entry.path.clone(), resolve(&entry.path, link));
            continue;
        }
        let blob = store_file(store, &entry, &mut pieces).await?;
        if let Some(expected) = entry.path.strip_prefix("blobs/")
            && expected.replace('/', ":") != blob.digest
        {
            return Err(Error::Malformed(format!("{} has the digest {}", entry.path, blob.digest)));
        }
        blobs.by_path.insert(entry.path, blob);
    }
    reading.await.map_err(|_| Error::Interrupted)?;
    Ok(blobs)
}

/// A link's target seen from the archive's root.
fn resolve(path: &str, link: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

async fn store_file(store: &Store, entry: &Entry, pieces: &mut mpsc::Receiver<Piece>) -> Result<Blob, Error> {
    let mut writer = store.writer(&entry.path)?;
    let mut hasher = Sha256::new();
    let mut content = (entry.size <= METADATA_BYTES_MAX).then(Vec::new);
    let (mut left, mut gzip) = (entry.size, false);
    while left > 0 {
        let bytes = match pieces.recv().await {
            Some(Piece::Bytes(bytes)) => bytes,
            Some(Piece::Failed(error)) => return Err(error.into()),
            Some(Piece::File(_)) | None => return Err(Error::Interrupted),
        };
        gzip |= left == entry.size && bytes.starts_with(&[0x1f, 0x8b]);
        left = left.saturating_sub(bytes.len() as u64);
        hasher.update(&bytes);
        if let Some(content) = &mut content {
            content.extend_from_slice(&bytes);
        }
        writer.write(bytes).await?;
    }
    let hash: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = format!("sha256:{hash}");
    let size = i64::try_from(entry.size).map_err(|_| Error::Malformed("a file is too large".to_owned()))?;
    writer.commit(&digest, size).await?;
    Ok(Blob { digest, size, gzip, content })
}

fn read(mut archive: impl Read, pieces: &mpsc::Sender<Piece>) -> std::io::Result<()> {
    let mut magic = [0u8; 2];
    let mut filled = 0;
    while filled < 2 {
        match archive.read(&mut magic[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    let whole = std::io::Cursor::new(magic[..filled].to_vec()).chain(archive);
    if magic == [0x1f, 0x8b] {
        read_tar(Reader::new(flate2::read::MultiGzDecoder::new(whole)), pieces)
    } else {
        read_tar(Reader::new(whole), pieces)
    }
}

fn read_tar<R: Read>(mut reader: Reader<R>, pieces: &mpsc::Sender<Piece>) -> std::io::Result<()> {
    while let Some(entry) = reader.next_entry()? {
        let is_link = entry.link.is_some();
        if pieces.blocking_send(Piece::File(entry)).is_err() {
            return Ok(());
        }
        if is_link {
            continue;
        }
        loop {
            let mut bytes = Vec::with_capacity(PIECE_BYTES);
            reader.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut bytes)?;
            if bytes.is_empty() {
                break;
            }
            if pieces.blocking_send(Piece::Bytes(bytes)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}
