//! What becomes of a namespace whose labels change: they must be good, and who makes them stricter is told which pods that
//! are there already would be refused.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use api::pod_security::{Level, LevelVersion, Pod, Policy, evaluate, reasons};
use api::{Object, Status};
use serde::Deserialize;
use store::Entry;

use super::{Attributes, Operation, PodSecurity, labels};
use crate::Registry;
use crate::clock::Clock;
use crate::registry::{prefix, read};
use crate::workers;

/// How many pods are looked at.
const PODS_MAX: usize = 3_000;
/// For how long.
const TIME_MAX: Duration = Duration::from_secs(1);

impl PodSecurity {
    /// Judges the labels of a namespace (`ValidateNamespace`).
    pub(super) async fn namespace(&self, attributes: &Attributes<'_>, namespace: &Object) -> Result<(), Status> {
        if !attributes.subresource.is_empty() {
            return Ok(());
        }
        let defaults = self.configuration.defaults;
        let (policy, errors) = defaults.with_labels(labels(namespace));
        let invalid = || Err(Status::invalid("", "Namespace", attributes.name, &errors));
        let old = attributes.old.filter(|_| attributes.operation == Operation::Update);
        let Some(old) = old else {
            if !errors.is_empty() {
                return invalid();
            }
            self.tell_of_exemption(attributes, namespace, &policy);
            return Ok(());
        };
        let (before, errors_before) = defaults.with_labels(labels(old));
        if !errors.is_empty() && errors != errors_before {
            return invalid();
        }
        let (new, before) = (policy.enforce, before.enforce);
        let relaxes = new.version == before.version && new.level <= before.level;
        if new == before || new.level == Level::Privileged || relaxes {
            return Ok(());
        }
        if !self.tell_of_exemption(attributes, namespace, &policy) {
            for warning in self.of_pods(attributes, new).await? {
                attributes.ctx.warn(warning);
            }
        }
        Ok(())
    }

    /// Whether the namespace is exempt; who labels it in vain is told so (`exemptNamespaceWarning`).
    fn tell_of_exemption(&self, attributes: &Attributes<'_>, namespace: &Object, policy: &Policy) -> bool {
        let name = namespace.name();
        if !self.configuration.exemptions.namespaces.iter().any(|exempt| exempt == name) {
            return false;
        }
        if !policy.is_privileged() && !policy.is_equivalent(&self.configuration.defaults) {
            let asked = policy.labelled(labels(namespace));
            attributes.ctx.warn(format!(
                "namespace {name:?} is exempt from Pod Security, and the policy ({asked}) will be ignored"
            ));
        }
        true
    }

    /// What there is to tell of the pods that a namespace has (`EvaluatePodsInNamespace`).
    async fn of_pods(&self, attributes: &Attributes<'_>, wanted: LevelVersion) -> Result<Vec<String>, Status> {
        let (registry, namespace) = (attributes.ctx.registry.clone(), attributes.name.to_owned());
        let exempt = self.configuration.exemptions.runtime_classes.clone();
        let threads = registry.state().workers().of(attributes.ctx.user.clone());
        let work = async move {
            let until = registry.clock().instant() + TIME_MAX;
            let entries = entries(&registry, &namespace);
            let ordered = prioritized(&entries, &exempt, registry.clock(), until);
            let total = ordered.len();
            let pods = ordered.into_iter().filter_map(read);
            let found = Found::new(pods.take(PODS_MAX), wanted, registry.clock(), until);
            Ok(found.warnings(&namespace, wanted, total))
        };
        // The request itself may be on one of the threads already, and must not hold that while it waits for another.
        workers::wait(threads.run(work)).await
    }
}

fn entries(registry: &Registry, namespace: &str) -> Vec<Entry> {
    registry.snapshot().list(&prefix("", "pods", namespace), None).cloned().collect()
}

/// As much of a pod as says in which order it is looked at.
#[derive(Deserialize)]
struct Owned {
    metadata: Owners,
    #[serde(default)]
    spec: Class,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Owners {
    #[serde(default)]
    owner_references: Vec<Owner>,
}

#[derive(Deserialize)]
struct Owner {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    controller: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Class {
    #[serde(default)]
    runtime_class_name: Option<String>,
}

/// Those to be looked at, one of each controller before more of the same (`prioritizePods`). When time is over, the order
/// of what is left does not matter any more.
fn prioritized<'e>(entries: &'e [Entry], exempt: &[String], clock: &dyn Clock, until: Instant) -> Vec<&'e Entry> {
    let (mut first, mut more, mut seen) = (Vec::with_capacity(entries.len()), Vec::new(), HashSet::new());
    for entry in entries {
        let parsed = if clock.instant() < until { serde_json::from_slice::<Owned>(&entry.value()).ok() } else { None };
        let Some(Owned { metadata, spec }) = parsed else {
            more.push(entry);
            continue;
        };
        if spec.runtime_class_name.is_some_and(|class| exempt.contains(&class)) {
            continue;
        }
        let controller = metadata.owner_references.into_iter().find(|owner| owner.controller == Some(true));
        let is_first = controller.is_none_or(|owner| seen.insert(owner.uid));
        if is_first { &mut first } else { &mut more }.push(entry);
    }
    first.append(&mut more);
    first
}

/// The pods that break rules, by which rules these are.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The first name in order, and how many there are.
    by_rules: BTreeMap<String, (String, usize)>,
    checked: usize,
}

impl Found {
    /// Looks at pods for as long as there is time.
    pub(super) fn new(
        pods: impl Iterator<Item = Object>,
        wanted: LevelVersion,
        clock: &dyn Clock,
        until: Instant,
    ) -> Self {
        let mut found = Self::default();
        for pod in pods {
            let violations = evaluate(wanted, Pod::new(pod.at(&["metadata"]), pod.at(&["spec"])));
            found.checked += 1;
            if !violations.is_empty() {
                found.add(pod.name(), reasons(&violations));
            }
            if clock.instant() >= until {
                break;
            }
        }
        found
    }

    fn add(&mut self, name: &str, rules: String) {
        let (first, count) = self.by_rules.entry(rules).or_insert_with(|| (name.to_owned(), 0));
        *count += 1;
        if name < first.as_str() {
            name.clone_into(first);
        }
    }

    /// What is told of it, of `total` pods.
    pub(super) fn warnings(self, namespace: &str, wanted: LevelVersion, total: usize) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.checked < total {
            let checked = self.checked;
            warnings.push(format!(
                "new PodSecurity enforce level only checked against the first {checked} of {total} existing pods"
            ));
        }
        if !self.by_rules.is_empty() {
            warnings.push(format!(
                "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{wanted}\""
            ));
        }
        let told = self.by_rules.into_iter().map(|(rules, (name, count))| match count {
            1 => format!("{name}: {rules}"),
            2 => format!("{name} (and 1 other pod): {rules}"),
            _ => format!("{name} (and {} other pods): {rules}", count - 1),
        });
        let mut told: Vec<String> = told.collect();
        told.sort();
        warnings.append(&mut told);
        warnings
    }
}
