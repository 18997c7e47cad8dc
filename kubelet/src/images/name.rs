//! Names of images: `registry/path:tag@digest` and what may be left out of them.

/// Checks that a name can be an image reference.
///
/// # Errors
/// With the reason that people see in the event.
pub fn check(image: &str) -> Result<(), String> {
    let wrong = || format!("couldn't parse image name {image:?}: invalid reference format");
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    if let Some(digest) = digest {
        let hex = digest.strip_prefix("sha256:").ok_or_else(wrong)?;
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase()) {
            return Err(wrong());
        }
    }
    let (path, tag) = split_tag(rest);
    if let Some(tag) = tag {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if tag.is_empty() || tag.len() > 128 || !tag.bytes().all(fine) || tag.starts_with(['.', '-']) {
            return Err(wrong());
        }
    }
    let (domain, path) = split_domain(path);
    if domain.is_some_and(|domain| !domain.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))) {
        return Err(wrong());
    }
    let component = |part: &str| {
        let edge = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        edge(part.bytes().next())
            && edge(part.bytes().last())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    };
    if path.split('/').all(component) { Ok(()) } else { Err(wrong()) }
}

fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        // A colon before the last slash belongs to a registry's port.
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (name, None),
    }
}

fn split_domain(path: &str) -> (Option<&str>, &str) {
    match path.split_once('/') {
        Some((domain, rest)) if domain.contains(['.', ':']) || domain == "localhost" => (Some(domain), rest),
        _ => (None, path),
    }
}

/// The full name that containerd stores an image under: `busybox` is `docker.io/library/busybox:latest`.
pub fn normalize(image: &str) -> String {
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    let (path, tag) = split_tag(rest);
    let full = match split_domain(path) {
        (Some(domain), path) => format!("{domain}/{path}"),
        (None, path) if path.contains('/') => format!("docker.io/{path}"),
        (None, path) => format!("docker.io/library/{path}"),
    };
    match (tag, digest) {
        (Some(tag), Some(digest)) => format!("{full}:{tag}@{digest}"),
        (None, Some(digest)) => format!("{full}@{digest}"),
        (Some(tag), None) => format!("{full}:{tag}"),
        (None, None) => format!("{full}:latest"),
    }
}

/// The registry that an image comes from.
pub fn registry(image: &str) -> String {
    let full = normalize(image);
    full.split('/').next().unwrap_or_default().to_owned()
}

/// The pull policy of a container that names none: `Always` for the tag `latest`, else `IfNotPresent`.
pub fn default_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    match split_tag(image).1 {
        None | Some("latest") => "Always",
        Some(_) => "IfNotPresent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let check_name = |image: &str, expected: Option<&str>| {
            assert_eq!(check(image).ok().map(|()| normalize(image)).as_deref(), expected, "{image}");
        };
        check_name("busybox", Some("docker.io/library/busybox:latest"));
        check_name("busybox:1.36", Some("docker.io/library/busybox:1.36"));
        check_name("me/app", Some("docker.io/me/app:latest"));
        check_name("localhost/app", Some("localhost/app:latest"));
        check_name("registry.example:5000/a/b", Some("registry.example:5000/a/b:latest"));
        check_name("registry.example/a:v1", Some("registry.example/a:v1"));
        let digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        check_name(&format!("app@sha256:{digest}"), Some(&format!("docker.io/library/app@sha256:{digest}")));
        check_name("", None);
        check_name("Upper", None);
        check_name("a b", None);
        check_name("app:", None);
        check_name("/app", None);
        check_name("app@sha256:12", None);
    }
}
