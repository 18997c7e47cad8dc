//! Flags and files.

use super::*;

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn lists(username: &[&str], uid: &[&str], allowed: &[&str]) -> FrontProxyOptions {
    let list = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
    let names = Names { username: list(username), uid: list(uid), ..Names::default() };
    FrontProxyOptions { names, allowed_names: list(allowed), ..FrontProxyOptions::default() }
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    let uid = "--requestheader-uid-headers is set without specifying the standard X-Remote-Uid header - API aggregation \
               will not work";
    for (options, expected) in [
        (lists(&[], &[], &[]), None),
        (lists(&["x-remote-user"], &["X-REMOTE-UID"], &["a"]), None),
        (lists(&["X-User"], &[], &[]), None),
        (lists(&["X-Remote-User", " "], &[], &[]), Some("empty value in \"requestheader-username-headers\"")),
        (lists(&[], &[], &[""]), Some("empty value in \"requestheader-allowed-names\"")),
        (lists(&["X User"], &[], &[]), Some("--requestheader-username-headers: \"X User\" is no name of a header")),
        (lists(&[], &["X-Uid"], &[]), Some(uid)),
    ] {
        let found = options.validate().err().map(|error| error.to_string());
        assert_eq!(found.as_deref(), expected);
    }
}

#[test]
fn without_flags_the_own_authority_is_believed_and_with_a_file_what_the_flags_say() {
    let pki = Pki::in_memory(now()).unwrap();
    let own = FrontProxy::new(&pki, &FrontProxyOptions::default(), now()).unwrap();
    assert_eq!(*own.believed().names(), Names::standard());
    assert_eq!(own.believed().allowed(), [FRONT_PROXY_CLIENT]);
    assert_eq!(own.believed().authorities_pem(), pki.front_proxy_pem());
    assert!(!own.has_files() && !own.reload());
    let shown = own.shown.current();
    assert!(own.is_own(&shown.cert[0]));
    let directory = tempfile::tempdir().unwrap();
    let other = Pki::in_memory(now()).unwrap();
    let path = directory.path().join("ca.crt");
    std::fs::write(&path, other.front_proxy_pem()).unwrap();
    let options = FrontProxyOptions { client_ca_file: Some(path.clone()), ..lists(&[" X-User "], &[], &[]) };
    let filed = FrontProxy::new(&pki, &options, now()).unwrap();
    assert_eq!(filed.believed().names().username, ["X-User"]);
    assert!(filed.believed().names().group.is_empty() && filed.believed().allowed().is_empty());
    assert!(!filed.reload(), "nothing changed");
    std::fs::write(&path, format!("{}{}", other.front_proxy_pem(), pki.front_proxy_pem())).unwrap();
    assert!(filed.reload());
    std::fs::write(&path, "nothing").unwrap();
    assert!(!filed.reload(), "what is no good changes nothing");
    assert!(filed.believed().authorities_pem().contains(pki.front_proxy_pem()));
    let error = FrontProxy::new(&pki, &options, now()).unwrap_err().to_string();
    assert!(error.contains("ca.crt: no certificate in the PEM"), "{error}");
}

#[test]
fn a_certificate_from_files_is_shown_as_it_is_now() {
    let directory = tempfile::tempdir().unwrap();
    let [certificate, key] = ["c", "k"].map(|name| directory.path().join(name));
    let pki = Pki::in_memory(now()).unwrap();
    let put = |pki: &Pki| {
        let pems = pki.front_proxy_client(now()).unwrap().current();
        std::fs::write(&certificate, pems.certificate_pem).unwrap();
        std::fs::write(&key, pems.key_pem).unwrap();
    };
    put(&pki);
    let client = Some((certificate.clone(), key.clone()));
    let options = FrontProxyOptions { client, ..FrontProxyOptions::default() };
    let proxy = FrontProxy::new(&pki, &options, now()).unwrap();
    let before = proxy.shown.current();
    put(&Pki::in_memory(now()).unwrap());
    assert!(proxy.has_files() && !proxy.reload());
    let after = proxy.shown.current();
    assert_ne!(before.cert, after.cert);
    std::fs::write(&key, "").unwrap();
    proxy.reload();
    assert_eq!(proxy.shown.current().cert, after.cert);
    assert!(FrontProxy::new(&pki, &options, now()).is_err());
}
