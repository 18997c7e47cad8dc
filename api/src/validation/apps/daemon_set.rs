//! Daemon sets.

use super::{empty_selector, only_always, selects};
use crate::field::{ErrorList, FieldError};
use crate::validation::at::At;
use crate::validation::{pod, rules};

/// `ValidateDaemonSet` and `ValidateDaemonSetUpdate`
pub(crate) fn daemon_set(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    let wanted = spec.field("selector");
    if let Some(old) = old {
        rules::immutable_selector(&wanted, &old.at(&["spec", "selector"]), errors);
    }
    let template = spec.field("template");
    rules::label_selector(&wanted, errors);
    if selects(&wanted, &template) == Some(false) {
        let labels = template.at(&["metadata", "labels"]);
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(&labels.path, labels.value.clone(), detail));
    }
    empty_selector(&wanted, "daemonset", errors);
    pod::template(&template, errors);
    only_always(&template, "DaemonSet", errors);
    rules::nonnegative(&spec.field("minReadySeconds"), errors);
    strategy(&spec.field("updateStrategy"), errors);
    rules::nonnegative(&spec.field("revisionHistoryLimit"), errors);
}

/// `ValidateDaemonSetUpdateStrategy`
fn strategy(strategy: &At<'_>, errors: &mut ErrorList) {
    let rolling = strategy.field("rollingUpdate");
    match strategy.field("type").text() {
        "OnDelete" => {}
        "RollingUpdate" if rolling.is_absent() => errors.push(FieldError::required(&rolling.path, "")),
        "RollingUpdate" => rolling_update(&rolling, errors),
        _ => {
            let supported = ["RollingUpdate", "OnDelete"];
            errors.push(rules::not_supported_as(strategy, "apps.DaemonSetUpdateStrategy", &supported));
        }
    }
}

/// `ValidateRollingUpdateDaemonSet`
fn rolling_update(rolling: &At<'_>, errors: &mut ErrorList) {
    let (unavailable, surge) = (rolling.field("maxUnavailable"), rolling.field("maxSurge"));
    rules::int_or_percent(&unavailable, errors);
    rules::int_or_percent(&surge, errors);
    rules::at_most_100_percent(&unavailable, errors);
    rules::at_most_100_percent(&surge, errors);
    match (rules::is_zero(&unavailable), rules::is_zero(&surge)) {
        (true, true) => errors.push(FieldError::required(&unavailable.path, "cannot be 0 when maxSurge is 0")),
        (false, false) => {
            let detail = "may not be set when maxUnavailable is non-zero";
            errors.push(FieldError::invalid(&surge.path, surge.value.clone(), detail));
        }
        _ => {}
    }
}
