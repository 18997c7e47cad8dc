//! Containers of all three sorts, with their ports, environment, mounts and resources.

use std::collections::BTreeSet;

use super::volumes::Volumes;
use super::{one_of_required, probes, security, volumes};
use crate::field::{ErrorList, FieldError, Path};
use crate::names;
use crate::validation::at::At;
use crate::validation::rules;

const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];
/// What the downward API offers as environment (`validEnvDownwardAPIFieldPathExpressions`).
const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// What it offers of resources (`validContainerResourceFieldPathExpressions`).
const RESOURCE_FIELDS: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Every container of a pod.
pub fn all(spec: &At<'_>, volumes: &Volumes, errors: &mut ErrorList) {
    let containers = spec.get("containers");
    if containers.is_empty() {
        errors.push(FieldError::required(&containers.path, ""));
    }
    let mut names_seen = BTreeSet::new();
    for container in containers.items() {
        name(&container, &mut names_seen, errors);
        one(&container, volumes, errors);
        for kind in PROBES {
            probes::probe(&container.get(kind), kind, errors);
        }
        probes::lifecycle(&container.get("lifecycle"), errors);
    }
    host_ports(&containers, errors);
    for container in spec.get("initContainers").items() {
        name(&container, &mut names_seen, errors);
        one(&container, volumes, errors);
        init(&container, errors);
    }
    for container in spec.get("ephemeralContainers").items() {
        name(&container, &mut names_seen, errors);
        one(&container, volumes, errors);
        ephemeral(spec, &container, errors);
    }
}

fn name<'a>(container: &At<'a>, seen: &mut BTreeSet<&'a str>, errors: &mut ErrorList) {
    let name = container.get("name");
    if name.is_empty() {
        errors.push(FieldError::required(&name.path, ""));
        return;
    }
    rules::invalid_each(&name, names::dns1123_label(name.text()), errors);
    if !seen.insert(name.text()) {
        errors.push(FieldError::duplicate(&name.path, name.text()));
    }
}

/// An init container runs to its end, unless it is a sidecar.
fn init(container: &At<'_>, errors: &mut ErrorList) {
    let policy = container.get("restartPolicy");
    if policy.text() == "Always" {
        for kind in PROBES {
            probes::probe(&container.get(kind), kind, errors);
        }
        probes::lifecycle(&container.get("lifecycle"), errors);
    } else {
        let detail = "may not be set for init containers without restartPolicy=Always";
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            let at = container.get(field);
            if at.is_set() {
                errors.push(FieldError::forbidden(&at.path, detail));
            }
        }
        rules::one_of(&policy, &["Always", "Never", "OnFailure"], errors);
    }
}

fn ephemeral(spec: &At<'_>, container: &At<'_>, errors: &mut ErrorList) {
    for field in ["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy"] {
        let at = container.get(field);
        if !at.is_empty() {
            errors.push(FieldError::forbidden(&at.path, "cannot be set for an Ephemeral Container"));
        }
    }
    if !container.get("resources").is_empty() {
        let path = container.path.child("resources");
        errors.push(FieldError::forbidden(&path, "cannot be set for an Ephemeral Container"));
    }
    let target = container.get("targetContainerName");
    let known = spec.get("containers").items().chain(spec.get("initContainers").items());
    if !target.is_empty() && !known.into_iter().any(|other| other.get("name").text() == target.text()) {
        errors.push(FieldError::not_found(&target.path, target.text()));
    }
}

fn one(container: &At<'_>, volumes: &Volumes, errors: &mut ErrorList) {
    let image = container.get("image");
    if image.is_empty() {
        errors.push(FieldError::required(&image.path, ""));
    } else if image.text().trim() != image.text() {
        let detail = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(&image.path, image.text(), detail));
    }
    one_of_required(&container.get("terminationMessagePolicy"), &["File", "FallbackToLogsOnError"], errors);
    ports(&container.get("ports"), errors);
    environment(&container.get("env"), errors);
    for source in container.get("envFrom").items() {
        env_from(&source, errors);
    }
    let mut paths = BTreeSet::new();
    for mount in container.get("volumeMounts").items() {
        volumes::mount(&mount, volumes, &mut paths, errors);
    }
    for device in container.get("volumeDevices").items() {
        rules::required(&device.get("name"), errors);
        rules::required(&device.get("devicePath"), errors);
    }
    one_of_required(&container.get("imagePullPolicy"), &["Always", "IfNotPresent", "Never"], errors);
    resources(&container.get("resources"), errors);
    security::container(&container.get("securityContext"), errors);
}

fn ports(at: &At<'_>, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for port in at.items() {
        let name = port.get("name");
        if !name.is_empty() {
            let messages = names::port_name(name.text());
            if messages.is_empty() && !seen.insert(name.text()) {
                errors.push(FieldError::duplicate(&name.path, name.text()));
            }
            rules::invalid_each(&name, messages, errors);
        }
        let number = port.get("containerPort");
        if rules::is_zero(&number) {
            errors.push(FieldError::required(&number.path, ""));
        } else {
            rules::port(&number, errors);
        }
        let host = port.get("hostPort");
        if !rules::is_zero(&host) {
            rules::port(&host, errors);
        }
        one_of_required(&port.get("protocol"), &["TCP", "UDP", "SCTP"], errors);
        let ip = port.get("hostIP");
        if !ip.is_empty() {
            rules::ip(&ip, errors);
        }
    }
}

/// A port of the host is taken once (`AccumulateUniqueHostPorts`).
fn host_ports(containers: &At<'_>, errors: &mut ErrorList) {
    let mut taken = BTreeSet::new();
    for port in containers.items().flat_map(|container| container.get("ports").items()) {
        let host = port.get("hostPort");
        let Some(number) = host.number().filter(|number| *number != 0) else { continue };
        let key = format!("{}/{}/{number}", port.get("protocol").text(), port.get("hostIP").text());
        if !taken.insert(key.clone()) {
            errors.push(FieldError::duplicate(&host.path, key));
        }
    }
}

fn environment(at: &At<'_>, errors: &mut ErrorList) {
    for variable in at.items() {
        let name = variable.get("name");
        if name.is_empty() {
            errors.push(FieldError::required(&name.path, ""));
        } else {
            rules::invalid_each(&name, names::env_var_name(name.text()), errors);
        }
        let from = variable.get("valueFrom");
        if from.is_set() {
            value_from(&variable, &from, errors);
        }
    }
}

fn value_from(variable: &At<'_>, from: &At<'_>, errors: &mut ErrorList) {
    let mut sources = 0;
    let field = from.get("fieldRef");
    if field.is_set() {
        sources += 1;
        field_ref(&field, ENV_FIELDS, errors);
    }
    let resource = from.get("resourceFieldRef");
    if resource.is_set() {
        sources += 1;
        resource_field_ref(&resource, errors);
    }
    for name in ["configMapKeyRef", "secretKeyRef"] {
        let reference = from.get(name);
        if reference.is_absent() {
            continue;
        }
        sources += 1;
        rules::required(&reference.get("name"), errors);
        let key = reference.get("key");
        if rules::required(&key, errors) {
            rules::invalid_each(&key, names::config_map_key(key.text()), errors);
        }
    }
    sources += usize::from(from.get("fileKeyRef").is_set());
    if sources == 0 {
        let detail = "must specify one of: `configMapKeyRef`, `fieldRef`, `fileKeyRef`, `resourceFieldRef` or \
                      `secretKeyRef`";
        errors.push(FieldError::invalid(&from.path, "", detail));
    } else if !variable.get("value").is_empty() {
        errors.push(FieldError::invalid(&from.path, "", "may not be specified when `value` is not empty"));
    } else if sources > 1 {
        errors.push(FieldError::invalid(&from.path, "", "may not have more than one field specified at a time"));
    }
}

/// `validateObjectFieldSelector`
pub fn field_ref(at: &At<'_>, allowed: &[&str], errors: &mut ErrorList) {
    let (version, path) = (at.get("apiVersion"), at.get("fieldPath"));
    if version.is_empty() {
        errors.push(FieldError::required(&version.path, ""));
        return;
    }
    if path.is_empty() {
        errors.push(FieldError::required(&path.path, ""));
        return;
    }
    let text = path.text();
    if let Some((map, key)) = text.strip_suffix("']").and_then(|text| text.split_once("['")) {
        match map {
            "metadata.annotations" => rules::invalid_each(&path, names::label_key(&key.to_lowercase()), errors),
            "metadata.labels" => rules::invalid_each(&path, names::label_key(key), errors),
            _ => errors.push(FieldError::invalid(&path.path, text, "does not support subscript")),
        }
        return;
    }
    // `ConvertDownwardAPIFieldLabel` knows these; of them a place allows some.
    const KNOWN: [&str; 13] = [
        "metadata.annotations",
        "metadata.labels",
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.serviceAccountName",
        "spec.schedulerName",
        "status.phase",
        "status.hostIP",
        "status.podIP",
        "spec.host",
    ];
    if !KNOWN.contains(&text) && !allowed.contains(&text) {
        let detail = format!("error converting fieldPath: field label not supported: {text}");
        errors.push(FieldError::invalid(&path.path, text, detail));
    } else if !allowed.contains(&text) {
        errors.push(FieldError::not_supported(&path.path, text, allowed));
    }
}

/// `validateContainerResourceFieldSelector`
pub fn resource_field_ref(at: &At<'_>, errors: &mut ErrorList) {
    let resource = at.get("resource");
    if resource.is_empty() {
        errors.push(FieldError::required(&resource.path, ""));
    } else if !RESOURCE_FIELDS.contains(&resource.text()) && !resource.text().contains(".hugepages-") {
        errors.push(FieldError::not_supported(&resource.path, resource.text(), RESOURCE_FIELDS));
    }
}

fn env_from(source: &At<'_>, errors: &mut ErrorList) {
    let prefix = source.get("prefix");
    if !prefix.is_empty() {
        rules::invalid_each(&prefix, names::env_var_name(prefix.text()), errors);
    }
    let found: Vec<At<'_>> =
        ["configMapRef", "secretRef"].iter().map(|name| source.get(name)).filter(At::is_set).collect();
    for reference in &found {
        rules::required(&reference.get("name"), errors);
    }
    match found.len() {
        0 => {
            let detail = "must specify one of: `configMapRef` or `secretRef`";
            errors.push(FieldError::invalid(&source.path, "", detail));
        }
        1 => {}
        _ => errors.push(FieldError::invalid(&source.path, "", "may not have more than one field specified at a time")),
    }
}

/// `ValidateContainerResourceRequirements`
fn resources(at: &At<'_>, errors: &mut ErrorList) {
    let (limits, requests) = (at.get("limits"), at.get("requests"));
    for (key, amount) in limits.entries() {
        resource_name(key, &amount.path, errors);
        amount_of(key, &amount, errors);
    }
    for (key, amount) in requests.entries() {
        resource_name(key, &amount.path, errors);
        amount_of(key, &amount, errors);
        let limit = limits.key(key);
        let (wanted, allowed) = (rules::quantity(&amount), rules::quantity(&limit));
        let overcommits = matches!(key, "cpu" | "memory" | "ephemeral-storage");
        let text = |at: &At<'_>| at.value.as_str().map_or_else(|| at.value.to_string(), String::from);
        match (wanted, allowed) {
            (Some(wanted), Some(allowed)) if !overcommits && wanted != allowed => {
                let detail = format!("must be equal to {key} limit of {}", text(&limit));
                errors.push(FieldError::invalid(&requests.path, text(&amount), detail));
            }
            (Some(wanted), Some(allowed)) if overcommits && wanted > allowed => {
                let detail = format!("must be less than or equal to {key} limit of {}", text(&limit));
                errors.push(FieldError::invalid(&requests.path, text(&amount), detail));
            }
            (Some(_), None) if !overcommits => {
                let detail = "Limit must be set for non overcommitable resources";
                errors.push(FieldError::required(&limits.path, detail));
            }
            _ => {}
        }
    }
}

fn amount_of(key: &str, amount: &At<'_>, errors: &mut ErrorList) {
    rules::nonnegative_quantity(amount, errors);
    let whole = !matches!(key, "cpu" | "memory" | "ephemeral-storage") && !key.starts_with("hugepages-");
    let milli = rules::quantity(amount).map_or(0, |quantity| quantity.milli_value());
    if whole && milli % 1000 != 0 {
        errors.push(FieldError::invalid(&amount.path, amount.value.clone(), "must be an integer"));
    }
}

/// `validateContainerResourceName`
pub fn resource_name(key: &str, path: &Path, errors: &mut ErrorList) {
    for message in names::label_key(key) {
        errors.push(FieldError::invalid(path, key, message));
    }
    let standard = matches!(key, "cpu" | "memory" | "ephemeral-storage") || key.starts_with("hugepages-");
    if !key.contains('/') && !standard {
        errors.push(FieldError::invalid(path, key, "must be a standard resource for containers"));
    }
}
