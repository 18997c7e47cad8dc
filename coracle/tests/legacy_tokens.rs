//! Tokens in Secrets: their use is noted on the Secret, and those that nobody asked for go when nobody uses them.

use std::time::Duration;

use coracle::{Cluster, ClusterConfig, StoreKind};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::config::{Config, KubeConfigOptions};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
const TRACKING: &str = "kube-apiserver-legacy-service-account-token-tracking";

async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

fn read<K: serde::de::DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).unwrap()
}

async fn start(directory: &std::path::Path, period: Duration) -> Cluster {
    let config = ClusterConfig {
        data_dir: Some(directory.to_path_buf()),
        store: StoreKind::Sled,
        legacy_token_period: period,
        ..ClusterConfig::in_memory()
    };
    Cluster::start(config).await.unwrap()
}

/// Asks who it is, with a token, over the wire.
async fn ask(cluster: &Cluster, token: &str) -> Result<SelfSubjectReview, kube::Error> {
    let mut kubeconfig = cluster.kubeconfig();
    for user in &mut kubeconfig.auth_infos {
        user.auth_info = Some(kube::config::AuthInfo { token: Some(token.into()), ..Default::default() });
    }
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let client = Client::try_from(config).unwrap();
    Api::all(client).create(&PostParams::default(), &SelfSubjectReview::default()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_nobody_uses_go() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = start(folder.path(), controllers::legacy_tokens::PERIOD).await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "kube-system");
    eventually("it is told since when uses are noted", async || maps.get_opt(TRACKING).await.unwrap().is_some()).await;
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), "default");
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client(), "default");
    let names = ["old", "marked", "used", "mounted"];
    let named: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
    let account = read(json!({"metadata": {"name": "robot"}, "secrets": named}));
    accounts.create(&PostParams::default(), &account).await.unwrap();
    for name in names.iter().chain(&["manual"]) {
        let secret = read(json!({"type": "kubernetes.io/service-account-token", "metadata":
            {"name": name, "annotations": {"kubernetes.io/service-account.name": "robot"}}}));
        secrets.create(&PostParams::default(), &secret).await.unwrap();
        let filled = async || secrets.get(name).await.unwrap().data.is_some_and(|data| data.contains_key("token"));
        eventually("its token", filled).await;
    }
    let token = secrets.get("marked").await.unwrap().data.unwrap()["token"].0.clone();
    let token = String::from_utf8(token).unwrap();
    ask(&cluster, &token).await.unwrap();
    let label = async |name: &str, label: &str| secrets.get(name).await.unwrap().labels().get(label).cloned();
    eventually("the day of its use", async || label("marked", LAST_USED).await.is_some()).await;
    assert_eq!(label("old", LAST_USED).await, None);

    let change = async |name: &str, labels: Value| {
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
        secrets.patch(name, &PatchParams::default(), &patch).await.unwrap();
    };
    change("marked", json!({INVALID_SINCE: "2020-01-01", LAST_USED: "2020-01-01"})).await;
    assert!(ask(&cluster, &token).await.is_err(), "what is marked is not taken");
    // What was written a moment ago is not written again at once, so that it takes more than one try.
    eventually("that somebody tried", async || {
        let _ = ask(&cluster, &token).await;
        label("marked", LAST_USED).await.unwrap() != "2020-01-01"
    })
    .await;
    change("marked", json!({LAST_USED: "2020-01-01"})).await;
    change("used", json!({LAST_USED: "2999-01-01"})).await;
    let pod = read(json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}],
        "volumes": [{"name": "v", "secret": {"secretName": "mounted"}}]}}));
    Api::<Pod>::namespaced(cluster.client(), "default").create(&PostParams::default(), &pod).await.unwrap();
    let long_ago = Patch::Merge(json!({"data": {"since": "2020-01-01"}}));
    maps.patch(TRACKING, &PatchParams::default(), &long_ago).await.unwrap();
    cluster.stop().await.unwrap();

    let cluster = start(folder.path(), Duration::from_millis(1)).await;
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), "default");
    eventually("what was marked long ago is gone", async || secrets.get_opt("marked").await.unwrap().is_none()).await;
    let label = async |name: &str| secrets.get(name).await.unwrap().labels().get(INVALID_SINCE).cloned();
    eventually("what nobody uses is marked", async || label("old").await.is_some()).await;
    for name in ["used", "mounted", "manual"] {
        assert_eq!(label(name).await, None, "{name}");
    }
    cluster.stop().await.unwrap();
}
