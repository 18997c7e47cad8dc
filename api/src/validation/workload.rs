//! Deployments, replica sets, stateful sets, daemon sets and replication controllers.

use serde_json::Value;

use super::at::At;
use super::{pod, rules, storage};
use crate::field::{ErrorList, FieldError};
use crate::names;

/// `ValidateDeployment` and `ValidateDeploymentUpdate`
pub fn deployment(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.get("spec");
    rules::nonnegative(&spec.get("replicas"), errors);
    let selects = selector(&spec, "deployment", errors);
    template(&spec, selects, errors);
    deployment_strategy(&spec.get("strategy"), errors);
    rules::nonnegative(&spec.get("minReadySeconds"), errors);
    rules::nonnegative(&spec.get("revisionHistoryLimit"), errors);
    let deadline = spec.get("progressDeadlineSeconds");
    rules::nonnegative(&deadline, errors);
    let least = spec.get("minReadySeconds").number().unwrap_or(0);
    if deadline.number().is_some_and(|number| number <= least) {
        let detail = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid(&deadline.path, deadline.value.clone(), detail));
    }
    selector_stays(&spec, old, errors);
}

fn deployment_strategy(strategy: &At<'_>, errors: &mut ErrorList) {
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "Recreate" if rolling.is_set() => {
            let detail = "may not be specified when strategy `type` is 'Recreate'";
            errors.push(FieldError::forbidden(&rolling.path, detail));
        }
        "Recreate" => {}
        "RollingUpdate" if rolling.is_absent() => {
            errors.push(FieldError::required(&rolling.path, "this should be defaulted and never be nil"));
        }
        "RollingUpdate" => rolling_update(&rolling, "maxUnavailable", errors),
        _ => rules::required_one_of(&strategy.get("type"), &["Recreate", "RollingUpdate"], "", errors),
    }
}

fn rolling_update(rolling: &At<'_>, blamed: &str, errors: &mut ErrorList) {
    let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
    rules::int_or_percent(&unavailable, errors);
    rules::int_or_percent(&surge, errors);
    if rules::is_zero(&unavailable) && rules::is_zero(&surge) {
        let at = rolling.get(blamed);
        errors.push(FieldError::invalid(&at.path, at.value.clone(), "may not be 0 when `maxSurge` is 0"));
    }
    rules::at_most_100_percent(&unavailable, errors);
}

/// `ValidateReplicaSet` and `ValidateReplicaSetUpdate`
pub fn replica_set(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.get("spec");
    rules::nonnegative(&spec.get("replicas"), errors);
    rules::nonnegative(&spec.get("minReadySeconds"), errors);
    let selects = selector(&spec, "deployment", errors);
    template(&spec, selects, errors);
    selector_stays(&spec, old, errors);
}

/// `ValidateReplicationController`
pub fn replication_controller(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.get("spec");
    rules::nonnegative(&spec.get("minReadySeconds"), errors);
    let wanted = spec.get("selector");
    if wanted.is_empty() {
        errors.push(FieldError::required(&wanted.path, ""));
    }
    rules::nonnegative(&spec.get("replicas"), errors);
    let labels = spec.at(&["template", "metadata", "labels"]);
    let selects = wanted.entries().all(|(key, value)| labels.value.get(key) == Some(value.value));
    if spec.get("template").is_absent() {
        errors.push(FieldError::required(&spec.get("template").path, ""));
        return;
    }
    if !wanted.is_empty() && !selects {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(&labels.path, labels.value.clone(), detail));
    }
    pod::template(&spec.get("template"), errors);
    only_always(&spec, errors);
}

/// `ValidateStatefulSet` and `ValidateStatefulSetUpdate`
pub fn stateful_set(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.get("spec");
    rules::required_one_of(&spec.get("podManagementPolicy"), &["OrderedReady", "Parallel"], "", errors);
    let strategy = spec.get("updateStrategy");
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "" => errors.push(FieldError::required(&strategy.path, "")),
        "OnDelete" if rolling.is_set() => {
            let detail = "only allowed for updateStrategy 'RollingUpdate'";
            errors.push(FieldError::invalid(&rolling.path, rolling.value.clone(), detail));
        }
        "RollingUpdate" => rules::nonnegative(&rolling.get("partition"), errors),
        _ => rules::one_of(&strategy.get("type"), &["OnDelete", "RollingUpdate"], errors),
    }
    let retention = spec.get("persistentVolumeClaimRetentionPolicy");
    for name in ["whenDeleted", "whenScaled"] {
        rules::one_of(&retention.get(name), &["Delete", "Retain"], errors);
    }
    rules::nonnegative(&spec.get("replicas"), errors);
    rules::nonnegative(&spec.get("minReadySeconds"), errors);
    rules::nonnegative(&spec.at(&["ordinals", "start"]), errors);
    for claim in spec.get("volumeClaimTemplates").items() {
        storage::claim_spec(&claim.get("spec"), errors);
    }
    let service = spec.get("serviceName");
    if !service.is_empty() {
        rules::invalid_each(&service, names::dns1123_subdomain(service.text()), errors);
    }
    let selects = selector(&spec, "statefulset", errors);
    template_labels(&spec, selects, errors);
    // The claim templates are volumes too, so the reference leaves the rest of the template to the pods.
    pod::template_metadata(&spec.get("template"), errors);
    only_always(&spec, errors);
    let Some(old) = old else { return };
    const MUTABLE: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    if without(&spec, &MUTABLE) != without(&old.get("spec"), &MUTABLE) {
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                      'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                      'minReadySeconds' are forbidden";
        errors.push(FieldError::forbidden(&spec.path, detail));
    }
}

/// `ValidateDaemonSet` and `ValidateDaemonSetUpdate`
pub fn daemon_set(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.get("spec");
    let selects = selector(&spec, "daemonset", errors);
    template(&spec, selects, errors);
    let strategy = spec.get("updateStrategy");
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "OnDelete" => {}
        "RollingUpdate" if rolling.is_absent() => errors.push(FieldError::required(&rolling.path, "")),
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            rules::int_or_percent(&unavailable, errors);
            rules::int_or_percent(&surge, errors);
            match (rules::is_zero(&unavailable), rules::is_zero(&surge)) {
                (true, true) => {
                    let detail = "cannot be 0 when maxSurge is 0";
                    errors.push(FieldError::required(&unavailable.path, detail));
                }
                (false, false) => {
                    let detail = "may not be set when maxUnavailable is non-zero";
                    errors.push(FieldError::invalid(&surge.path, surge.value.clone(), detail));
                }
                _ => {}
            }
            rules::at_most_100_percent(&unavailable, errors);
            rules::at_most_100_percent(&surge, errors);
        }
        _ => rules::required_one_of(&strategy.get("type"), &["OnDelete", "RollingUpdate"], "", errors),
    }
    rules::nonnegative(&spec.get("minReadySeconds"), errors);
    rules::nonnegative(&spec.get("revisionHistoryLimit"), errors);
    selector_stays(&spec, old, errors);
}

/// The fields of a map but for those named.
pub(super) fn without(at: &At<'_>, names: &[&str]) -> Value {
    let mut value = at.value.clone();
    if let Some(map) = value.as_object_mut() {
        map.retain(|key, _| !names.contains(&key.as_str()));
    }
    value
}

/// The selector must be there and select something; returns whether it selects the template's labels.
fn selector(spec: &At<'_>, kind: &str, errors: &mut ErrorList) -> bool {
    let wanted = spec.get("selector");
    let labels = spec.at(&["template", "metadata", "labels"]).value.as_object().cloned().unwrap_or_default();
    if wanted.is_absent() {
        errors.push(FieldError::required(&wanted.path, ""));
        return false;
    }
    rules::label_selector(&wanted, errors);
    if wanted.get("matchLabels").is_empty() && wanted.get("matchExpressions").is_empty() {
        let detail = format!("empty selector is invalid for {kind}");
        errors.push(FieldError::invalid(&wanted.path, wanted.value.clone(), detail));
    }
    rules::parsed_selector(&wanted).matches(&labels)
}

/// `ValidatePodTemplateSpecForReplicaSet` and its siblings.
fn template(spec: &At<'_>, selects: bool, errors: &mut ErrorList) {
    template_labels(spec, selects, errors);
    pod::template(&spec.get("template"), errors);
    only_always(spec, errors);
}

fn template_labels(spec: &At<'_>, selects: bool, errors: &mut ErrorList) {
    let labels = spec.at(&["template", "metadata", "labels"]);
    if !selects {
        let shown = if labels.is_absent() { Value::Null } else { labels.value.clone() };
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(&labels.path, shown, detail));
    }
}

fn only_always(spec: &At<'_>, errors: &mut ErrorList) {
    let policy = spec.at(&["template", "spec", "restartPolicy"]);
    if policy.is_set() && policy.text() != "Always" {
        errors.push(FieldError::not_supported(&policy.path, policy.text(), &["Always"]));
    }
    let deadline = spec.at(&["template", "spec", "activeDeadlineSeconds"]);
    if deadline.is_set() {
        let detail = "activeDeadlineSeconds in ReplicaSet is not Supported";
        errors.push(FieldError::forbidden(&deadline.path, detail));
    }
}

fn selector_stays(spec: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    if let Some(old) = old {
        rules::immutable(&spec.get("selector"), &old.at(&["spec", "selector"]), errors);
    }
}

/// `ValidateControllerRevisionCreate` and `ValidateControllerRevisionUpdate`
pub fn controller_revision(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    rules::nonnegative(&new.get("revision"), errors);
    let data = new.get("data");
    match old {
        Some(old) => rules::immutable(&data, &old.get("data"), errors),
        None if data.is_absent() => errors.push(FieldError::required(&data.path, "data is mandatory")),
        None if !data.value.is_object() => {
            errors.push(FieldError::required(&data.path, "data must be a valid JSON object"));
        }
        None => {}
    }
}
