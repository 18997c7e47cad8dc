//! Labels and selectable fields from an object's bytes, without building its tree.

use super::Lookup;

/// What selectors look at: the labels, and the values of the fields asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// `metadata.labels`, in order of name.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// The values, in the order of the paths asked for; empty where the object has none.
    pub fields: Box<[Box<str>]>,
}

impl Lookup for Attributes {
    fn lookup(&self, key: &str) -> Option<&str> {
        self.labels.lookup(key)
    }
}

/// Reads the labels and the values at `paths` (dotted; numbers are list indexes) from JSON bytes.
///
/// Strings are given without quotes, other scalars as their JSON text, maps and lists as nothing.
/// Bytes that are no JSON give what was found before the fault.
pub fn extract(bytes: &[u8], paths: &[&str]) -> Attributes {
    let mut out = Found { labels: Vec::new(), fields: vec![Box::default(); paths.len()] };
    let wanted: Vec<Wanted<'_>> = paths.iter().enumerate().map(|(index, path)| Wanted { rest: path, index }).collect();
    let mut scanner = Scanner { bytes, at: 0 };
    let _ = scanner.object(&wanted, Place::Root, &mut out);
    // They are looked up by name, and may be many. What is stored has them in order.
    out.labels.sort();
    Attributes { labels: out.labels.into(), fields: out.fields.into() }
}

struct Found {
    labels: Vec<(Box<str>, Box<str>)>,
    fields: Vec<Box<str>>,
}

#[derive(Clone, Copy)]
struct Wanted<'a> {
    rest: &'a str,
    index: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Metadata,
    Labels,
    Elsewhere,
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The bytes stop being JSON.
struct Fault;

impl<'a> Scanner<'a> {
    fn peek(&mut self) -> Result<u8, Fault> {
        while let Some(byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Ok(*byte);
            }
            self.at += 1;
        }
        Err(Fault)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.peek()? != byte {
            return Err(Fault);
        }
        self.at += 1;
        Ok(())
    }

    /// A string with its quotes.
    fn raw_string(&mut self) -> Result<&'a [u8], Fault> {
        self.expect(b'"')?;
        let start = self.at - 1;
        loop {
            let rest = self.bytes.get(self.at..).ok_or(Fault)?;
            let found = memchr::memchr2(b'"', b'\\', rest).ok_or(Fault)?;
            self.at += found + 1;
            if rest[found] == b'"' {
                return Ok(&self.bytes[start..self.at]);
            }
            self.at += 1;
        }
    }

    fn skip(&mut self) -> Result<(), Fault> {
        match self.peek()? {
            b'"' => self.raw_string().map(|_| ()),
            b'{' | b'[' => self.skip_nested(),
            _ => {
                self.scalar();
                Ok(())
            }
        }
    }

    fn skip_nested(&mut self) -> Result<(), Fault> {
        let mut depth = 0usize;
        loop {
            match *self.bytes.get(self.at).ok_or(Fault)? {
                b'"' => {
                    self.raw_string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn scalar(&mut self) -> &'a [u8] {
        let start = self.at;
        while let Some(byte) = self.bytes.get(self.at) {
            if matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t') {
                break;
            }
            self.at += 1;
        }
        &self.bytes[start..self.at]
    }

    /// After an item: whether another follows.
    fn more(&mut self, close: u8) -> Result<bool, Fault> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b',' => Ok(true),
            _ if byte == close => Ok(false),
            _ => Err(Fault),
        }
    }

    fn object(&mut self, wanted: &[Wanted<'_>], place: Place, out: &mut Found) -> Result<(), Fault> {
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            let key = self.raw_string()?;
            let name = &key[1..key.len() - 1];
            self.expect(b':')?;
            if place == Place::Labels {
                if self.peek()? == b'"' {
                    out.labels.push((unquote(key), unquote(self.raw_string()?)));
                } else {
                    self.skip()?;
                }
            } else {
                let below = match (place, name) {
                    (Place::Root, b"metadata") => Place::Metadata,
                    (Place::Metadata, b"labels") => Place::Labels,
                    _ => Place::Elsewhere,
                };
                self.value(&step(wanted, name), below, out)?;
            }
            if !self.more(b'}')? {
                return Ok(());
            }
        }
    }

    fn array(&mut self, wanted: &[Wanted<'_>], out: &mut Found) -> Result<(), Fault> {
        self.expect(b'[')?;
        if self.peek()? == b']' {
            self.at += 1;
            return Ok(());
        }
        let mut index = 0usize;
        loop {
            let name = index.to_string();
            self.value(&step(wanted, name.as_bytes()), Place::Elsewhere, out)?;
            index += 1;
            if !self.more(b']')? {
                return Ok(());
            }
        }
    }

    fn value(&mut self, wanted: &[Wanted<'_>], place: Place, out: &mut Found) -> Result<(), Fault> {
        let inside = matches!(place, Place::Metadata | Place::Labels);
        if wanted.is_empty() && !inside {
            return self.skip();
        }
        match self.peek()? {
            b'{' => self.object(wanted, place, out),
            b'[' => self.array(wanted, out),
            b'"' => {
                let raw = self.raw_string()?;
                for w in wanted.iter().filter(|w| w.rest.is_empty()) {
                    out.fields[w.index] = unquote(raw);
                }
                Ok(())
            }
            _ => {
                let raw = self.scalar();
                let text = if raw == b"null" { "" } else { std::str::from_utf8(raw).map_err(|_| Fault)? };
                for w in wanted.iter().filter(|w| w.rest.is_empty()) {
                    out.fields[w.index] = text.into();
                }
                Ok(())
            }
        }
    }
}

/// The paths that go on below the field `name`.
fn step<'a>(wanted: &[Wanted<'a>], name: &[u8]) -> Vec<Wanted<'a>> {
    let mut below = Vec::new();
    for w in wanted {
        let (first, rest) = w.rest.split_once('.').unwrap_or((w.rest, ""));
        if !first.is_empty() && first.as_bytes() == name {
            below.push(Wanted { rest, index: w.index });
        }
    }
    below
}

fn unquote(raw: &[u8]) -> Box<str> {
    if memchr::memchr(b'\\', raw).is_none() {
        return std::str::from_utf8(&raw[1..raw.len() - 1]).unwrap_or("").into();
    }
    serde_json::from_slice::<String>(raw).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, paths: &[&str], labels: &[(&str, &str)], fields: &[&str]) {
        let found = extract(json.as_bytes(), paths);
        let actual: Vec<(&str, &str)> = found.labels.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(actual, labels, "{json}");
        assert_eq!(found.fields.iter().map(|f| &**f).collect::<Vec<_>>(), fields, "{json}");
    }

    #[test]
    fn reads_labels_and_fields_from_bytes() {
        let pod = r#"{"apiVersion":"v1","metadata":{"labels":{"a":"b","q\"":"\u0041"},"name":"p"},
            "spec":{"containers":[{"name":"x","metadata":{"labels":{"no":"no"}}}],"nodeName":"n","hostNetwork":true},
            "status":{"podIPs":[{"ip":"1.2.3.4"},{"ip":"::1"}],"n":5,"z":null}}"#;
        let paths = [
            "metadata.name",
            "spec.nodeName",
            "spec.hostNetwork",
            "status.podIPs.0.ip",
            "status.n",
            "status.z",
            "spec",
            "x.y",
        ];
        let fields = ["p", "n", "true", "1.2.3.4", "5", "", "", ""];
        check(pod, &paths, &[("a", "b"), ("q\"", "A")], &fields);
        check("{}", &["metadata.name"], &[], &[""]);
        check(r#"{"metadata":{"labels":{"a":"b"},"name"#, &["metadata.name"], &[("a", "b")], &[""]);
        check("", &[], &[], &[]);
        check(r#"{"metadata":{"labels":null,"name":"x"}}"#, &["metadata.name"], &[], &["x"]);
    }
}
