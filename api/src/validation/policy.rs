//! Disruption budgets.

use super::at::At;
use super::{conditions, rules};
use crate::field::ErrorList;

/// `ValidatePodDisruptionBudget`
pub(crate) fn disruption_budget(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    let bounds = spec.fields(["minAvailable", "maxUnavailable"]);
    if bounds.iter().all(At::is_set) {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        errors.push(rules::invalid_as(&spec, "policy.PodDisruptionBudgetSpec", detail));
    }
    for bound in &bounds {
        rules::int_or_percent(bound, errors);
        rules::at_most_100_percent(bound, errors);
    }
    rules::label_selector(&spec.field("selector"), errors);
    rules::one_of(&spec.field("unhealthyPodEvictionPolicy"), &["AlwaysAllow", "IfHealthyBudget"], errors);
}

/// `ValidatePodDisruptionBudgetStatusUpdate`
pub(crate) fn disruption_budget_status(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let status = new.field("status");
    conditions::all(&status.field("conditions"), errors);
    for count in status.fields(["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"]) {
        rules::nonnegative(&count, errors);
    }
}
