//! The commands as a person types them, with a control plane alone.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_coracle");
/// How long a start may take on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn coracle(words: &[&str]) -> Output {
    Command::new(BINARY).args(words).stdin(Stdio::null()).output().unwrap()
}

fn fails(words: &[&str], expect: &str) {
    let output = coracle(words);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{words:?} succeeded");
    assert!(said.contains(expect), "{words:?} said {said:?}, not {expect:?}");
}

fn server(data: &Path, more: &[&str]) -> Running {
    let mut command = Command::new(BINARY);
    command.args(["server", "--disable-agent", "--bind", "127.0.0.1", "--data-dir"]).arg(data).args(more);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let running = Running(child);
    wait_for(data);
    running
}

fn wait_for(data: &Path) {
    wait_until(|| data.join("admin.kubeconfig").exists());
}

fn wait_until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < START_MAX, "the server did not start");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn version_and_completion() {
    let output = coracle(&["version"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("Kubernetes v1.36"));
    assert!(String::from_utf8_lossy(&coracle(&["completion", "bash"]).stdout).contains("_coracle"));
}

#[test]
fn a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let data = tempfile::tempdir().unwrap();
    let data = data.path().to_str().unwrap();
    let words = ["server", "--disable-agent", "--bind", "127.0.0.1", "--port", &port, "--data-dir", data];
    fails(&words, &format!("port {port} is taken"));
}

#[test]
fn wrong_flags() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path().to_str().unwrap();
    fails(&["server", "--data-dir", data, "--pod-cidr", "nonsense"], "is not an address range");
    let missing = ["server", "--disable-agent", "--port", "0", "--data-dir", data, "--token-auth-file", "/nonexistent"];
    fails(&missing, "--token-auth-file");
    fails(&["kubeconfig", "--data-dir", "/nonexistent"], "coracle up");
    fails(&["status", "--data-dir", "/nonexistent"], "no cluster runs");
    fails(&["image", "import", "x.tar", "--data-dir", "/nonexistent"], "no node was started");
}

#[test]
fn a_data_directory_in_use_and_a_life_of_a_server() {
    let data = tempfile::tempdir().unwrap();
    let shown = data.path().to_str().unwrap();
    let mut running = server(data.path(), &["--port", "0"]);
    fails(&["server", "--disable-agent", "--port", "0", "--data-dir", shown], "is locked by another process");
    let status = coracle(&["status", "--data-dir", shown]);
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.status.success() && said.contains("v1.36"), "{said}");
    let kubeconfig = data.path().join("admin.kubeconfig");
    assert_eq!(std::fs::metadata(&kubeconfig).unwrap().permissions().mode() & 0o777, 0o600);
    let home = tempfile::tempdir().unwrap();
    let merged = Command::new(BINARY)
        .args(["kubeconfig", "--merge", "--data-dir", shown])
        .env("HOME", home.path())
        .env_remove("KUBECONFIG")
        .output()
        .unwrap();
    assert!(merged.status.success());
    let merged = std::fs::read_to_string(home.path().join(".kube/config")).unwrap();
    assert!(merged.contains("current-context: coracle"), "{merged}");
    assert!(coracle(&["down", "--data-dir", shown]).status.success());
    assert!(running.0.wait().unwrap().success(), "the server ended in disorder");
    assert!(kubeconfig.exists(), "the kubeconfig stays with the data");
    assert!(coracle(&["down", "--purge", "--data-dir", shown]).status.success());
    assert!(!data.path().exists());
}

/// Every file and directory of a running cluster is its owner's alone, and so is what a looser version left behind.
#[test]
fn nothing_in_the_data_directory_is_open_to_others() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    for (umask, name) in [("0", "open"), ("0777", "closed")] {
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        let words = ["server", "--disable-agent", "--bind", "127.0.0.1", "--port", "0", "--data-dir"];
        let mut command = Command::new("sh");
        command.args(["-c", &script, BINARY]).args(words).arg(&data).stdin(Stdio::null());
        let running = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        wait_for(&data);
        wait_until(|| data.join("coracle.pid").exists());
        let mut below = vec![data.clone()];
        let mut seen = 0;
        while let Some(path) = below.pop() {
            let found = std::fs::symlink_metadata(&path).unwrap();
            let expected = if found.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(found.permissions().mode() & 0o777, expected, "{} with the umask {umask}", path.display());
            seen += 1;
            if found.is_dir() {
                below.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        assert!(seen > 10, "{seen} files with the umask {umask} ({name})");
        drop(running);
        std::fs::remove_file(data.join("admin.kubeconfig")).unwrap();
        std::fs::remove_file(data.join("coracle.pid")).unwrap();
    }
}

#[test]
fn a_reader_that_went_away_stops_no_command() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert!(Command::new(BINARY).arg("version").stdout(writer).status().unwrap().success());
}

#[test]
fn the_keys_of_secrets_are_changed_while_the_server_runs() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let shown = data.to_str().unwrap();
    fails(&["encryption", "rotate", "--data-dir", shown], "a server makes them at its start");
    let mut running = server(&data, &["--port", "0"]);
    wait_until(|| data.join("coracle.pid").exists());
    let rotate = || {
        let output = coracle(&["encryption", "rotate", "--data-dir", shown]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = rotate();
    assert!(said.starts_with("All Secrets are encrypted with key-2 of"), "{said}");
    let mark = std::fs::read_to_string(data.join("store/renewed")).unwrap();
    assert!(coracle(&["down", "--data-dir", shown]).status.success());
    assert!(running.0.wait().unwrap().success());
    let said = rotate();
    assert!(said.starts_with("key-3 of") && said.contains("or from the next start"), "{said}");
    let running = server(&data, &["--port", "0"]);
    wait_until(|| std::fs::read_to_string(data.join("store/renewed")).unwrap() != mark);
    drop(running);
    let wrong = ["server", "--disable-agent", "--port", "0", "--data-dir", shown];
    let more = ["--encryption-provider-config-automatic-reload"];
    fails(&[&wrong[..], &more].concat(), "must be set with --encryption-provider-config");
    let more = ["--encryption-provider-config", "/nonexistent"];
    fails(&[&wrong[..], &more].concat(), "error reading encryption provider configuration file \"/nonexistent\"");
}

#[test]
fn a_backup_makes_another_cluster() {
    let directory = tempfile::tempdir().unwrap();
    let (data, other) = (directory.path().join("data"), directory.path().join("other"));
    let (shown, shown_other) = (data.to_str().unwrap(), other.to_str().unwrap());
    let file = directory.path().join("backup");
    let shown_file = file.to_str().unwrap();
    let said = |words: &[&str]| {
        let output = coracle(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mut running = server(&data, &["--port", "0"]);
    wait_until(|| data.join("coracle.pid").exists());
    let made = said(&["backup", shown_file, "--data-dir", shown]);
    assert!(made.contains(" objects at revision "), "{made}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    fails(&["backup", shown_file, "--data-dir", shown], "exists already");
    fails(&["restore", shown_file, "--data-dir", shown], "a cluster runs in");
    assert!(coracle(&["down", "--data-dir", shown]).status.success());
    assert!(running.0.wait().unwrap().success());
    fails(&["restore", shown_file, "--data-dir", shown], "holds a store already: to put it aside, say --replace");
    let restored = said(&["restore", shown_file, "--data-dir", shown, "--replace"]);
    assert!(restored.contains("the revision goes on at") && restored.contains("store.replaced-"), "{restored}");
    let mut content = std::fs::read(&file).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    let damaged = directory.path().join("damaged");
    std::fs::write(&damaged, &content).unwrap();
    let shown_damaged = damaged.to_str().unwrap();
    fails(&["restore", shown_damaged, "--data-dir", shown_other], "corrupt data in");
    assert!(!other.join("store").exists());
    said(&["restore", shown_file, "--data-dir", shown_other]);
    for place in [&data, &other] {
        let _ = std::fs::remove_file(place.join("admin.kubeconfig"));
        let running = server(place, &["--port", "0"]);
        wait_until(|| place.join("coracle.pid").exists());
        let status = said(&["status", "--data-dir", place.to_str().unwrap()]);
        assert!(status.contains("v1.36"), "{status}");
        drop(running);
    }
}
