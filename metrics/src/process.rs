//! What the kernel counts of this process.

use crate::Text;

/// Clock ticks in a second, as the kernel shows them to programs on every Linux this runs on.
const TICKS: f64 = 100.0;
/// Bytes of a page there.
const PAGE_BYTES: f64 = 4096.0;
/// Where the fields of `/proc/self/stat` are, counted from the state on.
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const STARTED_TICKS: usize = 19;
const VIRTUAL_BYTES: usize = 20;
const RESIDENT_PAGES: usize = 21;

/// Adds everything.
pub fn collect(text: &mut Text) {
    let stat = stat();
    let number = |at: usize| stat.get(at).copied().unwrap_or(0.0);
    text.value("process_cpu_seconds_total", &[], (number(USER_TICKS) + number(SYSTEM_TICKS)) / TICKS);
    text.value("process_virtual_memory_bytes", &[], number(VIRTUAL_BYTES));
    text.value("process_resident_memory_bytes", &[], number(RESIDENT_PAGES) * PAGE_BYTES);
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        text.value("process_open_fds", &[], files.count() as f64);
    }
    for (name, limit) in
        [("process_max_fds", "Max open files"), ("process_virtual_memory_max_bytes", "Max address space")]
    {
        if let Some(most) = maximum(limit) {
            text.value(name, &[], most);
        }
    }
    if let Some((received, sent)) = network() {
        text.value("process_network_receive_bytes_total", &[], received);
        text.value("process_network_transmit_bytes_total", &[], sent);
    }
    if let Ok(threads) = std::fs::read_dir("/proc/self/task") {
        text.value("go_threads", &[], threads.count() as f64);
    }
    start_time(text);
}

/// When the process began, in seconds since 1970.
pub fn started() -> Option<f64> {
    let boot = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + stat().get(STARTED_TICKS)? / TICKS)
}

/// Adds when the process began.
pub fn start_time(text: &mut Text) {
    if let Some(started) = started() {
        text.value("process_start_time_seconds", &[], started);
    }
}

/// The fields of `/proc/self/stat` from the state on.
fn stat() -> Vec<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The command's name, in parentheses, may hold spaces.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect()
}

/// A limit of the process; what is unlimited is as much as a number of 64 bits can be.
fn maximum(name: &str) -> Option<f64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let soft = limits.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next())?;
    if soft == "unlimited" { Some(u64::MAX as f64) } else { soft.parse().ok() }
}

/// Bytes that came and went over IP in the process's network namespace.
fn network() -> Option<(f64, f64)> {
    let netstat = std::fs::read_to_string("/proc/self/net/netstat").ok()?;
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("IpExt: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let value = |wanted: &str| {
        let at = names.split(' ').position(|name| name == wanted)?;
        values.split(' ').nth(at)?.parse().ok()
    };
    Some((value("InOctets")?, value("OutOctets")?))
}
