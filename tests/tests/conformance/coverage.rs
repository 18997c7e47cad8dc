//! Which conformance tests there are, and how many of those that need no container have a test here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The file and the name of each.
const ALL: &str = include_str!("conformance.txt");

/// The files whose tests need no container, or only pods that somebody says are running. Where a file has other tests too,
/// all are counted: some of what is not covered here needs a node.
const FILES: &[&str] = &[
    "apimachinery/",
    "apps/",
    "auth/",
    "common/node/configmap.go",
    "common/node/lease.go",
    "common/node/pods.go",
    "common/node/podtemplates.go",
    "common/node/runtimeclass.go",
    "common/node/secrets.go",
    "common/node/sysctl.go",
    "network/apiserver.go",
    "dra/",
    "instrumentation/",
    "network/endpoints.go",
    "network/endpointslice.go",
    "network/endpointslicemirroring.go",
    "network/ingress.go",
    "network/ingressclass.go",
    "network/service.go",
    "network/service_cidrs.go",
    "network/service_latency.go",
    "node/node_lifecycle.go",
    "node/pods.go",
    "node/taints.go",
    "scheduling/",
    "storage/csi_inline.go",
    "storage/csi_node.go",
    "storage/csistoragecapacity.go",
    "storage/persistent_volumes.go",
    "storage/storageclass.go",
    "storage/volume_attachment.go",
    "storage/volumeattributesclass.go",
];

/// The counts, in lines for people.
///
/// # Errors
/// The names that are no conformance test's, or that stand here twice.
pub(crate) fn check(names: &[&str]) -> Result<String, String> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = names.iter().find(|name| !seen.insert(**name)) {
        return Err(format!("two tests are called {twice:?}"));
    }
    let mut files: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (file, name) in ALL.lines().filter_map(|line| line.split_once('\t')) {
        let file = file.trim_start_matches("test/e2e/");
        let covered = seen.remove(name);
        if covered || FILES.iter().any(|start| file.starts_with(start)) {
            let count = files.entry(file).or_default();
            count.0 += usize::from(covered);
            count.1 += 1;
        }
    }
    if !seen.is_empty() {
        return Err(format!("no conformance test is called {seen:#?}"));
    }
    let mut told = String::from("covered, and in all, of conformance tests that need no container:\n");
    for (file, (covered, all)) in &files {
        writeln!(told, "  {covered:3} of {all:3}  {file}").expect("a string takes all");
    }
    let covered: usize = files.values().map(|count| count.0).sum();
    let all: usize = files.values().map(|count| count.1).sum();
    writeln!(told, "  {covered:3} of {all:3}").expect("a string takes all");
    Ok(told)
}
