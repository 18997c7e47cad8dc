//! Whether a request wants to speak another protocol on its connection.

use http::HeaderMap;
use http::header::{CONNECTION, HeaderName, UPGRADE};

/// Whether the client wants another protocol (`httpstream.IsUpgradeRequest`).
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE) && contains(headers, &CONNECTION, "upgrade")
}

/// Whether it wants a WebSocket (`wsstream.IsWebSocketRequest`).
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    is_wanted(headers) && contains(headers, &UPGRADE, "websocket")
}

/// Whether one of the words in a header, of which there may be several, is `word`.
fn contains(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn upgrades_are_told_by_two_headers() {
        let check = |connection: &[u8], upgrade: Option<&'static str>, expected: (bool, bool)| {
            let mut headers = HeaderMap::new();
            headers.append(CONNECTION, HeaderValue::from_bytes(connection).unwrap());
            if let Some(upgrade) = upgrade {
                headers.append(UPGRADE, HeaderValue::from_static(upgrade));
            }
            assert_eq!((is_wanted(&headers), is_websocket(&headers)), expected);
        };
        check(b"Upgrade", Some("websocket"), (true, true));
        check(b"keep-alive, upgrade", Some("WebSocket"), (true, true));
        check(b"Upgrade", Some("SPDY/3.1"), (true, false));
        check(b"Upgrade", None, (false, false));
        check(b"close", Some("websocket"), (false, false));
        check(b"\xff, Upgrade", Some("websocket"), (true, true));
    }
}
