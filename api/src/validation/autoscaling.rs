//! Horizontal pod autoscalers.

use super::at::At;
use super::rules;
use crate::field::{ErrorList, FieldError};
use crate::names;

mod metrics;

const PERIOD_SECONDS_MAX: i64 = 1800;
const WINDOW_SECONDS_MAX: i64 = 3600;

/// `ValidateHorizontalPodAutoscaler` and `ValidateHorizontalPodAutoscalerUpdate`, in version 2's fields.
pub(crate) fn autoscaler(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    let (min, max) = (spec.field("minReplicas"), spec.field("maxReplicas"));
    // An object from the time of a server that scaled to nothing stays what it is.
    let least = if old.is_some_and(|old| old.at(&["spec", "minReplicas"]).number() == Some(0)) { 0 } else { 1 };
    if min.number().is_some_and(|number| number < least) {
        let detail = format!("must be greater than or equal to {least}");
        errors.push(FieldError::invalid(&min.path, min.value.clone(), detail));
    }
    let most = max.number().unwrap_or(0);
    if most == 0 {
        errors.push(FieldError::required(&max.path, "must be set and greater than 0"));
    } else if most < 0 {
        errors.push(FieldError::invalid(&max.path, most, "must be greater than or equal to 1"));
    }
    if min.number().is_some_and(|least| most < least) {
        errors.push(FieldError::invalid(&max.path, most, "must be greater than or equal to `minReplicas`"));
    }
    let target = spec.field("scaleTargetRef");
    let before = old.map(|old| old.at(&["spec", "scaleTargetRef"]));
    let fixed = target.known(["apiVersion", "kind"]);
    let is_same = |before: &At<'_>| fixed.iter().all(|name| before.get(*name).text() == target.get(*name).text());
    let version = if before.as_ref().is_some_and(is_same) {
        VersionRule::Any
    } else if target.field("kind").text() == "ReplicationController" {
        VersionRule::Parsable
    } else {
        VersionRule::WithGroup
    };
    reference(&target, version, errors);
    metrics::all(&spec, old, errors);
    let behavior = spec.field("behavior");
    for direction in behavior.fields(["scaleUp", "scaleDown"]) {
        scaling(&direction, errors);
    }
}

/// `ValidateHorizontalPodAutoscalerStatusUpdate`
pub(crate) fn autoscaler_status(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    for count in new.field("status").fields(["currentReplicas", "desiredReplicas"]) {
        rules::nonnegative(&count, errors);
    }
}

/// What the version in a reference must be like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum VersionRule {
    Any,
    Parsable,
    WithGroup,
}

/// What is wrong with a version (`ValidateAPIVersion`).
fn version_problem(version: &str, rule: VersionRule) -> Option<String> {
    match (rule, version.matches('/').count()) {
        (VersionRule::Any, _) => None,
        (_, 2..) => Some(format!("unexpected GroupVersion string: {version}")),
        (VersionRule::WithGroup, _) if version.split_once('/').is_none_or(|(group, _)| group.is_empty()) => {
            Some("apiVersion must specify API group".into())
        }
        _ => None,
    }
}

/// `ValidateCrossVersionObjectReference`
fn reference(at: &At<'_>, version_rule: VersionRule, errors: &mut ErrorList) {
    for field in at.fields(["kind", "name"]) {
        if rules::required(&field, errors) {
            rules::invalid_each(&field, names::path_segment(field.text()), errors);
        }
    }
    let version = at.field("apiVersion");
    if let Some(problem) = version_problem(version.text(), version_rule) {
        errors.push(FieldError::invalid(&version.path, version.text(), problem));
    }
}

/// `validateScalingRules`
fn scaling(at: &At<'_>, errors: &mut ErrorList) {
    if at.is_absent() {
        return;
    }
    let window = at.field("stabilizationWindowSeconds");
    if window.number().is_some_and(|number| number < 0) {
        let detail = "must be greater than or equal to zero";
        errors.push(FieldError::invalid(&window.path, window.value.clone(), detail));
    }
    if window.number().is_some_and(|number| number > WINDOW_SECONDS_MAX) {
        let detail = format!("must be less than or equal to {WINDOW_SECONDS_MAX}");
        errors.push(FieldError::invalid(&window.path, window.value.clone(), detail));
    }
    rules::one_of(&at.field("selectPolicy"), &["Disabled", "Max", "Min"], errors);
    let policies = at.field("policies");
    if policies.is_empty() {
        errors.push(FieldError::required(&policies.path, "must specify at least one Policy"));
    }
    for policy in policies.items() {
        let type_ = policy.field("type");
        if !matches!(type_.text(), "Percent" | "Pods") {
            errors.push(FieldError::not_supported(&type_.path, type_.text(), &["Percent", "Pods"]));
        }
        let (value, period) = (policy.field("value"), policy.field("periodSeconds"));
        for number in [&value, &period] {
            let found = number.number().unwrap_or(0);
            if found <= 0 {
                errors.push(FieldError::invalid(&number.path, found, "must be greater than zero"));
            }
        }
        if period.number().is_some_and(|number| number > PERIOD_SECONDS_MAX) {
            let detail = format!("must be less than or equal to {PERIOD_SECONDS_MAX}");
            errors.push(FieldError::invalid(&period.path, period.value.clone(), detail));
        }
    }
    rules::nonnegative_quantity(&at.field("tolerance"), errors);
}
