//! Cron jobs.

use super::job_spec;
use crate::cron::{self, Schedule};
use crate::field::{ErrorList, FieldError};
use crate::validation::at::At;
use crate::validation::rules;

/// A job's name is the cron job's with eleven letters behind, and must be a label.
const NAME_LENGTH_MAX: usize = 52;

/// `ValidateCronJobCreate` and `ValidateCronJobUpdate`
pub(crate) fn cron_job(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    let before = old.map(|old| old.field("spec"));
    let at = spec.field("schedule");
    if at.is_empty() {
        errors.push(FieldError::required(&at.path, ""));
    } else {
        let had_zone = before.as_ref().is_some_and(|spec| spec.field("schedule").text().contains("TZ"));
        schedule(&at, had_zone, spec.field("timeZone").is_set(), errors);
    }
    rules::nonnegative(&spec.field("startingDeadlineSeconds"), errors);
    let zone = spec.field("timeZone");
    if before.is_none_or(|spec| spec.field("timeZone").value != zone.value) {
        self::zone(&zone, errors);
    }
    let policy = spec.field("concurrencyPolicy");
    let supported = ["Allow", "Forbid", "Replace"];
    match policy.text() {
        "" => errors.push(FieldError::required(&policy.path, "")),
        other if !supported.contains(&other) => errors.push(FieldError::not_supported(&policy.path, other, &supported)),
        _ => {}
    }
    job_template(&spec.at(&["jobTemplate", "spec"]), errors);
    for limit in spec.fields(["successfulJobsHistoryLimit", "failedJobsHistoryLimit"]) {
        rules::nonnegative(&limit, errors);
    }
    let name = new.at(&["metadata", "name"]);
    if old.is_none() && name.text().len() > NAME_LENGTH_MAX {
        errors.push(FieldError::invalid(&name.path, name.text(), "must be no more than 52 characters"));
    }
}

/// `ValidateJobTemplateSpec`
fn job_template(spec: &At<'_>, errors: &mut ErrorList) {
    job_spec(spec, errors);
    let selector = spec.field("selector");
    if selector.is_set() {
        errors.push(rules::invalid_selector(&selector, "`selector` will be auto-generated"));
    }
    let manual = spec.field("manualSelector");
    if manual.is_true() {
        errors.push(FieldError::not_supported(&manual.path, true, &["nil", "false"]));
    }
}

/// `validateScheduleFormat`
fn schedule(at: &At<'_>, had_zone: bool, has_zone: bool, errors: &mut ErrorList) {
    let text = at.text();
    if let Err(problem) = Schedule::parse(text) {
        errors.push(FieldError::invalid(&at.path, text, problem));
    }
    if !text.contains("TZ") {
        return;
    }
    let detail = match (had_zone, has_zone) {
        (true, true) => "cannot use both timeZone field and TZ or CRON_TZ in schedule",
        (true, false) => return,
        (false, _) => "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
    };
    errors.push(FieldError::invalid(&at.path, text, detail));
}

/// `validateTimeZone`
fn zone(at: &At<'_>, errors: &mut ErrorList) {
    const PART_LENGTH_MAX: usize = 14;
    if at.is_absent() {
        return;
    }
    let name = at.text();
    let mut wrong = |detail: String| errors.push(FieldError::invalid(&at.path, name, detail));
    if name.is_empty() {
        wrong("timeZone must be nil or non-empty string".into());
        return;
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+');
    let is_part = |part: &str| {
        (1..=PART_LENGTH_MAX).contains(&part.len())
            && part.bytes().all(allowed)
            && !matches!(part, "." | "..")
            && !part.starts_with('-')
    };
    if !name.split('/').all(is_part) {
        wrong(format!("unknown time zone {name}"));
        return;
    }
    if name.eq_ignore_ascii_case("local") {
        wrong("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones".into());
    }
    if name != "Local" && !cron::is_zone_name(name) {
        wrong(format!("unknown time zone {name}"));
    }
}
