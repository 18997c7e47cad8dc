//! `/metrics/cadvisor`: what each container, sandbox, pod and the node as a whole use of what the kernel counts by
//! cgroup, under the names and labels of the collector that the reference builds in.

use std::collections::BTreeMap;
use std::fs;

use k8s_cri::v1::{Container, PodSandbox};
use metrics::{Book, Text};

use super::Node;
use crate::cgroup::usage::{self, Usage};
use crate::cri::Error;
use crate::machine::Machine;
use crate::{labels, pod, resources};

/// The classes of service that have a cgroup of their own, below the one of all pods.
const CLASSES: [&str; 3] = ["", "/burstable", "/besteffort"];
/// Families of network interfaces, in the order of the columns of `/proc/net/dev` that they show.
const RECEIVED: [(usize, &str); 4] = [
    (0, "container_network_receive_bytes_total"),
    (1, "container_network_receive_packets_total"),
    (2, "container_network_receive_errors_total"),
    (3, "container_network_receive_packets_dropped_total"),
];
const SENT: [(usize, &str); 4] = [
    (8, "container_network_transmit_bytes_total"),
    (9, "container_network_transmit_packets_total"),
    (10, "container_network_transmit_errors_total"),
    (11, "container_network_transmit_packets_dropped_total"),
];

/// One cgroup, and whose it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Subject {
    path: String,
    name: String,
    image: String,
    namespace: String,
    pod: String,
    container: String,
    /// When it was made, in nanoseconds since 1970.
    created: Option<i64>,
    /// Whether it has a network of its own.
    has_network: bool,
}

/// The page.
///
/// # Errors
/// If the runtime does not say what there is.
pub(super) async fn page(node: &Node) -> Result<String, Error> {
    let (containers, sandboxes) = tokio::join!(node.cri.containers(None), node.cri.sandboxes(None));
    let subjects = subjects(node, &containers?, &sandboxes?);
    let (now, root) = (node.clock.now().as_millisecond(), node.about.root_dir.clone());
    let made = tokio::task::spawn_blocking(move || {
        let mut text = Text::of(Book::Cadvisor);
        subjects.iter().for_each(|subject| write(&mut text, subject, now));
        machine(&mut text, &Machine::look(&root));
        text.value("container_scrape_error", &[], 0.0);
        text.finish()
    });
    Ok(made.await.unwrap_or_default())
}

fn subjects(node: &Node, containers: &[Container], sandboxes: &[PodSandbox]) -> Vec<Subject> {
    let root = node.about.cgroup_root.trim_end_matches('/');
    let mut all = vec![Subject { path: "/".into(), has_network: true, ..Subject::default() }];
    all.extend(CLASSES.map(|class| Subject { path: format!("{root}{class}"), ..Subject::default() }));
    for record in node.directory.list() {
        let parent = resources::cgroup_parent(root, &record.pod);
        let of_pod = Subject {
            namespace: pod::namespace(&record.pod).into(),
            pod: pod::name(&record.pod).into(),
            ..Subject::default()
        };
        let uid = pod::uid(&record.pod);
        let is_own = |labels: &std::collections::HashMap<String, String>| {
            labels.get(labels::POD_UID).is_some_and(|own| own == uid)
        };
        let own_network = !pod::host_network(&record.pod);
        all.extend(sandboxes.iter().filter(|sandbox| is_own(&sandbox.labels)).map(|sandbox| Subject {
            path: format!("{parent}/{}", sandbox.id),
            name: sandbox.id.clone(),
            image: crate::images::pause::NAME.into(),
            created: Some(sandbox.created_at),
            has_network: own_network,
            ..of_pod.clone()
        }));
        all.extend(containers.iter().filter(|container| is_own(&container.labels)).map(|container| Subject {
            path: format!("{parent}/{}", container.id),
            name: container.id.clone(),
            image: container.image.as_ref().map(|image| image.image.clone()).unwrap_or_default(),
            container: container.labels.get(labels::CONTAINER_NAME).cloned().unwrap_or_default(),
            created: Some(container.created_at),
            ..of_pod.clone()
        }));
        all.push(Subject { path: parent, ..of_pod });
    }
    all
}

fn write(text: &mut Text, subject: &Subject, now: i64) {
    let Some(used) = usage::of(&subject.path) else { return };
    let base = [
        ("container", &*subject.container),
        ("id", &*subject.path),
        ("image", &*subject.image),
        ("name", &*subject.name),
        ("namespace", &*subject.namespace),
        ("pod", &*subject.pod),
    ];
    let with = |more: &[(&'static str, &str)], name, value, text: &mut Text, timed: bool| {
        let labels: Vec<(&str, &str)> = base.iter().copied().chain(more.iter().copied()).collect();
        text.value_at(name, &labels, value, timed.then_some(now));
    };
    if let Some(created) = subject.created {
        with(&[], "container_start_time_seconds", (created / 1_000_000_000) as f64, text, false);
    }
    with(&[], "container_last_seen", (now / 1000) as f64, text, true);
    for (name, number) in used.numbers.iter().map(|(name, number)| (*name, *number)) {
        let timed = !name.starts_with("container_spec_");
        let all = [("cpu", "total")];
        let more = if name == "container_cpu_usage_seconds_total" { &all[..] } else { &[] };
        with(more, name, number, text, timed);
    }
    for (scope, faults) in ["container", "hierarchy"].into_iter().zip(used.faults.into_iter().flatten()) {
        for (kind, count) in ["pgfault", "pgmajfault"].into_iter().zip(faults) {
            let more = [("failure_type", kind), ("scope", scope)];
            with(&more, "container_memory_failures_total", count, text, true);
        }
    }
    for (device, io) in &used.io {
        let name = device_name(device);
        for (family, number) in [
            ("container_fs_reads_bytes_total", io.read_bytes),
            ("container_fs_writes_bytes_total", io.written_bytes),
            ("container_fs_reads_total", io.reads),
            ("container_fs_writes_total", io.writes),
        ] {
            with(&[("device", &name)], family, number, text, true);
        }
    }
    processes(&used, &mut |name, more, number| with(more, name, number, text, true));
    if subject.has_network {
        let interfaces = network(&subject.path, &used);
        for (interface, columns) in &interfaces {
            for (column, family) in RECEIVED.into_iter().chain(SENT) {
                let number = columns.get(column).copied().unwrap_or(0.0);
                with(&[("interface", interface)], family, number, text, true);
            }
        }
    }
}

/// The labels of a series beside those that every family has.
type More<'a> = &'a [(&'static str, &'a str)];

/// Facts of processes beside their number: of the first one, which the others come from, the limits too.
fn processes(used: &Usage, with: &mut dyn FnMut(&'static str, More<'_>, f64)) {
    let Some(first) = used.processes.first() else { return };
    let (files, sockets) = usage::open_files(&used.processes);
    with("container_processes", &[], used.processes.len() as f64);
    with("container_file_descriptors", &[], files as f64);
    with("container_sockets", &[], sockets as f64);
    let limits = fs::read_to_string(format!("/proc/{first}/limits")).unwrap_or_default();
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    if let Some(soft) = soft {
        let soft = if soft == "unlimited" { -1.0 } else { soft.parse().unwrap_or(-1.0) };
        with("container_ulimits_soft", &[("ulimit", "max_open_files")], soft);
    }
}

/// The interfaces of a network namespace but for the loopback, with the columns of `/proc/net/dev`.
fn network(path: &str, used: &Usage) -> BTreeMap<String, Vec<f64>> {
    let file = match used.processes.first() {
        _ if path == "/" => "/proc/net/dev".to_owned(),
        Some(pid) => format!("/proc/{pid}/net/dev"),
        None => return BTreeMap::new(),
    };
    interfaces(&fs::read_to_string(file).unwrap_or_default())
}

fn interfaces(text: &str) -> BTreeMap<String, Vec<f64>> {
    let line = |line: &str| {
        let (name, columns) = line.split_once(':')?;
        let columns = columns.split_whitespace().filter_map(|column| column.parse().ok()).collect();
        Some((name.trim().to_owned(), columns))
    };
    text.lines().filter_map(line).filter(|(name, _)| name != "lo").collect()
}

/// `/dev/sda` for `8:0`; the numbers themselves if the kernel does not know them.
fn device_name(numbers: &str) -> String {
    let about = fs::read_to_string(format!("/sys/dev/block/{numbers}/uevent")).unwrap_or_default();
    let name = about.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    name.map_or_else(|| numbers.to_owned(), |name| format!("/dev/{name}"))
}

fn machine(text: &mut Text, machine: &Machine) {
    let info = &machine.info;
    let labels = [("boot_id", &*info.boot_id), ("machine_id", &*info.machine_id), ("system_uuid", &*info.system_uuid)];
    let (sockets, cores) = topology(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default());
    let swap = super::stats::meminfo("SwapTotal:") as f64;
    for (name, number) in [
        ("machine_cpu_cores", machine.cores as f64),
        ("machine_cpu_physical_cores", if cores == 0 { machine.cores as f64 } else { cores as f64 }),
        ("machine_cpu_sockets", sockets.max(1) as f64),
        ("machine_memory_bytes", machine.memory_bytes as f64),
        ("machine_swap_bytes", swap),
    ] {
        text.value(name, &labels, number);
    }
    text.value("machine_scrape_error", &[], 0.0);
}

/// How many sockets and physical cores `/proc/cpuinfo` tells of.
fn topology(cpuinfo: &str) -> (usize, usize) {
    let (mut sockets, mut cores) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for processor in cpuinfo.split("\n\n") {
        let of = |name: &str| {
            let line = processor.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim())
        };
        if let (Some(socket), Some(core)) = (of("physical id"), of("core id")) {
            sockets.insert(socket);
            cores.insert((socket, core));
        }
    }
    (sockets.len(), cores.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_and_processors_are_told_apart() {
        let text =
            "Inter-|   Receive\n face |bytes packets\n    lo: 1 2 3\n  eth0: 10 2 0 1 0 0 0 0 20 3 0 0 0 0 0 0\n";
        let found = interfaces(text);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["eth0"]);
        assert_eq!((found["eth0"][0], found["eth0"][3], found["eth0"][8]), (10.0, 1.0, 20.0));
        let cpu = |socket, core| format!("processor : 0\nphysical id\t: {socket}\ncore id\t\t: {core}\n");
        let all = [cpu(0, 0), cpu(0, 1), cpu(1, 0), cpu(1, 0)].join("\n");
        assert_eq!(topology(&all), (2, 3));
    }

    /// The cgroup that every machine has is told of, with the labels that the families have.
    #[test]
    fn a_cgroup_is_written_with_every_label() {
        let mut text = Text::of(Book::Cadvisor);
        write(&mut text, &Subject { path: "/".into(), has_network: true, ..Subject::default() }, 1_500);
        machine(&mut text, &Machine::look(std::path::Path::new("/")));
        let text = text.finish();
        let labels = "container=\"\",id=\"/\",image=\"\",name=\"\",namespace=\"\",pod=\"\"";
        assert!(text.contains(&format!("container_last_seen{{{labels}}} 1 1500\n")), "{text}");
        assert!(text.contains("machine_memory_bytes{boot_id="), "{text}");
    }
}
