//! The controllers on a control plane in this process, with a node agent that only pretends.

mod devices;
mod differences;
mod jobs;
mod plane;
mod policies;

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::authentication::v1::TokenReview;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service,
    ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use plane::{Plane, eventually, from, pretend_node};

fn template(app: &str, image: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [
        {"name": "c", "image": image, "ports": [{"name": "web", "containerPort": 8080}]}]}})
}

fn new_image(image: &str) -> Patch<Value> {
    Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}))
}

async fn delete_namespace(plane: &Plane) {
    let namespaces: Api<Namespace> = Api::all(plane.client.clone());
    namespaces.delete("t", &DeleteParams::default()).await.expect("it is being deleted");
    eventually("the namespace to go", async || namespaces.get_opt("t").await.expect("an answer").is_none()).await;
}

fn deployment(replicas: i32) -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}}, "template": template("web", "a:1")}})
}

async fn rolled_out(plane: &Plane, replicas: i32, revision: &str) -> bool {
    let d = plane.api::<Deployment>().get("web").await.expect("the deployment");
    let at = d.annotations().get("deployment.kubernetes.io/revision").is_some_and(|r| r == revision);
    let s = d.status.clone().unwrap_or_default();
    let counts = [s.available_replicas, s.updated_replicas, s.replicas];
    at && s.observed_generation == d.metadata.generation && counts.iter().all(|n| *n == Some(replicas))
}

#[tokio::test]
async fn a_namespace_is_furnished_and_emptied() {
    let plane = Plane::start().await;
    let maps = plane.api::<ConfigMap>();
    eventually("the root certificate", async || maps.get_opt("kube-root-ca.crt").await.expect("an answer").is_some())
        .await;
    let held: ConfigMap = plane.create(json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}})).await;
    let namespaces: Api<Namespace> = Api::all(plane.client.clone());
    namespaces.delete("t", &DeleteParams::default()).await.expect("it is being deleted");
    eventually("the reason why it stays", async || {
        let n = namespaces.get("t").await.expect("the namespace");
        let conditions = n.status.and_then(|s| s.conditions).unwrap_or_default();
        conditions.iter().any(|c| c.type_ == "NamespaceFinalizersRemaining" && c.status == "True")
    })
    .await;
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch(&held.name_any(), &PatchParams::default(), &free).await.expect("it is let go");
    eventually("the namespace to go", async || namespaces.get_opt("t").await.expect("an answer").is_none()).await;
}

#[tokio::test]
async fn a_deployment_rolls_out_back_and_goes() {
    let plane = Plane::start().await;
    let (deployments, sets) = (plane.api::<Deployment>(), plane.api::<ReplicaSet>());
    plane.create::<Deployment>(deployment(3)).await;
    eventually("three pods", async || rolled_out(&plane, 3, "1").await).await;
    deployments.patch("web", &PatchParams::default(), &new_image("a:2")).await.expect("a new image");
    eventually("the new pods", async || rolled_out(&plane, 3, "2").await).await;
    deployments.patch("web", &PatchParams::default(), &new_image("a:1")).await.expect("the old image");
    eventually("the old pods again", async || rolled_out(&plane, 3, "3").await).await;
    assert_eq!(sets.list(&ListParams::default()).await.expect("sets").items.len(), 2, "the first set is used again");
    let size = Patch::Merge(json!({"spec": {"replicas": 5}}));
    deployments.patch("web", &PatchParams::default(), &size).await.expect("a new size");
    eventually("five pods", async || rolled_out(&plane, 5, "3").await).await;
    deployments.delete("web", &DeleteParams::foreground()).await.expect("it is being deleted");
    eventually("it to go last", async || {
        let there = deployments.get_opt("web").await.expect("an answer").is_some();
        if !there {
            assert!(plane.pods("app=web").await.is_empty(), "a deployment in the foreground goes after its pods");
        }
        !there
    })
    .await;
}

#[tokio::test]
async fn orphans_stay_and_are_adopted() {
    let plane = Plane::start().await;
    plane.create::<Deployment>(deployment(2)).await;
    eventually("two pods", async || rolled_out(&plane, 2, "1").await).await;
    let sets = plane.api::<ReplicaSet>();
    let before = sets.list(&ListParams::default()).await.expect("sets").items[0].uid();
    plane.api::<Deployment>().delete("web", &DeleteParams::orphan()).await.expect("it is deleted");
    eventually("the set to be free", async || {
        let all = sets.list(&ListParams::default()).await.expect("sets").items;
        all.len() == 1 && all[0].owner_references().is_empty()
    })
    .await;
    eventually("the deployment to go", async || {
        plane.api::<Deployment>().get_opt("web").await.expect("an answer").is_none()
    })
    .await;
    plane.create::<Deployment>(deployment(2)).await;
    eventually("the set to be adopted", async || {
        let all = sets.list(&ListParams::default()).await.expect("sets").items;
        all.len() == 1 && all[0].uid() == before && !all[0].owner_references().is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_service_knows_its_pods() {
    let plane = Plane::start().await;
    plane
        .create::<Service>(json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"},
        "ports": [{"name": "http", "port": 80, "targetPort": "web"}]}}))
        .await;
    plane.create::<Deployment>(deployment(3)).await;
    let (slices, endpoints) = (plane.api::<EndpointSlice>(), plane.api::<Endpoints>());
    eventually("three endpoints in one slice", async || {
        let all = slices.list(&ListParams::default()).await.expect("slices").items;
        let port = all.first().and_then(|s| s.ports.as_ref()?.first()?.port);
        all.len() == 1 && all[0].endpoints.iter().flatten().count() == 3 && port == Some(8080)
    })
    .await;
    eventually("three addresses", async || {
        let all = endpoints.get_opt("web").await.expect("an answer");
        all.is_some_and(|e| e.subsets.iter().flatten().flat_map(|s| s.addresses.iter().flatten()).count() == 3)
    })
    .await;
    plane.api::<Service>().delete("web", &DeleteParams::default()).await.expect("it is deleted");
    eventually("slices and endpoints to go", async || {
        let none = slices.list(&ListParams::default()).await.expect("slices").items.is_empty();
        none && endpoints.get_opt("web").await.expect("an answer").is_none()
    })
    .await;
}

#[tokio::test]
async fn a_stateful_set_is_ordered_and_keeps_its_claims() {
    let plane = Plane::start().await;
    plane
        .create::<StatefulSet>(json!({"metadata": {"name": "db"}, "spec": {"replicas": 3, "serviceName": "db",
        "selector": {"matchLabels": {"app": "db"}}, "template": template("db", "a:1"),
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Delete"},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"storageClassName": "by-hand",
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]}}))
        .await;
    let volumes: Api<PersistentVolume> = Api::all(plane.client.clone());
    for i in 0..3 {
        let volume = json!({"metadata": {"name": format!("v{i}")}, "spec": {"storageClassName": "by-hand",
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": format!("/v/{i}")},
            "persistentVolumeReclaimPolicy": "Retain"}});
        volumes.create(&PostParams::default(), &from(volume)).await.expect("a volume");
    }
    let sets = plane.api::<StatefulSet>();
    let settled = async |replicas: i32| {
        let s = sets.get("db").await.expect("the set").status.unwrap_or_default();
        s.replicas == replicas && s.ready_replicas == Some(replicas) && s.current_revision == s.update_revision
    };
    eventually("three pods", async || settled(3).await).await;
    let claims = plane.api::<PersistentVolumeClaim>();
    eventually("three bound claims", async || {
        let all = claims.list(&ListParams::default()).await.expect("claims").items;
        let bound = |c: &&PersistentVolumeClaim| c.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
        all.iter().filter(bound).count() == 3
    })
    .await;
    sets.patch("db", &PatchParams::default(), &new_image("a:2")).await.expect("a new image");
    eventually("the new pods", async || {
        let new = |p: &Pod| p.spec.as_ref().is_some_and(|s| s.containers[0].image.as_deref() == Some("a:2"));
        plane.pods("app=db").await.iter().filter(|p| new(p)).count() == 3 && settled(3).await
    })
    .await;
    let size = Patch::Merge(json!({"spec": {"replicas": 1}}));
    sets.patch("db", &PatchParams::default(), &size).await.expect("a new size");
    eventually("one pod and one claim", async || {
        let claims = claims.list(&ListParams::default()).await.expect("claims").items.len();
        settled(1).await && claims == 1
    })
    .await;
    let phase =
        async |name: &str| volumes.get(name).await.expect("it").status.and_then(|s| s.phase).unwrap_or_default();
    eventually("two released volumes", async || {
        let phases = [phase("v0").await, phase("v1").await, phase("v2").await];
        phases.iter().filter(|p| *p == "Released").count() == 2
    })
    .await;
    delete_namespace(&plane).await;
}

fn job(name: &str, ends: &str, more: Value) -> Value {
    let mut template = template(name, "a:1");
    template["metadata"]["labels"]["ends"] = json!(ends);
    template["spec"]["restartPolicy"] = json!("Never");
    let mut job = json!({"metadata": {"name": name}, "spec": {"template": template}});
    for (key, value) in more.as_object().expect("fields") {
        job["spec"][key] = value.clone();
    }
    job
}

async fn ended(plane: &Plane, name: &str, how: &str) -> bool {
    let status = plane.api::<Job>().get(name).await.expect("the job").status.unwrap_or_default();
    status.conditions.iter().flatten().any(|c| c.type_ == how && c.status == "True")
}

#[tokio::test]
async fn jobs_end() {
    let plane = Plane::start().await;
    plane.create::<Job>(job("plain", "Succeeded", json!({"completions": 5, "parallelism": 2}))).await;
    let indexed = json!({"completions": 4, "parallelism": 2, "completionMode": "Indexed"});
    plane.create::<Job>(job("indexed", "Succeeded", indexed)).await;
    plane.create::<Job>(job("bad", "Failed", json!({"backoffLimit": 0}))).await;
    plane.create::<Job>(job("brief", "Succeeded", json!({"ttlSecondsAfterFinished": 0}))).await;
    let jobs = plane.api::<Job>();
    eventually("the plain job", async || ended(&plane, "plain", "Complete").await).await;
    eventually("the indexed job", async || ended(&plane, "indexed", "Complete").await).await;
    eventually("the bad job", async || ended(&plane, "bad", "Failed").await).await;
    eventually("the brief job to go", async || jobs.get_opt("brief").await.expect("an answer").is_none()).await;
    let status = async |name: &str| jobs.get(name).await.expect("the job").status.unwrap_or_default();
    assert_eq!(status("plain").await.succeeded, Some(5));
    assert_eq!(status("indexed").await.completed_indexes.as_deref(), Some("0-3"));
    assert_eq!(status("bad").await.failed, Some(1));
    let held = |p: &Pod| p.finalizers().iter().any(|f| f == "batch.kubernetes.io/job-tracking");
    eventually("no pod to be held", async || !plane.pods("ends").await.iter().any(held)).await;
    jobs.delete("plain", &DeleteParams::background()).await.expect("it is deleted");
    eventually("its pods to go", async || plane.pods("app=plain").await.is_empty()).await;
}

#[tokio::test]
async fn a_cron_job_takes_its_time() {
    let plane = Plane::start().await;
    let spec = job("x", "Succeeded", json!({}))["spec"].clone();
    plane
        .create::<CronJob>(json!({"metadata": {"name": "tick"}, "spec": {"schedule": "@every 1s",
        "jobTemplate": {"spec": spec}}}))
        .await;
    eventually("a job that succeeded", async || {
        let c = plane.api::<CronJob>().get("tick").await.expect("the cron job");
        c.status.is_some_and(|s| s.last_schedule_time.is_some() && s.last_successful_time.is_some())
    })
    .await;
}

#[tokio::test]
async fn a_daemon_set_is_on_every_node() {
    let plane = Plane::start().await;
    plane
        .create::<DaemonSet>(json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"app": "d"}}, "template": template("d", "a:1")}}))
        .await;
    let sets = plane.api::<DaemonSet>();
    let on = async |nodes: i32| {
        let s = sets.get("d").await.expect("the set").status.unwrap_or_default();
        s.desired_number_scheduled == nodes
            && s.number_available == Some(nodes)
            && s.updated_number_scheduled == Some(nodes)
    };
    eventually("a pod", async || on(1).await).await;
    pretend_node(&plane.client, "n2").await;
    eventually("a pod on the second node", async || on(2).await).await;
    sets.patch("d", &PatchParams::default(), &new_image("a:2")).await.expect("a new image");
    eventually("the new pods", async || {
        let new = |p: &Pod| p.spec.as_ref().is_some_and(|s| s.containers[0].image.as_deref() == Some("a:2"));
        plane.pods("app=d").await.iter().filter(|p| new(p)).count() == 2 && on(2).await
    })
    .await;
    let elsewhere =
        Patch::Merge(json!({"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": "n2"}}}}}));
    sets.patch("d", &PatchParams::default(), &elsewhere).await.expect("a selector");
    eventually("one pod", async || on(1).await && plane.pods("app=d").await.len() == 1).await;
}

#[tokio::test]
async fn a_tainted_node_loses_its_pods() {
    let plane = Plane::start().await;
    plane.create::<Deployment>(deployment(1)).await;
    eventually("a pod", async || rolled_out(&plane, 1, "1").await).await;
    let before = plane.pods("app=web").await[0].uid();
    let nodes: Api<Node> = Api::all(plane.client.clone());
    let cordon = Patch::Merge(json!({"spec": {"unschedulable": true}}));
    nodes.patch("n1", &PatchParams::default(), &cordon).await.expect("it is cordoned");
    eventually("the taint of a cordoned node", async || {
        let taints = nodes.get("n1").await.expect("the node").spec.and_then(|s| s.taints).unwrap_or_default();
        taints.iter().any(|t| t.key == "node.kubernetes.io/unschedulable")
    })
    .await;
    let taint = Patch::Merge(json!({"spec": {"taints": [{"key": "x", "effect": "NoExecute"}]}}));
    nodes.patch("n1", &PatchParams::default(), &taint).await.expect("a taint");
    eventually("another pod in its place", async || {
        plane
            .pods("app=web")
            .await
            .iter()
            .all(|p| p.uid() != before && p.spec.as_ref().is_some_and(|s| s.node_name.is_none()))
    })
    .await;
}

#[tokio::test]
async fn a_budget_counts_its_pods() {
    let plane = Plane::start().await;
    plane.create::<Deployment>(deployment(3)).await;
    plane
        .create::<PodDisruptionBudget>(json!({"metadata": {"name": "b"}, "spec": {"minAvailable": "50%",
        "selector": {"matchLabels": {"app": "web"}}}}))
        .await;
    eventually("one pod may go", async || {
        let b = plane.api::<PodDisruptionBudget>().get("b").await.expect("the budget");
        let s = b.status.unwrap_or_default();
        [s.expected_pods, s.current_healthy, s.desired_healthy, s.disruptions_allowed] == [3, 3, 2, 1].map(Some)
    })
    .await;
}

#[tokio::test]
async fn an_idle_cluster_writes_nothing() {
    let plane = Plane::start().await;
    plane.create::<Deployment>(deployment(3)).await;
    eventually("three pods", async || rolled_out(&plane, 3, "1").await).await;
    let version = async || {
        let pods = plane.api::<Pod>().list(&ListParams::default()).await.expect("pods");
        pods.metadata.resource_version.unwrap_or_default()
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = version().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(version().await, before);
}

#[tokio::test]
async fn a_secret_holds_a_token_of_its_account() {
    let plane = Plane::start().await;
    let (secrets, accounts) = (plane.api::<Secret>(), plane.api::<ServiceAccount>());
    let account: ServiceAccount = plane.create(json!({"metadata": {"name": "robot"}})).await;
    let secret = |name: &str, account: &str| {
        json!({"metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": account}},
            "type": "kubernetes.io/service-account-token"})
    };
    let _: Secret = plane.create(secret("held", "robot")).await;
    let data = |s: &Secret, key: &str| {
        let bytes = s.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.clone());
        String::from_utf8(bytes.unwrap_or_default()).expect("text")
    };
    eventually("the token", async || !data(&secrets.get("held").await.expect("it"), "token").is_empty()).await;
    let held = secrets.get("held").await.expect("it");
    assert_eq!(data(&held, "namespace"), "t");
    assert!(data(&held, "ca.crt").starts_with("-----BEGIN CERTIFICATE"));
    assert_eq!(held.annotations().get("kubernetes.io/service-account.uid"), account.metadata.uid.as_ref());

    let reviews: Api<TokenReview> = Api::all(plane.client.clone());
    let token = data(&held, "token");
    let review = async || {
        let asked = from(json!({"spec": {"token": token}, "metadata": {}}));
        reviews.create(&PostParams::default(), &asked).await.expect("a review").status.expect("a verdict")
    };
    let user = review().await.user.expect("a user");
    assert_eq!(user.username.as_deref(), Some("system:serviceaccount:t:robot"));
    assert_eq!(user.uid, account.metadata.uid);
    let label = |since: Value| {
        Patch::Merge(json!({"metadata": {"labels": {"kubernetes.io/legacy-token-invalid-since": since}}}))
    };
    secrets.patch("held", &PatchParams::default(), &label("2026-01-01".into())).await.expect("a label");
    assert!(review().await.error.is_some_and(|error| error.contains("has been marked invalid")));
    secrets.patch("held", &PatchParams::default(), &label(Value::Null)).await.expect("no label");
    assert_eq!(review().await.authenticated, Some(true));

    let _: Secret = plane.create(secret("nobodys", "none")).await;
    eventually("a token of nobody to go", async || secrets.get_opt("nobodys").await.expect("an answer").is_none())
        .await;
    let named = Patch::Merge(json!({"secrets": [{"name": "held"}, {"name": "other"}]}));
    accounts.patch("robot", &PatchParams::default(), &named).await.expect("named secrets");
    secrets.delete("held", &DeleteParams::default()).await.expect("deleted");
    let refused = review().await.error;
    assert_eq!(refused.as_deref(), Some("[invalid bearer token, Token has been invalidated]"));
    eventually("the name to go", async || {
        accounts.get("robot").await.expect("it").secrets.is_some_and(|named| named.len() == 1)
    })
    .await;
    let _: Secret = plane.create(secret("again", "robot")).await;
    accounts.delete("robot", &DeleteParams::default()).await.expect("deleted");
    eventually("the token to go", async || secrets.get_opt("again").await.expect("an answer").is_none()).await;
}
