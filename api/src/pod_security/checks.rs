//! Which rules belong to a level in a version. A rule of `restricted` may stand in the place of a weaker one of `baseline`.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Level, LevelVersion, Pod, Version, baseline, restricted};
use crate::go::strconv::quote;

/// One rule and how a pod breaks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule, in few words.
    pub reason: &'static str,
    /// What of the pod breaks it, or empty.
    pub detail: String,
}

impl Violation {
    pub(super) fn new(reason: &'static str, detail: impl Into<String>) -> Option<Self> {
        Some(Self { reason, detail: detail.into() })
    }
}

/// Looks at a pod; none if it keeps the rule.
type Rule = fn(Pod<'_>) -> Option<Violation>;

/// A rule of a level, as it was in each version.
struct Check {
    /// The first minor version of each way to check it, in order.
    since: &'static [(u64, Rule)],
    /// From which version on a rule of `restricted` stands in the place of this one of `baseline`.
    replaced: Option<u64>,
}

impl Check {
    const fn new(since: &'static [(u64, Rule)]) -> Self {
        Self { since, replaced: None }
    }

    const fn replaced(self, since: u64) -> Self {
        Self { replaced: Some(since), ..self }
    }

    fn at(&self, minor: u64) -> Option<Rule> {
        self.since.iter().rev().find(|(since, _)| *since <= minor).map(|(_, rule)| *rule)
    }
}

/// In the order in which violations are told, which is that of the names of the reference's checks.
const BASELINE: [Check; 12] = [
    Check::new(&[(0, baseline::app_armor_profile)]),
    Check::new(&[(0, baseline::capabilities)]).replaced(22),
    Check::new(&[(0, baseline::host_namespaces)]),
    Check::new(&[(0, baseline::host_path_volumes)]).replaced(0),
    Check::new(&[(0, baseline::host_ports)]),
    Check::new(&[(34, baseline::hosts_of_probes)]),
    Check::new(&[(0, baseline::privileged)]),
    Check::new(&[(0, baseline::proc_mount), (35, baseline::proc_mount_1_35)]).replaced(35),
    Check::new(&[(0, baseline::selinux_options), (31, baseline::selinux_options_1_31)]),
    Check::new(&[(0, baseline::seccomp_annotations), (19, baseline::seccomp_profile)]).replaced(19),
    Check::new(&[
        (0, baseline::sysctls),
        (27, baseline::sysctls_1_27),
        (29, baseline::sysctls_1_29),
        (32, baseline::sysctls_1_32),
    ]),
    Check::new(&[(0, baseline::windows_host_process)]),
];

/// As [`BASELINE`]; they come after it.
const RESTRICTED: [Check; 7] = [
    Check::new(&[(8, restricted::privilege_escalation), (25, restricted::privilege_escalation_1_25)]),
    Check::new(&[(22, restricted::capabilities), (25, restricted::capabilities_1_25)]),
    Check::new(&[(35, baseline::proc_mount)]),
    Check::new(&[(0, restricted::volumes)]),
    Check::new(&[(0, restricted::run_as_non_root), (35, restricted::run_as_non_root_1_35)]),
    Check::new(&[(23, restricted::run_as_user), (35, restricted::run_as_user_1_35)]),
    Check::new(&[(19, restricted::seccomp_profile), (25, restricted::seccomp_profile_1_25)]),
];

/// Every rule of a level that a pod breaks (`EvaluatePod`). A version that is not known yet has the rules of the newest.
pub fn evaluate(wanted: LevelVersion, pod: Pod<'_>) -> Vec<Violation> {
    if wanted.level == Level::Privileged {
        return Vec::new();
    }
    let minor = match wanted.version {
        Version::Minor(minor) => minor,
        Version::Latest => u64::MAX,
    };
    let is_restricted = wanted.level == Level::Restricted;
    let stands = |check: &&Check| !is_restricted || check.replaced.is_none_or(|since| minor < since);
    let more: &[Check] = if is_restricted { &RESTRICTED } else { &[] };
    let rules = BASELINE.iter().filter(stands).chain(more).filter_map(|check| check.at(minor));
    rules.filter_map(|rule| rule(pod)).collect()
}

/// The rules that are broken, with commas (`ForbiddenReason`).
pub fn reasons(violations: &[Violation]) -> String {
    violations.iter().map(|violation| violation.reason).collect::<Vec<_>>().join(", ")
}

/// The rules that are broken and by what (`ForbiddenDetail`).
pub fn details(violations: &[Violation]) -> String {
    let mut text = String::new();
    for violation in violations {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{}", violation.reason);
        if !violation.detail.is_empty() {
            let _ = write!(text, " ({})", violation.detail);
        }
    }
    text
}

/// What is told of pod and containers that say something they must not: `pod and containers "a", "b"`; none if nobody does.
pub(super) fn setters(pod: bool, containers: &[&str]) -> Option<String> {
    let all = (!containers.is_empty()).then(|| named("container", containers));
    match (pod, all) {
        (true, Some(containers)) => Some(format!("pod and {containers}")),
        (true, None) => Some("pod".into()),
        (false, all) => all,
    }
}

/// `container "a"` or `containers "a", "b"`.
pub(super) fn named(what: &str, names: &[&str]) -> String {
    format!("{what}{} {}", plural(names.len()), join_quote(names.iter().copied()))
}

/// What a plural has more.
pub(super) fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// `"a", "b"`, as they are (`joinQuote`).
pub(super) fn join_quote<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = items.into_iter().map(|item| format!("\"{item}\"")).collect();
    quoted.join(", ")
}

/// An annotation as it is shown.
pub(super) fn shown(name: &str, value: &str) -> String {
    format!("{name}={}", quote(value))
}

/// Values once each, in order.
pub(super) type Sorted<'a> = BTreeSet<&'a str>;
