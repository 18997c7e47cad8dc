//! The objects that the figures are about.

use serde_json::{Map, Value, json};

/// The namespace that everything is in.
pub(crate) const NAMESPACE: &str = "bench";
/// Fills a pod up to the 3.6 KB that the figures name, as it is served.
const FILLER_BYTES: usize = 1_500;
/// Groups that the many custom resources are spread over.
const CRD_GROUPS: usize = 50;
/// Fields of the custom resource that is created again and again.
const WIDGET_FIELDS: usize = 200;
/// How many of them an object sets.
const WIDGET_FIELDS_SET: usize = 50;

/// The path of a core resource in the namespace.
pub(crate) fn path(resource: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/{resource}")
}

/// A pod as controllers make them; with `large`, of the size that the figures name.
pub(crate) fn pod(name: &str, large: bool) -> String {
    let filler = if large { "x".repeat(FILLER_BYTES) } else { String::new() };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "bench"}, "annotations": {"filler": filler}},
        "spec": {"containers": [{"name": "c", "image": "busybox", "command": ["sleep", "3600"],
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}]},
    })
    .to_string()
}

/// A node that nobody runs. It has no taint: the patch takes away the one that every new node gets.
pub(crate) fn node(name: &str) -> String {
    let room = json!({"cpu": "32", "memory": "128Gi", "pods": "110"});
    json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"capacity": room, "allocatable": room, "conditions": [{"type": "Ready", "status": "True"}]}})
    .to_string()
}

/// A Deployment for server-side apply; `revision` is the one field that changes.
pub(crate) fn deployment(name: &str, revision: usize) -> String {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}, "annotations": {"revision": revision.to_string()}},
            "spec": {"containers": [{"name": "c", "image": "nginx:1", "ports": [{"containerPort": 80}],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
                "readinessProbe": {"httpGet": {"path": "/", "port": 80}}}]}}},
    })
    .to_string()
}

/// The definition with 200 fields and 5 rules.
pub(crate) fn widget_definition() -> String {
    let mut fields: Map<String, Value> = (0..WIDGET_FIELDS - 3).map(|n| (format!("field{n:03}"), leaf(n))).collect();
    fields.insert("replicas".into(), json!({"type": "integer", "minimum": 0, "maximum": 100}));
    fields.insert("least".into(), json!({"type": "integer"}));
    fields.insert("most".into(), json!({"type": "integer"}));
    let rules = json!([
        {"rule": "self.least <= self.most", "message": "least must not be more than most"},
        {"rule": "self.replicas >= self.least && self.replicas <= self.most"},
        {"rule": "self.field000.startsWith('value')"},
        {"rule": "!has(self.field003) || self.field003.size() < 64"},
        {"rule": "has(self.field006) ? self.field006 != 'forbidden' : true"},
    ]);
    let spec = json!({"type": "object", "properties": fields, "x-kubernetes-validations": rules,
        "required": ["replicas", "least", "most"]});
    definition("bench.example.com", "Widget", "widgets", &spec)
}

/// An object of it.
pub(crate) fn widget(name: &str) -> String {
    let mut spec: Map<String, Value> = (0..WIDGET_FIELDS_SET - 3).map(|n| (format!("field{n:03}"), value(n))).collect();
    spec.extend([("replicas".into(), json!(3)), ("least".into(), json!(1)), ("most".into(), json!(5))]);
    json!({"apiVersion": "bench.example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
        .to_string()
}

/// One of many definitions with 50 fields, and the path under which it is served.
pub(crate) fn many_definition(number: usize) -> (String, String) {
    let group = format!("g{}.example.com", number % CRD_GROUPS);
    let (kind, plural) = (format!("Kind{number}"), format!("kind{number}s"));
    let fields: Map<String, Value> = (0..50).map(|n| (format!("field{n:03}"), leaf(n))).collect();
    let spec = json!({"type": "object", "properties": fields});
    (definition(&group, &kind, &plural, &spec), format!("/apis/{group}/v1/namespaces/{NAMESPACE}/{plural}"))
}

fn leaf(number: usize) -> Value {
    match number % 3 {
        0 => json!({"type": "string", "maxLength": 128, "description": "A text that says something."}),
        1 => json!({"type": "integer", "minimum": 0, "description": "A number of things."}),
        _ => json!({"type": "boolean", "description": "Whether it is so."}),
    }
}

fn value(number: usize) -> Value {
    match number % 3 {
        0 => json!(format!("value-{number}")),
        1 => json!(number),
        _ => json!(true),
    }
}

fn definition(group: &str, kind: &str, plural: &str, spec: &Value) -> String {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                {"type": "object", "properties": {"spec": spec}}}}]},
    })
    .to_string()
}

/// A service without a selector.
pub(crate) fn service(name: &str) -> String {
    json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}).to_string()
}

/// What is behind it: `address` and `port`.
pub(crate) fn endpoints(service: &str, address: &str, port: u16) -> String {
    json!({
        "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "ports": [{"port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
    })
    .to_string()
}
