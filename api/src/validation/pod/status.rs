//! The status of a pod (`ValidatePodStatusUpdate`).

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::{annotations, security};
use crate::field::{ErrorList, FieldError};
use crate::go::internal;
use crate::names;
use crate::validation::at::At;
use crate::validation::rules;

const SYSTEM_CONDITIONS: [&str; 3] = ["PodScheduled", "Ready", "Initialized"];
const NOT_NEGATIVE: &str = "must be a non-negative integer";
const MESSAGE_LENGTH_MAX: usize = 1024;

pub(crate) fn pod(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let Some(old) = old else { return };
    annotations::update(new, old, errors);
    let (status, before, spec) = (new.field("status"), old.field("status"), new.field("spec"));
    conditions(&status.field("conditions"), errors);
    nominated(&status, &before, old, errors);
    let observed = status.field("observedGeneration");
    if observed.number().is_some_and(|number| number < 0) {
        errors.push(FieldError::invalid(&observed.path, observed.value.clone(), NOT_NEGATIVE));
    }
    let class = status.field("qosClass");
    if class.text() != before.field("qosClass").text() {
        errors.push(FieldError::invalid(&class.path, class.text(), rules::IMMUTABLE));
    }
    let [main, init, ephemeral] =
        status.known(["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"]);
    let was = old.field("spec");
    for (list, containers) in [(main, was.field("containers")), (init, was.field("initContainers"))] {
        if !restarts_all(&was) {
            transitions(&status.get(list), &before.get(list), &was, &containers.items_by("name"), errors);
        }
    }
    transitions(&status.get(ephemeral), &before.get(ephemeral), &was, &HashMap::new(), errors);
    claims(&status.field("resourceClaimStatuses"), &spec, errors);
    extended_claim(&status.field("extendedResourceClaimStatus"), &spec, errors);
    addresses(&status.field("podIPs"), &before.field("podIPs"), "[]core.PodIP", errors);
    let (host, hosts) = (status.field("hostIP"), status.field("hostIPs"));
    if let Some(first) = hosts.items().next().map(|item| item.field("ip")) {
        if first.text() != host.text() {
            errors.push(FieldError::invalid(&first.path, first.text(), "must be equal to `hostIP`"));
        }
        addresses(&hosts, &before.field("hostIPs"), "[]core.HostIP", errors);
    }
    let os = spec.at(&["os", "name"]);
    for list in [main, init, ephemeral] {
        users(&status.get(list), os.text(), errors);
    }
    allocated(&status.field("containerStatuses"), &spec.field("containers"), errors);
    allocated(&status.field("initContainerStatuses"), &spec.field("initContainers"), errors);
    for container in status.field("ephemeralContainerStatuses").items() {
        let at = container.field("allocatedResourcesStatus");
        if !at.is_empty() {
            errors.push(FieldError::forbidden(&at.path, "must not be specified in container status"));
        }
    }
}

fn conditions(at: &At<'_>, errors: &mut ErrorList) {
    for condition in at.items() {
        let (type_, observed) = (condition.field("type"), condition.field("observedGeneration"));
        if observed.number().is_some_and(|number| number < 0) {
            errors.push(FieldError::invalid(&observed.path, observed.value.clone(), NOT_NEGATIVE));
        }
        if !SYSTEM_CONDITIONS.contains(&type_.text()) {
            rules::label_name(&condition.path.child("Type"), type_.text(), errors);
        }
    }
}

fn nominated(status: &At<'_>, before: &At<'_>, old: &At<'_>, errors: &mut ErrorList) {
    let name = status.field("nominatedNodeName");
    if name.is_empty() || name.text() == before.field("nominatedNodeName").text() {
        return;
    }
    rules::invalid_each(&name, names::dns1123_subdomain(name.text()), errors);
    if !old.at(&["spec", "nodeName"]).is_empty() {
        let detail = "may not be set on pods that are already bound to a node";
        errors.push(FieldError::forbidden(&name.path, detail));
    }
}

/// What has ended begins anew only where the policy says so (`ValidateContainerStateTransition`).
fn transitions(new: &At<'_>, old: &At<'_>, spec: &At<'_>, containers: &HashMap<&str, At<'_>>, errors: &mut ErrorList) {
    let alive = new.items().filter(|after| after.at(&["state", "terminated"]).is_absent());
    let alive: HashSet<&str> = alive.map(|after| after.field("name").text()).collect();
    for (index, before) in old.items().enumerate() {
        let ended = before.at(&["state", "terminated"]);
        let name = before.field("name").text();
        if ended.is_absent() || !alive.contains(name) {
            continue;
        }
        let code = ended.field("exitCode").number().unwrap_or(0);
        if !containers.get(name).is_some_and(|container| restarts(container, spec, code)) {
            let path = new.path.index(index).child("state");
            errors.push(FieldError::forbidden(&path, "may not be transitioned to non-terminated state"));
        }
    }
}

/// Whether a rule of any container restarts them all (`AllContainersCouldRestart`).
fn restarts_all(spec: &At<'_>) -> bool {
    let containers = spec.field("containers").items().chain(spec.field("initContainers").items());
    let mut rules = containers.flat_map(|container| container.field("restartPolicyRules").items());
    rules.any(|rule| rule.field("action").text() == "RestartAllContainers")
}

/// `ContainerShouldRestart`
fn restarts(container: &At<'_>, spec: &At<'_>, code: i64) -> bool {
    let own = container.field("restartPolicy");
    if own.is_set() {
        for rule in container.field("restartPolicyRules").items() {
            let listed = rule.at(&["exitCodes", "values"]).items().any(|value| value.number() == Some(code));
            let fits = match rule.at(&["exitCodes", "operator"]).text() {
                "In" => listed,
                "NotIn" => !listed,
                _ => false,
            };
            if fits && rule.field("action").text() == "Restart" {
                return true;
            }
        }
    }
    match if own.is_set() { own.text() } else { spec.field("restartPolicy").text() } {
        "Never" => false,
        "OnFailure" => code != 0,
        _ => true,
    }
}

/// `validatePodResourceClaimStatuses`
fn claims(at: &At<'_>, spec: &At<'_>, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    let claims = spec.field("resourceClaims").items_by("name");
    for status in at.items() {
        let (name, claim) = (status.field("name"), status.field("resourceClaimName"));
        if !claims.contains_key(name.text()) {
            let detail = "must match the name of an entry in `spec.resourceClaims`";
            errors.push(FieldError::invalid(&name.path, name.text(), detail));
        }
        if !seen.insert(name.text()) {
            errors.push(FieldError::duplicate(&name.path, name.text()));
        }
        if claim.is_set() {
            rules::invalid_each(&claim, names::dns1123_subdomain(claim.text()), errors);
        }
    }
}

/// `validatePodExtendedResourceClaimStatus`, in which the path of a request's name leaves the list out.
fn extended_claim(at: &At<'_>, spec: &At<'_>, errors: &mut ErrorList) {
    if at.is_absent() {
        return;
    }
    let mappings = at.field("requestMappings");
    if mappings.is_empty() {
        errors.push(FieldError::required(&mappings.path, "at least one request mapping is required"));
    }
    let containers = spec.field("initContainers").items().chain(spec.field("containers").items());
    // Of several that are called the same, the last counts.
    let containers: HashMap<&str, At<'_>> = containers.map(|one| (one.field("name").text(), one)).collect();
    let mut seen = BTreeSet::new();
    for mapping in mappings.items() {
        let parts = mapping.fields(["containerName", "resourceName", "requestName"]);
        let [container, resource, request] = &parts;
        match containers.get(container.text()) {
            Some(found) if found.at(&["resources", "requests"]).key(resource.text()).is_set() => {}
            Some(_) => {
                let detail = "must match the extended resource name of an entry in \
                              spec.initContainers.resources.requests or spec.containers.resources.requests";
                errors.push(FieldError::invalid(&resource.path, resource.text(), detail));
            }
            None => {
                let detail = "must match the name of an entry in spec.initContainers.name or spec.containers.name";
                errors.push(FieldError::invalid(&container.path, container.text(), detail));
            }
        }
        let named = request.moved(at.path.child("requestName"));
        rules::invalid_each(&named, names::dns1123_label(request.text()), errors);
        if !seen.insert(parts.clone().map(|part| part.text())) {
            errors.extend(parts.iter().map(|part| FieldError::duplicate(&part.path, part.text())));
        }
    }
    let claim = at.field("resourceClaimName");
    if rules::required(&claim, errors) {
        rules::invalid_each(&claim, names::dns1123_subdomain(claim.text()), errors);
    }
}

/// `validatePodIPs`, whose paths stop at the item.
fn addresses(at: &At<'_>, before: &At<'_>, form: &str, errors: &mut ErrorList) {
    let known: HashSet<&str> = before.items().map(|item| item.field("ip").text()).collect();
    let mut families = Vec::new();
    for item in at.items() {
        let ip = item.field("ip");
        let ip = ip.moved(item.path.clone());
        let parsed = if known.contains(ip.text()) { ip.text().parse().ok() } else { rules::ip(&ip, errors) };
        families.extend(parsed.map(|parsed| parsed.is_ipv4()));
    }
    let wrong = at.items().position(|item| item.field("ip").text().parse::<std::net::IpAddr>().is_err());
    if let Some(index) = wrong.filter(|_| at.len() > 1) {
        let ip = at.items().nth(index).map_or("", |item| item.field("ip").text());
        let why = format!("failed to check for dual stack with error:invalid IP[{index}]: {ip}");
        errors.push(FieldError::internal(&at.path, why));
    }
    if at.len() > 1 && (families.len() != 2 || at.len() > 2 || families[0] == families[1]) {
        let shown = internal::shown(form, at.value);
        let detail = "may specify no more than one IP for each IP family";
        errors.push(FieldError::invalid_text(&at.path, shown, detail));
    }
}

/// `validateContainerStatusUsers`
fn users(at: &At<'_>, os: &str, errors: &mut ErrorList) {
    for container in at.items() {
        let linux = container.at(&["user", "linux"]);
        if linux.is_absent() {
            continue;
        }
        if os == "windows" {
            errors.push(FieldError::forbidden(&linux.path, "cannot be set for a windows pod"));
            continue;
        }
        for id in linux.fields(["uid", "gid"]) {
            security::id(&id, errors);
        }
        for group in linux.field("supplementalGroups").items() {
            security::id(&group, errors);
        }
    }
}

/// `validateContainerStatusAllocatedResourcesStatus`
fn allocated(at: &At<'_>, containers: &At<'_>, errors: &mut ErrorList) {
    let containers = containers.items_by("name");
    let mut claims: HashMap<&str, HashSet<String>> = HashMap::new();
    for status in at.items() {
        let name = status.field("name").text();
        let container = containers.get(name);
        for resource in status.field("allocatedResourcesStatus").items() {
            if let Some(container) = container {
                let claims = claims.entry(name).or_insert_with(|| claims_of(container));
                allocated_name(&resource.field("name"), container, claims, errors);
            }
            let mut seen = BTreeSet::new();
            for one in resource.field("resources").items() {
                let (health, message, id) = (one.field("health"), one.field("message"), one.field("resourceID"));
                if !["Healthy", "Unhealthy", "Unknown"].contains(&health.text()) {
                    let supported = ["Healthy", "Unhealthy", "Unknown"];
                    errors.push(FieldError::not_supported(&health.path, health.text(), &supported));
                }
                if message.value == &Value::from("") {
                    errors.push(FieldError::required(&message.path, "must be non-empty if specified"));
                } else if message.text().len() > MESSAGE_LENGTH_MAX {
                    errors.push(FieldError::too_long(&message.path, MESSAGE_LENGTH_MAX));
                }
                if !seen.insert(id.text()) {
                    errors.push(FieldError::duplicate(&id.path, id.text()));
                }
            }
        }
    }
}

/// The claims of a container, as statuses name them.
fn claims_of(container: &At<'_>) -> HashSet<String> {
    let claims = container.at(&["resources", "claims"]).items();
    let shown = claims.map(|own| match own.field("request").text() {
        "" => own.field("name").text().to_string(),
        request => format!("{}/{request}", own.field("name").text()),
    });
    shown.collect()
}

fn allocated_name(name: &At<'_>, container: &At<'_>, claims: &HashSet<String>, errors: &mut ErrorList) {
    let wanted = container.field("resources");
    let (found, detail) = match name.text().strip_prefix("claim:") {
        Some(claim) => {
            let detail = "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' \
                          or 'claim:<claimName>' if request is empty";
            (claims.contains(claim), detail)
        }
        None => {
            let fits = wanted.field("requests").value.get(name.text()).is_some();
            (fits, "must match one of the container's resource requests")
        }
    };
    if !found {
        errors.push(FieldError::invalid(&name.path, name.text(), detail));
    }
}
