//! Whom one may act as, by which verb, and what one then is.

use api::Object;
use http::HeaderValue;
use serde_json::{Value, json};
use store::{Memory, Operation, Transaction};

use super::*;
use crate::Config;
use crate::authorization::{Rbac, authorizers};
use crate::registry::key;

const RBAC: &str = "rbac.authorization.k8s.io";

/// A server where `asker` has these rules.
async fn registry(rules: Value) -> Registry {
    let mut config = Config::new(Memory::new());
    config.plugins.authorizers = authorizers(&Arc::new(Rbac::default()));
    let registry = Registry::new(config, api::catalogue::Catalogue::default());
    let role = json!({"metadata": {"name": "r"}, "rules": rules});
    let subjects =
        json!([{"kind": "User", "name": "asker"}, {"kind": "ServiceAccount", "namespace": "a", "name": "agent"}]);
    let binding =
        json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": subjects});
    let operations = [("clusterroles", role), ("clusterrolebindings", binding)].map(|(resource, object)| {
        let object = Object::from_value(object).unwrap();
        Operation::Put(key(RBAC, resource, "", object.name()).into(), object.encode())
    });
    let transaction = Transaction { operations: operations.into(), ..Transaction::default() };
    registry.store().commit(transaction).await.unwrap();
    registry
}

fn rule(group: &str, resource: &str, verb: &str) -> Value {
    json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]})
}

async fn act(registry: &Registry, asker: UserInfo, given: &[(&'static str, &str)]) -> Result<Arc<UserInfo>, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let asker = Arc::new(asker);
    let asked = Attributes {
        user: &asker,
        verb: "list",
        namespace: "a",
        group: "",
        version: "v1",
        resource: "pods",
        subresource: "",
        name: "",
        field_selector: "",
        label_selector: "",
        is_resource_request: true,
        path: "",
    };
    let acting = impersonate(&mut headers, asked, &asker, registry).await;
    if acting.is_ok() {
        assert!(headers.is_empty(), "the headers are taken out");
    }
    acting.map(|user| user.unwrap_or(asker)).map_err(|status| status.message)
}

fn asker() -> UserInfo {
    UserInfo::new("asker", &[])
}

fn admin() -> UserInfo {
    UserInfo::new("admin", &["system:masters"])
}

#[tokio::test]
async fn a_name_that_is_not_ascii_is_somebody_else() {
    let registry = registry(json!([])).await;
    let acting = act(&registry, admin(), &[("impersonate-user", "jürgen")]).await.unwrap();
    assert_eq!((acting.username.as_str(), &acting.groups[..]), ("jürgen", &["system:authenticated".to_string()][..]));
    let refused = act(&registry, asker(), &[("impersonate-user", "jürgen")]).await.unwrap_err();
    let expected = concat!(
        r#"pods is forbidden: User "asker" cannot impersonate-on:user-info:list resource "pods" "#,
        r#"in API group "" in the namespace "a""#
    );
    assert_eq!(refused, expected);
    let same = act(&registry, admin(), &[]).await.unwrap();
    assert_eq!(same.username, "admin");
}

#[tokio::test]
async fn the_old_verb_suffices_for_everything() {
    let rules = json!([
        rule("", "users", "impersonate"),
        rule("", "groups", "impersonate"),
        rule("", "serviceaccounts", "impersonate"),
        rule("authentication.k8s.io", "userextras/scopes", "impersonate"),
    ]);
    let registry = registry(rules).await;
    let groups = [("impersonate-user", "alice"), ("impersonate-group", "system:masters"), ("impersonate-group", "b")];
    let acting = act(&registry, asker(), &groups).await.unwrap();
    assert_eq!(acting.groups, ["system:masters", "b", "system:authenticated"]);
    let account = [("impersonate-user", "system:serviceaccount:a:b"), ("impersonate-extra-scopes", "v")];
    let acting = act(&registry, asker(), &account).await.unwrap();
    assert_eq!(acting.groups, ["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"]);
    assert_eq!(acting.extra["scopes"], ["v"]);
    let nobody = act(&registry, asker(), &[("impersonate-user", "system:anonymous")]).await.unwrap();
    assert_eq!(nobody.groups, ["system:unauthenticated"]);
    let other = [("impersonate-user", "alice"), ("impersonate-extra-other", "v")];
    act(&registry, asker(), &other).await.unwrap_err();
    act(&registry, asker(), &[("impersonate-user", "alice"), ("impersonate-uid", "1")]).await.unwrap_err();
    // A name that no service account can have is a user's.
    act(&registry, asker(), &[("impersonate-user", "system:serviceaccount:A:b:c")]).await.unwrap();
}

#[tokio::test]
async fn constrained_ways_need_both_verbs() {
    let group = "authentication.k8s.io";
    let on = rule("", "pods", "impersonate-on:user-info:list");
    let users = rule(group, "users", "impersonate:user-info");
    let groups = rule(group, "groups", "impersonate:user-info");
    let alice = [("impersonate-user", "alice")];
    for (rules, allowed) in
        [(json!([on, users]), true), (json!([on]), false), (json!([users]), false), (json!([groups, on]), false)]
    {
        assert_eq!(act(&registry(rules.clone()).await, asker(), &alice).await.is_ok(), allowed, "{rules}");
    }
    let all = registry(json!([on, users, groups])).await;
    let in_group = |group: &'static str| [("impersonate-user", "alice"), ("impersonate-group", group)];
    act(&all, asker(), &in_group("dev")).await.unwrap();
    let refused = act(&all, asker(), &in_group("system:masters")).await.unwrap_err();
    assert!(refused.starts_with("groups.authentication.k8s.io \"system:masters\" is forbidden"), "{refused}");
    assert!(refused.ends_with("impersonating the system:masters group is not allowed"), "{refused}");
    let refused = act(&all, asker(), &in_group("")).await.unwrap_err();
    assert!(refused.ends_with("impersonating the empty string group is not allowed"), "{refused}");
    // Nodes and service accounts have ways of their own.
    act(&all, asker(), &[("impersonate-user", "system:node:n")]).await.unwrap_err();
    act(&all, asker(), &[("impersonate-user", "system:serviceaccount:a:b")]).await.unwrap_err();
}

#[tokio::test]
async fn an_account_acts_as_the_node_it_runs_on() {
    let rules = json!([
        rule("authentication.k8s.io", "nodes", "impersonate:associated-node"),
        rule("", "pods", "impersonate-on:associated-node:list"),
    ]);
    let registry = registry(rules).await;
    let mut agent = UserInfo::service_account("a", "agent");
    agent.extra.insert(NODE_NAME.into(), vec!["n".into()]);
    let acting = act(&registry, agent.clone(), &[("impersonate-user", "system:node:n")]).await.unwrap();
    assert_eq!(
        (acting.username.as_str(), &acting.groups[..]),
        ("system:node:n", &[NODES.to_string(), AUTHENTICATED.to_string()][..])
    );
    act(&registry, agent.clone(), &[("impersonate-user", "system:node:m")]).await.unwrap_err();
    act(&registry, agent, &[("impersonate-user", "system:node:n"), ("impersonate-group", "g")]).await.unwrap_err();
    act(&registry, asker(), &[("impersonate-user", "system:node:n")]).await.unwrap_err();
    let by_admin = act(&registry, admin(), &[("impersonate-user", "system:node:n")]).await.unwrap();
    assert_eq!(by_admin.groups, [NODES, AUTHENTICATED], "a node is in its group");
}
