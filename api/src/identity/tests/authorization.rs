//! The tables of `TestValidateAuthorizationConfiguration` in apiserver's `apis/apiserver/validation`, and conditions.

use serde_json::json;

use super::*;
use crate::identity::aggregate;

const HEAD: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers: ";

fn regular(file: &str) -> Option<String> {
    match file {
        "/good" => None,
        "/folder" => Some("must be a regular file".into()),
        other => Some(format!("error loading file: stat {other}: no such file or directory")),
    }
}

fn problems(authorizers: &Value) -> String {
    let read = AuthorizationConfiguration::read(format!("{HEAD}{authorizers}").as_bytes()).unwrap();
    aggregate(&read.validate(&regular)).unwrap_or_default()
}

fn check(authorizers: Value, expected: &str) {
    assert_eq!(problems(&authorizers), expected, "{authorizers}");
}

fn webhook() -> Value {
    json!({
        "timeout": "5s", "authorizedTTL": "5m", "unauthorizedTTL": "30s", "failurePolicy": "NoOpinion",
        "subjectAccessReviewVersion": "v1", "matchConditionSubjectAccessReviewVersion": "v1",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "/good"},
        "matchConditions": [],
    })
}

#[test]
fn authorizers_have_types_and_names() {
    let hook = |name: &str| json!({"type": "Webhook", "name": name, "webhook": webhook()});
    check(json!([]), "authorizers: Required value: at least one authorization mode must be defined");
    check(json!([{"name": "foo"}]), "authorizers[0].type: Required value");
    check(json!([{"type": "RBAC"}]), "authorizers[0].name: Required value");
    check(json!([hook("foo"), hook("foo")]), "authorizers[1].name: Duplicate value: \"foo\"");
    check(json!([hook("foo"), hook("bar"), hook("a.example.domain")]), "");
    let found = problems(&json!([hook("FOO.example.domain")]));
    let invalid =
        "authorizers[0].name: Invalid value: \"FOO.example.domain\": authorizer name is invalid: a lowercase RFC 1123";
    assert!(found.starts_with(invalid), "{found}");
    let unknown = "authorizers[0].type: Unsupported value: \"Foo\": supported values: \"ABAC\", \"AlwaysAllow\", \
                   \"AlwaysDeny\", \"Node\", \"RBAC\", \"Webhook\"";
    check(json!([{"type": "Foo", "name": "foo"}]), unknown);
    let twice = json!([{"type": "RBAC", "name": "a"}, {"type": "RBAC", "name": "b"}]);
    check(twice, "authorizers[1].type: Duplicate value: \"RBAC\"");
    let none = "authorizers[0].webhook: Required value: required when type=Webhook";
    check(json!([{"type": "Webhook", "name": "foo"}]), none);
    let other = "authorizers[0].webhook: Invalid value: \"non-null\": may only be specified when type=Webhook";
    check(json!([{"type": "RBAC", "name": "foo", "webhook": webhook()}]), other);
}

#[test]
fn webhooks_are_checked() {
    let with = |field: &str, value: Value, expected: &str| {
        let mut webhook = webhook();
        webhook[field] = value;
        let expected = if expected.is_empty() { String::new() } else { format!("authorizers[0].{expected}") };
        check(json!([{"type": "Webhook", "name": "foo", "webhook": webhook}]), &expected);
    };
    with("timeout", Value::Null, "timeout: Required value");
    with("timeout", json!("0s"), "timeout: Required value");
    with("timeout", json!("-30s"), "timeout: Invalid value: \"-30s\": must be > 0s and <= 30s");
    with("timeout", json!("60s"), "timeout: Invalid value: \"1m0s\": must be > 0s and <= 30s");
    with("authorizedTTL", json!("-30s"), "authorizedTTL: Invalid value: \"-30s\": must be > 0s");
    with("unauthorizedTTL", json!("-30s"), "unauthorizedTTL: Invalid value: \"-30s\": must be > 0s");
    with("subjectAccessReviewVersion", json!(""), "subjectAccessReviewVersion: Required value");
    let versions = "subjectAccessReviewVersion: Unsupported value: \"v2beta1\": supported values: \"v1\", \"v1beta1\"";
    with("subjectAccessReviewVersion", json!("v2beta1"), versions);
    let version = "matchConditionSubjectAccessReviewVersion: Unsupported value: \"v1beta1\": supported values: \"v1\"";
    with("matchConditionSubjectAccessReviewVersion", json!("v1beta1"), version);
    with("failurePolicy", json!(""), "failurePolicy: Required value");
    let policy = "failurePolicy: Unsupported value: \"AlwaysAllow\": supported values: \"NoOpinion\", \"Deny\"";
    with("failurePolicy", json!("AlwaysAllow"), policy);
    let info = |kind: &str, file: Value, expected: &str| {
        let expected = if expected.is_empty() { String::new() } else { format!("connectionInfo.{expected}") };
        with("connectionInfo", json!({"type": kind, "kubeConfigFile": file}), &expected);
    };
    info("", Value::Null, "type: Required value");
    let other = "type: Unsupported value: {\"KubeConfigFile\":null,\"Type\":\"External\"}: supported values: \
                 \"InClusterConfig\", \"KubeConfigFile\"";
    info("External", Value::Null, other);
    info("InClusterConfig", json!(""), "kubeConfigFile: Invalid value: \"\": can only be set when type=KubeConfigFile");
    info("InClusterConfig", Value::Null, "");
    info("KubeConfigFile", Value::Null, "kubeConfigFile: Required value");
    info("KubeConfigFile", json!("a"), "kubeConfigFile: Invalid value: \"a\": must be an absolute path");
    info("KubeConfigFile", json!("/folder"), "kubeConfigFile: Invalid value: \"/folder\": must be a regular file");
    let gone = "kubeConfigFile: Invalid value: \"/x\": error loading file: stat /x: no such file or directory";
    info("KubeConfigFile", json!("/x"), gone);
    info("KubeConfigFile", json!("/good"), "");
}

#[test]
fn conditions_are_checked() {
    let with = |conditions: Value, version: &str, expected: &str| {
        let mut webhook = webhook();
        webhook["matchConditions"] = conditions;
        webhook["matchConditionSubjectAccessReviewVersion"] = version.into();
        let expected = if expected.is_empty() { String::new() } else { format!("authorizers[0].{expected}") };
        check(json!([{"type": "Webhook", "name": "foo", "webhook": webhook}]), &expected);
    };
    let one = json!({"expression": "request.user == 'a'"});
    with(json!([one]), "v1", "");
    let missing =
        "matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are specified";
    with(json!([one]), "", missing);
    with(json!([one, one]), "v1", "matchConditions[1].expression: Duplicate value: \"request.user == 'a'\"");
    with(json!([{"expression": " "}]), "v1", "matchConditions[0].expression: Required value");
    let text = "matchConditions[0].expression: Invalid value: \"request.user\": must evaluate to bool but got string";
    with(json!([{"expression": "request.user"}]), "v1", text);
    with(Value::from(vec![one; 65]), "v1", "matchConditions: Too many: 65: must have at most 64 items");
}

#[test]
fn what_a_file_leaves_out_is_filled_in() {
    for version in ["v1", "v1beta1", "v1alpha1"] {
        let file = format!(
            "apiVersion: apiserver.config.k8s.io/{version}\nkind: AuthorizationConfiguration\nauthorizers:\n- type: Webhook\n  \
             webhook: {{}}\n"
        );
        let read = AuthorizationConfiguration::read(file.as_bytes()).unwrap();
        let webhook = read.authorizers[0].webhook.as_ref().unwrap();
        assert_eq!((webhook.authorized_ttl, webhook.unauthorized_ttl), (300 * SECOND, 30 * SECOND));
        assert_eq!((webhook.cache_authorized_requests, webhook.cache_unauthorized_requests), (Some(true), Some(true)));
        assert_eq!(webhook.timeout, 0);
    }
}

#[test]
fn names_and_types_are_those_of_the_server() {
    let load = |authorizers: Value, required: &[&str]| {
        let required: Vec<String> = required.iter().map(ToString::to_string).collect();
        AuthorizationConfiguration::load(format!("{HEAD}{authorizers}").as_bytes(), &required, &regular)
    };
    let both = json!([{"type": "Node", "name": "node"}, {"type": "RBAC", "name": "rbac"}]);
    assert_eq!(load(both.clone(), &["RBAC", "Node"]).map(|read| read.authorizers.len()), Ok(2));
    let named = load(json!([{"type": "RBAC", "name": "mine"}]), &[]).unwrap_err();
    assert_eq!(named, "expected name rbac for authorizer RBAC instead of mine");
    let gone = load(json!([{"type": "RBAC", "name": "rbac"}]), &["RBAC", "Node", "ABAC"]).unwrap_err();
    assert_eq!(gone, "missing required types: [ABAC Node]");
    let unread = AuthorizationConfiguration::load(b"{}", &[], &regular).unwrap_err();
    assert!(
        unread.starts_with("failed to load AuthorizationConfiguration from file: Object 'Kind' is missing"),
        "{unread}"
    );
}

#[test]
fn conditions_see_the_review() {
    let matches = |sources: &[&str], spec: Value| {
        let conditions: Vec<MatchCondition> =
            sources.iter().map(|source| MatchCondition { expression: source.to_string() }).collect();
        MatchConditions::compile(&conditions, &Path::root()).unwrap().match_spec(&spec)
    };
    let pods = json!({"user": "alice", "resourceAttributes": {"verb": "list", "resource": "pods"}});
    let healthz = json!({"user": "bob", "groups": ["g"], "nonResourceAttributes": {"verb": "get", "path": "/healthz"}});
    assert_eq!(matches(&[], pods.clone()), Ok(true));
    let about_default = "has(request.resourceAttributes) && request.resourceAttributes.namespace == 'default'";
    assert_eq!(matches(&[about_default], pods.clone()), Ok(false), "what is left out is empty");
    assert_eq!(matches(&[about_default], healthz.clone()), Ok(false));
    assert_eq!(matches(&["'g' in request.groups", "request.user == 'bob'"], healthz.clone()), Ok(true));
    assert_eq!(matches(&["'g' in request.groups || size(request.extra) > 0"], pods.clone()), Ok(false));
    let failing = "request.nonResourceAttributes.path == '/healthz'";
    let why =
        format!("cel evaluation error: expression '{failing}' resulted in error: no such key: nonResourceAttributes");
    assert_eq!(matches(&[failing], pods.clone()), Err(why));
    assert_eq!(matches(&[failing, "request.user == 'bob'"], pods.clone()), Ok(false), "one that is false decides");
    let selector = json!({"requirements": [{"key": "spec.nodeName", "operator": "In", "values": ["n"]}]});
    let selecting = json!({"user": "n", "resourceAttributes": {"verb": "list", "fieldSelector": selector}});
    let source =
        "request.resourceAttributes.fieldSelector.requirements.exists(r, r.key == 'spec.nodeName' && 'n' in r.values)";
    assert_eq!(matches(&[source], selecting), Ok(true));
}
