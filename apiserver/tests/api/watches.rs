//! Watches.

use std::sync::Arc;
use std::time::Duration;

use api::UserInfo;
use axum::body::{Body, BodyDataStream};
use futures::StreamExt;
use http::Request;
use serde_json::{Value, json};

use crate::clock::MovedClock;
use crate::harness::Server;

const MAPS: &str = "/api/v1/namespaces/a/configmaps";

struct Events {
    stream: BodyDataStream,
    left: Vec<u8>,
}

impl Events {
    async fn open(server: &Server, url: &str) -> Self {
        Self::open_as(server, url, "application/json").await
    }

    async fn open_as(server: &Server, url: &str, accept: &str) -> Self {
        let request = Request::get(url).header("accept", accept).extension(UserInfo::new("admin", &["system:masters"]));
        let response = server.0.handle(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200);
        Self { stream: response.into_body().into_data_stream(), left: Vec::new() }
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.left.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.left.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let next =
                tokio::time::timeout(Duration::from_secs(5), self.stream.next()).await.expect("an event in time");
            self.left.extend_from_slice(&next?.unwrap());
        }
    }

    /// `TYPE name` of the next event.
    async fn text(&mut self) -> String {
        let Some(event) = self.next().await else { return "END".into() };
        format!("{} {}", event["type"].as_str().unwrap(), event["object"]["metadata"]["name"].as_str().unwrap_or("-"))
    }
}

async fn put(server: &Server, name: &str, even: &str, value: &str) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"even": even}},
        "data": {"v": value}});
    if server.post(MAPS, object.clone()).await.code == 409 {
        assert_eq!(server.put(&format!("{MAPS}/{name}"), object).await.code, 200);
    }
}

#[tokio::test]
async fn changes_come_in_order() {
    let server = Server::new();
    put(&server, "x", "true", "1").await;
    let mut all = Events::open(&server, &format!("{MAPS}?watch=1")).await;
    let mut even = Events::open(&server, &format!("{MAPS}?watch=1&labelSelector=even%3Dtrue")).await;
    let mut one = Events::open(&server, &format!("{MAPS}?watch=1&fieldSelector=metadata.name%3Dy")).await;
    put(&server, "y", "false", "1").await;
    put(&server, "x", "false", "2").await;
    put(&server, "x", "true", "3").await;
    server.delete(&format!("{MAPS}/x"), Value::Null).await;
    for expected in ["ADDED x", "ADDED y", "MODIFIED x", "MODIFIED x", "DELETED x"] {
        assert_eq!(all.text().await, expected);
    }
    for expected in ["ADDED x", "DELETED x", "ADDED x", "DELETED x"] {
        assert_eq!(even.text().await, expected);
    }
    assert_eq!(one.text().await, "ADDED y");
}

#[tokio::test]
async fn a_streaming_list_says_where_it_ends() {
    let server = Server::new();
    put(&server, "x", "true", "1").await;
    let query =
        "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1";
    let mut events = Events::open(&server, &format!("{MAPS}?{query}")).await;
    assert_eq!(events.text().await, "ADDED x");
    let end = events.next().await.unwrap();
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    put(&server, "y", "true", "1").await;
    assert_eq!(events.text().await, "ADDED y");
    // The last bookmark comes two seconds before the end, for which there is no time here.
    assert_eq!(events.text().await, "END");
}

#[tokio::test]
async fn versions_that_are_gone() {
    let server = Server::new();
    for i in 0..3 {
        put(&server, "x", "true", &i.to_string()).await;
    }
    let newest = server.0.registry().snapshot().revision();
    let mut events = Events::open(&server, &format!("{MAPS}?watch=1&resourceVersion={}", newest - 1)).await;
    assert_eq!(events.text().await, "MODIFIED x");
    server.0.registry().store().compact(newest).unwrap();
    let mut gone = Events::open(&server, &format!("{MAPS}?watch=1&resourceVersion=1")).await;
    let error = gone.next().await.unwrap();
    assert_eq!((error["type"].as_str(), error["object"]["code"].as_u64()), (Some("ERROR"), Some(410)));
}

#[tokio::test]
async fn ages_in_a_watched_table_are_of_the_event() {
    let clock = Arc::new(MovedClock::default());
    let server = Server::with_clock(clock.clone());
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let mut events = Events::open_as(&server, &format!("{MAPS}?watch=1"), table).await;
    // The put may be at the very end of a second.
    for (seconds, ages) in [(100, ["0s", "1s"]), (50, ["50s", "51s"])] {
        clock.forward(seconds);
        put(&server, "x", "true", &seconds.to_string()).await;
        let event = events.next().await.unwrap();
        let age = event["object"]["rows"][0]["cells"].as_array().unwrap().last().unwrap().as_str().unwrap();
        assert!(ages.contains(&age), "{event}");
    }
}

#[tokio::test]
async fn a_watch_ends_when_it_said() {
    let server = Server::new();
    let start = std::time::Instant::now();
    let mut events = Events::open(&server, &format!("{MAPS}?watch=1&timeoutSeconds=1")).await;
    assert_eq!(events.text().await, "END");
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
}
