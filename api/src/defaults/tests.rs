//! Tests of defaults: what is added to small objects, and the recorded answers of the reference.

use serde_json::{Value, json};

use super::{apply, drop_nulls};
use crate::decode::{FieldValidation, Target, decode_value};
use crate::schema::Schema;

fn defaulted(body: Value) -> Value {
    let (api_version, kind) = (body["apiVersion"].as_str().unwrap(), body["kind"].as_str().unwrap());
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let target = Target::builtin(group, version, kind).unwrap_or_else(|| panic!("{api_version} {kind}"));
    let mut object = decode_value(body.clone(), &target, FieldValidation::Ignore).unwrap().object;
    apply(&target.schema, &mut object);
    let once = object.clone();
    apply(&target.schema, &mut object);
    crate::decode::normalise(&target.schema, &mut object);
    assert_eq!(once, object, "defaults twice are defaults once");
    object.into_value()
}

/// The value at a pointer after defaulting.
#[track_caller]
fn check(api_version: &str, kind: &str, rest: Value, pointer: &str, expected: Value) {
    let mut body = json!({"apiVersion": api_version, "kind": kind});
    body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    let got = defaulted(body);
    assert_eq!(got.pointer(pointer).unwrap_or(&Value::Null), &expected, "{got:#}");
}

#[test]
fn conditional_defaults() {
    let pull = |image: &str, policy: &str| {
        let pod = json!({"spec": {"containers": [{"name": "c", "image": image}]}});
        check("v1", "Pod", pod, "/spec/containers/0/imagePullPolicy", json!(policy));
    };
    pull("nginx", "Always");
    pull("nginx:1", "IfNotPresent");
    pull("localhost:5000/a/b", "Always");
    pull("localhost:5000/a/b:latest", "Always");
    pull("nginx@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "IfNotPresent");
    pull("Not An Image", "IfNotPresent");
    let limits = json!({"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1", "memory": "1Gi"},
        "requests": {"cpu": "100u"}}}]}});
    check("v1", "Pod", limits, "/spec/containers/0/resources/requests", json!({"cpu": "1m", "memory": "1Gi"}));
    let service = json!({"spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    check("v1", "Service", service.clone(), "/spec/ports", json!([{"port": 80, "protocol": "TCP", "targetPort": 80}]));
    check("v1", "Service", service, "/spec/externalTrafficPolicy", json!("Cluster"));
    let job = json!({"spec": {"parallelism": 2, "template": {"metadata": {"labels": {"a": "b"}}}}});
    check("batch/v1", "Job", job.clone(), "/spec/completions", Value::Null);
    check("batch/v1", "Job", job, "/metadata/labels", json!({"a": "b"}));
    check(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        json!({"spec": {"egress": [{}]}}),
        "/spec/policyTypes",
        json!(["Ingress", "Egress"]),
    );
    let volume = json!({"spec": {"containers": [], "volumes": [{"name": "v"}]}});
    check("v1", "Pod", volume, "/spec/volumes/0", json!({"name": "v", "emptyDir": {}}));
    let pod = json!({"spec": {"resources": {"limits": {"cpu": "2"}}, "containers": [
        {"name": "a", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}, {"name": "b", "resources": {"requests": {"cpu": "500m"}}}]}});
    check("v1", "Pod", pod, "/spec/resources/requests", json!({"cpu": "1500m", "memory": "1Gi"}));
}

#[test]
fn custom_defaults_come_from_the_schema() {
    let schema = Schema::structural(Some(&json!({"type": "object", "properties": {"spec": {"type": "object", "default": {},
        "properties": {"n": {"type": "integer", "default": 3}, "m": {"type": "string", "nullable": true},
        "list": {"type": "array", "items": {"type": "object", "properties": {"p": {"type": "string", "default": "TCP"}}}}}}}})))
    .unwrap();
    let run = |body: Value| {
        let mut object = crate::Object::from_value(body).unwrap();
        apply(&schema, &mut object);
        object.into_value()["spec"].clone()
    };
    assert_eq!(run(json!({})), json!({"n": 3}));
    assert_eq!(
        run(json!({"spec": {"n": null, "m": null, "list": [{}, {"p": "x"}]}})),
        json!({"n": 3, "m": null, "list": [{"p": "TCP"}, {"p": "x"}]})
    );
}

#[test]
fn nulls_of_custom_objects_are_dropped_without_defaulting() {
    let text = json!({"type": "string"});
    let schema =
        Schema::structural(Some(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "plain": text, "free": {"x-kubernetes-preserve-unknown-fields": true},
        "n": {"type": "integer", "default": 3}, "m": {"type": "string", "nullable": true},
        "list": {"type": "array", "items": {"type": "object", "properties": {"p": text}}},
        "map": {"type": "object", "additionalProperties": text}}}}})))
        .unwrap();
    let body = json!({"metadata": {"labels": null}, "spec": {"plain": null, "free": null, "n": null, "m": null,
        "list": [null, {"p": null}], "map": {"a": null, "b": "c"}}});
    let mut object = crate::Object::from_value(body).unwrap();
    drop_nulls(&schema, &mut object);
    let left =
        json!({"metadata": {"labels": null}, "spec": {"n": null, "m": null, "list": [null, {}], "map": {"b": "c"}}});
    assert_eq!(object.into_value(), left);
}

/// Takes from an answer what admission, strategies and the store added, as far as these cases go.
fn without_server_fields(case: &str, value: &mut Value, sent: &Value) {
    if let Some(metadata) = value["metadata"].as_object_mut() {
        for name in ["creationTimestamp", "generation", "managedFields", "resourceVersion", "uid"] {
            metadata.remove(name);
        }
    }
    let admitted: &[&str] = match case {
        "defaults v1 Pod" => &[
            "/spec/priority",
            "/spec/preemptionPolicy",
            "/spec/serviceAccount",
            "/spec/serviceAccountName",
            "/spec/tolerations",
            "/status",
            "/spec/volumes",
            "/spec/containers/0/volumeMounts",
        ],
        "defaults v1 Node" => &["/spec/taints", "/status"],
        "defaults batch/v1 Job" => &["/spec/selector", "/metadata/labels", "/spec/template/metadata"],
        _ => &["/status", "/spec/finalizers", "/metadata/finalizers", "/metadata/annotations", "/metadata/labels"],
    };
    for pointer in admitted {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        if sent.pointer(pointer).is_none()
            && let Some(map) = value.pointer_mut(parent).and_then(Value::as_object_mut)
        {
            map.remove(name);
        }
    }
}

#[test]
fn recorded_defaults_match() {
    let cases: Vec<Value> = serde_json::from_str(&crate::reference::text("recorded-api-cases.json")).unwrap();
    let mut failures = Vec::new();
    for case in cases.iter().filter(|c| c["name"].as_str().unwrap().starts_with("defaults")) {
        let name = case["name"].as_str().unwrap();
        for step in case["steps"].as_array().unwrap() {
            let mut expected = step["expect"]["body"].clone();
            if expected["kind"] == "Status" || !step["body"]["kind"].is_string() {
                continue;
            }
            let mut got = defaulted(step["body"].clone());
            without_server_fields(name, &mut expected, &step["body"]);
            without_server_fields(name, &mut got, &step["body"]);
            if got != expected {
                failures.push(format!("{name}:\n got {got}\nwant {expected}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn amounts_are_rounded_up_to_a_thousandth() {
    let quota = json!({"spec": {"hard": {"cpu": "0.0001", "pods": "100u"}}});
    check("v1", "ResourceQuota", quota, "/spec/hard", json!({"cpu": "1m", "pods": "1m"}));
    let limits = json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "1n"}}]}});
    check("v1", "LimitRange", limits, "/spec/limits/0/defaultRequest/cpu", json!("1m"));
    let volume = json!({"spec": {"capacity": {"storage": "0.0001"}}});
    check("v1", "PersistentVolume", volume, "/spec/capacity/storage", json!("1m"));
    let class = json!({"handler": "x", "overhead": {"podFixed": {"cpu": "10u"}}});
    check("node.k8s.io/v1", "RuntimeClass", class, "/overhead/podFixed/cpu", json!("10u"));
}

#[test]
fn what_decoding_makes_of_old_ways() {
    let template = json!({"template": {"spec": {"containers": [], "serviceAccount": "x"}}});
    check("v1", "PodTemplate", template, "/template/spec/serviceAccountName", json!("x"));
    let named = json!({"spec": {"containers": [], "serviceAccountName": "y", "serviceAccount": "x"}});
    check("v1", "Pod", named, "/spec/serviceAccount", json!("y"));
    let hasty = json!({"spec": {"containers": [], "terminationGracePeriodSeconds": -1}});
    check("v1", "Pod", hasty, "/spec/terminationGracePeriodSeconds", json!(1));
    let template = json!({"template": {"spec": {"containers": [], "terminationGracePeriodSeconds": -1}}});
    check("v1", "PodTemplate", template, "/template/spec/terminationGracePeriodSeconds", json!(-1));
    let annotated = json!({"metadata": {"annotations": {"pod.beta.kubernetes.io/init-containers": "[]", "a": "b"}}});
    check("v1", "Pod", annotated, "/metadata/annotations", json!({"a": "b"}));
}
