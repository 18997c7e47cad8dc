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
#[ignore = "needs root and the CNI plugins"]
async fn set_up_and_torn_down_leaves_nothing() {
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

/// The output of `ip`, in one line.
fn shown(arguments: &[&str]) -> String {
    let output = std::process::Command::new("ip").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
#[ignore = "needs root and the CNI plugins"]
async fn what_another_start_left_is_put_right_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(&format!("u{}", std::process::id()));
    config.directory = directory.path().join("network");
    (config.pod_cidr, config.service_cidr) = ("10.203.7.0/24".parse().unwrap(), "10.204.0.0/16".parse().unwrap());
    setup(&config).await.unwrap();
    let before = config.clone();
    (config.pod_cidr, config.service_cidr) = ("10.205.8.0/24".parse().unwrap(), "10.206.0.0/16".parse().unwrap());
    setup(&config).await.unwrap();
    let bridge = config.bridge();
    let addresses = shown(&["-4", "-brief", "address", "show", "dev", &bridge]);
    assert!(addresses.contains("10.205.8.1/24") && !addresses.contains("10.203."), "{addresses}");
    let routes = shown(&["-4", "route", "show", "dev", &bridge]);
    assert!(routes.contains("10.206.0.0/16") && !routes.contains("10.204."), "{routes}");
    // A pod hangs on it: its address cannot be taken away.
    let (outer, inner) = (format!("o{}", std::process::id()), format!("i{}", std::process::id()));
    run("ip", &["link", "add", &outer, "type", "veth", "peer", "name", &inner]).await.unwrap();
    run("ip", &["link", "set", &outer, "master", &bridge]).await.unwrap();
    setup(&config).await.unwrap();
    let refused = setup(&before).await.unwrap_err().to_string();
    let expected = format!(
        "the bridge {bridge} has pods with addresses of 10.205.8.0/24: say --pod-cidr 10.205.8.0/24, or run \
         `coracle down` before the cluster gets 10.203.7.0/24"
    );
    assert_eq!(refused, expected);
    teardown(&config).await.unwrap();
    assert!(!exists(&config));
}

#[test]
fn connection_tracking_is_only_ever_made_to_allow_more() {
    let directory = tempfile::tempdir().unwrap();
    let [short, long, count] = TRACKING_MIN.map(|(name, _)| directory.path().join(name));
    fs::write(&short, "60\n").unwrap();
    fs::write(&long, "432000\n").unwrap();
    tracking(directory.path());
    assert_eq!(fs::read_to_string(short).unwrap(), "3600");
    assert_eq!(fs::read_to_string(long).unwrap(), "432000\n");
    assert!(!count.exists(), "what this kernel does not know is left alone");
}
