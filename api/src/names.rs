//! The formats that names, label keys and label values must have, with the messages of
//! `apimachinery/pkg/util/validation`.

/// Longest label value and longest name part of a label key, in bytes.
pub const LABEL_LENGTH_MAX: usize = 63;
/// Longest DNS subdomain, in bytes.
pub const SUBDOMAIN_LENGTH_MAX: usize = 253;

const LABEL_KEY_FORMAT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const LABEL_KEY_MESSAGE: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/// How a message names the expression that a text does not match, with examples.
pub fn regex_error(message: &str, format: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{message} (regex used for validation is '{format}')");
    }
    let quoted: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!("{message} (e.g. {}regex used for validation is '{format}')", quoted.join(" or "))
}

/// The message for a part of a label longer than `length` bytes.
pub fn max_length_error(length: usize) -> String {
    format!("must be no more than {length} bytes")
}

/// The message for a name longer than `length` bytes, which the reference counts as characters.
fn max_name_length_error(length: usize) -> String {
    format!("must be no more than {length} characters")
}

fn framed(text: &str, edge: fn(u8) -> bool, inner: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    match bytes {
        [] => false,
        [only] => edge(*only),
        [first, middle @ .., last] => edge(*first) && edge(*last) && middle.iter().all(|b| inner(*b)),
    }
}

fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn matches_label(text: &str) -> bool {
    framed(text, alphanumeric, |b| alphanumeric(b) || matches!(b, b'-' | b'_' | b'.'))
}

/// What is wrong with a label key (a "qualified name"); nothing if it is good.
pub fn label_key(key: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let examples = ["MyName", "my.name", "123-abc"];
    let mut parts = key.split('/');
    let name = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, _) => name,
        (Some(prefix), Some(name), None) => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".into());
            }
            let of_prefix = if prefix.is_empty() { Vec::new() } else { dns1123_subdomain(prefix) };
            let too_long = max_name_length_error(SUBDOMAIN_LENGTH_MAX);
            errors.extend(of_prefix.into_iter().map(|error| {
                let error = if error == too_long { max_length_error(SUBDOMAIN_LENGTH_MAX) } else { error };
                format!("prefix part {error}")
            }));
            name
        }
        _ => {
            let error = regex_error(LABEL_KEY_MESSAGE, LABEL_KEY_FORMAT, &examples);
            errors.push(format!(
                "a valid label key {error} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
            return errors;
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".into());
    } else if name.len() > LABEL_LENGTH_MAX {
        errors.push(format!("name part {}", max_length_error(LABEL_LENGTH_MAX)));
    }
    if !matches_label(name) {
        errors.push(format!("name part {}", regex_error(LABEL_KEY_MESSAGE, LABEL_KEY_FORMAT, &examples)));
    }
    errors
}

/// What is wrong with a label value; nothing if it is good.
pub fn label_value(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > LABEL_LENGTH_MAX {
        errors.push(max_length_error(LABEL_LENGTH_MAX));
    }
    if !value.is_empty() && !matches_label(value) {
        let message = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
                       and must start and end with an alphanumeric character";
        let format = format!("({LABEL_KEY_FORMAT})?");
        errors.push(regex_error(message, &format, &["MyValue", "my_value", "12345"]));
    }
    errors
}

/// What is wrong with a lowercase RFC 1123 label.
pub fn dns1123_label(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > LABEL_LENGTH_MAX {
        errors.push(max_name_length_error(LABEL_LENGTH_MAX));
    }
    if !framed(value, lower, |b| lower(b) || b == b'-') {
        if framed(value, lower, |b| lower(b) || matches!(b, b'-' | b'.')) && dns1123_subdomain(value).is_empty() {
            errors.push("must not contain dots".into());
        } else {
            let message = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
                           and must start and end with an alphanumeric character";
            errors.push(regex_error(message, "[a-z0-9]([-a-z0-9]*[a-z0-9])?", &["my-name", "123-abc"]));
        }
    }
    errors
}

/// What is wrong with a lowercase RFC 1123 subdomain.
pub fn dns1123_subdomain(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > SUBDOMAIN_LENGTH_MAX {
        errors.push(max_name_length_error(SUBDOMAIN_LENGTH_MAX));
    }
    if !value.split('.').all(|label| framed(label, lower, |b| lower(b) || b == b'-')) {
        let message = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                       and must start and end with an alphanumeric character";
        let format = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
        errors.push(regex_error(message, format, &["example.com"]));
    }
    errors
}

/// What is wrong with a path below a domain, each with the part that it is wrong with (`IsDomainPrefixedPath`).
pub fn domain_prefixed_path(value: &str) -> Vec<(&str, String)> {
    let parts = value.split_once('/').filter(|(host, path)| !host.is_empty() && !path.is_empty());
    let Some((host, path)) = parts else {
        return vec![(value, "must be a domain-prefixed path (such as \"acme.io/foo\")".into())];
    };
    let mut errors: Vec<_> = dns1123_subdomain(host).into_iter().map(|message| (host, message)).collect();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
    if !path.bytes().all(allowed) {
        errors.push((path, regex_error("Invalid path", "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+", &[])));
    }
    errors
}

/// What is wrong with a subdomain whose labels may have underscores.
pub fn dns1123_subdomain_with_underscore(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > SUBDOMAIN_LENGTH_MAX {
        errors.push(max_name_length_error(SUBDOMAIN_LENGTH_MAX));
    }
    let is_label =
        |label: &str| framed(label.strip_prefix('_').unwrap_or(label), lower, |b| lower(b) || matches!(b, b'-' | b'_'));
    if !value.split('.').all(is_label) {
        let message = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or \
                       '.', and must start and end with an alphanumeric character";
        let label = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
        errors.push(regex_error(message, &format!(r"{label}(\.{label})*"), &["example.com"]));
    }
    errors
}

/// What is wrong with an RFC 1035 label.
pub fn dns1035_label(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > LABEL_LENGTH_MAX {
        errors.push(max_name_length_error(LABEL_LENGTH_MAX));
    }
    let starts = value.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    if !starts || !framed(value, lower, |b| lower(b) || b == b'-') {
        let message = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                       alphabetic character, and end with an alphanumeric character";
        errors.push(regex_error(message, "[a-z]([-a-z0-9]*[a-z0-9])?", &["my-name", "abc-123"]));
    }
    errors
}

/// What is wrong with a subdomain that may begin with a wildcard label.
pub fn wildcard_subdomain(value: &str) -> Vec<String> {
    let rest = value.strip_prefix("*.");
    if rest.is_some_and(|rest| dns1123_subdomain(rest).is_empty()) {
        return Vec::new();
    }
    let message = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must \
                   consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
    let format = r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
    vec![regex_error(message, format, &["*.example.com"])]
}

/// What is wrong with the name of a port (`IsValidPortName`).
pub fn port_name(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > 15 {
        errors.push(max_name_length_error(15));
    }
    if !value.bytes().all(|b| lower(b) || b == b'-') || value.is_empty() {
        errors.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !value.bytes().any(|b| b.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".into());
    }
    if value.contains("--") {
        errors.push("must not contain consecutive hyphens".into());
    }
    if value.starts_with('-') || value.ends_with('-') {
        errors.push("must not begin or end with a hyphen".into());
    }
    errors
}

/// What is wrong with a key of a config map or a secret (`IsConfigMapKey`).
pub fn config_map_key(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > SUBDOMAIN_LENGTH_MAX {
        errors.push(max_name_length_error(SUBDOMAIN_LENGTH_MAX));
    }
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        let message = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        errors.push(regex_error(message, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    match value {
        "." | ".." => errors.push(format!("must not be '{value}'")),
        _ if value.starts_with("..") => errors.push("must not start with '..'".into()),
        _ => {}
    }
    errors
}

/// What is wrong with the name of an environment variable (`IsRelaxedEnvVarName`).
pub fn env_var_name(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.is_empty() {
        errors.push("environment variable name must be non-empty".into());
    }
    if !value.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        errors.push(
            "a valid environment variable name must consist only of printable ASCII characters other than '='".into(),
        );
    }
    errors
}

/// What is wrong with a segment of a path (`IsValidPathSegmentName`).
pub fn path_segment(value: &str) -> Vec<String> {
    if matches!(value, "." | "..") {
        return vec![format!("may not be '{value}'")];
    }
    ['/', '%'].iter().filter(|c| value.contains(**c)).map(|c| format!("may not contain '{c}'")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(errors: Vec<String>, expect: &[&str]) {
        assert_eq!(errors.len(), expect.len(), "{errors:?}");
        for (error, expect) in errors.iter().zip(expect) {
            assert!(error.contains(expect), "{error} does not contain {expect}");
        }
    }

    #[test]
    fn formats() {
        check(label_key("app"), &[]);
        check(label_key("example.com/app_x.y"), &[]);
        check(label_key(""), &["name part must be non-empty", "name part must consist"]);
        check(label_key("/a"), &["prefix part must be non-empty"]);
        check(label_key("A/a"), &["prefix part a lowercase RFC 1123 subdomain"]);
        check(label_key("a/b/c"), &["a valid label key must consist"]);
        check(label_key(&"a".repeat(64)), &["name part must be no more than 63 bytes"]);
        check(label_value(""), &[]);
        check(label_value("-a"), &["(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(("]);
        check(dns1123_label("a.b"), &["must not contain dots"]);
        check(dns1123_label("A"), &["lowercase RFC 1123 label"]);
        check(dns1123_subdomain("a..b"), &["lowercase RFC 1123 subdomain"]);
        check(dns1035_label("1a"), &["DNS-1035"]);
        check(dns1035_label("a-1"), &[]);
    }
}
