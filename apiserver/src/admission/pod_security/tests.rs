//! What becomes of pods, templates and namespaces, through the whole server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::catalogue::Catalogue;
use api::pod_security::{Level, LevelVersion, Version};
use api::{Object, Status, UserInfo};
use serde_json::{Value, json};

use super::namespaces::Found;
use super::*;
use crate::audit::tests::trail;
use crate::clock::{Clock, SystemClock};
use crate::plug::admission::Reinvocation;
use crate::strategy::tests::{PODS, Server, pod};
use crate::{Context, RequestInfo};

const NAMESPACE: &str = "/api/v1/namespaces/a";

fn labelled(labels: &[(&str, &str)]) -> Value {
    let labels: serde_json::Map<String, Value> =
        labels.iter().map(|(name, value)| (format!("{LABEL_PREFIX}{name}"), json!(value))).collect();
    json!({"metadata": {"labels": labels}})
}

fn hardened(name: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["securityContext"] = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    pod["spec"]["containers"][0]["securityContext"] =
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    pod
}

fn privileged(name: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    pod
}

/// The code, the message, and the warnings.
async fn told(server: &Server, method: &str, path: &str, body: Value) -> (u16, String, Vec<String>) {
    let (code, answer, warnings) = server.tell(method, path, body).await;
    (code, answer["message"].as_str().unwrap_or("").to_owned(), warnings)
}

fn of_kind(mut object: Value, api_version: &str, kind: &str) -> Value {
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.into();
    object
}

fn a_pod(object: Value) -> Value {
    of_kind(object, "v1", "Pod")
}

#[tokio::test]
async fn a_namespace_enforces_warns_and_forgets() {
    let server = Server::new().await;
    let (code, _, warnings) = told(&server, "PATCH", NAMESPACE, labelled(&[("enforce", "restricted")])).await;
    assert_eq!((code, warnings.len()), (200, 0));
    let (code, message, warnings) = told(&server, "POST", PODS, a_pod(pod("p"))).await;
    let expected = "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != \
                    false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), unrestricted \
                    capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot \
                    != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or \
                    container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")";
    assert_eq!((code, message.as_str(), warnings.len()), (403, expected, 0));
    let (code, message, _) = told(&server, "POST", PODS, a_pod(hardened("p"))).await;
    assert_eq!(code, 201, "{message}");
    // A version of old.
    server.tell("PATCH", NAMESPACE, labelled(&[("enforce-version", "v1.7"), ("warn", "privileged")])).await;
    let mut old = pod("old");
    old["spec"]["securityContext"] = json!({"runAsNonRoot": true});
    assert_eq!(told(&server, "POST", PODS, a_pod(old)).await.0, 201);
    // Only warned.
    let warn = labelled(&[("enforce", "privileged"), ("warn", "baseline"), ("warn-version", "v1.20")]);
    server.tell("PATCH", NAMESPACE, warn).await;
    let (code, _, warnings) = told(&server, "POST", PODS, a_pod(privileged("q"))).await;
    let expected = "would violate PodSecurity \"baseline:v1.20\": privileged (container \"c\" must not set \
                    securityContext.privileged=true)";
    assert_eq!((code, warnings), (201, vec![expected.to_owned()]));
    let metrics = crate::metrics::text(server.0.registry());
    for line in [
        r#"pod_security_evaluations_total{decision="deny",mode="enforce",policy_level="restricted",policy_version="latest",request_operation="create",resource="pod",subresource=""} 1"#,
        r#"pod_security_evaluations_total{decision="allow",mode="enforce",policy_level="restricted",policy_version="v1.7",request_operation="create",resource="pod",subresource=""} 1"#,
        r#"pod_security_evaluations_total{decision="deny",mode="warn",policy_level="baseline",policy_version="v1.20",request_operation="create",resource="pod",subresource=""} 1"#,
        r#"pod_security_exemptions_total{request_operation="update",resource="controller",subresource=""} 0"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn updates_count_if_they_change_what_runs() {
    let server = Server::new().await;
    let mut first = a_pod(privileged("p"));
    // What is patched here is a whole list of containers.
    first["spec"]["automountServiceAccountToken"] = false.into();
    assert_eq!(told(&server, "POST", PODS, first).await.0, 201);
    server.tell("PATCH", NAMESPACE, labelled(&[("enforce", "baseline")])).await;
    let path = format!("{PODS}/p");
    let relabel = json!({"metadata": {"labels": {"x": "y"}}});
    assert_eq!(told(&server, "PATCH", &path, relabel).await.0, 200);
    let phase = json!({"status": {"phase": "Running"}});
    assert_eq!(told(&server, "PATCH", &format!("{path}/status"), phase).await.0, 200);
    let image =
        json!({"spec": {"containers": [{"name": "c", "image": "other", "securityContext": {"privileged": true}}]}});
    let (code, message, _) = told(&server, "PATCH", &path, image).await;
    assert_eq!(
        (code, message.contains("violates PodSecurity \"baseline:latest\": privileged")),
        (403, true),
        "{message}"
    );
    assert_eq!(told(&server, "POST", PODS, a_pod(pod("q"))).await.0, 201);
    let debug = |more: Value| {
        let mut container = json!({"name": "debug", "image": "i"});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"spec": {"ephemeralContainers": [container]}})
    };
    let path = format!("{PODS}/q/ephemeralcontainers");
    let (code, message, _) =
        told(&server, "PATCH", &path, debug(json!({"securityContext": {"privileged": true}}))).await;
    let expected = "pods \"q\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"debug\" \
                    must not set securityContext.privileged=true)";
    assert_eq!((code, message.as_str()), (403, expected));
    assert_eq!(told(&server, "PATCH", &path, debug(json!({}))).await.0, 200);
}

#[tokio::test]
async fn templates_are_never_refused() {
    let server = Server::new().await;
    server.tell("PATCH", NAMESPACE, labelled(&[("enforce", "baseline"), ("audit", "restricted")])).await;
    let labels = json!({"app": "x"});
    let template = json!({"metadata": {"labels": labels}, "spec": privileged("x")["spec"]});
    let mut once = template.clone();
    once["spec"]["restartPolicy"] = "Never".into();
    let expected = vec![
        "would violate PodSecurity \"baseline:latest\": privileged (container \"c\" must not set \
         securityContext.privileged=true)"
            .to_owned(),
    ];
    let set = json!({"selector": {"matchLabels": labels}, "template": template, "serviceName": "s"});
    let mut plain = set.clone();
    plain.as_object_mut().unwrap().remove("serviceName");
    for (api_version, kind, plural, body) in [
        ("apps/v1", "Deployment", "deployments", json!({"spec": plain})),
        ("apps/v1", "ReplicaSet", "replicasets", json!({"spec": plain})),
        ("apps/v1", "DaemonSet", "daemonsets", json!({"spec": plain})),
        ("apps/v1", "StatefulSet", "statefulsets", json!({"spec": set})),
        ("batch/v1", "Job", "jobs", json!({"spec": {"template": once}})),
        (
            "batch/v1",
            "CronJob",
            "cronjobs",
            json!({"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": once}}}}),
        ),
        ("v1", "PodTemplate", "podtemplates", json!({"template": template})),
        (
            "v1",
            "ReplicationController",
            "replicationcontrollers",
            json!({"spec": {"selector": labels, "template": template}}),
        ),
    ] {
        let mut object = of_kind(body, api_version, kind);
        object["metadata"] = json!({"name": "t"});
        let root = if api_version == "v1" { "/api/v1".into() } else { format!("/apis/{api_version}") };
        let (code, message, warnings) = told(&server, "POST", &format!("{root}/namespaces/a/{plural}"), object).await;
        assert_eq!((code, &warnings), (201, &expected), "{kind}: {message}");
    }
    let patch = json!({"spec": {"replicas": 2}});
    let (_, _, warnings) = told(&server, "PATCH", "/apis/apps/v1/namespaces/a/deployments/t", patch).await;
    assert_eq!(warnings, expected, "any update is judged");
    let scale = json!({"spec": {"replicas": 3}});
    let (code, _, warnings) = told(&server, "PATCH", "/apis/apps/v1/namespaces/a/deployments/t/scale", scale).await;
    assert_eq!((code, warnings.len()), (200, 0));
}

#[tokio::test]
async fn labels_must_be_good_when_they_change() {
    let server = Server::new().await;
    let (code, message, _) = told(&server, "PATCH", NAMESPACE, labelled(&[("enforce", "strict")])).await;
    let expected = "Namespace \"a\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \
                    \"strict\": must be one of privileged, baseline, restricted";
    assert_eq!((code, message.as_str()), (422, expected));
    let mut namespace = of_kind(labelled(&[("warn-version", "1.2")]), "v1", "Namespace");
    namespace["metadata"]["name"] = "b".into();
    let (code, message, _) = told(&server, "POST", "/api/v1/namespaces", namespace).await;
    assert_eq!((code, message.contains("must be \"latest\" or \"v1.x\"")), (422, true), "{message}");
}

#[tokio::test]
async fn who_tightens_a_namespace_is_told_of_its_pods() {
    let server = Server::new().await;
    for name in ["b", "a", "c"] {
        assert_eq!(told(&server, "POST", PODS, a_pod(privileged(name))).await.0, 201);
    }
    let mut ports = pod("d");
    ports["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 80}]);
    assert_eq!(told(&server, "POST", PODS, a_pod(ports)).await.0, 201);
    assert_eq!(told(&server, "POST", PODS, a_pod(hardened("good"))).await.0, 201);
    let expected = [
        "existing pods in namespace \"a\" violate the new PodSecurity enforce level \"baseline:latest\"",
        "a (and 2 other pods): privileged",
        "d: hostPort",
    ];
    let (code, _, warnings) = told(&server, "PATCH", NAMESPACE, labelled(&[("enforce", "baseline")])).await;
    assert_eq!((code, warnings.as_slice()), (200, &expected.map(String::from)[..]));
    // Nothing new is enforced by these.
    for labels in [&[("audit", "restricted")][..], &[("enforce", "baseline")], &[("enforce", "privileged")]] {
        let (code, _, warnings) = told(&server, "PATCH", NAMESPACE, labelled(labels)).await;
        assert_eq!((code, warnings.len()), (200, 0), "{labels:?}");
    }
}

/// Each is so large that it is worked on by one of the threads, and asks for another to look at the pods.
#[tokio::test]
async fn many_that_tighten_do_not_wait_for_each_other() {
    let server = Server::new().await;
    assert_eq!(server.post(PODS, pod("p")).await.0, 201);
    let many = std::thread::available_parallelism().map_or(1, usize::from) + 1;
    let at_once = (0..many).map(|number| {
        let mut labels = labelled(&[("enforce", "baseline"), ("enforce-version", &format!("v1.{}", 10 + number % 20))]);
        labels["metadata"]["annotations"] = json!({"long": "x".repeat(crate::workers::EXPENSIVE_BYTES)});
        let server = &server;
        async move { server.tell("PATCH", NAMESPACE, labels).await.0 }
    });
    let all = tokio::time::timeout(Duration::from_secs(30), futures::future::join_all(at_once)).await.unwrap();
    assert!(all.iter().all(|code| matches!(code, 200 | 409)), "{all:?}");
}

#[test]
fn only_so_many_pods_are_looked_at_for_so_long() {
    let clock = SystemClock;
    let wanted = LevelVersion { level: Level::Baseline, version: Version::Latest };
    let pods = |count: usize| (0..count).map(|at| Object::from_value(privileged(&format!("p{at:04}"))).unwrap());
    let later = clock.instant() + Duration::from_secs(3_600);
    let found = Found::new(pods(5).take(4), wanted, &clock, later);
    let expected = [
        "new PodSecurity enforce level only checked against the first 4 of 5 existing pods",
        "existing pods in namespace \"a\" violate the new PodSecurity enforce level \"baseline:latest\"",
        "p0000 (and 3 other pods): privileged",
    ];
    assert_eq!(found.warnings("a", wanted, 5), expected);
    let over: Instant = clock.instant();
    let found = Found::new(pods(5), wanted, &clock, over);
    let expected = [
        "new PodSecurity enforce level only checked against the first 1 of 5 existing pods",
        "existing pods in namespace \"a\" violate the new PodSecurity enforce level \"baseline:latest\"",
        "p0000: privileged",
    ];
    assert_eq!(found.warnings("a", wanted, 5), expected);
}

/// A plugin of its own against a namespace of a server.
struct Judge {
    server: Server,
    plugin: PodSecurity,
}

impl Judge {
    async fn new(labels: &[(&str, &str)], configuration: Value) -> Self {
        let server = Server::new().await;
        server.tell("PATCH", NAMESPACE, labelled(labels)).await;
        let configuration = Configuration::new(&Object::from_value(configuration).unwrap()).unwrap();
        Self { server, plugin: PodSecurity::new(configuration) }
    }

    /// Whether an object is admitted, the audit annotations without their prefix, and the warnings.
    async fn judge(&self, user: &str, plural: &str, object: Value) -> (Option<Status>, Vec<String>, Vec<String>) {
        let catalogue = Catalogue::builtin();
        let group = if plural == "deployments" { "apps" } else { "" };
        let resource = catalogue.get(group, "v1", plural).unwrap();
        let noted = trail();
        let user = Arc::new(UserInfo::new(user, &[]));
        let registry = self.server.0.registry().clone();
        let ctx = Context::new(user, Arc::new(RequestInfo::default()), Default::default(), registry);
        let ctx = ctx.audited(Some(noted.clone()));
        let (name, object) =
            (object["metadata"]["name"].as_str().unwrap().to_owned(), Object::from_value(object).unwrap());
        let attributes = Attributes {
            ctx: &ctx,
            operation: Operation::Create,
            resource,
            subresource: "",
            namespace: if plural == "namespaces" { "" } else { "a" },
            name: &name,
            old: None,
            options: &Value::Null,
            reinvocation: &Reinvocation::default(),
        };
        let refused = self.plugin.validate(&attributes, Some(&object)).await.err();
        let noted = noted.annotations().into_iter();
        let noted = noted.map(|(name, text)| format!("{}: {text}", name.strip_prefix(LABEL_PREFIX).unwrap()));
        (refused, noted.collect(), ctx.take_warnings())
    }
}

#[tokio::test]
async fn the_audit_log_tells_what_was_enforced_and_what_would_be() {
    let judge = Judge::new(&[("enforce", "baseline"), ("audit", "baseline")], json!({})).await;
    let violation = "privileged (container \"c\" must not set securityContext.privileged=true)";
    let would = format!("audit-violations: would violate PodSecurity \"baseline:latest\": {violation}");
    let (refused, noted, warnings) = judge.judge("u", "pods", privileged("p")).await;
    assert!(refused.is_some_and(|status| status.code == 403) && warnings.is_empty());
    assert_eq!(noted, [would.clone(), "enforce-policy: baseline:latest".into()]);
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"template": {"spec": privileged("p")["spec"]}}});
    let (refused, noted, warnings) = judge.judge("u", "deployments", deployment).await;
    assert!(refused.is_none());
    assert_eq!((noted, warnings.len()), (vec![would], 1));
    let judge = Judge::new(&[], json!({})).await;
    let (refused, noted, _) = judge.judge("u", "pods", privileged("p")).await;
    assert_eq!((refused, noted), (None, vec!["enforce-policy: privileged:latest".into()]));
}

#[tokio::test]
async fn nothing_is_asked_of_what_is_exempt() {
    let labels = [("enforce", "restricted"), ("audit", "restricted"), ("warn", "restricted")];
    let exempt = json!({"exemptions": {"usernames": ["boss"], "runtimeClasses": ["vm"]}});
    let judge = Judge::new(&labels, exempt).await;
    assert!(judge.judge("u", "pods", privileged("p")).await.0.is_some());
    let none = Vec::<String>::new();
    assert_eq!(judge.judge("boss", "pods", privileged("p")).await, (None, vec!["exempt: user".into()], none.clone()));
    let mut in_vm = privileged("p");
    in_vm["spec"]["runtimeClassName"] = "vm".into();
    assert_eq!(judge.judge("u", "pods", in_vm).await, (None, vec!["exempt: runtimeClass".into()], none.clone()));
    let judge = Judge::new(&labels, json!({"exemptions": {"namespaces": ["a"]}})).await;
    let answer = judge.judge("u", "pods", privileged("p")).await;
    assert_eq!(answer, (None, vec!["exempt: namespace".into()], none.clone()));
    let mut namespace = labelled(&labels[..2]);
    namespace["metadata"]["name"] = "a".into();
    let warning = "namespace \"a\" is exempt from Pod Security, and the policy (enforce=restricted:latest, \
                   audit=restricted:latest) will be ignored";
    assert_eq!(judge.judge("u", "namespaces", namespace).await, (None, none, vec![warning.into()]));
}

#[tokio::test]
async fn defaults_hold_where_no_label_says_anything() {
    let judge = Judge::new(&[], json!({"defaults": {"enforce": "baseline", "enforce-version": "v1.3"}})).await;
    let refused = judge.judge("u", "pods", privileged("p")).await.0.unwrap();
    assert!(refused.message.contains("violates PodSecurity \"baseline:v1.3\""), "{}", refused.message);
    let judge = Judge::new(&[("enforce", "privileged")], json!({"defaults": {"enforce": "baseline"}})).await;
    assert!(judge.judge("u", "pods", privileged("p")).await.0.is_none());
}

#[test]
fn a_bad_configuration_is_refused_with_all_that_is_wrong() {
    let configuration = json!({
        "defaults": {"enforce": "x", "audit-version": "y"},
        "exemptions": {"namespaces": ["A", "b", "b"], "usernames": [""], "runtimeClasses": ["a/b"]}});
    let errors = Configuration::new(&Object::from_value(configuration).unwrap()).unwrap_err();
    let told: Vec<String> = errors.iter().map(|error| error.path.to_string()).collect();
    let expected = [
        "defaults.enforce",
        "defaults.audit-version",
        "exemptions.namespaces[0]",
        "exemptions.namespaces[2]",
        "exemptions.runtimeClasses[0]",
        "exemptions.usernames[0]",
    ];
    assert_eq!(told, expected);
}
