//! Who asks.

use std::sync::{Arc, OnceLock};

use api::UserInfo;
use futures::future::BoxFuture;

use crate::Registry;

/// Finds out who sent a request, from its headers or from a [`PeerCertificate`] among its extensions.
pub trait Authenticator: Send + Sync {
    /// The user; none if this authenticator sees no credentials of its sort; an error if it sees some that are bad
    /// (the next one is asked all the same, and the errors are told to nobody but the log).
    fn authenticate<'a>(
        &'a self,
        request: &'a http::request::Parts,
        registry: &'a Registry,
    ) -> BoxFuture<'a, Result<Option<Arc<UserInfo>>, String>>;
}

/// The verified certificate of a TLS connection: an extension of every request on it.
#[derive(Clone)]
pub struct PeerCertificate(Arc<Peer>);

struct Peer {
    der: Vec<u8>,
    user: OnceLock<Option<Arc<UserInfo>>>,
}

impl PeerCertificate {
    /// The leaf certificate as DER; the TLS layer has verified it against the client CA.
    pub fn new(der: Vec<u8>) -> Self {
        Self(Arc::new(Peer { der, user: OnceLock::new() }))
    }

    /// The certificate as DER.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The user in the certificate, read at most once a connection.
    pub fn user(&self, read: impl FnOnce(&[u8]) -> Option<Arc<UserInfo>>) -> Option<Arc<UserInfo>> {
        self.0.user.get_or_init(|| read(&self.0.der)).clone()
    }
}
