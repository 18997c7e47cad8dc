//! Lifecycle hooks: commands, HTTP requests and pauses after a container's start and before its stop.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};

use crate::{agent::Agent, pod, probes::http};

/// How long a command of a hook may take; the grace period cuts a pre-stop hook off earlier.
const EXEC_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// How long an HTTP request of a hook may take.
const HTTP_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a hook to its end.
///
/// # Errors
/// With what went wrong, for people.
pub(super) async fn run(
    agent: &Agent,
    container: &Container,
    hook: &LifecycleHandler,
    id: &str,
    pod_ip: &str,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let command = exec.command.clone().unwrap_or_default();
        let output = agent.cri.exec(id, command, EXEC_TIMEOUT).await.map_err(|error| error.message())?;
        if output.code != 0 {
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text).into_owned();
            return Err(format!("command exited with {}: {text}", output.code));
        }
    }
    if let Some(get) = &hook.http_get {
        let port = pod::port(container, &get.port)?;
        // Any answer will do (`runHTTPHandler` in pkg/kubelet/lifecycle).
        let answer = http::get(get, http::Purpose::Lifecycle, pod_ip, port, HTTP_TIMEOUT).await;
        answer.map_err(|error| error.to_string())?;
    }
    if let Some(sleep) = &hook.sleep {
        agent.config.clock.sleep(Duration::from_secs(sleep.seconds.max(0).unsigned_abs())).await;
    }
    Ok(())
}
