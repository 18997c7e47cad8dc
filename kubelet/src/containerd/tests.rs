//! Tests with a real containerd; they skip with a printed line where there is none or no right to run one.

use super::*;

/// Whether this machine can run containers: containerd installed and the right to use it.
pub(crate) fn can_run() -> bool {
    let installed = std::process::Command::new("containerd").arg("--version").output().is_ok();
    let root = rustix::process::geteuid().is_root();
    if !(installed && root) {
        println!("skipped: needs containerd and root");
    }
    installed && root
}

#[tokio::test]
async fn starts_is_found_again_and_leaves_nothing() {
    if !can_run() {
        return;
    }
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
