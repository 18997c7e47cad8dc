//! `PodSecurity`: pods, and the templates that they are made of, keep what the labels of their namespace ask for
//! (`admission` of `k8s.io/pod-security-admission`). Which rules these are is [`api::pod_security`]'s.

mod configuration;
mod namespaces;
#[cfg(test)]
mod tests;

use api::catalogue::Resource;
use api::field::{ErrorList, aggregate};
use api::pod_security::{LABEL_PREFIX, Level, LevelVersion, Mode, Pod, Policy, Violation, details, evaluate};
use api::{Object, Status};
use futures::future::{BoxFuture, FutureExt, ready};
use memchr::memmem;
use serde_json::{Map, Value};

use super::files::{Kind, PluginFiles};
use super::{Admission, Attributes, Operation};
use crate::metrics::PodSecurityCounts;
use crate::registry::{key, read};
pub use configuration::{Configuration, Exemptions};

/// What the plugin is told.
const CONFIGURATION: Kind =
    Kind { name: "PodSecurityConfiguration", groups: &["pod-security.admission.config.k8s.io"], strict: true };

/// Subresources of pods that change nothing of what a pod may do.
const IGNORED: [&str; 8] = ["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];

/// Kinds that are, or make, pods: group, plural and where the pod stands in them (`defaultPodSpecResources`).
const PODS: [(&str, &str, &[&str]); 9] = [
    ("", "pods", &[]),
    ("", "replicationcontrollers", &["spec", "template"]),
    ("", "podtemplates", &["template"]),
    ("apps", "replicasets", &["spec", "template"]),
    ("apps", "deployments", &["spec", "template"]),
    ("apps", "statefulsets", &["spec", "template"]),
    ("apps", "daemonsets", &["spec", "template"]),
    ("batch", "jobs", &["spec", "template"]),
    ("batch", "cronjobs", &["spec", "jobTemplate", "spec", "template"]),
];

/// The plugin.
pub(super) struct PodSecurity {
    configuration: Configuration,
}

impl PodSecurity {
    /// With the defaults and exemptions of a cluster.
    pub(super) fn new(configuration: Configuration) -> Self {
        Self { configuration }
    }

    /// As the files of a cluster tell it.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub(super) fn told(files: &PluginFiles) -> Result<Self, String> {
        let object = files.decoded("PodSecurity", &CONFIGURATION)?.unwrap_or_default();
        let configuration = Configuration::new(&object);
        let wrong = |errors: ErrorList| format!("invalid: {}", aggregate(errors.iter().map(ToString::to_string)));
        configuration.map(Self::new).map_err(wrong)
    }

    /// Refuses a pod that may do more than its namespace allows (`ValidatePod`).
    fn pod(&self, attributes: &Attributes<'_>, pod: &Object) -> Result<(), Status> {
        let review = Review { attributes, counts: &attributes.ctx.registry.metrics().pod_security };
        if IGNORED.contains(&attributes.subresource) || self.is_exempt(&review) {
            return Ok(());
        }
        let Some((policy, wrong)) = self.policy(attributes) else {
            let namespace = attributes.namespace;
            let status = Status::internal(format!("failed to lookup namespace {namespace:?}"));
            review.counts.failed(true, attributes);
            let why = Status::not_found("", "namespaces", namespace).message;
            review.note("error", || format!("{}: {why}", status.message));
            return Err(status);
        };
        if wrong.is_none() && policy.is_privileged() {
            review.counts.evaluated(true, LevelVersion::PRIVILEGED, Mode::Enforce, attributes);
            review.note("enforce-policy", || LevelVersion::PRIVILEGED.to_string());
            return Ok(());
        }
        let is_update = attributes.operation == Operation::Update;
        if is_update && attributes.old.is_some_and(|old| !is_significant(pod, old)) {
            return Ok(());
        }
        let pod = Pod::new(pod.at(&["metadata"]), pod.at(&["spec"]));
        self.judge(&review, &policy, wrong.as_deref(), pod, true)
    }

    /// Tells of a template whose pods would be refused (`ValidatePodController`).
    fn template(&self, attributes: &Attributes<'_>, object: &Object, path: &[&str]) -> Result<(), Status> {
        let review = Review { attributes, counts: &attributes.ctx.registry.metrics().pod_security };
        // A change of the scale comes here as one of the whole.
        let is_part = !attributes.subresource.is_empty() || !attributes.ctx.info.subresource.is_empty();
        if is_part || self.is_exempt(&review) {
            return Ok(());
        }
        let Some((policy, wrong)) = self.policy(attributes) else {
            let namespace = attributes.namespace;
            review.counts.failed(true, attributes);
            let why = Status::not_found("", "namespaces", namespace).message;
            review.note("error", || format!("failed to lookup namespace {namespace:?}: {why}"));
            return Ok(());
        };
        let is_quiet = policy.warn.level == Level::Privileged && policy.audit.level == Level::Privileged;
        let template = object.at(path).filter(|template| !template.is_null());
        // Only a replication controller may have none; without one there is nothing to say of any.
        let Some(template) = template.filter(|_| wrong.is_some() || !is_quiet) else { return Ok(()) };
        let pod = Pod::new(template.get("metadata"), template.get("spec"));
        self.judge(&review, &policy, wrong.as_deref(), pod, false)
    }

    /// What the namespace asks for, and what is wrong with its labels; none if there is no such namespace.
    fn policy(&self, attributes: &Attributes<'_>) -> Option<(Policy, Option<String>)> {
        let snapshot = attributes.ctx.registry.snapshot();
        let entry = snapshot.get(&key("", "namespaces", "", attributes.namespace))?;
        if memmem::find(&entry.value(), LABEL_PREFIX.as_bytes()).is_none() {
            return Some((self.configuration.defaults, None));
        }
        let namespace = read(entry)?;
        let (policy, errors) = self.configuration.defaults.with_labels(labels(&namespace));
        Some((policy, (!errors.is_empty()).then(|| aggregate(errors.iter().map(ToString::to_string)))))
    }

    /// Whether nothing is asked of this namespace or this user.
    fn is_exempt(&self, review: &Review<'_>) -> bool {
        let exemptions = &self.configuration.exemptions;
        let has = |list: &[String], name: &str| !name.is_empty() && list.iter().any(|exempt| exempt == name);
        let why = if has(&exemptions.namespaces, review.attributes.namespace) {
            "namespace"
        } else if has(&exemptions.usernames, &review.attributes.ctx.user.username) {
            "user"
        } else {
            return false;
        };
        review.exempt(why);
        true
    }

    /// Holds a pod against a policy (`EvaluatePod`). What is enforced counts only if `enforces`.
    fn judge(
        &self,
        review: &Review<'_>,
        policy: &Policy,
        wrong: Option<&str>,
        pod: Pod<'_>,
        enforces: bool,
    ) -> Result<(), Status> {
        let class = pod.runtime_class();
        if !class.is_empty() && self.configuration.exemptions.runtime_classes.iter().any(|exempt| exempt == class) {
            review.exempt("runtimeClass");
            return Ok(());
        }
        if let Some(wrong) = wrong {
            review.note("error", || format!("Failed to parse policy: {wrong}"));
            review.counts.failed(false, review.attributes);
        }
        let mut found = Found { pod, of: Vec::with_capacity(Mode::ALL.len()) };
        let mut refusal = None;
        if enforces {
            review.note("enforce-policy", || policy.enforce.to_string());
            let violations = found.against(policy.enforce);
            review.counts.evaluated(violations.is_empty(), policy.enforce, Mode::Enforce, review.attributes);
            if !violations.is_empty() {
                let text = format!("violates PodSecurity \"{}\": {}", policy.enforce, details(violations));
                refusal = Some(refused(review.attributes, &text));
            }
        }
        let would = |wanted: LevelVersion, violations: &[Violation]| {
            format!("would violate PodSecurity \"{wanted}\": {}", details(violations))
        };
        let violations = found.against(policy.audit);
        if !violations.is_empty() {
            review.note("audit-violations", || would(policy.audit, violations));
            review.counts.evaluated(false, policy.audit, Mode::Audit, review.attributes);
        }
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let violations = found.against(policy.warn);
        if !violations.is_empty() {
            review.attributes.ctx.warn(would(policy.warn, violations));
            review.counts.evaluated(false, policy.warn, Mode::Warn, review.attributes);
        }
        Ok(())
    }
}

impl Admission for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: Option<&'a Object>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        let is_write = matches!(attributes.operation, Operation::Create | Operation::Update);
        let Some(object) = object.filter(|_| is_write) else { return ready(Ok(())).boxed() };
        let resource: &Resource = attributes.resource;
        if resource.group.is_empty() && resource.plural == "namespaces" {
            return self.namespace(attributes, object).boxed();
        }
        let known = PODS.iter().find(|(group, plural, _)| resource.group == *group && resource.plural == *plural);
        ready(match known {
            Some((_, _, [])) => self.pod(attributes, object),
            Some((_, _, path)) => self.template(attributes, object, path),
            None => Ok(()),
        })
        .boxed()
    }
}

/// One write, and where it is told of.
struct Review<'a> {
    attributes: &'a Attributes<'a>,
    counts: &'a PodSecurityCounts,
}

impl Review<'_> {
    /// Notes something for the audit log.
    fn note(&self, name: &str, value: impl FnOnce() -> String) {
        self.attributes.ctx.annotate(|| format!("{LABEL_PREFIX}{name}"), value);
    }

    fn exempt(&self, why: &str) {
        self.counts.exempted(self.attributes);
        self.note("exempt", || why.into());
    }
}

/// What was found of a pod, by policy: most modes have the same one.
struct Found<'a> {
    pod: Pod<'a>,
    of: Vec<(LevelVersion, Vec<Violation>)>,
}

impl Found<'_> {
    fn against(&mut self, wanted: LevelVersion) -> &[Violation] {
        let at = self.of.iter().position(|(known, _)| *known == wanted).unwrap_or_else(|| {
            self.of.push((wanted, evaluate(wanted, self.pod)));
            self.of.len() - 1
        });
        &self.of[at].1
    }
}

/// `NewForbidden` by the name alone: what has no name yet is told without one.
fn refused(attributes: &Attributes<'_>, why: &str) -> Status {
    Status::forbidden(&attributes.resource.group, &attributes.resource.plural, attributes.name, why)
}

fn labels(namespace: &Object) -> Option<&Map<String, Value>> {
    namespace.at(&["metadata", "labels"]).and_then(Value::as_object)
}

/// Whether an update changes what is run (`isSignificantPodUpdate`).
fn is_significant(pod: &Object, old: &Object) -> bool {
    fn list<'a>(pod: &'a Object, name: &str) -> &'a [Value] {
        pod.at(&["spec", name]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
    let changes = |name: &str| {
        let (new, old) = (list(pod, name), list(old, name));
        new.len() != old.len() || new.iter().zip(old).any(|(new, old)| new["image"] != old["image"])
    };
    if changes("containers") || changes("initContainers") {
        return true;
    }
    list(pod, "ephemeralContainers").iter().any(|container| {
        let before = list(old, "ephemeralContainers").iter().find(|old| old["name"] == container["name"]);
        before.is_none_or(|before| before["image"] != container["image"])
    })
}
