//! Facts of the machine that the node reports: capacity, kernel, operating system, identifiers.

use std::{collections::BTreeMap, path::Path};

use k8s_openapi::{api::core::v1::NodeSystemInfo, apimachinery::pkg::api::resource::Quantity};

/// The machine: its processors, memory and kernel.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Cores.
    pub cores: usize,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Size in bytes of the file system that volumes live on.
    pub storage_bytes: i64,
    /// Identifiers and versions; the runtime's and the agent's own are filled in by the caller.
    pub info: NodeSystemInfo,
}

/// The name that Kubernetes has for this machine's architecture.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

impl Machine {
    /// Looks at the machine; `root` is the directory of the volumes.
    pub fn look(root: &Path) -> Self {
        let memory_kib: i64 = read("/proc/meminfo")
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok())
            .unwrap_or(0);
        let storage_bytes = rustix::fs::statvfs(root)
            .map_or(0, |stat| i64::try_from(stat.f_blocks.saturating_mul(stat.f_frsize)).unwrap_or(i64::MAX));
        let os_image = read("/etc/os-release")
            .lines()
            .find_map(|line| line.strip_prefix("PRETTY_NAME=").map(|name| name.trim_matches('"').to_owned()))
            .unwrap_or_else(|| "Linux".to_owned());
        let machine_id = read("/etc/machine-id");
        let product = read("/sys/class/dmi/id/product_uuid");
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory_kib * 1024,
            storage_bytes,
            info: NodeSystemInfo {
                architecture: architecture().to_owned(),
                boot_id: read("/proc/sys/kernel/random/boot_id"),
                kernel_version: read("/proc/sys/kernel/osrelease"),
                operating_system: "linux".to_owned(),
                os_image,
                system_uuid: if product.is_empty() { machine_id.clone() } else { product },
                machine_id,
                ..Default::default()
            },
        }
    }

    /// The node's capacity; nothing is reserved, so it is all allocatable.
    pub fn capacity(&self, max_pods: u32) -> BTreeMap<String, Quantity> {
        let quantities = [
            ("cpu", self.cores.to_string()),
            ("memory", format!("{}Ki", self.memory_bytes / 1024)),
            ("ephemeral-storage", format!("{}Ki", self.storage_bytes / 1024)),
            ("pods", max_pods.to_string()),
            ("hugepages-1Gi", "0".to_owned()),
            ("hugepages-2Mi", "0".to_owned()),
        ];
        quantities.into_iter().map(|(name, text)| (name.to_owned(), Quantity(text))).collect()
    }
}
