//! Values of internal types, and that the file of types is whole.

use serde_json::{Value, json};

use super::*;

#[test]
fn values_of_internal_types() {
    let check = |form: &str, value: Value, expected: &str| assert_eq!(shown(form, &value), expected);
    let taint = json!({"key": "a<b", "effect": "NoSchedule"});
    check("core.Taint", taint, r#"{"Key":"a\u003cb","Value":"","Effect":"NoSchedule","TimeAdded":null}"#);
    let selector = json!({"matchLabels": {"a": "b"}});
    check("metav1.LabelSelector", selector, r#"{"matchLabels":{"a":"b"}}"#);
    check("*metav1.LabelSelector", Value::Null, "null");
    check("[]core.PodIP", json!([{"ip": "1.2.3.4"}, {}]), r#"[{"IP":"1.2.3.4"},{"IP":""}]"#);
    let mount = json!({"name": "m", "mountPath": "/a"});
    let expected = "{\"Name\":\"m\",\"ReadOnly\":false,\"RecursiveReadOnly\":null,\"MountPath\":\"/a\",\"SubPath\":\"\",\
                    \"MountPropagation\":null,\"SubPathExpr\":\"\"}";
    check("core.VolumeMount", mount, expected);
    let or_bool = "apiextensions.JSONSchemaPropsOrBool";
    check(or_bool, json!(false), r#"{"Allows":false,"Schema":null}"#);
    assert!(shown(or_bool, &json!({})).starts_with(r#"{"Allows":true,"Schema":{"ID":"""#));
    let or_texts = "apiextensions.JSONSchemaPropsOrStringArray";
    check(&format!("{{}}{or_texts}"), json!({"a": ["b"]}), r#"{"a":{"Schema":null,"Property":["b"]}}"#);
}

#[test]
fn parts_of_internal_types() {
    let check = |form: &str, value: Value, part: &str| {
        let shown = shown(form, &value);
        assert!(shown.contains(part), "{shown}");
    };
    let volume = json!({"name": "v", "configMap": {"name": "c"}});
    check("core.Volume", volume.clone(), r#"{"Name":"v","HostPath":null"#);
    let inner = r#""ConfigMap":{"Name":"c","Items":null,"DefaultMode":null,"Optional":null}"#;
    check("core.Volume", volume, inner);
    let inner = r#""SecurityContext":{"HostNetwork":true,"HostPID":false,"HostIPC":false,"ShareProcessNamespace":null"#;
    check("core.PodSpec", json!({"hostNetwork": true, "securityContext": {}}), inner);
    check("core.PodTemplateSpec", json!({"metadata": {"name": "a"}}), r#"{"name":"a","Spec":{"Volumes":null,"#);
}

#[test]
fn differences_of_internal_types() {
    let old = json!({"key": "a", "values": []});
    let shown = difference("core.NodeSelectorRequirement", &old, &json!({"key": "a", "values": ["b"]}));
    assert!(shown.contains("-\u{a0}\"Values\": null") || shown.contains("\"Values\": null"), "{shown}");
    assert!(shown.contains("\"b\""), "{shown}");
}

#[test]
fn every_type_that_is_named_is_known() {
    let known: Vec<&str> = TYPES.lines().filter_map(|line| Some(line.split_once(' ')?.0)).collect();
    assert!(known.is_sorted_by(|one, next| one < next), "one line a type, in their order");
    for member in known.iter().flat_map(|name| members(name)) {
        let form = match &member {
            Member::Embedded { type_name, .. } => type_name,
            Member::Field(field) => field.form.trim_start_matches(['*', '[', ']', '{', '}']),
        };
        let is_literal = matches!(form, "\"\"" | "\"0\"" | "0" | "false" | "true" | "null");
        assert!(is_literal || known.contains(&form), "{form}");
    }
}
