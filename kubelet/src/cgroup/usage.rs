//! How much a cgroup uses and may use, read from the kernel's files; both versions of the interface.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ROOT;

/// Clock ticks in a second, as the kernel shows them to programs.
const TICKS_PER_SECOND: f64 = 100.0;
/// The kernel's figure for a limit that is none, in version 1: the largest number of whole pages.
const NO_LIMIT: u64 = 1 << 62;

/// Numbers by the name of their family. What the kernel does not tell is not here.
pub type Numbers = BTreeMap<&'static str, f64>;

/// Reads and writes of one device.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Io {
    /// Bytes read.
    pub read_bytes: f64,
    /// Bytes written.
    pub written_bytes: f64,
    /// Reads.
    pub reads: f64,
    /// Writes.
    pub writes: f64,
}

/// The usage of one cgroup.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// Numbers without labels of their own.
    pub numbers: Numbers,
    /// Page faults, minor and major: of the cgroup alone, and with those below it.
    pub faults: Option<[[f64; 2]; 2]>,
    /// By device, as `major:minor`.
    pub io: BTreeMap<String, Io>,
    /// Its processes.
    pub processes: Vec<u32>,
}

/// The files of one cgroup.
struct Files {
    root: PathBuf,
    relative: String,
    unified: bool,
}

/// The usage of a cgroup; nothing if there is none of this path. Reads files: not for a worker of the runtime.
pub fn of(path: &str) -> Option<Usage> {
    Files { root: ROOT.into(), relative: path.trim_start_matches('/').into(), unified: super::is_unified() }.usage()
}

impl Files {
    /// A file: of version 1 it lies below its controller.
    fn read(&self, controller: &str, name: &str) -> Option<String> {
        let root = if self.unified { self.root.clone() } else { self.root.join(controller) };
        std::fs::read_to_string(root.join(&self.relative).join(name)).ok()
    }

    fn number(&self, controller: &str, name: &str) -> Option<f64> {
        self.read(controller, name)?.trim().parse().ok()
    }

    /// A limit; 0 stands for none, as in the reference's families.
    fn limit(&self, controller: &str, name: &str) -> Option<f64> {
        let text = self.read(controller, name)?;
        let number: Option<u64> = text.trim().parse().ok();
        Some(number.filter(|number| *number < NO_LIMIT).unwrap_or(0) as f64)
    }

    /// Lines of a name and a number.
    fn pairs(&self, controller: &str, name: &str) -> BTreeMap<String, f64> {
        let text = self.read(controller, name).unwrap_or_default();
        let pair = |line: &str| {
            let (name, number) = line.split_once(' ')?;
            Some((name.to_owned(), number.trim().parse().ok()?))
        };
        text.lines().filter_map(pair).collect()
    }

    fn usage(&self) -> Option<Usage> {
        let processes = self.read("memory", "cgroup.procs").or_else(|| self.read("pids", "cgroup.procs"))?;
        let mut usage =
            Usage { processes: processes.lines().filter_map(|pid| pid.parse().ok()).collect(), ..Usage::default() };
        if self.unified {
            self.cpu_unified(&mut usage.numbers)
        } else {
            self.cpu_split(&mut usage.numbers)
        }
        let stat = self.pairs("memory", "memory.stat");
        if self.unified {
            self.memory_unified(&stat, &mut usage.numbers)
        } else {
            self.memory_split(&stat, &mut usage.numbers)
        }
        let fault = |name: &str| stat.get(name).copied();
        let (own, total) = if self.unified { ("", "") } else { ("", "total_") };
        let pair = |prefix: &str| Some([fault(&format!("{prefix}pgfault"))?, fault(&format!("{prefix}pgmajfault"))?]);
        usage.faults = pair(own).zip(pair(total)).map(|(own, total)| [own, total]);
        put(&mut usage.numbers, "container_threads", self.number("pids", "pids.current"));
        put(&mut usage.numbers, "container_threads_max", self.limit("pids", "pids.max"));
        usage.io = if self.unified { self.io_unified() } else { self.io_split() };
        Some(usage)
    }

    fn cpu_unified(&self, numbers: &mut Numbers) {
        let stat = self.pairs("", "cpu.stat");
        let micros = |name: &str| stat.get(name).map(|micros| micros / 1e6);
        put(numbers, "container_cpu_usage_seconds_total", micros("usage_usec"));
        put(numbers, "container_cpu_user_seconds_total", micros("user_usec"));
        put(numbers, "container_cpu_system_seconds_total", micros("system_usec"));
        let max = self.read("", "cpu.max").unwrap_or_default();
        let mut words = max.split_whitespace().map(|word| word.parse::<f64>().ok());
        let (quota, period) = (words.next().flatten(), words.next().flatten());
        put(numbers, "container_spec_cpu_quota", quota);
        put(numbers, "container_spec_cpu_period", period);
        // Shares from a weight, as the reference converts them.
        let shares = |weight: f64| ((weight - 1.0) * 262_142.0 / 9_999.0 + 2.0).trunc();
        put(numbers, "container_spec_cpu_shares", self.number("", "cpu.weight").map(shares));
        if quota.is_some() {
            put(numbers, "container_cpu_cfs_throttled_seconds_total", micros("throttled_usec"));
            put(numbers, "container_cpu_cfs_burst_seconds_total", micros("burst_usec"));
            periods(&stat, numbers);
        }
        for (file, some, full) in [
            (
                "cpu.pressure",
                "container_pressure_cpu_waiting_seconds_total",
                "container_pressure_cpu_stalled_seconds_total",
            ),
            (
                "memory.pressure",
                "container_pressure_memory_waiting_seconds_total",
                "container_pressure_memory_stalled_seconds_total",
            ),
            (
                "io.pressure",
                "container_pressure_io_waiting_seconds_total",
                "container_pressure_io_stalled_seconds_total",
            ),
        ] {
            let text = self.read("", file).unwrap_or_default();
            let total = |kind: &str| {
                let line = text.lines().find(|line| line.starts_with(kind))?;
                line.rsplit_once("total=")?.1.trim().parse::<f64>().ok().map(|micros| micros / 1e6)
            };
            put(numbers, some, total("some "));
            put(numbers, full, total("full "));
        }
    }

    fn cpu_split(&self, numbers: &mut Numbers) {
        let nanos = self.number("cpuacct", "cpuacct.usage");
        put(numbers, "container_cpu_usage_seconds_total", nanos.map(|nanos| nanos / 1e9));
        let ticks = self.pairs("cpuacct", "cpuacct.stat");
        let seconds = |name: &str| ticks.get(name).map(|ticks| ticks / TICKS_PER_SECOND);
        put(numbers, "container_cpu_user_seconds_total", seconds("user"));
        put(numbers, "container_cpu_system_seconds_total", seconds("system"));
        let quota = self.number("cpu", "cpu.cfs_quota_us").filter(|quota| *quota > 0.0);
        put(numbers, "container_spec_cpu_quota", quota);
        put(numbers, "container_spec_cpu_period", self.number("cpu", "cpu.cfs_period_us"));
        put(numbers, "container_spec_cpu_shares", self.number("cpu", "cpu.shares"));
        if quota.is_some() {
            let stat = self.pairs("cpu", "cpu.stat");
            put(
                numbers,
                "container_cpu_cfs_throttled_seconds_total",
                stat.get("throttled_time").map(|nanos| nanos / 1e9),
            );
            put(numbers, "container_cpu_cfs_burst_seconds_total", stat.get("burst_time").map(|nanos| nanos / 1e9));
            periods(&stat, numbers);
        }
    }

    fn memory_unified(&self, stat: &BTreeMap<String, f64>, numbers: &mut Numbers) {
        let usage = self.number("", "memory.current");
        put(numbers, "container_memory_usage_bytes", usage);
        put(numbers, "container_memory_max_usage_bytes", self.number("", "memory.peak"));
        for (name, key) in [
            ("container_memory_cache", "file"),
            ("container_memory_rss", "anon"),
            ("container_memory_mapped_file", "file_mapped"),
            ("container_memory_kernel_usage", "kernel"),
        ] {
            put(numbers, name, stat.get(key).copied());
        }
        put(numbers, "container_memory_swap", self.number("", "memory.swap.current"));
        put(numbers, "container_spec_memory_limit_bytes", self.limit("", "memory.max"));
        put(numbers, "container_spec_memory_reservation_limit_bytes", self.limit("", "memory.high"));
        put(numbers, "container_spec_memory_swap_limit_bytes", self.limit("", "memory.swap.max"));
        put(numbers, "container_oom_events_total", self.pairs("", "memory.events").get("oom_kill").copied());
        put(numbers, "container_memory_failcnt", self.pairs("", "memory.events").get("max").copied());
        working_set(usage, stat.get("inactive_file"), stat.get("active_file"), numbers);
    }

    fn memory_split(&self, stat: &BTreeMap<String, f64>, numbers: &mut Numbers) {
        let usage = self.number("memory", "memory.usage_in_bytes");
        put(numbers, "container_memory_usage_bytes", usage);
        put(numbers, "container_memory_max_usage_bytes", self.number("memory", "memory.max_usage_in_bytes"));
        put(numbers, "container_memory_failcnt", self.number("memory", "memory.failcnt"));
        put(numbers, "container_memory_kernel_usage", self.number("memory", "memory.kmem.usage_in_bytes"));
        for (name, key) in [
            ("container_memory_cache", "total_cache"),
            ("container_memory_rss", "total_rss"),
            ("container_memory_mapped_file", "total_mapped_file"),
            ("container_memory_swap", "total_swap"),
        ] {
            put(numbers, name, stat.get(key).copied());
        }
        put(numbers, "container_spec_memory_limit_bytes", self.limit("memory", "memory.limit_in_bytes"));
        put(
            numbers,
            "container_spec_memory_reservation_limit_bytes",
            self.limit("memory", "memory.soft_limit_in_bytes"),
        );
        put(numbers, "container_spec_memory_swap_limit_bytes", self.limit("memory", "memory.memsw.limit_in_bytes"));
        put(numbers, "container_oom_events_total", self.pairs("memory", "memory.oom_control").get("oom_kill").copied());
        working_set(usage, stat.get("total_inactive_file"), stat.get("total_active_file"), numbers);
    }

    fn io_unified(&self) -> BTreeMap<String, Io> {
        let text = self.read("", "io.stat").unwrap_or_default();
        let device = |line: &str| {
            let (device, rest) = line.split_once(' ')?;
            let of = |name: &str| {
                let value = rest.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
                value.and_then(|value| value.parse().ok()).unwrap_or(0.0)
            };
            let io =
                Io { read_bytes: of("rbytes"), written_bytes: of("wbytes"), reads: of("rios"), writes: of("wios") };
            Some((device.to_owned(), io))
        };
        text.lines().filter_map(device).collect()
    }

    fn io_split(&self) -> BTreeMap<String, Io> {
        let mut all: BTreeMap<String, Io> = BTreeMap::new();
        for (file, bytes) in
            [("blkio.throttle.io_service_bytes_recursive", true), ("blkio.throttle.io_serviced_recursive", false)]
        {
            for line in self.read("blkio", file).unwrap_or_default().lines() {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [device, kind, number] = words[..] else { continue };
                let Ok(number) = number.parse::<f64>() else { continue };
                let io = all.entry(device.to_owned()).or_default();
                match (kind, bytes) {
                    ("Read", true) => io.read_bytes = number,
                    ("Write", true) => io.written_bytes = number,
                    ("Read", false) => io.reads = number,
                    ("Write", false) => io.writes = number,
                    _ => {}
                }
            }
        }
        all
    }
}

fn put(numbers: &mut Numbers, name: &'static str, number: Option<f64>) {
    if let Some(number) = number {
        numbers.insert(name, number);
    }
}

fn periods(stat: &BTreeMap<String, f64>, numbers: &mut Numbers) {
    put(numbers, "container_cpu_cfs_periods_total", stat.get("nr_periods").copied());
    put(numbers, "container_cpu_cfs_throttled_periods_total", stat.get("nr_throttled").copied());
    put(numbers, "container_cpu_cfs_burst_periods_total", stat.get("nr_bursts").copied());
}

/// The memory in use without what the kernel can take back at once (`setMemoryStats` in cAdvisor).
fn working_set(usage: Option<f64>, inactive: Option<&f64>, active: Option<&f64>, numbers: &mut Numbers) {
    let inactive = inactive.copied();
    put(numbers, "container_memory_working_set_bytes", usage.map(|usage| (usage - inactive.unwrap_or(0.0)).max(0.0)));
    put(numbers, "container_memory_total_inactive_file_bytes", inactive);
    put(numbers, "container_memory_total_active_file_bytes", active.copied());
}

/// The files that the processes of a cgroup hold open, and those of them that are sockets. What may not be looked at counts
/// as nothing.
pub fn open_files(processes: &[u32]) -> (u64, u64) {
    let (mut files, mut sockets) = (0, 0);
    for pid in processes {
        for file in
            std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")).into_iter().flatten().flatten()
        {
            files += 1;
            let target = std::fs::read_link(file.path()).unwrap_or_default();
            sockets += u64::from(target.to_string_lossy().starts_with("socket:"));
        }
    }
    (files, sockets)
}

#[cfg(test)]
mod tests;
