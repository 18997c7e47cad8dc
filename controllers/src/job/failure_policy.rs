//! What a job's failure policy says of a failed pod.

use k8s_openapi::api::batch::v1::{JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

/// The first rule that a pod matches, and why.
pub(super) struct Match<'a> {
    rule: &'a PodFailurePolicyRule,
    said: String,
}

impl Match<'_> {
    /// Whether the rule asks for this action.
    pub(super) fn asks(&self, action: &str) -> bool {
        self.action() == action
    }

    /// The action that the rule asks for.
    pub(super) fn action(&self) -> &str {
        &self.rule.action
    }

    /// What matched, as the condition of a job that fails for it tells.
    pub(super) fn said(self) -> String {
        self.said
    }
}

/// The first rule of the policy that a failed pod matches.
pub(super) fn first_match<'a>(spec: &'a JobSpec, pod: &Pod) -> Option<Match<'a>> {
    let rules = &spec.pod_failure_policy.as_ref()?.rules;
    let pod_name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    rules.iter().enumerate().find_map(|(at, rule)| {
        let end = format!("matching {} rule at index {at}", rule.action);
        let said = match &rule.on_exit_codes {
            Some(wanted) => {
                let (container, code) = exit_code(wanted, pod)?;
                format!("Container {container} for pod {pod_name} failed with exit code {code} {end}")
            }
            None => format!("Pod {pod_name} has condition {} {end}", condition(rule, pod)?),
        };
        Some(Match { rule, said })
    })
}

/// Whether the failure of a pod counts against the limits.
pub(super) fn counts(spec: &JobSpec, pod: &Pod) -> bool {
    first_match(spec, pod).is_none_or(|found| !found.asks("Ignore"))
}

fn exit_code<'a>(wanted: &PodFailurePolicyOnExitCodesRequirement, pod: &'a Pod) -> Option<(&'a str, i32)> {
    let status = pod.status.as_ref()?;
    let main = status.container_statuses.iter().flatten();
    let init = status.init_container_statuses.iter().flatten();
    main.chain(init).filter(|c| wanted.container_name.as_ref().is_none_or(|name| *name == c.name)).find_map(|c| {
        let code = code_of(c).filter(|code| *code != 0)?;
        (wanted.values.contains(&code) == (wanted.operator == "In")).then_some((c.name.as_str(), code))
    })
}

fn code_of(container: &ContainerStatus) -> Option<i32> {
    Some(container.state.as_ref()?.terminated.as_ref()?.exit_code)
}

fn condition<'a>(rule: &PodFailurePolicyRule, pod: &'a Pod) -> Option<&'a str> {
    let conditions = pod.status.as_ref()?.conditions.iter().flatten();
    let wanted = |type_: &str, status: &str| {
        let patterns = rule.on_pod_conditions.iter().flatten();
        patterns.into_iter().any(|p| p.type_ == type_ && p.status.as_deref().unwrap_or("True") == status)
    };
    conditions.into_iter().find(|c| wanted(&c.type_, &c.status)).map(|c| c.type_.as_str())
}
