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
pub fn stateful_set(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.get("spec");
    let Some(old) = old else {
        self::spec(&spec, false, true, errors);
        return;
    };
    // A stored template that was valid under older rules stays acceptable.
    let mut before = ErrorList::new();
    self::spec(&old.get("spec"), true, true, &mut before);
    self::spec(&spec, true, before.is_empty(), errors);
    if rules::without(&spec, &MUTABLE) != rules::without(&old.get("spec"), &MUTABLE) {
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                      'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                      'minReadySeconds' are forbidden";
        errors.push(FieldError::forbidden(&spec.path, detail));
    }
}

/// `ValidateStatefulSetSpec`
fn spec(spec: &At<'_>, updates: bool, with_template: bool, errors: &mut ErrorList) {
    let policy = spec.get("podManagementPolicy");
    match policy.text() {
        "" => errors.push(FieldError::required(&policy.path, "")),
        "OrderedReady" | "Parallel" => {}
        other => errors.push(FieldError::invalid(&policy.path, other, "must be 'OrderedReady' or 'Parallel'")),
    }
    strategy(&spec.get("updateStrategy"), errors);
    let retention = spec.get("persistentVolumeClaimRetentionPolicy");
    if retention.is_set() {
        for name in ["whenDeleted", "whenScaled"] {
            let at = retention.get(name);
            if !matches!(at.text(), "Retain" | "Delete") {
                errors.push(FieldError::not_supported(&at.path, at.text(), &["Retain", "Delete"]));
            }
        }
    }
    if !updates {
        for claim in spec.get("volumeClaimTemplates").items() {
            claims::spec(&claim.get("spec"), errors);
        }
    }
    rules::nonnegative(&spec.get("replicas"), errors);
    rules::nonnegative(&spec.get("minReadySeconds"), errors);
    rules::nonnegative(&spec.at(&["ordinals", "start"]), errors);
    let service = spec.get("serviceName");
    if !updates && !service.is_empty() {
        rules::invalid_each(&service, names::dns1123_label(service.text()), errors);
    }
    let wanted = spec.get("selector");
    selector(&wanted, "statefulset", errors);
    let template = spec.get("template");
    if LabelSelector::from_object(Some(wanted.value)).is_err() {
        errors.push(rules::invalid_selector(&wanted, ""));
    } else {
        self::template(spec, &template, with_template, errors);
    }
    only_always(&template, "StatefulSet", errors);
}

fn strategy(strategy: &At<'_>, errors: &mut ErrorList) {
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "" => errors.push(FieldError::required(&strategy.path, "")),
        "OnDelete" if rolling.is_set() => {
            let detail = "only allowed for updateStrategy 'RollingUpdate'";
            errors.push(rules::invalid_as(&rolling, "apps.RollingUpdateStatefulSetStrategy", detail));
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            rules::nonnegative(&rolling.get("partition"), errors);
            let unavailable = rolling.get("maxUnavailable");
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
    let wanted = spec.get("selector");
    let labels = template.at(&["metadata", "labels"]);
    let is_empty = wanted.get("matchLabels").is_empty() && wanted.get("matchExpressions").is_empty();
    if !(wanted.is_set() && is_empty) && selects(&wanted, template) == Some(false) {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(&labels.path, labels.value.clone(), detail));
    }
    if with_template {
        let completed = completed(spec, template);
        pod::template(&At::new(template.path.clone(), &completed), errors);
    }
    rules::labels(&At::new(template.path.child("labels"), labels.value), errors);
    let annotations = template.at(&["metadata", "annotations"]);
    rules::annotations(&At::new(template.path.child("annotations"), annotations.value), errors);
}

/// The template with a volume for each claim, and without the names that the controller sets.
fn completed(spec: &At<'_>, template: &At<'_>) -> Value {
    let mut completed = template.value.clone();
    let claims: Vec<&str> =
        spec.get("volumeClaimTemplates").items().map(|claim| claim.at(&["metadata", "name"]).text()).collect();
    let Some(pod) = completed.get_mut("spec").and_then(Value::as_object_mut) else { return completed };
    pod.remove("subdomain");
    pod.remove("hostname");
    if claims.is_empty() {
        return completed;
    }
    let own = pod.get("volumes").and_then(Value::as_array).cloned().unwrap_or_default();
    let kept = own.into_iter().filter(|volume| {
        let name = volume.get("name").and_then(Value::as_str).unwrap_or("");
        !claims.contains(&name)
    });
    // Of templates that are called the same, one makes a volume.
    let mut named = std::collections::BTreeSet::new();
    let of_claims = claims
        .iter()
        .filter(|name| named.insert(**name))
        .map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
    let volumes: Vec<Value> = of_claims.chain(kept).collect();
    pod.insert("volumes".into(), volumes.into());
    completed
}
