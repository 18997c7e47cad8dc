//! The flow schemas and priority levels that every cluster has stay there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use apiserver::bootstrap::{Bootstrap, reconcile};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::clock::MovedClock;
use crate::definitions::until;
use crate::harness::Server;

const SCHEMAS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
const LEVELS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";

/// Waits until a value of the answer is as it should be.
async fn becomes(server: &Server, url: &str, path: &str, wanted: Value) {
    let started = Instant::now();
    while server.get(url).await.at(path) != wanted {
        assert!(started.elapsed() < Duration::from_secs(5), "{path} of {url} does not become {wanted}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Makes a schema without its level; the follower has seen everything before it once it says so.
async fn seen(server: &Server, name: &str) {
    let schema = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": name},
        "spec": {"matchingPrecedence": 9000, "priorityLevelConfiguration": {"name": "nowhere"}}});
    let made = server.post(SCHEMAS, schema).await;
    assert_eq!(made.code, 201, "{:?}", made.json());
    becomes(server, &format!("{SCHEMAS}/{name}"), "status.conditions.0.status", "True".into()).await;
}

#[tokio::test]
async fn what_every_cluster_has_comes_back_once_a_minute_at_most() {
    let clock = Arc::new(MovedClock::default());
    let server = Server::with_clock(clock.clone());
    let wanted =
        Bootstrap { advertise_address: [127, 0, 0, 1].into(), secure_port: 6443, client_ca_pem: String::new() };
    reconcile(server.0.registry(), &wanted).await.unwrap();
    let stop = CancellationToken::new();
    let (background, token) = (server.0.clone(), stop.clone());
    let running = tokio::spawn(async move { background.run(token).await });
    server.0.started().await;
    seen(&server, "first").await;
    let untouched = server.get(&format!("{LEVELS}/exempt")).await.at("metadata.resourceVersion");

    let exempt = format!("{SCHEMAS}/exempt");
    let uid = server.get(&exempt).await.at("metadata.uid");
    assert_eq!(server.delete(&exempt, Value::Null).await.code, 200);
    until(&server, &exempt, 200).await;
    becomes(&server, &exempt, "status.conditions.0.status", "False".into()).await;
    let back = server.get(&exempt).await;
    assert!(back.at("metadata.uid") != uid && back.at("spec.rules.0.subjects.0.group.name") == "system:masters");
    let managers = back.at("metadata.managedFields");
    let is_producer = |entry: &Value| entry["manager"] == "api-priority-and-fairness-config-producer-v1";
    assert!(managers.as_array().unwrap().iter().any(is_producer), "{managers}");

    let catch_all = format!("{LEVELS}/catch-all");
    let changed = server.merge(&catch_all, json!({"spec": {"limited": {"nominalConcurrencyShares": 99}}})).await;
    assert_eq!(changed.at("spec.limited.nominalConcurrencyShares"), 99);
    becomes(&server, &catch_all, "spec.limited.nominalConcurrencyShares", 5.into()).await;

    // Whoever goes on is not raced with.
    server.delete(&exempt, Value::Null).await;
    seen(&server, "second").await;
    assert_eq!(server.get(&exempt).await.code, 404);
    clock.forward(61);
    seen(&server, "third").await;
    until(&server, &exempt, 200).await;
    assert_eq!(server.get(&format!("{LEVELS}/exempt")).await.at("metadata.resourceVersion"), untouched);
    stop.cancel();
    running.await.unwrap();
}
