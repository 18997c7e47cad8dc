//! The front proxy: how this server tells the servers of aggregated APIs for whom it asks, and whom it believes that tell it the
//! same (`RequestHeaderAuthenticationOptions` in apiserver, `--proxy-client-cert-file` of kube-apiserver).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderName;
use jiff::Timestamp;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use crate::authentication::request_header::{Names, RequestHeaders};
use crate::certificates::{CertificateError, FRONT_PROXY_CLIENT, Leaf, Pki, bundle, certified_chain};
use crate::plug::Plugins;

/// `BuiltInAuthenticationOptions.Validate`
const OVERLAP: &str = "--requestheader-client-ca-file and --client-ca-file contain overlapping certificates; \
                       --requestheader-allowed-names must be specified to ensure regular client certificates cannot set \
                       authenticating proxy headers for arbitrary users";
/// How long a file of certificates may be.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The flags. What is absent is the cluster's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FrontProxyOptions {
    /// `--requestheader-client-ca-file`: without it, the authority of this server's own front proxy.
    pub client_ca_file: Option<PathBuf>,
    /// `--requestheader-allowed-names`
    pub allowed_names: Vec<String>,
    /// The headers that name a user (`--requestheader-username-headers` and the like).
    pub names: Names,
    /// `--proxy-client-cert-file` and `--proxy-client-key-file`: without them, a certificate of the own authority.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Authorities of client certificates beside the cluster's own (`--client-ca-file`): others are told of them, and none of
    /// their certificates may be taken for a front proxy's.
    pub client_authorities_pem: String,
}

/// Why there is no front proxy as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum FrontProxyError {
    /// A flag makes no sense.
    #[error("{0}")]
    Flag(String),
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What a file holds is no good.
    #[error("{path}: {source}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: CertificateError,
    },
    /// The own certificates are no good.
    #[error(transparent)]
    Own(#[from] CertificateError),
}

impl FrontProxyOptions {
    /// What is wrong with the flags; warns of what will not work (`RequestHeaderAuthenticationOptions.Validate`).
    ///
    /// # Errors
    /// [`FrontProxyError::Flag`].
    pub fn validate(&self) -> Result<(), FrontProxyError> {
        let fault = |message: String| Err(FrontProxyError::Flag(message));
        let lists = [
            ("requestheader-username-headers", &self.names.username, "X-Remote-User"),
            ("requestheader-group-headers", &self.names.group, "X-Remote-Group"),
            ("requestheader-extra-headers-prefix", &self.names.extra_prefix, "X-Remote-Extra-"),
            ("requestheader-uid-headers", &self.names.uid, "X-Remote-Uid"),
            ("requestheader-allowed-names", &self.allowed_names, ""),
        ];
        for (flag, values, standard) in lists {
            if values.iter().any(|value| value.trim().is_empty()) {
                return fault(format!("empty value in {flag:?}"));
            }
            if standard.is_empty() {
                continue;
            }
            if let Some(name) = values.iter().find(|name| HeaderName::from_bytes(name.trim().as_bytes()).is_err()) {
                return fault(format!("--{flag}: {name:?} is no name of a header"));
            }
            if values.is_empty() || values.iter().any(|name| name.trim().eq_ignore_ascii_case(standard)) {
                continue;
            }
            let kind = if standard.ends_with('-') { "header prefix" } else { "header" };
            let why = format!(
                "--{flag} is set without specifying the standard {standard} {kind} - API aggregation will not work"
            );
            if flag == "requestheader-uid-headers" {
                return fault(why);
            }
            tracing::warn!("{why}");
        }
        Ok(())
    }
}

/// The front proxy of a server.
pub struct FrontProxy {
    believed: Arc<RequestHeaders>,
    authority_file: Option<PathBuf>,
    shown: Arc<Shown>,
    client_ca_pem: String,
}

impl FrontProxy {
    /// The front proxy that the flags ask for.
    ///
    /// # Errors
    /// What is wrong with the flags or the files that they name.
    pub fn new(pki: &Pki, options: &FrontProxyOptions, now: Timestamp) -> Result<Self, FrontProxyError> {
        options.validate()?;
        let trimmed = |names: &[String]| names.iter().map(|name| name.trim().to_string()).collect::<Vec<_>>();
        let (given, own) = (&options.names, Names::standard());
        let or_own = |given: &[String], own: Vec<String>| match given {
            [] if options.client_ca_file.is_none() => own,
            given => trimmed(given),
        };
        let names = Names {
            username: or_own(&given.username, own.username),
            uid: or_own(&given.uid, own.uid),
            group: or_own(&given.group, own.group),
            extra_prefix: or_own(&given.extra_prefix, own.extra_prefix),
        };
        let believed = match &options.client_ca_file {
            None => {
                let allowed = or_own(&options.allowed_names, vec![FRONT_PROXY_CLIENT.into()]);
                RequestHeaders::new(names, allowed, pki.front_proxy_pem().into())?
            }
            Some(path) => RequestHeaders::new(names, options.allowed_names.clone(), read(path)?)
                .map_err(|source| FrontProxyError::Content { path: path.clone(), source })?,
        };
        if options.client_ca_file.is_some() && options.allowed_names.is_empty() {
            let clients = bundle::certificates(&options.client_authorities_pem).unwrap_or_default();
            let proxies = bundle::certificates(&believed.authorities_pem()).unwrap_or_default();
            if proxies.iter().any(|authority| clients.contains(authority)) {
                return Err(FrontProxyError::Flag(OVERLAP.into()));
            }
        }
        let shown = match &options.client {
            None => Shown::Own(pki.front_proxy_client(now)?),
            Some((certificate, key)) => Shown::Files(Files::open(certificate, key)?),
        };
        Ok(Self {
            believed: Arc::new(believed),
            authority_file: options.client_ca_file.clone(),
            shown: Arc::new(shown),
            client_ca_pem: format!("{}{}", pki.authority_pem(), options.client_authorities_pem),
        })
    }

    /// Becomes part of a server: its headers are believed before any other credentials.
    pub fn plug_into(self: &Arc<Self>, plugins: &mut Plugins) {
        plugins.authenticators.insert(0, self.believed.clone());
        plugins.front_proxy = Some(self.clone());
    }

    /// Whom this server believes.
    pub fn believed(&self) -> &RequestHeaders {
        &self.believed
    }

    /// What it shows.
    pub fn shown(&self) -> Arc<dyn ResolvesClientCert> {
        self.shown.clone()
    }

    /// The authority of the cluster's client certificates.
    pub fn client_ca_pem(&self) -> &str {
        &self.client_ca_pem
    }

    /// Whether a certificate is the one that this very server shows: who comes with it was sent by it.
    pub fn is_own(&self, certificate: &CertificateDer<'_>) -> bool {
        self.shown.current().end_entity_cert().is_ok_and(|own| own == certificate)
    }

    /// Reads the files anew, if there are any; what is no good leaves what was there before. Whether another authority is
    /// believed now.
    pub fn reload(&self) -> bool {
        if let Shown::Files(files) = &*self.shown
            && let Err(error) = files.reload()
        {
            tracing::error!(%error, "the front proxy goes on showing the certificate of before");
        }
        let Some(path) = &self.authority_file else { return false };
        let changed = read(path).and_then(|pem| {
            let failed = |source| FrontProxyError::Content { path: path.clone(), source };
            self.believed.set_authorities(pem).map_err(failed)
        });
        changed.unwrap_or_else(|error| {
            tracing::error!(%error, "the front proxies of before are believed");
            false
        })
    }

    /// Whether something of it is kept in files that others write.
    pub fn has_files(&self) -> bool {
        self.authority_file.is_some() || matches!(*self.shown, Shown::Files(_))
    }
}

impl std::fmt::Debug for FrontProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FrontProxy(…)")
    }
}

/// The certificate that is shown.
#[derive(Debug)]
enum Shown {
    Own(Arc<Leaf>),
    Files(Files),
}

impl Shown {
    fn current(&self) -> Arc<CertifiedKey> {
        match self {
            Self::Own(leaf) => leaf.shown(),
            Self::Files(files) => files.current.load_full(),
        }
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    current: ArcSwap<CertifiedKey>,
}

impl Files {
    fn open(certificate: &Path, key: &Path) -> Result<Self, FrontProxyError> {
        let current = ArcSwap::from_pointee(Self::load(certificate, key)?);
        Ok(Self { certificate: certificate.into(), key: key.into(), current })
    }

    fn load(certificate: &Path, key: &Path) -> Result<CertifiedKey, FrontProxyError> {
        let failed = |source| FrontProxyError::Content { path: certificate.into(), source };
        certified_chain(&read(certificate)?, &read(key)?).map_err(failed)
    }

    fn reload(&self) -> Result<(), FrontProxyError> {
        self.current.store(Arc::new(Self::load(&self.certificate, &self.key)?));
        Ok(())
    }
}

fn read(path: &Path) -> Result<String, FrontProxyError> {
    use std::io::Read;
    let read = || {
        let mut text = String::new();
        std::fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    };
    read().map_err(|source| FrontProxyError::File { path: path.into(), source })
}

#[cfg(test)]
mod tests;
