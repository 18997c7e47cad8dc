//! What Go's package `encoding/json` says of what it cannot read, and how it escapes what it writes.

/// A map of anything, as Go names it.
pub const ANY_MAP: &str = "map[string]interface {}";

/// That the text ends too soon.
pub const UNEXPECTED_END: &str = "unexpected end of JSON input";

/// That a value is not of a type (`UnmarshalTypeError`); `what` is what JSON calls it.
pub fn cannot_unmarshal(what: &str, go_type: &str) -> String {
    format!("json: cannot unmarshal {what} into Go value of type {go_type}")
}

/// That a byte stands where it cannot (`SyntaxError`); `context` says where that is.
pub fn invalid_character(byte: u8, context: &str) -> String {
    let shown = match byte {
        b'\'' => r"'\''".to_string(),
        b'"' => "'\"'".to_string(),
        b'\n' => r"'\n'".to_string(),
        b'\t' => r"'\t'".to_string(),
        b'\r' => r"'\r'".to_string(),
        b'\\' => r"'\\'".to_string(),
        0x07 => r"'\a'".to_string(),
        0x08 => r"'\b'".to_string(),
        0x0b => r"'\v'".to_string(),
        0x0c => r"'\f'".to_string(),
        0..0x20 | 0x7f => format!("'\\x{byte:02x}'"),
        0x80..0xa0 | 0xad => format!("'\\u{byte:04x}'"),
        _ => format!("'{}'", char::from(byte)),
    };
    format!("invalid character {shown} {context}")
}

/// JSON as Go writes it: what means something in HTML, and the line ends that JavaScript takes for its own, are escaped.
pub fn in_html(json: String) -> String {
    const ESCAPED: [char; 5] = ['<', '>', '&', '\u{2028}', '\u{2029}'];
    if !json.contains(ESCAPED) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match ESCAPED.contains(&c) {
            true => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (byte, shown) in [(b'x', "'x'"), (b'\'', r"'\''"), (b'"', "'\"'"), (0, r"'\x00'"), (0x85, r"'\u0085'")] {
            assert_eq!(
                invalid_character(byte, "in literal true"),
                format!("invalid character {shown} in literal true")
            );
        }
        let why = "json: cannot unmarshal array into Go value of type map[string]interface {}";
        assert_eq!(cannot_unmarshal("array", ANY_MAP), why);
        assert_eq!(in_html("\"<a> & \u{2028}\"".into()), r#""\u003ca\u003e \u0026 \u2028""#);
    }
}
