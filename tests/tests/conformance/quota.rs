//! ResourceQuotas and LimitRanges.

use serde_json::{Value, json};

use crate::case::{Conformance, test};
use crate::plane::{Plane, has};
use crate::resource::Resource;

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    let mut tests = quotas();
    tests.extend([
        test(
            "[sig-scheduling] LimitRange should create a LimitRange with defaults and ensure pod has those defaults applied. \
             [Conformance]",
            limit_range,
        ),
        test(
            "[sig-scheduling] LimitRange should list, patch and delete a LimitRange by collection [Conformance]",
            limit_ranges,
        ),
    ]);
    tests
}

fn quotas() -> Vec<Conformance> {
    vec![
        test(
            "[sig-api-machinery] ResourceQuota should create a ResourceQuota and ensure its status is promptly calculated. \
             [Conformance]",
            |plane| async move {
                let quotas = plane.of("v1", "resourcequotas");
                quotas.create(quota(&[])).await;
                used(&quotas, json!({"resourcequotas": "1", "configmaps": "1", "pods": "0"})).await;
            },
        ),
        test(
            "[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a service. [Conformance]",
            services,
        ),
        test(
            "[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a secret. [Conformance]",
            |plane| async move {
                let secret = json!({"metadata": {"name": "one"}, "data": {"key": "dmFsdWU="}});
                life_of(&plane, ("v1", "secrets"), "secrets", secret, 0).await;
            },
        ),
        test(
            "[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a configMap. [Conformance]",
            |plane| async move {
                // The certificate of the cluster's authority is there from the start.
                life_of(&plane, ("v1", "configmaps"), "configmaps", json!({"metadata": {"name": "one"}}), 1).await;
            },
        ),
        test(
            "[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a replication controller. \
             [Conformance]",
            |plane| async move {
                let set = json!({"metadata": {"name": "one"}, "spec": {"replicas": 0, "selector": {"a": "b"},
                    "template": template()}});
                life_of(&plane, ("v1", "replicationcontrollers"), "replicationcontrollers", set, 0).await;
            },
        ),
        test(
            "[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a replica set. [Conformance]",
            |plane| async move {
                let set = json!({"metadata": {"name": "one"}, "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}},
                    "template": template()}});
                life_of(&plane, ("apps/v1", "replicasets"), "count/replicasets.apps", set, 0).await;
            },
        ),
        test(
            "[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a pod. [Conformance]",
            pods,
        ),
        test(
            "[sig-api-machinery] ResourceQuota should verify ResourceQuota with terminating scopes. [Conformance]",
            terminating,
        ),
        test(
            "[sig-api-machinery] ResourceQuota should verify ResourceQuota with best effort scope. [Conformance]",
            best_effort,
        ),
        test(
            "[sig-api-machinery] ResourceQuota should be able to update and delete ResourceQuota. [Conformance]",
            updated,
        ),
        test(
            "[sig-api-machinery] ResourceQuota should manage the lifecycle of a ResourceQuota [Conformance]",
            lifecycle,
        ),
        test("[sig-api-machinery] ResourceQuota should apply changes to a resourcequota status [Conformance]", status),
    ]
}

fn template() -> Value {
    json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}})
}

/// A quota of many things, with some set otherwise.
fn quota(more: &[(&str, &str)]) -> Value {
    let mut hard = json!({"pods": "5", "services": "10", "services.nodeports": "1", "services.loadbalancers": "1",
        "replicationcontrollers": "10", "resourcequotas": "1", "cpu": "1", "memory": "500Mi", "configmaps": "10",
        "secrets": "10", "persistentvolumeclaims": "10", "requests.storage": "10Gi", "ephemeral-storage": "50Gi",
        "gold.storageclass.storage.k8s.io/requests.storage": "10Gi", "count/replicasets.apps": "5",
        "requests.example.com/dongle": "3"});
    for (name, amount) in more {
        hard[*name] = json!(amount);
    }
    json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})
}

async fn used(quotas: &Resource, expect: Value) {
    quotas.until("q", &format!("{expect} used"), |quota| has(&quota["status"]["used"], &expect)).await;
}

/// One object fits and is counted, a second does not, and a deleted one is counted no more.
async fn life_of(plane: &Plane, (version, plural): (&str, &str), counted: &str, object: Value, before: u32) {
    let (quotas, objects) = (plane.of("v1", "resourcequotas"), plane.of(version, plural));
    if before > 0 {
        objects.until_all("", "what is there from the start", |all| all.len() == before as usize).await;
    }
    quotas.create(quota(&[(counted, &(before + 1).to_string())])).await;
    used(&quotas, json!({counted: before.to_string()})).await;
    objects.create(object.clone()).await;
    used(&quotas, json!({counted: (before + 1).to_string()})).await;
    let mut second = object;
    second["metadata"]["name"] = json!("two");
    let text =
        format!("exceeded quota: q, requested: {counted}=1, used: {counted}={0}, limited: {counted}={0}", before + 1);
    objects.try_create(&second).await.refused(403, &text);
    objects.delete("one").await;
    used(&quotas, json!({counted: before.to_string()})).await;
    objects.create(second).await;
}

async fn services(plane: Plane) {
    let (quotas, services) = (plane.of("v1", "resourcequotas"), plane.of("v1", "services"));
    quotas.create(quota(&[])).await;
    used(&quotas, json!({"services": "0"})).await;
    let service = |name: &str, kind: &str| json!({"metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 80, "targetPort": 80}]}});
    services.create(service("plain", "ClusterIP")).await;
    services.create(service("ports", "NodePort")).await;
    let text =
        "exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1";
    services.try_create(&service("balanced", "LoadBalancer")).await.refused(403, text);
    used(&quotas, json!({"services": "2", "services.nodeports": "1", "services.loadbalancers": "0"})).await;
    services
        .try_patch("plain", "application/merge-patch+json", &json!({"spec": {"type": "NodePort"}}))
        .await
        .refused(403, text);
    services.delete("plain").await;
    services.delete("ports").await;
    used(&quotas, json!({"services": "0", "services.nodeports": "0"})).await;
}

/// A pod that no node takes, so that it only asks.
fn pod(name: &str, requests: Value, limits: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"nodeSelector": {"no": "node"}, "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": "a:1", "resources": {"requests": requests, "limits": limits}}]}})
}

async fn pods(plane: Plane) {
    let (quotas, pods) = (plane.of("v1", "resourcequotas"), plane.of("v1", "pods"));
    quotas.create(quota(&[])).await;
    used(&quotas, json!({"pods": "0"})).await;
    let asks = |cpu: &str, memory: &str, dongles: &str| json!({"cpu": cpu, "memory": memory, "ephemeral-storage": "30Gi", "example.com/dongle": dongles});
    pods.create(pod("one", asks("500m", "252Mi", "2"), json!({"example.com/dongle": "2"}))).await;
    let sum = json!({"pods": "1", "cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi",
        "requests.example.com/dongle": "2"});
    used(&quotas, sum.clone()).await;
    let more = pod("two", json!({"cpu": "600m", "memory": "100Mi"}), json!({}));
    pods.try_create(&more).await.refused(403, "exceeded quota: q, requested: cpu=600m, used: cpu=500m, limited: cpu=1");
    let more = pod(
        "two",
        json!({"cpu": "500m", "memory": "100Mi", "example.com/dongle": "2"}),
        json!({"example.com/dongle": "2"}),
    );
    pods.try_create(&more).await.refused(403, "requested: requests.example.com/dongle=2");
    let silent = pod("two", json!({}), json!({}));
    pods.try_create(&silent).await.refused(403, "failed quota: q: must specify cpu for: c; memory for: c");
    pods.merge("one", json!({"metadata": {"labels": {"a": "b"}}})).await;
    used(&quotas, sum).await;
    pods.delete("one").await;
    used(&quotas, json!({"pods": "0", "cpu": "0", "memory": "0", "requests.example.com/dongle": "0"})).await;
}

async fn scoped(quotas: &Resource, name: &str, scope: &str, hard: Value) {
    quotas.create(json!({"metadata": {"name": name}, "spec": {"hard": hard, "scopes": [scope]}})).await;
    quotas.until(name, "its status", |quota| quota["status"]["used"]["pods"] == "0").await;
}

async fn counts(quotas: &Resource, name: &str, expect: Value) {
    quotas.until(name, &format!("{expect} used"), |quota| has(&quota["status"]["used"], &expect)).await;
}

async fn terminating(plane: Plane) {
    let (quotas, pods) = (plane.of("v1", "resourcequotas"), plane.of("v1", "pods"));
    let hard = json!({"pods": "5", "requests.cpu": "1", "requests.memory": "500Mi", "limits.cpu": "2", "limits.memory": "1Gi"});
    scoped(&quotas, "ending", "Terminating", hard.clone()).await;
    scoped(&quotas, "lasting", "NotTerminating", hard).await;
    let (requests, limits) = (json!({"cpu": "500m", "memory": "200Mi"}), json!({"cpu": "1", "memory": "400Mi"}));
    let sum = json!({"pods": "1", "requests.cpu": "500m", "requests.memory": "200Mi", "limits.cpu": "1", "limits.memory": "400Mi"});
    let none = json!({"pods": "0", "requests.cpu": "0", "limits.memory": "0"});
    pods.create(pod("one", requests.clone(), limits.clone())).await;
    counts(&quotas, "lasting", sum.clone()).await;
    counts(&quotas, "ending", none.clone()).await;
    pods.delete("one").await;
    counts(&quotas, "lasting", none.clone()).await;
    let mut ends = pod("two", requests, limits);
    ends["spec"]["activeDeadlineSeconds"] = json!(3600);
    pods.create(ends).await;
    counts(&quotas, "ending", sum).await;
    counts(&quotas, "lasting", none.clone()).await;
    pods.delete("two").await;
    counts(&quotas, "ending", none).await;
}

async fn best_effort(plane: Plane) {
    let (quotas, pods) = (plane.of("v1", "resourcequotas"), plane.of("v1", "pods"));
    scoped(&quotas, "best", "BestEffort", json!({"pods": "5"})).await;
    scoped(&quotas, "rest", "NotBestEffort", json!({"pods": "5"})).await;
    pods.create(pod("one", json!({}), json!({}))).await;
    counts(&quotas, "best", json!({"pods": "1"})).await;
    counts(&quotas, "rest", json!({"pods": "0"})).await;
    pods.delete("one").await;
    counts(&quotas, "best", json!({"pods": "0"})).await;
    pods.create(pod("two", json!({"cpu": "500m"}), json!({"cpu": "1"}))).await;
    counts(&quotas, "rest", json!({"pods": "1"})).await;
    counts(&quotas, "best", json!({"pods": "0"})).await;
    pods.delete("two").await;
    counts(&quotas, "rest", json!({"pods": "0"})).await;
}

async fn updated(plane: Plane) {
    let quotas = plane.of("v1", "resourcequotas");
    let hard = |cpu: &str, memory: &str| json!({"cpu": cpu, "memory": memory});
    let mut made = quotas.create(json!({"metadata": {"name": "q"}, "spec": {"hard": hard("1", "500Mi")}})).await;
    assert_eq!(made["spec"]["hard"], hard("1", "500Mi"));
    made["spec"]["hard"] = hard("2", "1Gi");
    made["metadata"].as_object_mut().expect("metadata").remove("resourceVersion");
    assert_eq!(quotas.update(&made).await["spec"]["hard"], hard("2", "1Gi"));
    quotas.until("q", "the new status", |quota| quota["status"]["hard"] == hard("2", "1Gi")).await;
    quotas.delete("q").await;
    quotas.try_get("q").await.refused(404, "not found");
}

async fn lifecycle(plane: Plane) {
    let quotas = plane.of("v1", "resourcequotas");
    let labels = json!({"of": plane.namespace()});
    quotas
        .create(json!({"metadata": {"name": "q", "labels": labels}, "spec": {"hard": {"cpu": "1", "memory": "500Mi"}}}))
        .await;
    let label = format!("labelSelector=of%3D{}", plane.namespace());
    assert_eq!(plane.wide("v1", "resourcequotas").list(&label).await.len(), 1);
    let patch = json!({"metadata": {"labels": {"q": "patched"}}, "spec": {"hard": {"memory": "750Mi"}}});
    let patched = quotas.strategic("q", patch.clone()).await;
    assert!(has(&patched, &patch) && patched["spec"]["hard"]["cpu"] == "1");
    quotas.delete_all(&label).await;
    quotas.try_get("q").await.refused(404, "not found");
}

async fn status(plane: Plane) {
    let quotas = plane.of("v1", "resourcequotas");
    let hard = |cpu: &str, memory: &str| json!({"cpu": cpu, "memory": memory});
    quotas.create(json!({"metadata": {"name": "q"}, "spec": {"hard": hard("500m", "500Mi")}})).await;
    quotas
        .until("q", "its status", |q| q["status"]["hard"] == hard("500m", "500Mi") && q["status"]["used"].is_object())
        .await;
    let mut watch = quotas.watch("").await;
    quotas.status().change("q", |q| q["status"]["hard"] = hard("750m", "750Mi")).await;
    watch.until("MODIFIED", "the status", |q| q["status"]["hard"] == hard("750m", "750Mi")).await;
    quotas.merge("q", json!({"spec": {"hard": hard("1", "1Gi")}})).await;
    quotas.until("q", "the status of the new spec", |q| q["status"]["hard"] == hard("1", "1Gi")).await;
    quotas.status().merge("q", json!({"status": {"hard": hard("1", "1Gi")}})).await;
    assert_eq!(quotas.status().get("q").await["status"]["hard"], hard("1", "1Gi"));
    let again = json!({"spec": {"hard": hard("2", "2Gi")}, "status": {"hard": hard("2", "2Gi")}});
    let patched = quotas.status().merge("q", again).await;
    assert_eq!((&patched["status"]["hard"], &patched["spec"]["hard"]), (&hard("2", "2Gi"), &hard("1", "1Gi")));
}

fn amounts(cpu: &str, memory: &str, storage: &str) -> Value {
    let given = [("cpu", cpu), ("memory", memory), ("ephemeral-storage", storage)];
    given
        .into_iter()
        .filter(|(_, v)| !v.is_empty())
        .map(|(k, v)| (k.to_owned(), json!(v)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn ranged() -> Value {
    let limit = json!({"type": "Container", "min": amounts("50m", "100Mi", "100Gi"), "max": amounts("500m", "500Mi", "500Gi"),
        "default": amounts("500m", "500Mi", "500Gi"), "defaultRequest": amounts("100m", "200Mi", "200Gi")});
    json!({"metadata": {"name": "range"}, "spec": {"limits": [limit]}})
}

async fn limit_range(plane: Plane) {
    let (ranges, pods) = (plane.of("v1", "limitranges"), plane.of("v1", "pods"));
    let mut watch = ranges.watch("").await;
    ranges.create(ranged()).await;
    watch.expect("ADDED", "range").await;
    assert!(has(&ranges.get("range").await["spec"]["limits"][0], &ranged()["spec"]["limits"][0]));
    let plain = pods.create(pod("plain", json!({}), json!({}))).await;
    let expect = json!({"requests": amounts("100m", "200Mi", "200Gi"), "limits": amounts("500m", "500Mi", "500Gi")});
    assert_eq!(plain["spec"]["containers"][0]["resources"], expect);
    assert_eq!(
        plain["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu, ephemeral-storage, memory request for container c; \
         cpu, ephemeral-storage, memory limit for container c"
    );
    // A limit without a request is the request as well, before the range has its say.
    let part = pods.create(pod("part", amounts("", "150Mi", "150Gi"), amounts("300m", "", ""))).await;
    let expect = json!({"requests": amounts("300m", "150Mi", "150Gi"), "limits": amounts("300m", "500Mi", "500Gi")});
    assert_eq!(part["spec"]["containers"][0]["resources"], expect);
    let (little, much) = (amounts("10m", "50Mi", "50Gi"), amounts("600m", "600Mi", "600Gi"));
    let text = "minimum cpu usage per Container is 50m, but request is 10m";
    pods.try_create(&pod("little", little.clone(), json!({}))).await.refused(403, text);
    // The default limit is below what is asked for.
    pods.try_create(&pod("much", much.clone(), json!({})))
        .await
        .refused(422, "must be less than or equal to cpu limit");
    let text = "maximum cpu usage per Container is 500m, but limit is 600m";
    pods.try_create(&pod("much", much.clone(), much.clone())).await.refused(403, text);
    ranges.change("range", |range| range["spec"]["limits"][0]["min"] = amounts("9m", "49Mi", "49Gi")).await;
    pods.create(pod("little", little, json!({}))).await;
    assert!(pods.try_create(&pod("much", much.clone(), json!({}))).await.code >= 400);
    ranges.delete("range").await;
    watch.expect("DELETED", "range").await;
    pods.create(pod("much", much, json!({}))).await;
}

async fn limit_ranges(plane: Plane) {
    let other = plane.second_namespace().await;
    let mut object = ranged();
    object["metadata"]["labels"] = json!({"of": plane.namespace()});
    let (ranges, label) = (plane.of("v1", "limitranges"), format!("labelSelector=of%3D{}", plane.namespace()));
    ranges.create(object.clone()).await;
    other.of("v1", "limitranges").create(object).await;
    let everywhere = plane.wide("v1", "limitranges");
    assert_eq!(everywhere.list(&label).await.len(), 2);
    let min = amounts("9m", "49Mi", "49Gi");
    let patch =
        json!({"metadata": {"labels": {"patched": "true"}}, "spec": {"limits": [{"type": "Container", "min": min}]}});
    let patched = ranges.strategic("range", patch).await;
    assert!(has(&patched, &json!({"metadata": {"labels": {"patched": "true"}}})));
    assert_eq!(patched["spec"]["limits"][0]["min"], min);
    ranges.delete_all("labelSelector=patched%3Dtrue").await;
    assert!(ranges.list("").await.is_empty());
    assert_eq!(everywhere.list(&label).await.len(), 1);
    other.leave().await;
}
