//! Whom a front proxy may name, and who is one.

use http::Request;
use rustls::pki_types::pem::PemObject;

use super::*;
use crate::certificates::{CertificateRequest, FRONT_PROXY_CLIENT, LEAF_DAYS, Pki};

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn request(peer: Option<&str>, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder();
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(pem) = peer {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        request = request.extension(PeerCertificate::new(vec![certificate]));
    }
    request.body(()).unwrap().into_parts().0
}

fn proxy(pki: &Pki) -> String {
    pki.front_proxy_client(now()).unwrap().current().certificate_pem
}

fn believed(pki: &Pki, names: Names, allowed: &[&str]) -> RequestHeaders {
    let allowed = allowed.iter().map(|name| name.to_string()).collect();
    RequestHeaders::new(names, allowed, pki.front_proxy_pem().into()).unwrap()
}

#[test]
fn a_front_proxy_names_a_user() {
    let pki = Pki::in_memory(now()).unwrap();
    let believed = believed(&pki, Names::standard(), &[FRONT_PROXY_CLIENT]);
    let headers = [
        ("x-remote-user", "jane"),
        ("x-remote-user", "other"),
        ("x-remote-uid", "7"),
        ("x-remote-group", "dev"),
        ("x-remote-group", ""),
        ("x-remote-group", "ops"),
        ("x-remote-extra-scopes", "a"),
        ("x-remote-extra-scopes", "b"),
        ("x-remote-extra-example.com%2fsome%2Fkey", "c"),
        ("x-remote-extra-100%", "d"),
    ];
    let user = believed.user(&request(Some(&proxy(&pki)), &headers), now()).unwrap().unwrap();
    assert_eq!((user.username.as_str(), user.uid.as_str()), ("jane", "7"));
    assert_eq!(user.groups, ["dev", "ops", "system:authenticated"]);
    let extra: Vec<(&str, &[String])> = user.extra.iter().map(|(key, values)| (key.as_str(), &values[..])).collect();
    let of = |values: &[&str]| values.iter().map(|value| value.to_string()).collect::<Vec<_>>();
    let expected = [("100%", of(&["d"])), ("example.com/some/key", of(&["c"])), ("scopes", of(&["a", "b"]))];
    assert_eq!(extra, expected.each_ref().map(|(key, values)| (*key, &values[..])));
}

#[test]
fn nobody_else_does() {
    let pki = Pki::in_memory(now()).unwrap();
    let named = [("x-remote-user", "jane"), ("x-remote-group", "system:masters")];
    let allowed = believed(&pki, Names::standard(), &[FRONT_PROXY_CLIENT]);
    let check = |believed: &RequestHeaders, peer: Option<&str>, at: Timestamp, expected: Result<bool, &str>| {
        let found = believed.user(&request(peer, &named), at).map(|user| user.is_some());
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, expected) => panic!("{found:?} and not {expected:?}"),
        }
    };
    check(&allowed, Some(&proxy(&pki)), now(), Ok(true));
    check(&allowed, None, now(), Ok(false));
    let admin = pki.admin(now()).unwrap().current().certificate_pem;
    check(&allowed, Some(&admin), now(), Err("verifying a client certificate failed"));
    check(&allowed, Some(&proxy(&Pki::in_memory(now()).unwrap())), now(), Err("verifying a client certificate failed"));
    let ended = now() + jiff::SignedDuration::from_hours(24 * i64::try_from(LEAF_DAYS).unwrap() + 1);
    check(&allowed, Some(&proxy(&pki)), ended, Err("verifying a client certificate failed"));
    let other = pki.certificate("other", &CertificateRequest::front_proxy("other"), now()).unwrap();
    let other = other.current().certificate_pem;
    check(&allowed, Some(&other), now(), Err("x509: subject with cn=other is not in the allowed list"));
    check(&believed(&pki, Names::standard(), &[]), Some(&other), now(), Ok(true));
    check(&believed(&pki, Names::default(), &[]), Some(&other), now(), Ok(false));
    // Nobody is named: whoever it is may have other credentials.
    assert_eq!(allowed.user(&request(Some(&admin), &[("x-remote-group", "a")]), now()), Ok(None));
    assert_eq!(allowed.user(&request(Some(&admin), &[("x-remote-user", "")]), now()), Ok(None));
    let mut binary = request(Some(&proxy(&pki)), &named);
    binary.headers.insert("x-remote-group", HeaderValue::from_bytes(b"\xff").unwrap());
    assert_eq!(allowed.user(&binary, now()), Err("the header \"X-Remote-Group\" is not UTF-8".into()));
}

#[test]
fn other_authorities_count_once_a_verdict_is_over() {
    let (pki, next) = (Pki::in_memory(now()).unwrap(), Pki::in_memory(now()).unwrap());
    let believed = believed(&pki, Names::standard(), &[]);
    let parts = request(Some(&proxy(&next)), &[("x-remote-user", "jane")]);
    assert!(believed.user(&parts, now()).is_err());
    assert_eq!(believed.set_authorities(pki.front_proxy_pem().into()).ok(), Some(false));
    assert!(believed.set_authorities("nothing".into()).is_err());
    assert_eq!(
        believed.set_authorities(format!("{}{}", pki.front_proxy_pem(), next.front_proxy_pem())).ok(),
        Some(true)
    );
    assert!(believed.user(&parts, now() + VERDICT_LIFE + VERDICT_LIFE).is_ok());
}

#[test]
fn the_headers_go_no_further() {
    let headers =
        ["X-Remote-User", "x-remote-uid", "X-REMOTE-GROUP", "x-remote-extra-a%2f", "X-Auth", "x-team-a", "accept"];
    let left = |configured: Option<&RequestHeaders>| {
        let mut parts = request(None, &headers.map(|name| (name, "x")));
        parts.headers.append("x-remote-group", HeaderValue::from_static("y"));
        clear(&mut parts.headers, configured);
        let mut left: Vec<String> = parts.headers.keys().map(ToString::to_string).collect();
        left.sort();
        left.join(" ")
    };
    assert_eq!(left(None), "accept x-auth x-team-a");
    let pki = Pki::in_memory(now()).unwrap();
    assert_eq!(left(Some(&believed(&pki, Names::standard(), &[]))), "accept x-auth x-team-a");
    let list = |name: &str| vec![name.to_string()];
    let names = Names { username: list("X-Auth"), extra_prefix: list("X-Team-"), ..Names::default() };
    assert_eq!(left(Some(&believed(&pki, names, &[]))), "accept");
}
