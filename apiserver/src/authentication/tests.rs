//! Credentials become users, or errors.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use store::{Memory, Operation, Store, Transaction};

use super::jwt::{Bound, Claims, Reference};
use super::*;
use crate::Config;
use crate::certificates::{CertificateRequest, Pki};
use crate::registry::key;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn tokens() -> Arc<ServiceAccountTokens> {
    let pki = Pki::in_memory(now()).unwrap();
    Arc::new(ServiceAccountTokens::new(SigningKey::from_pem(pki.service_account_key_pem()).unwrap(), ISSUER))
}

async fn put(store: &dyn Store, resource: &str, object: Value) {
    let object = api::Object::from_value(object).unwrap();
    let key: Arc<str> = key("", resource, object.namespace(), object.name()).into();
    let operations = vec![Operation::Put(key, object.encode())];
    store.commit(Transaction { operations, ..Transaction::default() }).await.unwrap();
}

fn object(kind: &str, name: &str, uid: &str) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"namespace": "a", "name": name, "uid": uid}})
}

fn claims(pod: Option<&str>) -> Claims {
    let seconds = now().as_second();
    Claims {
        aud: vec![ISSUER.into()],
        exp: seconds + 600,
        iat: seconds,
        iss: String::new(),
        jti: "j".into(),
        kubernetes: Bound {
            namespace: "a".into(),
            serviceaccount: Reference { name: "sa".into(), uid: "1".into() },
            pod: pod.map(|uid| Reference { name: "p".into(), uid: uid.into() }),
            ..Bound::default()
        },
        nbf: seconds,
        sub: String::new(),
    }
}

#[tokio::test]
async fn a_token_lives_as_long_as_what_it_is_bound_to() {
    let store = Memory::new();
    put(&*store, "serviceaccounts", object("ServiceAccount", "sa", "1")).await;
    put(&*store, "pods", object("Pod", "p", "2")).await;
    let tokens = tokens();
    let token = tokens.issue(claims(Some("2"))).unwrap();
    let user = tokens.authenticate(&token, &store.snapshot(), now()).unwrap();
    assert_eq!(user.username, "system:serviceaccount:a:sa");
    assert_eq!(user.uid, "1");
    assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["p"]);
    assert_eq!(user.extra["authentication.kubernetes.io/credential-id"], ["JTI=j"]);
    assert!(user.in_group("system:serviceaccounts:a") && user.in_group("system:authenticated"));

    let fails = |token: &str, seconds: i64| {
        let at = now() + SignedDuration::from_secs(seconds);
        tokens.authenticate(token, &store.snapshot(), at).unwrap_err()
    };
    assert_eq!(fails(&token, 700), "service account token has expired");
    assert_eq!(fails(&token, -100), "service account token is not valid yet");
    assert_eq!(fails(&token[..token.len() - 4], 0), INVALID_TOKEN);
    let other = super::tests::tokens().issue(claims(None)).unwrap();
    assert_eq!(fails(&other, 0), INVALID_TOKEN);
    let elsewhere = tokens.issue(Claims { aud: vec!["vault".into()], ..claims(None) }).unwrap();
    assert!(fails(&elsewhere, 0).contains("audiences"));

    let mut deleted = object("Pod", "p", "2");
    deleted["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z".into();
    put(&*store, "pods", deleted).await;
    tokens.authenticate(&token, &store.snapshot(), now()).unwrap();
    assert_eq!(fails(&token, 90), "service account token has been invalidated");
    put(&*store, "pods", object("Pod", "p", "3")).await;
    assert!(fails(&token, 0).contains("does not match"));
}

#[tokio::test]
async fn credentials_in_their_order() {
    let file = TokenFile::parse("secret,jane,7,\"dev,ops\"").unwrap();
    let authentication = Authentication::new(tokens(), Some(file));
    let registry = Registry::new(Config::new(Memory::new()), api::catalogue::Catalogue::default());
    let check = |headers: &[(&str, &str)], peer: Option<&PeerCertificate>, expected: Result<&str, &str>| {
        let mut request = http::Request::new(());
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer.clone());
        }
        let found = authentication.identify(&request.into_parts().0, &registry);
        assert_eq!(found.as_ref().map(|user| user.username.as_str()).map_err(String::as_str), expected);
    };
    let pki = Pki::in_memory(now()).unwrap();
    let leaf = pki.authority().issue(&CertificateRequest::client("bob", Some("team")), now()).unwrap();
    use rustls::pki_types::pem::PemObject;
    let der = rustls::pki_types::CertificateDer::from_pem_slice(leaf.certificate_pem.as_bytes()).unwrap();
    let peer = PeerCertificate::new(der.to_vec());
    check(&[], None, Ok("system:anonymous"));
    check(&[("authorization", "Bearer secret")], None, Ok("jane"));
    check(&[("authorization", "bearer secret")], None, Ok("jane"));
    check(&[("authorization", "Bearer wrong")], None, Err(INVALID_TOKEN));
    check(&[("authorization", "Basic secret")], None, Ok("system:anonymous"));
    check(&[("authorization", "Bearer wrong")], Some(&peer), Ok("bob"));
    let encoded = format!("v5.channel.k8s.io, {WEBSOCKET_TOKEN}{}", URL_SAFE_NO_PAD.encode("secret"));
    check(&[("sec-websocket-protocol", &encoded)], None, Ok("jane"));
    let user = peer.user(x509::user).unwrap();
    assert_eq!(user.groups, ["team", "system:authenticated"]);
}

#[tokio::test]
async fn acting_as_somebody_needs_leave() {
    let mut config = Config::new(Memory::new());
    config.plugins.authorizers = crate::authorization::authorizers(Arc::new(crate::authorization::Rbac::default()));
    let registry = Registry::new(config, api::catalogue::Catalogue::default());
    let mut headers = http::HeaderMap::new();
    headers.insert("impersonate-user", "system:serviceaccount:a:b".parse().unwrap());
    headers.insert("impersonate-extra-ex.com%2fscope", "v".parse().unwrap());
    let admin = Arc::new(UserInfo::new("admin", &["system:masters"]));
    let nobody = Arc::new(UserInfo::new("nobody", &[]));
    let refused = impersonation::impersonate(&mut headers.clone(), nobody, &registry).await.unwrap_err();
    assert_eq!(
        refused.message,
        concat!(
            r#"serviceaccounts "b" is forbidden: User "nobody" cannot impersonate resource "serviceaccounts" "#,
            r#"in API group "" in the namespace "a""#
        )
    );
    let acting = impersonation::impersonate(&mut headers, admin, &registry).await.unwrap();
    assert_eq!(acting.groups, ["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"]);
    assert_eq!(acting.extra["ex.com/scope"], ["v"]);
    assert!(headers.is_empty());
}
