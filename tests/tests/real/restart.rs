//! A crash of the server: pods go on, and nothing is restarted.

use tests::kubectl::Failure;
use tests::real::RealCluster;

/// Kills the server while a pod runs, starts it again, and finds the same container.
pub(crate) fn adopts_running_pods(cluster: &RealCluster) -> Result<(), Failure> {
    let kubectl = cluster.kubectl().in_new_namespace("restart")?;
    kubectl.words(&["run", "sleeper", "--image=busybox:1.35", "--", "sleep", "3600"], "")?;
    kubectl.eventually("get pod sleeper", "Running")?;
    let container = "get pod sleeper -o jsonpath={.status.containerStatuses[0].containerID}";
    let before = kubectl.run(container)?;
    cluster.kill()?;
    cluster.up()?;
    kubectl.eventually("exec sleeper -- echo alive", "alive")?;
    kubectl.words(&["run", "second", "--image=busybox:1.35", "--", "sleep", "3600"], "")?;
    kubectl.eventually("get pod second", "Running")?;
    let after = kubectl.run(container)?;
    let restarts = kubectl.run("get pod sleeper -o jsonpath={.status.containerStatuses[0].restartCount}")?;
    if before != after || restarts != "0" {
        return Err(format!("the pod was restarted: {before} became {after}, {restarts} restarts"));
    }
    Ok(())
}
