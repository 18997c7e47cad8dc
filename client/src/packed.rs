//! Objects as compressed bytes. A typed object takes several times the room of its JSON, and of many objects most are
//! looked at rarely.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How much of an example is worth keeping.
const EXAMPLE_BYTES_MAX: usize = 8 * 1024;

/// Packs objects of one kind. The first object is the example that the others are compressed against: what all
/// objects of a kind have in common, above all the names of their fields, then takes next to no room.
pub(crate) struct Packer<K> {
    example: Vec<u8>,
    kind: PhantomData<fn() -> K>,
}

/// One packed object.
pub(crate) struct Packed(Box<[u8]>);

impl<K> Default for Packer<K> {
    fn default() -> Self {
        Self { example: Vec::new(), kind: PhantomData }
    }
}

impl<K: Serialize + DeserializeOwned> Packer<K> {
    /// Packs an object; none if it cannot be encoded.
    pub(crate) fn pack(&mut self, object: &K) -> Option<Packed> {
        let json = serde_json::to_vec(object).ok()?;
        if self.example.is_empty() {
            self.example = json[..json.len().min(EXAMPLE_BYTES_MAX)].to_vec();
        }
        let packed = lz4_flex::block::compress_prepend_size_with_dict(&json, &self.example);
        Some(Packed(packed.into_boxed_slice()))
    }

    /// The object again; none, and a line in the log, if its kind does not read what it wrote.
    pub(crate) fn unpack(&self, packed: &Packed) -> Option<K> {
        let json = lz4_flex::block::decompress_size_prepended_with_dict(&packed.0, &self.example)
            .map_err(|error| tracing::error!(%error, "a cached object does not unpack"))
            .ok()?;
        serde_json::from_slice(&json).map_err(|error| tracing::error!(%error, "a cached object does not decode")).ok()
    }
}
