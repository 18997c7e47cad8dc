//! What a whole control plane leaves on the disk of a thousand secrets: nothing that tells one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coracle::{Cluster, ClusterConfig};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};

const SECRETS: usize = 1_000;
/// What every planted value begins with, and its base 64 wherever in a group of three bytes it begins.
const FORMS: [&str; 4] = ["planted-", "cGxhbnRlZC", "BsYW50ZWQt", "wbGFudGVkL"];

fn config(directory: &Path) -> ClusterConfig {
    ClusterConfig {
        bind: std::net::Ipv4Addr::LOCALHOST.into(),
        port: 0,
        agent: false,
        ..ClusterConfig::new(Some(directory.to_path_buf()))
    }
}

fn value(number: usize, version: &str) -> String {
    format!("planted-{number:04}-{version}")
}

fn secret(number: usize) -> Secret {
    let data = BTreeMap::from([("password".to_owned(), ByteString(value(number, "first").into_bytes()))]);
    let mut secret = Secret { data: Some(data), ..Secret::default() };
    secret.metadata.name = Some(format!("secret-{number}"));
    secret
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn holds(content: &[u8], form: &str) -> bool {
    let form = form.as_bytes();
    let mut rest = content;
    while let Some(at) = rest.iter().position(|byte| *byte == form[0]) {
        rest = &rest[at..];
        if rest.starts_with(form) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

/// The files of a data directory that hold any form.
fn telling(directory: &Path, forms: &[&str]) -> Vec<PathBuf> {
    let tells = |path: &PathBuf| {
        let content = std::fs::read(path).unwrap_or_default();
        forms.iter().any(|form| holds(&content, form))
    };
    files(directory).into_iter().filter(tells).collect()
}

async fn plant(cluster: &Cluster) {
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), "default");
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "default");
    let create = PostParams::default();
    futures::future::try_join_all((0..SECRETS).map(|number| {
        let (secrets, create) = (secrets.clone(), create.clone());
        async move { secrets.create(&create, &secret(number)).await }
    }))
    .await
    .unwrap();
    for number in 0..SECRETS / 5 {
        let name = format!("secret-{number}");
        let patch = serde_json::json!({"stringData": {"password": value(number, "second")}});
        secrets.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        secrets.delete(&format!("secret-{}", SECRETS - 1 - number), &DeleteParams::default()).await.unwrap();
    }
    let mut map = ConfigMap { data: Some(BTreeMap::from([("k".into(), "in-the-open".into())])), ..Default::default() };
    map.metadata.name = Some("open".into());
    maps.create(&create, &map).await.unwrap();
}

async fn check(cluster: &Cluster) {
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), "default");
    let found = secrets.list(&ListParams::default()).await.unwrap();
    let password = |secret: &Secret| {
        let data = secret.data.as_ref()?.get("password")?;
        Some((secret.metadata.name.clone()?, String::from_utf8(data.0.clone()).ok()?))
    };
    let found: BTreeMap<String, String> = found.iter().filter_map(password).collect();
    assert_eq!(found.len(), SECRETS - SECRETS / 5);
    for (name, password) in found {
        let number: usize = name.trim_start_matches("secret-").parse().unwrap();
        assert_eq!(password, value(number, if number < SECRETS / 5 { "second" } else { "first" }));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_planted_secrets_are_in_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(config(directory.path())).await.unwrap();
    plant(&cluster).await;
    check(&cluster).await;
    assert_eq!(telling(directory.path(), &FORMS), Vec::<PathBuf>::new(), "while it runs");
    cluster.stop().await.unwrap();
    assert_eq!(telling(directory.path(), &FORMS), Vec::<PathBuf>::new(), "after it ended");
    assert!(!telling(directory.path(), &["in-the-open"]).is_empty(), "the search finds what is there");
    let cluster = Cluster::start(config(directory.path())).await.unwrap();
    check(&cluster).await;
    cluster.stop().await.unwrap();
    assert_eq!(telling(directory.path(), &FORMS), Vec::<PathBuf>::new(), "after a restart");
    // Without the keys nothing starts, and nothing is lost by that.
    let keys = directory.path().join("encryption/keys.yaml");
    let kept = std::fs::read_to_string(&keys).unwrap();
    let line = |line: &str| match line.split_once("secret: ") {
        Some((head, _)) => format!("{head}secret: {}=\n", "A".repeat(43)),
        None => format!("{line}\n"),
    };
    let other: String = kept.lines().map(line).collect();
    std::fs::write(&keys, other).unwrap();
    let error = Cluster::start(config(directory.path())).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("holds a value of /registry/secrets/"), "{error}");
    assert!(error.ends_with("cipher: message authentication failed"), "{error}");
    std::fs::write(&keys, kept).unwrap();
    let cluster = Cluster::start(config(directory.path())).await.unwrap();
    check(&cluster).await;
    cluster.stop().await.unwrap();
}
