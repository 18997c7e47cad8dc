//! What the health endpoints say while the server starts, runs and stops.

use std::sync::Arc;

use api::UserInfo;
use http_body_util::BodyExt;

use super::*;
use crate::context::WriteOptions;
use crate::state::Step;
use crate::{Config, Registry};

fn registry() -> Registry {
    Registry::new(Config::new(store::Memory::new()), api::catalogue::Catalogue::builtin())
}

async fn ask(registry: &Registry, url: &str) -> (u16, String) {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let user = Arc::new(UserInfo::default());
    let ctx = Context::new(user, Arc::default(), WriteOptions::default(), registry.clone());
    let response = answer(&ctx, path, &Query::parse(query)).unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_server_is_ready_when_every_step_is_done() {
    let registry = registry();
    let hook = "/readyz/poststarthook/rbac/bootstrap-roles";
    assert_eq!(ask(&registry, hook).await, (500, "internal server error: not finished\n".into()));
    let (code, text) = ask(&registry, "/readyz").await;
    assert_eq!(code, 500);
    assert!(text.contains("[-]poststarthook/rbac/bootstrap-roles failed: reason withheld\n"), "{text}");
    assert!(text.ends_with("readyz check failed\n"), "{text}");
    registry.state().finish(Step::Bootstrap);
    assert_eq!(ask(&registry, hook).await, (200, "ok".into()));
    assert_eq!(ask(&registry, "/readyz/informer-sync").await.0, 500);
    Step::ALL.into_iter().for_each(|step| registry.state().finish(step));
    for endpoint in ["healthz", "livez", "readyz"] {
        assert_eq!(ask(&registry, &format!("/{endpoint}")).await, (200, "ok".into()));
    }
    registry.state().stop();
    assert_eq!(ask(&registry, "/readyz/shutdown").await.0, 500);
    assert_eq!(ask(&registry, "/livez").await.0, 200);
}

#[tokio::test]
async fn verbose_lists_the_checks_of_the_endpoint() {
    let registry = registry();
    Step::ALL.into_iter().for_each(|step| registry.state().finish(step));
    let (_, health) = ask(&registry, "/healthz?verbose").await;
    let begin = "[+]ping ok\n[+]log ok\n[+]loopback-serving-certificate ok\n[+]etcd ok\n[+]poststarthook/";
    assert!(health.starts_with(begin) && health.ends_with("\nhealthz check passed\n"), "{health}");
    let (_, ready) = ask(&registry, "/readyz?verbose=1").await;
    let begin = "[+]ping ok\n[+]log ok\n[+]etcd ok\n[+]etcd-readiness ok\n[+]informer-sync ok\n[+]poststarthook/";
    assert!(ready.starts_with(begin) && ready.ends_with("[+]shutdown ok\nreadyz check passed\n"), "{ready}");
    let url = "/healthz?verbose&exclude=etcd&exclude=nope&exclude=no2&exclude=nope";
    let (_, excluded) = ask(&registry, url).await;
    assert!(excluded.contains("[+]etcd excluded: ok\n"), "{excluded}");
    let end = "warn: some health checks cannot be excluded: no matches for \"no2\",\"nope\"\nhealthz check passed\n";
    assert!(excluded.ends_with(end), "{excluded}");
    assert_eq!(ask(&registry, "/healthz/none").await.0, 404);
    assert_eq!(ask(&registry, "/livez/shutdown").await.0, 404);
}

#[tokio::test]
async fn an_excluded_check_may_fail() {
    let registry = registry();
    [Step::Running, Step::Definitions, Step::FlowControl].into_iter().for_each(|step| registry.state().finish(step));
    let failing = checks::of(Endpoint::Readyz, &registry).chain(checks::of(Endpoint::Livez, &registry));
    let failing = failing.filter(|check| check.run(&registry).is_err());
    let query: Vec<String> = failing.map(|check| format!("exclude={}", check.name)).collect();
    assert!(query.len() > 5);
    assert_eq!(ask(&registry, "/livez").await.0, 500);
    assert_eq!(ask(&registry, &format!("/livez?{}", query.join("&"))).await, (200, "ok".into()));
}
