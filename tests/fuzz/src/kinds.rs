//! The kinds that inputs are tried as.

use api::decode::Target;

/// Kinds that between them have every sort of field.
const KINDS: [(&str, &str, &str); 12] = [
    ("", "v1", "Pod"),
    ("", "v1", "ConfigMap"),
    ("", "v1", "Secret"),
    ("", "v1", "Service"),
    ("", "v1", "Event"),
    ("apps", "v1", "Deployment"),
    ("apps", "v1", "ControllerRevision"),
    ("batch", "v1", "CronJob"),
    ("autoscaling", "v2", "HorizontalPodAutoscaler"),
    ("coordination.k8s.io", "v1", "Lease"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
];

/// The kind that an input's first byte picks, and the rest.
pub fn split(data: &[u8]) -> Option<(Target, &[u8])> {
    let (&first, rest) = data.split_first()?;
    // A digit or letter, so that corpus files can be read.
    let place = usize::from(first).wrapping_sub(usize::from(b'a')) % KINDS.len();
    let (group, version, kind) = KINDS[place];
    Some((Target::builtin(group, version, kind).expect("a built-in kind"), rest))
}
