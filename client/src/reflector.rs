//! One resource, listed and watched. Objects come as the bytes that the API server sent, so that what nobody reads of
//! them is never decoded.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http_body_util::BodyExt;
use kube::Client;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{Clock, Selection};

/// First pause after a failed watch.
const BACKOFF_MS_MIN: u64 = 100;
/// Longest pause after failed watches.
const BACKOFF_MS_MAX: u64 = 30_000;
/// After so many seconds the server ends a watch, and another one goes on from there.
const WATCH_SECONDS: u32 = 290;
/// How long an event may be: more than any object can.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How much is read in one turn: some milliseconds of work.
const TURN_BYTES: usize = 64 * 1024;
/// Marks the bookmark after the last object of the list (`metav1.InitialEventsAnnotationKey`).
const LIST_ENDS: &str = "k8s.io/initial-events-end";

/// What a reflector tells.
pub(crate) enum Told<'a> {
    /// A list begins: what it does not tell of is gone.
    Begin,
    /// An object of the list.
    Listed(Raw<'a>),
    /// The list has ended.
    End,
    /// An object is new, or has changed.
    Applied(Raw<'a>),
    /// An object is gone; this is its last state.
    Deleted(Raw<'a>),
}

/// An object as it was sent, with what its key is made of.
pub(crate) struct Raw<'a> {
    json: &'a str,
    pub(crate) head: Head<'a>,
}

/// What is read of every object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Head<'a> {
    #[serde(borrow, default)]
    pub(crate) namespace: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) uid: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) resource_version: Cow<'a, str>,
    #[serde(borrow, default)]
    managed_fields: Option<&'a RawValue>,
    #[serde(borrow, default)]
    annotations: Option<&'a RawValue>,
}

/// Reads of an object no more than its metadata, which stands before what is long.
struct Headed<'h, 'a>(&'h mut Option<Head<'a>>);

impl<'de> Visitor<'de> for Headed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<Cow<'de, str>>()? {
            if name == "metadata" {
                *self.0 = Some(fields.next_value()?);
                return Err(A::Error::custom("the rest is not read"));
            }
            fields.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

impl<'a> Line<'a> {
    /// Takes apart what the API server writes, and what others may write; the first without going through the object.
    fn of(line: &'a str) -> serde_json::Result<(Cow<'a, str>, &'a str)> {
        let plain = line.strip_prefix("{\"type\":\"").and_then(|rest| rest.split_once("\",\"object\":"));
        if let Some((kind, object)) = plain
            && let Some(object) = object.strip_suffix("}\n")
            && kind.bytes().all(|byte| byte.is_ascii_uppercase())
        {
            return Ok((kind.into(), object));
        }
        let line: Line<'_> = serde_json::from_str(line)?;
        Ok((line.kind, line.object.get()))
    }
}

impl<'a> Raw<'a> {
    fn of(json: &'a str) -> serde_json::Result<Self> {
        let mut head = None;
        let read = serde_json::Deserializer::from_str(json).deserialize_map(Headed(&mut head));
        match (head, read) {
            (Some(head), _) => Ok(Self { json, head }),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Err(serde_json::Error::missing_field("metadata")),
        }
    }

    /// The object, but for its managed fields: they are a large part of it, and no component reads them.
    pub(crate) fn decode<K: serde::de::DeserializeOwned>(&self) -> serde_json::Result<K> {
        let Some(Range { start, end }) = self.head.managed_fields.map(|fields| within(self.json, fields.get())) else {
            return serde_json::from_str(self.json);
        };
        let mut json = String::with_capacity(self.json.len() + 4 - (end - start));
        json.push_str(&self.json[..start]);
        json.push_str("null");
        json.push_str(&self.json[end..]);
        serde_json::from_str(&json)
    }
}

/// Where a part that was borrowed from a text is in it.
fn within(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

/// Why a watch ended before its time.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("no request: {0}")]
    Request(#[from] http::Error),
    #[error("not an event: {0}")]
    Json(#[from] serde_json::Error),
    #[error("not UTF-8: {0}")]
    Text(#[from] std::str::Utf8Error),
    #[error("an event is longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    #[error("the server says {code}: {message}")]
    Status { code: u16, message: String },
}

/// Lists and watches one resource.
pub(crate) struct Reflector {
    client: Client,
    url: String,
    selection: Selection,
    clock: Clock,
    /// The version that the next watch goes on from; none if it has to begin with a list.
    version: Option<String>,
    /// Whether the watch under way is still telling its list.
    lists: bool,
    /// Whether the watch under way has sent anything but an error; a bookmark is enough.
    heard: bool,
}

impl Reflector {
    /// A reflector of the resource at `url`.
    pub(crate) fn new(client: Client, url: String, selection: Selection, clock: Clock) -> Self {
        Self { client, url, selection, clock, version: None, lists: false, heard: false }
    }

    /// Lists and watches for ever.
    pub(crate) async fn run(mut self, mut tell: impl FnMut(Told<'_>)) {
        let mut backoff_ms = BACKOFF_MS_MIN;
        loop {
            self.heard = false;
            let ended = self.watch(&mut tell).await;
            if self.heard {
                backoff_ms = BACKOFF_MS_MIN;
            }
            match ended {
                Ok(()) if self.heard && !self.lists => continue,
                Ok(()) => {}
                Err(error) => {
                    if matches!(error, WatchError::Status { code: 410, .. }) {
                        self.version = None;
                    }
                    tracing::debug!(resource = self.url, %error, "watch failed, trying again");
                }
            }
            self.clock.sleep(self.clock.jitter(Duration::from_millis(backoff_ms), 0.5)).await;
            backoff_ms = (backoff_ms * 2).min(BACKOFF_MS_MAX);
        }
    }

    /// One watch, until the server ends it.
    async fn watch(&mut self, tell: &mut impl FnMut(Told<'_>)) -> Result<(), WatchError> {
        let response = self.client.send(self.request()?).await?;
        let status = response.status();
        let mut body = response.into_body().into_data_stream();
        if !status.is_success() {
            let mut message = BytesMut::new();
            while let Some(Ok(chunk)) = body.next().await
                && message.len() < LINE_BYTES_MAX
            {
                message.extend_from_slice(&chunk);
            }
            let message = String::from_utf8_lossy(&message).into_owned();
            return Err(WatchError::Status { code: status.as_u16(), message });
        }
        self.lists = self.version.is_none();
        if self.lists {
            tell(Told::Begin);
        }
        let (mut lines, mut read) = (Lines::default(), 0);
        while let Some(chunk) = body.next().await {
            lines.push(chunk?)?;
            while let Some(line) = lines.next() {
                self.read(std::str::from_utf8(&line)?, tell)?;
                read += line.len();
                drop(line);
                // A long list is there at once, and others have to get their turn.
                if read >= TURN_BYTES {
                    read = 0;
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(())
    }

    fn request(&self) -> Result<http::Request<kube::client::Body>, http::Error> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("watch", "1").append_pair("allowWatchBookmarks", "true");
        query.append_pair("timeoutSeconds", &WATCH_SECONDS.to_string());
        match &self.version {
            Some(version) => query.append_pair("resourceVersion", version),
            None => query.append_pair("sendInitialEvents", "true").append_pair("resourceVersionMatch", "NotOlderThan"),
        };
        for (name, selector) in [("fieldSelector", &self.selection.fields), ("labelSelector", &self.selection.labels)] {
            if let Some(selector) = selector {
                query.append_pair(name, selector);
            }
        }
        http::Request::get(format!("{}?{}", self.url, query.finish())).body(kube::client::Body::empty())
    }

    fn read(&mut self, line: &str, tell: &mut impl FnMut(Told<'_>)) -> Result<(), WatchError> {
        let (kind, object) = Line::of(line)?;
        if kind == "ERROR" {
            let status: kube::core::Status = serde_json::from_str(object)?;
            return Err(WatchError::Status { code: status.code, message: status.message });
        }
        let raw = Raw::of(object)?;
        self.heard = true;
        let version = raw.head.resource_version.to_string();
        match &*kind {
            "BOOKMARK" => {
                let ends = raw.head.annotations.is_some_and(|annotations| annotations.get().contains(LIST_ENDS));
                if self.lists && ends {
                    self.lists = false;
                    tell(Told::End);
                }
            }
            "DELETED" => tell(Told::Deleted(raw)),
            _ if self.lists => tell(Told::Listed(raw)),
            _ => tell(Told::Applied(raw)),
        }
        if !self.lists {
            self.version = Some(version);
        }
        Ok(())
    }
}

/// Cuts a stream into lines. A line that came in one piece is not copied.
#[derive(Default)]
struct Lines {
    rest: BytesMut,
    chunk: Bytes,
}

impl Lines {
    fn push(&mut self, chunk: Bytes) -> Result<(), WatchError> {
        self.chunk = chunk;
        if self.rest.len() + self.chunk.len() > LINE_BYTES_MAX && !self.chunk.contains(&b'\n') {
            return Err(WatchError::TooLong);
        }
        Ok(())
    }

    fn next(&mut self) -> Option<Bytes> {
        let Some(end) = memchr::memchr(b'\n', &self.chunk) else {
            self.rest.extend_from_slice(&std::mem::take(&mut self.chunk));
            return None;
        };
        let line = self.chunk.split_to(end + 1);
        if self.rest.is_empty() {
            return Some(line);
        }
        self.rest.extend_from_slice(&line);
        Some(self.rest.split().freeze())
    }
}

#[cfg(test)]
mod tests;
