//! Connections by way of a proxy, which a kubeconfig names (`proxy-url`): it is asked for a tunnel (CONNECT), and sees nothing of
//! what goes through.

use api::go::url;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::request::query::decode;

/// How long the head of a proxy's answer may be.
const HEAD_BYTES_MAX: usize = 8 * 1024;
const PORT: u16 = 80;

/// A proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    /// Its name or address.
    pub(super) host: String,
    /// Its port.
    pub(super) port: u16,
    /// Who asks it.
    authorization: Option<HeaderValue>,
}

impl Proxy {
    /// The proxy of a URL.
    ///
    /// # Errors
    /// If it is none, or one that is spoken to in another way than by HTTP.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let invalid = |why: String| format!("invalid 'proxy-url' {text:?}: {why}");
        let parsed = url::parse(text).map_err(invalid)?;
        match parsed.scheme.as_str() {
            "http" => {}
            "https" | "socks5" => return Err(invalid(format!("a proxy of {} is not supported here", parsed.scheme))),
            other => return Err(invalid(format!("unsupported scheme {other:?}, must be http, https, or socks5"))),
        }
        let uri: http::Uri = text.parse().map_err(|error| invalid(format!("{error}")))?;
        let authority = uri.authority().ok_or_else(|| invalid("it has no host".into()))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let who = authority.as_str().rsplit_once('@').map(|(who, _)| who);
        let authorization = who.map(|who| {
            let plain = |text: &str| decode(text, false).into_owned();
            let (name, password) = who.split_once(':').unwrap_or((who, ""));
            let both = STANDARD.encode(format!("{}:{}", plain(name), plain(password)));
            let mut value = HeaderValue::from_str(&format!("Basic {both}")).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let authorization = authorization.flatten();
        if host.is_empty() {
            return Err(invalid("it has no host".into()));
        }
        Ok(Self { host, port: authority.port_u16().unwrap_or(PORT), authorization })
    }

    /// Asks for a tunnel to `to`, a host and a port. After that the connection is one with that.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn tunnel(&self, stream: &mut TcpStream, to: &str) -> Result<(), String> {
        let mut head = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: kube-apiserver\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            head.extend_from_slice(b"Proxy-Authorization: ");
            head.extend_from_slice(authorization.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        stream.write_all(&head).await.map_err(|error| format!("proxyconnect tcp: write: {error}"))?;
        // Byte by byte, so that nothing is taken of what comes through the tunnel.
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= HEAD_BYTES_MAX {
                return Err(format!("proxyconnect tcp: the proxy's answer has more than {HEAD_BYTES_MAX} bytes"));
            }
            let byte = stream.read_u8().await.map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => "proxyconnect tcp: unexpected EOF".to_string(),
                _ => format!("proxyconnect tcp: read: {error}"),
            })?;
            answer.push(byte);
        }
        let first = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let status = std::str::from_utf8(first).ok().and_then(|line| line.split_once(' '));
        match status {
            Some((version, status)) if version.starts_with("HTTP/1.") => match status.split_once(' ') {
                Some(("200", _)) => Ok(()),
                None if status == "200" => Ok(()),
                // Go tells the text without the code.
                Some((_, text)) => Err(text.to_string()),
                None => Err("unknown status code".into()),
            },
            _ => Err("proxyconnect tcp: malformed HTTP response".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn proxies_are_named_by_urls() {
        let check = |text: &str, expected: Result<(&str, u16, Option<&str>), &str>| {
            let found = Proxy::parse(text);
            let found = found.as_ref().map(|proxy| {
                let authorization = proxy.authorization.as_ref().map(|value| value.to_str().unwrap());
                (proxy.host.as_str(), proxy.port, authorization)
            });
            match (found, expected) {
                (Err(why), Err(expected)) => assert!(why.contains(expected), "{why}"),
                (found, expected) => assert_eq!(found.map_err(String::as_str), expected),
            }
        };
        check("http://proxy:3128", Ok(("proxy", 3128, None)));
        check("http://[::1]/x", Ok(("::1", 80, None)));
        check("http://me:p%40w@proxy:1", Ok(("proxy", 1, Some("Basic bWU6cEB3"))));
        check("https://proxy", Err("a proxy of https is not supported here"));
        check("socks5://proxy", Err("a proxy of socks5 is not supported here"));
        check("ftp://proxy", Err("unsupported scheme \"ftp\", must be http, https, or socks5"));
        check("proxy:3128", Err("invalid 'proxy-url'"));
        check("http://", Err("invalid 'proxy-url'"));
    }

    /// The bytes that come through a tunnel of a proxy that answers so, and the request for it.
    async fn through(answer: Vec<u8>, proxy: &str) -> (Result<String, String>, String) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let place = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await.unwrap());
            }
            // Whoever asked may have gone before all is written.
            let _ = stream.write_all(&answer).await;
            String::from_utf8(asked).unwrap()
        });
        let mut stream = TcpStream::connect(place).await.unwrap();
        let opened = Proxy::parse(proxy).unwrap().tunnel(&mut stream, "there:443").await;
        let through = match opened {
            Ok(()) => {
                let mut text = String::new();
                stream.read_to_string(&mut text).await.unwrap();
                Ok(text)
            }
            Err(why) => Err(why),
        };
        drop(stream);
        (through, serving.await.unwrap())
    }

    #[tokio::test]
    async fn a_tunnel_is_asked_for() {
        let good = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nhello".to_vec();
        let (said, asked) = through(good, "http://me:pw@proxy").await;
        assert_eq!(said, Ok("hello".into()));
        let expected = "CONNECT there:443 HTTP/1.1\r\nHost: there:443\r\nUser-Agent: kube-apiserver\r\n\
                        Proxy-Authorization: Basic bWU6cHc=\r\n\r\n";
        assert_eq!(asked, expected);
        let long = [b"HTTP/1.1 200 OK\r\n".to_vec(), vec![b'x'; HEAD_BYTES_MAX]].concat();
        for (answer, expected) in [
            (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n".to_vec(), "Proxy Authentication Required"),
            (b"HTTP/1.1 204\r\n\r\n".to_vec(), "unknown status code"),
            (b"SSH-2.0-x\r\n\r\n".to_vec(), "proxyconnect tcp: malformed HTTP response"),
            (b"HTTP/1.1 200 OK\r\n".to_vec(), "proxyconnect tcp: unexpected EOF"),
            (long, "proxyconnect tcp: the proxy's answer has more than 8192 bytes"),
        ] {
            let (said, asked) = through(answer, "http://proxy").await;
            assert_eq!(said, Err(expected.into()));
            assert!(!asked.contains("Authorization"));
        }
    }
}
