//! Bearer tokens: in `Authorization`, or in the subprotocol by which browsers hand one over.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderValue};

use crate::request::upgrade;

/// The subprotocol by which browsers hand over a token on a WebSocket.
const WEBSOCKET_TOKEN: &str = "base64url.bearer.authorization.k8s.io.";
/// What the sender of `Bearer`, two spaces and a token is warned of.
pub(crate) const EXTRA_SPACE: &str =
    "the provided Authorization header contains extra space before the bearer token, and is ignored";

/// What `Authorization` says.
#[derive(Debug, PartialEq, Eq)]
enum Header<'a> {
    /// Nothing about a bearer token.
    None,
    /// A token stands after an extra space, which is no token.
    Ignored,
    Token(&'a str),
}

fn header(headers: &HeaderMap) -> Result<Header<'_>, String> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(Header::None) };
    // Nobody has such credentials, and whoever sends them does not mean to be nobody.
    let text = std::str::from_utf8(value.as_bytes()).ok().filter(|text| text.is_ascii());
    let text = text.ok_or("the Authorization header is not ASCII")?;
    let mut parts = text.trim().splitn(3, ' ');
    let (scheme, token) = (parts.next().unwrap_or_default(), parts.next());
    Ok(match token {
        Some(_) if !scheme.eq_ignore_ascii_case("bearer") => Header::None,
        None => Header::None,
        Some("") => Header::Ignored,
        Some(token) => Header::Token(token),
    })
}

/// The token in `Authorization: Bearer TOKEN` (`bearertoken.AuthenticateRequest`).
///
/// # Errors
/// The header is nothing that credentials can be.
pub(super) fn of_header(headers: &HeaderMap) -> Result<Option<String>, String> {
    Ok(match header(headers)? {
        Header::Token(token) => Some(token.to_string()),
        Header::None | Header::Ignored => None,
    })
}

/// Whether there is a token that is not looked at because of a space.
pub(crate) fn is_ignored(headers: &HeaderMap) -> bool {
    header(headers) == Ok(Header::Ignored)
}

/// The token among the subprotocols of a WebSocket (`websocket.ProtocolAuthenticator`).
///
/// # Errors
/// There is one that cannot be read, more than one, or nothing else to answer with.
pub(super) fn of_websocket(headers: &HeaderMap) -> Result<Option<String>, String> {
    if !upgrade::is_websocket(headers) {
        return Ok(None);
    }
    let (mut token, mut others) = (None, 0);
    for protocol in protocols(headers) {
        let protocol = protocol.ok_or("invalid base64.bearer.authorization token encoding")?;
        let Some(encoded) = protocol.strip_prefix(WEBSOCKET_TOKEN) else {
            others += 1;
            continue;
        };
        if token.is_some() {
            return Err("multiple base64.bearer.authorization tokens specified".into());
        }
        let decoded =
            URL_SAFE_NO_PAD.decode(encoded).map_err(|_| "invalid base64.bearer.authorization token encoding")?;
        token = Some(String::from_utf8(decoded).map_err(|_| "invalid base64.bearer.authorization token")?);
    }
    let token = token.filter(|token| !token.is_empty());
    if token.is_some() && others == 0 {
        return Err("missing additional subprotocol".into());
    }
    Ok(token)
}

/// Every subprotocol that is offered; none for what is no text.
fn protocols(headers: &HeaderMap) -> impl Iterator<Item = Option<&str>> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter();
    values.flat_map(|value| match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.split(',').map(|protocol| Some(protocol.trim())).collect::<Vec<_>>(),
        Err(_) => vec![None],
    })
}

/// Takes out what is meant for this server alone, so that nothing behind it can be taken in by it, or learn it.
pub(crate) fn clear(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    if !protocols(headers).flatten().any(|protocol| protocol.starts_with(WEBSOCKET_TOKEN)) {
        return;
    }
    let kept: Vec<&str> =
        protocols(headers).flatten().filter(|protocol| !protocol.starts_with(WEBSOCKET_TOKEN)).collect();
    let kept = HeaderValue::from_str(&kept.join(",")).ok().filter(|value| !value.is_empty());
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    if let Some(kept) = kept {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, kept);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(given: &[(&'static str, &[u8])]) -> HeaderMap {
        let pairs =
            given.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap()));
        let mut headers = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    #[test]
    fn what_authorization_says() {
        let check = |value: &[u8], expected: Result<Option<&str>, ()>, ignored: bool| {
            let headers = headers(&[("authorization", value)]);
            let found = of_header(&headers).map_err(|_| ());
            let shown = String::from_utf8_lossy(value);
            assert_eq!(found, expected.map(|token| token.map(String::from)), "{shown}");
            assert_eq!(is_ignored(&headers), ignored, "{shown}");
        };
        check(b"Bearer secret", Ok(Some("secret")), false);
        check(b"bEARER secret and more", Ok(Some("secret")), false);
        check(b"  Bearer secret  ", Ok(Some("secret")), false);
        check(b"Bearer  secret", Ok(None), true);
        check(b"Bearer", Ok(None), false);
        check(b"Bearer ", Ok(None), false);
        check(b"Bearer\tsecret", Ok(None), false);
        check(b"Basic c2VjcmV0", Ok(None), false);
        check("Bearer gehörtmir".as_bytes(), Err(()), false);
        check(b"Bearer \xff", Err(()), false);
        check(b"\xff", Err(()), false);
    }

    #[test]
    fn what_a_websocket_offers() {
        let check = |protocols: &[&str], expected: Result<Option<&str>, &str>| {
            let mut given: Vec<(&'static str, &[u8])> =
                vec![("connection", b"keep-alive, Upgrade"), ("upgrade", b"websocket")];
            given.extend(protocols.iter().map(|protocol| ("sec-websocket-protocol", protocol.as_bytes())));
            let found = of_websocket(&headers(&given));
            assert_eq!(found.as_ref().map(|token| token.as_deref()).map_err(String::as_str), expected, "{protocols:?}");
        };
        let token = format!("{WEBSOCKET_TOKEN}{}", URL_SAFE_NO_PAD.encode("secret"));
        check(&["v5.channel.k8s.io", &token], Ok(Some("secret")));
        check(&[&format!("{token}, v5.channel.k8s.io")], Ok(Some("secret")));
        check(&["v5.channel.k8s.io"], Ok(None));
        check(&[&token], Err("missing additional subprotocol"));
        check(&[&token, &token, "v5"], Err("multiple base64.bearer.authorization tokens specified"));
        check(&["v5", &format!("{WEBSOCKET_TOKEN}!")], Err("invalid base64.bearer.authorization token encoding"));
        check(&["v5", &format!("{WEBSOCKET_TOKEN}_w")], Err("invalid base64.bearer.authorization token"));
        let plain = headers(&[("sec-websocket-protocol", token.as_bytes())]);
        assert_eq!(of_websocket(&plain), Ok(None), "only a WebSocket has subprotocols");
    }

    #[test]
    fn credentials_go_no_further() {
        let token = format!("v5.channel.k8s.io, {WEBSOCKET_TOKEN}c2VjcmV0");
        let mut headers = headers(&[
            ("authorization", b"Bearer secret"),
            ("sec-websocket-protocol", token.as_bytes()),
            ("cookie", b"a=b"),
        ]);
        clear(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["cookie", "sec-websocket-protocol"]);
        assert_eq!(headers["sec-websocket-protocol"], "v5.channel.k8s.io");
    }
}
