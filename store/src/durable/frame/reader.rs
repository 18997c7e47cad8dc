//! What is in a frame, piece by piece.

use bytes::Bytes;

use super::{u32_at, u64_at};
use crate::durable::shelf::Shelf;
use crate::limits::VALUE_BYTES_MAX;

/// The rest of a frame's content.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(content: &'a [u8]) -> Self {
        Self(content)
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or("a frame ends early")?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        Ok(u32_at(self.take(4)?, 0))
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        Ok(u64_at(self.take(8)?, 0))
    }

    pub(super) fn key(&mut self) -> Result<&'a str, String> {
        let length = self.take(2)?;
        let key = self.take(usize::from(u16::from_le_bytes([length[0], length[1]])))?;
        std::str::from_utf8(key).map_err(|_| "a key is not UTF-8".into())
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], String> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    pub(super) fn packed(&mut self, shelf: &mut Shelf) -> Result<Bytes, String> {
        let length = self.u32()? as usize;
        let compressed = self.bytes()?;
        let unpack = |value: &mut [u8]| {
            lz4_flex::block::decompress_into(compressed, value).is_ok_and(|unpacked| unpacked == length)
        };
        let value = (length <= VALUE_BYTES_MAX).then(|| shelf.fill(length, unpack)).flatten();
        value.ok_or_else(|| "a compressed value makes no sense".into())
    }

    /// Copied, so that no value keeps a whole log file in memory.
    pub(super) fn value(&mut self) -> Result<Bytes, String> {
        self.bytes().map(Bytes::copy_from_slice)
    }

    pub(super) fn end(&self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err("a frame has bytes left over".into()) }
    }
}
