//! The CRI log format: `TIME STREAM TAG CONTENT`, where the tag `P` means that the line goes on in the next entry.

use jiff::Timestamp;

use super::{Options, Source};

/// Digits of a second's fraction in the times that clients get.
const FRACTION_DIGITS: usize = 9;

/// Turns entries of the file into what the client asked for.
pub(super) struct Writer {
    timestamps: bool,
    since: Option<Timestamp>,
    source: Source,
    left: u64,
    /// Whether the last entry of each output ended its line.
    line_begins: [bool; 2],
}

/// One entry of the file.
struct Entry<'a> {
    time: &'a str,
    stderr: bool,
    partial: bool,
    content: &'a [u8],
}

impl Writer {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            timestamps: options.timestamps,
            since: options.since,
            source: options.source,
            left: options.limit_bytes.unwrap_or(u64::MAX),
            line_begins: [true; 2],
        }
    }

    /// Writes one entry of the file, with its line end, to `out`. False if the client has all it wants.
    ///
    /// What is no entry is left out, as the reference does.
    pub(super) fn line(&mut self, line: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(entry) = parse(line) else { return true };
        if self.source != Source::All && (self.source == Source::Stderr) != entry.stderr {
            return true;
        }
        if let Some(since) = self.since
            && entry.time.parse::<Timestamp>().is_ok_and(|time| time < since)
        {
            return true;
        }
        let begins = &mut self.line_begins[usize::from(entry.stderr)];
        let stamp = self.timestamps && *begins;
        *begins = !entry.partial;
        let before = out.len();
        if stamp {
            push_time(entry.time, out);
            out.push(b' ');
        }
        out.extend_from_slice(entry.content);
        if !entry.partial {
            out.push(b'\n');
        }
        let written = (out.len() - before) as u64;
        if written >= self.left {
            out.truncate(before + usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left = 0;
            return false;
        }
        self.left -= written;
        true
    }
}

fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stderr = match parts.next()? {
        b"stdout" => false,
        b"stderr" => true,
        _ => return None,
    };
    let partial = parts.next()?.split(|byte| *byte == b':').next()? == b"P";
    Some(Entry { time, stderr, partial, content: parts.next().unwrap_or_default() })
}

/// Writes a time with all nine digits of its fraction, in its own zone.
fn push_time(time: &str, out: &mut Vec<u8>) {
    let zone = time.find('Z').or_else(|| time.rfind(['+', '-']).filter(|at| *at > 10)).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone);
    let (seconds, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    out.extend_from_slice(seconds.as_bytes());
    out.push(b'.');
    out.extend_from_slice(fraction.as_bytes());
    out.extend(std::iter::repeat_n(b'0', FRACTION_DIGITS.saturating_sub(fraction.len())));
    out.extend_from_slice(zone.as_bytes());
}
