//! Tests of JSON as the reference writes it.

use serde_json::json;

use super::*;

#[track_caller]
fn check(value: Value, expected: &str) {
    let Value::Object(map) = value else { panic!("no object") };
    let bytes = object(&map, false);
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[test]
fn members_are_in_the_order_of_the_structs() {
    check(
        json!({"apiVersion": "v1", "kind": "Pod", "status": {"phase": "Running"}, "spec": {"nodeName": "n",
            "containers": [{"image": "i", "name": "c", "args": ["a"]}]},
            "metadata": {"labels": {"b": "1", "a": "2"}, "uid": "u", "name": "p", "annotations": {}}}),
        r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","uid":"u","labels":{"a":"2","b":"1"},"annotations":{}},"spec":{"containers":[{"name":"c","image":"i","args":["a"]}],"nodeName":"n"},"status":{"phase":"Running"}}"#,
    );
    check(
        json!({"apiVersion": "v1", "kind": "Status", "code": 404, "details": {"kind": "pods", "name": "x"}, "metadata": {},
            "message": "m", "reason": "NotFound", "status": "Failure"}),
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"m","reason":"NotFound","details":{"name":"x","kind":"pods"},"code":404}"#,
    );
}

#[test]
fn members_of_custom_objects_are_sorted() {
    check(
        json!({"kind": "Foo", "apiVersion": "example.com/v1", "zeta": {"b": 1, "a": 2}, "data": 1, "metadata": {"uid": "u", "name": "n"}}),
        r#"{"apiVersion":"example.com/v1","data":1,"kind":"Foo","metadata":{"name":"n","uid":"u"},"zeta":{"a":2,"b":1}}"#,
    );
}

#[test]
fn lists_and_tables_hold_typed_items() {
    let item = json!({"metadata": {"uid": "u", "name": "p"}, "spec": {}});
    check(
        json!({"apiVersion": "v1", "items": [item], "kind": "PodList", "metadata": {"continue": "c", "resourceVersion": "7"}}),
        r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"c"},"items":[{"metadata":{"name":"p","uid":"u"},"spec":{}}]}"#,
    );
    let partial =
        json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"uid": "u", "name": "p"}});
    check(
        json!({"apiVersion": "meta.k8s.io/v1", "kind": "Table", "metadata": {}, "columnDefinitions": [
            {"description": "d", "format": "name", "name": "Name", "priority": 0, "type": "string"}],
            "rows": [{"object": partial, "cells": ["p"]}]}),
        r#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{},"columnDefinitions":[{"name":"Name","type":"string","format":"name","description":"d","priority":0}],"rows":[{"cells":["p"],"object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"p","uid":"u"}}}]}"#,
    );
}

#[test]
fn numbers_are_printed_as_go_does() {
    for (number, expected) in [
        (1e15, "1000000000000000"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (1.5e-9, "1.5e-9"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (-2.5e300, "-2.5e+300"),
        (123456789.125, "123456789.125"),
        (1152921504606846976.0, "1152921504606847000"),
        (0.1, "0.1"),
    ] {
        assert_eq!(to_text(&double(number)), expected);
        assert_eq!(to_text(&json!({"a": [double(number)]})), format!("{{\"a\":[{expected}]}}"));
    }
}

#[test]
fn indented_for_people() {
    let text = indented(br#"{"a":{},"b":[1,"x{\"y"],"c":{"d":[]}}"#);
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "{\n  \"a\": {},\n  \"b\": [\n    1,\n    \"x{\\\"y\"\n  ],\n  \"c\": {\n    \"d\": []\n  }\n}"
    );
}

/// What the reference printed of every kind, and of discovery, byte by byte.
#[test]
fn recorded_objects_come_back_in_their_order() {
    let folders = ["roundtrip", "discovery"].into_iter().map(crate::reference::path);
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let Ok(Value::Object(map)) = serde_json::from_str(&text) else { continue };
        // Some kinds do not say what they are.
        if stated_type(&map).is_none() {
            continue;
        }
        let written = String::from_utf8(object(&map, true)).unwrap();
        // The recordings are indented by one space or by two.
        let lines = |text: &str| text.lines().map(|line| line.trim().to_string()).collect::<Vec<_>>();
        assert_eq!(lines(&written), lines(&text), "{}", path.display());
    }
}
