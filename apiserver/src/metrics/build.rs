//! Which program this is.

use metrics::Text;

use crate::documents::version;

/// Adds the versions.
pub(super) fn collect(text: &mut Text) {
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
