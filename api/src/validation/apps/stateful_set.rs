//! Stateful sets.

use serde_json::{Value, json};

use super::{only_always, selector, selects};
use crate::field::{ErrorList, FieldError};
use crate::names;
use crate::selector::LabelSelector;
use crate::validation::at::At;
use crate::validation::core::claims;
use crate::validation::{pod, rules};

/// What of the spec may change.
const MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

/// `ValidateStatefulSet` and `ValidateStatefulSetUpdate`
pub(crate) fn stateful_set(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    let Some(old) = old else {
        self::spec(&spec, false, true, errors);
        return;
    };
    // A stored template that was valid under older rules stays acceptable.
    let mut before = ErrorList::new();
    self::spec(&old.field("spec"), true, true, &mut before);
    self::spec(&spec, true, before.is_empty(), errors);
    if spec.without(MUTABLE) != old.field("spec").without(MUTABLE) {
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                      'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                      'minReadySeconds' are forbidden";
        errors.push(FieldError::forbidden(&spec.path, detail));
    }
}

/// `ValidateStatefulSetSpec`
fn spec(spec: &At<'_>, updates: bool, with_template: bool, errors: &mut ErrorList) {
    let policy = spec.field("podManagementPolicy");
    match policy.text() {
        "" => errors.push(FieldError::required(&policy.path, "")),
        "OrderedReady" | "Parallel" => {}
        other => errors.push(FieldError::invalid(&policy.path, other, "must be 'OrderedReady' or 'Parallel'")),
    }
    strategy(&spec.field("updateStrategy"), errors);
    let retention = spec.field("persistentVolumeClaimRetentionPolicy");
    if retention.is_set() {
        for at in retention.fields(["whenDeleted", "whenScaled"]) {
            if !matches!(at.text(), "Retain" | "Delete") {
                errors.push(FieldError::not_supported(&at.path, at.text(), &["Retain", "Delete"]));
            }
        }
    }
    if !updates {
        for claim in spec.field("volumeClaimTemplates").items() {
            claims::spec(&claim.field("spec"), errors);
        }
    }
    rules::nonnegative(&spec.field("replicas"), errors);
    rules::nonnegative(&spec.field("minReadySeconds"), errors);
    rules::nonnegative(&spec.at(&["ordinals", "start"]), errors);
    let service = spec.field("serviceName");
    if !updates && !service.is_empty() {
        rules::invalid_each(&service, names::dns1123_label(service.text()), errors);
    }
    let wanted = spec.field("selector");
    selector(&wanted, "statefulset", errors);
    let template = spec.field("template");
    if LabelSelector::from_object(Some(wanted.value)).is_err() {
        errors.push(rules::invalid_selector(&wanted, ""));
    } else {
        self::template(spec, &template, with_template, errors);
    }
    only_always(&template, "StatefulSet", errors);
}

fn strategy(strategy: &At<'_>, errors: &mut ErrorList) {
    let rolling = strategy.field("rollingUpdate");
    match strategy.field("type").text() {
        "" => errors.push(FieldError::required(&strategy.path, "")),
        "OnDelete" if rolling.is_set() => {
            let detail = "only allowed for updateStrategy 'RollingUpdate'";
            errors.push(rules::invalid_as(&rolling, "apps.RollingUpdateStatefulSetStrategy", detail));
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            rules::nonnegative(&rolling.field("partition"), errors);
            let unavailable = rolling.field("maxUnavailable");
            if unavailable.is_set() {
                rules::int_or_percent(&unavailable, errors);
                if rules::is_zero(&unavailable) {
                    errors.push(FieldError::invalid(&unavailable.path, unavailable.value.clone(), "cannot be 0"));
                }
                rules::at_most_100_percent(&unavailable, errors);
            }
        }
        _ => {
            let detail = "must be 'RollingUpdate' or 'OnDelete'";
            errors.push(rules::invalid_as(strategy, "apps.StatefulSetUpdateStrategy", detail));
        }
    }
}

/// `ValidatePodTemplateSpecForStatefulSet`, of the template as the controller will complete it.
fn template(spec: &At<'_>, template: &At<'_>, with_template: bool, errors: &mut ErrorList) {
    let wanted = spec.field("selector");
    let labels = template.at(&["metadata", "labels"]);
    let is_empty = wanted.field("matchLabels").is_empty() && wanted.field("matchExpressions").is_empty();
    if !(wanted.is_set() && is_empty) && selects(&wanted, template) == Some(false) {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(&labels.path, labels.value.clone(), detail));
    }
    if with_template {
        let completed = completed(spec, template);
        pod::template(&template.like(template.path.clone(), &completed), errors);
    }
    rules::labels(&labels.moved(template.path.child("labels")), errors);
    let annotations = template.at(&["metadata", "annotations"]);
    rules::annotations(&annotations.moved(template.path.child("annotations")), errors);
}

/// The template with a volume for each claim, and without the names that the controller sets.
fn completed(spec: &At<'_>, template: &At<'_>) -> Value {
    let mut completed = template.value.clone();
    let claims: Vec<&str> =
        spec.field("volumeClaimTemplates").items().map(|claim| claim.at(&["metadata", "name"]).text()).collect();
    let (spec_name, pod_spec) = (template.name("spec"), template.field("spec"));
    let Some(pod) = completed.get_mut(&*spec_name).and_then(Value::as_object_mut) else { return completed };
    for name in pod_spec.known(["subdomain", "hostname"]) {
        pod.remove(&*name);
    }
    if claims.is_empty() {
        return completed;
    }
    let volumes = pod_spec.name("volumes");
    let kept = pod_spec.get(volumes).items().filter(|volume| !claims.contains(&volume.field("name").text()));
    // Of templates that are called the same, one makes a volume.
    let mut named = std::collections::BTreeSet::new();
    let of_claims = claims
        .iter()
        .filter(|name| named.insert(**name))
        .map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
    let all: Vec<Value> = of_claims.chain(kept.map(|volume| volume.value.clone())).collect();
    pod.insert(volumes.to_string(), all.into());
    completed
}
