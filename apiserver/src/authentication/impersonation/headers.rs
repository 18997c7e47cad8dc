//! What the `Impersonate-*` headers say. Whatever among them cannot be understood is refused: a request that was meant to be
//! somebody else's must never be the caller's own.

use std::collections::BTreeMap;

use api::names::domain_prefixed_path;
use api::{Status, UserInfo};
use http::{HeaderMap, HeaderName, HeaderValue};

const ALL: &str = "impersonate-";
const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";

/// The user that is wanted, as the headers say and no group added.
pub(super) type Wanted = UserInfo;

/// Reads the headers (`processImpersonationHeaders`); none if there are none.
///
/// # Errors
/// 400 for one that is unknown or no UTF-8, and if there is no user to act as.
pub(super) fn wanted(headers: &HeaderMap) -> Result<Option<Wanted>, Status> {
    let mut wanted: Option<Wanted> = None;
    let first = |name: &HeaderName| headers.get(name).map(|value| text(name, value)).transpose();
    for (name, value) in headers.iter().filter(|(name, _)| name.as_str().starts_with(ALL)) {
        let wanted = wanted.get_or_insert_default();
        match name.as_str() {
            // Of several the first counts, as everywhere in HTTP where one is expected.
            USER => wanted.username = first(name)?.unwrap_or_default(),
            UID => wanted.uid = first(name)?.unwrap_or_default(),
            GROUP => wanted.groups.push(text(name, value)?),
            other => {
                let key = other.strip_prefix(EXTRA).ok_or_else(|| {
                    Status::bad_request(format!("the header {other:?} is none by which somebody can be impersonated"))
                })?;
                wanted.extra.entry(unescape(key)?).or_default().push(text(name, value)?);
            }
        }
    }
    match wanted {
        Some(wanted) if wanted.username.is_empty() => {
            let why = format!("requested {} without impersonating a user name", shown(&wanted));
            Err(Status::bad_request(why))
        }
        wanted => Ok(wanted),
    }
}

/// Takes them out: nothing behind may know, or could believe them.
pub(super) fn clear(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with(ALL)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// What is wrong with extras under the constrained ways (`validateExtra`).
pub(super) fn check_extra(extra: &BTreeMap<String, Vec<String>>) -> Result<(), String> {
    for (key, values) in extra {
        if key.is_empty() {
            return Err("impersonating the empty string key in extra is not allowed".into());
        }
        if let Some((value, why)) = domain_prefixed_path(key).first() {
            let why = format!("extra.key: Invalid value: {value:?}: {why}");
            return Err(format!("impersonating an invalid key in extra is not allowed: {why}"));
        }
        if key.chars().any(char::is_uppercase) {
            return Err(format!("impersonating a non-lowercase key in extra is not allowed: {key:?}"));
        }
        if values.iter().any(String::is_empty) {
            return Err("impersonating the empty string value in extra is not allowed".into());
        }
    }
    Ok(())
}

fn text(name: &HeaderName, value: &HeaderValue) -> Result<String, Status> {
    let text = std::str::from_utf8(value.as_bytes());
    text.map(String::from).map_err(|_| Status::bad_request(format!("the header {name:?} is not UTF-8")))
}

/// Extra keys may be percent-encoded, as header names hold few characters; one that is encoded badly is taken as it stands
/// (`unescapeExtraKey`).
fn unescape(key: &str) -> Result<String, Status> {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |at: usize| after.get(at).and_then(|b| char::from(*b).to_digit(16)).map(|d| d as u8);
        let (Some(high), Some(low)) = (digit(0), digit(1)) else { return Ok(key.to_string()) };
        bytes.push(high * 16 + low);
        rest = &after[2..];
    }
    String::from_utf8(bytes)
        .map_err(|_| Status::bad_request(format!("the key {key:?} of the extra to be impersonated is not UTF-8")))
}

/// The user as Go's `%#v` shows it.
fn shown(user: &Wanted) -> String {
    let list = |values: &[String]| match values {
        [] => "[]string(nil)".to_string(),
        values => {
            format!("[]string{{{}}}", values.iter().map(|v| format!("{v:?}")).collect::<Vec<_>>().join(", "))
        }
    };
    let extra = match user.extra.is_empty() {
        true => "map[string][]string(nil)".to_string(),
        false => {
            let pairs: Vec<String> = user.extra.iter().map(|(key, v)| format!("{key:?}:{}", list(v))).collect();
            format!("map[string][]string{{{}}}", pairs.join(", "))
        }
    };
    format!("&user.DefaultInfo{{Name:\"\", UID:{:?}, Groups:{}, Extra:{extra}}}", user.uid, list(&user.groups))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[(&'static str, &[u8])]) -> Result<Option<Wanted>, Status> {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
        }
        wanted(&headers)
    }

    #[test]
    fn names_are_utf8() {
        let found = read(&[
            ("impersonate-user", "jürgen".as_bytes()),
            ("impersonate-user", b"second"),
            ("impersonate-group", "größe".as_bytes()),
            ("impersonate-group", b"b"),
            ("impersonate-uid", b"1"),
            ("impersonate-extra-acme.com%2fscope", "ä".as_bytes()),
            ("impersonate-extra-acme.com%2fscope", b"b"),
            ("impersonate-extra-a%zz%2f", b"c"),
        ]);
        let found = found.unwrap().unwrap();
        assert_eq!((found.username.as_str(), found.uid.as_str()), ("jürgen", "1"));
        assert_eq!(found.groups, ["größe", "b"]);
        assert_eq!(found.extra["acme.com/scope"], ["ä", "b"]);
        assert_eq!(found.extra["a%zz%2f"], ["c"]);
        assert_eq!(read(&[("accept", b"\xff")]).unwrap(), None);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let check = |given: &[(&'static str, &[u8])], expected: &str| {
            let refused = read(given).unwrap_err();
            assert_eq!((refused.code, refused.message.as_str()), (400, expected));
        };
        let user = ("impersonate-user", &b"alice"[..]);
        check(&[("impersonate-user", b"j\xfcrgen")], "the header \"impersonate-user\" is not UTF-8");
        check(&[user, ("impersonate-group", b"\xff")], "the header \"impersonate-group\" is not UTF-8");
        check(&[user, ("impersonate-uid", b"\xff")], "the header \"impersonate-uid\" is not UTF-8");
        check(&[user, ("impersonate-extra-a", b"\xff")], "the header \"impersonate-extra-a\" is not UTF-8");
        let key = "the key \"%ff\" of the extra to be impersonated is not UTF-8";
        check(&[user, ("impersonate-extra-%ff", b"a")], key);
        let unknown = "the header \"impersonate-groups\" is none by which somebody can be impersonated";
        check(&[user, ("impersonate-groups", b"a")], unknown);
        let nobody =
            |rest: &str| format!("requested &user.DefaultInfo{{Name:\"\", {rest}}} without impersonating a user name");
        let nothing = nobody("UID:\"\", Groups:[]string(nil), Extra:map[string][]string(nil)");
        check(&[("impersonate-user", b"")], &nothing);
        let group = nobody("UID:\"\", Groups:[]string{\"a\", \"b\"}, Extra:map[string][]string(nil)");
        check(&[("impersonate-group", b"a"), ("impersonate-group", b"b")], &group);
        let rest = nobody("UID:\"1\", Groups:[]string(nil), Extra:map[string][]string{\"k\":[]string{\"v\"}}");
        check(&[("impersonate-uid", b"1"), ("impersonate-extra-k", b"v")], &rest);
    }

    #[test]
    fn extras_of_the_constrained_ways() {
        let check = |key: &str, value: &str, expected: Option<&str>| {
            let extra = BTreeMap::from([(key.to_string(), vec![value.to_string()])]);
            assert_eq!(check_extra(&extra).err().as_deref(), expected, "{key}");
        };
        check("acme.com/a", "v", None);
        check("acme.com/a", "", Some("impersonating the empty string value in extra is not allowed"));
        check("", "v", Some("impersonating the empty string key in extra is not allowed"));
        check("acme.com/A", "v", Some("impersonating a non-lowercase key in extra is not allowed: \"acme.com/A\""));
        let invalid = "impersonating an invalid key in extra is not allowed: extra.key: Invalid value: ";
        let path = format!("{invalid}\"scopes\": must be a domain-prefixed path (such as \"acme.io/foo\")");
        check("scopes", "v", Some(&path));
    }
}
