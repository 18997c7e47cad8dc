//! The metrics of an autoscaler.

use super::{VersionRule, reference, version_problem};
use crate::field::{ErrorList, FieldError};
use crate::names;
use crate::validation::at::{At, Name};
use crate::validation::{pod, rules};

/// The sources by type, in the order in which messages list them.
const TYPES: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];
/// The types of the sources in the order in which these are looked for.
const SOURCES: [&str; 5] = ["Object", "External", "Pods", "Resource", "ContainerResource"];

/// `validateMetrics`
pub(super) fn all(spec: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let list = spec.field("metrics");
    // References that are stored with a version that is wrong stay so.
    let was_wrong = old.is_some_and(|old| {
        old.at(&["spec", "metrics"]).items().any(|metric| {
            let version = metric.at(&["object", "describedObject", "apiVersion"]);
            metric.field("type").text() == "Object"
                && metric.field("object").is_set()
                && version_problem(version.text(), VersionRule::Parsable).is_some()
        })
    });
    let version = if was_wrong { VersionRule::Any } else { VersionRule::Parsable };
    for metric in list.items() {
        self::metric(&metric, version, errors);
    }
    let counts_from_outside = list.items().any(|metric| matches!(metric.field("type").text(), "Object" | "External"));
    if spec.field("minReplicas").number() == Some(0) && !counts_from_outside {
        let detail = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(FieldError::forbidden(&list.path, detail));
    }
}

/// `validateMetricSpec`
fn metric(at: &At<'_>, version: VersionRule, errors: &mut ErrorList) {
    let type_ = at.field("type");
    let fields = at.known(["object", "external", "pods", "resource", "containerResource"]);
    let known = SOURCES.iter().position(|name| *name == type_.text()).map(|place| fields[place]);
    if type_.is_empty() {
        errors.push(FieldError::required(&type_.path, "must specify a metric source type"));
    }
    let unsupported = FieldError::not_supported(&type_.path, type_.text(), &TYPES);
    if known.is_none() {
        errors.push(unsupported.clone());
    }
    let present: Vec<Name> = fields.into_iter().filter(|field| at.get(*field).is_set()).collect();
    if let Some(first) = present.first() {
        source(&at.get(*first), first, version, errors);
    }
    match known {
        Some(field) if at.get(field).is_absent() => {
            let detail = "must populate information for the given metric source";
            errors.push(FieldError::required(&at.get(field).path, detail));
        }
        Some(_) => {}
        None => errors.push(unsupported),
    }
    if present.len() != 1 {
        for field in present.iter().filter(|field| known != Some(**field)) {
            errors.push(FieldError::forbidden(&at.get(*field).path, "must populate the given metric source only"));
        }
    }
}

fn source(at: &At<'_>, field: &str, version: VersionRule, errors: &mut ErrorList) {
    let goal = at.field("target");
    let (value, average, utilization) =
        (goal.field("value"), goal.field("averageValue"), goal.field("averageUtilization"));
    match field {
        "resource" | "containerResource" => {
            named_resource(at, field, errors);
            target(&goal, errors);
            if utilization.is_absent() && average.is_absent() {
                let detail = "must set either a target raw value or a target utilization";
                errors.push(FieldError::required(&utilization.path, detail));
            }
            if utilization.is_set() && average.is_set() {
                let detail = "may not set both a target raw value and a target utilization";
                errors.push(FieldError::forbidden(&average.path, detail));
            }
            return;
        }
        "object" => reference(&at.field("describedObject"), version, errors),
        _ => {}
    }
    let name = at.at(&["metric", "name"]);
    if name.is_empty() {
        errors.push(FieldError::required(&name.path, "must specify a metric name"));
    } else {
        rules::invalid_each(&name, names::path_segment(name.text()), errors);
    }
    target(&goal, errors);
    let missing = match field {
        "pods" if average.is_absent() => "must specify a positive target averageValue",
        "object" if value.is_absent() && average.is_absent() => "must set either a target value or averageValue",
        "external" if value.is_absent() && average.is_absent() => {
            "must set either a target value for metric or a per-pod target"
        }
        _ => "",
    };
    if !missing.is_empty() {
        errors.push(FieldError::required(&average.path, missing));
    }
    if field == "external" && value.is_set() && average.is_set() {
        let detail = "may not set both a target value for metric and a per-pod target";
        errors.push(FieldError::forbidden(&value.path, detail));
    }
}

fn named_resource(at: &At<'_>, field: &str, errors: &mut ErrorList) {
    let of_container = field == "containerResource";
    let name = at.field("name");
    if name.is_empty() {
        errors.push(FieldError::required(&name.path, "must specify a resource name"));
    } else if of_container {
        pod::resource_name(name.text(), &name.path, errors);
    }
    if !of_container {
        return;
    }
    let container = at.field("container");
    if container.is_empty() {
        errors.push(FieldError::required(&container.path, "must specify a container"));
    } else {
        rules::invalid_each(&container, names::dns1123_label(container.text()), errors);
    }
}

/// `validateMetricTarget`
fn target(at: &At<'_>, errors: &mut ErrorList) {
    let type_ = at.field("type");
    if type_.is_empty() {
        errors.push(FieldError::required(&type_.path, "must specify a metric target type"));
    }
    if !matches!(type_.text(), "Utilization" | "Value" | "AverageValue") {
        let detail = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(&type_.path, type_.text(), detail));
    }
    for amount in at.fields(["value", "averageValue"]) {
        if rules::quantity(&amount).is_some_and(|quantity| quantity.sign() <= 0) {
            errors.push(FieldError::invalid(&amount.path, amount.value.clone(), "must be positive"));
        }
    }
    let utilization = at.field("averageUtilization");
    if utilization.number().is_some_and(|number| number < 1) {
        errors.push(FieldError::invalid(&utilization.path, utilization.value.clone(), "must be greater than 0"));
    }
}
