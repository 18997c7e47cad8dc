//! How much the node's containers use: the summary API, and the same as metrics.
//!
//! Figures of containers come from the runtime, which reads the cgroups; those of the node from `/proc`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use k8s_cri::v1::{ContainerStats, FilesystemUsage};
use metrics::{Text, process};
use serde_json::{Value, json};

use super::Node;
use crate::cri::Error;
use crate::labels;

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
    let summary = json!({"nodeName": node.name, "cpu": cpu(&machine, &now), "memory": node_memory});
    Ok(json!({"node": summary, "pods": pods}))
}

/// The answer of `/metrics/resource`, in the text format of Prometheus.
pub(super) async fn resource_metrics(node: &Node) -> Result<String, Error> {
    let pods = pods(node).await?;
    let mut text = String::new();
    let machine = machine();
    let mut metric = |name: &str, kind: &str, help: &str, lines: Vec<(String, String)>| {
        let written = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n")
            .and_then(|()| lines.into_iter().try_for_each(|(labels, value)| writeln!(text, "{name}{labels} {value}")));
        written.expect("a String can be written");
    };
    let of_containers = |value: fn(&Usage) -> String| -> Vec<(String, String)> {
        let each = pods.iter().flat_map(|((namespace, pod, _), containers)| {
            containers.iter().map(move |(name, usage)| (namespace, pod, name, usage))
        });
        each.map(|(namespace, pod, name, usage)| {
            (format!("{{container=\"{name}\",namespace=\"{namespace}\",pod=\"{pod}\"}}"), value(usage))
        })
        .collect()
    };
    let of_pods = |value: fn(&Usage) -> String| -> Vec<(String, String)> {
        let line = |((namespace, pod, _), containers): (&(String, String, String), &Containers)| {
            (format!("{{namespace=\"{namespace}\",pod=\"{pod}\"}}"), value(&total(containers)))
        };
        pods.iter().map(line).collect()
    };
    let seconds =
        |usage: &Usage| format!("{}.{:09}", usage.cpu_nanos / NANOS_PER_SECOND, usage.cpu_nanos % NANOS_PER_SECOND);
    let bytes = |usage: &Usage| usage.working_set_bytes.to_string();
    let (cpu, memory) = ("Cumulative cpu time consumed in core-seconds", "Current working set in bytes");
    metric("container_cpu_usage_seconds_total", "counter", cpu, of_containers(seconds));
    metric("container_memory_working_set_bytes", "gauge", memory, of_containers(bytes));
    metric("node_cpu_usage_seconds_total", "counter", cpu, vec![(String::new(), seconds(&machine))]);
    metric("node_memory_working_set_bytes", "gauge", memory, vec![(String::new(), bytes(&machine))]);
    metric("pod_cpu_usage_seconds_total", "counter", cpu, of_pods(seconds));
    metric("pod_memory_working_set_bytes", "gauge", memory, of_pods(bytes));
    metric("scrape_error", "gauge", "1 if there was an error, 0 otherwise", vec![(String::new(), "0".to_owned())]);
    Ok(text)
}

/// The answer of `/metrics`: what the agent knows of its pods, and the process.
pub(super) fn own_metrics(node: &Node) -> String {
    let pods = node.directory.list();
    let containers = pods.iter().flat_map(|pod| &pod.containers);
    let (running, exited): (Vec<_>, Vec<_>) = containers.partition(|container| container.running);
    let mut text = Text::default();
    text.value("kubelet_node_name", &[("node", &node.name)], 1.0);
    text.value("kubelet_running_pods", &[], pods.iter().filter(|pod| pod.sandbox_ready).count() as f64);
    for (state, count) in [("exited", exited.len()), ("running", running.len())] {
        text.value("kubelet_running_containers", &[("container_state", state)], count as f64);
    }
    process::collect(&mut text);
    text.finish()
}

async fn pods(node: &Node) -> Result<Pods, Error> {
    let mut pods = Pods::new();
    for stats in node.cri.container_stats(None).await? {
        let Some(attributes) = &stats.attributes else { continue };
        let label = |name: &str| attributes.labels.get(name).cloned().unwrap_or_default();
        let pod = (label(labels::POD_NAMESPACE), label(labels::POD_NAME), label(labels::POD_UID));
        let usage = usage(&stats);
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
        layer: stats.writable_layer.as_ref().and_then(layer),
    }
}

fn total(containers: &Containers) -> Usage {
    let sum = |value: fn(&Usage) -> u64| containers.values().map(value).sum();
    Usage {
        cpu_nanos: sum(|usage| usage.cpu_nanos),
        cpu_nanos_per_second: containers.values().map(|usage| usage.cpu_nanos_per_second).sum(),
        working_set_bytes: sum(|usage| usage.working_set_bytes),
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
        ..Usage::default()
    }
}

fn meminfo(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
