//! ConfigMaps, Secrets, Leases, PodTemplates, events and other kinds that only carry data.

use serde_json::{Value, json};

use crate::case::{Conformance, test};
use crate::plane::{Plane, has};
use crate::resource::Resource;

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    vec![
        test("[sig-node] ConfigMap should run through a ConfigMap lifecycle [Conformance]", config_map),
        test("[sig-node] ConfigMap should fail to create ConfigMap with empty key [Conformance]", |plane| {
            empty_key(plane, "configmaps", "Invalid value: \"\": a valid config key must consist of")
        }),
        test("[sig-node] Secrets should fail to create secret due to empty secret key [Conformance]", |plane| {
            empty_key(plane, "secrets", "Invalid value: \"\": a valid config key must consist of")
        }),
        test("[sig-node] Secrets should patch a secret [Conformance]", secret),
        test("[sig-storage] ConfigMap should be immutable if `immutable` field is set [Conformance]", |plane| {
            immutable(plane, "configmaps")
        }),
        test("[sig-storage] Secrets should be immutable if `immutable` field is set [Conformance]", |plane| {
            immutable(plane, "secrets")
        }),
        test("[sig-node] Lease lease API should be available [Conformance]", lease),
        test("[sig-node] PodTemplates should run the lifecycle of PodTemplates [Conformance]", pod_template),
        test("[sig-node] PodTemplates should delete a collection of pod templates [Conformance]", |plane| async move {
            collection(plane.of("v1", "podtemplates"), pod_template_body()).await;
        }),
        test("[sig-node] PodTemplates should replace a pod template [Conformance]", |plane| async move {
            let templates = plane.of("v1", "podtemplates");
            let mut made = templates.create(named("one", pod_template_body())).await;
            made["metadata"]["annotations"] = json!({"updated": "true"});
            let updated = templates.update(&made).await;
            assert_eq!(updated["metadata"]["annotations"]["updated"], "true");
        }),
        test("[sig-instrumentation] Events should manage the lifecycle of an event [Conformance]", core_event),
        test("[sig-instrumentation] Events should delete a collection of events [Conformance]", |plane| async move {
            let event = core_event_body(&plane);
            collection(plane.of("v1", "events"), event).await;
        }),
        test(
            "[sig-instrumentation] Events API should ensure that an event can be fetched, patched, deleted, and listed \
             [Conformance]",
            event,
        ),
        test(
            "[sig-instrumentation] Events API should delete a collection of events [Conformance]",
            |plane| async move {
                let event = event_body(&plane);
                collection(plane.of("events.k8s.io/v1", "events"), event).await;
            },
        ),
        test(
            "[sig-apps] ControllerRevision [Serial] should manage the lifecycle of a ControllerRevision [Conformance]",
            revisions,
        ),
    ]
}

fn named(name: &str, mut object: Value) -> Value {
    object["metadata"]["name"] = json!(name);
    object
}

/// Three are made, found by their label, and deleted by it; a fourth stays.
async fn collection(resource: Resource, object: Value) {
    for name in ["one", "two", "three"] {
        let mut object = named(name, object.clone());
        object["metadata"]["labels"]["set"] = json!("true");
        resource.create(object).await;
    }
    resource.create(named("other", object)).await;
    assert_eq!(resource.list("labelSelector=set%3Dtrue").await.len(), 3);
    resource.delete_all("labelSelector=set%3Dtrue").await;
    assert!(resource.list("labelSelector=set%3Dtrue").await.is_empty());
    resource.get("other").await;
}

async fn config_map(plane: Plane) {
    let maps = plane.of("v1", "configmaps");
    let label = format!("labelSelector=patched%3D{}", plane.namespace());
    let made = maps
        .create(json!({"metadata": {"name": "one", "labels": {"static": "true"}}, "data": {"valueName": "value"}}))
        .await;
    assert!(has(
        &maps.get("one").await,
        &json!({"data": {"valueName": "value"}, "metadata": {"labels": {"static": "true"}}})
    ));
    let patch = json!({"metadata": {"labels": {"patched": plane.namespace()}}, "data": {"valueName": "value1"}});
    let patched = maps.strategic("one", patch).await;
    assert!(later(&patched, &made));
    let found = plane.wide("v1", "configmaps").list(&label).await;
    assert_eq!(found.len(), 1);
    assert!(has(&found[0], &json!({"data": {"valueName": "value1"}, "metadata": {"labels": {"static": "true"}}})));
    maps.delete_all("labelSelector=static%3Dtrue").await;
    assert!(maps.list("labelSelector=static%3Dtrue").await.is_empty());
}

/// Whether an object's version is after that of another.
fn later(one: &Value, other: &Value) -> bool {
    let version =
        |o: &Value| o["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse::<u64>().ok()).expect("a version");
    version(one) > version(other)
}

async fn empty_key(plane: Plane, resource: &'static str, text: &'static str) {
    let value = if resource == "secrets" { "dmFsdWU=" } else { "value" };
    let object = json!({"metadata": {"name": "one"}, "data": {"": value}});
    plane.of("v1", resource).try_create(&object).await.refused(422, text);
}

/// Its data can be changed until it says that it is immutable, which it then cannot take back.
async fn immutable(plane: Plane, resource: &'static str) {
    let all = plane.of("v1", resource);
    all.create(json!({"metadata": {"name": "one"}, "data": {"data-1": "dmFsdWU="}})).await;
    all.change("one", |o| o["data"]["data-4"] = json!("dmFsdWU=")).await;
    let fixed = all.change("one", |o| o["immutable"] = json!(true)).await;
    for (pointer, value) in [("data", json!({"data-5": "dmFsdWU="})), ("immutable", json!(false))] {
        let mut changed = fixed.clone();
        changed[pointer] = value;
        all.try_update(&changed).await.refused(422, "field is immutable when `immutable` is set");
        assert_eq!(all.get("one").await["immutable"], true);
    }
    all.change("one", |o| o["metadata"]["labels"] = json!({"label1": "value1"})).await;
    all.delete("one").await;
    all.until_gone("one").await;
}

async fn secret(plane: Plane) {
    let secrets = plane.of("v1", "secrets");
    let object =
        json!({"metadata": {"name": "one", "labels": {"constant": plane.namespace()}}, "data": {"key": "dmFsdWU="}});
    secrets.create(object).await;
    let label = format!("labelSelector=constant%3D{}", plane.namespace());
    let everywhere = plane.wide("v1", "secrets");
    assert_eq!(everywhere.list(&label).await.len(), 1);
    secrets.strategic("one", json!({"metadata": {"labels": {"more": "true"}}, "data": {"key": "dmFsdWUx"}})).await;
    let read = secrets.get("one").await;
    assert!(has(&read, &json!({"data": {"key": "dmFsdWUx"}, "metadata": {"labels": {"more": "true"}}})));
    secrets.delete_all(&label).await;
    assert!(everywhere.list(&label).await.is_empty());
}

async fn lease(plane: Plane) {
    let leases = plane.of("coordination.k8s.io/v1", "leases");
    let spec = |holder: &str, seconds: u32, transitions: u32| {
        json!({"holderIdentity": holder, "leaseDurationSeconds": seconds, "leaseTransitions": transitions,
            "acquireTime": "0001-01-01T00:00:02.000000Z", "renewTime": "0001-01-01T00:00:05.000000Z"})
    };
    let mut made = leases.create(json!({"metadata": {"name": "one"}, "spec": spec("holder", 30, 0)})).await;
    assert_eq!(leases.get("one").await["spec"], spec("holder", 30, 0));
    made["spec"] = spec("second", 30, 1);
    leases.update(&made).await;
    assert_eq!(leases.get("one").await["spec"], spec("second", 30, 1));
    let patched = leases.strategic("one", json!({"spec": spec("third", 60, 2)})).await;
    assert_eq!(leases.get("one").await["spec"], spec("third", 60, 2));
    assert!(later(&patched, &made));
    leases.create(json!({"metadata": {"name": "two", "labels": {"go": "true"}}, "spec": spec("holder", 30, 0)})).await;
    assert_eq!(leases.list("").await.len(), 2);
    leases.delete_all("labelSelector=go%3Dtrue").await;
    assert_eq!(leases.list("").await.len(), 1);
    leases.delete("one").await;
    leases.try_get("one").await.refused(404, "not found");
    plane.wide("coordination.k8s.io/v1", "leases").list("").await;
}

fn pod_template_body() -> Value {
    json!({"metadata": {}, "template": {"spec": {"containers": [{"name": "c", "image": "a:1"}]}}})
}

async fn pod_template(plane: Plane) {
    let templates = plane.of("v1", "podtemplates");
    let made = templates.create(named("one", pod_template_body())).await;
    assert_eq!(made["template"]["spec"]["restartPolicy"], "Always");
    let label = json!({"metadata": {"labels": {"patched": "true"}}});
    let patched = templates.strategic("one", label.clone()).await;
    assert!(later(&patched, &made));
    assert!(has(&templates.get("one").await, &label));
    templates.delete("one").await;
    assert!(templates.list("").await.is_empty());
}

fn core_event_body(plane: &Plane) -> Value {
    json!({"metadata": {}, "message": "it was tried", "reason": "Test", "type": "Normal", "count": 1,
        "involvedObject": {"namespace": plane.namespace()}})
}

async fn core_event(plane: Plane) {
    let events = plane.of("v1", "events");
    let mut object = named("one", core_event_body(&plane));
    object["metadata"]["labels"] = json!({"constant": plane.namespace()});
    events.create(object).await;
    let (everywhere, label) = (plane.wide("v1", "events"), format!("labelSelector=constant%3D{}", plane.namespace()));
    assert_eq!(everywhere.list(&label).await.len(), 1);
    events.strategic("one", json!({"message": "it was patched"})).await;
    let mut read = events.get("one").await;
    assert_eq!(read["message"], "it was patched");
    read["series"] = json!({"count": 100, "lastObservedTime": "2017-09-19T13:49:16.000000Z"});
    let meta = read["metadata"].as_object_mut().expect("metadata");
    meta.remove("resourceVersion");
    meta.remove("managedFields");
    events.update(&read).await;
    let mut again = events.get("one").await;
    let meta = again["metadata"].as_object_mut().expect("metadata");
    meta.remove("resourceVersion");
    meta.remove("managedFields");
    assert_eq!(again, read);
    events.delete("one").await;
    assert!(everywhere.list(&label).await.is_empty());
}

fn event_body(plane: &Plane) -> Value {
    json!({"metadata": {}, "regarding": {"namespace": plane.namespace()}, "action": "Do", "reason": "Test", "type": "Normal",
        "eventTime": "2017-09-19T13:49:16.000000Z", "reportingController": "test-controller",
        "reportingInstance": "test-node", "deprecatedSource": {}})
}

async fn event(plane: Plane) {
    let events = plane.of("events.k8s.io/v1", "events");
    let made = events.create(named("one", event_body(&plane))).await;
    let here = format!("fieldSelector=metadata.namespace%3D{}", plane.namespace());
    let everywhere = plane.wide("events.k8s.io/v1", "events");
    assert_eq!(everywhere.list(&here).await.len(), 1);
    assert_eq!(events.list("").await.len(), 1);
    let core = plane.of("v1", "events");
    assert_eq!(core.list("fieldSelector=source%3Dtest-controller").await.len(), 1);
    assert_eq!(events.list("fieldSelector=reportingController%3Dtest-controller").await.len(), 1);
    assert!(events.list("fieldSelector=reportingController%3Danother").await.is_empty());
    let series = |count: u32| json!({"count": count, "lastObservedTime": "2017-09-19T13:49:11.000000Z"});
    let patched = events.strategic("one", json!({"series": series(2)})).await;
    assert!(later(&patched, &made));
    let mut read = events.get("one").await;
    assert_eq!(read["series"], series(2));
    // An event may be written without a version.
    read["series"] = series(100);
    read["metadata"].as_object_mut().expect("metadata").remove("resourceVersion");
    events.update(&read).await;
    assert_eq!(events.get("one").await["series"], series(100));
    events.delete("one").await;
    assert!(everywhere.list(&here).await.is_empty() && core.list("").await.is_empty());
}

async fn revisions(plane: Plane) {
    let sets = plane.of("apps/v1", "daemonsets");
    let spec = json!({"selector": {"matchLabels": {"app": "d"}}, "template": {"metadata": {"labels": {"app": "d"}},
        "spec": {"containers": [{"name": "c", "image": "a:1"}]}}});
    let set = sets.create(json!({"metadata": {"name": "d", "labels": {"app": "d"}}, "spec": spec})).await;
    // Once its pods run, its controller looks away from what is done to its revisions.
    sets.until("d", "its pods", |d| {
        let status = &d["status"];
        status["numberAvailable"].as_u64().is_some_and(|n| n > 0)
            && status["numberAvailable"] == status["desiredNumberScheduled"]
            && status["updatedNumberScheduled"] == status["desiredNumberScheduled"]
    })
    .await;
    let revisions = plane.of("apps/v1", "controllerrevisions");
    let all = revisions.until_all("labelSelector=app%3Dd", "the first revision", |all| all.len() == 1).await;
    let first = all[0]["metadata"]["name"].as_str().expect("a name").to_owned();
    assert_eq!(all[0]["metadata"]["ownerReferences"][0]["uid"], set["metadata"]["uid"]);
    assert_eq!(revisions.get(&first).await["revision"], 1);
    let label = json!({"metadata": {"labels": {first.as_str(): "patched"}}});
    assert!(has(&revisions.merge(&first, label.clone()).await, &label));
    let owner = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": set["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true}]);
    let second = json!({"metadata": {"generateName": "d-", "labels": {"app": "d"}, "ownerReferences": owner},
        "revision": 2, "data": all[0]["data"]});
    let second = revisions.create(second).await;
    let second = second["metadata"]["name"].as_str().expect("a name");
    assert_eq!(revisions.list("labelSelector=app%3Dd").await.len(), 2);
    revisions.delete(&first).await;
    assert_eq!(revisions.list("labelSelector=app%3Dd").await.len(), 1);
    revisions.change(second, |revision| revision["metadata"]["labels"]["updated"] = json!("true")).await;
    sets.strategic("d", json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}})).await;
    revisions.until_all("labelSelector=app%3Dd", "a revision of the new template", |all| all.len() == 2).await;
    revisions.delete_all("labelSelector=updated%3Dtrue").await;
    let rest = revisions.until_all("labelSelector=app%3Dd", "the newest alone", |all| all.len() == 1).await;
    assert_eq!(rest[0]["revision"], 3);
}
