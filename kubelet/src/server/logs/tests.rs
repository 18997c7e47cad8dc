//! Logs as files, and what clients get of them.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::Stream;

use super::*;

const LOG: &str = "2026-01-02T03:04:05.1Z stdout F one\n\
                   2026-01-02T03:04:06.123456789Z stderr F two\n\
                   not an entry\n\
                   2026-01-02T03:04:07Z stdout P thr\n\
                   2026-01-02T03:04:08+01:00 stdout F ee\n\
                   2026-01-02T03:04:09Z stdout F \n";

async fn all(content: impl Stream<Item = io::Result<Bytes>>) -> String {
    let mut content = std::pin::pin!(content);
    let mut text = Vec::new();
    while let Some(part) = content.next().await {
        text.extend_from_slice(&part.unwrap());
    }
    String::from_utf8(text).unwrap()
}

async fn check(parameters: &[(&str, &str)], expected: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("0.log");
    std::fs::write(&path, LOG).unwrap();
    let get = |name: &str| parameters.iter().find(|(have, _)| *have == name).map(|(_, value)| (*value).to_owned());
    let options = Options::parse(get, "2026-01-02T03:04:10Z".parse().unwrap()).unwrap();
    let content = read(path, options, || async { false }).unwrap();
    assert_eq!(all(content).await, expected, "{parameters:?}");
}

#[tokio::test]
async fn parts_of_a_log() {
    check(&[], "one\ntwo\nthree\n\n").await;
    check(&[("tailLines", "2")], "ee\n\n").await;
    check(&[("tailLines", "0")], "").await;
    check(&[("tailLines", "99")], "one\ntwo\nthree\n\n").await;
    check(&[("limitBytes", "5")], "one\nt").await;
    check(&[("stream", "Stderr")], "two\n").await;
    check(&[("sinceSeconds", "3")], "thr\n").await;
    check(&[("sinceTime", "2026-01-02T03:04:06.1Z")], "two\nthr\n").await;
    check(
        &[("timestamps", "true")],
        "2026-01-02T03:04:05.100000000Z one\n2026-01-02T03:04:06.123456789Z two\n\
         2026-01-02T03:04:07.000000000Z three\n2026-01-02T03:04:09.000000000Z \n",
    )
    .await;
}

#[test]
fn wrong_parameters_are_refused() {
    let parse = |name: &'static str, value: &'static str| {
        Options::parse(|have| (have == name).then(|| value.to_owned()), Timestamp::UNIX_EPOCH)
    };
    for (name, value) in
        [("tailLines", "-1"), ("limitBytes", "0"), ("follow", "maybe"), ("sinceTime", "x"), ("stream", "x")]
    {
        assert!(parse(name, value).is_err(), "{name}={value}");
    }
}

#[tokio::test]
async fn a_followed_log_is_read_across_a_rotation_to_the_containers_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("0.log");
    let mut file = File::create(&path).unwrap();
    writeln!(file, "2026-01-02T03:04:05Z stdout F one").unwrap();
    let running = Arc::new(AtomicBool::new(true));
    let asked = running.clone();
    let options = Options { follow: true, ..Options::default() };
    let content = read(path.clone(), options, move || {
        let running = asked.load(Ordering::SeqCst);
        async move { running }
    });
    let mut content = Box::pin(content.unwrap());
    let mut next = async || String::from_utf8(content.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert_eq!(next().await, "one\n");
    writeln!(file, "2026-01-02T03:04:05Z stdout F two").unwrap();
    assert_eq!(next().await, "two\n");
    write!(file, "2026-01-02T03:04:05Z stdout F thr").unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    writeln!(file, "ee").unwrap();
    assert_eq!(next().await, "three\n");
    std::fs::rename(&path, directory.path().join("0.log.1")).unwrap();
    writeln!(file, "2026-01-02T03:04:05Z stdout F four").unwrap();
    drop(file);
    let mut file = File::create(&path).unwrap();
    writeln!(file, "2026-01-02T03:04:05Z stdout F five").unwrap();
    let mut text = next().await;
    if text == "four\n" {
        text += &next().await;
    }
    assert_eq!(text, "four\nfive\n");
    running.store(false, Ordering::SeqCst);
    drop(file);
    let end = tokio::time::timeout(Duration::from_secs(2), content.next()).await;
    assert!(end.unwrap().is_none());
}
