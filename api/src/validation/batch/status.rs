//! What the controller of jobs may write (`validateJobStatus`, `ValidateJobStatusUpdate`). Most rules hold only when
//! what they are about changed, so that a status that an older version wrote can still be updated
//! (`getStatusValidationOptions`).

use std::collections::BTreeSet;

use super::indexes;
use crate::conditions::job_end;
use crate::field::{ErrorList, FieldError};
use crate::validation::at::At;
use crate::validation::rules;

/// A status and the one before it.
struct Change<'a> {
    spec: At<'a>,
    new: At<'a>,
    old: At<'a>,
}

fn is_true(status: &At<'_>, kind: &str) -> bool {
    has_condition(status, kind, "True")
}

fn has_condition(status: &At<'_>, kind: &str, value: &str) -> bool {
    let of_kind =
        |condition: &At<'_>| condition.field("type").text() == kind && condition.field("status").text() == value;
    status.field("conditions").items().any(|condition| of_kind(&condition))
}

fn is_finished(status: &At<'_>) -> bool {
    job_end(status.field("conditions").value.as_array().into_iter().flatten()).is_some()
}

impl Change<'_> {
    fn is(&self, kind: &str) -> bool {
        is_true(&self.new, kind)
    }

    fn switched(&self, kind: &str) -> bool {
        self.is(kind) != is_true(&self.old, kind)
    }

    fn finished_switched(&self) -> bool {
        is_finished(&self.new) != is_finished(&self.old)
    }

    fn changed<'a>(&'a self, part: impl Fn(&At<'a>) -> At<'a>) -> bool {
        part(&self.new).value != part(&self.old).value
    }

    fn count<'a>(&'a self, part: impl Fn(&At<'a>) -> At<'a>) -> i64 {
        part(&self.new).number().unwrap_or(0)
    }

    fn conditions(&self, detail: impl Into<String>, errors: &mut ErrorList) {
        errors.push(rules::invalid_without_value(&self.new.field("conditions").path, detail));
    }
}

/// `ValidateJobUpdateStatus`
pub(crate) fn job_status(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let Some(old) = old else { return };
    let change = Change { spec: new.field("spec"), new: new.field("status"), old: old.field("status") };
    counts(&change, errors);
    times(&change, errors);
    finished(&change, errors);
    index_sets(&change, errors);
    last(&change, errors);
    transitions(&change, errors);
}

fn counts(change: &Change<'_>, errors: &mut ErrorList) {
    for count in change.new.fields(["active", "succeeded", "failed", "ready", "terminating"]) {
        rules::nonnegative(&count, errors);
    }
    let mut seen = BTreeSet::new();
    for list in change.new.field("uncountedTerminatedPods").fields(["succeeded", "failed"]) {
        for uid in list.items() {
            if uid.text().is_empty() {
                errors.push(FieldError::invalid(&uid.path, "", "must not be empty"));
            } else if !seen.insert(uid.text()) {
                errors.push(FieldError::duplicate(&uid.path, uid.text()));
            }
        }
    }
}

fn times(change: &Change<'_>, errors: &mut ErrorList) {
    let complete = change.is("Complete");
    if (change.switched("Complete") || change.switched("Failed")) && complete && change.is("Failed") {
        change.conditions("cannot set Complete=True and Failed=true conditions", errors);
    }
    let target = change.switched("Complete") || change.switched("FailureTarget");
    if target && complete && change.is("FailureTarget") {
        change.conditions("cannot set Complete=True and FailureTarget=true conditions", errors);
    }
    let (start, completion) = (change.new.field("startTime"), change.new.field("completionTime"));
    if change.switched("Complete") || change.changed(|status| status.field("completionTime")) {
        if completion.is_set() && !complete {
            let detail = "cannot set completionTime when there is no Complete=True condition";
            errors.push(FieldError::invalid(&completion.path, completion.value.clone(), detail));
        }
        if completion.is_absent() && complete {
            errors.push(FieldError::required(&completion.path, "completionTime is required for Complete jobs"));
        }
    }
    let moved =
        change.changed(|status| status.field("startTime")) || change.changed(|status| status.field("completionTime"));
    // Times are written in one form, which sorts as they do.
    if moved && start.is_set() && completion.is_set() && completion.text() < start.text() {
        let detail = "must be equal to or after `startTime`";
        errors.push(FieldError::invalid(&completion.path, completion.value.clone(), detail));
    }
    let failed = change.switched("Failed") || change.changed(|status| status.field("failedIndexes"));
    if failed && change.is("Failed") && !change.is("FailureTarget") {
        change.conditions("cannot set Failed=True condition without the FailureTarget=true condition", errors);
    }
    let met = change.switched("Complete") || change.switched("SuccessCriteriaMet");
    if met && complete && !change.is("SuccessCriteriaMet") {
        change.conditions("cannot set Complete=True condition without the SuccessCriteriaMet=true condition", errors);
    }
}

fn finished(change: &Change<'_>, errors: &mut ErrorList) {
    if !is_finished(&change.new) {
        return;
    }
    let switched = change.finished_switched();
    if (switched || change.changed(|status| status.field("active")))
        && change.count(|status| status.field("active")) > 0
    {
        let at = change.new.field("active");
        errors.push(FieldError::invalid(&at.path, at.value.clone(), "active>0 is invalid for finished job"));
    }
    let never_ran = change.spec.field("suspend").is_true() && change.spec.field("completions").number() == Some(0);
    let start = change.new.field("startTime");
    if (switched || change.changed(|status| status.field("startTime"))) && !never_ran && start.is_absent() {
        errors.push(FieldError::required(&start.path, "startTime is required for finished job"));
    }
    let uncounted = change.new.field("uncountedTerminatedPods");
    let some = !uncounted.field("failed").is_empty() || !uncounted.field("succeeded").is_empty();
    if (switched || change.changed(|status| status.field("uncountedTerminatedPods"))) && some {
        let form = "batch.UncountedTerminatedPods";
        errors.push(rules::invalid_as(&uncounted, form, "must be empty for finished job"));
    }
}

fn index_sets(change: &Change<'_>, errors: &mut ErrorList) {
    let (completed, failed) = (change.new.field("completedIndexes"), change.new.field("failedIndexes"));
    let (completed_changed, failed_changed) = (
        change.changed(|status| status.field("completedIndexes")),
        change.changed(|status| status.field("failedIndexes")),
    );
    let completions = change.spec.field("completions").number();
    let per_index = change.spec.field("backoffLimitPerIndex").is_set();
    let mut parse = |at: &At<'_>, name: &str, completions: i64| {
        if let Err(problem) = indexes::total(at.text(), completions) {
            errors.push(FieldError::invalid(&at.path, at.text(), format!("error parsing {name}: {problem}")));
        }
    };
    if let Some(completions) = completions.filter(|_| completed_changed) {
        parse(&completed, "completedIndexes", completions);
    }
    if let Some(completions) = completions.filter(|_| failed_changed && per_index && failed.is_set()) {
        parse(&failed, "failedIndexes", completions);
    }
    if completed_changed && !completed.is_empty() && change.spec.field("completionMode").text() != "Indexed" {
        let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.push(FieldError::invalid(&completed.path, completed.text(), detail));
    }
    if failed_changed && !per_index && failed.is_set() {
        let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.push(FieldError::invalid(&failed.path, failed.text(), detail));
    }
    if (completed_changed || failed_changed)
        && let Some(completions) = completions
        && let Some(index) = indexes::overlap(completed.text(), failed.text(), completions)
    {
        let detail = format!("failedIndexes and completedIndexes overlap at index: {index}");
        errors.push(FieldError::invalid(&failed.path, failed.text(), detail));
    }
}

fn last(change: &Change<'_>, errors: &mut ErrorList) {
    let changed = change.finished_switched() || change.changed(|status| status.field("terminating"));
    if changed && change.count(|status| status.field("terminating")) > 0 && is_finished(&change.new) {
        let at = change.new.field("terminating");
        errors.push(FieldError::invalid(&at.path, at.value.clone(), "terminating>0 is invalid for finished job"));
    }
    let changed = change.changed(|status| status.field("ready")) || change.changed(|status| status.field("active"));
    if changed
        && change.new.field("ready").is_set()
        && change.count(|status| status.field("ready")) > change.count(|status| status.field("active"))
    {
        let at = change.new.field("ready");
        errors.push(FieldError::invalid(&at.path, at.value.clone(), "cannot set more ready pods than active"));
    }
    let met = change.is("SuccessCriteriaMet");
    if met && change.is("Failed") {
        change.conditions("cannot set SuccessCriteriaMet=True and Failed=true conditions", errors);
    }
    if met && change.is("FailureTarget") {
        change.conditions("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions", errors);
    }
    if change.spec.field("successPolicy").is_set() && !met && change.is("Complete") {
        let detail = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
        change.conditions(detail, errors);
    }
}

fn transitions(change: &Change<'_>, errors: &mut ErrorList) {
    for kind in ["Failed", "Complete", "FailureTarget"] {
        if is_true(&change.old, kind) && !change.is(kind) {
            change.conditions(format!("cannot disable the terminal {kind}=True condition"), errors);
        }
    }
    let indexed = change.spec.field("completionMode").text() == "Indexed";
    let elastic = indexed && change.spec.field("completions").value == change.spec.field("parallelism").value;
    let counters = change.new.known(["failed", "succeeded"]);
    for name in counters.into_iter().take(if elastic { 1 } else { 2 }) {
        let [now, before] = [&change.new, &change.old].map(|status| status.get(name));
        let (count, before) = (now.number().unwrap_or(0), before.number().unwrap_or(0));
        if count < before {
            let detail = format!("cannot decrease the {name} counter");
            errors.push(FieldError::invalid(&now.path, count, detail));
        }
    }
    let (start, completion) = (change.new.field("startTime"), change.new.field("completionTime"));
    let was = change.old.field("completionTime");
    if completion.is_set() && was.is_set() && completion.value != was.value {
        errors.push(FieldError::invalid(&completion.path, completion.value.clone(), rules::IMMUTABLE));
    }
    let resuming = is_true(&change.old, "Suspended") && has_condition(&change.new, "Suspended", "False");
    let was_started = change.old.field("startTime").is_set();
    if change.changed(|status| status.field("startTime"))
        && was_started
        && !resuming
        && !change.spec.field("suspend").is_true()
    {
        let detail = "field is immutable for unsuspended job once set";
        errors.push(FieldError::invalid(&start.path, start.value.clone(), detail));
    }
    let (was_met, met) = (is_true(&change.old, "SuccessCriteriaMet"), change.is("SuccessCriteriaMet"));
    if was_met && !met {
        change.conditions("cannot disable the SuccessCriteriaMet=True condition", errors);
    }
    if is_true(&change.old, "Complete") && !was_met && met {
        let detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
        change.conditions(detail, errors);
    }
}
