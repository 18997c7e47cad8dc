//! What is answered to a head that is no request. Hyper refuses it before anybody here is asked, mostly with 400 and
//! always without a word; its answer is replaced on its way out by that of Go's server (`conn.serve` in `net/http`).
//!
//! Deliberately narrower than Go's server, with the code of it: folded headers (400), more than 256 headers (431), and
//! addresses of more than 64 KiB (414).

use http::StatusCode;

/// How much of a head is kept to be looked at when it is refused.
pub(super) const KEPT_BYTES_MAX: usize = 2 << 10;
/// What hyper's refusals have and no answer of ours has: no body and no type.
const WORDLESS: &[u8] = b"content-length: 0\r\n";

/// The answer in place of `written`, if that is hyper's refusal of the head that begins with `head`.
pub(super) fn instead_of(written: &[u8], head: &[u8]) -> Option<Vec<u8>> {
    let code = written.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    let code = StatusCode::from_bytes(code).ok().filter(StatusCode::is_client_error)?;
    if !written.ends_with(b"\r\n\r\n") || memchr::memmem::find(written, WORDLESS).is_none() {
        return None;
    }
    let code = if code == StatusCode::BAD_REQUEST { why(head) } else { code };
    let reason = code.canonical_reason().unwrap_or_default();
    let (line, text) = match code {
        StatusCode::NOT_IMPLEMENTED => (reason.to_string(), "Unsupported transfer encoding".to_string()),
        StatusCode::HTTP_VERSION_NOT_SUPPORTED => {
            let line = format!("{reason}: unsupported protocol version");
            (line.clone(), format!("{} {line}", code.as_str()))
        }
        _ => (reason.to_string(), format!("{} {reason}", code.as_str())),
    };
    let answer = format!(
        "HTTP/1.1 {} {line}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{text}",
        code.as_str()
    );
    Some(answer.into_bytes())
}

/// The code for a head that hyper finds malformed: transfer codings come before the version (`readRequest`).
fn why(head: &[u8]) -> StatusCode {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let line = lines.next().unwrap_or_default();
    let version = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let version = match version.strip_prefix(b"HTTP/") {
        Some(&[major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit() => (major, minor),
        _ => return StatusCode::BAD_REQUEST,
    };
    let mut codings = lines.take_while(|line| !line.is_empty()).filter_map(coding);
    let is_strange = codings.next().is_some_and(|coding| !coding.eq_ignore_ascii_case(b"chunked"));
    match version {
        // Go's server does not look at codings then, and takes the request; here it is refused.
        (b'1', b'0') => StatusCode::BAD_REQUEST,
        _ if is_strange || codings.next().is_some() => StatusCode::NOT_IMPLEMENTED,
        (b'1', b'1') => StatusCode::BAD_REQUEST,
        _ => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
    }
}

/// The value of a header that names a transfer coding.
fn coding(line: &[u8]) -> Option<&[u8]> {
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = line.split_at(colon);
    name.eq_ignore_ascii_case(b"transfer-encoding").then(|| value[1..].trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: now\r\n\r\n";

    #[track_caller]
    fn answered(head: &str, code: &str, text: &str) {
        let answer = String::from_utf8(instead_of(REFUSAL, head.as_bytes()).unwrap()).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {code}")), "{head}");
        assert_eq!(body, text);
    }

    #[test]
    fn a_head_that_is_no_request_is_answered_as_by_gos_server() {
        let unsupported = "Unsupported transfer encoding";
        answered(
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n",
            "501 Not Implemented",
            unsupported,
        );
        answered("POST / HTTP/1.1\r\ntransfer-encoding:chunked, gzip\r\n\r\n", "501", unsupported);
        answered("POST / HTTP/2.0\r\nTransfer-Encoding: gzip\r\n\r\n", "501", unsupported);
        let version = "505 HTTP Version Not Supported: unsupported protocol version";
        answered("GET / HTTP/2.0\r\nHost: x\r\n\r\n", version, version);
        answered("GET / HTTP/3.1\r\n\r\n", version, version);
        let bad = "400 Bad Request";
        for head in [
            "GET / HTTP/11.1\r\n\r\n",
            "GET /\r\n\r\n",
            "",
            "GET / HTTP/1.1\r\n : x\r\n\r\n",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\n\r\nTransfer-Encoding: x\r\n",
        ] {
            answered(head, bad, bad);
        }
    }

    #[test]
    fn only_hypers_own_refusals_are_replaced() {
        let other = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n";
        let answer = instead_of(other, b"GET / HTTP/2.0\r\n\r\n").unwrap();
        assert!(answer.ends_with(b"\r\n\r\n431 Request Header Fields Too Large"));
        for ours in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nbad",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\nmore",
            b"\x00\x00\x00",
            b"HTTP/1.",
            b"",
        ] {
            assert_eq!(instead_of(ours, b"GET / HTTP/2.0\r\n\r\n"), None);
        }
    }
}
