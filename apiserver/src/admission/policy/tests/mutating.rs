//! MutatingAdmissionPolicy.

use super::*;

fn configuration(expression: &str) -> Value {
    json!([{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}])
}

fn patch(expression: &str) -> Value {
    json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}])
}

/// `MutatingAdmissionPolicy should mutate a Deployment with annotations` and `should mutate a Deployment`
#[tokio::test]
async fn a_deployment_is_mutated_at_once() {
    let server = Server::new().await;
    let annotate = "\nObject{\n  metadata: Object.metadata{\n    annotations: {\n      \"mutated-by\": \"admission-policy\"\n    }\n  }\n}";
    let spec = json!({"matchConstraints": about_deployments(), "mutations": configuration(annotate)});
    mutate(&server, "annotates", spec, json!({})).await;
    let scale = "Object{spec: Object.spec{replicas: 1337}}";
    let spec = json!({"matchConstraints": about_deployments(), "mutations": configuration(scale)});
    mutate(&server, "scales", spec, json!({})).await;
    let (code, made) = deploy(&server, "d", 1).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(
        (&made["metadata"]["annotations"]["mutated-by"], &made["spec"]["replicas"]),
        (&json!("admission-policy"), &json!(1337))
    );
    // What is added gets its defaults, and is validated.
    let sidecar = "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{containers: [\
                   Object.spec.template.spec.containers{name: 'side', image: 's:1'}]}}}}";
    let spec = json!({"matchConstraints": about_deployments(), "mutations": configuration(sidecar)});
    mutate(&server, "sidecar", spec, json!({})).await;
    let (_, made) = deploy(&server, "with-sidecar", 1).await;
    let containers = &made["spec"]["template"]["spec"]["containers"];
    assert_eq!((&containers[0]["name"], &containers[1]["name"]), (&json!("c"), &json!("side")));
    assert_eq!(containers[1]["imagePullPolicy"], "IfNotPresent", "{made}");
    let owners = made["metadata"]["managedFields"].to_string();
    assert!(!owners.contains("mutated-by") && !owners.contains("side"), "nobody owns what policies set: {owners}");
}

#[tokio::test]
async fn patches_are_applied_in_order() {
    let server = Server::new().await;
    let labels = "[JSONPatch{op: 'test', path: '/data/a', value: 'x'}, \
                  JSONPatch{op: 'add', path: '/metadata/labels', value: {'a/b': variables.up}}, \
                  JSONPatch{op: 'replace', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: object.data.a + '!'.replace('!', '')}]";
    let spec = json!({"matchConstraints": about_config_maps(), "mutations": patch(labels),
        "variables": [{"name": "up", "expression": "object.data.a.upperAscii()"}]});
    mutate(&server, "labels", spec, json!({})).await;
    let (code, made) = make(&server, "one", json!({"a": "x"})).await;
    assert_eq!((code, &made["metadata"]["labels"]), (201, &json!({"a/b": "x"})), "{made}");
    // A test that fails changes nothing.
    let (code, made) = make(&server, "two", json!({"a": "y"})).await;
    assert_eq!((code, &made["metadata"]["labels"]), (201, &Value::Null));
}

#[tokio::test]
async fn what_cannot_be_mutated_is_refused() {
    let server = Server::new().await;
    let refused = async |name: &str, about: Value, mutations: Value| {
        let spec = json!({"matchConstraints": about, "mutations": mutations});
        mutate(&server, name, spec, json!({})).await;
        let answer = deploy(&server, "d", 1).await;
        let path = format!("{GROUP}/mutatingadmissionpolicybindings/{name}");
        assert_eq!(server.send("DELETE", &path, Value::Null).await.0, 200);
        answer
    };
    for (name, mutations, why) in [
        (
            "error",
            configuration("Object{spec: Object.spec{replicas: object.nope}}"),
            "expression 'Object{spec: Object.spec{replicas: object.nope}}' resulted in error: no such key: nope",
        ),
        (
            "atomic",
            configuration("Object{spec: Object.spec{selector: Object.spec.selector{matchLabels: {'a': 'b'}}}}"),
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.selector",
        ),
        ("missing", patch("[JSONPatch{op: 'remove', path: '/spec/nope'}]"), "JSON Patch: "),
    ] {
        let answer = refused(name, about_deployments(), mutations).await;
        let expected = format!("policy '{name}' with binding '{name}' denied request: {why}");
        let (code, reason, message) = told(&answer);
        assert!(message.starts_with(&expected), "{message} is not {expected}");
        assert_eq!((code, reason), (403, "Invalid"));
        assert_eq!(answer.1["details"]["causes"][0]["message"], message);
    }
    // What a patch makes must be of the kind still.
    let answer =
        refused("unknown", about_deployments(), patch("[JSONPatch{op: 'add', path: '/spec/nope', value: 1}]")).await;
    let (code, _, message) = told(&answer);
    assert_eq!((code, message.contains("unknown field \"spec.nope\"")), (500, true), "{message}");
    let answer =
        refused("kind", about_deployments(), patch("[JSONPatch{op: 'replace', path: '/kind', value: 'Pod'}]")).await;
    assert_eq!(told(&answer).0, 500, "{answer:?}");
    let answer =
        refused("invalid", about_deployments(), configuration("Object{spec: Object.spec{replicas: -1}}")).await;
    assert_eq!(told(&answer).0, 422, "what policies make is validated");
    assert_eq!(deploy(&server, "d", 1).await.0, 201);
}

#[tokio::test]
async fn failures_may_be_ignored_and_deletions_are_not_mutated() {
    let server = Server::new().await;
    let about = json!({"resourceRules": [rule("", &["configmaps"], &["*"])]});
    let spec = json!({"matchConstraints": about, "failurePolicy": "Ignore",
    "mutations": [
        {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'remove', path: '/nope'}]"}},
        {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{metadata: Object.metadata{labels: {'a': 'b'}}}"}},
    ]});
    mutate(&server, "p", spec, json!({})).await;
    let (code, made) = make(&server, "c", json!({})).await;
    assert_eq!((code, &made["metadata"]["labels"]), (201, &json!({"a": "b"})), "the next mutation goes on");
    assert_eq!(server.send("DELETE", &format!("{CONFIG_MAPS}/c"), Value::Null).await.0, 200);
}

#[tokio::test]
async fn policies_see_each_other_and_come_twice_if_they_may() {
    let server = Server::new().await;
    let count = |name: &str| {
        format!(
            "Object{{metadata: Object.metadata{{annotations: {{'{name}': string(int(object.metadata.?annotations[?'{name}'].orValue('0')) + 1)}}}}}}"
        )
    };
    for (name, again) in [("a-again", "IfNeeded"), ("b-once", "Never"), ("c-last", "IfNeeded")] {
        let spec = json!({"matchConstraints": about_config_maps(), "mutations": configuration(&count(name)), "reinvocationPolicy": again});
        mutate(&server, name, spec, json!({})).await;
    }
    let (code, made) = make(&server, "c", json!({})).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["metadata"]["annotations"], json!({"a-again": "2", "b-once": "1", "c-last": "2"}));
}

#[tokio::test]
async fn conditions_and_parameters_hold_for_mutations_too() {
    let server = Server::new().await;
    assert_eq!(make(&server, "params", json!({"value": "v"})).await.0, 201);
    let spec = json!({"matchConstraints": about_deployments(), "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "big", "expression": "object.spec.replicas > 1"}],
        "mutations": configuration("Object{metadata: Object.metadata{annotations: {'p': params.data.value}}}")});
    let reference = json!({"paramRef": {"name": "params", "parameterNotFoundAction": "Deny"}});
    mutate(&server, "p", spec, reference).await;
    let annotation = |made: &Value| made["metadata"]["annotations"]["p"].clone();
    assert_eq!(annotation(&deploy(&server, "small", 1).await.1), Value::Null);
    assert_eq!(annotation(&deploy(&server, "big", 2).await.1), json!("v"));
    // What is mutated is validated as it was made.
    let spec = json!({"matchConstraints": about_deployments(), "validations": [{"expression":
        "!has(object.metadata.annotations) || !('p' in object.metadata.annotations)", "message": "mutated"}]});
    validate(&server, "after", spec, json!({})).await;
    assert!(told(&deploy(&server, "again", 2).await).2.ends_with("denied request: mutated"));
}
