//! Security contexts of pods and containers.

use std::collections::BTreeSet;

use serde_json::json;

use super::scope::Scope;
use super::windows;
use crate::field::{ErrorList, FieldError};
use crate::go::internal;
use crate::validation::at::At;
use crate::validation::rules;

const ID_RANGE: &str = "must be between 0 and 2147483647, inclusive";
/// Longest path of a profile (`PATH_MAX` less its end).
const PROFILE_LENGTH_MAX: usize = 4095;

/// `validatePodSpecSecurityContext`
pub(super) fn pod(spec: &At<'_>, errors: &mut ErrorList) {
    let context = spec.field("securityContext");
    for at in context.fields(["fsGroup", "runAsUser", "runAsGroup"]) {
        id(&at, errors);
    }
    for group in context.field("supplementalGroups").items() {
        id(&group, errors);
    }
    if spec.field("shareProcessNamespace").is_true() && spec.field("hostPID").is_true() {
        let path = context.path.child("shareProcessNamespace");
        errors.push(FieldError::invalid(&path, true, "ShareProcessNamespace and HostPID cannot both be enabled"));
    }
    sysctls(spec, &context.field("sysctls"), errors);
    rules::one_of(&context.field("fsGroupChangePolicy"), &["Always", "OnRootMismatch"], errors);
    seccomp(&context.field("seccompProfile"), errors);
    windows::options(&context.field("windowsOptions"), errors);
    app_armor(&context.field("appArmorProfile"), errors);
    rules::one_of(&context.field("supplementalGroupsPolicy"), &["Merge", "Strict"], errors);
    rules::one_of(&context.field("seLinuxChangePolicy"), &["Recursive"], errors);
}

/// The number of a user or a group.
pub(super) fn id(at: &At<'_>, errors: &mut ErrorList) {
    if at.number().is_some_and(|number| !(0..=i64::from(i32::MAX)).contains(&number)) {
        errors.push(FieldError::invalid(&at.path, at.value.clone(), ID_RANGE));
    }
}

/// `validateSysctls`
fn sysctls(spec: &At<'_>, at: &At<'_>, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    let [network, ipc] = spec.known(["hostNetwork", "hostIPC"]);
    for sysctl in at.items() {
        let name = sysctl.field("name");
        let is_new = seen.insert(name.text());
        if name.is_empty() {
            errors.push(FieldError::required(&name.path, ""));
        } else if !is_sysctl(name.text()) {
            let detail = "must have at most 253 characters and match regex \
                          ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.push(FieldError::invalid(&name.path, name.text(), detail));
        } else if !is_new {
            errors.push(FieldError::duplicate(&name.path, name.text()));
        }
        let host = match shared_with(name.text()) {
            Some(Shared::Network) => network,
            Some(Shared::Ipc) => ipc,
            None => continue,
        };
        if spec.get(host).is_true() {
            let detail = format!("may not be specified when '{host}' is true");
            errors.push(FieldError::invalid(&name.path, name.text(), detail));
        }
    }
}

/// A namespace that a pod may share with the host.
enum Shared {
    Network,
    Ipc,
}

/// The namespace that a parameter is of (`GetNamespace` of component-helpers' `sysctl`).
fn shared_with(name: &str) -> Option<Shared> {
    let name = normalized(name);
    if name.starts_with("net.") {
        Some(Shared::Network)
    } else if name == "kernel.sem" || ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|p| name.starts_with(p)) {
        Some(Shared::Ipc)
    } else {
        None
    }
}

/// With dots between its parts: where a slash comes first, slashes and dots change places (`NormalizeName`).
fn normalized(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'/' => {
            let swap = |c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            };
            name.chars().map(swap).collect()
        }
        _ => name.to_string(),
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

/// The type of a profile, and whether it says that a file is meant.
fn profile_type(at: &At<'_>, missing: &str, errors: &mut ErrorList) {
    let type_ = at.field("type");
    if type_.is_empty() {
        errors.push(FieldError::required(&type_.path, missing));
    } else {
        rules::one_of(&type_, &["Localhost", "RuntimeDefault", "Unconfined"], errors);
    }
}

/// `validateSeccompProfileField`
fn seccomp(at: &At<'_>, errors: &mut ErrorList) {
    if at.is_absent() {
        return;
    }
    profile_type(at, "type is required when seccompProfile is set", errors);
    let file = at.field("localhostProfile");
    match at.field("type").text() {
        "Localhost" if file.is_absent() => {
            errors.push(FieldError::required(&file.path, "must be set when seccomp type is Localhost"));
        }
        "Localhost" => rules::descending_path(&file, errors),
        _ if file.is_set() => {
            let shown = internal::shown("core.SeccompProfile", at.value);
            let detail = "can only be set when seccomp type is Localhost";
            errors.push(FieldError::invalid_text(&file.path, shown, detail));
        }
        _ => {}
    }
}

/// `ValidateAppArmorProfileField`
pub(super) fn app_armor(at: &At<'_>, errors: &mut ErrorList) {
    if at.is_absent() {
        return;
    }
    let file = at.field("localhostProfile");
    match at.field("type").text() {
        "Localhost" => {
            let needed = "must be set when AppArmor type is Localhost";
            if file.text().trim() != file.text() {
                errors.push(FieldError::invalid(&file.path, file.text(), "must not be padded with whitespace"));
            } else if file.is_empty() {
                errors.push(FieldError::required(&file.path, needed));
            }
            if file.text().len() > PROFILE_LENGTH_MAX {
                errors.push(FieldError::too_long(&file.path, PROFILE_LENGTH_MAX));
            }
        }
        "RuntimeDefault" | "Unconfined" if file.is_set() => {
            let detail = "can only be set when AppArmor type is Localhost";
            errors.push(FieldError::invalid(&file.path, file.text(), detail));
        }
        _ => profile_type(at, "type is required when appArmorProfile is set", errors),
    }
}

/// `ValidateSecurityContext`
pub(super) fn container(context: &At<'_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    if context.is_absent() {
        return;
    }
    for at in context.fields(["runAsUser", "runAsGroup"]) {
        id(&at, errors);
    }
    let mount = context.field("procMount");
    rules::one_of(&mount, &["Default", "Unmasked"], errors);
    if scope.host_users && mount.text() == "Unmasked" {
        errors.push(FieldError::invalid(&mount.path, mount.text(), "`hostUsers` must be false to use `Unmasked`"));
    }
    seccomp(&context.field("seccompProfile"), errors);
    if context.field("allowPrivilegeEscalation").value == &json!(false) {
        let mut refuse = |what: &str| {
            let detail = format!("cannot set `allowPrivilegeEscalation` to false and {what}");
            let shown = internal::shown("core.SecurityContext", context.value);
            errors.push(FieldError::invalid_text(&context.path, shown, detail));
        };
        if context.field("privileged").is_true() {
            refuse("`privileged` to true");
        }
        for _ in context.at(&["capabilities", "add"]).items().filter(|added| added.text() == "CAP_SYS_ADMIN") {
            refuse("`capabilities.Add` CAP_SYS_ADMIN");
        }
    }
    windows::options(&context.field("windowsOptions"), errors);
    app_armor(&context.field("appArmorProfile"), errors);
}
