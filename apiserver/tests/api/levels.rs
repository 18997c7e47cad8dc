//! A server whose requests are divided among levels, and requests that keep their places.

use std::sync::Arc;

use api::UserInfo;
use apiserver::authorization::{Answer, Attributes, Authorizer, Decision};
use apiserver::chain::inflight::InflightLimits;
use apiserver::{ApiServer, Config, Registry};
use axum::body::Body;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use serde_json::{Value, json};

use crate::clock::MovedClock;
use crate::harness::Server;

pub(crate) const GROUP: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
pub(crate) const MAPS: &str = "/api/v1/namespaces/a/configmaps";
pub(crate) const DUMPS: &str = "/debug/api_priority_and_fairness";

/// Allows everything to everybody.
struct Everybody;

impl Authorizer for Everybody {
    fn authorize<'a>(&'a self, _: Attributes<'a>, _: &'a Registry) -> Answer<'a> {
        Decision::Allow.into()
    }
}

/// A server with this many places, its clock, and the namespace `a`.
pub(crate) async fn server(seats: usize, fair: bool) -> (Server, Arc<MovedClock>) {
    let clock = Arc::new(MovedClock::default());
    let mut config = Config::new(store::Memory::new());
    config.clock = clock.clone();
    config.plugins.strategy_of = apiserver::strategy::of;
    config.plugins.authorizers = vec![Arc::new(Everybody) as Arc<dyn Authorizer>].into();
    config.inflight = InflightLimits { mutating: seats / 2, reading: seats - seats / 2, fair };
    let server = Server(ApiServer::new(config));
    made(&server, "/api/v1/namespaces", json!({"metadata": {"name": "a"}})).await;
    (server, clock)
}

pub(crate) async fn made(server: &Server, url: &str, object: Value) -> String {
    let made = server.post(url, object).await;
    assert_eq!(made.code, 201, "{:?}", made.json());
    made.at("metadata.uid").as_str().unwrap().into()
}

/// Makes a level, and the schema of these users that leads there; their uids.
pub(crate) async fn level(server: &Server, name: &str, users: &[&str], limited: Value) -> (String, String) {
    let level = json!({"metadata": {"name": name}, "spec": {"type": "Limited", "limited": limited}});
    let level = made(server, &format!("{GROUP}/prioritylevelconfigurations"), level).await;
    let subjects: Vec<Value> = users.iter().map(|user| json!({"kind": "User", "user": {"name": user}})).collect();
    let schema = json!({"metadata": {"name": name}, "spec": {"matchingPrecedence": 100,
        "priorityLevelConfiguration": {"name": name}, "distinguisherMethod": {"type": "ByUser"}, "rules": [{
            "subjects": subjects,
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}});
    (level, made(server, &format!("{GROUP}/flowschemas"), schema).await)
}

pub(crate) fn queues(count: usize, length: usize) -> Value {
    json!({"type": "Queue", "queuing": {"queues": count, "handSize": 1, "queueLengthLimit": length}})
}

/// Asks as a user; whoever keeps the answer keeps its place.
pub(crate) fn ask(server: &Server, user: &str, method: &str, url: &str) -> BoxFuture<'static, Response<Body>> {
    let request = Request::builder().method(method).uri(url).extension(UserInfo::new(user, &["dev"]));
    let (server, request) = (server.0.clone(), request.body(Body::empty()).unwrap());
    async move { server.handle(request).await }.boxed()
}

pub(crate) fn get(server: &Server, user: &str) -> BoxFuture<'static, Response<Body>> {
    ask(server, user, "GET", MAPS)
}

/// So many answers, each with its place.
pub(crate) async fn hold(server: &Server, user: &str, count: usize) -> Vec<Response<Body>> {
    let mut held = Vec::new();
    for _ in 0..count {
        let answer = get(server, user).now_or_never().expect("a place");
        assert_eq!(answer.status(), 200);
        held.push(answer);
    }
    held
}

/// So many requests that wait for their place.
pub(crate) fn wait(server: &Server, user: &str, count: usize) -> Vec<BoxFuture<'static, Response<Body>>> {
    let mut waiting: Vec<_> = (0..count).map(|_| get(server, user)).collect();
    assert!(waiting.iter_mut().all(|request| request.now_or_never().is_none()));
    waiting
}

pub(crate) async fn text(server: &Server, url: &str) -> String {
    let answer = server.get(url).await;
    assert_eq!(answer.code, 200, "{url}");
    String::from_utf8_lossy(&answer.bytes).into_owned()
}

/// The number of a series of flow control.
pub(crate) async fn figure(server: &Server, series: &str) -> f64 {
    let text = text(server, "/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("apiserver_flowcontrol_{series} ")));
    line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
}

/// The cells of a level's row.
pub(crate) async fn row(server: &Server, level: &str) -> Option<Vec<String>> {
    let text = text(server, &format!("{DUMPS}/dump_priority_levels")).await;
    let rows = text.lines().map(|line| line.split(',').map(|cell| cell.trim().to_string()).collect::<Vec<_>>());
    rows.into_iter().find(|row| row[0] == level)
}
