//! The bytes of a list: a concatenation of stored bytes, in chunks.

use std::io::Write;

use api::catalogue::Resource;
use api::json;
use api::object::{begin_metadata, metadata_offset};
use axum::body::Body;
use bytes::{BufMut, Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, VARY};
use http::{HeaderValue, Response};
use serde_json::{Map, Value};
use store::{Entry, Revision};

use crate::answer::{self, GZIP_THRESHOLD_BYTES};
use crate::list::Page;
use crate::pieces::LARGE_BYTES;

/// How much of a list is put together at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// A chunk ends when less than this is left of it: longer objects are not copied into it.
const CHUNK_SLACK_BYTES: usize = LARGE_BYTES;
/// How much longer an item may be than what is stored.
const ITEM_BYTES_MORE: usize = 64;
/// How many chunks may be on their way out until the memory of the first is used again. Fresh memory for each would
/// have to be cleared by the system first; a client that does not read holds all of them.
const CHUNKS_MAX: usize = 3;

/// The list as plain JSON, from the stored bytes.
pub fn respond(resource: &Resource, page: Page, gzip: bool) -> Response<Body> {
    let size = size(&page);
    let is_small = size < CHUNK_BYTES - 2 * CHUNK_SLACK_BYTES;
    let gzip = gzip && size >= GZIP_THRESHOLD_BYTES;
    let mut chunks = Chunks::new(resource, page);
    if is_small {
        chunks.copied_bytes_max = CHUNK_BYTES;
        let whole = chunks.next().unwrap_or_default();
        return answer::bytes(200, "application/json", whole);
    }
    let body = if gzip { stream(Gzip::new(chunks)) } else { stream(chunks) };
    let mut response = answer::bytes(200, "application/json", Bytes::new());
    *response.body_mut() = body;
    if gzip {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    response
}

/// About how long a list is; of a long one no more than that it is.
fn size(page: &Page) -> usize {
    let mut size = 0;
    for entry in &page.entries {
        size += entry.value().len() + ITEM_BYTES_MORE;
        if size >= GZIP_THRESHOLD_BYTES {
            break;
        }
    }
    size
}

fn stream(chunks: impl Iterator<Item = Bytes> + Send + 'static) -> Body {
    Body::from_stream(futures::stream::iter(chunks.map(Ok::<_, std::convert::Infallible>)))
}

/// The metadata of a list.
pub fn metadata(page: &Page) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".into(), page.revision.to_string().into());
    if !page.continue_token.is_empty() {
        metadata.insert("continue".into(), page.continue_token.as_str().into());
    }
    if let Some(remaining) = page.remaining {
        metadata.insert("remainingItemCount".into(), remaining.into());
    }
    metadata
}

/// The metadata of a list of plain objects. Lists of custom objects always say where they go on.
pub fn plain_metadata(resource: &Resource, page: &Page) -> Map<String, Value> {
    let mut metadata = metadata(page);
    if resource.custom {
        metadata.entry("continue").or_insert_with(|| "".into());
    }
    metadata
}

/// Puts a list together chunk by chunk.
struct Chunks {
    head: Option<Vec<u8>>,
    /// What comes after the items.
    tail: Vec<u8>,
    entries: std::vec::IntoIter<Entry>,
    first: bool,
    ended: bool,
    /// Values longer than this are shared, not copied.
    copied_bytes_max: usize,
    /// The rest of a value that is shared.
    shared: Option<Bytes>,
    /// The memory of the chunks, by turns.
    buffers: [BytesMut; CHUNKS_MAX],
    turn: usize,
    /// Items of built-in lists leave `apiVersion` and `kind` out, those of custom resources have them.
    typed: bool,
}

impl Chunks {
    fn new(resource: &Resource, page: Page) -> Self {
        let (head, tail) = frame(resource, &page);
        Self {
            head: Some(head),
            tail,
            entries: page.entries.into_iter(),
            first: true,
            ended: false,
            copied_bytes_max: LARGE_BYTES,
            shared: None,
            buffers: Default::default(),
            turn: 0,
            typed: resource.custom,
        }
    }
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(shared) = self.shared.take() {
            return Some(shared);
        }
        if self.ended {
            return None;
        }
        self.turn = (self.turn + 1) % CHUNKS_MAX;
        let out = &mut self.buffers[self.turn];
        // Does nothing if what was made of it before is gone.
        out.reserve(CHUNK_BYTES.min(self.entries.len() * 4096 + 4096));
        if let Some(head) = self.head.take() {
            out.extend_from_slice(&head);
        }
        for entry in self.entries.by_ref() {
            if !self.first {
                out.put_u8(b',');
            }
            self.first = false;
            let value = entry.value();
            let at = item(out, &value, entry.mod_revision(), self.typed);
            if value.len() > self.copied_bytes_max {
                self.shared = Some(value.slice(at..));
                return Some(out.split().freeze());
            }
            out.extend_from_slice(&value[at..]);
            if out.len() >= CHUNK_BYTES - CHUNK_SLACK_BYTES {
                return Some(out.split().freeze());
            }
        }
        self.ended = true;
        out.extend_from_slice(&self.tail);
        Some(out.split().freeze())
    }
}

/// What comes before and after the items: a built-in list is in the order of Go's structs, a custom one in order of name.
fn frame(resource: &Resource, page: &Page) -> (Vec<u8>, Vec<u8>) {
    let (kind, api_version) = (&resource.list_kind, resource.api_version());
    let list = |items: &Value| {
        let mut list = Map::new();
        list.insert("kind".into(), kind.as_str().into());
        list.insert("apiVersion".into(), api_version.as_str().into());
        list.insert("metadata".into(), Value::Object(plain_metadata(resource, page)));
        list.insert("items".into(), items.clone());
        json::object(&list, false)
    };
    const EMPTY: &[u8] = b"\"items\":[";
    let mut head = list(&Value::Array(Vec::new()));
    let at = memchr::memmem::find(&head, EMPTY).map_or(head.len(), |at| at + EMPTY.len());
    let mut tail = head.split_off(at);
    tail.push(b'\n');
    (head, tail)
}

/// Begins an item; the rest of what is stored, from the place returned on, follows.
fn item(out: &mut BytesMut, value: &[u8], revision: Revision, typed: bool) -> usize {
    let start = metadata_offset(value);
    let head = if typed { &value[..start] } else { b"{\"metadata\":{" };
    out.extend_from_slice(head);
    begin_metadata(value, start, revision, out)
}

/// Compresses chunks as they are made.
struct Gzip {
    chunks: Chunks,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Gzip {
    fn new(chunks: Chunks) -> Self {
        Self { chunks, encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())) }
    }
}

impl Iterator for Gzip {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        loop {
            let encoder = self.encoder.as_mut()?;
            match self.chunks.next() {
                Some(chunk) => {
                    encoder.write_all(&chunk).expect("a Vec takes every write");
                    if !encoder.get_ref().is_empty() {
                        return Some(std::mem::take(encoder.get_mut()).into());
                    }
                }
                None => {
                    let encoder = self.encoder.take().expect("it was just there");
                    return Some(encoder.finish().expect("a Vec takes every write").into());
                }
            }
        }
    }
}
