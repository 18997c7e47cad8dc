//! Who asks and what they may do, put together from flags and the files that they name.

use std::path::Path;
use std::sync::Arc;

use api::identity::{AnonymousAuth, AuthenticationConfiguration};
use metrics::Collect;

use super::{AssemblyError, Settings};
use crate::authentication::client_ca::ClientAuthorities;
use crate::authentication::configured::{self, ConfigurationFile};
use crate::authentication::jose::{Algorithm, KeySet, PublicKey};
use crate::authentication::oidc::Surroundings;
use crate::authentication::options::{WEBHOOK_CACHE_TTL, WEBHOOK_VERSION};
use crate::authentication::service_account::Lifetimes;
use crate::authentication::token_webhook::TokenWebhook;
use crate::authentication::{
    Anonymous, Authentication, ClientCertificates, Outside, ServiceAccountTokens, SigningKey, TokenFile,
};
use crate::authorization::configured::{ConfigurationFile as AuthorizationFile, Parts};
use crate::authorization::{Authorizers, NodeAuthorizer, Rbac};
use crate::metrics::identity::{AuthorizationWebhooks, Issuers, Reloads};
use crate::outgoing::Kubeconfig;
use crate::workers::Workers;

/// Who asks.
pub(super) struct Identity {
    pub(super) authentication: Arc<Authentication>,
    pub(super) anonymous: Anonymous,
    pub(super) tokens: Arc<ServiceAccountTokens>,
    pub(super) client_authorities: Option<Arc<ClientAuthorities>>,
    pub(super) signing_key_pem: String,
    pub(super) file: Option<ConfigurationFile>,
    pub(super) collectors: Vec<Arc<dyn Collect>>,
    webhooks: Arc<AuthorizationWebhooks>,
    reloads: Arc<Reloads>,
}

fn wrong(why: impl ToString) -> AssemblyError {
    AssemblyError::Settings(why.to_string())
}

fn read(flag: &str, path: &Path) -> Result<String, AssemblyError> {
    std::fs::read_to_string(path).map_err(|error| wrong(format!("{flag}: open {}: {error}", path.display())))
}

/// Puts authentication together.
pub(super) fn assemble(settings: &Settings<'_>) -> Result<Identity, AssemblyError> {
    let options = &settings.authentication;
    let problems = options.validate().into_iter().chain(settings.authorization.validate());
    if let Some(why) = api::identity::aggregate_texts(problems) {
        return Err(wrong(why));
    }
    let (tokens, signing_key_pem) = tokens(settings)?;
    let tokens = Arc::new(tokens);
    let verifier = settings.pki.client_verifier().map_err(|error| AssemblyError::Keys(error.to_string()))?;
    let mut certificates = ClientCertificates::new(verifier);
    let authorities = options.client_ca_file.as_deref().map(ClientAuthorities::open).transpose().map_err(wrong)?;
    let client_authorities = authorities.map(Arc::new);
    if let Some(authorities) = &client_authorities {
        certificates = certificates.and_of(authorities.clone());
    }
    let file = options.token_file.as_deref().map(TokenFile::read).transpose();
    let token_file = file.map_err(|error| wrong(format!("--token-auth-file: {error}")))?;
    let issuers = Arc::new(Issuers::new(settings.server_id));
    let webhooks = Arc::new(AuthorizationWebhooks::default());
    let reloads = Arc::new(Reloads::of_authorization(settings.server_id));
    let mut collectors: Vec<Arc<dyn Collect>> = vec![tokens.counts().clone(), certificates.lifetimes()];
    collectors.extend([issuers.clone() as Arc<dyn Collect>, webhooks.clone(), reloads.clone()]);
    let mut authentication = Authentication::new(certificates, tokens.clone(), token_file);
    if options.bootstrap_tokens {
        authentication = authentication.with_bootstrap_tokens();
    }
    let outside = outside(settings, &tokens, issuers)?;
    if let Some(outside) = &outside.outside {
        authentication = authentication.with_outside(outside.clone());
    }
    collectors.extend(outside.reloads.map(|reloads| reloads as Arc<dyn Collect>));
    Ok(Identity {
        authentication: Arc::new(authentication),
        anonymous: outside.anonymous,
        tokens,
        client_authorities,
        signing_key_pem,
        file: outside.file,
        collectors,
        webhooks,
        reloads,
    })
}

/// Who is asked what users may do, and the file that may change it.
pub(super) fn authorization(
    settings: &Settings<'_>,
    rbac: &Arc<Rbac>,
    identity: &Identity,
) -> Result<(Authorizers, Option<AuthorizationFile>), AssemblyError> {
    let parts = Parts {
        rbac: rbac.clone(),
        node: Arc::new(NodeAuthorizer::default()),
        abac: None,
        metrics: identity.webhooks.clone(),
        clock: settings.clock.clone(),
    };
    let built = settings.authorization.build(parts, identity.reloads.clone()).map_err(wrong)?;
    Ok((built.authorizers, built.file))
}

/// Service account tokens, and the key that signs them.
fn tokens(settings: &Settings<'_>) -> Result<(ServiceAccountTokens, String), AssemblyError> {
    let (options, flags) = (&settings.authentication.service_accounts, &settings.authentication);
    let own = AssemblyError::Keys;
    let (pem, key) = match &options.signing_key_file {
        None => {
            let pem = settings.pki.service_account_key_pem().to_string();
            let key = SigningKey::from_pem(&pem).map_err(|error| own(error.to_string()))?;
            (pem, key)
        }
        Some(path) => {
            let flag = "--service-account-signing-key-file";
            let pem = read(flag, path)?;
            let key =
                SigningKey::from_pem(&pem).map_err(|error| wrong(format!("{flag}: {}: {error}", path.display())))?;
            (pem, key)
        }
    };
    let mut keys: Vec<PublicKey> = vec![key.public().clone()];
    for path in &options.key_files {
        let flag = "--service-account-key-file";
        let read = PublicKey::from_pems(read(flag, path)?.as_bytes());
        keys.extend(read.map_err(|error| wrong(format!("{flag}: {}: {error}", path.display())))?);
    }
    let issuers = if options.issuers.is_empty() { vec![settings.issuer.to_string()] } else { options.issuers.clone() };
    let audiences = if flags.api_audiences.is_empty() { issuers.clone() } else { flags.api_audiences.clone() };
    let seconds = options.max_expiration.map(|max| i64::try_from(max.as_secs()).unwrap_or(i64::MAX));
    let lifetimes = Lifetimes {
        seconds_max: seconds.filter(|seconds| *seconds > 0),
        extends: options.extend_expiration.unwrap_or(true),
    };
    let issuer = issuers.first().cloned().unwrap_or_default();
    let tokens =
        ServiceAccountTokens::new(key, issuer).trusting(KeySet::of(keys), issuers, audiences).living(lifetimes);
    Ok((tokens, pem))
}

struct Others {
    outside: Option<Outside>,
    anonymous: Anonymous,
    file: Option<ConfigurationFile>,
    reloads: Option<Arc<Reloads>>,
}

/// Those who know tokens that this server does not, and whether one may ask without any.
fn outside(
    settings: &Settings<'_>,
    tokens: &ServiceAccountTokens,
    metrics: Arc<Issuers>,
) -> Result<Others, AssemblyError> {
    let options = &settings.authentication;
    let (configuration, bytes) = match &options.config_file {
        Some(path) => {
            ConfigurationFile::read(path).map(|(configuration, read)| (configuration, Some(read))).map_err(wrong)?
        }
        None => (of_flags(settings)?, None),
    };
    let algorithms = match options.config_file {
        Some(_) => Algorithm::ALL.to_vec(),
        None => options.oidc.algorithms().map_err(wrong)?,
    };
    let anonymous = anonymous(settings, &configuration)?;
    let (clock, workers) = (settings.clock.clone(), Workers::default());
    let around = Surroundings { clock, metrics, algorithms: algorithms.into(), workers };
    let disallowed = if options.service_accounts.issuers.is_empty() {
        vec![tokens.issuer().to_string()]
    } else {
        options.service_accounts.issuers.clone()
    };
    let issuers = configured::issuers(&configuration, &disallowed, &around);
    let issuers = issuers.map_err(|why| wrong(format!("invalid authentication configuration: {why}")))?;
    let webhook = webhook(settings, tokens)?;
    if bytes.is_none() && issuers.0.is_empty() && webhook.is_none() {
        return Ok(Others { outside: None, anonymous, file: None, reloads: None });
    }
    let (audiences, counts) = (tokens.audiences().to_vec(), tokens.counts().clone());
    let outside = Outside::new(issuers, webhook, audiences, settings.clock.clone(), counts);
    let mut others = Others { outside: Some(outside.clone()), anonymous, file: None, reloads: None };
    if let (Some(path), Some(bytes)) = (&options.config_file, bytes) {
        let reloads = Arc::new(Reloads::of_authentication(settings.server_id));
        others.reloads = Some(reloads.clone());
        let anonymous = configuration.anonymous.clone();
        others.file = Some(ConfigurationFile::new(path, bytes, anonymous, outside, disallowed, around, reloads));
    }
    Ok(others)
}

/// The configuration that `--oidc-*` mean.
fn of_flags(settings: &Settings<'_>) -> Result<AuthenticationConfiguration, AssemblyError> {
    let oidc = &settings.authentication.oidc;
    let authorities = match &oidc.ca_file {
        Some(path) => read("--oidc-ca-file", path)?,
        None => String::new(),
    };
    let jwt = oidc.authenticator(authorities).into_iter().collect();
    Ok(AuthenticationConfiguration { jwt, anonymous: None })
}

fn anonymous(settings: &Settings<'_>, file: &AuthenticationConfiguration) -> Result<Anonymous, AssemblyError> {
    let flag = settings.authentication.anonymous;
    match (&file.anonymous, flag) {
        (Some(_), Some(_)) => Err(wrong(
            "anonymous: Forbidden: --anonymous-auth flag cannot be set when anonymous field is configured in authentication \
             configuration file",
        )),
        (Some(config), None) => Ok(Anonymous::new(config)),
        (None, flag) => {
            let wanted = flag.unwrap_or(true);
            let enabled = wanted && !settings.authorization.allows_everything();
            if wanted && !enabled {
                tracing::warn!(
                    "anonymous requests are refused, as the AlwaysAllow authorizer would allow them everything"
                );
            }
            Ok(Anonymous::new(&AnonymousAuth { enabled, conditions: Vec::new() }))
        }
    }
}

fn webhook(settings: &Settings<'_>, tokens: &ServiceAccountTokens) -> Result<Option<TokenWebhook>, AssemblyError> {
    let options = &settings.authentication.webhook;
    let Some(path) = &options.config_file else { return Ok(None) };
    let failed = |why: String| wrong(format!("--authentication-token-webhook-config-file: {why}"));
    let kubeconfig = Kubeconfig::read(path).map_err(|error| failed(error.to_string()))?;
    let version = options.version.as_deref().unwrap_or(WEBHOOK_VERSION);
    let ttl = options.cache_ttl.unwrap_or(WEBHOOK_CACHE_TTL);
    let audiences = tokens.audiences().to_vec();
    TokenWebhook::new(kubeconfig, version, ttl, audiences, settings.clock.clone()).map(Some).map_err(failed)
}
