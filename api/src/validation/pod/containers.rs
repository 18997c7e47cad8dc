//! Containers of all sorts: what they have in common, and what only ordinary and init containers have.

use std::collections::BTreeSet;

use super::scope::Scope;
use super::volumes::Volumes;
use super::{claims, environment, mounts, one_of_required, probes, resources, security};
use crate::field::{ErrorList, FieldError};
use crate::names;
use crate::validation::at::At;
use crate::validation::rules;

/// Rules of restarting that a container may have.
const RESTART_RULES_MAX: usize = 20;
/// Exit codes that a rule may name.
const EXIT_CODES_MAX: usize = 255;
const RULES_WITHOUT_POLICY: &str = "must specify restartPolicy when restart rules are used";
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

/// `validateContainers` and `validateInitContainers`
pub(super) fn all(spec: &At<'_>, volumes: &Volumes<'_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    let (ordinary, init) = (spec.field("containers"), spec.field("initContainers"));
    let mut seen = BTreeSet::new();
    if ordinary.is_empty() {
        errors.push(FieldError::required(&ordinary.path, ""));
    }
    for container in ordinary.items() {
        common(&container, volumes, scope, errors);
        unique(&container, &mut seen, errors);
        probes::all(&container, scope, errors);
        restart_rules(&container, errors);
    }
    host_ports(&ordinary, errors);
    seen.remove("");
    for container in init.items() {
        common(&container, volumes, scope, errors);
        let policy = container.field("restartPolicy");
        if policy.is_set() {
            restart_rules(&container, errors);
        } else if !container.field("restartPolicyRules").is_empty() {
            errors.push(FieldError::required(&policy.path, RULES_WITHOUT_POLICY));
        }
        unique(&container, &mut seen, errors);
        seen.remove("");
        // The reference looks at each by itself, as if it were the first.
        let alone = [container.value.clone()].into_iter().collect();
        host_ports(&init.like(init.path.clone(), &alone), errors);
        let is_sidecar = policy.text() == "Always";
        if is_sidecar {
            probes::all(&container, scope, errors);
        } else {
            only_of_sidecars(&container, errors);
        }
    }
}

fn only_of_sidecars(container: &At<'_>, errors: &mut ErrorList) {
    for at in container.fields(["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"]) {
        if at.is_set() {
            let detail = "may not be set for init containers without restartPolicy=Always";
            errors.push(FieldError::forbidden(&at.path, detail));
        }
    }
    for policy in container.field("resizePolicy").items().map(|policy| policy.field("restartPolicy")) {
        if policy.text() == "RestartContainer" {
            let detail = "must not be set to 'RestartContainer' for non-sidecar initContainers";
            errors.push(FieldError::invalid(&policy.path, policy.text(), detail));
        }
    }
}

/// A name that another container has; the names before this one are in `seen`.
pub(super) fn unique<'a>(container: &At<'a>, seen: &mut BTreeSet<&'a str>, errors: &mut ErrorList) {
    let name = container.field("name");
    if !seen.insert(name.text()) {
        errors.push(FieldError::duplicate(&name.path, name.text()));
    }
}

/// `validateContainerCommon`
pub(super) fn common(container: &At<'_>, volumes: &Volumes<'_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    let (name, image) = (container.field("name"), container.field("image"));
    if rules::required(&name, errors) {
        rules::invalid_each(&name, names::dns1123_label(name.text()), errors);
    }
    rules::required(&image, errors);
    one_of_required(&container.field("terminationMessagePolicy"), &["File", "FallbackToLogsOnError"], errors);
    ports(&container.field("ports"), errors);
    environment::variables(&container.field("env"), errors);
    environment::sources(&container.field("envFrom"), errors);
    mounts::all(container, volumes, errors);
    mounts::devices(container, volumes, errors);
    one_of_required(&container.field("imagePullPolicy"), &["Always", "IfNotPresent", "Never"], errors);
    let wanted = container.field("resources");
    resources::requirements(&wanted, errors);
    claims::of_container(&wanted.field("claims"), scope, errors);
    resize_policy(&container.field("resizePolicy"), scope, errors);
    security::container(&container.field("securityContext"), scope, errors);
}

/// `validateContainerOnlyForPod`
pub(super) fn trimmed_image(container: &At<'_>, errors: &mut ErrorList) {
    let image = container.field("image");
    if image.text().trim() != image.text() {
        let detail = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(&image.path, image.text(), detail));
    }
}

fn ports(at: &At<'_>, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for port in at.items() {
        let name = port.field("name");
        if !name.is_empty() {
            let messages = names::port_name(name.text());
            if messages.is_empty() && !seen.insert(name.text()) {
                errors.push(FieldError::duplicate(&name.path, name.text()));
            }
            rules::invalid_each(&name, messages, errors);
        }
        let number = port.field("containerPort");
        if rules::is_zero(&number) {
            errors.push(FieldError::required(&number.path, ""));
        } else {
            rules::port(&number, errors);
        }
        let host = port.field("hostPort");
        if !rules::is_zero(&host) {
            rules::port(&host, errors);
        }
        one_of_required(&port.field("protocol"), PROTOCOLS, errors);
    }
}

/// A port of the host is taken once (`AccumulateUniqueHostPorts`).
fn host_ports(containers: &At<'_>, errors: &mut ErrorList) {
    let mut taken = BTreeSet::new();
    for port in containers.items().flat_map(|container| container.field("ports").items()) {
        let host = port.field("hostPort");
        let Some(number) = host.number().filter(|number| *number != 0) else { continue };
        let key = format!("{}/{}/{number}", port.field("protocol").text(), port.field("hostIP").text());
        if !taken.insert(key.clone()) {
            errors.push(FieldError::duplicate(&host.path, key));
        }
    }
}

/// `validateResizePolicy`; all but duplicates are blamed on the list.
fn resize_policy(at: &At<'_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for policy in at.items() {
        let (resource, restart) = (policy.field("resourceName").text(), policy.field("restartPolicy").text());
        if !seen.insert(resource) {
            errors.push(FieldError::duplicate(&policy.path, resource));
        }
        for (text, supported) in [(resource, ["cpu", "memory"]), (restart, ["NotRequired", "RestartContainer"])] {
            if text.is_empty() {
                errors.push(FieldError::required(&at.path, ""));
            } else if !supported.contains(&text) {
                errors.push(FieldError::not_supported(&at.path, text, &supported));
            }
        }
        if scope.restart_policy == "Never" && restart != "NotRequired" {
            let detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.push(FieldError::invalid(&at.path, restart, detail));
        }
    }
}

/// `validateContainerRestartPolicy`
fn restart_rules(container: &At<'_>, errors: &mut ErrorList) {
    let (policy, list) = (container.field("restartPolicy"), container.field("restartPolicyRules"));
    if policy.is_set() {
        rules::one_of(&policy, &["Always", "Never", "OnFailure"], errors);
    } else if !list.is_empty() {
        errors.push(FieldError::required(&policy.path, RULES_WITHOUT_POLICY));
    }
    if list.len() > RESTART_RULES_MAX {
        errors.push(FieldError::too_many(&list.path, list.len(), RESTART_RULES_MAX));
    }
    for rule in list.items() {
        let (action, codes) = (rule.field("action"), rule.field("exitCodes"));
        let known = ["Restart", "RestartAllContainers"];
        if !known.contains(&action.text()) {
            errors.push(FieldError::not_supported(&action.path, action.text(), &known));
        }
        if codes.is_absent() {
            errors.push(FieldError::required(&codes.path, "must be specified"));
            continue;
        }
        let (operator, values) = (codes.field("operator"), codes.field("values"));
        if !["In", "NotIn"].contains(&operator.text()) {
            errors.push(FieldError::not_supported(&operator.path, operator.text(), &["In", "NotIn"]));
        }
        if values.len() > EXIT_CODES_MAX {
            errors.push(FieldError::too_many(&values.path, values.len(), EXIT_CODES_MAX));
        }
    }
}
