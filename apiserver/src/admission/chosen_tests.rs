//! Plugins that somebody asks for, through the whole server.

use std::io::{Read, Write};
use std::net::TcpListener;

use api::UserInfo;
use serde_json::{Value, json};

use super::{PluginFiles, Settings};
use crate::strategy::tests::{PODS, Server, pod};

async fn server(plugin: &str, file: &str) -> Server {
    let files = if file.is_empty() { PluginFiles::default() } else { PluginFiles::default().with(plugin, file) };
    Server::with(&Settings { enable: vec![plugin.into()], files, ..Settings::default() }).await
}

/// The code and the message.
async fn refused(server: &Server, path: &str, body: Value) -> (u16, String) {
    let (code, answer) = server.post(path, body).await;
    (code, answer["message"].as_str().unwrap_or("").to_owned())
}

async fn annotate(server: &Server, annotations: Value) {
    let patch = json!({"metadata": {"annotations": annotations}});
    assert_eq!(server.send("PATCH", "/api/v1/namespaces/a", patch).await.0, 200);
}

#[tokio::test]
async fn images_are_always_pulled() {
    let server = server("AlwaysPullImages", "").await;
    let mut own = pod("p");
    own["spec"]["containers"][0]["imagePullPolicy"] = "Never".into();
    own["spec"]["initContainers"] = json!([{"name": "i", "image": "i", "imagePullPolicy": "IfNotPresent"}]);
    let (code, made) = server.post(PODS, own).await;
    assert_eq!(code, 201, "{made}");
    for container in [&made["spec"]["containers"][0], &made["spec"]["initContainers"][0]] {
        assert_eq!(container["imagePullPolicy"], "Always");
    }
    let relabel = json!({"metadata": {"labels": {"x": "y"}}});
    assert_eq!(server.send("PATCH", &format!("{PODS}/p"), relabel).await.0, 200);
}

#[tokio::test]
async fn pods_stay_on_lost_nodes_for_as_long_as_the_cluster_says() {
    let server = Server::with(&Settings { not_ready_seconds: 5, unreachable_seconds: 6, ..Settings::default() }).await;
    let (_, made) = server.post(PODS, pod("p")).await;
    let seconds = [0, 1].map(|at| made["spec"]["tolerations"][at]["tolerationSeconds"].as_i64());
    assert_eq!(seconds, [Some(5), Some(6)]);
    let off = Settings { disable: vec!["DefaultTolerationSeconds".into()], ..Settings::default() };
    let (_, made) = Server::with(&off).await.post(PODS, pod("p")).await;
    assert!(made["spec"]["tolerations"].is_null());
}

#[tokio::test]
async fn who_asks_for_a_device_tolerates_its_nodes() {
    let server = server("ExtendedResourceToleration", "").await;
    let mut own = pod("p");
    own["spec"]["containers"][0]["resources"] = json!({"limits": {"example.com/gpu": "1", "cpu": "1"}});
    own["spec"]["tolerations"] = json!([{"operator": "Exists", "effect": "NoExecute"}]);
    let (_, made) = server.post(PODS, own).await;
    let expected = json!([{"operator": "Exists", "effect": "NoExecute"},
        {"key": "example.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]);
    assert_eq!(made["spec"]["tolerations"], expected);
}

#[tokio::test]
async fn namespaces_give_and_limit_tolerations() {
    let file = "apiVersion: podtolerationrestriction.admission.k8s.io/v1alpha1\nkind: Configuration\n\
                default: [{key: c, operator: Exists}]\n";
    let server = server("PodTolerationRestriction", file).await;
    let (_, made) = server.post(PODS, pod("p")).await;
    assert!(made["spec"]["tolerations"].as_array().unwrap().contains(&json!({"key": "c", "operator": "Exists"})));
    let list = |tolerations: Value| Value::from(tolerations.to_string());
    let given = list(json!([{"key": "n", "operator": "Exists"}]));
    let allowed = list(json!([{"key": "n", "operator": "Exists"}, {"operator": "Exists", "effect": "NoExecute"}]));
    annotate(
        &server,
        json!({"scheduler.alpha.kubernetes.io/defaultTolerations": given,
            "scheduler.alpha.kubernetes.io/tolerationsWhitelist": allowed}),
    )
    .await;
    let (code, made) = server.post(PODS, pod("q")).await;
    assert_eq!(code, 201, "{made}");
    assert!(made["spec"]["tolerations"].as_array().unwrap().contains(&json!({"key": "n", "operator": "Exists"})));
    let mut other = pod("r");
    other["spec"]["tolerations"] = json!([{"key": "other", "operator": "Exists"}]);
    let expected =
        "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist";
    assert_eq!(refused(&server, PODS, other).await, (500, expected.into()));
}

#[tokio::test]
async fn namespaces_say_where_their_pods_run() {
    let file = "podNodeSelectorPluginConfig:\n  clusterDefaultNodeSelector: disk=ssd\n  a: disk=ssd,team=x,zone=1\n";
    let server = server("PodNodeSelector", file).await;
    let (_, made) = server.post(PODS, pod("p")).await;
    assert_eq!(made["spec"]["nodeSelector"], json!({"disk": "ssd"}));
    annotate(&server, json!({"scheduler.alpha.kubernetes.io/node-selector": "team=x"})).await;
    let on = |name: &str, selector: Value| {
        let mut pod = pod(name);
        pod["spec"]["nodeSelector"] = selector;
        pod
    };
    let (_, made) = server.post(PODS, on("q", json!({"zone": "1"}))).await;
    assert_eq!(made["spec"]["nodeSelector"], json!({"team": "x", "zone": "1"}));
    let conflict = "pods \"r\" is forbidden: pod node label selector conflicts with its namespace node label selector";
    assert_eq!(refused(&server, PODS, on("r", json!({"team": "y"}))).await, (403, conflict.into()));
    let outside = "pods \"r\" is forbidden: pod node label selector labels conflict with its namespace whitelist";
    assert_eq!(refused(&server, PODS, on("r", json!({"zone": "2"}))).await, (403, outside.into()));
}

#[tokio::test]
async fn pods_keep_others_off_a_node_at_most() {
    let server = server("LimitPodHardAntiAffinityTopology", "").await;
    let with = |name: &str, key: &str| {
        let mut pod = pod(name);
        let term = json!({"topologyKey": key, "labelSelector": {"matchLabels": {"a": "b"}}});
        pod["spec"]["affinity"] =
            json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
        pod
    };
    assert_eq!(server.post(PODS, with("p", "kubernetes.io/hostname")).await.0, 201);
    let expected = "pods \"q\" is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but only \
                    key kubernetes.io/hostname is allowed";
    assert_eq!(refused(&server, PODS, with("q", "zone")).await, (403, expected.into()));
}

#[tokio::test]
async fn services_take_no_addresses() {
    let server = server("DenyServiceExternalIPs", "").await;
    let services = "/api/v1/namespaces/a/services";
    let service = |name: &str| json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    assert_eq!(server.post(services, service("s")).await.0, 201);
    let mut other = service("t");
    other["spec"]["externalIPs"] = json!(["10.9.9.9"]);
    let expected = "services \"t\" is forbidden: Use of external IPs is denied by admission control";
    assert_eq!(refused(&server, services, other).await, (403, expected.into()));
    let patch = json!({"spec": {"externalIPs": ["10.9.9.9"]}});
    assert_eq!(server.send("PATCH", &format!("{services}/s"), patch).await.0, 403);
}

#[tokio::test]
async fn namespaces_come_with_their_first_object() {
    let server = server("NamespaceAutoProvision", "").await;
    let account = |name: &str| json!({"metadata": {"name": name}});
    let path = "/api/v1/namespaces/new/serviceaccounts";
    let (code, made) = server.post(path, account("x")).await;
    assert_eq!(code, 201, "{made}");
    let (_, namespace) = server.send("GET", "/api/v1/namespaces/new", Value::Null).await;
    assert_eq!(namespace["metadata"]["labels"], json!({"kubernetes.io/metadata.name": "new"}));
    assert_eq!(namespace["status"]["phase"], "Active");
    let dry = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x"}});
    let (code, _) = server.send("POST", "/api/v1/namespaces/other/serviceaccounts?dryRun=All", dry).await;
    assert_eq!(code, 404, "a dry run makes nothing");
}

#[tokio::test]
async fn nothing_is_done_where_no_namespace_is() {
    let settings = Settings {
        enable: vec!["NamespaceExists".into()],
        disable: vec!["NamespaceLifecycle".into()],
        ..Settings::default()
    };
    let server = Server::with(&settings).await;
    let account = json!({"metadata": {"name": "x"}});
    let answer = refused(&server, "/api/v1/namespaces/gone/serviceaccounts", account).await;
    assert_eq!(answer, (404, "namespaces \"gone\" not found".into()));
}

#[tokio::test]
async fn events_come_at_a_rate() {
    let file = "apiVersion: eventratelimit.admission.k8s.io/v1alpha1\nkind: Configuration\n\
                limits: [{type: Namespace, qps: 1, burst: 2}, {type: User, qps: 1, burst: 1000}]\n";
    let server = server("EventRateLimit", file).await;
    let event = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "a"},
            "involvedObject": {"kind": "Pod", "namespace": "a", "name": "p"}})
    };
    let path = "/api/v1/namespaces/a/events";
    let mut codes = Vec::new();
    for at in 0..20 {
        let (code, answer) = server.send("POST", path, event(&format!("e{at}"))).await;
        if code == 429 {
            let message = "limit reached on type Namespace for key a";
            assert_eq!(
                (answer["message"].as_str(), answer["reason"].as_str()),
                (Some(message), Some("TooManyRequests"))
            );
        }
        codes.push(code);
    }
    assert_eq!(codes[..2], [201, 201]);
    // However slow this machine is, not one a second came for all of them.
    assert!(codes.contains(&429), "{codes:?}");
}

#[tokio::test]
async fn everything_is_denied_on_demand() {
    let settings = Settings { enable: vec!["AlwaysDeny".into()], ..Settings::default() };
    let mut server = Server::new().await;
    let rbac = std::sync::Arc::new(crate::authorization::Rbac::default());
    let mut config = server.0.registry().config().clone();
    config.plugins.admission = super::plugins(&rbac, &settings).unwrap();
    server.0 = crate::ApiServer::new(config);
    let expected = "pods \"p\" is forbidden: admission control is denying all modifications";
    assert_eq!(refused(&server, PODS, pod("p")).await, (403, expected.into()));
    assert_eq!(server.send("GET", PODS, Value::Null).await.0, 200);
}

#[tokio::test]
async fn nobody_makes_owners_wait_who_could_not_delete_or_finalize() {
    let server = server("OwnerReferencesPermissionEnforcement", "").await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/a";
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"},
        "rules": [{"verbs": ["create", "update", "patch", "get"], "apiGroups": [""], "resources": ["pods"]}]});
    assert_eq!(server.send("POST", &format!("{rbac}/roles"), role).await.0, 201);
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "b"},
        "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}});
    assert_eq!(server.send("POST", &format!("{rbac}/rolebindings"), binding).await.0, 201);
    let owned = |name: &str, kind: &str, blocks: bool| {
        let mut pod = pod(name);
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "u",
            "blockOwnerDeletion": blocks}]);
        pod
    };
    let jane = || UserInfo::new("jane", &[]);
    let (code, made) = server.ask(jane(), "POST", PODS, owned("p", "ReplicaSet", false)).await;
    assert_eq!(code, 201, "{made}");
    let (code, answer) = server.ask(jane(), "POST", PODS, owned("q", "ReplicaSet", true)).await;
    let expected = "pods \"q\" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you \
                    can't set finalizers on: , <nil>";
    assert_eq!((code, answer["message"].as_str()), (403, Some(expected)));
    let (code, answer) = server.ask(jane(), "POST", PODS, owned("q", "Odd", true)).await;
    let message = answer["message"].as_str().unwrap();
    assert_eq!(
        (code, message.contains("cannot find RESTMapping for APIVersion apps/v1 Kind Odd")),
        (403, true),
        "{message}"
    );
    let patch = json!({"metadata": {"ownerReferences": []}});
    let (code, answer) = server.ask(jane(), "PATCH", &format!("{PODS}/p"), patch.clone()).await;
    let expected = "pods \"p\" is forbidden: cannot set an ownerRef on a resource you can't delete: , <nil>";
    assert_eq!((code, answer["message"].as_str()), (403, Some(expected)));
    assert_eq!(server.send("PATCH", &format!("{PODS}/p"), patch).await.0, 200);
}

#[tokio::test]
async fn what_is_limited_needs_a_quota_that_covers_it() {
    let file = "apiVersion: apiserver.config.k8s.io/v1\nkind: ResourceQuotaConfiguration\n\
                limitedResources:\n- resource: pods\n  matchContains: [requests.cpu]\n\
                - resource: pods\n  matchScopes: [{scopeName: PriorityClass, operator: In, values: [system-node-critical]}]\n";
    let server = server("ResourceQuota", file).await;
    assert_eq!(server.post(PODS, pod("free")).await.0, 201);
    let mut asks = pod("asks");
    asks["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
    let expected = "pods \"asks\" is forbidden: insufficient quota to consume: requests.cpu";
    assert_eq!(refused(&server, PODS, asks.clone()).await, (403, expected.into()));
    let mut urgent = pod("urgent");
    urgent["spec"]["priorityClassName"] = "system-node-critical".into();
    let expected = "insufficient quota to match these scopes: [{PriorityClass In [system-node-critical]}]";
    assert_eq!(refused(&server, PODS, urgent).await, (500, expected.into()));
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
        "spec": {"hard": {"requests.cpu": "2"}}});
    assert_eq!(server.send("POST", "/api/v1/namespaces/a/resourcequotas", quota).await.0, 201);
    let counted = json!({"status": {"hard": {"requests.cpu": "2"}, "used": {"requests.cpu": "0"}}});
    assert_eq!(server.send("PATCH", "/api/v1/namespaces/a/resourcequotas/q/status", counted).await.0, 200);
    assert_eq!(server.post(PODS, asks).await.0, 201);
}

#[tokio::test]
async fn pod_security_is_told_by_its_file() {
    let file = "apiVersion: pod-security.admission.config.k8s.io/v1\nkind: PodSecurityConfiguration\n\
                defaults: {enforce: baseline}\nexemptions: {usernames: [boss]}\n";
    let server = server("PodSecurity", file).await;
    let mut bad = pod("p");
    bad["spec"]["hostPID"] = true.into();
    let (code, message) = refused(&server, PODS, bad.clone()).await;
    assert_eq!(
        (code, message.contains("violates PodSecurity \"baseline:latest\": host namespaces")),
        (403, true),
        "{message}"
    );
    (bad["apiVersion"], bad["kind"]) = ("v1".into(), "Pod".into());
    let (code, made) = server.ask(UserInfo::new("boss", &["system:masters"]), "POST", PODS, bad).await;
    assert_eq!(code, 201, "{made}");
}

/// A server that allows images whose names begin with `good`, or fails.
fn image_policy(fails: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let mut review: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(review["spec"]["annotations"], json!({"x.image-policy.k8s.io/ticket": "7"}));
            let images = review["spec"]["containers"].as_array().unwrap();
            let good = images.iter().all(|container| container["image"].as_str().unwrap().starts_with("good"));
            review["status"] = json!({"allowed": good, "reason": if good { "" } else { "it is bad" }});
            let (code, body) = if fails { (404, "{}".into()) } else { (200, review.to_string()) };
            let head = format!("HTTP/1.1 {code} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    port
}

#[tokio::test]
async fn a_server_outside_says_which_images_are_run() {
    let directory = tempfile::tempdir().unwrap();
    let told = |port: u16, more: &str| {
        let config = directory.path().join(format!("{port}"));
        let cluster = format!(
            "current-context: x\ncontexts:\n- {{name: x, context: {{cluster: c}}}}\nclusters:\n\
             - {{name: c, cluster: {{server: 'http://127.0.0.1:{port}/'}}}}\n"
        );
        std::fs::write(&config, cluster).unwrap();
        format!("imagePolicy:\n  kubeConfigFile: {}\n  {more}\n", config.display())
    };
    let with = |name: &str, image: &str| {
        let mut pod = pod(name);
        pod["metadata"]["annotations"] = json!({"x.image-policy.k8s.io/ticket": "7", "other": "x"});
        pod["spec"]["containers"][0]["image"] = image.into();
        pod
    };
    let server_of = async |file: String| server("ImagePolicyWebhook", &file).await;
    let server = server_of(told(image_policy(false), "defaultAllow: false")).await;
    assert_eq!(server.post(PODS, with("p", "good:1")).await.0, 201);
    let expected = "pods \"q\" is forbidden: image policy webhook backend denied one or more images: it is bad";
    assert_eq!(refused(&server, PODS, with("q", "bad:1")).await, (403, expected.into()));
    let server = server_of(told(image_policy(true), "defaultAllow: false")).await;
    let expected = "pods \"p\" is forbidden: Error contacting webhook: 404";
    assert_eq!(refused(&server, PODS, with("p", "good:1")).await, (403, expected.into()));
    let server = server_of(told(image_policy(true), "defaultAllow: true")).await;
    assert_eq!(server.post(PODS, with("p", "bad:1")).await.0, 201);
}

#[test]
fn what_plugins_are_told_must_make_sense() {
    let check = |plugin: &str, file: &str, expected: &str| {
        let files = PluginFiles::default().with(plugin, file);
        let settings = Settings { enable: vec![plugin.into()], files, ..Settings::default() };
        let rbac = std::sync::Arc::new(crate::authorization::Rbac::default());
        let error = super::plugins(&rbac, &settings).err().unwrap();
        assert_eq!(error, format!("couldn't init admission plugin {plugin:?}: {expected}"));
    };
    let security = "apiVersion: pod-security.admission.config.k8s.io/v1\nkind: PodSecurityConfiguration\n";
    check("PodSecurity", &format!("{security}default: {{}}\n"), "strict decoding error: unknown field \"default\"");
    check(
        "PodSecurity",
        &format!("{security}defaults: {{warn: x}}\n"),
        "invalid: defaults.warn: Invalid value: \"x\": must be one of privileged, baseline, restricted",
    );
    check(
        "PodSecurity",
        "apiVersion: pod-security.admission.config.k8s.io/v99\nkind: PodSecurityConfiguration\n",
        "no kind \"PodSecurityConfiguration\" is registered for version \"pod-security.admission.config.k8s.io/v99\"",
    );
    let expected = "valid value is between 1s and 30m0s, got 1h0m0s";
    check("ImagePolicyWebhook", "imagePolicy: {allowTTL: 3600}\n", expected);
    let quota = "apiVersion: apiserver.config.k8s.io/v1\nkind: ResourceQuotaConfiguration\nlimitedResources: [{}]\n";
    check("ResourceQuota", quota, "limitedResources[0].resource: Required value");
}
