//! Tests with a real containerd.

use super::*;

#[tokio::test]
#[ignore = "needs root and containerd"]
async fn starts_is_found_again_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        root: directory.path().join("root"),
        state: directory.path().join("state"),
        cni_conf_dir: directory.path().join("cni"),
        cni_bin_dir: "/usr/lib/cni".into(),
        registry_config_dir: None,
    };
    let first = Containerd::start(config.clone()).await.unwrap();
    let pid = first.pid();
    assert!(!first.reattached());
    drop(first);
    let second = Containerd::start(config.clone()).await.unwrap();
    assert!(second.reattached());
    assert_eq!(second.pid(), pid);
    drop(second);
    teardown(&config).await.unwrap();
    assert!(!config.state.exists());
    assert!(process::running(&config).is_none());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&*directory.path().to_string_lossy()), "{mounts}");
}
