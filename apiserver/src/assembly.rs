//! Puts together what is plugged into a server that is more than a test's: authentication, authorisation, admission,
//! strategies and endpoints.

mod identity;

use std::collections::HashMap;
use std::sync::Arc;

use metrics::Collect;
use serde_json::Value;

use crate::authentication::jwt::openid_configuration;
use crate::authentication::{ServiceAccountTokens, options};
use crate::authorization::{self, Rbac};
use crate::certificates::{CertificateError, Pki};
use crate::clock::{Clock, SystemClock};
use crate::followed::Followed;
use crate::plug::{Endpoints, Plugins};
use crate::{admission, authentication, proxy, strategy};

/// Why a server cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum AssemblyError {
    /// The keys and certificates of its own are no good.
    #[error("the server's keys and certificates: {0}")]
    Keys(String),
    /// What it was started with is no good.
    #[error("{0}")]
    Settings(String),
}

/// What a server is put together from.
pub struct Settings<'a> {
    /// Its key material.
    pub pki: &'a Pki,
    /// The issuer of service account tokens, if the flags name none.
    pub issuer: &'a str,
    /// `host:port` of the key set's document.
    pub advertised: &'a str,
    /// What the server is called among others, for metrics.
    pub server_id: &'a str,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Flags of authentication.
    pub authentication: options::Options,
    /// Flags of authorisation.
    pub authorization: authorization::options::Options,
    /// Flags and files of admission.
    pub admission: admission::Settings,
}

impl<'a> Settings<'a> {
    /// A server without flags.
    pub fn new(pki: &'a Pki, issuer: &'a str, advertised: &'a str) -> Self {
        Self {
            pki,
            issuer,
            advertised,
            server_id: "",
            clock: SystemClock::shared(),
            authentication: options::Options::default(),
            authorization: authorization::options::Options::default(),
            admission: admission::Settings::default(),
        }
    }
}

/// The parts of a server that others need as well.
pub struct Assembly {
    /// What goes into the server's configuration.
    pub plugins: Plugins,
    /// Signs and verifies service account tokens.
    pub tokens: Arc<ServiceAccountTokens>,
    /// What counts in them.
    pub collectors: Vec<Arc<dyn Collect>>,
    /// The key that signs service account tokens.
    pub signing_key_pem: String,
    /// Authorities of clients beside the cluster's own.
    pub client_authorities_pem: String,
    /// Files that may change.
    pub followed: Arc<Followed>,
}

/// Everything for a server. Must be called where tasks can be spawned, if there are issuers of tokens.
///
/// # Errors
/// [`AssemblyError`]
pub fn assemble(settings: &Settings<'_>) -> Result<Assembly, AssemblyError> {
    let identity = identity::assemble(settings)?;
    let rbac = Arc::new(Rbac::default());
    let (authorizers, authorization_file) = identity::authorization(settings, &rbac, &identity)?;
    let mut endpoints = Endpoints::default();
    authentication::review::endpoints(&mut endpoints, &identity.authentication);
    authentication::token_request::endpoints(&mut endpoints, &identity.tokens);
    authorization::review::endpoints(&mut endpoints);
    strategy::pod::binding::endpoints(&mut endpoints);
    strategy::pod::eviction::endpoints(&mut endpoints);
    let kubelet = kubelet_tls(settings.pki).map_err(|error| AssemblyError::Keys(error.to_string()))?;
    proxy::endpoints(&mut endpoints, kubelet);
    let plugins = Plugins {
        authenticators: vec![identity.authentication],
        anonymous: identity.anonymous,
        authorizers,
        admission: admission::plugins(&rbac, &settings.admission).map_err(AssemblyError::Settings)?,
        strategy_of: strategy::of,
        endpoints,
        front_proxy: None,
        documents: Arc::new(documents(settings, &identity.tokens)),
        secret_uses: identity.tokens.uses(),
    };
    let pem = identity.client_authorities.as_ref().map(|authorities| authorities.pem());
    let followed = Followed {
        client_authorities: identity.client_authorities,
        authentication: identity.file,
        authorization: authorization_file,
    };
    Ok(Assembly {
        plugins,
        tokens: identity.tokens,
        collectors: identity.collectors,
        signing_key_pem: identity.signing_key_pem,
        client_authorities_pem: pem.unwrap_or_default(),
        followed: Arc::new(followed),
    })
}

/// What others check service account tokens with; only an issuer that is a URL can be asked for it
/// (`NewOpenIDMetadataProvider`).
fn documents(settings: &Settings<'_>, tokens: &ServiceAccountTokens) -> HashMap<String, Value> {
    let issuer = tokens.issuer();
    let is_url = api::go::url::parse(issuer)
        .is_ok_and(|url| url.scheme == "https" && url.query.is_empty() && url.fragment.is_empty());
    if !is_url {
        tracing::warn!(issuer, "the issuer of service account tokens is no https URL: its keys are not served");
        return HashMap::new();
    }
    let given = settings.authentication.service_accounts.jwks_uri.clone().filter(|uri| !uri.is_empty());
    let place = given.unwrap_or_else(|| format!("https://{}/openid/v1/jwks", settings.advertised));
    HashMap::from([
        ("/openid/v1/jwks".to_string(), tokens.keys().to_json()),
        ("/.well-known/openid-configuration".to_string(), openid_configuration(issuer, &place, tokens.keys())),
    ])
}

/// How node servers are spoken to: they are verified, and are shown the server's own client certificate.
fn kubelet_tls(pki: &Pki) -> Result<Arc<rustls::ClientConfig>, CertificateError> {
    let identity = pki.kubelet_client(SystemClock::shared().now())?;
    pki.client_config(&identity)
}
