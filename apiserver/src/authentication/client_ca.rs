//! Authorities of client certificates beside the cluster's own (`--client-ca-file`), which are followed while the server runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::server::danger::ClientCertVerifier;

use crate::certificates::{bundle, client_verifier};

/// The authorities of a file.
#[derive(Debug)]
pub struct ClientAuthorities {
    path: PathBuf,
    verifier: ArcSwap<Arc<dyn ClientCertVerifier>>,
    last: Mutex<Vec<u8>>,
}

impl ClientAuthorities {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(path: &Path) -> Result<Self, String> {
        let failed = |why: String| format!("unable to load client CA file {path:?}: {why}");
        let read = std::fs::read(path).map_err(|error| failed(format!("open {}: {error}", path.display())))?;
        let verifier = verifier(&read).map_err(failed)?;
        Ok(Self { path: path.into(), verifier: ArcSwap::from_pointee(verifier), last: Mutex::new(read) })
    }

    /// What tells whether one of them issued a certificate.
    pub fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        (**self.verifier.load()).clone()
    }

    /// The authorities as the file has them.
    pub fn pem(&self) -> String {
        String::from_utf8_lossy(&self.last.lock()).into_owned()
    }

    /// Looks whether the file has changed, and trusts others from now on if so. One that is no good changes nothing.
    pub fn look(&self) {
        let read = match std::fs::read(&self.path) {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "the authorities of clients cannot be read");
                return;
            }
        };
        let mut last = self.last.lock();
        if *last == read {
            return;
        }
        match verifier(&read) {
            Ok(verifier) => {
                self.verifier.store(Arc::new(verifier));
                tracing::info!(path = %self.path.display(), "the authorities of clients are others now");
                *last = read;
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), error, "the authorities of clients stay what they were")
            }
        }
    }
}

fn verifier(pem: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let pem = String::from_utf8_lossy(pem);
    bundle::certificates(&pem)?;
    client_verifier(&pem).map_err(|error| error.to_string())
}
