//! Pods that want AppArmor run only where the kernel has it.

use std::path::Path;

use k8s_openapi::api::core::v1::Pod;

use crate::{pod, status::Verdict};

/// Whether the kernel enforces AppArmor profiles.
pub(super) fn is_enabled() -> bool {
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    Path::new("/sys/kernel/security/apparmor").exists() && enabled.is_ok_and(|text| text.starts_with('Y'))
}

/// Why a pod is not taken (`appArmorAdmitHandler` in pkg/kubelet/lifecycle).
pub(super) fn refusal(of: &Pod, is_enabled: impl Fn() -> bool) -> Option<Verdict> {
    let refuse =
        |why: &str| Some(Verdict { reason: "AppArmor".to_owned(), message: format!("Cannot enforce AppArmor: {why}") });
    let of_pod = of.spec.as_ref().and_then(|spec| spec.security_context.as_ref()?.app_armor_profile.as_ref());
    let containers = pod::containers(of);
    let own = containers.iter().filter_map(|(_, c)| c.security_context.as_ref()?.app_armor_profile.as_ref());
    let wanted: Vec<_> = own.chain(of_pod).filter(|profile| profile.type_ != "Unconfined").collect();
    if !wanted.is_empty() && !is_enabled() {
        return refuse("AppArmor is not enabled on the host");
    }
    let nameless = |name: &Option<String>| name.as_deref().is_none_or(|name| name.trim().is_empty());
    if wanted.iter().any(|profile| profile.type_ == "Localhost" && nameless(&profile.localhost_profile)) {
        return refuse("invalid empty AppArmor profile name");
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(enabled: bool, of_pod: Value, own: Value, expected: &str) {
        let spec = json!({"securityContext": {"appArmorProfile": of_pod},
            "containers": [{"name": "c", "securityContext": {"appArmorProfile": own}}]});
        let pod: Pod = serde_json::from_value(json!({"spec": spec})).expect("a pod");
        let verdict = refusal(&pod, || enabled);
        assert_eq!(verdict.map(|v| v.message).unwrap_or_default(), expected, "{spec}");
    }

    #[test]
    fn a_profile_needs_a_kernel_that_enforces_it() {
        let off = "Cannot enforce AppArmor: AppArmor is not enabled on the host";
        check(false, Value::Null, Value::Null, "");
        check(false, json!({"type": "Unconfined"}), Value::Null, "");
        check(false, json!({"type": "RuntimeDefault"}), Value::Null, off);
        check(false, Value::Null, json!({"type": "Localhost", "localhostProfile": "x"}), off);
        check(true, json!({"type": "RuntimeDefault"}), json!({"type": "Localhost", "localhostProfile": "x"}), "");
        let empty = "Cannot enforce AppArmor: invalid empty AppArmor profile name";
        check(true, Value::Null, json!({"type": "Localhost", "localhostProfile": " "}), empty);
    }
}
