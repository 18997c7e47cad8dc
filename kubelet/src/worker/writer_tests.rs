//! The writer before an API server that remembers one pod, and lets others write to it.

use api::{catalogue::Catalogue, patch::strategic};
use http::{Request, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::client::Body;
use parking_lot::Mutex;

use super::*;

/// The one pod of the API server, and how often the agent has written to it.
struct Server {
    pod: Mutex<Value>,
    writes: Mutex<u32>,
    shown: Mutex<Option<Shown>>,
}

impl Server {
    fn start(status: Value) -> Arc<Self> {
        let metadata = json!({"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "7"});
        let pod = json!({"metadata": metadata, "spec": {"containers": []}, "status": status});
        Arc::new(Self { pod: Mutex::new(pod), writes: Mutex::default(), shown: Mutex::default() })
    }

    fn pod(&self) -> Arc<Pod> {
        Arc::new(serde_json::from_value(self.pod.lock().clone()).expect("a pod"))
    }

    /// Merges a patch; the revision moves only if something changes.
    fn merge(&self, patch: Value) {
        let catalogue = Catalogue::builtin();
        let schema = &catalogue.get("", "v1", "pods").expect("pods").schema;
        let mut pod = self.pod.lock();
        let before = pod.clone();
        strategic::apply(pod.as_object_mut().expect("an object"), patch, schema.root()).expect("a patch");
        if *pod != before {
            let revision: u64 = pod["metadata"]["resourceVersion"].as_str().expect("text").parse().expect("a number");
            pod["metadata"]["resourceVersion"] = (revision + 1).to_string().into();
        }
    }

    /// Another writes, and the agent's watch tells of it.
    fn other_writes(&self, status: Value) {
        self.merge(json!({"status": status}));
        self.show();
    }

    fn show(&self) {
        self.shown.lock().as_ref().expect("a writer").send_replace(self.pod());
    }

    fn writer(self: &Arc<Self>, clock: &Clock) -> StatusWriter {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let body = request.into_body().collect().await.expect("a body").to_bytes();
                server.merge(serde_json::from_slice(&body).expect("JSON"));
                *server.writes.lock() += 1;
                let answer = server.pod.lock().to_string();
                Ok::<_, std::convert::Infallible>(Response::new(Body::from(answer.into_bytes())))
            }
        });
        let api = Api::namespaced(kube::Client::new(service, "n"), "n");
        let (writer, shown) = StatusWriter::over(api, clock.clone(), Arc::default(), &self.pod());
        *self.shown.lock() = Some(shown);
        writer
    }

    /// Waits until the API shows what the writer wants; the writer acts in other tasks of this thread.
    async fn settles(&self, clock: &Clock, wanted: &PodStatus) {
        let wanted = serde_json::to_value(wanted).expect("a status");
        for _ in 0..100 {
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            if patch(&Known::of(&self.pod()).status, &wanted).is_none() {
                return;
            }
            clock.advance(RECONCILE_PAUSE / 10);
        }
        panic!("{:#} is not {wanted:#}", self.pod.lock()["status"]);
    }
}

fn status(ready: &str) -> PodStatus {
    serde_json::from_value(json!({
        "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "startTime": "2026-01-01T00:00:00Z",
        "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        "containerStatuses": [{"name": "c", "ready": ready == "True", "image": "i", "imageID": "", "restartCount": 0}],
    }))
    .expect("a status")
}

#[tokio::test]
async fn what_another_wrote_is_put_right() {
    let clock = Clock::manual(Timestamp::UNIX_EPOCH);
    let server = Server::start(json!({}));
    let mut writer = server.writer(&clock);
    let wanted = status("True");
    writer.set(wanted.clone());
    writer.flush().await;
    server.show();
    server.settles(&clock, &wanted).await;
    assert_eq!(*server.writes.lock(), 1, "its own writing is no news");
    for theirs in [
        json!({"conditions": [{"type": "Ready", "status": "False", "reason": "NodeNotReady"}]}),
        json!({"conditions": [{"type": "Ready", "$patch": "delete"}, {"type": "PodScheduled", "status": "False"}]}),
        json!({"containerStatuses": null, "podIP": "10.9.9.9", "podIPs": [{"ip": "10.9.9.9"}]}),
        json!({"phase": "Failed", "reason": "Evicted", "message": "gone"}),
        json!({"startTime": null, "nominatedNodeName": "elsewhere"}),
    ] {
        server.other_writes(theirs);
        server.settles(&clock, &wanted).await;
    }
}

#[tokio::test]
async fn what_others_own_stays() {
    let clock = Clock::manual(Timestamp::UNIX_EPOCH);
    let server = Server::start(json!({"conditions": [{"type": "example.com/gate", "status": "False"}]}));
    let mut writer = server.writer(&clock);
    let mut wanted = status("True");
    // As the worker copies it from what it has seen.
    let seen = server.pod().status.clone().expect("a status").conditions.expect("conditions");
    wanted.conditions.get_or_insert_default().extend(seen);
    writer.set(wanted.clone());
    writer.flush().await;
    let theirs = json!({"conditions": [{"type": "example.com/gate", "status": "True"}],
        "resourceClaimStatuses": [{"name": "a", "resourceClaimName": "b"}]});
    server.other_writes(theirs);
    server.settles(&clock, &wanted).await;
    writer.set(status("False"));
    writer.flush().await;
    let shown = server.pod.lock()["status"].clone();
    let conditions = shown["conditions"].as_array().expect("a list").clone();
    assert!(conditions.iter().any(|c| c["type"] == "example.com/gate" && c["status"] == "True"), "{shown:#}");
    assert!(shown["resourceClaimStatuses"].is_array(), "{shown:#}");
}

#[tokio::test]
async fn a_write_that_crosses_another_is_put_right_too() {
    let clock = Clock::manual(Timestamp::UNIX_EPOCH);
    let server = Server::start(json!({}));
    let mut writer = server.writer(&clock);
    writer.set(status("True"));
    writer.flush().await;
    // Nobody has told the writer of this when it writes the next state, in which the condition is as it was.
    server.merge(json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}));
    let mut wanted = status("True");
    wanted.pod_ip = Some("10.0.0.2".into());
    writer.set(wanted.clone());
    writer.flush().await;
    server.settles(&clock, &wanted).await;
}

#[tokio::test]
async fn who_writes_all_the_time_does_not_keep_the_agent_busy() {
    let clock = Clock::manual(Timestamp::UNIX_EPOCH);
    let server = Server::start(json!({}));
    let mut writer = server.writer(&clock);
    let wanted = status("True");
    writer.set(wanted.clone());
    writer.flush().await;
    for round in 0..200 {
        server
            .other_writes(json!({"conditions": [{"type": "Ready", "status": "False", "message": round.to_string()}]}));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    assert!(*server.writes.lock() <= 3, "{} writes in no time", server.writes.lock());
    // Its own news does not wait for that.
    writer.set(status("False"));
    writer.flush().await;
    server.settles(&clock, &status("False")).await;
}
