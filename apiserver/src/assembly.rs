//! Puts together what is plugged into a server that is more than a test's: authentication, authorisation, admission,
//! strategies and endpoints.

use std::collections::HashMap;
use std::sync::Arc;

use metrics::Collect;

use crate::authentication::jwt::openid_configuration;
use crate::authentication::{Authentication, ClientCertificates, ServiceAccountTokens, SigningKey, TokenFile};
use crate::authorization::{self, Rbac};
use crate::certificates::{CertificateError, Pki};
use crate::clock::SystemClock;
use crate::plug::{Endpoints, Plugins};
use crate::{admission, authentication, proxy, strategy};

/// Why a server cannot be put together.
#[derive(Debug, thiserror::Error)]
#[error("the server's keys and certificates: {0}")]
pub struct AssemblyError(String);

/// The parts of a server that others need as well.
pub struct Assembly {
    /// What goes into the server's configuration.
    pub plugins: Plugins,
    /// Signs and verifies service account tokens.
    pub tokens: Arc<ServiceAccountTokens>,
    /// What counts in them.
    pub collectors: Vec<Arc<dyn Collect>>,
}

/// Everything for a server with this key material. `advertised` is the `host:port` of the key set's document.
///
/// # Errors
/// If the signing key is no good.
pub fn assemble(
    pki: &Pki,
    issuer: &str,
    advertised: &str,
    token_file: Option<TokenFile>,
) -> Result<Assembly, AssemblyError> {
    let key = SigningKey::from_pem(pki.service_account_key_pem()).map_err(|error| AssemblyError(error.to_string()))?;
    let documents = HashMap::from([
        ("/openid/v1/jwks".to_string(), key.jwks()),
        (
            "/.well-known/openid-configuration".to_string(),
            openid_configuration(issuer, &format!("https://{advertised}/openid/v1/jwks")),
        ),
    ]);
    let tokens = Arc::new(ServiceAccountTokens::new(key, issuer));
    let certificates = pki.client_verifier().map_err(|error| AssemblyError(error.to_string()))?;
    let certificates = ClientCertificates::new(certificates);
    let collectors: Vec<Arc<dyn Collect>> = vec![tokens.counts(), certificates.lifetimes()];
    let identification = Arc::new(Authentication::new(certificates, tokens.clone(), token_file));
    let rbac = Arc::new(Rbac::default());
    let mut endpoints = Endpoints::default();
    authentication::review::endpoints(&mut endpoints, &identification);
    authentication::token_request::endpoints(&mut endpoints, &tokens);
    authorization::review::endpoints(&mut endpoints, &rbac);
    strategy::pod::binding::endpoints(&mut endpoints);
    strategy::pod::eviction::endpoints(&mut endpoints);
    let kubelet = kubelet_tls(pki).map_err(|error| AssemblyError(error.to_string()))?;
    proxy::endpoints(&mut endpoints, kubelet);
    let plugins = Plugins {
        authenticators: vec![identification],
        authorizers: authorization::authorizers(rbac.clone()),
        admission: admission::plugins(&rbac),
        strategy_of: strategy::of,
        endpoints,
        front_proxy: None,
        documents: Arc::new(documents),
    };
    Ok(Assembly { plugins, tokens, collectors })
}

/// How node servers are spoken to: they are verified, and are shown the server's own client certificate.
fn kubelet_tls(pki: &Pki) -> Result<Arc<rustls::ClientConfig>, CertificateError> {
    let identity = pki.kubelet_client(SystemClock::shared().now())?;
    pki.client_config(&identity)
}
