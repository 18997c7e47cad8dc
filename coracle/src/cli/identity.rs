//! The flags of authentication and authorisation.

use std::path::PathBuf;
use std::time::Duration;

use apiserver::authentication::options as authentication;
use apiserver::authorization::options as authorization;

use crate::error::Error;

fn duration(text: &str) -> Result<Duration, String> {
    let nanoseconds = api::go::duration::parse(text).map_err(|error| error.to_string())?;
    u64::try_from(nanoseconds).map(Duration::from_nanos).map_err(|_| "it is negative".into())
}

/// How it is found out who asks and what they may do. The names are kube-apiserver's.
#[derive(clap::Args, Debug, Clone)]
pub(super) struct IdentityFlags {
    #[command(flatten)]
    authentication: AuthenticationFlags,
    #[command(flatten)]
    oidc: OidcFlags,
    #[command(flatten)]
    service_accounts: ServiceAccountFlags,
    #[command(flatten)]
    authorization: AuthorizationFlags,
}

/// Who asks.
#[derive(clap::Args, Debug, Clone)]
struct AuthenticationFlags {
    /// A file of kind AuthenticationConfiguration: issuers of tokens, and who may ask without credentials. It is followed.
    #[arg(long, value_name = "FILE")]
    authentication_config: Option<PathBuf>,
    /// The audiences of this server [default: the issuers of service account tokens].
    #[arg(long, value_name = "AUDIENCES", value_delimiter = ',')]
    api_audiences: Vec<String>,
    /// Whether one may ask without credentials, as system:anonymous [default: true].
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    anonymous_auth: Option<bool>,
    /// Takes the tokens that Secrets of type bootstrap.kubernetes.io/token in kube-system hold, for machines to join with.
    #[arg(long)]
    enable_bootstrap_token_auth: bool,
    /// Authorities of client certificates beside the cluster's own. The file is followed.
    #[arg(long, value_name = "FILE")]
    client_ca_file: Option<PathBuf>,
    /// Static bearer tokens, a CSV file of token,user,uid,"group1,group2".
    #[arg(long, value_name = "FILE")]
    token_auth_file: Option<PathBuf>,
    /// A kubeconfig that says where the webhook is that knows whose tokens are.
    #[arg(long, value_name = "FILE")]
    authentication_token_webhook_config_file: Option<PathBuf>,
    /// The version of the TokenReview that it is sent [default: v1beta1].
    #[arg(long, value_name = "VERSION")]
    authentication_token_webhook_version: Option<String>,
    /// How long its answers are remembered [default: 2m].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    authentication_token_webhook_cache_ttl: Option<Duration>,
}

/// Tokens of one other issuer.
#[derive(clap::Args, Debug, Clone)]
struct OidcFlags {
    /// The URL of an issuer of tokens (OpenID Connect); https only.
    #[arg(long, value_name = "URL")]
    oidc_issuer_url: Option<String>,
    /// The audience that its tokens must be for.
    #[arg(long, value_name = "AUDIENCE")]
    oidc_client_id: Option<String>,
    /// The authorities of its servers [default: those of this machine].
    #[arg(long, value_name = "FILE")]
    oidc_ca_file: Option<PathBuf>,
    /// The claim that is the user's name [default: sub].
    #[arg(long, value_name = "CLAIM")]
    oidc_username_claim: Option<String>,
    /// What is put before it; - for nothing [default: the issuer's URL and #, unless the claim is email].
    #[arg(long, value_name = "PREFIX", allow_hyphen_values = true)]
    oidc_username_prefix: Option<String>,
    /// The claim that holds the user's groups.
    #[arg(long, value_name = "CLAIM")]
    oidc_groups_claim: Option<String>,
    /// What is put before each of them.
    #[arg(long, value_name = "PREFIX")]
    oidc_groups_prefix: Option<String>,
    /// Algorithms that its tokens may be signed with [default: RS256].
    #[arg(long, value_name = "ALGORITHMS", value_delimiter = ',')]
    oidc_signing_algs: Vec<String>,
    /// A claim that tokens must have, as key=value; may be given more than once.
    #[arg(long, value_name = "CLAIM")]
    oidc_required_claim: Vec<String>,
}

/// Service account tokens.
#[derive(clap::Args, Debug, Clone)]
struct ServiceAccountFlags {
    /// Keys whose tokens are taken beside those of the one that signs; may be given more than once.
    #[arg(long, value_name = "FILE")]
    service_account_key_file: Vec<PathBuf>,
    /// The private key that signs tokens [default: the cluster's own].
    #[arg(long, value_name = "FILE")]
    service_account_signing_key_file: Option<PathBuf>,
    /// The issuer of tokens; may be given more than once: the first issues, and tokens of all are taken.
    #[arg(long, value_name = "ISSUER")]
    service_account_issuer: Vec<String>,
    /// Where others get the keys [default: this server].
    #[arg(long, value_name = "URL")]
    service_account_jwks_uri: Option<String>,
    /// How long a token may live at most.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    service_account_max_token_expiration: Option<Duration>,
    /// Whether tokens of pods live longer than they say, for programs that never reload them [default: true].
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    service_account_extend_token_expiration: Option<bool>,
    /// How long a token in a Secret that nobody asked for is not used before it is marked as invalid, and marked before it is
    /// deleted [default: 8760h].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    legacy_service_account_token_clean_up_period: Option<Duration>,
}

/// What they may do.
#[derive(clap::Args, Debug, Clone)]
struct AuthorizationFlags {
    /// A file of kind AuthorizationConfiguration: who is asked what users may do. It is followed.
    #[arg(long, value_name = "FILE")]
    authorization_config: Option<PathBuf>,
    /// Who is asked, in order: AlwaysAllow, AlwaysDeny, ABAC, Webhook, RBAC, Node [default: Node,RBAC].
    #[arg(long, value_name = "MODES", value_delimiter = ',')]
    authorization_mode: Vec<String>,
    /// Policies for ABAC, a JSON object a line.
    #[arg(long, value_name = "FILE")]
    authorization_policy_file: Option<PathBuf>,
    /// A kubeconfig that says where the webhook is.
    #[arg(long, value_name = "FILE")]
    authorization_webhook_config_file: Option<PathBuf>,
    /// The version of the SubjectAccessReview that it is sent [default: v1beta1].
    #[arg(long, value_name = "VERSION")]
    authorization_webhook_version: Option<String>,
    /// How long it is remembered that it allows something [default: 5m].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    authorization_webhook_cache_authorized_ttl: Option<Duration>,
    /// How long it is remembered that it does not [default: 30s].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    authorization_webhook_cache_unauthorized_ttl: Option<Duration>,
}

impl IdentityFlags {
    /// What they ask for.
    ///
    /// # Errors
    /// What does not go together.
    pub(super) fn options(&self) -> Result<(authentication::Options, authorization::Options), Error> {
        let (of_users, of_rights) = (self.authentication(), self.authorization());
        let problems = of_users.validate().into_iter().chain(of_rights.validate());
        match api::identity::aggregate_texts(problems) {
            Some(why) => Err(Error::usage(why)),
            None => Ok((of_users, of_rights)),
        }
    }

    fn authentication(&self) -> authentication::Options {
        let (flags, oidc, accounts) = (self.authentication.clone(), self.oidc.clone(), self.service_accounts.clone());
        authentication::Options {
            config_file: flags.authentication_config,
            api_audiences: flags.api_audiences,
            anonymous: flags.anonymous_auth,
            bootstrap_tokens: flags.enable_bootstrap_token_auth,
            client_ca_file: flags.client_ca_file,
            token_file: flags.token_auth_file,
            oidc: authentication::Oidc {
                issuer_url: oidc.oidc_issuer_url,
                client_id: oidc.oidc_client_id,
                ca_file: oidc.oidc_ca_file,
                username_claim: oidc.oidc_username_claim,
                username_prefix: oidc.oidc_username_prefix,
                groups_claim: oidc.oidc_groups_claim,
                groups_prefix: oidc.oidc_groups_prefix,
                signing_algs: oidc.oidc_signing_algs,
                required_claims: oidc.oidc_required_claim,
            },
            service_accounts: authentication::ServiceAccounts {
                key_files: accounts.service_account_key_file,
                signing_key_file: accounts.service_account_signing_key_file,
                issuers: accounts.service_account_issuer,
                jwks_uri: accounts.service_account_jwks_uri,
                max_expiration: accounts.service_account_max_token_expiration,
                extend_expiration: accounts.service_account_extend_token_expiration,
            },
            webhook: authentication::Webhook {
                config_file: flags.authentication_token_webhook_config_file,
                version: flags.authentication_token_webhook_version,
                cache_ttl: flags.authentication_token_webhook_cache_ttl,
            },
        }
    }

    /// How long tokens in Secrets are kept that nobody asked for.
    ///
    /// # Errors
    /// None at all is no time.
    pub(super) fn legacy_token_period(&self) -> Result<Duration, Error> {
        match self.service_accounts.legacy_service_account_token_clean_up_period {
            Some(Duration::ZERO) => {
                Err(Error::usage("--legacy-service-account-token-clean-up-period must be positive"))
            }
            period => Ok(period.unwrap_or(controllers::legacy_tokens::PERIOD)),
        }
    }

    fn authorization(&self) -> authorization::Options {
        let flags = self.authorization.clone();
        authorization::Options {
            config_file: flags.authorization_config,
            modes: flags.authorization_mode,
            policy_file: flags.authorization_policy_file,
            webhook_config_file: flags.authorization_webhook_config_file,
            webhook_version: flags.authorization_webhook_version,
            webhook_authorized_ttl: flags.authorization_webhook_cache_authorized_ttl,
            webhook_unauthorized_ttl: flags.authorization_webhook_cache_unauthorized_ttl,
        }
    }
}
