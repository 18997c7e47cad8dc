//! The user in a client certificate: `CN` is the name, every `O` a group.

use std::fmt::Write;
use std::sync::Arc;

use api::UserInfo;
use sha2::{Digest, Sha256};

/// The user in a certificate that TLS has verified already; none if it names nobody.
pub(super) fn user(der: &[u8]) -> Option<Arc<UserInfo>> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().last()?.as_str().ok().filter(|name| !name.is_empty())?;
    let groups: Vec<&str> = subject.iter_organization().filter_map(|group| group.as_str().ok()).collect();
    let mut user = UserInfo::new(name, &groups);
    let mut id = String::from("X509SHA256=");
    for byte in Sha256::digest(der) {
        write!(id, "{byte:02x}").expect("a String takes every write");
    }
    user.extra.insert("authentication.kubernetes.io/credential-id".into(), vec![id]);
    Some(Arc::new(user))
}
