//! Reading and writing image archives: tar files with an OCI layout or in the format of `docker save`.

use std::{
    collections::HashMap,
    io::{self, Read},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Largest metadata file (index, manifest, configuration) in an archive.
const METADATA_BYTES_MAX: u64 = 8 << 20;
/// Bytes of a tar block.
const BLOCK: usize = 512;

/// A file in a layer.
pub struct Blob {
    /// Path without a leading slash.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Content.
    pub bytes: Vec<u8>,
}

/// A layer of files.
pub struct Layer {
    /// Its files.
    pub files: Vec<Blob>,
}

/// An image to be written.
pub struct ImageSpec {
    /// Full name with tag.
    pub name: String,
    /// The program to run.
    pub entrypoint: Vec<String>,
    /// User and group.
    pub user: String,
    /// Layers, lowest first.
    pub layers: Vec<Layer>,
}

/// The digest that content is addressed by.
pub fn digest(bytes: &[u8]) -> String {
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}")
}

/// An image as an OCI layout in a tar archive.
pub fn write(image: &ImageSpec) -> Vec<u8> {
    let layers: Vec<Vec<u8>> = image.layers.iter().map(|layer| tar(&layer.files)).collect();
    let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": image.entrypoint, "User": image.user, "Env": ["PATH=/"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
    .to_string()
    .into_bytes();
    let descriptor =
        |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()});
    let layer_descriptors: Vec<Value> =
        layers.iter().map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", layer)).collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": layer_descriptors,
    })
    .to_string()
    .into_bytes();
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["annotations"] = json!({"io.containerd.image.name": image.name});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string().into_bytes();
    let file = |path: String, bytes: Vec<u8>| Blob { path, mode: 0o644, bytes };
    let blob = |bytes: Vec<u8>| {
        let path = format!("blobs/{}", digest(&bytes).replace(':', "/"));
        file(path, bytes)
    };
    let mut files = vec![
        file("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        file("index.json".to_owned(), index),
        blob(manifest),
        blob(config),
    ];
    files.extend(layers.into_iter().map(blob));
    tar(&files)
}

fn tar(files: &[Blob]) -> Vec<u8> {
    let mut out = Vec::new();
    for file in files {
        let mut header = [0u8; BLOCK];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        assert!(file.path.len() < 100, "paths in our own archives are short");
        put(0, &file.path);
        put(100, &format!("{:07o}", file.mode));
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", file.bytes.len()));
        put(136, "00000000000");
        put(148, "        ");
        put(156, "0");
        put(257, "ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(&file.bytes);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    out
}

/// One entry of a tar archive that is being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path, without `./` in front.
    pub path: String,
    /// Bytes of its content.
    pub size: u64,
    /// Where a symbolic or hard link leads.
    pub link: Option<String>,
}

/// Reads tar archives entry by entry.
pub struct Reader<R> {
    input: R,
    left: u64,
    padding: u64,
}

impl<R: Read> Reader<R> {
    /// Reads from `input`.
    pub fn new(input: R) -> Self {
        Self { input, left: 0, padding: 0 }
    }

    /// The next regular file or link; what is left of the one before is skipped.
    ///
    /// # Errors
    /// When the input is no tar archive or ends early.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        let (mut long_path, mut long_link) = (None, None);
        loop {
            self.skip(self.left + self.padding)?;
            (self.left, self.padding) = (0, 0);
            let mut header = [0u8; BLOCK];
            if !self.fill(&mut header)? || header.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            check_sum(&header)?;
            let size = number(&header[124..136])?;
            (self.left, self.padding) = (size, size.next_multiple_of(BLOCK as u64) - size);
            match header[156] {
                b'L' => long_path = Some(text(&self.content()?)),
                b'K' => long_link = Some(text(&self.content()?)),
                b'x' => {
                    let records = pax(&self.content()?);
                    long_path = records.get("path").cloned().or(long_path);
                    long_link = records.get("linkpath").cloned().or(long_link);
                }
                kind @ (b'0' | 0 | b'1' | b'2') => {
                    let path = long_path.take().unwrap_or_else(|| name(&header));
                    let link = matches!(kind, b'1' | b'2')
                        .then(|| long_link.take().unwrap_or_else(|| text(&header[157..257])));
                    return Ok(Some(Entry { path: path.trim_start_matches("./").to_owned(), size, link }));
                }
                _ => (long_path, long_link) = (None, None),
            }
        }
    }

    /// The whole content of the current entry, which must be metadata.
    ///
    /// # Errors
    /// When it is too large or ends early.
    pub fn content(&mut self) -> io::Result<Vec<u8>> {
        if self.left > METADATA_BYTES_MAX {
            return Err(invalid("a metadata file of the archive is too large"));
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.input.read(&mut buffer[filled..])? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(true)
    }

    fn skip(&mut self, count: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.input.by_ref().take(count), &mut io::sink())?;
        if skipped == count { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.input.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn check_sum(header: &[u8; BLOCK]) -> io::Result<()> {
    let stored = number(&header[148..156])?;
    let blank = |index: usize, byte: u8| if (148..156).contains(&index) { b' ' } else { byte };
    let sum: u64 = header.iter().enumerate().map(|(index, byte)| u64::from(blank(index, *byte))).sum();
    if stored == sum { Ok(()) } else { Err(invalid("not a tar archive, or a damaged one")) }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn name(header: &[u8; BLOCK]) -> String {
    let short = text(&header[..100]);
    let prefix = if &header[257..262] == b"ustar" { text(&header[345..500]) } else { String::new() };
    if prefix.is_empty() { short } else { format!("{prefix}/{short}") }
}

fn number(field: &[u8]) -> io::Result<u64> {
    if field[0] & 0x80 != 0 {
        // Sizes over 8 GiB are stored in binary.
        return Ok(field[1..].iter().skip(field.len() - 9).fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    }
    let digits = text(field);
    let digits = digits.trim();
    if digits.is_empty() {
        return Ok(0);
    }
    u64::from_str_radix(digits, 8).map_err(|_| invalid("not a tar archive"))
}

fn pax(bytes: &[u8]) -> HashMap<String, String> {
    let mut records = HashMap::new();
    let mut rest = bytes;
    while let Some(space) = rest.iter().position(|byte| *byte == b' ') {
        let length: usize = std::str::from_utf8(&rest[..space]).ok().and_then(|n| n.parse().ok()).unwrap_or(0);
        if length <= space || length > rest.len() {
            break;
        }
        let record = text(&rest[space + 1..length - 1]);
        if let Some((key, value)) = record.split_once('=') {
            records.insert(key.to_owned(), value.to_owned());
        }
        rest = &rest[length..];
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let files = [("a", 3), ("dir/b", 512), ("c", 0)];
        let blobs: Vec<Blob> = files
            .iter()
            .map(|(path, size)| Blob { path: (*path).to_owned(), mode: 0o644, bytes: vec![7; *size] })
            .collect();
        let archive = tar(&blobs);
        let mut reader = Reader::new(archive.as_slice());
        for (path, size) in files {
            let entry = reader.next_entry().expect("readable").expect("an entry");
            assert_eq!((entry.path.as_str(), entry.size), (path, size as u64));
        }
        assert_eq!(reader.next_entry().expect("readable"), None);
        let mut damaged = archive;
        damaged[0] ^= 1;
        assert!(Reader::new(damaged.as_slice()).next_entry().is_err());
    }
}
