//! What a pod on Windows may say, and one on Linux may not.

use std::sync::LazyLock;

use regex::Regex;

use super::containers_of;
use crate::field::{ErrorList, FieldError};
use crate::names;
use crate::validation::at::At;
use crate::validation::rules;

const CREDENTIAL_KIB_MAX: usize = 64;
const DOMAIN_LENGTH_MAX: usize = 256;
const USER_LENGTH_MAX: usize = 104;
const NOT_WINDOWS: &str = "cannot be set for a windows pod";
/// What only Linux knows of a container's context, in the order of the checks.
const CONTAINER_FIELDS: [&str; 10] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

static NET_BIOS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"^[^\\/:\*\?"<>|\.][^\\/:\*\?"<>|]{0,14}$"#).ok());
static DOMAIN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let label = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?";
    Regex::new(&format!(r"^{label}(?:\.{label})*$")).ok()
});

/// `validateLinux`
pub(super) fn forbid_options(spec: &At<'_>, errors: &mut ErrorList) {
    for holder in std::iter::once(spec.clone()).chain(containers_of(spec)) {
        let options = holder.at(&["securityContext", "windowsOptions"]);
        if options.is_set() {
            errors.push(FieldError::forbidden(&options.path, "windows options cannot be set for a linux pod"));
        }
    }
}

/// `validateWindows`
pub(super) fn forbid_linux(spec: &At<'_>, errors: &mut ErrorList) {
    let context = spec.field("securityContext");
    let forbidden = |at: At<'_>| FieldError::forbidden(&at.path, NOT_WINDOWS);
    errors.extend(context.fields(["appArmorProfile", "seLinuxOptions"]).into_iter().filter(At::is_set).map(forbidden));
    errors.extend([spec.field("hostUsers")].into_iter().filter(At::is_set).map(forbidden));
    errors.extend(spec.fields(["hostPID", "hostIPC"]).into_iter().filter(At::is_true).map(forbidden));
    let profile_and_group = context.fields(["seccompProfile", "fsGroup", "fsGroupChangePolicy"]);
    errors.extend(profile_and_group.into_iter().filter(At::is_set).map(forbidden));
    errors.extend([context.field("sysctls")].into_iter().filter(|at| !at.is_empty()).map(forbidden));
    errors.extend([spec.field("shareProcessNamespace")].into_iter().filter(At::is_set).map(forbidden));
    const USERS: [&str; 5] =
        ["runAsUser", "runAsGroup", "supplementalGroups", "supplementalGroupsPolicy", "seLinuxChangePolicy"];
    errors.extend(context.fields(USERS).into_iter().filter(At::is_set).map(forbidden));
    for container in containers_of(spec) {
        let context = container.field("securityContext");
        for at in context.fields(CONTAINER_FIELDS).iter().filter(|at| at.is_set()) {
            errors.push(FieldError::forbidden(&at.path, NOT_WINDOWS));
        }
    }
}

/// `validateWindowsHostProcessPod`
pub(super) fn host_process(spec: &At<'_>, errors: &mut ErrorList) {
    const FIELD: [&str; 3] = ["securityContext", "windowsOptions", "hostProcess"];
    let pod = spec.at(&FIELD).value.as_bool();
    let (mut all, mut of_host) = (0, 0);
    for container in containers_of(spec) {
        all += 1;
        let at = container.at(&FIELD);
        let own = at.value.as_bool();
        if let Some((pod, own)) = pod.zip(own).filter(|(pod, own)| pod != own) {
            let detail = format!("pod hostProcess value must be identical if both are specified, was {pod}");
            errors.push(FieldError::invalid(&at.path, own, detail));
        }
        of_host += usize::from(own.or(pod) == Some(true));
    }
    if of_host == 0 {
        return;
    }
    if of_host != all {
        let detail = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.push(FieldError::invalid(&spec.path, "", detail));
    }
    if !spec.field("hostNetwork").is_true() {
        let detail = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.push(FieldError::invalid(&spec.path.child("hostNetwork"), false, detail));
    }
}

/// `validateWindowsSecurityContextOptions`
pub(super) fn options(at: &At<'_>, errors: &mut ErrorList) {
    let (name, spec, user) =
        (at.field("gmsaCredentialSpecName"), at.field("gmsaCredentialSpec"), at.field("runAsUserName"));
    if name.is_set() {
        rules::invalid_each(&name, names::dns1123_subdomain(name.text()), errors);
    }
    if spec.is_set() && spec.is_empty() {
        errors.push(FieldError::invalid(&spec.path, "", "gmsaCredentialSpec cannot be an empty string"));
    } else if spec.text().len() > CREDENTIAL_KIB_MAX * 1024 {
        let detail = format!("gmsaCredentialSpec size must be under {CREDENTIAL_KIB_MAX} KiB");
        errors.push(FieldError::invalid(&spec.path, spec.text(), detail));
    }
    if user.is_set() {
        for detail in user_name(user.text()) {
            errors.push(FieldError::invalid(&user.path, user.text(), format!("runAsUserName{detail}")));
        }
    }
}

/// What is wrong with the name of a user, which may name a domain.
fn user_name(name: &str) -> Vec<String> {
    if name.is_empty() {
        return vec![" cannot be an empty string".into()];
    }
    if name.chars().any(|c| c.is_ascii_control()) {
        return vec![" cannot contain control characters".into()];
    }
    let (domain, user) = match name.split_once('\\') {
        Some((_, user)) if user.contains('\\') => return vec![" cannot contain more than one backslash".into()],
        Some((domain, user)) => (Some(domain), user),
        None => (None, name),
    };
    let mut wrong = Vec::new();
    if domain.is_some_and(|domain| domain.len() >= DOMAIN_LENGTH_MAX) {
        wrong.push(format!("'s Domain length must be under {DOMAIN_LENGTH_MAX} characters"));
    }
    let fits = |regex: &LazyLock<Option<Regex>>, text: &str| regex.as_ref().is_some_and(|regex| regex.is_match(text));
    if domain.is_some_and(|domain| !fits(&NET_BIOS, domain) && !fits(&DOMAIN, domain)) {
        wrong.push("'s Domain doesn't match the NetBios nor the DNS format".into());
    }
    if user.is_empty() {
        wrong.push("'s User cannot be empty".into());
    } else if user.len() > USER_LENGTH_MAX {
        wrong.push(format!("'s User length must not be longer than {USER_LENGTH_MAX} characters"));
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        wrong.push("'s User cannot contain only periods or spaces".into());
    }
    if user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) {
        wrong.push("'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]".into());
    }
    wrong
}
