//! Walkthrough A: deployments, services, scaling, rolling updates, and the verbs of kubectl.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tests::kubectl::{Failure, Kubectl, expect, until};
use tests::real::RealCluster;

/// A deployment of busybox's web server that answers with its pod's name.
pub(crate) fn web(name: &str, replicas: u32) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  strategy: {{rollingUpdate: {{maxUnavailable: 0, maxSurge: 1}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: web
        image: busybox:latest
        imagePullPolicy: IfNotPresent
        command: [sh, -c, 'mkdir /www && hostname > /www/index.html && exec httpd -f -p 8080 -h /www']
        ports: [{{containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
        lifecycle: {{preStop: {{sleep: {{seconds: 2}}}}}}
"#
    )
}

/// The body of a plain HTTP GET.
pub(crate) fn get(address: &str) -> Result<String, Failure> {
    let failed = |error: std::io::Error| format!("GET http://{address}/: {error}");
    let target = address.parse().map_err(|error| format!("{address}: {error}"))?;
    let mut stream = TcpStream::connect_timeout(&target, Duration::from_secs(2)).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(failed)?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: test\r\n\r\n").map_err(failed)?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(failed)?;
    match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains(" 200 ") => Ok(body.to_string()),
        _ => Err(format!("GET http://{address}/: {text}")),
    }
}

/// A.1
pub(crate) fn nodes_and_deployment(cluster: &RealCluster, kubectl: &Kubectl) -> Result<(), Failure> {
    let nodes = kubectl.run("get nodes")?;
    expect(&nodes, &cluster.node())?;
    expect(&nodes, " Ready ")?;
    let declared = kubectl.run("get nodes -o jsonpath={.items[0].status.declaredFeatures}")?;
    expect(&declared, "InPlacePodVerticalScalingInitContainers")?;
    kubectl.run("create deployment web --image=nginx:1.22 --replicas=1")?;
    kubectl.run("rollout status deployment/web --timeout=60s")?;
    kubectl.eventually("get deployment web", "1/1")?;
    kubectl.words(&["run", "bare", "--image=busybox:1.35", "--", "sleep", "3600"], "")?;
    kubectl.eventually("get pod bare", "Running")?;
    Ok(())
}

/// A.2
pub(crate) fn replaced_and_restarted(_: &RealCluster, kubectl: &Kubectl) -> Result<(), Failure> {
    kubectl.apply(&web("web", 1))?;
    kubectl.run("rollout status deployment/web --timeout=60s")?;
    let first = kubectl.run("get pods -l app=web -o name")?;
    kubectl.run(&format!("delete {} --wait=false", first.trim()))?;
    kubectl.until("get pods -l app=web -o name", "another pod", |name| !name.is_empty() && name != first.trim())?;
    kubectl.run("rollout status deployment/web --timeout=60s")?;
    kubectl.words(&["run", "crash", "--image=busybox:1.35", "--", "sh", "-c", "sleep 1; exit 3"], "")?;
    kubectl.eventually("get pod crash", "CrashLoopBackOff")?;
    let restarts = "get pod crash -o jsonpath={.status.containerStatuses[0].restartCount}";
    kubectl.until(restarts, "a restart", |count| count.parse::<u32>().is_ok_and(|count| count >= 1))?;
    expect(
        &kubectl.run("get pod crash -o jsonpath={.status.containerStatuses[0].lastState.terminated}")?,
        "\"exitCode\":3",
    )?;
    kubectl.eventually("describe pod crash", "Back-off restarting failed container")?;
    Ok(())
}

/// A.3
pub(crate) fn containers_of_a_pod(_: &RealCluster, kubectl: &Kubectl) -> Result<(), Failure> {
    kubectl.apply(
        r"
apiVersion: v1
kind: Pod
metadata: {name: two}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: shared, emptyDir: {}}]
  containers:
  - name: server
    image: busybox:1.35
    command: [sh, -c, 'echo secret > /private; echo shared > /data/index.html; exec httpd -f -p 8080 -h /data']
    volumeMounts: [{name: shared, mountPath: /data}]
  - name: client
    image: busybox:1.35
    command: [sleep, '3600']
    volumeMounts: [{name: shared, mountPath: /other}]
",
    )?;
    kubectl.eventually("get pod two", "2/2")?;
    kubectl.eventually("exec two -c client -- wget -qO- http://localhost:8080/", "shared")?;
    expect(&kubectl.run("exec two -c client -- cat /other/index.html")?, "shared")?;
    match kubectl.run("exec two -c client -- cat /private") {
        Ok(printed) => Err(format!("the containers share a file system: {printed}")),
        Err(failure) => expect(&failure, "No such file"),
    }
}

/// A.4
pub(crate) fn services(_: &RealCluster, kubectl: &Kubectl) -> Result<(), Failure> {
    kubectl.apply(&web("web", 2))?;
    kubectl.run("expose deployment web --port=80 --target-port=8080")?;
    kubectl.run("expose deployment web --name=outside --type=NodePort --port=80 --target-port=8080")?;
    kubectl.run("create service externalname far --external-name=example.org")?;
    kubectl.run("rollout status deployment/web --timeout=60s")?;
    kubectl.words(&["run", "client", "--image=busybox:1.35", "--", "sleep", "3600"], "")?;
    kubectl.eventually("get pod client", "Running")?;
    kubectl.eventually("exec client -- wget -qO- http://web/", "web-")?;
    let namespace = kubectl.namespace();
    expect(&kubectl.run(&format!("exec client -- wget -qO- http://web.{namespace}.svc.cluster.local/"))?, "web-")?;
    // The host reaches service addresses and node ports too.
    let address = kubectl.run("get service web -o jsonpath={.spec.clusterIP}")?;
    until("the host reaches the service", || get(&format!("{}:80", address.trim())))?;
    let port = kubectl.run("get service outside -o jsonpath={.spec.ports[0].nodePort}")?;
    let node = kubectl.run("get nodes -o jsonpath={.items[0].status.addresses[0].address}")?;
    until("the node port answers", || get(&format!("{}:{}", node.trim(), port.trim())))?;
    // A pod reaches itself through its own service (hairpin), and requests are spread.
    let pod = kubectl.run("get pods -l app=web -o jsonpath={.items[0].metadata.name}")?;
    let seen: std::collections::BTreeSet<String> = (0..20)
        .map(|_| {
            let printed = kubectl.run(&format!("exec {} -- wget -qO- http://web/", pod.trim()))?;
            // What kubectl itself says on its standard error is not the answer.
            let answer = printed.lines().find(|line| line.starts_with("web-"));
            answer.map(String::from).ok_or_else(|| format!("no answer in {printed:?}"))
        })
        .collect::<Result<_, Failure>>()?;
    if seen.len() != 2 {
        return Err(format!("20 requests reached {seen:?}"));
    }
    kubectl.eventually("exec client -- nslookup -type=cname far.a4-services.svc.cluster.local", "example.org")?;
    without_selector(kubectl)
}

fn without_selector(kubectl: &Kubectl) -> Result<(), Failure> {
    let address = kubectl.run("get pods -l app=web -o jsonpath={.items[0].status.podIP}")?;
    kubectl.apply(&format!(
        r"
apiVersion: v1
kind: Service
metadata: {{name: manual}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: v1
kind: Endpoints
metadata: {{name: manual}}
subsets: [{{addresses: [{{ip: {}}}], ports: [{{port: 8080}}]}}]
---
apiVersion: v1
kind: Service
metadata: {{name: headless}}
spec: {{clusterIP: None, selector: {{app: web}}, ports: [{{port: 8080}}]}}
",
        address.trim()
    ))?;
    kubectl.eventually("exec client -- wget -qO- http://manual/", "web-")?;
    kubectl.eventually("exec client -- nslookup headless.a4-services.svc.cluster.local", address.trim())?;
    Ok(())
}

/// A.5
pub(crate) fn scale(_: &RealCluster, kubectl: &Kubectl) -> Result<(), Failure> {
    kubectl.apply(&web("web", 1))?;
    kubectl.run("expose deployment web --port=80 --target-port=8080")?;
    kubectl.run("rollout status deployment/web --timeout=60s")?;
    kubectl.run("scale deployment web --replicas=3")?;
    kubectl.eventually("get deployment web", "3/3")?;
    let ready =
        "get endpointslices -l kubernetes.io/service-name=web -o jsonpath={.items[*].endpoints[*].conditions.ready}";
    kubectl.until(ready, "three ready endpoints", |states| states == "true true true")?;
    kubectl.run("scale deployment web --replicas=0")?;
    kubectl.until("get pods -l app=web -o name", "no pod", str::is_empty)?;
    kubectl.run("scale deployment web --replicas=1")?;
    kubectl.run("rollout status deployment/web --timeout=60s")?;
    Ok(())
}

/// A.6
pub(crate) fn rolling_update(_: &RealCluster, kubectl: &Kubectl) -> Result<(), Failure> {
    kubectl.apply(&web("web", 2))?;
    kubectl.run("expose deployment web --port=80 --target-port=8080")?;
    kubectl.run("rollout status deployment/web --timeout=60s")?;
    let address = format!("{}:80", kubectl.run("get service web -o jsonpath={.spec.clusterIP}")?.trim());
    until("the service answers", || get(&address))?;
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let asking = std::thread::spawn({
        let (stop, answered) = (stop.clone(), answered.clone());
        move || -> Result<(), Failure> {
            while !stop.load(Ordering::Relaxed) {
                get(&address)?;
                answered.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(())
        }
    });
    kubectl.run("set image deployment/web web=busybox:1.35")?;
    let rolled = kubectl.run("rollout status deployment/web --timeout=90s");
    std::thread::sleep(Duration::from_secs(1));
    stop.store(true, Ordering::Relaxed);
    let requests = asking.join().map_err(|_| "the requests panicked")?;
    rolled?;
    requests.map_err(|failure| format!("after {} good requests: {failure}", answered.load(Ordering::Relaxed)))?;
    expect(&kubectl.run("rollout history deployment/web")?, "2")?;
    kubectl.run("rollout undo deployment/web")?;
    kubectl.run("rollout status deployment/web --timeout=90s")?;
    expect(
        &kubectl.run("get deployment web -o jsonpath={.spec.template.spec.containers[0].image}")?,
        "busybox:latest",
    )?;
    kubectl.run("rollout pause deployment/web")?;
    kubectl.run("rollout resume deployment/web")?;
    kubectl.run("rollout restart deployment/web")?;
    kubectl.run("rollout status deployment/web --timeout=90s")?;
    Ok(())
}

/// A.7, what needs no stream.
pub(crate) fn kubectl_verbs(_: &RealCluster, kubectl: &Kubectl) -> Result<(), Failure> {
    kubectl.apply(&web("web", 1))?;
    kubectl.run("rollout status deployment/web --timeout=60s")?;
    expect(&kubectl.run("describe deployment web")?, "NewReplicaSet:")?;
    expect(&kubectl.run("explain deployment.spec.strategy")?, "rollingUpdate")?;
    kubectl.words(&["patch", "deployment", "web", "-p", r#"{"metadata":{"labels":{"patched":"yes"}}}"#], "")?;
    kubectl.run("label deployment web labelled=yes")?;
    kubectl.run("annotate deployment web annotated=yes")?;
    expect(&kubectl.run("get deployment web --show-labels")?, "labelled=yes,patched=yes")?;
    expect(&kubectl.run("get pods -o wide")?, "NODE")?;
    expect(&kubectl.run("get deployment web -o yaml")?, "annotated: \"yes\"")?;
    expect(&kubectl.run("get pods -o custom-columns=N:.metadata.name")?, "web-")?;
    expect(&kubectl.run("api-resources")?, "deployments")?;
    kubectl.run("wait --for=condition=Available deployment/web --timeout=30s")?;
    expect(&kubectl.run("auth can-i create pods")?, "yes")?;
    let same = kubectl.words(&["diff", "-f", "-"], &web("web", 1))?;
    if !same.trim().is_empty() {
        return Err(format!("diff of what was applied shows:\n{same}"));
    }
    let other = kubectl.words(&["diff", "-f", "-"], &web("web", 2));
    expect(&other.err().unwrap_or_default(), "+  replicas: 2")?;
    expect(
        &kubectl.words(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &web("web", 1))?,
        "serverside-applied",
    )?;
    expect(&kubectl.run("get events")?, "Scheduled")
}

/// A.7, what streams.
pub(crate) fn streams(_: &RealCluster, kubectl: &Kubectl) -> Result<(), Failure> {
    kubectl.apply(&web("web", 1))?;
    let talk = "while read line; do echo got $line; done";
    kubectl
        .words(&["run", "talker", "--image=busybox:1.35", "-i", "--restart=Never", "--", "sh", "-c", talk], "hello\n")
        .and_then(|printed| expect(&printed, "got hello"))?;
    kubectl
        .words(&["run", "logger", "--image=busybox:1.35", "--", "sh", "-c", "echo one; echo two; sleep 3600"], "")?;
    kubectl.eventually("get pod logger", "Running")?;
    kubectl.eventually("logs logger --tail=1", "two")?;
    expect(&kubectl.words(&["exec", "-i", "logger", "--", "cat"], "through stdin\n")?, "through stdin")?;
    let failure = kubectl.words(&["exec", "logger", "--", "sh", "-c", "exit 7"], "").err().unwrap_or_default();
    expect(&failure, "exit code 7")?;
    copy(kubectl)?;
    follow(kubectl)?;
    kubectl.run("rollout status deployment/web --timeout=60s")?;
    forward(kubectl)
}

fn copy(kubectl: &Kubectl) -> Result<(), Failure> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (there, back) = (directory.path().join("there"), directory.path().join("back"));
    let content = "a line\n".repeat(20_000);
    std::fs::write(&there, &content).map_err(|error| error.to_string())?;
    kubectl.run(&format!("cp {} logger:/tmp/file", there.display()))?;
    kubectl.run(&format!("cp logger:/tmp/file {}", back.display()))?;
    let copied = std::fs::read_to_string(&back).map_err(|error| error.to_string())?;
    if copied == content { Ok(()) } else { Err(format!("cp changed the file: {} bytes", copied.len())) }
}

fn follow(kubectl: &Kubectl) -> Result<(), Failure> {
    let counting = "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.2; done";
    kubectl.words(&["run", "counter", "--image=busybox:1.35", "--", "sh", "-c", counting], "")?;
    kubectl.eventually("get pod counter", "Running")?;
    let mut child = kubectl
        .command(&["logs", "-f", "counter"])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let seen: Vec<String> = lines.map_while(Result::ok).take(10).collect();
    let _ = child.kill();
    let _ = child.wait();
    if seen.len() == 10 { Ok(()) } else { Err(format!("logs -f ended after {seen:?}")) }
}

fn forward(kubectl: &Kubectl) -> Result<(), Failure> {
    let mut child = kubectl
        .command(&["port-forward", "deployment/web", ":8080"])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut first = String::new();
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    let read = lines.read_line(&mut first).map_err(|error| error.to_string());
    let port = first.split(':').nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("").to_string();
    let answer = until("the forwarded port answers", || get(&format!("127.0.0.1:{port}")));
    let _ = child.kill();
    let _ = child.wait();
    read?;
    expect(&answer?, "web-")
}
