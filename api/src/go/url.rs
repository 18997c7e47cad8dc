//! URLs as Go takes them apart (`url.Parse`), with what it says of bad ones. That is neither what browsers do nor what
//! RFC 3986 says.

use super::strconv::quote;

/// The parts of a URL that rules look at.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Url<'a> {
    /// The scheme, in lower case.
    pub scheme: String,
    /// What stands before an `@`, if anything does.
    pub user: Option<&'a str>,
    /// The host, with its port.
    pub host: &'a str,
    /// The path as it is written.
    pub path: &'a str,
    /// The query as it is written.
    pub query: &'a str,
    /// The fragment as it is written.
    pub fragment: &'a str,
}

/// Takes a URL apart.
///
/// # Errors
/// What Go says of it.
pub fn parse(text: &str) -> Result<Url<'_>, String> {
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let failed = |of: &str, why: String| format!("parse {}: {why}", quote(of));
    let mut url = without_fragment(rest).map_err(|why| failed(rest, why))?;
    escapes(fragment).map_err(|why| failed(text, why))?;
    url.fragment = fragment;
    Ok(url)
}

fn without_fragment(text: &str) -> Result<Url<'_>, String> {
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err("net/url: invalid control character in URL".into());
    }
    let mut url = Url::default();
    let (scheme, rest) = scheme(text)?;
    url.scheme = scheme.to_ascii_lowercase();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    url.query = query;
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            // What follows is opaque.
            return Ok(url);
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("first path segment in URL cannot contain colon".into());
        }
    }
    url.path = rest;
    if let Some(behind) = rest.strip_prefix("//").filter(|_| !scheme.is_empty() || !rest.starts_with("///")) {
        let end = behind.find('/').unwrap_or(behind.len());
        let (authority, path) = behind.split_at(end);
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        self::host(host)?;
        if user.is_some_and(|user| !user.bytes().all(may_name_a_user)) {
            return Err("net/url: invalid userinfo".into());
        }
        (url.user, url.host, url.path) = (user, host, path);
    }
    escapes(url.path)?;
    Ok(url)
}

fn scheme(text: &str) -> Result<(&str, &str), String> {
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if place > 0 => {}
            b':' if place == 0 => return Err("missing protocol scheme".into()),
            b':' => return Ok((&text[..place], &text[place + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn host(host: &str) -> Result<(), String> {
    let (name, port) = if host.starts_with('[') {
        let end = host.rfind(']').ok_or("missing ']' in host")?;
        (&host[..=end], &host[end + 1..])
    } else {
        host.rfind(':').map_or((host, ""), |colon| host.split_at(colon))
    };
    let digits = port.strip_prefix(':');
    if !port.is_empty() && !digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(format!("invalid port {} after host", quote(port)));
    }
    let bad = name.char_indices().find(|(_, c)| c.is_ascii() && !may_stand_in_a_host(*c as u8) && *c != '%');
    match bad {
        Some((place, c)) => {
            Err(format!("invalid character {} in host name", quote(&name[place..place + c.len_utf8()])))
        }
        None if name.contains('%') && !name.starts_with('[') => escapes(name),
        None => Ok(()),
    }
}

fn may_stand_in_a_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte)
}

fn may_name_a_user(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte)
}

/// Whether every `%` begins two hexadecimal digits.
fn escapes(text: &str) -> Result<(), String> {
    for (place, _) in text.match_indices('%') {
        let digits = text.as_bytes().get(place + 1..place + 3);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            let shown: String = text[place..].chars().take(3).collect();
            return Err(format!("invalid URL escape {}", quote(&shown)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_urls_are_told_as_go_tells_them() {
        let check = |text: &str, expected: &str| assert_eq!(parse(text).unwrap_err(), expected, "{text}");
        check("https://a:port", "parse \"https://a:port\": invalid port \":port\" after host");
        check("https://[::1", "parse \"https://[::1\": missing ']' in host");
        check("https://[::1]x", "parse \"https://[::1]x\": invalid port \"x\" after host");
        check(":x", "parse \":x\": missing protocol scheme");
        check("1:x", "parse \"1:x\": first path segment in URL cannot contain colon");
        check("https://a b/", "parse \"https://a b/\": invalid character \" \" in host name");
        check("https://a/%zz", "parse \"https://a/%zz\": invalid URL escape \"%zz\"");
        check("https://a/%2", "parse \"https://a/%2\": invalid URL escape \"%2\"");
        check("https://a#%", "parse \"https://a#%\": invalid URL escape \"%\"");
        check("https://a\n", "parse \"https://a\\n\": net/url: invalid control character in URL");
        check("https://a^@b", "parse \"https://a^@b\": net/url: invalid userinfo");
    }

    #[test]
    fn urls_have_parts() {
        let check = |text: &str, expected: (&str, Option<&str>, &str, &str, &str, &str)| {
            let url = parse(text).unwrap();
            let found = (&*url.scheme, url.user, url.host, url.path, url.query, url.fragment);
            assert_eq!(found, expected, "{text}");
        };
        check("HTTPS://u:p@h:1/a/b?q=1#f", ("https", Some("u:p"), "h:1", "/a/b", "q=1", "f"));
        check("https://h", ("https", None, "h", "", "", ""));
        check("https://h?", ("https", None, "h", "", "", ""));
        check("https://[::1]:443/", ("https", None, "[::1]:443", "/", "", ""));
        check("invalid-url", ("", None, "", "invalid-url", "", ""));
        check("mailto:a@b", ("mailto", None, "", "", "", ""));
        check("//h/p", ("", None, "h", "/p", "", ""));
    }
}
