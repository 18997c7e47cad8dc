//! Tests of names and configuration, and of set-up and removal on the machine where that is allowed.

use super::*;

fn config(id: &str) -> Config {
    Config {
        id: id.into(),
        pod_cidr: "10.201.7.0/24".parse().unwrap(),
        service_cidr: "10.202.0.0/16".parse().unwrap(),
        directory: "/data/network".into(),
    }
}

#[test]
fn names_fit_the_kernel_and_differ() {
    assert_eq!(config("blue").bridge(), "cor-blue");
    let (long, other) = (config("a-rather-long-name").bridge(), config("a-rather-long-name2").bridge());
    assert!(long.len() <= LINK_NAME_BYTES_MAX && other.len() <= LINK_NAME_BYTES_MAX);
    assert_ne!(long, other);
    assert_eq!(config("blue.1").table(), "coracle-blue-1");
    assert_eq!(config("x").gateway(), Ipv4Addr::new(10, 201, 7, 1));
}

#[test]
fn the_conflist_leases_from_the_pod_cidr() {
    let list: serde_json::Value = serde_json::from_str(&cni::conflist(&config("blue"))).unwrap();
    let bridge = &list["plugins"][0];
    assert_eq!(bridge["bridge"], "cor-blue");
    assert_eq!(bridge["ipam"]["ranges"][0][0]["subnet"], "10.201.7.0/24");
    assert_eq!(bridge["ipam"]["dataDir"], "/data/network/leases");
}

#[tokio::test]
async fn set_up_and_torn_down_leaves_nothing() {
    if !rustix::process::geteuid().is_root() || plugin_dir().is_err() {
        println!("skipped: needs root and the CNI plugins");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(&format!("t{}", std::process::id()));
    config.directory = directory.path().join("network");
    setup(&config).await.unwrap();
    setup(&config).await.unwrap();
    let link = Path::new("/sys/class/net").join(config.bridge());
    assert!(link.exists());
    teardown(&config).await.unwrap();
    teardown(&config).await.unwrap();
    assert!(!link.exists() && !config.directory.exists());
    let tables = std::process::Command::new("nft").args(["list", "tables"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&tables.stdout).contains(&config.table()));
}
