//! Pods that use more local storage than they may are evicted (`localStorageEviction` in pkg/kubelet/eviction): an
//! `emptyDir` over its size limit, all of a pod over the limits of its containers, or one container over its own.

mod disk;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;

use crate::{agent::Agent, config::Config, labels, pod, resources, status};

/// How often usage is looked at (`evictionMonitoringPeriod`).
const PERIOD: Duration = Duration::from_secs(10);
/// The grace period of a pod that is evicted (`immediateEvictionGracePeriodSeconds`).
pub(crate) const GRACE_SECONDS: i64 = 1;
/// The reason of the event and of the pod's failure.
pub(crate) const REASON: &str = "Evicted";
/// The resource.
const STORAGE: &str = "ephemeral-storage";

/// Why a pod is evicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excess {
    /// The signal, as figures name it.
    pub signal: &'static str,
    /// The message for people.
    pub message: String,
}

/// A pod's usage of the node's disk, in bytes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Used {
    /// By volume.
    volumes: BTreeMap<String, u64>,
    /// By container: its writable layer and its logs.
    containers: BTreeMap<String, u64>,
}

/// Looks at what pods use, for ever, and hands those that use too much to `evict`.
pub(crate) fn keep<'a>(agent: Arc<Agent>, evict: impl Fn(&str, Excess) + Send + Sync + 'a) -> BoxFuture<'a, ()> {
    Box::pin(async move {
        loop {
            agent.config.clock.sleep(PERIOD).await;
            for record in agent.directory.list() {
                let pod = &record.pod;
                if !is_limited(pod) || pod::is_terminal(pod) || resources::is_critical(pod) {
                    continue;
                }
                match used(&agent, pod).await {
                    Ok(used) => excess(pod, &used).into_iter().for_each(|excess| evict(pod::uid(pod), excess)),
                    Err(error) => {
                        tracing::debug!(pod = pod::name(pod), %error, "the local storage of a pod is not known")
                    }
                }
            }
        }
    })
}

/// Whether anything limits what the pod uses. Nothing is measured otherwise.
fn is_limited(pod: &Pod) -> bool {
    limited_volumes(pod).next().is_some() || limited_containers(pod).next().is_some()
}

fn limited_volumes(pod: &Pod) -> impl Iterator<Item = (&str, i64, &str)> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| {
        let limit = volume.empty_dir.as_ref()?.size_limit.as_ref()?;
        let bytes = resources::value(limit);
        (bytes > 0).then_some((volume.name.as_str(), bytes, limit.0.as_str()))
    })
}

fn limited_containers(pod: &Pod) -> impl Iterator<Item = (&str, i64, &str)> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.filter_map(|container| {
        let limit = container.resources.as_ref()?.limits.as_ref()?.get(STORAGE)?;
        let bytes = resources::value(limit);
        (bytes > 0).then_some((container.name.as_str(), bytes, limit.0.as_str()))
    })
}

/// Why the pod is evicted, if it uses too much.
fn excess(pod: &Pod, used: &Used) -> Option<Excess> {
    let over = |used: u64, limit: i64| used > limit.unsigned_abs();
    for (name, limit, text) in limited_volumes(pod) {
        if over(used.volumes.get(name).copied().unwrap_or(0), limit) {
            let message = format!("Usage of EmptyDir volume {name:?} exceeds the limit {text:?}. ");
            return Some(Excess { signal: "emptydirfs.limit", message });
        }
    }
    let limits = status::limits(pod);
    let all: u64 = used.volumes.values().chain(used.containers.values()).sum();
    if let Some(limit) = limits.get(STORAGE).filter(|limit| over(all, resources::value(limit))) {
        let message = format!("Pod ephemeral local storage usage exceeds the total limit of containers {}. ", limit.0);
        return Some(Excess { signal: "ephemeralpodfs.limit", message });
    }
    let (name, _, text) = limited_containers(pod)
        .find(|(name, limit, _)| over(used.containers.get(*name).copied().unwrap_or(0), *limit))?;
    let message = format!("Container {name} exceeded its local ephemeral storage limit {text:?}. ");
    Some(Excess { signal: "ephemeralcontainerfs.limit", message })
}

/// The pod's usage: the runtime knows the writable layers, the rest is looked at.
async fn used(agent: &Agent, pod: &Pod) -> Result<Used, String> {
    let stats = agent.cri.container_stats(Some(pod::uid(pod))).await.map_err(|error| error.to_string())?;
    let mut used = Used::default();
    for stats in stats {
        let (Some(attributes), Some(layer)) = (stats.attributes, stats.writable_layer) else { continue };
        let name = attributes.labels.get(labels::CONTAINER_NAME).cloned().unwrap_or_default();
        let bytes = layer.used_bytes.map_or(0, |bytes| bytes.value);
        // Of a container's instances the present one counts, as it has the larger layer.
        let known = used.containers.entry(name).or_default();
        *known = bytes.max(*known);
    }
    let (volumes, logs) = directories(&agent.config, pod);
    let measured = tokio::task::spawn_blocking(move || {
        let measure = |paths: Vec<(String, PathBuf)>| -> BTreeMap<String, u64> {
            paths.into_iter().map(|(name, path)| (name, disk::used(&path))).collect()
        };
        (measure(volumes), measure(logs))
    });
    let (volumes, logs) = measured.await.map_err(|error| error.to_string())?;
    used.volumes = volumes;
    for (name, bytes) in logs {
        *used.containers.entry(name).or_default() += bytes;
    }
    Ok(used)
}

type Directories = Vec<(String, PathBuf)>;

/// The directories of the volumes on this disk that belong to the pod, and of the containers' logs.
fn directories(config: &Config, pod: &Pod) -> (Directories, Directories) {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let on_disk = volumes.filter(|volume| {
        volume.empty_dir.as_ref().is_some_and(|source| source.medium.as_deref().unwrap_or_default().is_empty())
    });
    let root = config.pod_dir(pod::uid(pod)).join("volumes/kubernetes.io~empty-dir");
    let logs = config.pod_log_dir(pod::namespace(pod), pod::name(pod), pod::uid(pod));
    let of_volumes = on_disk.map(|volume| (volume.name.clone(), root.join(&volume.name))).collect();
    let of_logs = pod::containers(pod).into_iter().map(|(_, c)| (c.name.clone(), logs.join(&c.name))).collect();
    (of_volumes, of_logs)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(
        spec: &Value,
        volumes: &[(&str, u64)],
        containers: &[(&str, u64)],
        expected: Option<(&'static str, &str)>,
    ) {
        let pod: Pod = serde_json::from_value(json!({"spec": spec})).expect("a pod");
        assert!(is_limited(&pod));
        let list = |of: &[(&str, u64)]| of.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect();
        let used = Used { volumes: list(volumes), containers: list(containers) };
        let expected = expected.map(|(signal, message)| Excess { signal, message: message.to_owned() });
        assert_eq!(excess(&pod, &used), expected, "{spec} {used:?}");
    }

    #[test]
    fn who_uses_too_much_is_evicted() {
        let volume =
            json!({"containers": [{"name": "a"}], "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Ki"}}]});
        check(&volume, &[("v", 1024)], &[("a", 9999)], None);
        check(
            &volume,
            &[("v", 1025)],
            &[],
            Some(("emptydirfs.limit", r#"Usage of EmptyDir volume "v" exceeds the limit "1Ki". "#)),
        );
        let limit = |amount: &str| json!({"limits": {STORAGE: amount}});
        let two = json!({"containers": [{"name": "a", "resources": limit("1Ki")}, {"name": "b", "resources": limit("2Ki")}],
            "volumes": [{"name": "v", "emptyDir": {}}]});
        check(&two, &[("v", 1024)], &[("a", 1024), ("b", 1024)], None);
        let whole = "Pod ephemeral local storage usage exceeds the total limit of containers 3Ki. ";
        check(&two, &[("v", 1025)], &[("a", 1024), ("b", 1024)], Some(("ephemeralpodfs.limit", whole)));
        let own = r#"Container a exceeded its local ephemeral storage limit "1Ki". "#;
        check(&two, &[], &[("a", 1025)], Some(("ephemeralcontainerfs.limit", own)));
    }

    #[test]
    fn what_nothing_limits_is_not_measured() {
        let pod = json!({"spec": {"containers": [{"name": "a", "resources": {"requests": {STORAGE: "1Ki"}}}],
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "0"}}]}});
        assert!(!is_limited(&serde_json::from_value(pod).expect("a pod")));
    }
}
