//! Requests that are large, or that many things are wrong with: the answer is bounded, and nobody waits for them.

use std::pin::pin;
use std::sync::Arc;

use futures::future::{Either, select};
use serde_json::{Value, json};

use crate::harness::{Answer, Server};

const MAPS: &str = "/api/v1/namespaces/a/configmaps?dryRun=All";
/// However much is wrong with an object, the answer is no longer.
const ANSWER_BYTES_MAX: usize = 3 << 20;

async fn server() -> Server {
    let server = Server::new();
    assert_eq!(server.post("/api/v1/namespaces", json!({"metadata": {"name": "a"}})).await.code, 201);
    server
}

fn owners(count: usize, controller: bool) -> Value {
    let owner = |i| json!({"apiVersion": "v1", "kind": "Pod", "name": format!("p{i}"), "uid": format!("u{i}"), "controller": controller});
    json!({"metadata": {"name": "m", "ownerReferences": (0..count).map(owner).collect::<Vec<_>>()}})
}

fn check_invalid(answer: &Answer) {
    assert_eq!(answer.code, 422, "{}", answer.at("message").to_string().len());
    assert!(answer.bytes.len() < ANSWER_BYTES_MAX, "{}", answer.bytes.len());
    let causes = answer.at("details.causes");
    let causes = causes.as_array().unwrap();
    assert!(causes.len() > 10);
    assert_eq!(causes.last().unwrap()["message"], "Too many: there are more errors than are shown here");
}

#[tokio::test]
async fn answers_to_many_errors_are_bounded() {
    let server = server().await;
    check_invalid(&server.post(MAPS, owners(3_000, true)).await);
    let labels: serde_json::Map<String, Value> = (0..50_000).map(|i| (format!("bad key {i}"), "v".into())).collect();
    check_invalid(&server.post(MAPS, json!({"metadata": {"name": "m", "labels": labels}})).await);
    let fine = server.post(MAPS, owners(20_000, false)).await;
    assert_eq!((fine.code, fine.at("metadata.ownerReferences").as_array().map(Vec::len)), (201, Some(20_000)));
}

#[tokio::test]
async fn owners_that_stand_twice_are_dropped() {
    let server = server().await;
    let mut map = owners(3, false);
    let twice = map["metadata"]["ownerReferences"][1].clone();
    map["metadata"]["ownerReferences"].as_array_mut().unwrap().push(twice);
    let answer = server.post(MAPS, map).await;
    assert_eq!((answer.code, answer.at("metadata.ownerReferences").as_array().map(Vec::len)), (201, Some(3)));
    let warning = answer.headers.get("warning").unwrap().to_str().unwrap();
    assert!(warning.contains("duplicate UID(s) observed: u1"), "{warning}");
}

/// Whether the request waits for a thread of its own while all of those are taken, and others are answered meanwhile.
async fn goes_first(server: &Server, request: impl Future<Output = Answer>) -> bool {
    let workers = server.0.registry().state().workers();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let (taken, mut takes) = tokio::sync::mpsc::channel::<()>(threads);
    let (give_back, given_back): (Vec<_>, Vec<_>) = (0..threads).map(|_| std::sync::mpsc::channel::<()>()).unzip();
    let held = given_back.into_iter().map(|given_back| {
        let taken = taken.clone();
        tokio::spawn({
            let workers = workers.of(Arc::new(api::UserInfo::new("bob", &[])));
            // It ends when the other end is dropped.
            async move {
                let held = async move {
                    let _ = taken.send(()).await;
                    let _ = given_back.recv();
                    Ok(())
                };
                workers.run(held).await
            }
        })
    });
    let held: Vec<_> = held.collect();
    for _ in 0..threads {
        takes.recv().await;
    }
    let (request, ready) = (pin!(request), pin!(server.get("/version")));
    let waiting = match select(request, ready).await {
        Either::Left((answer, _)) => panic!("{} came first", answer.code),
        Either::Right((ready, request)) => {
            assert_eq!(ready.code, 200, "{}", String::from_utf8_lossy(&ready.bytes));
            request
        }
    };
    drop(give_back);
    let answer = waiting.await;
    assert!(answer.code < 300, "{} {}", answer.code, answer.at("message"));
    for held in held {
        held.await.unwrap().unwrap();
    }
    true
}

#[tokio::test]
async fn large_requests_do_not_hold_others_up() {
    let server = server().await;
    assert!(goes_first(&server, server.post(MAPS, owners(5_000, false))).await);
    let yaml: String = (0..5_000).map(|i| format!("  k{i}: a value of some length\n")).collect();
    let yaml = format!("metadata: {{name: big}}\ndata:\n{yaml}");
    let url = "/api/v1/namespaces/a/configmaps";
    assert!(goes_first(&server, server.send("POST", url, "application/yaml", &yaml)).await);
    let object = format!("{url}/big");
    let patch = json!({"data": {"k1": "x"}});
    assert!(goes_first(&server, server.merge(&object, patch.clone())).await, "a small patch of a large object");
    let strategic = "application/strategic-merge-patch+json";
    assert!(goes_first(&server, server.send("PATCH", &object, strategic, &patch)).await);
    let apply = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k2": "x"}});
    let applied = format!("{object}?fieldManager=m&force=true");
    assert!(goes_first(&server, server.send("PATCH", &applied, "application/apply-patch+yaml", &apply)).await);
    for accept in
        ["application/yaml", "application/json;as=Table;v=v1;g=meta.k8s.io", "application/vnd.kubernetes.protobuf"]
    {
        for url in [url, &object] {
            let request = http::Request::get(url).header("accept", accept);
            let request = request.extension(api::UserInfo::new("admin", &["system:masters"]));
            let request = request.body(axum::body::Body::empty()).unwrap();
            assert!(goes_first(&server, server.request(request)).await, "{accept} {url}");
        }
    }
    let selected = format!("{url}?labelSelector=a%3Db");
    assert!(goes_first(&server, server.get(&selected)).await);
    assert!(goes_first(&server, server.delete(&object, Value::Null)).await);
}

#[tokio::test]
async fn a_strategic_patch_of_many_containers_is_merged() {
    let server = server().await;
    let container = |i: usize, image: &str| json!({"name": format!("c{i}"), "image": image});
    let containers = |count: usize, image: &str| (0..count).map(|i| container(i, image)).collect::<Vec<_>>();
    let template =
        |containers: Vec<Value>| json!({"metadata": {"name": "t"}, "template": {"spec": {"containers": containers}}});
    let url = "/api/v1/namespaces/a/podtemplates";
    assert_eq!(server.post(url, template(containers(2_000, "a"))).await.code, 201);
    let patch = json!({"template": {"spec": {"containers": containers(4_000, "b")}}});
    let answer = server.send("PATCH", &format!("{url}/t"), "application/strategic-merge-patch+json", patch).await;
    let containers = answer.at("template.spec.containers");
    let containers = containers.as_array().unwrap();
    assert_eq!((answer.code, containers.len()), (200, 4_000));
    assert!(containers.iter().all(|container| container["image"] == "b"));
}
