//! Tests of decoding: a body and what becomes of it.

use serde_json::{Value, json};

use super::{FieldValidation, Format, Target, decode};
use crate::patch::{configuration, configuration_warnings};
use crate::schema::Schema;
use crate::{Object, Status};

fn run(
    target: &Target,
    body: &str,
    format: Format,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), String> {
    let decoded = decode(body.as_bytes(), format, target, validation).map_err(|e| Status::from(e).message)?;
    Ok((decoded.object.into_value(), decoded.warnings))
}

fn core(kind: &str) -> Target {
    Target::builtin("", "v1", kind).unwrap()
}

/// The error of a body, or the object as it is printed.
#[track_caller]
fn check(kind: &str, body: &str, expected: Result<Value, &str>) {
    let got = run(&core(kind), body, Format::Json, FieldValidation::Strict).map(|(value, _)| value);
    assert_eq!(got, expected.map_err(str::to_string), "{body}");
}

#[test]
fn wrong_bodies_have_the_reference_errors() {
    let wrong = |body: &str, message: &str| check("Pod", body, Err(message));
    wrong(
        r#"{"kind":"Pod","spec":{"containers":"nope"}}"#,
        r#"Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container"#,
    );
    wrong(
        r#"{"spec":{"containers":[{"name":5}]}}"#,
        r#"Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field Container.spec.containers.name of type string"#,
    );
    wrong(
        r#"{"spec":{"containers":[{"resources":{"requests":{"cpu":"1x"}}}]}}"#,
        "Pod in version \"v1\" cannot be handled as a Pod: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    );
    wrong(
        r#"{"spec":{"containers":[{"ports":[{"containerPort":5000000000}]}]}}"#,
        r#"Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number 5000000000 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32"#,
    );
    wrong(
        r#"{"spec":{"restartPolicy":true,"containers":[{"resources":{"limits":[]}}]}}"#,
        r#"Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal bool into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy"#,
    );
    wrong(
        r#"{"spec":{"containers":[{"resources":{"limits":[]}}]}}"#,
        r#"Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal array into Go struct field ResourceRequirements.spec.containers.resources.limits of type v1.ResourceList"#,
    );
    wrong(
        r#"{"spec":{"volumes":[{"name":"v","configMap":{"name":5}}]}}"#,
        r#"Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field ConfigMapVolumeSource.spec.volumes.VolumeSource.configMap.LocalObjectReference.name of type string"#,
    );
    wrong(
        r#"{"a":"#,
        r#"the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: unexpected end of JSON input ({"a":)"#,
    );
    wrong(
        "nope",
        "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: invalid character 'o' in literal null (expecting 'u') (6e6f7065)",
    );
    wrong(
        r#"{"apiVersion":"v2","kind":"Pod"}"#,
        r#"Pod in version "v2" cannot be handled as a Pod: no kind "Pod" is registered for version "v2" in scheme "pkg/api/legacyscheme/scheme.go:30""#,
    );
    wrong(
        r#"{"apiVersion":"v1","kind":"Secret"}"#,
        r#"Secret in version "v1" cannot be handled as a Pod: converting (v1.Secret) to (core.Pod): unknown conversion"#,
    );
    wrong(
        r#"{"metadata":{"bogus":1,"labels":{"a":"1","a":"2"}},"nope":true}"#,
        r#"Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "metadata.bogus", duplicate field "metadata.labels.a", unknown field "nope""#,
    );
    wrong(
        r#"{"spec":{"containers":[{"x":1},{"y":2}]}}"#,
        r#"Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.containers[0].x", unknown field "spec.containers[1].y""#,
    );
    check(
        "Secret",
        r#"{"data":{"k":"***"}}"#,
        Err(r#"Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 0"#),
    );
    let long = " ".repeat(super::BODY_BYTES_MAX + 1);
    assert!(run(&core("Pod"), &long, Format::Json, FieldValidation::Ignore).unwrap_err().contains("limit is 3145728"));
}

/// A map with `depth` arrays in it, in a field of this name; the reference's error for strict decoding, or none.
#[track_caller]
fn check_deep(field: &str, depth: usize, expected: Option<&str>) {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let name = if open == "[" { "array" } else { "object" };
        let body = format!("{{{field:?}:{}1{}}}", open.repeat(depth), close.repeat(depth));
        let got = run(&core("ConfigMap"), &body, Format::Json, FieldValidation::Ignore).map(|_| ());
        let got = got.map_err(|error| error.replace(&super::summary(body.as_bytes()), "BODY"));
        let expected = expected.map_or(Ok(()), |e| Err(e.replace("NAME", name).replace("OPEN", &open[..1])));
        assert_eq!(got, expected, "{depth} {open}");
    }
}

#[test]
fn nesting_is_parsed_to_the_reference_limit_and_kept_to_ours() {
    let beyond = "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; \
                  json parse error: invalid character 'OPEN' exceeded max depth (BODY)";
    check_deep("unknown", 9_999, None);
    check_deep("unknown", 10_000, Some(beyond));
    check_deep("unknown", 200_000, Some(beyond));
    let wrong = "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal NAME into Go";
    check_deep(
        "kind",
        9_999,
        Some(
            "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse \
             error: json: cannot unmarshal NAME into Go struct field .kind of type string (BODY)",
        ),
    );
    check_deep("immutable", 5_000, Some(&format!("{wrong} struct field ConfigMap.immutable of type bool")));
    // Syntax is checked at any depth.
    let bodies = [
        ("[1,2", "unexpected end of JSON input"),
        ("[1 2]", "invalid character '2' after array element"),
        ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
        ("{\"a\" 1}", "invalid character '1' after object key"),
        ("{\"a\":[1]]", "invalid character ']' after object key:value pair"),
        ("[[],{},[{}],tru]", "invalid character ']' in literal true (expecting 'e')"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
    ];
    for (inner, expected) in bodies {
        for depth in [2, 119, 120, 121, 500] {
            let body = format!("{}{inner}", "[".repeat(depth));
            let error = super::decode_untyped(body.as_bytes(), Format::Json).unwrap_err();
            assert_eq!(error, expected, "{inner} in {depth}");
        }
    }
    let body = format!("{}[[],{{}},[{{\"a\":[1,{{}}],\"b\":null}}],true]{}", "[".repeat(500), "]".repeat(500));
    let error = super::decode_untyped(body.as_bytes(), Format::Json).unwrap_err();
    assert_eq!(error, "exceeded max depth of objects that can be kept");
    let revision = Target::builtin("apps", "v1", "ControllerRevision").unwrap();
    for (depth, is_kept) in [(119, true), (120, false), (9_000, false)] {
        let body = format!("{{\"data\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        let got = run(&revision, &body, Format::Json, FieldValidation::Ignore);
        assert_eq!(got.is_ok(), is_kept, "{depth}: {got:?}");
    }
}

#[test]
fn good_bodies_become_what_go_prints() {
    check(
        "ConfigMap",
        r#"{"data":{"a":"b","n":null},"binaryData":{"n":null},"immutable":false,"metadata":null}"#,
        Ok(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": {"a": "b", "n": ""},
        "binaryData": {"n": ""}, "immutable": false})),
    );
    check(
        "Pod",
        r#"{"metadata":{"name":"a","labels":{},"creationTimestamp":null,"generation":0},
        "spec":{"containers":[{"name":"c","image":"","resources":{"limits":{"cpu":0.5,"memory":"1024Mi"}}}],
        "nodeSelector":null,"hostNetwork":false,"terminationGracePeriodSeconds":0}}"#,
        Ok(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "status": {},
        "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}],
            "terminationGracePeriodSeconds": 0}})),
    );
    check(
        "DeleteOptions",
        r#"{"apiVersion":"apps/v1","kind":"DeleteOptions","propagationPolicy":"Orphan"}"#,
        Ok(json!({
        "apiVersion": "apps/v1", "kind": "DeleteOptions", "propagationPolicy": "Orphan"})),
    );
    let definition = Target::builtin("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
    let body = r#"{"spec":{"versions":[{"name":"v1","schema":{"openAPIV3Schema":{"default":null,"enum":["a",null],
        "additionalProperties":true,"items":{"type":"string"}}}}]}}"#;
    let (value, _) = run(&definition, body, Format::Json, FieldValidation::Strict).unwrap();
    assert_eq!(
        value["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
        json!({"enum": ["a", null], "additionalProperties": true, "items": {"type": "string"}})
    );
    let role = Target::builtin("rbac.authorization.k8s.io", "v1", "Role").unwrap();
    let (value, _) = run(&role, r#"{"metadata":{"name":"r"}}"#, Format::Json, FieldValidation::Strict).unwrap();
    assert_eq!(value["rules"], Value::Null);
    assert!(value.get("rules").is_some());
    let again = super::decode_value(value.clone(), &role, FieldValidation::Strict).unwrap();
    assert_eq!(again.object.into_value(), value);
}

#[test]
fn yaml_is_the_json_it_stands_for() {
    let yaml = "kind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - &c {name: c, tty: yes}\n  activeDeadlineSeconds: 0x10\n";
    let (value, _) = run(&core("Pod"), yaml, Format::Yaml, FieldValidation::Strict).unwrap();
    assert_eq!(
        value["spec"],
        json!({"containers": [{"name": "c", "tty": true, "resources": {}}], "activeDeadlineSeconds": 16})
    );
    let twice = "metadata: {name: a}\ndata: {a: x, a: z}\n";
    let (value, warnings) = run(&core("ConfigMap"), twice, Format::Yaml, FieldValidation::Warn).unwrap();
    assert_eq!((&value["data"]["a"], warnings.len()), (&json!("z"), 1), "{warnings:?}");
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_string();
    for i in 1..12 {
        let one = format!("*a{},", i - 1);
        bomb.push_str(&format!("a{i}: &a{i} [{}x]\n", one.repeat(10)));
    }
    assert!(run(&core("ConfigMap"), &bomb, Format::Yaml, FieldValidation::Ignore).is_err());
}

#[test]
fn custom_objects_are_pruned_and_keep_their_types() {
    let schema = Schema::structural(Some(&json!({"type": "object", "properties": {"spec": {"type": "object",
        "properties": {"n": {"type": "integer"}, "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}})))
    .unwrap();
    let target = Target { group: "ex.com".into(), version: "v1".into(), kind: "Foo".into(), schema, custom: true };
    let body = r#"{"apiVersion":"ex.com/v1","kind":"Foo","metadata":{"name":"f","labels":{}},"spec":{"n":"x","m":1,"free":{"a":[1.5,null]}}}"#;
    let (value, warnings) = run(&target, body, Format::Json, FieldValidation::Warn).unwrap();
    assert_eq!(
        value,
        json!({"apiVersion": "ex.com/v1", "kind": "Foo", "metadata": {"name": "f"},
        "spec": {"n": "x", "free": {"a": [1.5, null]}}})
    );
    assert_eq!(warnings, [r#"unknown field "spec.m""#]);
}

/// Validation tells an empty list from none; what is printed does not.
#[test]
fn empty_lists_are_kept_until_they_are_stored() {
    let target = Target::builtin("", "v1", "Pod").unwrap();
    let body = r#"{"spec":{"containers":[],"tolerations":[],"hostAliases":null,"volumes":[{"name":"v","configMap":{"items":[]}}]}}"#;
    let mut object = decode(body.as_bytes(), Format::Json, &target, FieldValidation::Strict).unwrap().object;
    let (spec, volumes) = (|o: &Object| o.0["spec"].clone(), json!([{"name": "v", "configMap": {}}]));
    let sent = json!({"containers": [], "tolerations": [], "volumes": [{"name": "v", "configMap": {"items": []}}]});
    assert_eq!(spec(&object), sent);
    let owned = super::without_empty_lists(&target.schema, &object);
    assert_eq!(spec(&owned), json!({"containers": [], "volumes": volumes}));
    let encoded = object.encode();
    assert!(super::forget_empty_lists(&target.schema, &mut object, &encoded));
    assert_eq!(spec(&object), json!({"containers": null, "volumes": volumes}));
    let target = Target::builtin("apps", "v1", "ControllerRevision").unwrap();
    let mut raw = decode(br#"{"data":[]}"#, Format::Json, &target, FieldValidation::Strict).unwrap().object;
    let encoded = raw.encode();
    super::forget_empty_lists(&target.schema, &mut raw, &encoded);
    assert_eq!(raw.0["data"], json!([]), "raw JSON is nobody's list");
}

/// What is told of a body of a custom resource whose spec has `known`.
#[track_caller]
fn check_custom(body: &str, format: Format, expected: &[&str]) {
    let of_spec = serde_json::json!({"type": "object", "properties": {"known": {"type": "number"}}});
    let schema = serde_json::json!({"type": "object", "properties": {"spec": of_spec}});
    let schema = crate::schema::Schema::structural(Some(&schema)).unwrap();
    let target = Target { group: "example.com".into(), version: "v1".into(), kind: "Foo".into(), schema, custom: true };
    let body = format!(r#"{{"apiVersion":"example.com/v1","kind":"Foo",{body}}}"#);
    let decoded = decode(body.as_bytes(), format, &target, FieldValidation::Warn).unwrap();
    assert_eq!(decoded.warnings, expected, "{body}");
}

#[test]
fn unknown_fields_of_custom_objects_are_told_in_their_order() {
    let unknown = |path: &str| format!("unknown field {path:?}");
    check_custom(
        r#""spec":{"z":1,"a":2,"known":1},"metadata":{"name":"n","bad":1},"b":3"#,
        Format::Json,
        &[&unknown("metadata.bad"), &unknown("b"), &unknown("spec.a"), &unknown("spec.z")],
    );
    check_custom(
        r#""spec":{"z":1,"z":2,"known":1,"known":2,"y":{"q":1,"q":2}}"#,
        Format::Json,
        &[
            r#"duplicate field "spec.z""#,
            r#"duplicate field "spec.known""#,
            r#"duplicate field "spec.y.q""#,
            &unknown("spec.y"),
            &unknown("spec.z"),
        ],
    );
}

#[test]
fn flow_style_is_yaml_where_json_means_something_else() {
    let told = |body: &str| configuration(body.as_bytes()).map(|(object, findings)| (object.into_value(), findings));
    let (value, findings) = told(r#"{"a": 1, "a": 2, "b": 1e3, "c": 1.50}"#).unwrap();
    assert_eq!(value, serde_json::json!({"a": 2, "b": 1000, "c": 1.5}));
    assert_eq!(configuration_warnings(findings), [r#"line 1: key "a" already set in map"#]);
    assert!(told(r#"{"a": {"b": [1, "x", null, true]}}"#).unwrap().1.is_empty());
}
