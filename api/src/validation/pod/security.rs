//! Security contexts of pods and containers.

use serde_json::json;

use crate::field::{ErrorList, FieldError};
use crate::validation::at::At;
use crate::validation::rules;

const ID_RANGE: &str = "must be between 0 and 2147483647, inclusive";

/// `ValidatePodSecurityContext`
pub fn pod(spec: &At<'_>, errors: &mut ErrorList) {
    let context = spec.get("securityContext");
    for name in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(&context.get(name), errors);
    }
    for group in context.get("supplementalGroups").items() {
        id(&group, errors);
    }
    if spec.get("shareProcessNamespace").is_true() && spec.get("hostPID").is_true() {
        let path = context.path.child("shareProcessNamespace");
        errors.push(FieldError::invalid(&path, true, "ShareProcessNamespace and HostPID cannot both be enabled"));
    }
    sysctls(&context.get("sysctls"), errors);
    rules::one_of(&context.get("fsGroupChangePolicy"), &["Always", "OnRootMismatch"], errors);
    seccomp(&context.get("seccompProfile"), errors);
    host_ports(spec, errors);
}

fn id(at: &At<'_>, errors: &mut ErrorList) {
    if at.number().is_some_and(|number| !(0..=i64::from(i32::MAX)).contains(&number)) {
        errors.push(FieldError::invalid(&at.path, at.value.clone(), ID_RANGE));
    }
}

fn sysctls(at: &At<'_>, errors: &mut ErrorList) {
    let mut seen = std::collections::BTreeSet::new();
    for sysctl in at.items() {
        let name = sysctl.get("name");
        if name.is_empty() {
            errors.push(FieldError::required(&name.path, ""));
        } else if !is_sysctl(name.text()) {
            let detail = "must have at most 253 characters and match regex \
                          ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.push(FieldError::invalid(&name.path, name.text(), detail));
        } else if !seen.insert(name.text().replace('/', ".")) {
            errors.push(FieldError::duplicate(&name.path, name.text()));
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let word = |word: &str| {
        let inner = word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
        ends(word.bytes().next()) && ends(word.bytes().last()) && inner
    };
    name.len() <= 253 && name.split(['.', '/']).all(word)
}

fn seccomp(at: &At<'_>, errors: &mut ErrorList) {
    if at.is_absent() {
        return;
    }
    let (type_, file) = (at.get("type"), at.get("localhostProfile"));
    match type_.text() {
        "Localhost" if file.is_absent() => {
            errors.push(FieldError::required(&file.path, "must be set when seccomp type is Localhost"));
        }
        "Localhost" => {}
        _ if file.is_set() => {
            let detail = "can only be set when seccomp type is Localhost";
            errors.push(FieldError::invalid(&file.path, file.text(), detail));
        }
        "" => errors.push(FieldError::required(&type_.path, "type is required when seccompProfile is set")),
        _ => {}
    }
    if !type_.is_empty() {
        rules::one_of(&type_, &["Localhost", "RuntimeDefault", "Unconfined"], errors);
    }
}

/// A pod on the host's network has its container ports on the host.
fn host_ports(spec: &At<'_>, errors: &mut ErrorList) {
    if !spec.get("hostNetwork").is_true() {
        return;
    }
    for container in spec.get("containers").items() {
        for port in container.get("ports").items() {
            let (host, inner) = (port.get("hostPort"), port.get("containerPort"));
            if host.number() != inner.number() {
                let detail = "must match `hostPort` when `hostNetwork` is true";
                errors.push(FieldError::invalid(&inner.path, inner.value.clone(), detail));
            }
        }
    }
}

/// `ValidateSecurityContext`
pub fn container(context: &At<'_>, errors: &mut ErrorList) {
    if context.is_absent() {
        return;
    }
    for name in ["runAsUser", "runAsGroup"] {
        id(&context.get(name), errors);
    }
    rules::one_of(&context.get("procMount"), &["Default", "Unmasked"], errors);
    seccomp(&context.get("seccompProfile"), errors);
    if context.get("allowPrivilegeEscalation").value == &json!(false) {
        if context.get("privileged").is_true() {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.push(FieldError::invalid_text(&context.path, internal_form(context), detail));
        }
        if context.at(&["capabilities", "add"]).items().any(|capability| capability.text() == "CAP_SYS_ADMIN") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.push(FieldError::invalid_text(&context.path, internal_form(context), detail));
        }
    }
}

/// The reference shows the whole context with the names and in the order of its internal type's fields; so does this.
fn internal_form(context: &At<'_>) -> String {
    const NAMES: [&str; 12] = [
        "capabilities",
        "privileged",
        "seLinuxOptions",
        "windowsOptions",
        "runAsUser",
        "runAsGroup",
        "runAsNonRoot",
        "readOnlyRootFilesystem",
        "allowPrivilegeEscalation",
        "procMount",
        "seccompProfile",
        "appArmorProfile",
    ];
    let upper = |name: &str| match name {
        "seLinuxOptions" => "SELinuxOptions".to_string(),
        _ => name[..1].to_uppercase() + &name[1..],
    };
    let fields: Vec<String> =
        NAMES.iter().map(|name| format!("{:?}:{}", upper(name), context.get(name).value)).collect();
    format!("{{{}}}", fields.join(","))
}
