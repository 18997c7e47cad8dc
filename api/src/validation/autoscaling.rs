//! Horizontal pod autoscalers.

use super::at::At;
use super::rules::{self, NOT_POSITIVE};
use crate::field::{ErrorList, FieldError};
use crate::names;

/// `ValidateHorizontalPodAutoscaler`, in version 2's fields.
pub fn autoscaler(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.get("spec");
    let (min, max) = (spec.get("minReplicas"), spec.get("maxReplicas"));
    if min.number().is_some_and(|number| number < 1) {
        errors.push(FieldError::invalid(&min.path, min.value.clone(), "must be greater than or equal to 1"));
    }
    let most = max.number().unwrap_or(0);
    if most < 1 {
        errors.push(FieldError::invalid(&max.path, most, NOT_POSITIVE));
    }
    if min.number().is_some_and(|least| most < least) {
        errors.push(FieldError::invalid(&max.path, most, "must be greater than or equal to `minReplicas`"));
    }
    target(&spec.get("scaleTargetRef"), errors);
    for metric in spec.get("metrics").items() {
        self::metric(&metric, errors);
    }
    behavior(&spec.get("behavior"), errors);
}

fn target(at: &At<'_>, errors: &mut ErrorList) {
    for name in ["kind", "name"] {
        let field = at.get(name);
        if rules::required(&field, errors) {
            rules::invalid_each(&field, names::path_segment(field.text()), errors);
        }
    }
    let version = at.get("apiVersion");
    if !version.text().contains('/') && version.text() != "v1" {
        errors.push(FieldError::invalid(&version.path, version.text(), "apiVersion must specify API group"));
    }
}

fn metric(at: &At<'_>, errors: &mut ErrorList) {
    const SOURCES: [(&str, &str); 5] = [
        ("ContainerResource", "containerResource"),
        ("External", "external"),
        ("Object", "object"),
        ("Pods", "pods"),
        ("Resource", "resource"),
    ];
    let type_ = at.get("type");
    rules::required_one_of(&type_, &SOURCES.map(|(name, _)| name), "must specify a metric source type", errors);
    let Some((_, field)) = SOURCES.iter().find(|(name, _)| *name == type_.text()) else { return };
    let source = at.get(field);
    if source.is_absent() {
        let detail = "must populate information for the given metric source";
        errors.push(FieldError::required(&source.path, detail));
        return;
    }
    let target = source.get("target");
    rules::required_one_of(
        &target.get("type"),
        &["AverageValue", "Utilization", "Value"],
        "must specify a metric target type",
        errors,
    );
    if target.get("averageUtilization").number().is_some_and(|number| number < 1) {
        let at = target.get("averageUtilization");
        errors.push(FieldError::invalid(&at.path, at.value.clone(), "must be greater than 0"));
    }
    if matches!(*field, "resource" | "containerResource") {
        let name = source.get("name");
        if name.is_empty() {
            errors.push(FieldError::required(&name.path, "must specify a resource name"));
        }
        if target.get("averageUtilization").is_absent() && target.get("averageValue").is_absent() {
            let detail = "must set either a target raw value or a target utilization";
            errors.push(FieldError::required(&target.get("averageUtilization").path, detail));
        }
    }
}

fn behavior(at: &At<'_>, errors: &mut ErrorList) {
    for direction in ["scaleUp", "scaleDown"] {
        let rules_of = at.get(direction);
        if rules_of.is_absent() {
            continue;
        }
        let window = rules_of.get("stabilizationWindowSeconds");
        if window.number().is_some_and(|number| number < 0) {
            let detail = "must be greater than or equal to zero";
            errors.push(FieldError::invalid(&window.path, window.value.clone(), detail));
        }
        if window.number().is_some_and(|number| number > 3600) {
            let detail = "must be less than or equal to 3600";
            errors.push(FieldError::invalid(&window.path, window.value.clone(), detail));
        }
        rules::one_of(&rules_of.get("selectPolicy"), &["Disabled", "Max", "Min"], errors);
        let policies = rules_of.get("policies");
        if policies.is_empty() {
            errors.push(FieldError::required(&policies.path, "must specify at least one Policy"));
        }
        for policy in policies.items() {
            rules::one_of(&policy.get("type"), &["Percent", "Pods"], errors);
            for name in ["value", "periodSeconds"] {
                let number = policy.get(name);
                if number.number().unwrap_or(0) <= 0 {
                    let detail = "must be greater than zero";
                    errors.push(FieldError::invalid(&number.path, number.value.clone(), detail));
                }
            }
        }
    }
}
