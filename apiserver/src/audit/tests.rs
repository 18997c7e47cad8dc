//! What is written down of requests, through the whole server.

use std::path::PathBuf;
use std::sync::Arc;

use api::UserInfo;
use axum::body::Body;
use futures::FutureExt;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::settings::{Format, LogSettings, Mode, Truncation};
use super::*;
use crate::clock::SystemClock;
use crate::plug::authentication::Authenticator;
use crate::strategy::tests::{PODS, Server, pod};
use crate::webhooks::testing::{Hook, Reply};

const EVERYTHING: &str = "rules: [{level: RequestResponse}]";

/// A server that writes down what it does.
pub(super) struct Audited {
    pub(super) server: Server,
    pub(super) counts: Arc<AuditCounts>,
    directory: tempfile::TempDir,
}

impl Audited {
    async fn new(policy: &str) -> Self {
        Self::with(policy, |_| {}).await
    }

    pub(super) async fn with(policy: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("policy");
        std::fs::write(&file, format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{policy}\n")).unwrap();
        let log = Some(LogSettings::new(directory.path().join("audit.log")));
        let mut settings = Settings { policy_file: Some(file), log, webhook: None };
        change(&mut settings);
        let counts = Arc::<AuditCounts>::default();
        let audit = settings.open(counts.clone(), SystemClock::shared(), &Handle::current()).unwrap();
        let mut server = Server::new().await;
        let mut config = server.0.registry().config().clone();
        config.audit = audit;
        server.0 = crate::ApiServer::new(config);
        Self { server, counts, directory }
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("audit.log")
    }

    /// What is written so far.
    async fn events(&self) -> Vec<Value> {
        self.server.0.registry().config().audit.as_ref().unwrap().flush().await;
        let text = std::fs::read_to_string(self.log()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A trail that leads nowhere.
pub(crate) fn trail() -> Arc<Trail> {
    let policy = Policy::parse(b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]").unwrap();
    let audit = Arc::new(Audit::new(policy, Vec::new(), Arc::default(), SystemClock::shared()));
    trail_of(audit, "x")
}

fn trail_of(audit: Arc<Audit>, id: &str) -> Arc<Trail> {
    let info = crate::RequestInfo::default();
    let decision = Decision { level: policy::Level::Metadata, omit: Default::default(), omit_managed_fields: false };
    let (uri, sources, at) = ("/".into(), Vec::new(), Timestamp::UNIX_EPOCH);
    Trail::new(audit, decision, Received { id: id.into(), uri, info: &info, user: None, sources, agent: "", at })
}

pub(super) fn stages(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["stage"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_write_is_told_with_who_asked_what_and_what_came_of_it() {
    let audited = Audited::new("rules: [{level: Metadata}]").await;
    assert_eq!(audited.server.post(PODS, pod("p")).await.0, 201);
    let events = audited.events().await;
    assert_eq!(stages(&events), ["RequestReceived", "ResponseComplete"]);
    assert_eq!(events[0]["auditID"], events[1]["auditID"]);
    assert_eq!(events[0]["objectRef"], json!({"resource": "pods", "namespace": "a", "apiVersion": "v1"}));
    let last = &events[1];
    assert_eq!(
        (&last["level"], &last["verb"], &last["requestURI"]),
        (&json!("Metadata"), &json!("create"), &json!(PODS))
    );
    assert_eq!(last["user"], json!({"username": "admin", "groups": ["system:masters", "system:authenticated"]}));
    assert_eq!(last["objectRef"], json!({"resource": "pods", "namespace": "a", "name": "p", "apiVersion": "v1"}));
    assert_eq!(last["responseStatus"], json!({"metadata": {}, "code": 201}));
    assert_eq!(last["sourceIPs"], json!(["127.0.0.1"]));
    let annotations = json!({"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "",
        "pod-security.kubernetes.io/enforce-policy": "privileged:latest"});
    assert_eq!(last["annotations"], annotations);
    assert!(last["requestObject"].is_null() && last["responseObject"].is_null());
}

#[tokio::test]
async fn what_was_sent_and_answered_is_told_if_it_shall_be() {
    let audited = Audited::new(&format!("omitManagedFields: true\nomitStages: [RequestReceived]\n{EVERYTHING}")).await;
    let server = &audited.server;
    server.post(PODS, pod("p")).await;
    let patch = json!({"metadata": {"labels": {"x": "y"}}});
    server.send("PATCH", &format!("{PODS}/p"), patch.clone()).await;
    server.send("GET", PODS, Value::Null).await;
    server
        .send(
            "DELETE",
            &format!("{PODS}/p"),
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}),
        )
        .await;
    let events = audited.events().await;
    assert_eq!(stages(&events), ["ResponseComplete"; 4]);
    assert_eq!(events[0]["requestObject"]["metadata"]["name"], "p");
    assert_eq!(events[0]["requestObject"]["spec"]["restartPolicy"], "Always", "defaults are in it");
    assert!(events[0]["responseObject"]["metadata"]["uid"].is_string());
    assert!(events[0]["responseObject"]["metadata"]["managedFields"].is_null());
    assert_eq!(events[1]["requestObject"], patch);
    assert_eq!(events[1]["responseObject"]["metadata"]["labels"]["x"], "y");
    assert_eq!(events[2]["responseObject"]["kind"], "PodList");
    assert_eq!(events[2]["responseObject"]["items"][0]["metadata"]["name"], "p");
    assert!(events[2]["responseObject"]["items"][0]["metadata"]["managedFields"].is_null());
    assert_eq!(events[3]["requestObject"]["gracePeriodSeconds"], 0);
    server
        .send(
            "POST",
            "/api/v1/namespaces/a/configmaps",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}),
        )
        .await;
    server.send("DELETE", "/api/v1/namespaces/a/configmaps/c", Value::Null).await;
    let told = audited.events().await.pop().unwrap();
    assert_eq!(told["responseStatus"]["status"], "Success");
    assert_eq!(told["responseStatus"]["details"]["name"], "c");
}

#[tokio::test]
async fn refusals_are_told_with_their_reasons() {
    let audited = Audited::new(&format!("omitStages: [RequestReceived]\n{EVERYTHING}")).await;
    let jane = || UserInfo::new("jane", &[]);
    assert_eq!(audited.server.ask(jane(), "GET", &format!("{PODS}/p"), Value::Null).await.0, 403);
    assert_eq!(audited.server.send("GET", &format!("{PODS}/p"), Value::Null).await.0, 404);
    let events = audited.events().await;
    let status = &events[0]["responseStatus"];
    assert_eq!(
        (&status["reason"], &status["code"], &status["status"]),
        (&json!("Forbidden"), &json!(403), &json!("Failure"))
    );
    assert_eq!(events[0]["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert_eq!(events[0]["responseObject"]["kind"], "Status");
    assert_eq!(events[1]["responseStatus"]["reason"], "NotFound");
    assert_eq!(events[1]["responseStatus"]["details"], json!({"name": "p", "kind": "pods"}));
}

#[tokio::test]
async fn who_acts_as_another_is_told_as_both() {
    let audited = Audited::new("rules: [{level: Metadata}]").await;
    let request = Request::builder().uri("/api/v1/namespaces?limit=1").header("impersonate-user", "jane");
    let request = request
        .header("audit-id", "mine")
        .header("x-forwarded-for", "10.1.1.1, odd")
        .header("user-agent", "x".repeat(1030));
    let request = request.extension(UserInfo::new("admin", &["system:masters"])).body(Body::empty());
    let response = audited.server.0.handle(request.unwrap()).await;
    assert_eq!(response.headers()["audit-id"], "mine");
    let events = audited.events().await;
    assert_eq!(events[1]["auditID"], "mine");
    assert_eq!(events[1]["requestURI"], "/api/v1/namespaces?limit=1");
    assert_eq!(events[1]["impersonatedUser"], json!({"username": "jane", "groups": ["system:authenticated"]}));
    assert_eq!(events[1]["user"]["username"], "admin");
    assert_eq!(events[1]["sourceIPs"], json!(["10.1.1.1", "127.0.0.1"]));
    assert_eq!(events[1]["userAgent"], format!("{}...TRUNCATED", "x".repeat(1024)));
    assert!(events[0]["impersonatedUser"].is_null(), "it was not known yet");
}

#[tokio::test]
async fn a_watch_is_told_when_it_begins_and_when_it_ends() {
    let audited = Audited::new(EVERYTHING).await;
    let request = Request::builder().uri(format!("{PODS}?watch=true"));
    let request = request.extension(UserInfo::new("admin", &["system:masters"])).body(Body::empty());
    let response = audited.server.0.handle(request.unwrap()).await;
    assert_eq!(stages(&audited.events().await), ["RequestReceived", "ResponseStarted"]);
    drop(response);
    let events = audited.events().await;
    assert_eq!(stages(&events), ["RequestReceived", "ResponseStarted", "ResponseComplete"]);
    assert_eq!(events[2]["responseStatus"]["code"], 200);
}

/// Knows nobody.
struct Stranger;

impl Authenticator for Stranger {
    fn authenticate<'a>(
        &'a self,
        _: &'a http::request::Parts,
        _: &'a crate::Registry,
    ) -> futures::future::BoxFuture<'a, Result<Option<crate::plug::Known>, String>> {
        futures::future::ready(Err("bad token".into())).boxed()
    }
}

#[tokio::test]
async fn who_is_not_let_in_is_told_too() {
    let mut audited = Audited::new("rules: [{level: Metadata}]").await;
    let mut config = audited.server.0.registry().config().clone();
    config.plugins.authenticators = vec![Arc::new(Stranger)];
    audited.server.0 = crate::ApiServer::new(config);
    let request = Request::builder().uri("/api").header("authorization", "Bearer bad").body(Body::empty());
    assert_eq!(audited.server.0.handle(request.unwrap()).await.status(), 401);
    let events = audited.events().await;
    assert_eq!(stages(&events), ["ResponseStarted"]);
    let expected = json!({"metadata": {}, "message": "Authentication failed, attempted: bearer", "code": 401});
    assert_eq!((&events[0]["responseStatus"], &events[0]["user"]), (&expected, &json!({})));
}

#[tokio::test]
async fn nothing_is_told_that_no_rule_is_about() {
    let audited = Audited::new("rules: [{level: None, users: [admin]}, {level: Metadata, verbs: [create]}]").await;
    audited.server.post(PODS, pod("p")).await;
    audited.server.ask(UserInfo::new("jane", &["system:masters"]), "GET", PODS, Value::Null).await;
    assert_eq!(audited.events().await.len(), 0);
    let mut text = metrics::Text::default();
    metrics::Collect::collect(&*audited.counts, &mut text);
    assert!(text.finish().contains("apiserver_audit_level_total{level=\"None\"} 2"));
}

#[tokio::test]
async fn large_events_lose_their_objects_or_are_lost() {
    let audited = Audited::with(&format!("omitStages: [RequestReceived]\n{EVERYTHING}"), |settings| {
        let log = settings.log.as_mut().unwrap();
        log.truncation = Some(Truncation { event_bytes_max: 2_000, batch_bytes_max: 4_000 });
    })
    .await;
    audited.server.post(PODS, pod("p")).await;
    audited.server.send("GET", &format!("/api?x={}", "y".repeat(3_000)), Value::Null).await;
    let events = audited.events().await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["annotations"]["audit.k8s.io/truncated"], "true");
    assert!(events[0]["requestObject"].is_null());
    let mut text = metrics::Text::default();
    metrics::Collect::collect(&*audited.counts, &mut text);
    assert!(text.finish().contains("apiserver_audit_error_total{plugin=\"truncate\"} 1"));
}

#[tokio::test]
async fn lines_of_old_are_written_on_demand() {
    let audited = Audited::with("rules: [{level: Metadata}]", |settings| {
        settings.log.as_mut().unwrap().format = Format::Legacy;
    })
    .await;
    audited.server.send("GET", "/version", Value::Null).await;
    audited.server.0.registry().config().audit.as_ref().unwrap().flush().await;
    let text = std::fs::read_to_string(audited.log()).unwrap();
    let line = text.lines().nth(1).unwrap();
    assert!(line.contains(" AUDIT: id=\"") && line.contains("stage=\"ResponseComplete\""), "{line}");
    assert!(line.ends_with("namespace=\"<none>\" uri=\"/version\" response=\"200\""), "{line}");
}

#[tokio::test]
async fn what_must_be_written_down_and_cannot_is_not_done() {
    let audited = Audited::with("rules: [{level: Metadata}]", |settings| {
        let log = settings.log.as_mut().unwrap();
        log.batching.mode = Mode::BlockingStrict;
        // No space is ever left there.
        log.path = "/dev/full".into();
    })
    .await;
    let (code, answer) = audited.server.post(PODS, pod("p")).await;
    assert_eq!((code, answer["message"].as_str()), (500, Some("Internal error occurred: failed to store audit event")));
    let registry = audited.server.0.registry();
    assert!(registry.get("", "pods", "a", "p").is_none());
    let mut text = metrics::Text::default();
    metrics::Collect::collect(&*audited.counts, &mut text);
    let text = text.finish();
    assert!(text.contains("apiserver_audit_requests_rejected_total 1"), "{text}");
    assert!(text.contains("apiserver_audit_error_total{plugin=\"log\"} 1"), "{text}");
}

#[tokio::test]
async fn a_panic_and_a_request_that_is_given_up_have_an_end() {
    let audited = Audited::new("rules: [{level: Metadata}]").await;
    let audit = audited.server.0.registry().config().audit.clone().unwrap();
    let trail = |id: &str| trail_of(audit.clone(), id);
    let panicking = trail("panics");
    let work = body::panics(&panicking, async {
        if panicking.id() == "panics" {
            panic!("oh {}", 1)
        }
    });
    assert!(std::panic::AssertUnwindSafe(work).catch_unwind().await.is_err());
    drop(Abandoned::new(&panicking));
    drop(Abandoned::new(&trail("given up")));
    Abandoned::new(&trail("answered")).answered();
    let events = audited.events().await;
    assert_eq!(stages(&events), ["Panic", "ResponseComplete"]);
    assert_eq!(events[0]["responseStatus"]["message"], "APIServer panic'd: oh 1");
    assert_eq!(events[1]["responseStatus"]["reason"], "Timeout");
}

#[tokio::test]
async fn what_goes_by_in_pieces_is_told_when_it_is_over() {
    let audited = Audited::new(EVERYTHING).await;
    for at in 0..40 {
        let mut large = pod(&format!("p{at}"));
        large["metadata"]["annotations"] = json!({"x": "y".repeat(100_000)});
        assert_eq!(audited.server.post(PODS, large).await.0, 201);
    }
    let before = audited.events().await.len();
    let request =
        Request::builder().uri(PODS).extension(UserInfo::new("admin", &["system:masters"])).body(Body::empty());
    let response = audited.server.0.handle(request.unwrap()).await;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let events = audited.events().await;
    assert_eq!(stages(&events[before..]), ["RequestReceived", "ResponseComplete"]);
    let told = events.last().unwrap();
    assert_eq!(told["responseObject"], serde_json::from_slice::<Value>(&body).unwrap());
}

#[tokio::test]
async fn what_webhooks_change_and_how_long_they_take_is_told() {
    // Nobody knows what is slow, but this is longer than what is quick.
    const SLOW: Duration = Duration::from_millis(600);
    let at = Hook::start(&["127.0.0.1"], |_, asked| {
        std::thread::sleep(SLOW);
        let patch = json!([{"op": "add", "path": "/metadata/labels", "value": {"a<b": "x"}}]);
        let patch = api::go::base64::encode(patch.to_string().as_bytes());
        Reply::Json(json!({"kind": "AdmissionReview", "apiVersion": asked["apiVersion"], "response":
            {"uid": asked["request"]["uid"], "allowed": true, "patchType": "JSONPatch", "patch": patch}}))
    })
    .await;
    let rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
    let configuration = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "c"}, "webhooks": [{"name": "w.example.com", "clientConfig": at.client_config("/"),
            "rules": [rule], "sideEffects": "None", "admissionReviewVersions": ["v1"]}]});
    let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    for (level, shows_patch) in [("Metadata", false), ("Request", true)] {
        let audited = Audited::new(&format!("rules: [{{level: {level}}}]")).await;
        assert_eq!(audited.server.send("POST", path, configuration.clone()).await.0, 201);
        // The key is none that a label may have.
        assert_eq!(audited.server.post(PODS, pod("p")).await.0, 422);
        let told = audited.events().await.pop().unwrap()["annotations"].clone();
        let about = r#"{"configuration":"c","webhook":"w.example.com","#;
        assert_eq!(told["mutation.webhook.admission.k8s.io/round_0_index_0"], format!(r#"{about}"mutated":true}}"#));
        let patch = &told["patch.webhook.admission.k8s.io/round_0_index_0"];
        let expected = format!(
            r#"{about}"patch":[{{"op":"add","path":"/metadata/labels","value":{{"a\u003cb":"x"}}}}],"patchType":"JSONPatch"}}"#
        );
        assert_eq!(patch.as_str(), shows_patch.then_some(expected.as_str()));
        for layer in ["mutating-webhook", "total"] {
            let time = told[format!("apiserver.latency.k8s.io/{layer}")].as_str().unwrap();
            assert!(api::go::duration::parse(time).unwrap() >= i64::try_from(SLOW.as_nanos()).unwrap(), "{time}");
        }
    }
}
