//! `/logs/`: the machine's own logs, as files and listings, as Go's `http.FileServer` shows a directory.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Response, StatusCode};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use tokio_util::io::ReaderStream;

use super::routes::text;

/// Where the machine's logs are.
pub(super) const DIRECTORY: &str = "/var/log";
/// How many names a listing has at most.
const NAMES_MAX: usize = 10_000;

/// The file or directory that was asked for.
enum Found {
    Directory(File),
    File(File, u64),
}

/// Answers with what is at `path` below `root`. Links lead nowhere else: they are followed as if `root` were all there is.
pub(super) fn answer(root: &Path, path: &str) -> Response<Body> {
    let below = path.trim_matches('/');
    let found = match open(root, below) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return text(StatusCode::FORBIDDEN, "403 Forbidden");
        }
        Err(_) => return text(StatusCode::NOT_FOUND, "404 page not found"),
    };
    match found {
        Found::Directory(_) if !path.ends_with('/') => {
            let name = path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("logs");
            moved(&format!("{name}/"))
        }
        Found::Directory(directory) => listing(&directory),
        // A file is none of those that end in a slash.
        Found::File(..) if path.ends_with('/') => moved(&format!("../{}", below.rsplit('/').next().unwrap_or(""))),
        Found::File(file, size) => content(file, size),
    }
}

fn open(root: &Path, below: &str) -> io::Result<Found> {
    let root = File::open(root)?;
    let path = if below.is_empty() { "." } else { below };
    // Not blocking, so that a pipe keeps nobody waiting.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened =
        openat2(root.as_fd(), path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)?;
    let about = fstat(&opened)?;
    match FileType::from_raw_mode(about.st_mode) {
        FileType::Directory => Ok(Found::Directory(opened.into())),
        FileType::RegularFile => Ok(Found::File(opened.into(), u64::try_from(about.st_size).unwrap_or(0))),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn moved(to: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

fn listing(directory: &File) -> Response<Body> {
    let mut names: Vec<String> = Vec::new();
    let entries = rustix::fs::Dir::read_from(directory).into_iter().flatten().flatten();
    for entry in entries.take(NAMES_MAX) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "." || name == ".." {
            continue;
        }
        names.push(if entry.file_type() == FileType::Directory { name + "/" } else { name });
    }
    names.sort();
    let lines = names.iter().map(|name| format!("<a href=\"{}\">{}</a>\n", address(name), shown(name)));
    let head = "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n";
    let mut response = Response::new(Body::from(format!("{head}{}</pre>\n", lines.collect::<String>())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

fn content(file: File, size: u64) -> Response<Body> {
    use tokio::io::AsyncReadExt as _;
    // What is written while it is read is not part of the answer, whose length is told before.
    let rest = tokio::fs::File::from_std(file).take(size);
    let mut response = Response::new(Body::from_stream(ReaderStream::new(rest)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    response
}

/// A name as a relative URL.
fn address(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/$&+=@".contains(&byte);
    let escaped = name.bytes().map(|byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") });
    escaped.collect()
}

/// A name as HTML shows it.
fn shown(name: &str) -> String {
    name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn ask(root: &Path, path: &str) -> (u16, String, String) {
        let response = answer(root, path);
        let code = response.status().as_u16();
        let to = response.headers().get(LOCATION).map_or("", |to| to.to_str().unwrap()).to_string();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, to, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn what_is_below_is_served_and_nothing_else() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "no").unwrap();
        let root = tempfile::tempdir().unwrap();
        let path = root.path();
        std::fs::create_dir(path.join("sub")).unwrap();
        std::fs::write(path.join("sub/a b<c>"), "x").unwrap();
        std::fs::write(path.join("one.log"), "first\n").unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), path.join("link")).unwrap();
        std::os::unix::fs::symlink("one.log", path.join("inner")).unwrap();
        let (code, _, list) = ask(path, "/").await;
        assert!(code == 200 && list.contains("<a href=\"sub/\">sub/</a>\n"), "{list}");
        assert_eq!(ask(path, "").await.1, "logs/");
        assert_eq!(ask(path, "/sub").await, (301, "sub/".into(), String::new()));
        assert!(ask(path, "/sub/").await.2.contains("<a href=\"a%20b%3Cc%3E\">a b&lt;c&gt;</a>"));
        assert_eq!(ask(path, "/one.log").await, (200, String::new(), "first\n".into()));
        assert_eq!(ask(path, "/inner").await.2, "first\n");
        for wrong in ["/link", "/../secret", "/sub/../../secret", "/none", "/one.log/x"] {
            assert_eq!(ask(path, wrong).await.0, 404, "{wrong}");
        }
    }
}
