//! Tests of the catalogue.

use std::sync::Arc;

use serde_json::json;

use super::{Catalogue, columns};
use crate::Object;

#[track_caller]
fn check(group: &str, version: &str, plural: &str, kind: &str, key: &str) {
    let catalogue = Catalogue::builtin();
    let row = catalogue.get(group, version, plural).unwrap();
    assert_eq!(row.kind, kind);
    assert_eq!(row.key("ns", "name"), key);
    assert_eq!(row.split_key(key).unwrap().1, "name");
    assert!(Arc::ptr_eq(row, catalogue.by_kind(group, version, kind).unwrap()));
}

#[test]
fn rows_know_their_kind_and_key() {
    check("", "v1", "pods", "Pod", "/registry/pods/ns/name");
    check("", "v1", "nodes", "Node", "/registry/nodes/name");
    check("apps", "v1", "deployments", "Deployment", "/registry/apps/deployments/ns/name");
    check("events.k8s.io", "v1", "events", "Event", "/registry/events/ns/name");
    check(
        "autoscaling",
        "v1",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        "/registry/autoscaling/horizontalpodautoscalers/ns/name",
    );
}

#[test]
fn versions_and_storage_are_known() {
    let catalogue = Catalogue::builtin();
    assert_eq!(catalogue.versions("autoscaling"), ["v2", "v1"]);
    assert_eq!(catalogue.groups()[..3], ["", "apiregistration.k8s.io", "apps"]);
    let old = catalogue.get("autoscaling", "v1", "horizontalpodautoscalers").unwrap();
    assert_eq!(catalogue.storage(old).unwrap().version, old.storage_version);
    assert!(!catalogue.get("", "v1", "bindings").unwrap().stored());
    assert_eq!(catalogue.get("", "v1", "pods").unwrap().subresource("eviction").unwrap().group, "policy");
    assert_eq!(columns("", "v1", "configmaps").unwrap().len(), 3);
    assert!(columns("", "v1", "configmap").is_none());
}

#[test]
fn rows_are_added_and_taken_away() {
    let catalogue = Catalogue::builtin();
    let mut row = (**catalogue.get("", "v1", "pods").unwrap()).clone();
    (row.group, row.plural, row.custom) = ("ex.com".into(), "foos".into(), true);
    let more = catalogue.with([Arc::new(row)]);
    assert_eq!(more.iter().len(), catalogue.iter().len() + 1);
    assert_eq!(more.of_version("ex.com", "v1").len(), 1);
    assert_eq!(more.groups().last(), Some(&"ex.com"));
    assert!(more.without("ex.com", "foos").get("ex.com", "v1", "foos").is_none());
}

#[test]
fn selectable_fields_have_values() {
    let catalogue = Catalogue::builtin();
    let pods = catalogue.get("", "v1", "pods").unwrap();
    let pod = Object::from_value(json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n"}})).unwrap();
    let value = |label: &str| pods.field_value(label, &pod);
    assert_eq!(value("spec.nodeName").as_deref(), Some("n"));
    assert_eq!(value("spec.host").as_deref(), Some("n"));
    assert_eq!(value("spec.hostNetwork").as_deref(), Some("false"));
    assert_eq!(value("status.phase").as_deref(), Some(""));
    assert_eq!(value("spec.bogus"), None);
    assert!(!pods.is_selectable("spec.bogus") && pods.is_selectable("metadata.namespace"));
    let has_namespace =
        |group: &str, plural: &str| catalogue.get(group, "v1", plural).unwrap().is_selectable("metadata.namespace");
    assert!(!has_namespace("", "nodes") && !has_namespace("", "namespaces") && has_namespace("", "persistentvolumes"));
    let events = catalogue.get("events.k8s.io", "v1", "events").unwrap();
    let event = Object::from_value(json!({"involvedObject": {"kind": "Pod"}, "reportingComponent": "k"})).unwrap();
    assert_eq!(events.field_value("regarding.kind", &event).as_deref(), Some("Pod"));
    assert_eq!(events.field_value("source", &event).as_deref(), Some("k"));
}

#[test]
fn a_field_that_cannot_be_selected_by_is_told_in_the_words_of_its_kind() {
    let catalogue = Catalogue::builtin();
    let told = |group: &str, plural: &str| catalogue.get(group, "v1", plural).unwrap().unselectable("x");
    assert_eq!(told("", "pods"), "field label not supported: x");
    assert_eq!(told("batch", "jobs"), "field label \"x\" not supported for Job");
    let slices = "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: x";
    assert_eq!(told("resource.k8s.io", "resourceslices"), slices);
    let only = "\"x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"";
    assert_eq!(told("apps", "deployments"), only);
}

#[test]
fn versions_have_one_order() {
    let versions = [
        "v1", "v2", "v10", "v1beta1", "v1beta2", "v2beta1", "v1alpha1", "v2alpha1", "v1alpha", "foo", "v", "v1gamma1",
        "foo1", "",
    ];
    crate::order::assert_total(&versions, |a, b| super::version_order(a, b));
}

#[test]
fn deprecated_versions_name_a_better_one() {
    let version = |name: &str, deprecated: bool, served: bool| {
        json!({"name": name, "served": served, "storage": name == "v1", "deprecated": deprecated,
            "schema": {"openAPIV3Schema": {"type": "object"}}})
    };
    let warnings = |versions: serde_json::Value| -> Vec<String> {
        let names = json!({"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"});
        let spec = json!({"group": "g.io", "scope": "Namespaced", "names": names, "versions": versions});
        let definition = Object::from_value(json!({"metadata": {"name": "foos.g.io"}, "spec": spec})).unwrap();
        let rows = super::custom::rows(&definition).unwrap();
        rows.iter().filter_map(|row| row.definition.as_ref()?.deprecation_warning.clone()).collect()
    };
    let mut own = version("v1alpha1", true, true);
    own["deprecationWarning"] = json!("gone soon");
    assert_eq!(
        warnings(json!([
            version("v1", false, true),
            version("v2", false, false),
            version("v1beta2", false, true),
            version("v1beta1", true, true),
            own
        ])),
        ["g.io/v1beta1 Foo is deprecated; use g.io/v1 Foo", "gone soon"]
    );
    // An older version is no better one.
    let old = [version("v1", true, true), version("v1beta1", false, true), version("v2", true, true)];
    assert_eq!(warnings(json!(old)), ["g.io/v1 Foo is deprecated", "g.io/v2 Foo is deprecated"]);
}
