//! The path that a proxied request goes to.

/// What stands in a path as it is, beside letters and digits (`shouldEscape` in Go's `net/url`).
const UNESCAPED: &[u8] = b"-_.~$&+,:;=@";

/// The path without `.`, `..` and empty segments, escaped anew (`JoinPreservingTrailingSlash` and the `EscapedPath` of Go's `net/url`):
/// what stands behind the proxy sees what the path means, however it was written.
pub(super) fn clean(path: &str) -> String {
    let decoded = decode(path);
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in decoded.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let mut cleaned = String::with_capacity(decoded.len() + 1);
    for segment in &kept {
        cleaned.push('/');
        for byte in segment.iter().copied() {
            if byte.is_ascii_alphanumeric() || UNESCAPED.contains(&byte) {
                cleaned.push(char::from(byte));
            } else {
                cleaned.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    if kept.is_empty() || decoded.ends_with(b"/") {
        cleaned.push('/');
    }
    cleaned
}

/// The bytes that a path means. The server has checked that every percent sign stands before two digits.
fn decode(path: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|b| char::from(*b).to_digit(16)).map(|d| d as u8);
        rest = match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(high * 16 + low);
                &after[2..]
            }
            _ => {
                decoded.push(byte);
                after
            }
        };
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn paths_mean_what_they_say() {
        for (path, expected) in [
            ("", "/"),
            ("/", "/"),
            ("/x", "/x"),
            ("/x/", "/x/"),
            ("/a//b", "/a/b"),
            ("/../../x", "/x"),
            ("/%2e%2e/x", "/x"),
            ("/..%2f..%2fx", "/x"),
            ("/a/./b/..", "/a"),
            ("/a%2Fb", "/a/b"),
            ("/%00", "/%00"),
            ("/a%0d%0aX:%20y", "/a%0D%0AX:%20y"),
            ("/%C3%BC%3f", "/%C3%BC%3F"),
            ("/%ff", "/%FF"),
            ("/a=b@c;d,e+f$g&h~", "/a=b@c;d,e+f$g&h~"),
        ] {
            assert_eq!(clean(path), expected, "{path}");
        }
    }
}
