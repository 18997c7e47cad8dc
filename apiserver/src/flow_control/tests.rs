//! Which requests belong to which schema.

use api::Object;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::table::{LEVEL_UID, SCHEMA_UID};
use super::*;
use crate::request::Query;

fn object(value: Value) -> Object {
    Object::from_value(value).unwrap()
}

fn level(name: &str, kind: &str) -> Object {
    object(json!({"metadata": {"name": name, "uid": format!("level-{name}")}, "spec": {"type": kind,
        kind.to_lowercase(): {"limitResponse": {"type": "Reject"}}}}))
}

fn schema(name: &str, precedence: i64, level: &str, rule: Value) -> Object {
    object(json!({"metadata": {"name": name, "uid": format!("schema-{name}")}, "spec": {
        "matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": level}, "rules": [rule],
    }}))
}

fn info(request: &str) -> RequestInfo {
    let (method, url) = request.split_once(' ').unwrap();
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    RequestInfo::new(&method.parse::<Method>().unwrap(), path, &Query::parse(query)).unwrap()
}

/// Whether a rule makes a request of `user` (`name group,group`) its schema's.
fn check(rule: Value, user: &str, request: &str, matches: bool) {
    let table = FlowTable::new(1, &[schema("it", 1000, "level", rule.clone())], &[level("level", "Limited")]);
    let (name, groups) = user.split_once(' ').unwrap_or((user, ""));
    let groups: Vec<String> = groups.split(',').map(String::from).collect();
    let user = UserInfo { username: name.into(), groups, ..UserInfo::default() };
    let flow = table.classify(&user, &info(request));
    assert_eq!(flow.schema == "it", matches, "{rule} {user:?} {request}: {flow:?}");
    assert!(matches || flow.schema == CATCH_ALL);
}

fn rule(subject: Value) -> Value {
    json!({"subjects": [subject],
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]})
}

#[test]
fn subjects_match_by_name_and_star() {
    let get = "GET /version";
    let user = |name: &str| rule(json!({"kind": "User", "user": {"name": name}}));
    check(user("noxu"), "noxu", get, true);
    check(user("noxu"), "foo", get, false);
    check(user("*"), "anybody", get, true);
    let group = |name: &str| rule(json!({"kind": "Group", "group": {"name": name}}));
    check(group("b"), "x a,b", get, true);
    check(group("c"), "x a,b", get, false);
    check(group("*"), "x", get, true);
    let account = |namespace: &str, name: &str| {
        rule(json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": name}}))
    };
    check(account("a", "b"), "system:serviceaccount:a:b", get, true);
    check(account("a", "b"), "system:serviceaccount:a:bb", get, false);
    check(account("a", "*"), "system:serviceaccount:a:b", get, true);
    check(account("a", "*"), "system:serviceaccount:aa:b", get, false);
    check(rule(json!({"kind": "User", "group": {"name": "*"}})), "x", get, false);
}

#[test]
fn resource_rules_need_every_part() {
    let with = |field: &str, value: Value| {
        let mut rule = rule(json!({"kind": "User", "user": {"name": "*"}}));
        rule["resourceRules"][0][field] = value;
        rule
    };
    let pods = "GET /api/v1/namespaces/a/pods/p";
    check(with("verbs", json!(["get", "list"])), "x", pods, true);
    check(with("verbs", json!(["list"])), "x", pods, false);
    check(with("apiGroups", json!([""])), "x", pods, true);
    check(with("apiGroups", json!(["apps"])), "x", pods, false);
    check(with("resources", json!(["pods"])), "x", pods, true);
    check(with("resources", json!(["pods"])), "x", &format!("{pods}/status"), false);
    check(with("resources", json!(["pods/status"])), "x", &format!("{pods}/status"), true);
    check(with("resources", json!(["pods/status"])), "x", pods, false);
    check(with("namespaces", json!(["b", "a"])), "x", pods, true);
    check(with("namespaces", json!(["b"])), "x", pods, false);
    check(with("clusterScope", json!(false)), "x", "GET /api/v1/pods", false);
    check(with("namespaces", json!([])), "x", "GET /api/v1/pods", true);
    check(with("namespaces", json!([])), "x", pods, false);
}

#[test]
fn paths_match_whole_or_below() {
    let with = |urls: Value| {
        let mut rule = rule(json!({"kind": "User", "user": {"name": "*"}}));
        rule["nonResourceRules"][0] = json!({"verbs": ["get"], "nonResourceURLs": urls});
        rule
    };
    check(with(json!(["/healthz"])), "x", "GET /healthz", true);
    check(with(json!(["/healthz"])), "x", "GET /healthz/ping", true);
    check(with(json!(["/healthz"])), "x", "GET /healthzz", false);
    check(with(json!(["/apis/*"])), "x", "GET /apis", false);
    check(with(json!(["/apis/*"])), "x", "GET /apis/apps", true);
    check(with(json!(["/health*"])), "x", "GET /healthz", false);
    check(with(json!(["*"])), "x", "POST /version", false);
    check(with(json!(["*"])), "x", "GET /api/v1/pods", true);
}

#[test]
fn the_lowest_precedence_wins_then_the_name() {
    let any = || rule(json!({"kind": "User", "user": {"name": "*"}}));
    let levels = [level("l", "Limited"), level("exempt", "Exempt")];
    let schemas = [
        schema("catch-all", 10_000, "l", any()),
        schema("b", 7, "l", any()),
        schema("a", 7, "exempt", any()),
        schema("dangling", 1, "gone", any()),
    ];
    let table = FlowTable::new(1, &schemas, &levels);
    let flow = table.classify(&UserInfo::new("x", &[]), &info("GET /version"));
    assert_eq!((flow.schema.as_str(), flow.level.as_str(), flow.exempt), ("a", "exempt", true));
    let mut headers = HeaderMap::new();
    flow.set_headers(&mut headers);
    assert_eq!(headers[SCHEMA_UID], "schema-a");
    assert_eq!(headers[LEVEL_UID], "level-exempt");
}

#[test]
fn the_mandatory_ones_are_there_without_being_stored() {
    let table = FlowTable::new(1, &[], &[]);
    let masters = table.classify(&UserInfo::new("x", &["system:masters"]), &info("GET /version"));
    assert!(masters.exempt && masters.schema == EXEMPT);
    let others = table.classify(&UserInfo::default(), &info("DELETE /api/v1/pods"));
    assert!(!others.exempt && others.schema == CATCH_ALL);
}
