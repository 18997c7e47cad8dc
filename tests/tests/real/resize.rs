//! Other resources for containers that run.

use tests::kubectl::{Failure, Kubectl, expect};
use tests::real::RealCluster;

const POD: &str = r"
apiVersion: v1
kind: Pod
metadata: {name: resized}
spec:
  terminationGracePeriodSeconds: 0
  initContainers:
  - name: init
    image: busybox:1.35
    command: [sh, -c, 'until [ -e /go ]; do sleep 0.1; done']
    resources: {limits: {memory: 64Mi}}
  containers:
  - {name: main, image: 'busybox:1.35', command: [sleep, '3600'], resources: {limits: {memory: 64Mi}}}
";

/// The memory that a container may use, as the container itself sees it.
const LIMIT: &str = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2> /dev/null; true";

/// An init container and an ordinary one get more memory without being started again.
pub(crate) fn in_place(_: &RealCluster, kubectl: &Kubectl) -> Result<(), Failure> {
    kubectl.apply(POD)?;
    resize(kubectl, "initContainers", "init", "96Mi", 96 << 20)?;
    kubectl.words(&["exec", "resized", "-c", "init", "--", "touch", "/go"], "")?;
    resize(kubectl, "containers", "main", "80Mi", 80 << 20)?;
    // It has ended long since, and is not given anything any more.
    expect(&kubectl.run("get pod resized -o jsonpath={.status.initContainerStatuses[0].resources.limits}")?, "96Mi")
}

fn resize(kubectl: &Kubectl, list: &str, name: &str, amount: &str, bytes: u64) -> Result<(), Failure> {
    let statuses = if list == "containers" { "containerStatuses" } else { "initContainerStatuses" };
    let told = |field: &str| format!("get pod resized -o jsonpath={{.status.{statuses}[0].{field}}}");
    let limit = || kubectl.words(&["exec", "resized", "-c", name, "--", "sh", "-c", LIMIT], "");
    kubectl.eventually(&told("state"), "running")?;
    expect(&limit()?, &(64 << 20).to_string())?;
    let patch =
        format!(r#"{{"spec":{{"{list}":[{{"name":"{name}","resources":{{"limits":{{"memory":"{amount}"}}}}}}]}}}}"#);
    kubectl.words(&["patch", "pod", "resized", "--subresource=resize", "-p", &patch], "")?;
    kubectl.eventually(&told("resources.limits.memory"), amount)?;
    expect(&limit()?, &bytes.to_string())?;
    expect(&kubectl.run(&told("restartCount"))?, "0")
}
