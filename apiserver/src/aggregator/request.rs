//! A request as it goes on to the service of an aggregated API (`proxyHandler.ServeHTTP` in kube-aggregator, `NewRequestForProxy` and
//! `SetAuthProxyHeaders`): to the path that was authorised, in the name of who asked, and without anything that was meant for this
//! server.

use std::net::IpAddr;

use api::UserInfo;
use http::header::{EXPECT, HOST, HeaderName};
use http::request::Parts;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderValue};

use crate::authentication::request_header::{EXTRA, GROUP, UID, USER};
use crate::chain::audit::AUDIT_ID_LENGTH_MAX;
use crate::proxy::backend::forwarded_for;
use crate::request::Query;
use crate::service_endpoint::Endpoint;

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// The address of a path at an endpoint.
///
/// # Errors
/// A host or path that no address can have.
pub(super) fn address(endpoint: &Endpoint, path: &str, query: &Query) -> Result<Uri, String> {
    let mut whole = escape_path(path);
    let query = query.encode();
    if !query.is_empty() {
        whole.push('?');
        whole.push_str(&query);
    }
    let whole = PathAndQuery::try_from(whole).map_err(|error| error.to_string())?;
    let built = Uri::builder().scheme("https").authority(authority(endpoint)).path_and_query(whole).build();
    built.map_err(|error| error.to_string())
}

/// Host and port.
fn authority(endpoint: &Endpoint) -> String {
    let host = match endpoint.host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => endpoint.host.clone(),
    };
    format!("{host}:{}", endpoint.port)
}

/// A decoded path as Go's `URL.EscapedPath` writes it: what was authorised is what is asked for, however it was written.
pub(super) fn escape_path(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// Makes the headers those that go on.
///
/// # Errors
/// Something of the user that no header can hold: it must not be left out, as the user would be another.
pub(super) fn headers(
    headers: &mut HeaderMap,
    parts: &Parts,
    user: &UserInfo,
    audit_id: &str,
    uri: &Uri,
    client: Option<IpAddr>,
) -> Result<(), String> {
    headers.remove(HOST);
    // The server has answered it.
    headers.remove(EXPECT);
    set_user(headers, user)?;
    // The number that the client gave goes on, and else the one of this request.
    if headers.get(AUDIT_ID).is_none_or(|given| given.len() > AUDIT_ID_LENGTH_MAX) {
        headers.insert(AUDIT_ID, HeaderValue::from_str(audit_id).map_err(|error| error.to_string())?);
    }
    if let Some(client) = client {
        forwarded_for(headers, &parts.headers, client).map_err(|error| error.to_string())?;
    }
    let own = |text: &str| HeaderValue::from_str(text).map_err(|error| error.to_string());
    headers.insert(FORWARDED_URI, own(uri.path())?);
    headers.insert(FORWARDED_HOST, own(uri.authority().map_or("", |authority| authority.as_str()))?);
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
    Ok(())
}

/// Says in whose name is asked (`SetAuthProxyHeaders`).
///
/// # Errors
/// Something of the user that no header can hold.
pub(super) fn set_user(headers: &mut HeaderMap, user: &UserInfo) -> Result<(), String> {
    crate::authentication::request_header::clear(headers, None);
    let value = |name: &HeaderName, text: &str| {
        HeaderValue::from_bytes(text.as_bytes())
            .map_err(|_| format!("net/http: invalid header field value for {:?}", go_name(name)))
    };
    headers.insert(USER, value(&USER, &user.username)?);
    if !user.uid.is_empty() {
        headers.insert(UID, value(&UID, &user.uid)?);
    }
    for group in &user.groups {
        headers.append(GROUP, value(&GROUP, group)?);
    }
    for (key, values) in &user.extra {
        let name = format!("{EXTRA}{}", escape_key(key));
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("net/http: invalid header field name {name:?}"))?;
        for text in values {
            headers.append(name.clone(), value(&name, text)?);
        }
    }
    Ok(())
}

/// A name as Go writes it.
fn go_name(name: &HeaderName) -> String {
    let words = name.as_str().split('-').map(|word| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    });
    words.collect::<Vec<_>>().join("-")
}

/// The key of an extra as a part of a header's name (`headerKeyEscape`).
pub(crate) fn escape_key(key: &str) -> String {
    let mut escaped = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn endpoint(host: &str) -> Endpoint {
        Endpoint { host: host.into(), port: 443 }
    }

    #[test]
    fn what_was_authorised_is_what_is_asked_for() {
        for (host, path, query, expected) in [
            ("10.0.0.1", "/apis/a/v1", "", "https://10.0.0.1:443/apis/a/v1"),
            ("fd00::1", "/apis/a/v1/", "b=2&a=1&b=1", "https://[fd00::1]:443/apis/a/v1/?a=1&b=2&b=1"),
            ("h", "/apis/a/v1/ü?#%/../x y", "", "https://h:443/apis/a/v1/%C3%BC%3F%23%25/../x%20y"),
            ("h", "/apis", "labelSelector=a%3Db%2Cc&watch", "https://h:443/apis?labelSelector=a%3Db%2Cc&watch="),
            ("h", "/apis", "q=a+b%00%26", "https://h:443/apis?q=a+b%00%26"),
        ] {
            let uri = address(&endpoint(host), path, &Query::parse(query)).unwrap();
            assert_eq!(uri.to_string(), expected);
        }
        assert!(address(&endpoint("a b"), "/", &Query::parse("")).is_err());
    }

    #[test]
    fn the_user_is_told_and_nothing_that_the_client_says_of_one() {
        let mut user = UserInfo::new("jane", &["dev"]);
        user.uid = "7".into();
        user.extra.insert("example.com/Key%".into(), vec!["a".into(), "b".into()]);
        let request = Request::builder()
            .header("host", "server")
            .header("x-remote-user", "admin")
            .header("x-remote-group", "system:masters")
            .header("x-remote-extra-scopes", "all")
            .header("x-forwarded-for", "1.2.3.4")
            .header("x-forwarded-host", "elsewhere")
            .header("expect", "100-continue")
            .header("accept", "application/json");
        let parts = request.body(()).unwrap().into_parts().0;
        let mut map = parts.headers.clone();
        let uri = address(&endpoint("10.0.0.1"), "/apis/a/v1/x", &Query::parse("")).unwrap();
        headers(&mut map, &parts, &user, "id", &uri, Some("10.1.1.1".parse().unwrap())).unwrap();
        let mut found: Vec<String> =
            map.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        found.sort();
        let expected = [
            "accept: application/json",
            "audit-id: id",
            "x-forwarded-for: 1.2.3.4, 10.1.1.1",
            "x-forwarded-host: 10.0.0.1:443",
            "x-forwarded-proto: https",
            "x-forwarded-uri: /apis/a/v1/x",
            "x-remote-extra-example.com%2fkey%25: a",
            "x-remote-extra-example.com%2fkey%25: b",
            "x-remote-group: dev",
            "x-remote-group: system:authenticated",
            "x-remote-uid: 7",
            "x-remote-user: jane",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_user_that_no_header_can_hold_is_nobody_else() {
        let mut headers = HeaderMap::new();
        let error = set_user(&mut headers, &UserInfo::new("a", &["b\nX-Remote-Group: system:masters"])).unwrap_err();
        assert_eq!(error, "net/http: invalid header field value for \"X-Remote-Group\"");
        assert!(set_user(&mut headers, &UserInfo::new("a\r", &[])).is_err());
        assert!(set_user(&mut headers, &UserInfo::new("ü", &["ö"])).is_ok());
    }
}
