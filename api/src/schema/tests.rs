//! Tests of the facts' reader and of structural schemas.

use serde_json::json;

use super::{Kind, Schema, Topology, Type};

fn walk<'a>(schema: &'a Schema, path: &str) -> Type<'a> {
    let mut ty = schema.root();
    for name in path.split('.').filter(|p| !p.is_empty()) {
        ty = if name == "*" { ty.elem() } else { ty.child(name) }.unwrap_or_else(|| panic!("{path}: no {name}"));
    }
    ty
}

#[track_caller]
fn check(schema: &Schema, path: &str, kind: Kind, topology: Topology) {
    let ty = walk(schema, path);
    assert_eq!((ty.kind(), ty.topology()), (kind, topology), "{path}");
}

#[test]
fn builtin_types_are_those_of_the_facts() {
    let pod = Schema::of("", "v1", "Pod").unwrap();
    check(&pod, "metadata", Kind::Struct, Topology::Unset);
    check(&pod, "metadata.finalizers", Kind::List, Topology::Set);
    check(&pod, "spec.containers", Kind::List, Topology::Map);
    check(&pod, "spec.containers.*.image", Kind::String, Topology::Unset);
    check(&pod, "spec.containers.*.resources.limits.cpu", Kind::Quantity, Topology::Unset);
    check(&pod, "spec.nodeSelector", Kind::Map, Topology::Atomic);
    check(
        &pod,
        "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution",
        Kind::List,
        Topology::Atomic,
    );
    check(&pod, "spec.containers.*.livenessProbe.httpGet.port", Kind::IntOrString, Topology::Unset);
    check(&pod, "spec.containers.*.env.*.valueFrom.configMapKeyRef", Kind::Struct, Topology::Atomic);
    check(&pod, "metadata.creationTimestamp", Kind::Time, Topology::Unset);
    let volume = Schema::of("", "v1", "PersistentVolume").unwrap();
    check(&volume, "spec.claimRef", Kind::Struct, Topology::Granular);
    check(&volume, "spec.claimRef.name", Kind::String, Topology::Unset);
    let containers = walk(&pod, "spec").field("containers").unwrap();
    assert!(containers.required() && containers.patch_strategies().merge);
    assert_eq!(containers.patch_merge_key(), Some("name"));
    let ports = walk(&pod, "spec.containers.*.ports");
    assert_eq!(ports.map_keys(), ["containerPort", "protocol"]);
    assert_eq!(ports.elem().unwrap().field("protocol").unwrap().default(), Some(json!("TCP")));
    let probe = walk(&pod, "spec.containers.*.livenessProbe");
    assert_eq!(probe.field("exec").unwrap().proto(), [1, 1]);
}

#[test]
fn structural_schema_becomes_the_same_types() {
    let schema = Schema::structural(Some(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["n"], "properties": {
            "n": {"type": "integer", "default": 3, "minimum": 1},
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"],
                "items": {"type": "object", "properties": {"port": {"x-kubernetes-int-or-string": true}}}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "template": {"type": "object", "x-kubernetes-embedded-resource": true,
                "x-kubernetes-preserve-unknown-fields": true}}}}})))
    .unwrap();
    check(&schema, "metadata.ownerReferences", Kind::List, Topology::Map);
    check(&schema, "spec.ports", Kind::List, Topology::Map);
    check(&schema, "spec.ports.*.port", Kind::IntOrString, Topology::Unset);
    check(&schema, "spec.labels.x", Kind::String, Topology::Unset);
    check(&schema, "spec.template.metadata.labels", Kind::Map, Topology::Unset);
    assert!(walk(&schema, "spec.free").preserves_unknown_fields());
    assert!(!walk(&schema, "spec").preserves_unknown_fields());
    let n = walk(&schema, "spec").field("n").unwrap();
    assert_eq!((n.required(), n.default()), (true, Some(json!(3))));
    assert!(Schema::preserving().root().preserves_unknown_fields());
    assert!(Schema::structural(Some(&json!([]))).is_err());
}
