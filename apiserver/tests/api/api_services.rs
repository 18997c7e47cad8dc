//! What the statuses of APIServices say.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::Server;

const ALL: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

/// Waits until the condition of an APIService is this one, of status and reason.
async fn becomes(server: &Server, name: &str, wanted: [&str; 2]) -> Value {
    let started = Instant::now();
    loop {
        let found = server.get(&format!("{ALL}/{name}")).await;
        let condition = found.at("status.conditions.0");
        if condition["type"] == "Available" && condition["status"] == wanted[0] && condition["reason"] == wanted[1] {
            return condition;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "{name}: {}", found.json());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_local_one_is_available_and_one_of_a_service_is_not() {
    let server = Server::new();
    let stop = CancellationToken::new();
    let (background, token) = (server.0.clone(), stop.clone());
    let running = tokio::spawn(async move { background.run(token).await });
    let mut spec = json!({"group": "ex.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100});
    let object = |name: &str, spec: &Value| json!({"metadata": {"name": name}, "spec": spec});
    assert_eq!(server.post(ALL, object("v1.ex.com", &spec)).await.code, 201);
    let local = becomes(&server, "v1.ex.com", ["True", "Local"]).await;
    assert_eq!(local["message"], "Local APIServices are always available");
    let time = local["lastTransitionTime"].clone();
    assert!(time.is_string());
    spec["service"] = json!({"namespace": "a", "name": "s"});
    let changed = server.merge(&format!("{ALL}/v1.ex.com"), json!({"spec": spec})).await;
    assert_eq!(changed.code, 200, "{:?}", changed.json());
    let remote = becomes(&server, "v1.ex.com", ["False", "FailedDiscoveryCheck"]).await;
    assert_eq!(remote["message"], "this server sends no request to service/s in \"a\" yet");
    stop.cancel();
    running.await.unwrap();
}
