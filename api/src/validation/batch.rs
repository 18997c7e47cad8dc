//! Jobs and cron jobs.

pub(crate) mod cron;
pub(crate) mod indexes;
pub(crate) mod policies;
pub(crate) mod status;
pub(crate) mod update;

pub(crate) use cron::cron_job;
pub(crate) use status::job_status;

use super::at::At;
use super::{pod, rules};
use crate::field::{ErrorList, FieldError};
use crate::names;
use crate::selector::LabelSelector;

/// How many pods of an indexed job may run at once.
const INDEXED_PARALLELISM_MAX: i64 = 100_000;
/// How many indexes may fail before the job does.
const FAILED_INDEXES_MAX: i64 = 100_000;
/// Above so many completions the limits below hold if retries are counted by index.
const COMPLETIONS_SOFT_MAX: i64 = 100_000;
const HIGH_COMPLETIONS_MAX: i64 = 10_000;
const MANAGED_BY_LENGTH_MAX: usize = 63;
/// The labels by which a job finds its pods, the older two first.
const LABELS: [&str; 4] =
    ["controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"];

/// `ValidateJob` and `ValidateJobUpdate`
pub(crate) fn job(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    let prefixed = old.is_none_or(|old| {
        let labels = old.at(&["spec", "template", "metadata", "labels"]);
        LABELS[2..].iter().all(|label| labels.value.get(label).is_some())
    });
    generated_selector(new, if prefixed { &LABELS } else { &LABELS[..2] }, errors);
    whole_spec(&spec, errors);
    hostnames(new, errors);
    if let Some(old) = old {
        update::job(new, old, errors);
    }
}

/// The name of the last pod of an indexed job must be a label.
fn hostnames(new: &At<'_>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    let completions = spec.field("completions").number().unwrap_or(0);
    if spec.field("completionMode").text() != "Indexed" || completions <= 0 {
        return;
    }
    let name = new.at(&["metadata", "name"]);
    let last = format!("{}-{}", name.text(), completions - 1);
    if !names::dns1123_label(&last).is_empty() {
        let detail = format!("will not able to create pod with invalid DNS label: {last}");
        errors.push(FieldError::invalid(&name.path, name.text(), detail));
    }
}

/// `validateGeneratedSelector`
fn generated_selector(new: &At<'_>, labels: &[&str], errors: &mut ErrorList) {
    let spec = new.field("spec");
    let selector = spec.field("selector");
    if spec.field("manualSelector").is_true() || selector.is_absent() {
        return;
    }
    let found = spec.at(&["template", "metadata", "labels"]);
    let mut expected = serde_json::Map::new();
    let own = [new.at(&["metadata", "uid"]), new.at(&["metadata", "name"])];
    for (label, own) in labels.iter().zip(own.iter().cycle()) {
        let wanted = own.text();
        has_label(&found, label, wanted, errors);
        expected.insert((*label).to_string(), wanted.into());
    }
    if LabelSelector::from_object(Some(selector.value)).is_ok_and(|selector| !selector.matches(&expected)) {
        errors.push(rules::invalid_selector(&selector, "`selector` not auto-generated"));
    }
}

/// `ValidateHasLabel`
fn has_label(labels: &At<'_>, label: &str, wanted: &str, errors: &mut ErrorList) {
    match labels.value.get(label).and_then(serde_json::Value::as_str) {
        None => errors.push(FieldError::required(&labels.path.key(label), format!("must be '{wanted}'"))),
        Some(actual) if actual != wanted => {
            let detail = format!("must be '{wanted}'");
            errors.push(FieldError::invalid(&labels.path.key(label), labels.value.clone(), detail));
        }
        Some(_) => {}
    }
}

/// `ValidateJobSpec`
fn whole_spec(spec: &At<'_>, errors: &mut ErrorList) {
    job_spec(spec, errors);
    let selector = spec.field("selector");
    if selector.is_absent() {
        errors.push(FieldError::required(&selector.path, ""));
    } else {
        rules::label_selector(&selector, errors);
    }
    let labels = spec.at(&["template", "metadata", "labels"]);
    let found = labels.value.as_object().cloned().unwrap_or_default();
    if LabelSelector::from_object(Some(selector.value)).is_ok_and(|selector| !selector.matches(&found)) {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(&labels.path, labels.value.clone(), detail));
    }
}

/// `validateJobSpec`
fn job_spec(spec: &At<'_>, errors: &mut ErrorList) {
    const COUNTS: [&str; 7] = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    for count in spec.fields(COUNTS) {
        rules::nonnegative(&count, errors);
    }
    let per_index = spec.field("backoffLimitPerIndex");
    if spec.field("maxFailedIndexes").is_set() && per_index.is_absent() {
        errors.push(FieldError::required(&per_index.path, "when maxFailedIndexes is specified"));
    }
    let managed = spec.field("managedBy");
    if managed.is_set() {
        rules::domain_prefixed_path(&managed, errors);
        if managed.text().len() > MANAGED_BY_LENGTH_MAX {
            errors.push(FieldError::too_long(&managed.path, MANAGED_BY_LENGTH_MAX));
        }
    }
    completion_mode(spec, errors);
    policies::failure(spec, errors);
    policies::success(spec, errors);
    policies::replacement(spec, errors);
    let template = spec.field("template");
    pod::template(&template, errors);
    let policy = template.at(&["spec", "restartPolicy"]);
    match policy.text() {
        "Always" | "" => {
            errors.push(FieldError::required(&policy.path, "valid values: \"OnFailure\", \"Never\""));
        }
        "OnFailure" if spec.field("podFailurePolicy").is_set() => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.push(FieldError::invalid(&policy.path, policy.text(), detail));
        }
        "OnFailure" | "Never" => {}
        other => errors.push(FieldError::not_supported(&policy.path, other, &["OnFailure", "Never"])),
    }
}

fn completion_mode(spec: &At<'_>, errors: &mut ErrorList) {
    let (mode, failed) = (spec.field("completionMode"), spec.field("maxFailedIndexes"));
    match mode.text() {
        "Indexed" => indexed(spec, errors),
        "NonIndexed" | "" => {
            if mode.is_set() && mode.is_empty() {
                errors.push(FieldError::not_supported(&mode.path, "", &["NonIndexed", "Indexed"]));
                return;
            }
            for at in [spec.field("backoffLimitPerIndex"), failed].iter().filter(|at| at.is_set()) {
                errors.push(FieldError::invalid(&at.path, at.value.clone(), "requires indexed completion mode"));
            }
        }
        other => errors.push(FieldError::not_supported(&mode.path, other, &["NonIndexed", "Indexed"])),
    }
}

fn indexed(spec: &At<'_>, errors: &mut ErrorList) {
    let [completions, parallelism, failed] = spec.fields(["completions", "parallelism", "maxFailedIndexes"]);
    if completions.is_absent() {
        errors.push(FieldError::required(&completions.path, "when completion mode is Indexed"));
    }
    let mut at_most = |at: &At<'_>, most: i64, detail: String| {
        if at.number().is_some_and(|number| number > most) {
            errors.push(FieldError::invalid(&at.path, at.value.clone(), detail));
        }
    };
    let detail = format!("must be less than or equal to {INDEXED_PARALLELISM_MAX} when completion mode is Indexed");
    at_most(&parallelism, INDEXED_PARALLELISM_MAX, detail);
    if let Some(number) = completions.number() {
        at_most(&failed, number, "must be less than or equal to completions".into());
    }
    at_most(&failed, FAILED_INDEXES_MAX, format!("must be less than or equal to {FAILED_INDEXES_MAX}"));
    let is_high = completions.number().is_some_and(|number| number > COMPLETIONS_SOFT_MAX);
    if !is_high || spec.field("backoffLimitPerIndex").is_absent() {
        return;
    }
    let detail = format!(
        "must be less than or equal to {HIGH_COMPLETIONS_MAX} when completions are above {COMPLETIONS_SOFT_MAX} and \
         used with backoff limit per index"
    );
    let mut missing = ErrorList::new();
    if failed.is_absent() {
        let detail = format!("must be specified when completions is above {COMPLETIONS_SOFT_MAX}");
        missing.push(FieldError::required(&failed.path, detail));
    }
    for at in [parallelism, failed].iter().filter(|at| at.number().is_some_and(|n| n > HIGH_COMPLETIONS_MAX)) {
        missing.push(FieldError::invalid(&at.path, at.value.clone(), detail.as_str()));
    }
    errors.extend(missing);
}
