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

fn at(time: Timestamp) -> (Timestamp, std::time::Instant) {
    (time, std::time::Instant::now())
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
    let user = tokens.authenticate(&token, &store.snapshot(), at(now())).unwrap().0.user;
    assert_eq!(user.username, "system:serviceaccount:a:sa");
    assert_eq!(user.uid, "1");
    assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["p"]);
    assert_eq!(user.extra["authentication.kubernetes.io/credential-id"], ["JTI=j"]);
    assert!(user.in_group("system:serviceaccounts:a") && user.in_group("system:authenticated"));

    let fails = |token: &str, seconds: i64| {
        let at = now() + SignedDuration::from_secs(seconds);
        tokens.authenticate(token, &store.snapshot(), self::at(at)).unwrap_err()
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
    tokens.authenticate(&token, &store.snapshot(), at(now())).unwrap();
    assert_eq!(fails(&token, 90), "service account token has been invalidated");
    put(&*store, "pods", object("Pod", "p", "3")).await;
    assert!(fails(&token, 0).contains("does not match"));
}

/// A certificate of the subject that is good for an hour from `from` on.
fn peer(pki: &Pki, name: &str, from: Timestamp) -> PeerCertificate {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let leaf = pki.authority().issue(&CertificateRequest::client(name, Some("team")), from).unwrap();
    PeerCertificate::new(vec![CertificateDer::from_pem_slice(leaf.certificate_pem.as_bytes()).unwrap()])
}

#[tokio::test]
async fn credentials_in_their_order() {
    let file = TokenFile::parse("secret,jane,7,\"dev,ops\"").unwrap();
    let at = Timestamp::now();
    let pki = Pki::in_memory(at).unwrap();
    let certificates = ClientCertificates::new(pki.client_verifier().unwrap());
    let authentication = Authentication::new(certificates, tokens(), Some(file));
    let registry = Registry::new(Config::new(Memory::new()), api::catalogue::Catalogue::default());
    let check = |headers: &[(&str, &str)], peer: Option<&PeerCertificate>, expected: Result<Option<&str>, &str>| {
        let mut request = http::Request::new(());
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer.clone());
        }
        let found = authentication.authenticate(&request.into_parts().0, &registry).now_or_never().unwrap();
        let found = found.as_ref().map(|known| known.as_ref().map(|known| known.user.username.as_str()));
        match (found, expected) {
            (Err(why), Err(expected)) => assert!(why.contains(expected), "{why}"),
            (found, expected) => assert_eq!(found.map_err(String::as_str), expected),
        }
    };
    let good = peer(&pki, "bob", at);
    let year = SignedDuration::from_hours(24 * 366);
    let expired = peer(&pki, "bob", at - year);
    let early = peer(&pki, "bob", at + year);
    let stranger = peer(&Pki::in_memory(at).unwrap(), "bob", at);
    let node_client = peer(&pki, crate::certificates::KUBELET_CLIENT, at);
    let empty = PeerCertificate::new(Vec::new());
    check(&[], None, Ok(None));
    check(&[("authorization", "Bearer secret")], None, Ok(Some("jane")));
    check(&[("authorization", "bearer secret")], None, Ok(Some("jane")));
    check(&[("authorization", "Bearer wrong")], None, Err(INVALID_TOKEN));
    check(&[("authorization", "Bearer wröng")], None, Err("not ASCII"));
    check(&[("authorization", "Bearer  secret")], None, Ok(None));
    check(&[("authorization", "Basic secret")], None, Ok(None));
    check(&[("authorization", "Bearer wrong")], Some(&good), Ok(Some("bob")));
    for bad in [&expired, &early, &stranger, &node_client, &empty] {
        check(&[], Some(bad), Err(""));
        check(&[("authorization", "Bearer secret")], Some(bad), Ok(Some("jane")));
        check(&[("authorization", "Bearer wrong")], Some(bad), Err(INVALID_TOKEN));
    }
    check(&[], Some(&peer(&pki, "", at)), Ok(None));
    let socket = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-protocol", "v5.channel.k8s.io")];
    let offer = |token: &str| format!("base64url.bearer.authorization.k8s.io.{token}");
    let with = |token: &'static str| [&socket[..], &[("sec-websocket-protocol", token)]].concat();
    check(&with(offer("c2VjcmV0").leak()), None, Ok(Some("jane")));
    check(&with(offer("d3Jvbmc").leak()), None, Err(INVALID_TOKEN));
    check(&with(offer("!").leak()), None, Err("encoding"));
}

#[test]
fn a_certificate_ends_on_a_connection_that_lives_on() {
    let at = now();
    let pki = Pki::in_memory(at).unwrap();
    let certificates = ClientCertificates::new(pki.client_verifier().unwrap());
    let peer = peer(&pki, "bob", at);
    let user = certificates.user(&peer, at).unwrap().unwrap();
    assert_eq!(
        (user.username.as_str(), &user.groups[..]),
        ("bob", &["team".into(), "system:authenticated".into()][..])
    );
    let end = at + SignedDuration::from_hours(24 * 365);
    certificates.user(&peer, end - SignedDuration::from_secs(1)).unwrap();
    assert!(certificates.user(&peer, end + SignedDuration::from_secs(1)).unwrap_err().contains("verifying"));
    // Also for a clock that was set back.
    assert!(certificates.user(&peer, at - SignedDuration::from_hours(1)).is_err());
    certificates.user(&peer, at).unwrap().unwrap();
}

#[test]
fn subjects_that_are_no_users() {
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};
    let read = |parts: &[(DnType, DnValue)]| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        x509::subject_user(certificate.der()).map(|(user, _)| user)
    };
    let text = |value: &str| DnValue::Utf8String(value.into());
    let uid = || DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 57683, 2]);
    let jane = read(&[(DnType::CommonName, text("jürgen")), (uid(), text("7"))]).unwrap().unwrap();
    assert_eq!((jane.username.as_str(), jane.uid.as_str()), ("jürgen", "7"));
    assert_eq!(read(&[(uid(), text("7"))]), Ok(None), "no name, no user");
    assert!(read(&[(DnType::CommonName, text("jane")), (uid(), text(""))]).is_err());
    let no_text = DnValue::UniversalString(rcgen::string::UniversalString::try_from("x").unwrap());
    assert!(read(&[(DnType::CommonName, no_text.clone())]).is_err());
    assert!(read(&[(DnType::CommonName, text("jane")), (DnType::OrganizationName, no_text)]).is_err());
}

#[tokio::test]
async fn the_use_of_a_token_in_a_secret_is_told() {
    use futures::FutureExt;

    use crate::authentication::secret_use::Used;
    let store = Memory::new();
    let account = |secrets: Value| {
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "secrets": secrets,
            "metadata": {"namespace": "a", "name": "sa", "uid": "1"}})
    };
    let tokens = tokens();
    let token = tokens.sign(&SecretClaims::new("a", "sa", "1", "s")).unwrap();
    let secret = |labels: Value| {
        use base64::Engine;
        let data = base64::engine::general_purpose::STANDARD.encode(&token);
        json!({"apiVersion": "v1", "kind": "Secret", "data": {"token": data},
            "metadata": {"namespace": "a", "name": "s", "uid": "2", "labels": labels}})
    };
    let (uses, counts) = (tokens.uses(), tokens.counts());
    let told = || uses.next().now_or_never();
    let used = Some(Used { namespace: "a".into(), name: "s".into(), uid: "2".into() });
    let count = |name: &str| {
        let mut text = metrics::Text::default();
        metrics::Collect::collect(&**counts, &mut text);
        let line = text.finish().lines().find(|line| line.starts_with(name)).map(str::to_string);
        line.and_then(|line| line.split(' ').next_back().map(str::to_string)).unwrap_or_default()
    };

    put(&*store, "serviceaccounts", account(json!([{"name": "other"}]))).await;
    put(&*store, "secrets", secret(json!({}))).await;
    let (known, remembered) = tokens.authenticate(&token, &store.snapshot(), at(now())).unwrap();
    assert!(!remembered);
    let notes = known.notes.unwrap();
    let expected = [
        ("authentication.k8s.io/legacy-token", "system:serviceaccount:a:sa"),
        ("authentication.k8s.io/legacy-token-manual-secret", "s"),
    ];
    assert_eq!(notes.annotations, expected.map(|(name, text)| (name.to_string(), text.to_string())));
    assert_eq!((notes.warnings.len(), told()), (0, used.clone()));
    let (known, remembered) = tokens.authenticate(&token, &store.snapshot(), at(now())).unwrap();
    assert!(remembered && known.notes.is_some());
    assert_eq!(told(), None);
    uses.tried(used.as_ref().unwrap(), std::time::Instant::now() - std::time::Duration::from_secs(3600));

    put(&*store, "secrets", secret(json!({"kubernetes.io/legacy-token-last-used": "2026-11-22"}))).await;
    put(&*store, "serviceaccounts", account(json!([{"name": "s"}]))).await;
    let notes = tokens.authenticate(&token, &store.snapshot(), at(now())).unwrap().0.notes.unwrap();
    assert_eq!(notes.annotations[1].0, "authentication.k8s.io/legacy-token-autogenerated-secret");
    assert!(notes.warnings[0].ends_with("instead of auto-generated secret-based tokens."));
    assert_eq!(told(), None, "it is labelled");
    let foreign =
        tokens.review(&token, &["vault".into()], &store.snapshot(), at(now() + SignedDuration::from_hours(48)));
    assert!(foreign.is_err() && told().is_none(), "a token for others is not used");
    let late = at(now() + SignedDuration::from_hours(48));
    tokens.authenticate(&token, &store.snapshot(), late).unwrap();
    assert_eq!(told(), used, "a token that is remembered is noted on another day, too");
    uses.tried(used.as_ref().unwrap(), std::time::Instant::now() - std::time::Duration::from_secs(3600));

    put(&*store, "secrets", secret(json!({"kubernetes.io/legacy-token-invalid-since": "2026-11-22"}))).await;
    let refused = tokens.authenticate(&token, &store.snapshot(), at(now())).unwrap_err();
    assert!(refused.contains("has been marked invalid"), "{refused}");
    assert_eq!(told(), used, "who still uses it is to be seen");
    assert_eq!(count("serviceaccount_legacy_manual_token_uses_total"), "2");
    assert_eq!(count("serviceaccount_legacy_auto_token_uses_total"), "2");
    assert_eq!(count("serviceaccount_invalid_legacy_auto_token_uses_total"), "1");
    assert_eq!(count("serviceaccount_legacy_tokens_total"), "5");
}

#[tokio::test]
async fn a_token_that_was_not_reloaded_is_told_of() {
    let store = Memory::new();
    put(&*store, "serviceaccounts", object("ServiceAccount", "sa", "1")).await;
    let tokens = tokens();
    let mut claims = claims(None);
    claims.kubernetes.warnafter = Some(now().as_second() + 60);
    let token = tokens.issue(claims).unwrap();
    let notes = |seconds: i64| {
        let time = at(now() + SignedDuration::from_secs(seconds));
        tokens.authenticate(&token, &store.snapshot(), time).unwrap().0.notes
    };
    assert_eq!(notes(60), None);
    let text = "subject: system:serviceaccount:a:sa, seconds after warning threshold: 5";
    let expected = vec![("authentication.k8s.io/stale-token".to_string(), text.to_string())];
    assert_eq!(notes(65).unwrap().annotations, expected);
}
