//! Links of what is proxied: an absolute path in an HTML page, or in `Location`, is one below the proxy to its reader.

use std::borrow::Cow;
use std::io::{Read, Write};

use axum::body::{Body, Bytes};
use flate2::Compression;
use flate2::read::{DeflateDecoder, GzDecoder};
use flate2::write::{DeflateEncoder, GzEncoder};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LOCATION};
use http::{HeaderValue, Response};
use http_body_util::BodyExt;

use crate::workers::{EXPENSIVE_BYTES, UsersWorkers};

/// The largest page whose links are changed; a larger one is passed on as it is.
const PAGE_BYTES_MAX: usize = 16 << 20;
/// Elements whose content is text and no markup.
const TEXT_ELEMENTS: [&str; 10] =
    ["script", "style", "textarea", "title", "iframe", "noembed", "noframes", "noscript", "plaintext", "xmp"];
/// The attributes that hold a URL, by element.
const ATTRIBUTES: [(&str, &[&str]); 25] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Between which two places links are translated.
#[derive(Debug, Clone)]
pub(super) struct Links {
    /// The path of the proxy, without a slash at its end.
    pub prefix: String,
    /// The names by which a page means its own host: the address it came from and the one its reader asked for.
    pub hosts: Vec<String>,
}

impl Links {
    /// Changes the links of an answer: in `Location`, or in its body if that is a page, on one of these threads if that takes more
    /// than a moment.
    pub(super) async fn translate(&self, mut response: Response<Body>, threads: &UsersWorkers) -> Response<Body> {
        if let Some(location) = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()) {
            if let Some(value) = self.url(location).and_then(|url| HeaderValue::from_str(&url).ok()) {
                response.headers_mut().insert(LOCATION, value);
            }
            return response;
        }
        let Some(coding) = Coding::of(response.headers()).filter(|_| is_page(response.headers())) else {
            return response;
        };
        let (mut parts, mut body) = response.into_parts();
        let mut page = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = match frame {
                Ok(frame) => frame.into_data().unwrap_or_default(),
                // What came until it broke off is passed on, and then that it broke off.
                Err(error) => return Response::from_parts(parts, continued(page, Body::from_stream(once(error)))),
            };
            page.extend_from_slice(&data);
            if page.len() > PAGE_BYTES_MAX {
                return Response::from_parts(parts, continued(page, body));
            }
        }
        let page = Bytes::from(page);
        let changed = if page.len() <= EXPENSIVE_BYTES && matches!(coding, Coding::Plain) {
            self.changed(&page, coding)
        } else {
            let (links, page) = (self.clone(), page.clone());
            // Where there is no thread for it the page is passed on as it is.
            threads.run(async move { Ok(links.changed(&page, coding)) }).await.unwrap_or_default()
        };
        if changed.is_some() {
            parts.headers.remove(CONTENT_LENGTH);
        }
        Response::from_parts(parts, Body::from(changed.map_or(page, Bytes::from)))
    }

    /// A page as it came, with its links changed; none if it cannot be read, or becomes too large.
    fn changed(&self, page: &[u8], coding: Coding) -> Option<Vec<u8>> {
        coding.encode(self.page(&coding.decode(page)?)?)
    }

    /// A URL as the reader of the page must ask for it, if that is another (`Transport.rewriteURL` in
    /// apimachinery/pkg/util/proxy).
    fn url(&self, url: &str) -> Option<String> {
        let path = match url.split_once("//") {
            Some((scheme, rest)) if scheme.is_empty() || scheme.ends_with(':') && !scheme.contains(['/', '?', '#']) => {
                let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                let (host, path) = rest.split_at(end);
                if !self.hosts.iter().any(|own| own == host) {
                    return None;
                }
                path
            }
            _ => url,
        };
        if !path.starts_with('/') {
            return None;
        }
        let below = path.strip_prefix(&self.prefix).is_some();
        let new = if below { path.to_owned() } else { format!("{}{path}", self.prefix) };
        (new != url).then_some(new)
    }

    /// A page with its links changed; everything else stays byte for byte. None if it becomes too large: of the shortest links many
    /// fit on a page, and each grows by the whole prefix.
    fn page(&self, page: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(page.len() + page.len() / 8);
        let mut rest = page;
        while let Some(start) = memchr::memchr(b'<', rest) {
            if out.len() > PAGE_BYTES_MAX {
                return None;
            }
            out.extend_from_slice(&rest[..start]);
            rest = &rest[start..];
            let end = match Markup::of(rest) {
                Markup::Start(tag) => {
                    self.tag(&rest[..tag.end], &tag, &mut out);
                    rest = &rest[tag.end..];
                    if tag.closed || !TEXT_ELEMENTS.contains(&tag.name.as_str()) {
                        0
                    } else {
                        text_end(rest, &tag.name)
                    }
                }
                Markup::Other(end) => end,
            };
            out.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
        }
        out.extend_from_slice(rest);
        (out.len() <= PAGE_BYTES_MAX).then_some(out)
    }

    fn tag(&self, text: &[u8], tag: &Tag, out: &mut Vec<u8>) {
        let wanted = ATTRIBUTES.iter().find(|(name, _)| *name == tag.name).map_or(&[][..], |(_, names)| names);
        let mut from = 0;
        for attribute in &tag.attributes {
            let name = String::from_utf8_lossy(&text[attribute.name.clone()]).to_ascii_lowercase();
            if !wanted.contains(&name.as_str()) {
                continue;
            }
            let Ok(value) = std::str::from_utf8(&text[attribute.value.clone()]) else { continue };
            // The start of a URL is all that changes, and a path or a host has nothing there that HTML must escape.
            let Some(url) = self.url(value.trim()) else { continue };
            out.extend_from_slice(&text[from..attribute.value.start]);
            out.extend_from_slice(url.as_bytes());
            from = attribute.value.end;
            if out.len() > PAGE_BYTES_MAX {
                return;
            }
        }
        out.extend_from_slice(&text[from..]);
    }
}

fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim() == "text/html"
}

async fn failing(error: axum::Error) -> Result<Bytes, axum::Error> {
    Err(error)
}

fn once(error: axum::Error) -> impl futures::Stream<Item = Result<Bytes, axum::Error>> {
    futures::stream::once(failing(error))
}

/// A body of what was read already and what is still to come.
fn continued(page: Vec<u8>, rest: Body) -> Body {
    use futures::StreamExt;
    let first = futures::stream::once(async move { Ok::<_, axum::Error>(Bytes::from(page)) });
    Body::from_stream(first.chain(rest.into_data_stream()))
}

/// How a page is compressed.
#[derive(Debug, Clone, Copy)]
enum Coding {
    Plain,
    Gzip,
    Deflate,
}

impl Coding {
    fn of(headers: &HeaderMap) -> Option<Self> {
        match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"") => Some(Self::Plain),
            Some(b"gzip") => Some(Self::Gzip),
            Some(b"deflate") => Some(Self::Deflate),
            Some(_) => None,
        }
    }

    fn decode(self, page: &[u8]) -> Option<Cow<'_, [u8]>> {
        let reader: Box<dyn Read + '_> = match self {
            Self::Plain => return Some(Cow::Borrowed(page)),
            Self::Gzip => Box::new(GzDecoder::new(page)),
            Self::Deflate => Box::new(DeflateDecoder::new(page)),
        };
        let mut plain = Vec::new();
        reader.take(PAGE_BYTES_MAX as u64 + 1).read_to_end(&mut plain).ok()?;
        (plain.len() <= PAGE_BYTES_MAX).then_some(Cow::Owned(plain))
    }

    fn encode(self, page: Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Self::Plain => Some(page),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(&page).and_then(|()| encoder.finish()).ok()
            }
            Self::Deflate => {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(&page).and_then(|()| encoder.finish()).ok()
            }
        }
    }
}

struct Attribute {
    name: std::ops::Range<usize>,
    value: std::ops::Range<usize>,
}

struct Tag {
    name: String,
    attributes: Vec<Attribute>,
    closed: bool,
    end: usize,
}

/// What begins at a `<`.
enum Markup {
    Start(Tag),
    /// Anything else, up to here.
    Other(usize),
}

impl Markup {
    fn of(text: &[u8]) -> Self {
        let until = |needle: &[u8]| memchr::memmem::find(text, needle).map_or(text.len(), |at| at + needle.len());
        match text.get(1) {
            _ if text.starts_with(b"<!--") => Self::Other(until(b"-->")),
            Some(b'!' | b'?' | b'/') => Self::Other(until(b">")),
            Some(letter) if letter.is_ascii_alphabetic() => {
                start_tag(text).map_or(Self::Other(text.len()), Self::Start)
            }
            _ => Self::Other(1),
        }
    }
}

/// A start tag, unless the text ends within it.
fn start_tag(text: &[u8]) -> Option<Tag> {
    let is_space = |byte: u8| byte.is_ascii_whitespace();
    let find = |from: usize, stop: &dyn Fn(u8) -> bool| text[from..].iter().position(|b| stop(*b)).map(|at| from + at);
    let mut at = find(1, &|b| is_space(b) || matches!(b, b'/' | b'>'))?;
    let name = String::from_utf8_lossy(&text[1..at]).to_ascii_lowercase();
    let (mut attributes, mut closed) = (Vec::new(), false);
    loop {
        at = find(at, &|b| !is_space(b))?;
        match text[at] {
            b'>' => return Some(Tag { name, attributes, closed, end: at + 1 }),
            b'/' => {
                closed = text.get(at + 1) == Some(&b'>');
                at += 1;
                continue;
            }
            _ => {}
        }
        let start = at;
        at = find(at + 1, &|b| is_space(b) || matches!(b, b'/' | b'>' | b'='))?;
        let name = start..at;
        let equals = find(at, &|b| !is_space(b))?;
        if text[equals] != b'=' {
            continue;
        }
        at = find(equals + 1, &|b| !is_space(b))?;
        let value = match text[at] {
            b'>' => continue,
            quote @ (b'"' | b'\'') => at + 1..find(at + 1, &|b| b == quote)?,
            _ => at..find(at, &|b| is_space(b) || b == b'>')?,
        };
        at = value.end + usize::from(matches!(text[value.end], b'"' | b'\''));
        attributes.push(Attribute { name, value });
    }
}

/// Where the text of an element ends whose content is no markup.
fn text_end(text: &[u8], name: &str) -> usize {
    let closes = |at: &usize| {
        let rest = &text[at + 2..];
        rest.len() >= name.len() && rest[..name.len()].eq_ignore_ascii_case(name.as_bytes())
    };
    memchr::memmem::find_iter(text, b"</").find(closes).unwrap_or(text.len())
}

#[cfg(test)]
mod tests;
