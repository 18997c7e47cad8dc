//! Image names, as far as the default of `imagePullPolicy` needs them (`parsers.ParseImageName`).

/// How long the path of a name may be, without the domain and with what is implied (`NameTotalLengthMax`).
const PATH_BYTES_MAX: usize = 255;

/// Whether an image's tag is `latest`, said or implied. A name that is no reference has no tag at all.
pub(super) fn is_latest(image: &str) -> bool {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return false;
    }
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let (path, tag) = match name[slash..].find(':') {
        Some(colon) => (&name[..slash + colon], Some(&name[slash + colon + 1..])),
        None => (name, None),
    };
    if !is_path(path) {
        return false;
    }
    match tag {
        Some(tag) => is_tag(tag) && tag == "latest",
        None => digest.is_none(),
    }
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hash)) = text.split_once(':') else { return false };
    !algorithm.is_empty() && hash.len() >= 32 && hash.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = text.bytes();
    text.len() <= 128 && bytes.next().is_some_and(word) && bytes.all(|b| word(b) || matches!(b, b'.' | b'-'))
}

/// An optional domain, then components of lower case letters and digits with single separators between them.
fn is_path(text: &str) -> bool {
    let mut components: Vec<&str> = text.split('/').collect();
    let domain = components.len() > 1 && {
        let first = components[0];
        first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase())
    };
    if domain {
        let first = components.remove(0);
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
        if !first.bytes().all(allowed) {
            return false;
        }
    }
    let implied = if !domain && components.len() == 1 { "library/".len() } else { 0 };
    let length = components.iter().map(|c| c.len() + 1).sum::<usize>() - 1 + implied;
    length <= PATH_BYTES_MAX && components.into_iter().all(is_component)
}

fn is_component(text: &str) -> bool {
    let letter = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(letter) || !bytes.last().is_some_and(letter) {
        return false;
    }
    bytes
        .split(letter)
        .all(|separator| matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-'))
}
