//! Deployments and replica sets.

use super::{replica_template, selector};
use crate::field::{ErrorList, FieldError};
use crate::selector::LabelSelector;
use crate::validation::at::At;
use crate::validation::rules;

/// `ValidateDeployment` and `ValidateDeploymentUpdate`
pub(crate) fn deployment(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    rules::nonnegative(&spec.field("replicas"), errors);
    selected_template(&spec, errors);
    strategy(&spec.field("strategy"), errors);
    rules::nonnegative(&spec.field("minReadySeconds"), errors);
    rules::nonnegative(&spec.field("revisionHistoryLimit"), errors);
    let deadline = spec.field("progressDeadlineSeconds");
    rules::nonnegative(&deadline, errors);
    let least = spec.field("minReadySeconds").number().unwrap_or(0);
    if deadline.number().is_some_and(|number| number <= least) {
        let detail = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid(&deadline.path, deadline.value.clone(), detail));
    }
    if let Some(old) = old {
        rules::immutable_selector(&spec.field("selector"), &old.at(&["spec", "selector"]), errors);
    }
}

/// `ValidateReplicaSet` and `ValidateReplicaSetUpdate`
pub(crate) fn replica_set(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    rules::nonnegative(&spec.field("replicas"), errors);
    rules::nonnegative(&spec.field("minReadySeconds"), errors);
    selected_template(&spec, errors);
    if let Some(old) = old {
        rules::immutable_selector(&spec.field("selector"), &old.at(&["spec", "selector"]), errors);
    }
}

/// Both kinds say "deployment" of an empty selector.
fn selected_template(spec: &At<'_>, errors: &mut ErrorList) {
    let wanted = spec.field("selector");
    selector(&wanted, "deployment", errors);
    if LabelSelector::from_object(Some(wanted.value)).is_err() {
        errors.push(rules::invalid_selector(&wanted, "invalid label selector"));
    } else {
        replica_template(&wanted, &spec.field("template"), errors);
    }
}

/// `ValidateDeploymentStrategy`
fn strategy(strategy: &At<'_>, errors: &mut ErrorList) {
    let rolling = strategy.field("rollingUpdate");
    match strategy.field("type").text() {
        "Recreate" if rolling.is_set() => {
            let detail = "may not be specified when strategy `type` is 'Recreate'";
            errors.push(FieldError::forbidden(&rolling.path, detail));
        }
        "Recreate" => {}
        "RollingUpdate" if rolling.is_absent() => {
            errors.push(FieldError::required(&rolling.path, "this should be defaulted and never be nil"));
        }
        "RollingUpdate" => rolling_update(&rolling, errors),
        _ => {
            let supported = ["Recreate", "RollingUpdate"];
            errors.push(rules::not_supported_as(strategy, "apps.DeploymentStrategy", &supported));
        }
    }
}

/// `ValidateRollingUpdateDeployment`
fn rolling_update(rolling: &At<'_>, errors: &mut ErrorList) {
    let (unavailable, surge) = (rolling.field("maxUnavailable"), rolling.field("maxSurge"));
    rules::int_or_percent(&unavailable, errors);
    rules::int_or_percent(&surge, errors);
    if rules::is_zero(&unavailable) && rules::is_zero(&surge) {
        let detail = "may not be 0 when `maxSurge` is 0";
        errors.push(FieldError::invalid(&unavailable.path, unavailable.value.clone(), detail));
    }
    rules::at_most_100_percent(&unavailable, errors);
}
