//! Lines, events, and how often a server is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn cut(chunks: &[&str]) -> Vec<String> {
    let mut lines = Lines::default();
    let mut all = Vec::new();
    for chunk in chunks {
        lines.push(Bytes::copy_from_slice(chunk.as_bytes())).unwrap();
        while let Some(line) = lines.next() {
            all.push(String::from_utf8(line.to_vec()).unwrap());
        }
    }
    all
}

#[test]
fn lines_come_in_any_pieces() {
    assert_eq!(cut(&["a\nb", "c\n", "d", "", "e\nf\n"]), ["a\n", "bc\n", "de\n", "f\n"]);
    assert!(cut(&["no end"]).is_empty());
    let mut lines = Lines::default();
    assert!(lines.push(Bytes::from(vec![b'x'; LINE_BYTES_MAX + 1])).is_err());
}

#[test]
fn events_are_read_however_they_are_written() {
    let object = r#"{"kind":"Pod","metadata":{"name":"a","uid":"1","resourceVersion":"7"},"spec":{"x":"}\n"}}"#;
    let ours = format!("{{\"type\":\"ADDED\",\"object\":{object}}}\n");
    let theirs = format!(" {{ \"object\" : {object} , \"type\": \"ADDED\" }}\r\n");
    for line in [&ours, &theirs] {
        let (kind, found) = Line::of(line).unwrap();
        assert_eq!((&*kind, found), ("ADDED", object));
        let raw = Raw::of(found).unwrap();
        assert_eq!((&*raw.head.name, &*raw.head.uid, &*raw.head.resource_version), ("a", "1", "7"));
    }
    for wrong in ["", "null", "{}", "{\"type\":\"ADDED\"}", "{\"type\":\"ADDED\",\"object\":{}"] {
        assert!(Line::of(wrong).is_err(), "{wrong}");
    }
    for wrong in ["", "7", "{}", "{\"kind\":\"Pod\"}", "{\"metadata\":7}", "{\"metadata\":{\"name\":7}}"] {
        assert!(Raw::of(wrong).is_err(), "{wrong}");
    }
}

/// How often a server is asked that ends every watch after `body`, while the clock stands still.
async fn asked(body: &'static str) -> usize {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let answer = move |_: http::Request<kube::client::Body>| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            Ok::<_, std::convert::Infallible>(http::Response::new(kube::client::Body::from(body.as_bytes().to_vec())))
        }
    };
    let client = Client::new(tower::service_fn(answer), "default");
    let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
    let reflector = Reflector::new(client, "/api/v1/pods".into(), Selection::default(), clock);
    let mut run = std::pin::pin!(reflector.run(|_| {}));
    for _ in 0..1_000 {
        let _ = futures::poll!(&mut run);
        tokio::task::yield_now().await;
    }
    asked.load(Ordering::Relaxed)
}

#[tokio::test]
async fn only_a_watch_that_told_nothing_is_waited_after() {
    assert_eq!(asked("").await, 1, "an end without a word");
    let unfinished = r#"{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"1"}}}"#.to_string() + "\n";
    assert_eq!(asked(unfinished.leak()).await, 1, "a list that breaks off");
    let quiet = r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"1","annotations":{"k8s.io/initial-events-end":"true"}}}}"#.to_string() + "\n";
    assert!(asked(quiet.leak()).await > 10, "a quiet watch that came to its time");
}

#[test]
fn managed_fields_are_not_decoded() {
    let json = r#"{"metadata":{"name":"a","managedFields":[{"manager":"m\"]"}],"uid":"1","labels":{"x":"y"}}}"#;
    let raw = Raw::of(json).unwrap();
    assert_eq!((&*raw.head.name, &*raw.head.uid), ("a", "1"));
    let object: serde_json::Value = raw.decode().unwrap();
    let bare = serde_json::json!({"name": "a", "managedFields": null, "uid": "1", "labels": {"x": "y"}});
    assert_eq!(object["metadata"], bare);
}
