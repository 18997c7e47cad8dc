//! Pages and URLs as they come from behind the proxy and as their reader needs them.

use std::sync::Arc;

use api::UserInfo;
use futures::FutureExt;

use super::*;
use crate::workers::Workers;

fn links() -> Links {
    Links { prefix: "/p/proxy".to_owned(), hosts: vec!["10.0.0.1:80".to_owned(), "api:6443".to_owned()] }
}

#[test]
fn urls_of_the_page_s_own_host_go_through_the_proxy() {
    for (url, expected) in [
        ("/", Some("/p/proxy/")),
        ("/a/b?c=/d#e", Some("/p/proxy/a/b?c=/d#e")),
        ("a/b", None),
        ("", None),
        ("?c=/d", None),
        ("#top", None),
        ("mailto:a@b", None),
        ("a//b", None),
        ("/a//b", Some("/p/proxy/a//b")),
        ("/p/proxy/a", None),
        ("http://10.0.0.1:80/a", Some("/p/proxy/a")),
        ("https://api:6443/p/proxy/a", Some("/p/proxy/a")),
        ("//api:6443/a", Some("/p/proxy/a")),
        ("http://10.0.0.1:80", None),
        ("http://elsewhere/a", None),
        ("//elsewhere/a", None),
    ] {
        assert_eq!(links().url(url).as_deref(), expected, "{url}");
    }
}

#[test]
fn links_of_pages_change_and_nothing_else() {
    for (page, expected) in [
        ("<a href=\"/x\">test</a>", "<a href=\"/p/proxy/x\">test</a>"),
        ("<A HREF='/x' id=1>", "<A HREF='/p/proxy/x' id=1>"),
        ("<img alt=a src=/x><img src = \"/y\" />", "<img alt=a src=/p/proxy/x><img src = \"/p/proxy/y\" />"),
        ("<a title=\"/x\" href=y>/z</a>", "<a title=\"/x\" href=y>/z</a>"),
        ("<p href=\"/x\">", "<p href=\"/x\">"),
        ("<!-- <a href=\"/x\"> --><a href=\"/x\">", "<!-- <a href=\"/x\"> --><a href=\"/p/proxy/x\">"),
        (
            "<script src=\"/x\">'<a href=\"/y\">'</script><a href=\"/z\">",
            "<script src=\"/p/proxy/x\">'<a href=\"/y\">'</script><a href=\"/p/proxy/z\">",
        ),
        ("<!DOCTYPE html>1 < 2 <a href=\"/x\"", "<!DOCTYPE html>1 < 2 <a href=\"/x\""),
        ("<a href=\"/x?a&amp;b\" download>", "<a href=\"/p/proxy/x?a&amp;b\" download>"),
        ("<a href=\"/x>y", "<a href=\"/x>y"),
        ("<a href=>", "<a href=>"),
        ("<", "<"),
    ] {
        assert_eq!(String::from_utf8_lossy(&links().page(page.as_bytes()).unwrap()), expected, "{page}");
    }
}

fn threads() -> UsersWorkers {
    Workers::default().of(Arc::new(UserInfo::new("jane", &[])))
}

async fn answer(headers: &[(&str, &str)], body: Vec<u8>) -> (HeaderMap, Vec<u8>) {
    let mut response = Response::builder();
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let response = links().translate(response.body(Body::from(body)).unwrap(), &threads()).await;
    let (parts, body) = response.into_parts();
    (parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn only_pages_and_locations_are_touched() {
    let page = b"<a href=\"/x\">".to_vec();
    let changed = b"<a href=\"/p/proxy/x\">".to_vec();
    let html = ("content-type", "text/html; charset=utf-8");
    let (headers, body) = answer(&[html, ("content-length", "13")], page.clone()).await;
    assert_eq!((headers.get(CONTENT_LENGTH), &body), (None, &changed));
    assert_eq!(answer(&[("content-type", "text/plain")], page.clone()).await.1, page);
    assert_eq!(answer(&[html, ("content-encoding", "br")], page.clone()).await.1, page);
    let (headers, _) = answer(&[("location", "/x")], Vec::new()).await;
    assert_eq!(headers[LOCATION], "/p/proxy/x");
    for (coding, name) in [(Coding::Gzip, "gzip"), (Coding::Deflate, "deflate")] {
        let (_, body) = answer(&[html, ("content-encoding", name)], coding.encode(page.clone()).unwrap()).await;
        assert_eq!(coding.decode(&body).unwrap().as_ref(), changed, "{name}");
    }
    let broken = answer(&[html, ("content-encoding", "gzip")], page.clone()).await.1;
    assert_eq!(broken, page);
    let huge = [b"<a href=\"/x\">".to_vec(), vec![b' '; PAGE_BYTES_MAX]].concat();
    assert_eq!(answer(&[html], huge.clone()).await.1, huge);
}

#[tokio::test]
async fn a_page_does_not_grow_without_bound() {
    let html = ("content-type", "text/html");
    // Links of one letter, which become many times as long.
    for tag in [&b"<a href=/>"[..], b"href=/ "] {
        let mut page = b"<a ".to_vec();
        while page.len() + tag.len() < PAGE_BYTES_MAX {
            page.extend_from_slice(tag);
        }
        page.push(b'>');
        assert!(links().page(&page).is_none());
        assert_eq!(answer(&[html, ("content-encoding", "")], page.clone()).await.1.len(), page.len());
    }
}

#[test]
fn a_long_page_leaves_the_thread_that_serves() {
    let html = ("content-type", "text/html");
    let (mut long, short) = (b"<a href=/>".to_vec(), b"<a href=/>".to_vec());
    long.resize(EXPENSIVE_BYTES + 1, b' ');
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        // While the only other thread is held, nothing can be done elsewhere.
        let (held, release) = std::sync::mpsc::channel::<()>();
        let holder = tokio::task::spawn_blocking(move || release.recv());
        assert!(answer(&[html], short).now_or_never().is_some());
        assert!(answer(&[html], long.clone()).now_or_never().is_none());
        drop(held);
        assert!(holder.await.unwrap().is_err());
        assert!(answer(&[html], long).await.1.len() > EXPENSIVE_BYTES);
    });
}
