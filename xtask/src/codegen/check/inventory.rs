//! Which data files there are, and where each comes from: one that nobody knows of is one that nobody regenerates.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Problems, Read};
use crate::codegen::GENERATED;

/// What is kept by hand: data that a source tree does not say in a form that can be read, each with what it is from.
const OVERLAY: [(&str, &str); 14] = [
    ("api/data/overlay/columns.txt", "the functions that print tables, cited by entry"),
    ("api/data/overlay/configuration.txt", "the types of configuration files: apiserver's `apis/apiserver/v1`"),
    ("api/data/overlay/defaults.txt", "the functions that set defaults, cited by entry"),
    ("api/data/overlay/disabled.txt", "the functions that drop fields of features that are off, cited by entry"),
    ("api/data/overlay/flags.txt", "the strategies of kinds, cited by entry"),
    ("api/data/overlay/internal.txt", "the internal types, whose names are the entries'"),
    ("api/data/overlay/prefixes.txt", "what the names of definitions begin with, which references leave out"),
    ("api/data/overlay/selectable.txt", "the functions that convert field labels, cited by entry"),
    ("api/data/overlay/zones.txt", "the names of the IANA's database of time zones, as Go embeds it"),
    ("api/src/cel/functions/kubernetes.txt", "k8s.io/apiserver/pkg/cel/library: every function of a library"),
    ("api/src/cel/functions/standard.txt", "github.com/google/cel-go: common/stdlib and ext"),
    ("apiserver/data/overlay/bootstrap.json", "what the control plane writes when it starts, cited by group"),
    ("metrics/data/cadvisor.txt", "github.com/google/cadvisor: metrics/prometheus.go"),
    (
        "metrics/data/families.txt",
        "the families that we write; `metrics/tests/documented.txt` and `recorded.txt` are what they are compared with",
    ),
];

/// What a test compares with, recorded from the reference while it ran.
const RECORDED: [&str; 32] = [
    "api/src/crd/rules/tests/compile.jsonl",
    "api/src/crd/rules/tests/properties.json",
    "api/src/pod_security/facts.txt",
    "api/src/quantity_overflow.txt",
    "api/src/validation/tests/admissionregistration.txt",
    "api/src/validation/tests/apps.txt",
    "api/src/validation/tests/autoscaling.txt",
    "api/src/validation/tests/batch.txt",
    "api/src/validation/tests/certificates.txt",
    "api/src/validation/tests/coordination.txt",
    "api/src/validation/tests/core.txt",
    "api/src/validation/tests/discovery.txt",
    "api/src/validation/tests/flowcontrol.txt",
    "api/src/validation/tests/networking.txt",
    "api/src/validation/tests/node.txt",
    "api/src/validation/tests/nodes.json",
    "api/src/validation/tests/others.json",
    "api/src/validation/tests/pods.json",
    "api/src/validation/tests/policy.txt",
    "api/src/validation/tests/rbac.txt",
    "api/src/validation/tests/resource.txt",
    "api/src/validation/tests/scheduling.txt",
    "api/src/validation/tests/services.json",
    "api/src/validation/tests/storage.txt",
    "api/src/validation/tests/volumes.json",
    "api/tests/facts",
    "apiserver/src/authentication/jose/rsa.pem",
    "controllers/src/hash/template-hashes.json",
    "metrics/tests/left-out.txt",
    "metrics/tests/recorded.txt",
    "tests/fuzz",
    "tests/tests/conformance/conformance.txt",
];

/// The crates, whose folders have the data files.
const CRATES: [&str; 12] = [
    "api",
    "apiserver",
    "client",
    "controllers",
    "coracle",
    "files",
    "kubelet",
    "metrics",
    "network",
    "scheduler",
    "store",
    "tests",
];

/// That every data file of a crate is known, and every known one there.
pub(super) fn check(root: &Path, problems: &mut Problems) -> Read<()> {
    let known: BTreeSet<&str> = GENERATED.into_iter().chain(OVERLAY.map(|(name, _)| name)).chain(RECORDED).collect();
    let mut found = Vec::new();
    for name in CRATES {
        collect(&root.join(name), &mut found)?;
    }
    let found: Vec<String> =
        found.iter().filter_map(|path| path.strip_prefix(root).ok()).map(|path| path.display().to_string()).collect();
    for name in &found {
        let is_known = known.iter().any(|known| name == known || name.starts_with(&format!("{known}/")));
        problems.unless(is_known, name, || "no inventory says where it comes from".to_string());
    }
    for name in known {
        problems.unless(root.join(name).exists(), name, || "it is in the inventory and not there".to_string());
    }
    Ok(())
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Read<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" {
                collect(&path, found)?;
            }
        } else if !name.ends_with(".rs")
            && !matches!(name.as_str(), "Cargo.toml" | "Cargo.lock")
            && !name.starts_with('.')
        {
            found.push(path);
        }
    }
    Ok(())
}
