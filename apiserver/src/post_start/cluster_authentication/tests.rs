//! What several servers tell in one ConfigMap.

use std::sync::Arc;

use store::Memory;

use super::*;
use crate::Config;
use crate::certificates::{AUTHORITY_DAYS, Pki};
use crate::front_proxy::FrontProxyOptions;

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn data(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn front_proxy() -> Arc<FrontProxy> {
    let pki = Pki::in_memory(now()).unwrap();
    Arc::new(FrontProxy::new(&pki, &FrontProxyOptions::default(), now()).unwrap())
}

#[test]
fn what_others_wrote_stays_and_what_is_required_is_added() {
    let (ours, theirs) = (required(&front_proxy()), required(&front_proxy()));
    let alone = combined(&Map::new(), &ours, now()).unwrap();
    assert_eq!(alone, ours, "nothing is written differently");
    assert_eq!(ours["requestheader-username-headers"], r#"["X-Remote-User"]"#);
    assert_eq!(ours["requestheader-allowed-names"], r#"["front-proxy-client"]"#);
    let mut before = theirs.clone();
    before.insert("requestheader-allowed-names".into(), r#"["other","front-proxy-client"]"#.into());
    before.insert("something".into(), "else".into());
    let both = combined(&before, &ours, now()).unwrap();
    for name in [CLIENT_CA, PROXY_CA] {
        let pems: Vec<&str> = [&theirs, &ours].map(|data| data[name].as_str().unwrap()).into();
        assert_eq!(both[name], pems.concat(), "{name}");
    }
    assert_eq!(both["requestheader-allowed-names"], r#"["other","front-proxy-client"]"#);
    assert!(!both.contains_key("something"));
    assert_eq!(combined(&both, &ours, now()).unwrap(), both);
}

#[test]
fn what_has_ended_goes_and_what_is_broken_is_an_error() {
    let (ours, theirs) = (required(&front_proxy()), required(&front_proxy()));
    let later = now() + SignedDuration::from_hours(24 * i64::try_from(AUTHORITY_DAYS).unwrap() + 1);
    assert_eq!(combined(&theirs, &ours, later).unwrap(), Map::new());
    for (name, value) in
        [(PROXY_CA, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), (UID_HEADERS, "{")]
    {
        let broken = data(json!({name: value}));
        let error = combined(&broken, &ours, now()).unwrap_err();
        assert!(error.starts_with(name), "{error}");
    }
}

#[tokio::test]
async fn the_config_map_is_made_and_completed() {
    let front_proxy = front_proxy();
    let mut config = Config::new(Memory::new());
    front_proxy.plug_into(&mut config.plugins);
    let server = ApiServer::new(config);
    let body = json!({"metadata": {"name": "kube-system"}}).to_string();
    server.ask_itself(&Method::POST, "/api/v1/namespaces".into(), "application/json", body).await.unwrap();
    let stored = || server.registry().get("", "configmaps", "kube-system", bootstrap::AUTHENTICATION.1).unwrap();
    synchronise(&server, &front_proxy).await.unwrap();
    let whole = stored();
    assert_eq!(whole.at(&["data"]), Some(&Value::Object(required(&front_proxy))));
    synchronise(&server, &front_proxy).await.unwrap();
    assert_eq!(stored(), whole, "not written again");
    let mut less = whole.clone();
    less.set(&["data"], json!({"requestheader-group-headers": "[\"X-Group\"]"}));
    let url = format!("/api/v1/namespaces/kube-system/configmaps/{}", bootstrap::AUTHENTICATION.1);
    replace(&server, url, &less).await.unwrap();
    synchronise(&server, &front_proxy).await.unwrap();
    assert_eq!(stored().str_at(&["data", "requestheader-group-headers"]), r#"["X-Group","X-Remote-Group"]"#);
    assert_eq!(stored().at(&["data", PROXY_CA]), whole.at(&["data", PROXY_CA]));
}
