//! The images of an archive: their manifests, configurations and layers, and their names.

use serde_json::{Value, json};

use super::{
    Error,
    blobs::{Blob, Blobs},
    containerd::Store,
};
use crate::images::name;

/// How deep indexes may be nested in each other.
const INDEX_DEPTH_MAX: usize = 4;
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A piece of content and what it is.
#[derive(Debug, Clone)]
pub(crate) struct Descriptor {
    /// Media type.
    pub media_type: String,
    /// Digest.
    pub digest: String,
    /// Size in bytes.
    pub size: i64,
}

/// One image of an archive, all of whose parts are in the content store.
#[derive(Debug)]
pub(crate) struct Image {
    /// Full names with tags.
    pub names: Vec<String>,
    /// The manifest.
    pub manifest: Descriptor,
    /// The configuration.
    pub config: Descriptor,
    /// Compressed or plain layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// Digests of the plain layers.
    pub diff_ids: Vec<String>,
}

fn malformed(text: impl Into<String>) -> Error {
    Error::Malformed(text.into())
}

fn json_of(blob: &Blob) -> Result<Value, Error> {
    let content = blob.content.as_deref().ok_or_else(|| malformed("a metadata file is too large"))?;
    Ok(serde_json::from_slice(content)?)
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, Error> {
    value.get(key).and_then(Value::as_str).ok_or_else(|| malformed(format!("{key} is missing")))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The images of the archive.
pub(super) async fn images(store: &Store, blobs: &Blobs) -> Result<Vec<Image>, Error> {
    let docker = blobs.at("manifest.json").map(json_of).transpose()?;
    let Some(index) = blobs.at("index.json") else {
        let docker = docker.ok_or_else(|| malformed("it has neither index.json nor manifest.json"))?;
        return from_docker(store, blobs, &docker).await;
    };
    let mut images = Vec::new();
    for entry in list(&json_of(index)?, "manifests") {
        let Some(manifest) = resolve(blobs, entry, 0)? else { continue };
        let mut image = from_manifest(blobs, manifest)?;
        image.names = names(entry);
        if image.names.is_empty() {
            image.names = docker_names(docker.as_ref(), &image.config.digest);
        }
        if !image.names.is_empty() {
            images.push(image);
        }
    }
    Ok(images)
}

/// Names that an index gives an image.
fn names(entry: &Value) -> Vec<String> {
    let note = |key: &str| entry.get("annotations").and_then(|notes| notes.get(key)).and_then(Value::as_str);
    if let Some(full) = note("io.containerd.image.name") {
        return vec![name::normalize(full)];
    }
    // A reference that is only a tag tells no name.
    note("org.opencontainers.image.ref.name")
        .filter(|name| name.contains([':', '/']))
        .map(|name| vec![name::normalize(name)])
        .unwrap_or_default()
}

/// Names that `manifest.json` gives the image with this configuration.
fn docker_names(docker: Option<&Value>, config_digest: &str) -> Vec<String> {
    let hex = config_digest.trim_start_matches("sha256:");
    let entries = docker.and_then(Value::as_array).into_iter().flatten();
    let own = entries.filter(|entry| entry.get("Config").and_then(Value::as_str).is_some_and(|c| c.contains(hex)));
    own.flat_map(|entry| list(entry, "RepoTags")).filter_map(Value::as_str).map(name::normalize).collect()
}

/// The manifest for this machine that a descriptor leads to; `None` if there is none.
fn resolve(blobs: &Blobs, entry: &Value, depth: usize) -> Result<Option<Descriptor>, Error> {
    let descriptor = descriptor(entry)?;
    if !descriptor.media_type.contains("index") && !descriptor.media_type.contains("manifest.list") {
        return Ok(Some(descriptor));
    }
    if depth >= INDEX_DEPTH_MAX {
        return Err(malformed("indexes are nested too deep"));
    }
    let index = blobs.with_digest(&descriptor.digest).ok_or_else(|| malformed("an index is missing"))?;
    for inner in list(&json_of(index)?, "manifests") {
        let platform = |key: &str| inner.get("platform").and_then(|p| p.get(key)).and_then(Value::as_str);
        let fits = platform("os").is_none_or(|os| os == "linux")
            && platform("architecture").is_none_or(|architecture| architecture == crate::machine::architecture());
        if fits && blobs.with_digest(text(inner, "digest")?).is_some() {
            return resolve(blobs, inner, depth + 1);
        }
    }
    Ok(None)
}

fn descriptor(value: &Value) -> Result<Descriptor, Error> {
    Ok(Descriptor {
        media_type: value.get("mediaType").and_then(Value::as_str).unwrap_or(OCI_MANIFEST).to_owned(),
        digest: text(value, "digest")?.to_owned(),
        size: value.get("size").and_then(Value::as_i64).ok_or_else(|| malformed("size is missing"))?,
    })
}

fn from_manifest(blobs: &Blobs, manifest: Descriptor) -> Result<Image, Error> {
    let blob = blobs.with_digest(&manifest.digest).ok_or_else(|| malformed("the manifest is missing"))?;
    let json = json_of(blob)?;
    let config = descriptor(json.get("config").ok_or_else(|| malformed("config is missing"))?)?;
    let layers = list(&json, "layers").iter().map(descriptor).collect::<Result<Vec<_>, _>>()?;
    for part in layers.iter().chain([&config]) {
        if blobs.with_digest(&part.digest).is_none() {
            return Err(malformed(format!("{} is missing", part.digest)));
        }
    }
    let config_blob = blobs.with_digest(&config.digest).ok_or_else(|| malformed("the configuration is missing"))?;
    let diff_ids = diff_ids(&json_of(config_blob)?, layers.len())?;
    Ok(Image { names: Vec::new(), manifest, config, layers, diff_ids })
}

fn diff_ids(config: &Value, layers: usize) -> Result<Vec<String>, Error> {
    let ids = config.get("rootfs").map_or(&[] as &[Value], |rootfs| list(rootfs, "diff_ids"));
    let ids: Vec<String> = ids.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if ids.len() == layers { Ok(ids) } else { Err(malformed("layers and diff_ids differ in number")) }
}

/// Images in the format of `docker save`; they get an OCI manifest of their own.
async fn from_docker(store: &Store, blobs: &Blobs, docker: &Value) -> Result<Vec<Image>, Error> {
    let mut images = Vec::new();
    for entry in docker.as_array().into_iter().flatten() {
        let file = |path: &str| blobs.at(path).ok_or_else(|| malformed(format!("{path} is missing")));
        let config_blob = file(text(entry, "Config")?)?;
        let part = |media_type: &str, blob: &Blob| Descriptor {
            media_type: media_type.to_owned(),
            digest: blob.digest.clone(),
            size: blob.size,
        };
        let config = part(OCI_CONFIG, config_blob);
        let mut layers = Vec::new();
        for path in list(entry, "Layers").iter().filter_map(Value::as_str) {
            let blob = file(path)?;
            let suffix = if blob.gzip { "tar+gzip" } else { "tar" };
            layers.push(part(&format!("application/vnd.oci.image.layer.v1.{suffix}"), blob));
        }
        let diff_ids = diff_ids(&json_of(config_blob)?, layers.len())?;
        let json = |d: &Descriptor| json!({"mediaType": d.media_type, "digest": d.digest, "size": d.size});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": json(&config),
            "layers": layers.iter().map(json).collect::<Vec<_>>(),
        })
        .to_string()
        .into_bytes();
        let digest = crate::images::archive::digest(&manifest);
        let size = i64::try_from(manifest.len()).map_err(|_| malformed("the manifest is too large"))?;
        let mut writer = store.writer(&digest)?;
        writer.write(manifest).await?;
        writer.commit(&digest, size).await?;
        let names = list(entry, "RepoTags").iter().filter_map(Value::as_str).map(name::normalize).collect();
        let manifest = Descriptor { media_type: OCI_MANIFEST.to_owned(), digest, size };
        images.push(Image { names, manifest, config, layers, diff_ids });
    }
    Ok(images)
}
