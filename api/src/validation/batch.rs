//! Jobs and cron jobs.

use serde_json::Value;

use super::at::At;
use super::{pod, rules, workload};
use crate::field::{ErrorList, FieldError, Path};

/// How many completions an indexed job may have (`maxParallelismForIndexedJob`, `completionsSoftLimit`).
const INDEXED_PARALLELISM_MAX: i64 = 100_000;

/// `ValidateJob` and `ValidateJobUpdate`
pub fn job(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.get("spec");
    job_spec(&spec, errors);
    let Some(before) = old.map(|old| old.get("spec")) else { return };
    let is_suspended = before.get("suspend").is_true();
    for name in ["completions", "selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy"] {
        let same_scale = name == "completions"
            && spec.get("completionMode").text() == "Indexed"
            && spec.get("completions").value == spec.get("parallelism").value;
        if !same_scale {
            rules::immutable(&spec.get(name), &before.get(name), errors);
        }
    }
    let changeable: &[&str] =
        if is_suspended { &["nodeSelector", "affinity", "tolerations", "schedulingGates"] } else { &[] };
    let frozen = |spec: &At<'_>| {
        let template = spec.get("template");
        (workload::without(&template.get("spec"), changeable), template.at(&["metadata", "labels"]).value.clone())
    };
    let (now, then) = (frozen(&spec), frozen(&before));
    if now.0 != then.0 || (!is_suspended && now.1 != then.1) {
        let template = spec.get("template");
        errors.push(FieldError::invalid(&template.path, template.value.clone(), rules::IMMUTABLE));
    }
}

/// `ValidateJobSpec`
fn job_spec(spec: &At<'_>, errors: &mut ErrorList) {
    const COUNTS: [&str; 5] =
        ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"];
    for name in COUNTS {
        rules::nonnegative(&spec.get(name), errors);
    }
    let mode = spec.get("completionMode");
    rules::one_of(&mode, &["Indexed", "NonIndexed"], errors);
    if mode.text() == "Indexed" {
        let completions = spec.get("completions");
        if completions.is_absent() {
            let detail = format!("when completion mode is {}", mode.text());
            errors.push(FieldError::required(&completions.path, detail));
        }
        let parallelism = spec.get("parallelism");
        if parallelism.number().is_some_and(|number| number > INDEXED_PARALLELISM_MAX) {
            let detail =
                format!("must be less than or equal to {INDEXED_PARALLELISM_MAX} when completion mode is Indexed");
            errors.push(FieldError::invalid(&parallelism.path, parallelism.value.clone(), detail));
        }
    }
    rules::one_of(&spec.get("podReplacementPolicy"), &["Failed", "TerminatingOrFailed"], errors);
    let template = spec.get("template");
    pod::template(&template, errors);
    let policy = template.at(&["spec", "restartPolicy"]);
    if !matches!(policy.text(), "OnFailure" | "Never") {
        let supported = ["OnFailure", "Never"];
        let detail = "valid values: \"OnFailure\", \"Never\"";
        errors.push(match policy.text() {
            // The default of a template that names none.
            "Always" | "" => FieldError::required(&policy.path, detail),
            other => FieldError::not_supported(&policy.path, other, &supported),
        });
    }
    if spec.get("podFailurePolicy").is_set() && policy.text() != "Never" {
        let detail = "only \"Never\" is supported when podFailurePolicy is specified";
        errors.push(FieldError::invalid(&policy.path, policy.text(), detail));
    }
}

/// `ValidateCronJobCreate` and `ValidateCronJobUpdate`
pub fn cron_job(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let name = new.at(&["metadata", "name"]);
    // A job's name is the cron job's with eleven letters behind, and must be a label.
    if old.is_none() && name.text().len() > 52 {
        errors.push(FieldError::invalid(&name.path, name.text(), "must be no more than 52 characters"));
    }
    let spec = new.get("spec");
    let schedule = spec.get("schedule");
    if schedule.is_empty() {
        errors.push(FieldError::required(&schedule.path, ""));
    } else if let Err(problem) = crate::schedule::check(schedule.text()) {
        errors.push(FieldError::invalid(&schedule.path, schedule.text(), problem));
    }
    rules::nonnegative(&spec.get("startingDeadlineSeconds"), errors);
    zone(&spec.get("timeZone"), errors);
    rules::required_one_of(&spec.get("concurrencyPolicy"), &["Allow", "Forbid", "Replace"], "", errors);
    let mut of_job = ErrorList::new();
    job_spec(&spec.at(&["jobTemplate", "spec"]), &mut of_job);
    errors.extend(of_job);
    for name in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        rules::nonnegative(&spec.get(name), errors);
    }
    let selector = spec.at(&["jobTemplate", "spec", "selector"]);
    if matches!(selector.value, Value::Object(_)) {
        let path: &Path = &selector.path;
        errors.push(FieldError::invalid(path, selector.value.clone(), "`selector` will be auto-generated"));
    }
}

fn zone(at: &At<'_>, errors: &mut ErrorList) {
    if at.is_absent() {
        return;
    }
    let detail = match at.text() {
        "" => "timeZone must be nil or non-empty string",
        name if name.eq_ignore_ascii_case("local") => {
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        }
        name if !crate::schedule::is_zone_name(name) => "unknown time zone",
        _ => return,
    };
    errors.push(FieldError::invalid(&at.path, at.text(), detail));
}
