//! Lists in chunks, and watches.

use std::time::Duration;

use serde_json::{Value, json};

use crate::case::{Conformance, alone, test};
use crate::plane::Plane;
use crate::watch::{Event, Watch};

/// How long nothing must come where nothing is to come.
const QUIET: Duration = Duration::from_millis(150);

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    vec![
        test(
            "[sig-api-machinery] Servers with support for API chunking should return chunks of results for list calls \
             [Conformance]",
            chunks,
        ),
        alone(
            "[sig-api-machinery] Servers with support for API chunking should support continue listing from the last key \
             if the original version has been compacted away, though the list is inconsistent [Slow] [Conformance]",
            inconsistent,
        ),
        test(
            "[sig-api-machinery] Watchers should observe add, update, and delete watch notifications on configmaps \
             [Conformance]",
            notifications,
        ),
        test(
            "[sig-api-machinery] Watchers should be able to start watching from a specific resource version \
             [Conformance]",
            from_version,
        ),
        test(
            "[sig-api-machinery] Watchers should be able to restart watching from the last resource version observed by \
             the previous watch [Conformance]",
            restart,
        ),
        test(
            "[sig-api-machinery] Watchers should observe an object deletion if it stops meeting the requirements of the \
             selector [Conformance]",
            selector,
        ),
        test(
            "[sig-api-machinery] Watchers should receive events on concurrent watches in same order [Conformance]",
            concurrent,
        ),
    ]
}

const TEMPLATES: usize = 45;
const LIMIT: usize = 10;

async fn fill(plane: &Plane) -> String {
    let templates = plane.of("v1", "podtemplates");
    for number in 0..TEMPLATES {
        let spec = json!({"containers": [{"name": "one", "image": "test"}]});
        let name = format!("template-{number:04}");
        templates.create(json!({"metadata": {"name": name}, "template": {"spec": spec}})).await;
    }
    format!("/api/v1/namespaces/{}/podtemplates", plane.namespace())
}

fn count(list: &Value) -> usize {
    list["items"].as_array().map_or(0, Vec::len)
}

/// Reads on from a token to the end; all pages are of one version.
async fn follow(plane: &Plane, path: &str, mut token: String, mut seen: usize, mut version: Value) {
    loop {
        let page = plane.get(&format!("{path}?limit={LIMIT}&continue={token}")).await;
        let metadata = &page["metadata"];
        seen += count(&page);
        assert!(count(&page) <= LIMIT);
        if version.is_null() {
            version = metadata["resourceVersion"].clone();
        }
        assert_eq!(metadata["resourceVersion"], version);
        let Some(next) = metadata["continue"].as_str() else {
            assert!(metadata["remainingItemCount"].is_null());
            break;
        };
        assert_eq!(metadata["remainingItemCount"], TEMPLATES - seen);
        token = next.to_owned();
    }
    assert_eq!(seen, TEMPLATES);
}

async fn chunks(plane: Plane) {
    let path = fill(&plane).await;
    let first = plane.get(&format!("{path}?limit={LIMIT}")).await;
    assert_eq!(count(&first), LIMIT);
    assert_eq!(first["metadata"]["remainingItemCount"], TEMPLATES - LIMIT);
    let token = first["metadata"]["continue"].as_str().expect("a token").to_owned();
    follow(&plane, &path, token, LIMIT, first["metadata"]["resourceVersion"].clone()).await;
    let all = plane.get(&path).await;
    assert_eq!(count(&all), TEMPLATES);
    assert!(all["metadata"]["continue"].is_null());
}

/// The token of a state that is gone brings another, with which the rest is read as it is now.
async fn inconsistent(plane: Plane) {
    let path = fill(&plane).await;
    let first = plane.get(&format!("{path}?limit={LIMIT}")).await;
    let token = first["metadata"]["continue"].as_str().expect("a token").to_owned();
    plane.forget_history().await;
    let answer = plane.request(http::Method::GET, &format!("{path}?limit={LIMIT}&continue={token}"), None).await;
    assert_eq!((answer.code, &answer.body["reason"]), (410, &json!("Expired")), "{:?}", answer.body);
    let fresh = answer.body["metadata"]["continue"].as_str().expect("a new token").to_owned();
    follow(&plane, &path, fresh, LIMIT, Value::Null).await;
}

fn map(name: &str, label: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"watch-this-configmap": label}}})
}

async fn notifications(plane: Plane) {
    let maps = plane.of("v1", "configmaps");
    let mut a = maps.watch("labelSelector=watch-this-configmap%3Da").await;
    let mut b = maps.watch("labelSelector=watch-this-configmap%3Db").await;
    let mut both = maps.watch("labelSelector=watch-this-configmap%20in%20(a,b)").await;
    maps.create(map("one", "a")).await;
    for watch in [&mut a, &mut both] {
        watch.expect("ADDED", "one").await;
    }
    for mutation in ["1", "2"] {
        maps.merge("one", json!({"data": {"mutation": mutation}})).await;
        for watch in [&mut a, &mut both] {
            assert_eq!(watch.expect("MODIFIED", "one").await["data"]["mutation"], mutation);
        }
    }
    maps.delete("one").await;
    for watch in [&mut a, &mut both] {
        assert_eq!(watch.expect("DELETED", "one").await["data"]["mutation"], "2");
    }
    maps.create(map("two", "b")).await;
    maps.delete("two").await;
    for watch in [&mut b, &mut both] {
        watch.expect("ADDED", "two").await;
        watch.expect("DELETED", "two").await;
    }
    assert!(a.within(QUIET).await.is_none(), "the watch of the one sees nothing of the other");
}

fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().expect("a version")
}

async fn from_version(plane: Plane) {
    let maps = plane.of("v1", "configmaps");
    maps.create(map("one", "from-version")).await;
    let first = maps.merge("one", json!({"data": {"mutation": "1"}})).await;
    maps.merge("one", json!({"data": {"mutation": "2"}})).await;
    maps.delete("one").await;
    let query = format!("labelSelector=watch-this-configmap%3Dfrom-version&resourceVersion={}", version(&first));
    let mut watch = maps.watch(&query).await;
    let Event { kind, object } = watch.next().await;
    assert_eq!((kind.as_str(), &object["data"]["mutation"]), ("MODIFIED", &json!("2")));
    let Event { kind, object } = watch.next().await;
    assert_eq!((kind.as_str(), &object["data"]["mutation"]), ("DELETED", &json!("2")));
}

async fn restart(plane: Plane) {
    let maps = plane.of("v1", "configmaps");
    let mut watch = maps.watch("labelSelector=watch-this-configmap%3Drestart").await;
    maps.create(map("one", "restart")).await;
    maps.merge("one", json!({"data": {"mutation": "1"}})).await;
    watch.expect("ADDED", "one").await;
    let seen = watch.expect("MODIFIED", "one").await;
    drop(watch);
    maps.merge("one", json!({"data": {"mutation": "2"}})).await;
    let query = format!("labelSelector=watch-this-configmap%3Drestart&resourceVersion={}", version(&seen));
    let mut watch = maps.watch(&query).await;
    maps.delete("one").await;
    assert_eq!(watch.expect("MODIFIED", "one").await["data"]["mutation"], "2");
    watch.expect("DELETED", "one").await;
}

async fn selector(plane: Plane) {
    let maps = plane.of("v1", "configmaps");
    let mut watch = maps.watch("labelSelector=watch-this-configmap%3Dselected").await;
    let label = |value: &str| json!({"metadata": {"labels": {"watch-this-configmap": value}}});
    maps.create(map("one", "selected")).await;
    maps.merge("one", json!({"data": {"mutation": "1"}})).await;
    maps.merge("one", label("other")).await;
    watch.expect("ADDED", "one").await;
    watch.expect("MODIFIED", "one").await;
    watch.expect("DELETED", "one").await;
    maps.merge("one", json!({"data": {"mutation": "2"}})).await;
    assert!(watch.within(QUIET).await.is_none(), "what is not selected is not told");
    maps.merge("one", label("selected")).await;
    assert_eq!(watch.expect("ADDED", "one").await["data"]["mutation"], "2");
    maps.merge("one", json!({"data": {"mutation": "3"}})).await;
    maps.delete("one").await;
    watch.expect("MODIFIED", "one").await;
    watch.expect("DELETED", "one").await;
}

/// Each event's version begins another watch; all see the same events in the same order.
async fn concurrent(plane: Plane) {
    const EVENTS: usize = 30;
    let maps = plane.of("v1", "configmaps");
    let mut first = maps.watch("labelSelector=watch-this-configmap%3Dorder").await;
    let writer = maps.clone();
    let writing = tokio::spawn(async move {
        for number in 0..EVENTS / 3 {
            let name = format!("map-{number}");
            writer.create(map(&name, "order")).await;
            writer.merge(&name, json!({"data": {"number": "1"}})).await;
            writer.delete(&name).await;
        }
    });
    let mut versions = Vec::new();
    let mut others: Vec<(usize, Watch)> = Vec::new();
    while versions.len() < EVENTS {
        let event = first.next().await;
        versions.push(version(&event.object).to_owned());
        let query = format!("labelSelector=watch-this-configmap%3Dorder&resourceVersion={}", version(&event.object));
        others.push((versions.len(), maps.watch(&query).await));
    }
    writing.await.expect("the writer ends");
    for (from, mut watch) in others {
        for wanted in &versions[from..] {
            assert_eq!(version(&watch.next().await.object), wanted);
        }
    }
}
