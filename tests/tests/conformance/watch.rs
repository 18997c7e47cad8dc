//! A watch, read with deadlines.

use std::time::Duration;

use bytes::Buf;
use http::Request;
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;

use crate::plane::{PATIENCE, Plane};

/// A stream of events.
pub(crate) struct Watch {
    body: Body,
    rest: Vec<u8>,
}

/// One event of a watch.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    pub kind: String,
    /// What it is about.
    pub object: Value,
}

impl Watch {
    /// Opens the watch of a path; panics if it is refused.
    pub(crate) async fn open(plane: &Plane, path: &str) -> Self {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = plane.client().send(request).await.expect("an answer");
        assert_eq!(response.status().as_u16(), 200, "a watch of {path}");
        Self { body: response.into_body(), rest: Vec::new() }
    }

    /// The next event; panics if none comes.
    pub(crate) async fn next(&mut self) -> Event {
        self.within(PATIENCE).await.expect("an event in time")
    }

    /// The next event, if one comes within a time.
    pub(crate) async fn within(&mut self, time: Duration) -> Option<Event> {
        tokio::time::timeout(time, self.line()).await.ok()?.map(|line| {
            let mut event: Value = serde_json::from_slice(&line).expect("an event");
            Event { kind: event["type"].as_str().expect("a type").to_owned(), object: event["object"].take() }
        })
    }

    /// Reads on to an event of a kind whose object something holds of, and returns the object.
    pub(crate) async fn until(&mut self, kind: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let search = async {
            loop {
                let Some(event) = self.within(PATIENCE).await else { panic!("waited in vain for {what}") };
                if event.kind == kind && holds(&event.object) {
                    return event.object;
                }
            }
        };
        let found = tokio::time::timeout(PATIENCE, search).await;
        found.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }

    /// Reads on to an event of a kind about the object of a name.
    pub(crate) async fn expect(&mut self, kind: &str, name: &str) -> Value {
        self.until(kind, &format!("{kind} {name}"), |object| object["metadata"]["name"] == name).await
    }

    async fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let rest = self.rest.split_off(end + 1);
                return Some(std::mem::replace(&mut self.rest, rest));
            }
            let frame = self.body.frame().await?.expect("the stream does not break");
            if let Ok(mut data) = frame.into_data() {
                self.rest.extend_from_slice(&data.copy_to_bytes(data.remaining()));
            }
        }
    }
}
