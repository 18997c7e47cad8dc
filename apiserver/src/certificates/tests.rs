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
    let serving = first.serving(&[], &addresses, now()).unwrap();
    let admin = first.admin(now()).unwrap();
    let again = Pki::open(directory.path(), later(1)).unwrap();
    assert_eq!(again.authority_pem(), first.authority_pem());
    assert_eq!(again.service_account_key_pem(), first.service_account_key_pem());
    assert_eq!(again.service_account_public_pem(), first.service_account_public_pem());
    assert!(again.serving(&[], &addresses, later(1)).unwrap() == serving);
    assert!(again.admin(later(1)).unwrap() == admin);
    let more: Vec<IpAddr> = vec!["10.43.0.1".parse().unwrap(), "192.168.0.7".parse().unwrap()];
    assert!(again.serving(&[], &more, later(1)).unwrap() != serving);
    assert!(again.admin(later(300)).unwrap() != admin);
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
    assert!(pki.admin(now()).unwrap().certificate_pem.contains("BEGIN CERTIFICATE"));
    std::fs::write(path.join("ca.key"), Authority::generate("other", now()).unwrap().key_pem()).unwrap();
    assert!(matches!(Pki::open(directory.path(), now()), Err(CertificateError::Damaged { .. })));
}

#[test]
fn leaf_of_another_authority_is_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let admin = Pki::open(directory.path(), now()).unwrap().admin(now()).unwrap();
    std::fs::remove_file(directory.path().join("pki/ca.crt")).unwrap();
    assert!(Pki::open(directory.path(), now()).unwrap().admin(now()).unwrap() != admin);
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
    let shown = other.node_client("n1", now).unwrap();
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
