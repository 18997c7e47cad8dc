//! Many clusters in one process: each is alone, and nothing of one stays when it is dropped.

use coracle::{Cluster, ClusterConfig};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, ListParams, PostParams};

/// As many as the README promises.
const CLUSTERS: usize = 100;

fn named(name: &str) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name.into());
    object
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_clusters_know_nothing_of_each_other() {
    let starts = (0..CLUSTERS).map(|_| Cluster::start(ClusterConfig::in_memory()));
    let clusters = futures::future::try_join_all(starts).await.unwrap();
    for (number, cluster) in clusters.iter().enumerate() {
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "default");
        maps.create(&PostParams::default(), &named(&format!("of-{number}"))).await.unwrap();
    }
    let mut uids = std::collections::HashSet::new();
    for (number, cluster) in clusters.iter().enumerate() {
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "default");
        let listed = maps.list(&ListParams::default()).await.unwrap();
        let own: Vec<_> =
            listed.iter().filter_map(|map| map.metadata.name.clone()).filter(|n| n.starts_with("of-")).collect();
        assert_eq!(own, [format!("of-{number}")]);
        let namespaces: Api<Namespace> = Api::all(cluster.client());
        uids.insert(namespaces.get("default").await.unwrap().metadata.uid.unwrap());
    }
    assert_eq!(uids.len(), CLUSTERS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_cluster_is_gone() {
    let cluster = Cluster::start(ClusterConfig::in_memory()).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "default");
    maps.create(&PostParams::default(), &named("left")).await.unwrap();
    let url = cluster.url();
    let address = url.trim_start_matches("https://").to_string();
    tokio::net::TcpStream::connect(&address).await.expect("the cluster listens");
    drop(cluster);
    let closed = async {
        while tokio::net::TcpStream::connect(&address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), closed).await.expect("its port is closed");
}
