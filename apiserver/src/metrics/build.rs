//! Which program this is, and what it counts.

use metrics::{Book, Collect, Text};

use crate::documents::version;

/// What every endpoint with metrics tells of the program.
#[derive(Debug, Clone, Copy)]
pub struct Build;

impl Collect for Build {
    fn collect(&self, text: &mut Text) {
        versions(text);
        families(text);
    }
}

/// Adds how many families there are, by how stable they are promised to be (`component-base/metrics`).
fn families(text: &mut Text) {
    let mut counts = std::collections::BTreeMap::<(&str, &str), u64>::new();
    let families = Book::Components.all().values().map(|family| (family.stability(), family.deprecated()));
    for sort in families.filter(|(stability, _)| !stability.is_empty()) {
        *counts.entry(sort).or_default() += 1;
    }
    for ((stability, deprecated), count) in counts {
        let labels = [("stability_level", stability), ("deprecated_version", deprecated)];
        text.value("registered_metrics_total", &labels, count as f64);
    }
}

/// Adds the versions.
fn versions(text: &mut Text) {
    let version = version();
    let part = |name: &str| version.get(name).and_then(|value| value.as_str()).unwrap_or("");
    let names = [
        ("build_date", "buildDate"),
        ("compiler", "compiler"),
        ("git_commit", "gitCommit"),
        ("git_tree_state", "gitTreeState"),
        ("git_version", "gitVersion"),
        ("go_version", "goVersion"),
        ("major", "major"),
        ("minor", "minor"),
        ("platform", "platform"),
    ];
    let labels: Vec<(&str, &str)> = names.into_iter().map(|(label, field)| (label, part(field))).collect();
    text.value("kubernetes_build_info", &labels, 1.0);
    let of = |major: &str, minor: &str| format!("{}.{}", part(major), part(minor));
    let (binary, emulation) = (of("major", "minor"), of("emulationMajor", "emulationMinor"));
    let least = of("minCompatibilityMajor", "minCompatibilityMinor");
    let labels = [("binary", &*binary), ("component", "kube"), ("emulation", &*emulation), ("min_compat", &*least)];
    text.value("version_info", &labels, 1.0);
}
