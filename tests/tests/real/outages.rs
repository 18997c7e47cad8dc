//! Kills of containerd, of the server, and of both, while a service is asked: containers go on, and so do answers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::kubectl::{Failure, Kubectl, until};
use tests::real::{RealCluster, run};

use crate::first_steps::{get, web};

/// How often each is killed, unless `CORACLE_KILLS` says otherwise.
const KILLS_DEFAULT: usize = 3;
/// How long a service may be without its endpoints after a kill.
const ENDPOINTS_BACK: Duration = Duration::from_secs(2);
/// Pause between two requests.
const REQUEST_PAUSE: Duration = Duration::from_millis(20);

/// A pod whose probes run commands, for which the runtime is needed.
const PROBED: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: probed, labels: {app: web}}
spec:
  containers:
  - name: web
    image: busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'mkdir /www && hostname > /www/index.html && exec httpd -f -p 8080 -h /www']
    readinessProbe: {exec: {command: ["true"]}, periodSeconds: 1, failureThreshold: 1}
    livenessProbe: {exec: {command: ["true"]}, periodSeconds: 1, failureThreshold: 1}
"#;

/// Kills everything in turn; no request may fail, no container end, and the node never be not ready.
pub(crate) fn survive(cluster: &RealCluster) -> Result<(), Failure> {
    let kills = std::env::var("CORACLE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS_DEFAULT);
    let kubectl = cluster.kubectl().in_new_namespace("outages")?;
    kubectl.apply(&web("web", 2))?;
    kubectl.apply(PROBED)?;
    kubectl.run("expose deployment web --port=80 --target-port=8080")?;
    kubectl.run("rollout status deployment/web --timeout=60s")?;
    kubectl.run("wait --for=condition=Ready pod/probed --timeout=60s")?;
    let address = format!("{}:80", kubectl.run("get service web -o jsonpath={.spec.clusterIP}")?.trim());
    until("the service answers", || get(&address))?;
    until("there are three endpoints", || endpoints(&kubectl))?;
    let (containers, ready) = (containers(&kubectl)?, ready(cluster, &kubectl)?);
    let asking = Asking::start(address);
    let mut slowest = Duration::ZERO;
    for kill in 0..kills {
        for what in ["containerd", "server", "both"] {
            let took =
                outage(cluster, &kubectl, what).map_err(|failure| format!("kill {kill} of {what}: {failure}"))?;
            slowest = slowest.max(took);
        }
    }
    let answered = asking.end()?;
    println!("{answered} requests during {} kills; endpoints were back within {slowest:?}", kills * 3);
    let after = (self::containers(&kubectl)?, self::ready(cluster, &kubectl)?);
    if after != (containers.clone(), ready.clone()) {
        return Err(format!("{containers} ({ready}) became {} ({})", after.0, after.1));
    }
    Ok(())
}

/// Kills, and answers how long it took until the service has all its endpoints.
fn outage(cluster: &RealCluster, kubectl: &Kubectl, what: &str) -> Result<Duration, Failure> {
    let killed = match what {
        "server" => None,
        _ => Some(kill_containerd(cluster)?),
    };
    if what != "containerd" {
        cluster.kill()?;
        cluster.up()?;
    }
    let start = Instant::now();
    until("there are three endpoints", || endpoints(kubectl))?;
    let took = start.elapsed();
    if took > ENDPOINTS_BACK {
        return Err(format!("the endpoints were back after {took:?}"));
    }
    until("containerd is back", || match killed {
        Some(old) if containerd(cluster)? == old => Err("it is not started yet".to_owned()),
        _ => kubectl.run("exec probed -- true"),
    })?;
    endpoints(kubectl)?;
    Ok(took)
}

/// Requests in a thread of their own.
struct Asking {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    thread: std::thread::JoinHandle<Result<(), Failure>>,
}

impl Asking {
    fn start(address: String) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let thread = std::thread::spawn({
            let (stop, answered) = (stop.clone(), answered.clone());
            move || -> Result<(), Failure> {
                while !stop.load(Ordering::Relaxed) {
                    get(&address)?;
                    answered.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(REQUEST_PAUSE);
                }
                Ok(())
            }
        });
        Self { stop, answered, thread }
    }

    /// How many requests were answered, if all were.
    fn end(self) -> Result<usize, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let result = self.thread.join().map_err(|_| "the requests panicked")?;
        let answered = self.answered.load(Ordering::Relaxed);
        result.map(|()| answered).map_err(|failure| format!("after {answered} good requests: {failure}"))
    }
}

fn endpoints(kubectl: &Kubectl) -> Result<(), Failure> {
    let path = "jsonpath={.items[*].endpoints[*].conditions.ready}";
    let ready = kubectl.run(&format!("get endpointslices -l kubernetes.io/service-name=web -o {path}"))?;
    if ready.trim() == "true true true" { Ok(()) } else { Err(format!("ready: {ready}")) }
}

/// All containers with their restarts.
fn containers(kubectl: &Kubectl) -> Result<String, Failure> {
    kubectl.run("get pods -o jsonpath={.items[*].status.containerStatuses[0]['containerID','restartCount']}")
}

/// Since when the node is ready.
fn ready(cluster: &RealCluster, kubectl: &Kubectl) -> Result<String, Failure> {
    let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")]['status','lastTransitionTime']}";
    kubectl.run(&format!("get node {} -o {path}", cluster.node()))
}

/// The process of the cluster's containerd.
fn containerd(cluster: &RealCluster) -> Result<u32, Failure> {
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let record: serde_json::Value =
        serde_json::from_str(&read(&cluster.directory().join("node.json"))?).map_err(|error| error.to_string())?;
    let socket = PathBuf::from(record["socket"].as_str().unwrap_or_default());
    let pid = read(&socket.with_file_name("containerd.pid"))?;
    pid.trim().parse().map_err(|error| format!("{pid:?}: {error}"))
}

fn kill_containerd(cluster: &RealCluster) -> Result<u32, Failure> {
    let pid = containerd(cluster)?;
    run(Command::new("kill").args(["-9", &pid.to_string()]))?;
    Ok(pid)
}
