//! Which fields of which resource a field selector may name, as data.

use super::SelectorError;

/// A field that can be selected on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selectable {
    /// What the field selector calls it.
    pub label: &'static str,
    /// Where the value is; more than one if the first may be empty. Numbers are list indexes.
    pub paths: &'static [&'static str],
    /// The value if there is none.
    pub absent: &'static str,
}

const fn same(label: &'static str, paths: &'static [&'static str]) -> Selectable {
    Selectable { label, paths, absent: "" }
}

const NAME: Selectable = same("metadata.name", &["metadata.name"]);
const NAMESPACE: Selectable = same("metadata.namespace", &["metadata.namespace"]);
const SIGNER: Selectable = same("spec.signerName", &["spec.signerName"]);

const PODS: &[Selectable] = &[
    NAME,
    NAMESPACE,
    same("spec.nodeName", &["spec.nodeName"]),
    same("spec.restartPolicy", &["spec.restartPolicy"]),
    same("spec.schedulerName", &["spec.schedulerName"]),
    same("spec.serviceAccountName", &["spec.serviceAccountName"]),
    Selectable { label: "spec.hostNetwork", paths: &["spec.hostNetwork"], absent: "false" },
    same("status.phase", &["status.phase"]),
    same("status.podIP", &["status.podIPs.0.ip", "status.podIP"]),
    same("status.nominatedNodeName", &["status.nominatedNodeName"]),
];
const EVENTS: &[Selectable] = &[
    NAME,
    NAMESPACE,
    same("involvedObject.kind", &["involvedObject.kind", "regarding.kind"]),
    same("involvedObject.namespace", &["involvedObject.namespace", "regarding.namespace"]),
    same("involvedObject.name", &["involvedObject.name", "regarding.name"]),
    same("involvedObject.uid", &["involvedObject.uid", "regarding.uid"]),
    same("involvedObject.apiVersion", &["involvedObject.apiVersion", "regarding.apiVersion"]),
    same("involvedObject.resourceVersion", &["involvedObject.resourceVersion", "regarding.resourceVersion"]),
    same("involvedObject.fieldPath", &["involvedObject.fieldPath", "regarding.fieldPath"]),
    same("reason", &["reason"]),
    same("reportingComponent", &["reportingComponent", "reportingController"]),
    same("source", &["source.component", "deprecatedSource.component", "reportingComponent", "reportingController"]),
    same("type", &["type"]),
];
const REPLICAS: &[Selectable] =
    &[NAME, NAMESPACE, Selectable { label: "status.replicas", paths: &["status.replicas"], absent: "0" }];
const ROWS: &[(&str, &str, &[Selectable])] = &[
    ("", "pods", PODS),
    ("", "events", EVENTS),
    ("events.k8s.io", "events", EVENTS),
    ("", "nodes", &[NAME, Selectable { label: "spec.unschedulable", paths: &["spec.unschedulable"], absent: "false" }]),
    ("", "namespaces", &[NAME, same("status.phase", &["status.phase"])]),
    ("", "secrets", &[NAME, NAMESPACE, same("type", &["type"])]),
    (
        "",
        "services",
        &[NAME, NAMESPACE, same("spec.clusterIP", &["spec.clusterIP"]), same("spec.type", &["spec.type"])],
    ),
    ("", "replicationcontrollers", REPLICAS),
    (
        "batch",
        "jobs",
        &[NAME, NAMESPACE, Selectable { label: "status.successful", paths: &["status.succeeded"], absent: "0" }],
    ),
    ("certificates.k8s.io", "certificatesigningrequests", &[NAME, SIGNER]),
    ("certificates.k8s.io", "clustertrustbundles", &[NAME, SIGNER]),
    (
        "certificates.k8s.io",
        "podcertificaterequests",
        &[NAME, NAMESPACE, SIGNER, same("spec.podName", &["spec.podName"]), same("spec.nodeName", &["spec.nodeName"])],
    ),
    (
        "resource.k8s.io",
        "resourceslices",
        &[NAME, same("spec.nodeName", &["spec.nodeName"]), same("spec.driver", &["spec.driver"])],
    ),
];

/// The fields that a field selector on a resource may name; `metadata.name` and `metadata.namespace` for most.
pub fn selectable_fields(group: &str, resource: &str) -> &'static [Selectable] {
    let row = ROWS.iter().find(|(g, r, _)| *g == group && *r == resource);
    row.map_or(&[NAME, NAMESPACE], |(_, _, fields)| fields)
}

/// The labels that another name stands for.
fn renamed<'a>(group: &str, resource: &str, label: &'a str) -> &'a str {
    match (group, resource, label) {
        ("", "pods", "spec.host") => "spec.nodeName",
        ("", "pods", "status.podIPs") => "status.podIP",
        ("events.k8s.io", "events", "reportingController") => "reportingComponent",
        ("events.k8s.io", "events", "regarding.kind") => "involvedObject.kind",
        ("events.k8s.io", "events", "regarding.namespace") => "involvedObject.namespace",
        ("events.k8s.io", "events", "regarding.name") => "involvedObject.name",
        ("events.k8s.io", "events", "regarding.uid") => "involvedObject.uid",
        ("events.k8s.io", "events", "regarding.apiVersion") => "involvedObject.apiVersion",
        ("events.k8s.io", "events", "regarding.resourceVersion") => "involvedObject.resourceVersion",
        ("events.k8s.io", "events", "regarding.fieldPath") => "involvedObject.fieldPath",
        _ => label,
    }
}

/// The label of a field as it is stored, from the label as a client of this resource writes it.
///
/// # Errors
/// If the resource cannot be selected by that field, with the reference's wording for that resource.
pub fn convert_field(group: &str, version: &str, resource: &str, label: &str) -> Result<&'static str, SelectorError> {
    let name = renamed(group, resource, label);
    // Events are told of in other words in their own group, and only in those.
    let foreign = group == "events.k8s.io" && (label.starts_with("involvedObject.") || label == "reportingComponent");
    if foreign {
        return Err(SelectorError(format!("field label not supported: {label}")));
    }
    if let Some(field) = selectable_fields(group, resource).iter().find(|f| f.label == name) {
        return Ok(field.label);
    }
    Err(SelectorError(match (group, resource) {
        ("batch", "jobs") => format!("field label {label:?} not supported for Job"),
        ("resource.k8s.io", "resourceslices") => {
            format!("field label not supported for {group}/{version}, Kind=ResourceSlice: {label}")
        }
        _ if ROWS.iter().any(|(g, r, _)| *g == group && *r == resource) => {
            format!("field label not supported: {label}")
        }
        _ => unknown(label),
    }))
}

fn unknown(label: &str) -> String {
    format!("{label:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(group: &str, resource: &str, label: &str, expect: &str) {
        let actual = convert_field(group, "v1", resource, label).map_or_else(|e| e.to_string(), String::from);
        assert_eq!(actual, expect);
    }

    #[test]
    fn labels_of_fields() {
        check("", "pods", "spec.host", "spec.nodeName");
        check("", "pods", "spec.x", "field label not supported: spec.x");
        check("batch", "jobs", "x", "field label \"x\" not supported for Job");
        check("events.k8s.io", "events", "regarding.name", "involvedObject.name");
        let only = "\"x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"";
        check("apps", "deployments", "x", only);
        check("apps", "deployments", "metadata.name", "metadata.name");
    }
}
