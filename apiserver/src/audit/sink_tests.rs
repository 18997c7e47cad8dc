//! Who waits for whom, and what is posted.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use serde_json::{Value, json};

use super::policy::Stage;
use super::settings::{Batching, Format, Mode, WebhookSettings};
use super::sink::{AuditCounts, Job, Sink};
use super::tests::{Audited, stages};
use crate::strategy::tests::{PODS, pod};

fn batching(mode: Mode) -> Batching {
    Batching { mode, buffer_size: 2, size_max: 1, wait_max: Duration::ZERO, throttle: None }
}

#[tokio::test]
async fn nobody_waits_for_a_slow_writer_in_batches() {
    let counts = Arc::<AuditCounts>::default();
    // Nobody reads.
    let (sink, _jobs) = Sink::new("log", &batching(Mode::Batch), Format::Json, None, counts.clone());
    for _ in 0..5 {
        let done = sink.put("{}".into(), Stage::ResponseComplete).now_or_never();
        assert_eq!(done, Some(true), "the request goes on at once");
    }
    let mut text = metrics::Text::default();
    metrics::Collect::collect(&*counts, &mut text);
    assert!(text.finish().contains("apiserver_audit_error_total{plugin=\"buffered\"} 3"));
}

#[tokio::test]
async fn requests_wait_for_a_writer_and_the_strict_are_refused_without_one() {
    let counts = Arc::<AuditCounts>::default();
    let (sink, mut jobs) = Sink::new("log", &batching(Mode::Blocking), Format::Json, None, counts.clone());
    assert_eq!(sink.put("{}".into(), Stage::RequestReceived).now_or_never(), Some(true), "the last is waited for");
    let mut waiting = std::pin::pin!(sink.put("{}".into(), Stage::ResponseComplete));
    assert_eq!(waiting.as_mut().now_or_never(), None);
    for _ in 0..2 {
        let Some(Job::Line(line)) = jobs.recv().await else { panic!("no line") };
        line.finish(false);
    }
    assert!(waiting.await, "a failure is none of the request's");
    drop(jobs);
    assert!(sink.put("{}".into(), Stage::ResponseComplete).await);
    let (strict, jobs) = Sink::new("log", &batching(Mode::BlockingStrict), Format::Json, None, counts);
    drop(jobs);
    assert!(!strict.put("{}".into(), Stage::RequestReceived).await);
}

#[tokio::test]
async fn what_is_given_up_while_it_waits_for_room_is_written_all_the_same() {
    let counts = Arc::<AuditCounts>::default();
    let (sink, mut jobs) = Sink::new("log", &batching(Mode::Blocking), Format::Json, None, counts.clone());
    let mut asked = 0;
    while sink.put("{}".into(), Stage::RequestReceived).now_or_never().is_some() {
        asked += 1;
    }
    // The last was given up, and so is one more.
    assert_eq!(sink.put("{}".into(), Stage::ResponseComplete).now_or_never(), None);
    for _ in 0..asked + 2 {
        let line = tokio::time::timeout(Duration::from_secs(10), jobs.recv()).await;
        assert!(matches!(line, Ok(Some(Job::Line(_)))), "of {asked}");
    }
    let mut text = metrics::Text::default();
    metrics::Collect::collect(&*counts, &mut text);
    assert!(!text.finish().contains("apiserver_audit_error_total{"));
}

/// Answers posts with these codes in turn, and hands on what was posted.
fn webhook(codes: Vec<u16>) -> (u16, std::sync::mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (send, posted) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for code in codes {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
            assert!(
                head.starts_with("post /audit?timeout=30s http/1.1") && head.contains("authorization: bearer t"),
                "{head}"
            );
            let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            stream
                .write_all(format!("HTTP/1.1 {code} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes())
                .unwrap();
            send.send(serde_json::from_slice(&body).unwrap()).unwrap();
        }
    });
    (port, posted)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_posted_in_batches_until_they_are_taken() {
    let (port, posted) = webhook(vec![500, 200]);
    let audited = Audited::with("rules: [{level: Metadata}]", |settings| {
        let config = settings.policy_file.as_ref().unwrap().with_file_name("config");
        let text = format!(
            "current-context: x\ncontexts:\n- {{name: x, context: {{cluster: c, user: u}}}}\nclusters:\n- {{name: c, cluster: {{server: 'http://127.0.0.1:{port}/audit'}}}}\n\
             users:\n- {{name: u, user: {{token: t}}}}\n"
        );
        std::fs::write(&config, text).unwrap();
        let webhook = WebhookSettings { initial_backoff: Duration::from_millis(1), ..WebhookSettings::new(config) };
        (settings.log, settings.webhook) = (None, Some(webhook));
    })
    .await;
    assert_eq!(audited.server.post(PODS, pod("p")).await.0, 201);
    audited.server.0.registry().config().audit.as_ref().unwrap().flush().await;
    let (refused, taken) = (posted.recv().unwrap(), posted.recv().unwrap());
    assert_eq!(refused, taken, "the same is sent again");
    assert_eq!((&taken["kind"], &taken["apiVersion"]), (&json!("EventList"), &json!("audit.k8s.io/v1")));
    assert_eq!(stages(taken["items"].as_array().unwrap()), ["RequestReceived", "ResponseComplete"]);
    assert!(taken["items"][0]["kind"].is_null());
    let mut text = metrics::Text::default();
    metrics::Collect::collect(&*audited.counts, &mut text);
    assert!(!text.finish().contains("apiserver_audit_error_total{"));
}
