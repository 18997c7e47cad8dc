//! The rules, each in every version, and what labels come to.

use serde_json::{Map, Value, json};

use super::*;

/// A line is a level, the minor versions in which it lets a pod pass, what sets the pod apart from one that every level
/// lets pass (`c` its container, `i` its init container, `spec`, `annotations`; as a merge patch), and what it is refused
/// with in the newest version that refuses it.
const FACTS: &str = include_str!("facts.txt");
/// The versions that are tried.
const MINORS: std::ops::RangeInclusive<u64> = 0..=40;

fn hardened(name: &str) -> Value {
    json!({"name": name, "image": "i",
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}})
}

fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (name, value) in patch {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

fn pod(patch: &Value) -> Value {
    let mut pod = json!({"metadata": {}, "spec": {
        "containers": [hardened("container1")],
        "initContainers": [hardened("initcontainer1")],
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}}});
    for (part, path) in
        [("c", "/spec/containers/0"), ("i", "/spec/initContainers/0"), ("spec", "/spec"), ("annotations", "/metadata")]
    {
        let patch = match (&patch[part], part) {
            (Value::Null, _) => continue,
            (patch, "annotations") => json!({"annotations": patch}),
            (patch, _) => patch.clone(),
        };
        merge(pod.pointer_mut(path).unwrap(), &patch);
    }
    pod
}

fn found(pod: &Value, level: Level, version: Version) -> Vec<Violation> {
    evaluate(LevelVersion { level, version }, Pod::new(pod.get("metadata"), pod.get("spec")))
}

fn is_in(ranges: &str, minor: u64) -> bool {
    ranges.split(',').any(|range| match range {
        "*" => true,
        "-" => false,
        _ => match (range.strip_suffix('+'), range.split_once('-')) {
            (Some(first), _) => minor >= first.parse().unwrap(),
            (_, Some((first, last))) => (first.parse().unwrap()..=last.parse().unwrap()).contains(&minor),
            _ => panic!("{range} is no range"),
        },
    })
}

#[test]
fn every_rule_holds_in_its_versions() {
    for line in FACTS.lines() {
        let [level, allowed, patch, detail] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let (level, pod) = (Level::parse(level).unwrap(), pod(&serde_json::from_str(patch).unwrap()));
        let mut last = String::new();
        for minor in MINORS {
            let violations = found(&pod, level, Version::Minor(minor));
            assert_eq!(violations.is_empty(), is_in(allowed, minor), "v1.{minor}: {line}\n{violations:?}");
            if !violations.is_empty() {
                last = details(&violations);
            }
        }
        assert_eq!(last, detail, "{line}");
        let newest = found(&pod, level, Version::Minor(*MINORS.end()));
        assert_eq!(found(&pod, level, Version::Latest), newest, "what comes is as what is newest: {line}");
        assert_eq!(found(&pod, Level::Privileged, Version::Latest), []);
    }
}

#[test]
fn a_stricter_level_refuses_whatever_a_weaker_one_does() {
    for line in FACTS.lines() {
        let pod = pod(&serde_json::from_str(line.split('\t').nth(2).unwrap()).unwrap());
        for version in MINORS.map(Version::Minor) {
            let (weak, strict) = (found(&pod, Level::Baseline, version), found(&pod, Level::Restricted, version));
            assert!(weak.is_empty() || !strict.is_empty(), "{version}: {line}");
        }
    }
}

#[test]
fn reasons_are_told_alone_too() {
    let pod = pod(&json!({"spec": {"hostPID": true}, "c": {"securityContext": {"privileged": true}}}));
    assert_eq!(reasons(&found(&pod, Level::Baseline, Version::Latest)), "host namespaces, privileged");
}

#[test]
fn what_is_no_pod_breaks_nothing_it_cannot() {
    for odd in [json!(null), json!([]), json!({"containers": {}, "volumes": "x"}), json!({"containers": [null, 1]})] {
        let violations = evaluate(
            LevelVersion { level: Level::Baseline, version: Version::Latest },
            Pod::new(Some(&odd), Some(&odd)),
        );
        assert_eq!(violations, [], "{odd}");
    }
}

#[test]
fn versions_are_written_in_one_way() {
    for (text, version) in [
        ("latest", Some(Version::Latest)),
        ("v1.0", Some(Version::Minor(0))),
        ("v1.22", Some(Version::Minor(22))),
        ("v1.9223372036854775807", Some(Version::Minor(i64::MAX as u64))),
        ("v1.9223372036854775808", None),
    ] {
        assert_eq!(Version::parse(text).ok(), version, "{text}");
        assert!(version.is_none_or(|version| version.to_string() == text));
    }
    for text in ["", "v1", "v1.", "1.22", "v1.01", "v1.00", "v1.-1", "v1.+1", "v2.0", "v1.1.1", "Latest", " latest"] {
        assert_eq!(Version::parse(text), Err("must be \"latest\" or \"v1.x\""), "{text}");
    }
    assert!(Version::Minor(u64::MAX) < Version::Latest && Version::Minor(1) < Version::Minor(2));
    assert_eq!(Level::parse("Baseline"), Err("must be one of privileged, baseline, restricted"));
}

/// Labels without their prefix, what they come to, and what is wrong with them.
fn check(labels: &[(&str, &str)], policy: &str, errors: &[&str]) {
    let labels: Map<String, Value> =
        labels.iter().map(|(name, value)| (format!("{LABEL_PREFIX}{name}"), json!(value))).collect();
    let (found, wrong) = Policy::default().with_labels(Some(&labels));
    let text = format!("{} {} {}", found.enforce, found.audit, found.warn);
    assert_eq!(text, policy, "{labels:?}");
    let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    assert_eq!(wrong, errors, "{labels:?}");
}

#[test]
fn labels_come_to_a_policy_whatever_they_say() {
    let quiet = "privileged:latest privileged:latest privileged:latest";
    check(&[], quiet, &[]);
    check(&[("other", "x")], quiet, &[]);
    // Who enforces is warned too, unless the namespace says otherwise.
    check(&[("enforce", "baseline")], "baseline:latest privileged:latest baseline:latest", &[]);
    let old = &[("enforce", "restricted"), ("enforce-version", "v1.5")];
    check(old, "restricted:v1.5 privileged:latest restricted:v1.5", &[]);
    let mixed = &[("enforce", "restricted"), ("enforce-version", "v1.5"), ("warn-version", "v1.6")];
    check(mixed, "restricted:v1.5 privileged:latest restricted:v1.6", &[]);
    let silent = &[("enforce", "restricted"), ("warn", "privileged")];
    check(silent, "restricted:latest privileged:latest privileged:latest", &[]);
    check(
        &[("audit", "baseline"), ("audit-version", "v1.1")],
        "privileged:latest baseline:v1.1 privileged:latest",
        &[],
    );
    check(
        &[("enforce", "x"), ("enforce-version", "y"), ("audit", "z"), ("warn", "")],
        "restricted:latest privileged:latest privileged:latest",
        &[
            "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"x\": must be one of privileged, \
             baseline, restricted",
            "metadata.labels[pod-security.kubernetes.io/enforce-version]: Invalid value: \"y\": must be \"latest\" or \
             \"v1.x\"",
            "metadata.labels[pod-security.kubernetes.io/audit]: Invalid value: \"z\": must be one of privileged, \
             baseline, restricted",
            "metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: \"\": must be one of privileged, \
             baseline, restricted",
        ],
    );
}
