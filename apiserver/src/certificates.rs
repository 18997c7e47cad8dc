//! The cluster's certificate authority, the certificates it issues and the key that signs service account tokens.
//!
//! Everything is ECDSA P-256. [`Pki::open`] makes what is missing and reloads what is there, so that a restart
//! changes no identity; a leaf certificate is made anew when its names change, and after two thirds of its life, also
//! while it is in use ([`Pki::renew`]).
//! The time comes in as a parameter everywhere.

mod authority;
pub mod bundle;
mod der;
mod files;
mod leaf;
mod renewable;
pub mod renewal;
pub mod signing;
mod tls;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use rustls::server::danger::ClientCertVerifier;

pub use authority::{Authority, CertificateRequest, Usage};
pub use renewable::Leaf;
pub use tls::{certified_chain, client_config, client_verifier, server_config};

/// Whom the API server shows to node servers: nobody to the API server itself.
pub const KUBELET_CLIENT: &str = "kube-apiserver-kubelet-client";
/// Who the server of the API is, in the certificate that it shows.
pub const API_SERVER: &str = "kube-apiserver";

/// Whom the front proxy of this server shows to the servers of aggregated APIs (what kubeadm calls it).
pub const FRONT_PROXY_CLIENT: &str = "front-proxy-client";

/// File and common name of the two authorities.
const CLUSTER: (&str, &str) = ("ca", "kubernetes");
const FRONT_PROXY: (&str, &str) = ("front-proxy-ca", "front-proxy-ca");

/// How long a certificate authority made here is valid.
pub const AUTHORITY_DAYS: u64 = 3650;
/// How long a leaf certificate made here is valid.
pub const LEAF_DAYS: u64 = 365;

/// How a person gets a new authority: never by accident.
const ANEW: &str = "To make a new authority and a new signing key, which ends every client certificate and every service \
                    account token, remove the directory pki and the file pki.made of the data directory first";

/// What can go wrong with certificates and keys.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A certificate or key that must not be guessed anew does not parse, or the two do not belong together.
    #[error("{path} is damaged ({reason}): restore it. {ANEW}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate or key that must not be made anew in silence is not there.
    #[error(
        "{path} is missing, though clients know certificates or tokens that were signed with it: restore it. {ANEW}"
    )]
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// Key generation or signing failed.
    #[error("cannot make a certificate: {0}")]
    Generation(#[from] rcgen::Error),
    /// The TLS library refused the material.
    #[error("cannot use a certificate: {0}")]
    Tls(#[from] rustls::Error),
    /// A PEM block is missing or broken.
    #[error("{0}")]
    Pem(String),
}

/// A certificate with its private key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateAndKey {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key (PKCS #8).
    pub key_pem: String,
}

impl std::fmt::Debug for CertificateAndKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CertificateAndKey(…)")
    }
}

/// The authority, the token signing key, and where they are kept.
#[derive(Debug)]
pub struct Pki {
    authority: Authority,
    front_proxy: Authority,
    service_account_key_pem: String,
    service_account_public_pem: String,
    directory: Option<PathBuf>,
    /// What was asked for, to be renewed.
    leaves: Mutex<Vec<Arc<Leaf>>>,
}

impl Pki {
    /// Loads the authority and the signing key from `<data_directory>/pki`, or makes them there at the first start.
    ///
    /// # Errors
    /// [`CertificateError::File`] on I/O; [`CertificateError::Damaged`] if the authority or the signing key is there but
    /// not whole, and [`CertificateError::Missing`] if it was there: a new one would silently cut off every client, so
    /// that is left to a person.
    pub fn open(data_directory: &Path, now: Timestamp) -> Result<Self, CertificateError> {
        let directory = data_directory.join("pki");
        let made = data_directory.join("pki.made");
        files::make_directory(&directory)?;
        let known = made.exists() || files::was_used(&directory)?;
        let authority = files::load_or_make_authority(&directory, CLUSTER, known, now)?;
        let (key, public) = files::load_or_make_signing_key(&directory, known)?;
        // A new one does no harm: those that trust it read of it in the cluster.
        let front_proxy = files::load_or_make_authority(&directory, FRONT_PROXY, false, now)?;
        files::remember(&made)?;
        Ok(Self {
            authority,
            front_proxy,
            service_account_key_pem: key,
            service_account_public_pem: public,
            directory: Some(directory),
            leaves: Mutex::default(),
        })
    }

    /// An authority that lives in memory only, for clusters that keep nothing.
    ///
    /// # Errors
    /// [`CertificateError::Generation`] if the system gives no randomness.
    pub fn in_memory(now: Timestamp) -> Result<Self, CertificateError> {
        let (key, public) = authority::generate_key()?;
        Ok(Self {
            authority: Authority::generate(CLUSTER.1, now)?,
            front_proxy: Authority::generate(FRONT_PROXY.1, now)?,
            service_account_key_pem: key,
            service_account_public_pem: public,
            directory: None,
            leaves: Mutex::default(),
        })
    }

    /// The authority.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The authority's certificate: what clients trust, and what `kube-root-ca.crt` holds.
    pub fn authority_pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    /// The certificate of the authority of the front proxy's client certificate. It signs nothing else.
    pub fn front_proxy_pem(&self) -> &str {
        self.front_proxy.certificate_pem()
    }

    fn signer(&self, request: &CertificateRequest) -> &Authority {
        if request.usage == Usage::FrontProxy { &self.front_proxy } else { &self.authority }
    }

    /// The private key that signs service account tokens.
    pub fn service_account_key_pem(&self) -> &str {
        &self.service_account_key_pem
    }

    /// The public half of the service account key.
    pub fn service_account_public_pem(&self) -> &str {
        &self.service_account_public_pem
    }

    /// The certificate kept as `name` (`name.crt`, `name.key`), made anew unless it was issued by this authority for the
    /// same subject and names and has a third of its life left. From then on [`Pki::renew`] looks after it.
    ///
    /// # Errors
    /// Those of writing and of signing. A damaged leaf is replaced, not an error.
    pub fn certificate(
        &self,
        name: &str,
        request: &CertificateRequest,
        now: Timestamp,
    ) -> Result<Arc<Leaf>, CertificateError> {
        let mut leaves = self.leaves.lock();
        if let Some(known) = leaves.iter().find(|leaf| leaf.name() == name && leaf.request() == request)
            && known.is_fresh(now)
        {
            return Ok(known.clone());
        }
        let directory = self.directory.as_deref();
        let kept =
            directory.and_then(|directory| files::load_leaf(directory, name, self.signer(request), request, now));
        let pems = match kept {
            Some(kept) => kept,
            None => {
                let made = self.signer(request).issue(request, now)?;
                if let Some(directory) = directory {
                    files::write_leaf(directory, name, &made)?;
                }
                made
            }
        };
        let leaf = Leaf::new(name, request.clone(), pems)?;
        leaves.retain(|other| other.name() != name);
        leaves.push(leaf.clone());
        Ok(leaf)
    }

    /// Renews every certificate in use that has lived two thirds of its life, or is not valid at this time; returns the
    /// names. One that cannot be written is in use all the same, and is made anew at the next start.
    pub fn renew(&self, now: Timestamp) -> Vec<String> {
        let leaves = self.leaves.lock().clone();
        let mut renewed = Vec::new();
        for leaf in leaves.iter().filter(|leaf| !leaf.is_fresh(now)) {
            let made = self.signer(leaf.request()).issue(leaf.request(), now);
            let replaced = made.and_then(|made| {
                if let Some(directory) = &self.directory
                    && let Err(error) = files::write_leaf(directory, leaf.name(), &made)
                {
                    tracing::error!(%error, "a renewed certificate is not kept");
                }
                leaf.replace(made)
            });
            match replaced {
                Ok(()) => renewed.push(leaf.name().to_string()),
                Err(error) => tracing::error!(%error, certificate = leaf.name(), "cannot be renewed"),
            }
        }
        renewed
    }

    /// Whether the authority's own certificate is valid at a time.
    pub fn authority_holds(&self, now: Timestamp) -> bool {
        self.authority.validity().holds(now)
    }

    /// The API server's serving certificate; `addresses` are the node's and the first service address.
    ///
    /// # Errors
    /// As [`Pki::certificate`].
    pub fn serving(
        &self,
        names: &[String],
        addresses: &[IpAddr],
        now: Timestamp,
    ) -> Result<Arc<Leaf>, CertificateError> {
        self.certificate("apiserver", &CertificateRequest::apiserver(names, addresses), now)
    }

    /// The person who started the cluster: `kubernetes-admin` in `system:masters`.
    ///
    /// # Errors
    /// As [`Pki::certificate`].
    pub fn admin(&self, now: Timestamp) -> Result<Arc<Leaf>, CertificateError> {
        self.certificate("admin", &CertificateRequest::client("kubernetes-admin", Some("system:masters")), now)
    }

    /// `system:kube-scheduler`.
    ///
    /// # Errors
    /// As [`Pki::certificate`].
    pub fn scheduler(&self, now: Timestamp) -> Result<Arc<Leaf>, CertificateError> {
        self.certificate("scheduler", &CertificateRequest::client("system:kube-scheduler", None), now)
    }

    /// `system:kube-controller-manager`.
    ///
    /// # Errors
    /// As [`Pki::certificate`].
    pub fn controller_manager(&self, now: Timestamp) -> Result<Arc<Leaf>, CertificateError> {
        self.certificate("controller-manager", &CertificateRequest::client("system:kube-controller-manager", None), now)
    }

    /// `system:node:NODE` in `system:nodes`.
    ///
    /// # Errors
    /// As [`Pki::certificate`].
    pub fn node_client(&self, node: &str, now: Timestamp) -> Result<Arc<Leaf>, CertificateError> {
        let request = CertificateRequest::client(&format!("system:node:{node}"), Some("system:nodes"));
        self.certificate("kubelet-client", &request, now)
    }

    /// The node server's serving certificate.
    ///
    /// # Errors
    /// As [`Pki::certificate`].
    pub fn node_serving(
        &self,
        node: &str,
        addresses: &[IpAddr],
        now: Timestamp,
    ) -> Result<Arc<Leaf>, CertificateError> {
        self.certificate("kubelet", &CertificateRequest::kubelet(node, addresses), now)
    }

    /// What the API server shows to node servers: a user in no group, to whom a binding gives what they answer.
    ///
    /// # Errors
    /// As [`Pki::certificate`].
    pub fn kubelet_client(&self, now: Timestamp) -> Result<Arc<Leaf>, CertificateError> {
        let request = CertificateRequest::client(KUBELET_CLIENT, None);
        self.certificate("apiserver-kubelet-client", &request, now)
    }

    /// What the front proxy shows to the servers of aggregated APIs.
    ///
    /// # Errors
    /// As [`Pki::certificate`].
    pub fn front_proxy_client(&self, now: Timestamp) -> Result<Arc<Leaf>, CertificateError> {
        self.certificate("front-proxy-client", &CertificateRequest::front_proxy(FRONT_PROXY_CLIENT), now)
    }

    /// What tells good client certificates: those of this authority.
    ///
    /// # Errors
    /// [`CertificateError::Tls`] or [`CertificateError::Pem`] if the authority is no good.
    pub fn client_verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
        client_verifier(self.authority_pem())
    }

    /// TLS for the API server: its serving certificate; client certificates are asked for, not required, and not judged.
    ///
    /// # Errors
    /// [`CertificateError::Tls`] or [`CertificateError::Pem`] if the material is refused.
    pub fn server_config(&self, serving: &Arc<Leaf>) -> Result<Arc<rustls::ServerConfig>, CertificateError> {
        self.server_config_naming(serving, self.front_proxy_pem())
    }

    /// The same, with other authorities that may have signed a front proxy's certificate: a client that has several asks
    /// whose are welcome.
    ///
    /// # Errors
    /// As [`Pki::server_config`].
    pub fn server_config_naming(
        &self,
        serving: &Arc<Leaf>,
        front_proxies_pem: &str,
    ) -> Result<Arc<rustls::ServerConfig>, CertificateError> {
        server_config(serving.clone(), self.authority_pem(), front_proxies_pem)
    }

    /// TLS for a client that trusts this authority and shows `identity`.
    ///
    /// # Errors
    /// [`CertificateError::Tls`] or [`CertificateError::Pem`] if the material is refused.
    pub fn client_config(&self, identity: &Arc<Leaf>) -> Result<Arc<rustls::ClientConfig>, CertificateError> {
        client_config(self.authority_pem(), Some(identity.clone()))
    }
}

#[cfg(test)]
mod tests;
