//! What is issued is what was asked for, and a restart changes nothing.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn later(days: i64) -> Timestamp {
    now() + jiff::SignedDuration::from_hours(24 * days)
}

#[test]
fn a_restart_keeps_every_certificate_and_a_new_address_or_age_replaces_the_leaf() {
    let directory = tempfile::tempdir().unwrap();
    let addresses: Vec<IpAddr> = vec!["10.43.0.1".parse().unwrap()];
    let first = Pki::open(directory.path(), now()).unwrap();
    let serving = first.serving(&[], &addresses, now()).unwrap().current();
    let admin = first.admin(now()).unwrap().current();
    let again = Pki::open(directory.path(), later(1)).unwrap();
    assert_eq!(again.authority_pem(), first.authority_pem());
    assert_eq!(again.service_account_key_pem(), first.service_account_key_pem());
    assert_eq!(again.service_account_public_pem(), first.service_account_public_pem());
    assert!(again.serving(&[], &addresses, later(1)).unwrap().current() == serving);
    assert!(again.admin(later(1)).unwrap().current() == admin);
    let more: Vec<IpAddr> = vec!["10.43.0.1".parse().unwrap(), "192.168.0.7".parse().unwrap()];
    assert!(again.serving(&[], &more, later(1)).unwrap().current() != serving);
    assert!(again.admin(later(300)).unwrap().current() != admin);
    for file in std::fs::read_dir(directory.path().join("pki")).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn a_damaged_authority_is_refused_and_a_damaged_leaf_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let pki = Pki::open(directory.path(), now()).unwrap();
    pki.admin(now()).unwrap();
    let path = directory.path().join("pki");
    std::fs::write(path.join("admin.crt"), "torn").unwrap();
    let pki = Pki::open(directory.path(), now()).unwrap();
    assert!(pki.admin(now()).unwrap().current().certificate_pem.contains("BEGIN CERTIFICATE"));
    std::fs::write(path.join("ca.key"), Authority::generate("other", now()).unwrap().key_pem()).unwrap();
    assert!(matches!(Pki::open(directory.path(), now()), Err(CertificateError::Damaged { .. })));
}

#[test]
fn leaf_of_another_authority_is_not_kept() {
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let admin = Pki::open(directory.path(), now()).unwrap().admin(now()).unwrap().current();
    Pki::open(other.path(), now()).unwrap();
    for file in ["ca.crt", "ca.key"] {
        std::fs::copy(other.path().join("pki").join(file), directory.path().join("pki").join(file)).unwrap();
    }
    assert!(Pki::open(directory.path(), now()).unwrap().admin(now()).unwrap().current() != admin);
}

#[test]
fn a_lost_authority_or_signing_key_is_named_and_not_made_anew() {
    for lost in ["ca.crt", "ca.key", "sa.key", ""] {
        for marked in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            let (pki, made) = (directory.path().join("pki"), directory.path().join("pki.made"));
            Pki::open(directory.path(), now()).unwrap();
            match lost {
                "" => std::fs::remove_dir_all(&pki).unwrap(),
                file => std::fs::remove_file(pki.join(file)).unwrap(),
            }
            // A directory that was made before there were marks is known by its other files.
            if !marked {
                std::fs::remove_file(&made).unwrap();
            }
            if lost.is_empty() && !marked {
                Pki::open(directory.path(), now()).unwrap();
                continue;
            }
            let refused = Pki::open(directory.path(), now()).unwrap_err();
            let named = if lost.is_empty() { "ca.crt" } else { lost };
            assert!(matches!(&refused, CertificateError::Missing { path } if *path == pki.join(named)), "{refused}");
            assert!(refused.to_string().contains("remove the directory pki and the file pki.made"), "{refused}");
            assert!(!pki.join(named).exists());
        }
    }
}

#[test]
fn a_first_start_that_was_cut_short_goes_on_and_an_own_authority_is_taken() {
    for begun in [&[][..], &["ca.key"], &["ca.key", "ca.crt"], &["ca.key", "ca.crt", "sa.key"]] {
        let (whole, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = Pki::open(whole.path(), now()).unwrap();
        let pki = directory.path().join("pki");
        std::fs::create_dir(&pki).unwrap();
        std::fs::write(pki.join("sa.new"), "torn").unwrap();
        for file in begun {
            std::fs::copy(whole.path().join("pki").join(file), pki.join(file)).unwrap();
        }
        let opened = Pki::open(directory.path(), now()).unwrap();
        assert_eq!(opened.authority_pem() == first.authority_pem(), begun.len() > 1, "{begun:?}");
        assert_eq!(opened.service_account_key_pem() == first.service_account_key_pem(), begun.len() > 2, "{begun:?}");
        let again = Pki::open(directory.path(), now()).unwrap();
        assert_eq!(again.authority_pem(), opened.authority_pem());
        assert_eq!(again.service_account_key_pem(), opened.service_account_key_pem());
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("pki")).unwrap();
    let own = Authority::generate("own", now()).unwrap();
    std::fs::write(directory.path().join("pki/ca.crt"), own.certificate_pem()).unwrap();
    let refused = Pki::open(directory.path(), now()).unwrap_err();
    assert!(matches!(&refused, CertificateError::Missing { path } if path.ends_with("ca.key")), "{refused}");
}

#[tokio::test]
async fn tls_between_an_issued_server_and_client_verifies_both() {
    let pki = Pki::in_memory(Timestamp::now()).unwrap();
    let serving = pki.serving(&[], &[], Timestamp::now()).unwrap();
    let node = pki.node_client("n1", Timestamp::now()).unwrap();
    let (client, server) = tokio::io::duplex(16 * 1024);
    let acceptor = tokio_rustls::TlsAcceptor::from(pki.server_config(&serving).unwrap());
    let connector = tokio_rustls::TlsConnector::from(pki.client_config(&node).unwrap());
    let name = rustls::pki_types::ServerName::try_from("kubernetes.default.svc").unwrap();
    let (accepted, connected) = tokio::join!(acceptor.accept(server), connector.connect(name, client));
    connected.unwrap();
    let accepted = accepted.unwrap();
    let shown = accepted.get_ref().1.peer_certificates().unwrap()[0].clone();
    let (_, parsed) = x509_parser::parse_x509_certificate(&shown).unwrap();
    assert_eq!(parsed.subject().to_string(), "O=system:nodes, CN=system:node:n1");
}

/// Whoever holds the key gets through the handshake, to be judged later; but not with certificates without end.
#[tokio::test]
async fn tls_takes_strangers_but_no_heaps_of_certificates() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    let now = Timestamp::now();
    let (pki, other) = (Pki::in_memory(now).unwrap(), Pki::in_memory(now).unwrap());
    let acceptor = tokio_rustls::TlsAcceptor::from(pki.server_config(&pki.serving(&[], &[], now).unwrap()).unwrap());
    let shown = other.node_client("n1", now).unwrap().current();
    let certificate = CertificateDer::from_pem_slice(shown.certificate_pem.as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pki.authority_pem().as_bytes()).unwrap()).unwrap();
    for (count, accepted) in [(1, true), (10, true), (64, false)] {
        let key = PrivateKeyDer::from_pem_slice(shown.key_pem.as_bytes()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(vec![certificate.clone(); count], key)
            .unwrap();
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let (client, server) = tokio::io::duplex(64 * 1024);
        let name = ServerName::try_from("kubernetes.default.svc").unwrap();
        let (found, _) = tokio::join!(acceptor.accept(server), connector.connect(name, client));
        assert_eq!(found.is_ok(), accepted, "{count} certificates");
    }
}

#[test]
fn a_certificate_is_renewed_after_two_thirds_of_its_life_and_when_the_clock_jumps() {
    let directory = tempfile::tempdir().unwrap();
    let pki = Pki::open(directory.path(), now()).unwrap();
    let (admin, serving) = (pki.admin(now()).unwrap(), pki.serving(&[], &[], now()).unwrap());
    let first = admin.current();
    assert!(pki.renew(later(242)).is_empty(), "a third of its life is left");
    assert_eq!(pki.renew(later(244)), ["admin", "apiserver"]);
    assert!(pki.renew(later(244)).is_empty());
    let second = admin.current();
    assert!(second != first);
    // What is kept is what is shown.
    let kept = std::fs::read_to_string(directory.path().join("pki/admin.crt")).unwrap();
    assert_eq!(kept, second.certificate_pem);
    let reopened = Pki::open(directory.path(), later(245)).unwrap();
    assert!(reopened.serving(&[], &[], later(245)).unwrap().current() == serving.current());
    // Far ahead it has expired, and far back it is not valid yet.
    assert_eq!(pki.renew(later(900)).len(), 2);
    assert_eq!(pki.renew(later(1)).len(), 2);
    assert!(pki.authority_holds(later(3_000)) && !pki.authority_holds(later(3_700)) && !pki.authority_holds(later(-9)));
    // A disk that takes no file keeps nobody from using a new one.
    std::fs::remove_dir_all(directory.path().join("pki")).unwrap();
    assert_eq!(pki.renew(later(250)).len(), 2);
}

#[tokio::test]
async fn what_is_renewed_is_shown_at_once_and_open_connections_go_on() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let now = Timestamp::now();
    let long_ago = now - jiff::SignedDuration::from_hours(24 * 300);
    let pki = Pki::in_memory(long_ago).unwrap();
    let (serving, client) = (pki.serving(&[], &[], long_ago).unwrap(), pki.kubelet_client(long_ago).unwrap());
    let acceptor = tokio_rustls::TlsAcceptor::from(pki.server_config(&serving).unwrap());
    let connector = tokio_rustls::TlsConnector::from(pki.client_config(&client).unwrap());
    let connect = || async {
        let (near, far) = tokio::io::duplex(16 * 1024);
        let name = rustls::pki_types::ServerName::try_from("kubernetes.default.svc").unwrap();
        let (accepted, connected) = tokio::join!(acceptor.accept(far), connector.connect(name, near));
        let (accepted, connected) = (accepted.unwrap(), connected.unwrap());
        let shown =
            |certificates: Option<&[rustls::pki_types::CertificateDer<'static>]>| certificates.unwrap()[0].clone();
        let of_server = shown(connected.get_ref().1.peer_certificates());
        let of_client = shown(accepted.get_ref().1.peer_certificates());
        (accepted, connected, of_server, of_client)
    };
    let (mut accepted, mut connected, server_before, client_before) = connect().await;
    assert_eq!(pki.renew(now).len(), 2);
    let (_, _, server_after, client_after) = connect().await;
    assert!(server_after != server_before && client_after != client_before);
    accepted.write_all(b"an event").await.unwrap();
    accepted.flush().await.unwrap();
    let mut read = [0; 8];
    connected.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"an event");
}
