//! What a client is told of an object that is good, but not as it should be (`WarningsOnCreate`, `WarningsOnUpdate`).

use super::addresses;
use super::at::At;
use super::network_policies;
use crate::field::Path;
use crate::kinds::Template;
use crate::names;

/// Names of objects that come from files end so; no other object should.
const STATIC_SUFFIX: &str = ".static.k8s.io";

/// A template is looked at when the object is made, and again with each new generation.
pub(crate) fn of_template(template: Template, new: &At<'_>, old: Option<&At<'_>>) -> Vec<String> {
    const GENERATION: [&str; 2] = ["metadata", "generation"];
    if old.is_some_and(|old| old.at(&GENERATION).value == new.at(&GENERATION).value) {
        return Vec::new();
    }
    super::pod::warnings::template(&template(new))
}

/// A name that pods get theirs from should be a label.
pub(crate) fn host_name(new: &At<'_>, old: Option<&At<'_>>) -> Vec<String> {
    let problems = names::dns1123_label(new.at(&["metadata", "name"]).text());
    if old.is_some() || problems.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label \
         is recommended: [{}]",
        problems.join(" ")
    )]
}

pub(crate) fn stateful_set(new: &At<'_>, _: Option<&At<'_>>) -> Vec<String> {
    let limit = new.at(&["spec", "revisionHistoryLimit"]).number();
    if limit.is_none_or(|limit| limit >= 0) {
        return Vec::new();
    }
    let text = "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is \
                recommended";
    vec![text.into()]
}

pub(crate) fn cron_job(new: &At<'_>, old: Option<&At<'_>>) -> Vec<String> {
    let mut warnings = host_name(new, old);
    if old.is_some() && new.at(&["spec", "schedule"]).text().contains("TZ") {
        warnings.push(
            "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see \
             https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
                .into(),
        );
    }
    warnings
}

pub(crate) fn ingress(new: &At<'_>, old: Option<&At<'_>>) -> Vec<String> {
    let annotation = new.at(&["metadata", "annotations"]).key("kubernetes.io/ingress.class");
    if old.is_some() || annotation.is_absent() || new.at(&["spec", "ingressClassName"]).is_set() {
        return Vec::new();
    }
    let text = "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead";
    vec![text.into()]
}

pub(crate) fn ingress_status(new: &At<'_>, _: Option<&At<'_>>) -> Vec<String> {
    let items = new.at(&["status", "loadBalancer", "ingress"]).items();
    items.flat_map(|item| addresses::address_warnings(&item.path, item.field("ip").text())).collect()
}

pub(crate) fn policy(new: &At<'_>, _: Option<&At<'_>>) -> Vec<String> {
    let mut warnings = Vec::new();
    for block in network_policies::blocks(&new.field("spec")) {
        let range = block.field("cidr");
        warnings.extend(addresses::range_warnings(&range.path, range.text()));
        for except in block.field("except").items() {
            warnings.extend(addresses::range_warnings(&except.path, except.text()));
        }
    }
    warnings
}

pub(crate) fn slice(new: &At<'_>, old: Option<&At<'_>>) -> Vec<String> {
    let type_ = new.field("addressType").text();
    let mut warnings = Vec::new();
    if type_ == "FQDN" {
        if old.is_none() {
            warnings.push("spec.addressType: FQDN endpoints are deprecated".into());
        }
        return warnings;
    }
    for endpoint in new.field("endpoints").items() {
        for address in endpoint.field("addresses").items() {
            warnings.extend(addresses::address_warnings(&address.path, address.text()));
        }
    }
    warnings
}

pub(crate) fn driver(new: &At<'_>, old: Option<&At<'_>>) -> Vec<String> {
    let spec = new.field("spec");
    let requests = spec.field("tokenRequests");
    let same = old.is_some_and(|old| old.at(&["spec", "tokenRequests"]).value == requests.value);
    if requests.is_empty() || same || spec.field("serviceAccountTokenInSecrets").is_set() {
        return Vec::new();
    }
    let text = "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent \
                possible logging of tokens in volume attributes";
    vec![text.into()]
}

/// Labels of nodes that have newer names.
pub(super) fn old_label(key: &str) -> Option<&'static str> {
    Some(match key {
        "beta.kubernetes.io/arch" => "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        "beta.kubernetes.io/os" => "deprecated since v1.14; use \"kubernetes.io/os\" instead",
        "beta.kubernetes.io/instance-type" => {
            "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"
        }
        "failure-domain.beta.kubernetes.io/region" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"
        }
        "failure-domain.beta.kubernetes.io/zone" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"
        }
        "app.kubernetes.io/created-by" => "deprecated since v1.9",
        "scheduler.alpha.kubernetes.io/preferAvoidPods" => "deprecated since v1.22; use Taints and Tolerations instead",
        "node-role.kubernetes.io/master" => "use \"node-role.kubernetes.io/control-plane\" instead",
        _ => return None,
    })
}

pub(crate) fn storage_class(new: &At<'_>, _: Option<&At<'_>>) -> Vec<String> {
    let terms = new.field("allowedTopologies").items();
    let keys = terms.flat_map(|term| term.field("matchLabelExpressions").items().map(|item| item.field("key")));
    keys.filter_map(|key| old_label(key.text()).map(|text| format!("{}: {text}", key.path))).collect()
}

pub(crate) fn capacity(new: &At<'_>, _: Option<&At<'_>>) -> Vec<String> {
    let selector = new.field("nodeTopology");
    let keys = selector.field("matchExpressions").items().map(|item| item.field("key"));
    let mut warnings: Vec<String> = keys
        .filter_map(|key| old_label(key.text()).map(|text| format!("{}: {} is {text}", key.path, key.text())))
        .collect();
    let labels = selector.field("matchLabels");
    for (key, _) in labels.entries() {
        warnings.extend(old_label(key).map(|text| format!("{}: {text}", labels.path.child(key))));
    }
    warnings
}

pub(crate) fn runtime_class(new: &At<'_>, _: Option<&At<'_>>) -> Vec<String> {
    let selector = new.at(&["scheduling", "nodeSelector"]);
    let path = Path::new("scheduling").child("nodeSelector");
    let keys = selector.entries().map(|(key, _)| key);
    keys.filter_map(|key| old_label(key).map(|text| format!("{path}: {text}"))).collect()
}

pub(crate) fn devices(new: &At<'_>, _: Option<&At<'_>>) -> Vec<String> {
    let driver = new.at(&["spec", "driver"]);
    if driver.text() == driver.text().to_lowercase() {
        return Vec::new();
    }
    vec![format!(
        "{}: driver names should be lowercase; {:?} contains uppercase characters",
        driver.path,
        driver.text()
    )]
}

pub(crate) fn static_name(new: &At<'_>, _: Option<&At<'_>>) -> Vec<String> {
    let name = new.at(&["metadata", "name"]).text();
    if !name.ends_with(STATIC_SUFFIX) {
        return Vec::new();
    }
    vec![format!(
        "metadata.name: names ending with {STATIC_SUFFIX:?} are reserved for static manifest-based configurations and \
         cannot be managed via the API"
    )]
}
