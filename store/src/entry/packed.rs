//! A value that is kept compressed, if that is worth it.

use bytes::Bytes;

/// Values are kept as they are if compression saves less than this part of them.
const SAVED_PART_MIN: usize = 8;

pub(crate) struct Packed {
    bytes: Bytes,
    /// How long the value is, if the bytes are compressed.
    length: Option<usize>,
}

impl Packed {
    pub(crate) fn new(value: &Bytes) -> Self {
        let compressed = lz4_flex::block::compress(value);
        if compressed.len() + value.len() / SAVED_PART_MIN < value.len() {
            return Self { bytes: Bytes::from(compressed.into_boxed_slice()), length: Some(value.len()) };
        }
        // A copy, for a value may be part of a larger piece of memory.
        Self { bytes: Bytes::copy_from_slice(value), length: None }
    }

    pub(crate) fn value(&self) -> Bytes {
        match self.length {
            None => self.bytes.clone(),
            Some(length) => {
                lz4_flex::block::decompress(&self.bytes, length).expect("it was compressed from a value").into()
            }
        }
    }

    pub(crate) fn kept_bytes(&self) -> usize {
        self.bytes.len()
    }
}
