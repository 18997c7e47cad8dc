//! SPDY/3.1 frames, as far as a client of the runtime's streaming server needs them.
//!
//! Header blocks are sent as zlib streams of stored blocks: a decompressor needs no dictionary for those. Those that
//! come back are not read; what matters stands in the frames. Neither side of this protocol uses flow control.

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The protocol's name in an `Upgrade` header.
pub const PROTOCOL: &str = "SPDY/3.1";
const HEADER_BYTES: usize = 8;
const CONTROL_BIT: u8 = 0x80;
const VERSION: u16 = 3;
const FLAG_FIN: u8 = 1;
const TYPE_SYN_STREAM: u16 = 1;
const TYPE_SYN_REPLY: u16 = 2;
const TYPE_RST_STREAM: u16 = 3;
const TYPE_PING: u16 = 6;
const TYPE_GOAWAY: u16 = 7;
/// The empty block that ends a flush. Go's decompressor hands a block over when it has seen what follows it; without this
/// it runs into the end of the frame and refuses every later header block.
const SYNC_FLUSH: [u8; 5] = [0, 0, 0, 0xff, 0xff];
/// A frame's length has 24 bits; frames of these streams are much shorter.
const FRAME_BYTES_MAX: usize = 8 << 20;

/// A frame that was received.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// The other side accepted a stream.
    Reply {
        /// The stream.
        stream: u32,
    },
    /// Content of a stream.
    Data {
        /// The stream.
        stream: u32,
        /// The bytes.
        payload: Bytes,
        /// Whether nothing follows in this direction.
        fin: bool,
    },
    /// The other side gave a stream up.
    Reset {
        /// The stream.
        stream: u32,
    },
    /// Asks for the same frame back.
    Ping(u32),
    /// The other side opens no streams any more.
    GoAway,
    /// A frame that needs no answer.
    Other,
}

/// Opens streams; remembers that a zlib stream begins once.
#[derive(Debug, Default)]
pub struct Opener {
    begun: bool,
}

impl Opener {
    /// The frame that opens `stream` with these headers.
    #[must_use]
    pub fn syn_stream(&mut self, stream: u32, headers: &[(&str, &str)]) -> Bytes {
        let mut block = BytesMut::new();
        block.put_u32(length(headers.len()));
        for (name, value) in headers {
            for text in [name, value] {
                block.put_u32(length(text.len()));
                block.put_slice(text.as_bytes());
            }
        }
        let mut body = BytesMut::new();
        body.put_u32(stream);
        body.put_u32(0);
        body.put_u16(0);
        if !std::mem::replace(&mut self.begun, true) {
            body.put_slice(&[0x78, 0x01]);
        }
        let stored = u16::try_from(block.len()).expect("the headers of a stream are short");
        body.put_u8(0);
        body.put_u16_le(stored);
        body.put_u16_le(!stored);
        body.put_slice(&block);
        body.put_slice(&SYNC_FLUSH);
        control(TYPE_SYN_STREAM, 0, &body)
    }
}

/// A frame with content.
#[must_use]
pub fn data(stream: u32, payload: &[u8], fin: bool) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEADER_BYTES + payload.len());
    frame.put_u32(stream & 0x7fff_ffff);
    frame.put_u32(u32::from(if fin { FLAG_FIN } else { 0 }) << 24 | length(payload.len()));
    frame.put_slice(payload);
    frame.freeze()
}

/// The answer to a ping.
#[must_use]
pub fn ping(id: u32) -> Bytes {
    control(TYPE_PING, 0, &id.to_be_bytes())
}

fn control(kind: u16, flags: u8, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEADER_BYTES + body.len());
    frame.put_u16(u16::from(CONTROL_BIT) << 8 | VERSION);
    frame.put_u16(kind);
    frame.put_u32(u32::from(flags) << 24 | length(body.len()));
    frame.put_slice(body);
    frame.freeze()
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("frames are shorter than 16 MiB")
}

/// Reads the next frame, or nothing at the end of the connection.
///
/// # Errors
/// If the connection fails, ends inside a frame, or a frame is too long.
pub async fn read_frame(reader: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Option<Frame>> {
    let mut header = [0; HEADER_BYTES];
    if reader.read(&mut header[..1]).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut header[1..]).await?;
    let first = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    let flags = header[4];
    let size = u32::from_be_bytes([0, header[5], header[6], header[7]]) as usize;
    if size > FRAME_BYTES_MAX {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "a SPDY frame is too long"));
    }
    let mut payload = vec![0; size];
    reader.read_exact(&mut payload).await?;
    if header[0] & CONTROL_BIT == 0 {
        return Ok(Some(Frame::Data { stream: first, payload: payload.into(), fin: flags & FLAG_FIN != 0 }));
    }
    let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |word| u32::from_be_bytes(*word));
    Ok(Some(match u16::from_be_bytes([header[2], header[3]]) {
        TYPE_SYN_REPLY => Frame::Reply { stream: word(&payload) & 0x7fff_ffff },
        TYPE_RST_STREAM => Frame::Reset { stream: word(&payload) & 0x7fff_ffff },
        TYPE_PING => Frame::Ping(word(&payload)),
        TYPE_GOAWAY => Frame::GoAway,
        _ => Frame::Other,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_read_as_they_were_written() {
        let bytes = [data(5, b"hello", false), ping(7), data(3, b"", true)].concat();
        let mut reader = &bytes[..];
        let mut frames = Vec::new();
        while let Some(frame) = read_frame(&mut reader).await.unwrap() {
            frames.push(frame);
        }
        let hello = Frame::Data { stream: 5, payload: Bytes::from_static(b"hello"), fin: false };
        let end = Frame::Data { stream: 3, payload: Bytes::new(), fin: true };
        assert_eq!(frames, [hello, Frame::Ping(7), end]);
    }

    #[tokio::test]
    async fn a_torn_or_huge_frame_is_an_error() {
        assert!(read_frame(&mut &data(5, b"hello", false)[..10]).await.is_err());
        assert!(read_frame(&mut &[0, 0, 0, 1, 0, 0xff, 0xff, 0xff][..]).await.is_err());
        assert_eq!(read_frame(&mut &b""[..]).await.unwrap(), None);
    }

    #[test]
    fn header_blocks_are_one_zlib_stream() {
        let mut opener = Opener::default();
        let first = opener.syn_stream(1, &[("streamtype", "error")]);
        let second = opener.syn_stream(3, &[("streamtype", "stdin")]);
        let compressed = [&first[HEADER_BYTES + 10..], &second[HEADER_BYTES + 10..]].concat();
        let mut plain = Vec::with_capacity(256);
        let mut inflate = flate2::Decompress::new(true);
        inflate.decompress_vec(&compressed, &mut plain, flate2::FlushDecompress::Sync).unwrap();
        let text = String::from_utf8_lossy(&plain);
        assert_eq!(text.matches("streamtype").count(), 2);
        assert!(text.contains("error") && text.contains("stdin"));
    }
}
