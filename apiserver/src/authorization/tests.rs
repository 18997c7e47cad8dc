//! Decisions over the bootstrap objects and a few more.

use std::sync::Arc;

use api::{Object, UserInfo};
use serde_json::{Value, json};
use store::{Memory, Transaction};

use super::*;
use crate::registry::key;
use crate::{Config, bootstrap};

async fn cluster() -> (Registry, Arc<Rbac>) {
    let rbac = Arc::new(Rbac::default());
    let mut config = Config::new(Memory::new());
    config.plugins.authorizers = authorizers(&rbac);
    let registry = Registry::new(config, api::catalogue::Catalogue::default());
    let own = bootstrap::Bootstrap {
        advertise_address: "127.0.0.1".parse().unwrap(),
        secure_port: 6443,
        client_ca_pem: String::new(),
    };
    bootstrap::reconcile(&registry, &own).await.unwrap();
    (registry, rbac)
}

async fn store(registry: &Registry, group: &str, resource: &str, object: Value) {
    let object = Object::from_value(object).unwrap();
    let key: Arc<str> = key(group, resource, object.namespace(), object.name()).into();
    let transaction =
        Transaction { operations: vec![store::Operation::Put(key, object.encode())], ..Transaction::default() };
    registry.store().commit(transaction).await.unwrap();
}

/// `asked` is `verb group resource[/subresource] namespace name [field selector]`, or `verb /path`, with `-` for what is
/// empty. Answers `yes`, or the message of the refusal.
async fn ask(registry: &Registry, user: &UserInfo, asked: &str) -> String {
    let words: Vec<&str> = asked.split(' ').map(|word| if word == "-" { "" } else { word }).collect();
    let is_resource_request = words.len() > 2;
    let at = |index: usize| words.get(index).copied().unwrap_or("");
    let (resource, subresource) = at(2).split_once('/').unwrap_or((at(2), ""));
    let attributes = Attributes {
        user,
        verb: at(0),
        namespace: at(3),
        group: if is_resource_request { at(1) } else { "" },
        version: "v1",
        resource,
        subresource,
        name: at(4),
        field_selector: at(5),
        label_selector: "",
        is_resource_request,
        path: at(1),
    };
    match authorize(attributes, registry).await {
        Ok(()) => "yes".into(),
        Err(status) => status.message,
    }
}

async fn check(registry: &Registry, user: &UserInfo, asked: &str, expected: &str) {
    assert_eq!(ask(registry, user, asked).await, expected, "{} {asked}", user.username);
}

#[tokio::test]
async fn bootstrap_roles_decide() {
    let (registry, _) = cluster().await;
    let admin = UserInfo::new("kubernetes-admin", &["system:masters"]);
    check(&registry, &admin, "delete - nodes - x", "yes").await;
    let user = UserInfo::new("x", &[]);
    check(
        &registry,
        &user,
        "list - pods y -",
        r#"pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "y""#,
    )
    .await;
    check(
        &registry,
        &user,
        "get apps deployments/scale y web",
        concat!(
            r#"deployments.apps "web" is forbidden: User "x" cannot get resource "deployments/scale" "#,
            r#"in API group "apps" in the namespace "y""#
        ),
    )
    .await;
    check(
        &registry,
        &user,
        "list - nodes - -",
        r#"nodes is forbidden: User "x" cannot list resource "nodes" in API group "" at the cluster scope"#,
    )
    .await;
    check(&registry, &user, "get /apis", "yes").await;
    check(&registry, &user, "get /metrics", r#"forbidden: User "x" cannot get path "/metrics""#).await;
    check(&registry, &user, "create authorization.k8s.io selfsubjectaccessreviews - -", "yes").await;
    let anonymous = crate::authentication::anonymous();
    check(&registry, &anonymous, "get /healthz", "yes").await;
    check(&registry, &anonymous, "get /apis", r#"forbidden: User "system:anonymous" cannot get path "/apis""#).await;
    let scheduler = UserInfo::new("system:kube-scheduler", &[]);
    check(&registry, &scheduler, "create - pods/binding a b", "yes").await;
    let controller = UserInfo::service_account("kube-system", "deployment-controller");
    check(&registry, &controller, "create apps replicasets a -", "yes").await;
}

#[tokio::test]
async fn a_binding_counts_at_once_and_aggregation_follows_labels() {
    let (registry, _) = cluster().await;
    let user = UserInfo::new("jane", &["dev"]);
    assert!(ask(&registry, &user, "get ex.com things team a").await.contains("forbidden"));
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "b", "namespace": "team"}, "subjects": [{"kind": "Group", "name": "dev"}],
        "roleRef": {"kind": "ClusterRole", "name": "view"}});
    store(&registry, rbac::GROUP, "rolebindings", binding.clone()).await;
    check(&registry, &user, "list - pods team -", "yes").await;
    assert!(ask(&registry, &user, "list - pods other -").await.contains("forbidden"));
    assert!(ask(&registry, &user, "get ex.com things team a").await.contains("forbidden"));
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "things", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"apiGroups": ["ex.com"], "resources": ["things"], "resourceNames": ["a"], "verbs": ["get"]}]});
    store(&registry, rbac::GROUP, "clusterroles", role).await;
    check(&registry, &user, "get ex.com things team a", "yes").await;
    assert!(ask(&registry, &user, "get ex.com things team b").await.contains("forbidden"));
    let mut broken = binding;
    broken["roleRef"] = json!({"kind": "Role", "name": "gone"});
    store(&registry, rbac::GROUP, "rolebindings", broken).await;
    let refusal = ask(&registry, &user, "list - pods team -").await;
    assert!(refusal.ends_with(r#": RBAC: role.rbac.authorization.k8s.io "gone" not found"#), "{refusal}");
}

#[tokio::test]
async fn a_node_touches_only_what_its_pods_use() {
    let (registry, _) = cluster().await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "a"},
        "spec": {"nodeName": "n1", "serviceAccountName": "sa",
            "volumes": [{"name": "c", "configMap": {"name": "cm"}}, {"name": "d", "persistentVolumeClaim": {"claimName": "pvc"}},
                {"name": "p", "projected": {"sources": [{"secret": {"name": "projected"}}]}}],
            "containers": [{"name": "c", "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}]}});
    store(&registry, "", "pods", pod).await;
    let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv"},
        "spec": {"claimRef": {"namespace": "a", "name": "pvc"}, "csi": {"nodeStageSecretRef": {"name": "csi", "namespace": "b"}}}});
    store(&registry, "", "persistentvolumes", volume).await;
    let (n1, n2) = (node("n1"), node("n2"));
    for asked in [
        "get - configmaps a cm",
        "watch - configmaps a cm",
        "get - secrets a s",
        "get - secrets a projected",
        "get - secrets b csi",
        "get - persistentvolumeclaims a pvc",
        "get - persistentvolumes - pv",
        "create - serviceaccounts/token a sa",
        "get - pods a p",
    ] {
        check(&registry, &n1, asked, "yes").await;
        check(&registry, &n1, asked, "yes").await;
        let refusal = ask(&registry, &n2, asked).await;
        assert!(refusal.contains("no relationship found between node 'n2' and this object"), "{asked}: {refusal}");
    }
    for asked in ["get - secrets a other", "create - serviceaccounts/token a default", "get - configmaps b cm"] {
        assert!(ask(&registry, &n1, asked).await.contains("no relationship"), "{asked}");
    }
    for (asked, expected) in [
        ("list - pods - - spec.nodeName=n1", true),
        ("list - pods - - spec.nodeName=n2", false),
        ("list - pods - -", false),
        ("get - nodes - n1", true),
        ("get - nodes - n2", false),
        ("update coordination.k8s.io leases kube-node-lease n1", true),
        ("update coordination.k8s.io leases kube-node-lease n2", false),
        ("patch - pods/status a p", true),
        ("list - services - -", true),
        ("list - secrets - -", false),
        ("create - events a -", true),
    ] {
        assert_eq!(ask(&registry, &n1, asked).await == "yes", expected, "{asked}");
    }
}

fn node(name: &str) -> UserInfo {
    UserInfo::new(format!("system:node:{name}"), &["system:nodes"])
}

/// A claim belongs to a node by the pod's own word, by its template, or by extended resources that became one.
#[tokio::test]
async fn nodes_get_the_resource_claims_of_their_pods() {
    let (registry, _) = cluster().await;
    let pod = json!({"metadata": {"name": "claiming", "namespace": "a"},
        "spec": {"nodeName": "n1", "resourceClaims": [
            {"name": "own", "resourceClaimName": "named"}, {"name": "made", "resourceClaimTemplateName": "t"},
            {"name": "unmade", "resourceClaimTemplateName": "t"}]},
        "status": {"resourceClaimStatuses": [{"name": "made", "resourceClaimName": "generated"},
                {"name": "unmade"}, {"name": "stranger", "resourceClaimName": "another"}],
            "extendedResourceClaimStatus": {"resourceClaimName": "extended", "requestMappings": []}}});
    store(&registry, "", "pods", pod).await;
    let claims = [("named", true), ("generated", true), ("extended", true), ("another", false), ("", false)];
    for (claim, expected) in claims {
        let asked = format!("get resource.k8s.io resourceclaims a {claim}");
        assert_eq!(ask(&registry, &node("n1"), &asked).await == "yes", expected, "{claim}");
        assert_ne!(ask(&registry, &node("n2"), &asked).await, "yes", "{claim}");
    }
}

#[test]
fn escalation_is_told_in_short_form() {
    let rule = |text: Value| rule::Rule::list(Some(&json!([text])));
    let held = rule(json!({"apiGroups": [""], "resources": ["pods", "*/scale"], "verbs": ["get", "list"]}));
    let check = |wanted: Value, expected: &[&str]| {
        assert_eq!(rule::not_covered(&held, &rule(wanted.clone())), expected, "{wanted}");
    };
    check(json!({"apiGroups": [""], "resources": ["pods", "x/scale"], "verbs": ["get"]}), &[]);
    check(json!({"apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"], "verbs": ["list"]}), &[]);
    check(
        json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "delete", "watch"]}),
        &[r#"{APIGroups:[""], Resources:["pods"], Verbs:["delete" "watch"]}"#],
    );
    check(json!({"nonResourceURLs": ["/x"], "verbs": ["get"]}), &[r#"{NonResourceURLs:["/x"], Verbs:["get"]}"#]);
}

/// A comma within a value begins no new term, and a subresource may have slashes.
#[tokio::test]
async fn what_is_asked_is_read_as_it_is_answered() {
    let (registry, _) = cluster().await;
    let node = UserInfo::new("system:node:n1", &["system:nodes"]);
    check(&registry, &node, "list - pods - - spec.nodeName=n1", "yes").await;
    check(&registry, &node, "list - pods - - spec.nodeName==n1,status.phase=Running", "yes").await;
    for selector in
        [r"status.podIP!=x\,spec.nodeName=n1", "spec.nodeName!=n1", "spec.nodeName=n2", r"spec.nodeName=n1\,a"]
    {
        let refused = ask(&registry, &node, &format!("list - pods - - {selector}")).await;
        assert!(
            refused.contains("can only list/watch pods with spec.nodeName field selector"),
            "{selector}: {refused}"
        );
    }
    let group = "rbac.authorization.k8s.io";
    let rules = json!([{"verbs": ["impersonate"], "apiGroups": ["authentication.k8s.io"],
        "resources": ["userextras/acme.com/scope", "*/other.com/scope"]}]);
    store(&registry, group, "clusterroles", json!({"metadata": {"name": "x"}, "rules": rules})).await;
    let subjects = json!([{"kind": "User", "name": "x"}]);
    let role = json!({"kind": "ClusterRole", "name": "x"});
    let binding = json!({"metadata": {"name": "x"}, "roleRef": role, "subjects": subjects});
    store(&registry, group, "clusterrolebindings", binding).await;
    let user = UserInfo::new("x", &[]);
    check(&registry, &user, "impersonate authentication.k8s.io userextras/acme.com/scope - v", "yes").await;
    check(&registry, &user, "impersonate authentication.k8s.io userextras/other.com/scope - v", "yes").await;
    let refused = ask(&registry, &user, "impersonate authentication.k8s.io userextras/acme.com - v").await;
    assert!(refused.contains("cannot impersonate"), "{refused}");
}

#[tokio::test]
async fn conditions_that_take_long_leave_the_threads_that_serve() {
    use api::identity::WebhookConfiguration;
    use futures::FutureExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("webhook");
    let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}], "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]});
    std::fs::write(&file, kubeconfig.to_string()).unwrap();
    let config: WebhookConfiguration = serde_json::from_value(json!({
        "timeout": "1s", "subjectAccessReviewVersion": "v1", "failurePolicy": "Deny",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": file},
        "matchConditions": [{"expression": "!request.groups.all(a, a != '')"}],
    }))
    .unwrap();
    let clock = crate::clock::SystemClock::shared();
    let webhook = webhook::Webhook::new("hook", &config, Arc::default(), clock).unwrap();
    let registry = Registry::new(Config::new(Memory::new()), api::catalogue::Catalogue::default());
    for (groups, is_light) in [(2, true), (400, false)] {
        let names: Vec<String> = (0..groups).map(|number| format!("g{number}")).collect();
        let user = UserInfo { username: "jane".into(), groups: names, ..UserInfo::default() };
        let attributes = Attributes { verb: "get", resource: "pods", ..Attributes::of_resource(&user) };
        let held = registry.state().workers().held().await;
        let (at_once, decision) = match webhook.authorize(attributes, &registry) {
            Answer::Now(decision) => (true, decision),
            Answer::Later(mut later) => match later.as_mut().now_or_never() {
                Some(decision) => (true, decision),
                None => {
                    drop(held);
                    (false, later.await)
                }
            },
        };
        // It is not asked: nobody listens there, and then it would be denied.
        assert_eq!((at_once, decision), (is_light, Decision::NoOpinion(String::new())), "{groups}");
    }
}
