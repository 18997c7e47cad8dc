//! Tests of reading cgroups of both versions.

use super::*;

fn files(unified: bool, contents: &[(&str, &str)]) -> (tempfile::TempDir, Files) {
    let root = tempfile::tempdir().expect("a directory");
    for (path, text) in contents {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }
    let files = Files { root: root.path().into(), relative: "pod/c".into(), unified };
    (root, files)
}

fn check(usage: &Usage, expected: &[(&str, f64)]) {
    for (name, number) in expected {
        assert_eq!(usage.numbers.get(name), Some(number), "{name} {usage:?}");
    }
}

#[test]
fn the_unified_hierarchy_is_read() {
    let (_root, files) = files(
        true,
        &[
            ("pod/c/cgroup.procs", "7\n8\n"),
            (
                "pod/c/cpu.stat",
                "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\nnr_periods 4\nnr_throttled 1\nthrottled_usec 20000\n",
            ),
            ("pod/c/cpu.max", "50000 100000\n"),
            ("pod/c/cpu.weight", "1\n"),
            ("pod/c/cpu.pressure", "some avg10=0.00 total=2500000\nfull avg10=0.00 total=0\n"),
            ("pod/c/memory.current", "1000\n"),
            ("pod/c/memory.max", "max\n"),
            ("pod/c/memory.stat", "anon 300\nfile 600\ninactive_file 250\nactive_file 350\npgfault 9\npgmajfault 2\n"),
            ("pod/c/memory.events", "max 3\noom_kill 1\n"),
            ("pod/c/pids.current", "5\n"),
            ("pod/c/pids.max", "max\n"),
            ("pod/c/io.stat", "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n"),
        ],
    );
    let usage = files.usage().expect("a cgroup");
    check(
        &usage,
        &[
            ("container_cpu_usage_seconds_total", 1.5),
            ("container_cpu_cfs_throttled_seconds_total", 0.02),
            ("container_spec_cpu_quota", 50_000.0),
            ("container_spec_cpu_shares", 2.0),
            ("container_pressure_cpu_waiting_seconds_total", 2.5),
            ("container_memory_working_set_bytes", 750.0),
            ("container_memory_failcnt", 3.0),
            ("container_spec_memory_limit_bytes", 0.0),
            ("container_oom_events_total", 1.0),
            ("container_threads", 5.0),
            ("container_threads_max", 0.0),
        ],
    );
    assert_eq!((usage.processes, usage.faults), (vec![7, 8], Some([[9.0, 2.0], [9.0, 2.0]])));
    let io = Io { read_bytes: 4096.0, written_bytes: 8192.0, reads: 1.0, writes: 2.0 };
    assert_eq!(usage.io, BTreeMap::from([("8:0".to_owned(), io)]));
}

#[test]
fn the_split_hierarchy_is_read() {
    let (_root, files) = files(
        false,
        &[
            ("memory/pod/c/cgroup.procs", "7\n"),
            ("cpuacct/pod/c/cpuacct.usage", "1500000000\n"),
            ("cpuacct/pod/c/cpuacct.stat", "user 100\nsystem 50\n"),
            ("cpu/pod/c/cpu.cfs_quota_us", "-1\n"),
            ("cpu/pod/c/cpu.shares", "512\n"),
            ("memory/pod/c/memory.usage_in_bytes", "1000\n"),
            ("memory/pod/c/memory.limit_in_bytes", "9223372036854771712\n"),
            (
                "memory/pod/c/memory.stat",
                "pgfault 4\npgmajfault 1\ntotal_inactive_file 1200\ntotal_rss 10\ntotal_pgfault 9\ntotal_pgmajfault 2\n",
            ),
            (
                "blkio/pod/c/blkio.throttle.io_service_bytes_recursive",
                "8:0 Read 4096\n8:0 Write 0\n8:0 Total 4096\nTotal 4096\n",
            ),
        ],
    );
    let usage = files.usage().expect("a cgroup");
    check(
        &usage,
        &[
            ("container_cpu_usage_seconds_total", 1.5),
            ("container_cpu_user_seconds_total", 1.0),
            ("container_spec_cpu_shares", 512.0),
            ("container_memory_rss", 10.0),
            ("container_memory_working_set_bytes", 0.0),
            ("container_spec_memory_limit_bytes", 0.0),
        ],
    );
    assert!(!usage.numbers.contains_key("container_cpu_cfs_periods_total"), "there is no quota");
    assert_eq!(usage.faults, Some([[4.0, 1.0], [9.0, 2.0]]));
    assert_eq!(usage.io["8:0"].read_bytes, 4096.0);
}

#[test]
fn there_is_nothing_to_tell_of_a_cgroup_that_is_gone() {
    let (_root, files) = files(true, &[]);
    assert_eq!(files.usage(), None);
}
