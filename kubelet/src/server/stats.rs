//! How much the node's containers use: the summary API, and the same as metrics.
//!
//! Figures of containers come from the runtime, which reads the cgroups; those of the node from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use k8s_cri::v1::{ContainerStats, FilesystemUsage};
use k8s_openapi::api::core::v1::Pod;
use metrics::{Collect, Text, process};
use serde_json::{Value, json};

use super::Node;
use crate::cri::Error;
use crate::directory::{Directory, PodRecord};
use crate::{cgroup, labels, pod};

/// Clock ticks in a second, as the kernel shows them to programs.
const TICKS_PER_SECOND: u64 = 100;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// One container's figures.
#[derive(Debug, Default, Clone)]
struct Usage {
    cpu_nanos: u64,
    cpu_nanos_per_second: Option<u64>,
    working_set_bytes: u64,
    usage_bytes: Option<u64>,
    rss_bytes: Option<u64>,
    swap_bytes: Option<u64>,
    started_nanos: Option<i64>,
    layer: Option<(u64, u64)>,
}

/// The containers of one pod, by name.
type Containers = BTreeMap<String, Usage>;
/// Pods by namespace, name and UID.
type Pods = BTreeMap<(String, String, String), Containers>;

/// The answer of `/stats/summary`.
pub(super) async fn summary(node: &Node) -> Result<Value, Error> {
    let now = node.clock.now().to_string();
    let pods: Vec<Value> = pods(node)
        .await?
        .into_iter()
        .map(|((namespace, name, uid), containers)| {
            let total = total(&containers);
            let start = node.directory.by_uid(&uid).and_then(|record| record.pod.status.as_ref()?.start_time.clone());
            let containers: Vec<Value> = containers.iter().map(|(name, usage)| container(name, usage, &now)).collect();
            json!({
                "podRef": {"name": name, "namespace": namespace, "uid": uid},
                "startTime": start,
                "containers": containers,
                "cpu": cpu(&total, &now),
                "memory": memory(&total, &now),
            })
        })
        .collect();
    let machine = machine();
    let mut node_memory = memory(&machine, &now);
    node_memory["availableBytes"] = json!(meminfo("MemAvailable:"));
    for (name, counter) in [("pageFaults", "pgfault "), ("majorPageFaults", "pgmajfault ")] {
        node_memory[name] = json!(vmstat(counter));
    }
    let summary = json!({"nodeName": node.name, "cpu": cpu(&machine, &now), "memory": node_memory});
    Ok(json!({"node": summary, "pods": pods}))
}

/// The answer of `/metrics/resource` (`resourceMetricsCollector`).
pub(super) async fn resource_metrics(node: &Node) -> String {
    let mut text = Text::default();
    let time = Some(node.clock.now().as_millisecond());
    let pods = pods(node).await;
    let failed = pods.is_err();
    for ((namespace, pod, _), containers) in pods.unwrap_or_default() {
        for (name, usage) in &containers {
            let labels = [("container", &**name), ("namespace", &*namespace), ("pod", &*pod)];
            text.value_at("container_cpu_usage_seconds_total", &labels, seconds(usage.cpu_nanos), time);
            text.value_at("container_memory_working_set_bytes", &labels, usage.working_set_bytes as f64, time);
            if let Some(started) = usage.started_nanos {
                text.value("container_start_time_seconds", &labels, started as f64 / NANOS_PER_SECOND as f64);
            }
            if let Some(swap) = usage.swap_bytes {
                text.value_at("container_swap_usage_bytes", &labels, swap as f64, time);
            }
        }
        let (total, labels) = (total(&containers), [("namespace", &*namespace), ("pod", &*pod)]);
        text.value_at("pod_cpu_usage_seconds_total", &labels, seconds(total.cpu_nanos), time);
        text.value_at("pod_memory_working_set_bytes", &labels, total.working_set_bytes as f64, time);
        if let Some(swap) = total.swap_bytes {
            text.value_at("pod_swap_usage_bytes", &labels, swap as f64, time);
        }
    }
    let machine = machine();
    text.value_at("node_cpu_usage_seconds_total", &[], seconds(machine.cpu_nanos), time);
    text.value_at("node_memory_working_set_bytes", &[], machine.working_set_bytes as f64, time);
    let swap = meminfo("SwapTotal:").saturating_sub(meminfo("SwapFree:"));
    text.value_at("node_swap_usage_bytes", &[], swap as f64, time);
    text.value("resource_scrape_error", &[], if failed { 1.0 } else { 0.0 });
    text.finish()
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / NANOS_PER_SECOND as f64
}

/// The answer of `/metrics`: what the agent, its server and the service rules count, what the agent knows of its pods, and
/// the process.
///
/// Looks at files: not for a worker of the runtime.
pub(super) fn own_metrics(node: &Node) -> String {
    let mut text = Text::default();
    logs(&node.directory, &mut text);
    node.about.metrics.agent.collect(&mut text);
    text.value("kubelet_node_name", &[("node", &node.name)], 1.0);
    text.value("kubelet_cgroup_version", &[], if cgroup::is_unified() { 2.0 } else { 1.0 });
    text.value("kubelet_metrics_provider", &[("provider", "cri")], 1.0);
    pods_known(&node.directory.list(), &mut text);
    process::collect(&mut text);
    text.finish()
}

/// Counts of the pods that there are now.
fn pods_known(pods: &[Arc<PodRecord>], text: &mut Text) {
    let containers = pods.iter().flat_map(|pod| &pod.containers);
    let (running, exited): (Vec<_>, Vec<_>) = containers.partition(|container| container.running);
    let count = |wanted: &dyn Fn(&Pod) -> bool| pods.iter().filter(|record| wanted(&record.pod)).count() as f64;
    text.value("kubelet_running_pods", &[], pods.iter().filter(|pod| pod.sandbox_ready).count() as f64);
    for (state, count) in [("exited", exited.len()), ("running", running.len())] {
        text.value("kubelet_running_containers", &[("container_state", state)], count as f64);
    }
    let ends = |pod: &Pod| pod.metadata.deletion_timestamp.is_some();
    // There are no pods but those of the API.
    text.value("kubelet_desired_pods", &[("static", "")], count(&|_| true));
    text.value("kubelet_active_pods", &[("static", "")], count(&|pod| !pod::is_terminal(pod)));
    for (lifecycle, count) in [("sync", count(&|pod| !ends(pod))), ("terminating", count(&ends))] {
        let labels = [("config", "desired"), ("lifecycle", lifecycle), ("static", "")];
        text.value("kubelet_working_pods", &labels, count);
    }
    let ephemeral = |pod: &Pod| pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten()).count();
    let ephemeral = pods.iter().map(|record| ephemeral(&record.pod)).sum::<usize>();
    text.value("kubelet_managed_ephemeral_containers", &[], ephemeral as f64);
    let resize = |pod: &Pod, type_: &str| {
        let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.find(|condition| condition.type_ == type_).map(|condition| condition.reason.clone())
    };
    text.value("kubelet_pod_in_progress_resizes", &[], count(&|pod| resize(pod, "PodResizeInProgress").is_some()));
    for reason in ["Deferred", "Infeasible"] {
        let waits = |pod: &Pod| resize(pod, "PodResizePending").flatten().as_deref() == Some(reason);
        text.value("kubelet_pod_pending_resizes", &[("reason", &reason.to_lowercase())], count(&waits));
    }
}

/// The answer of `/metrics/probes`.
pub(super) fn probe_metrics(node: &Node) -> String {
    let mut text = Text::default();
    node.about.metrics.probes.collect(&mut text);
    process::start_time(&mut text);
    text.finish()
}

/// How large the logs of the containers are (`logMetricsCollector`).
fn logs(directory: &Directory, text: &mut Text) {
    for record in directory.list() {
        let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
        for container in &record.containers {
            let size = fs::metadata(&container.log_path).map_or(0, |about| about.len());
            *sizes.entry(&container.name).or_default() += size;
        }
        for (container, size) in sizes {
            let labels = [
                ("uid", pod::uid(&record.pod)),
                ("namespace", pod::namespace(&record.pod)),
                ("pod", pod::name(&record.pod)),
                ("container", container),
            ];
            text.value("kubelet_container_log_filesystem_used_bytes", &labels, size as f64);
        }
    }
}

async fn pods(node: &Node) -> Result<Pods, Error> {
    let mut pods = Pods::new();
    let (stats, containers) = tokio::join!(node.cri.container_stats(None), node.cri.containers(None));
    let made: BTreeMap<String, i64> = containers?.into_iter().map(|one| (one.id, one.created_at)).collect();
    for stats in stats? {
        let Some(attributes) = &stats.attributes else { continue };
        let label = |name: &str| attributes.labels.get(name).cloned().unwrap_or_default();
        let pod = (label(labels::POD_NAMESPACE), label(labels::POD_NAME), label(labels::POD_UID));
        let mut usage = usage(&stats);
        usage.started_nanos = made.get(&attributes.id).copied();
        // Of a container's instances the present one has a working set.
        let known = pods.entry(pod).or_default().entry(label(labels::CONTAINER_NAME)).or_default();
        if usage.working_set_bytes >= known.working_set_bytes {
            *known = usage;
        }
    }
    Ok(pods)
}

fn usage(stats: &ContainerStats) -> Usage {
    let cpu = stats.cpu.unwrap_or_default();
    let memory = stats.memory.unwrap_or_default();
    let layer = |layer: &FilesystemUsage| Some((layer.used_bytes.as_ref()?.value, layer.inodes_used.as_ref()?.value));
    Usage {
        cpu_nanos: cpu.usage_core_nano_seconds.map_or(0, |value| value.value),
        cpu_nanos_per_second: cpu.usage_nano_cores.map(|value| value.value),
        working_set_bytes: memory.working_set_bytes.map_or(0, |value| value.value),
        usage_bytes: memory.usage_bytes.map(|value| value.value),
        rss_bytes: memory.rss_bytes.map(|value| value.value),
        swap_bytes: stats.swap.as_ref().and_then(|swap| Some(swap.swap_usage_bytes.as_ref()?.value)),
        started_nanos: None,
        layer: stats.writable_layer.as_ref().and_then(layer),
    }
}

fn total(containers: &Containers) -> Usage {
    let sum = |value: fn(&Usage) -> u64| containers.values().map(value).sum();
    Usage {
        cpu_nanos: sum(|usage| usage.cpu_nanos),
        cpu_nanos_per_second: containers.values().map(|usage| usage.cpu_nanos_per_second).sum(),
        working_set_bytes: sum(|usage| usage.working_set_bytes),
        usage_bytes: containers.values().map(|usage| usage.usage_bytes).sum(),
        rss_bytes: containers.values().map(|usage| usage.rss_bytes).sum(),
        swap_bytes: containers.values().map(|usage| usage.swap_bytes).sum(),
        ..Usage::default()
    }
}

fn container(name: &str, usage: &Usage, now: &str) -> Value {
    let mut value = json!({"name": name, "cpu": cpu(usage, now), "memory": memory(usage, now)});
    if let Some((bytes, inodes)) = usage.layer {
        value["rootfs"] = json!({"time": now, "usedBytes": bytes, "inodesUsed": inodes});
    }
    value
}

fn cpu(usage: &Usage, now: &str) -> Value {
    let mut value = json!({"time": now, "usageCoreNanoSeconds": usage.cpu_nanos});
    if let Some(rate) = usage.cpu_nanos_per_second {
        value["usageNanoCores"] = json!(rate);
    }
    value
}

fn memory(usage: &Usage, now: &str) -> Value {
    let mut value = json!({"time": now, "workingSetBytes": usage.working_set_bytes});
    for (name, bytes) in [("usageBytes", usage.usage_bytes), ("rssBytes", usage.rss_bytes)] {
        if let Some(bytes) = bytes {
            value[name] = json!(bytes);
        }
    }
    value
}

/// The whole machine.
fn machine() -> Usage {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let words = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
    let busy: u64 =
        ticks.iter().take(8).enumerate().filter(|(at, _)| ![3, 4].contains(at)).map(|(_, value)| value).sum();
    Usage {
        cpu_nanos: busy * (NANOS_PER_SECOND / TICKS_PER_SECOND),
        working_set_bytes: meminfo("MemTotal:").saturating_sub(meminfo("MemAvailable:")),
        // What the root cgroup is said to use, where it has no figures of its own (`rootStatsFromMeminfo` in cgroups).
        usage_bytes: Some(meminfo("MemTotal:").saturating_sub(meminfo("MemFree:"))),
        rss_bytes: Some(meminfo("AnonPages:")),
        ..Usage::default()
    }
}

/// A counter of the kernel's memory management since the machine started.
fn vmstat(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
}

pub(super) fn meminfo(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
